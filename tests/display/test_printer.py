"""Printing a stream: flushing, readers that leave, encodings and escape sequences."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from chunks import HELLO, finish, sse, text
from clients import CHAT, Body, sync_client

from tensorloop_stream import AsyncChatStream, ChatStream, StreamTruncatedError, print_stream
from tensorloop_stream._display.printer import aprint_stream

# The environment of a program whose output is buffered.
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
PROGRAM = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parents[1] / "support")!r})
from chunks import finish, text
from tensorloop_stream import ChatStream, print_stream

def source():
    for number in range(10_000):
        yield text(f"line {{number}} 🌊\\n")
    yield finish()

stream = ChatStream(source())
completion = print_stream(stream)
print("after")
print(len(completion.choices[0].message.content), stream, file=sys.stderr)
"""


class Paper(io.StringIO):
    """A file that records its flushes, and raises after a number of writes."""

    def __init__(self, *, lines: int = 1000, error: int = errno.EPIPE) -> None:
        super().__init__()
        self.flushed: list[str] = []
        self._left = lines
        self._error = error

    def write(self, text: str) -> int:
        if self._left <= 0:
            raise OSError(self._error, "gone")
        self._left -= 1
        return super().write(text)

    def flush(self) -> None:
        if not self.closed:
            self.flushed.append(self.getvalue())


def test_each_text_is_flushed() -> None:
    """Text is visible at once, and the last line is ended."""
    paper = Paper()
    completion = print_stream(list(HELLO), paper)

    assert paper.flushed == ["Hel", "Hello", "Hello\n"]
    assert completion.choices[0].message.content == "Hello"


def test_standard_output_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    """The current `sys.stdout` is used; a line that ends with a line break gets no second one."""
    print_stream([text("a\n"), finish()])

    assert capsys.readouterr().out == "a\n"


@pytest.mark.parametrize("reason", ["length", "content_filter", "max_tokens", "SAFETY"])
async def test_a_cut_answer_says_so(reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line on standard error names the finish reason; the output holds the answer alone."""
    print_stream([text("a"), finish(reason)])
    await aprint_stream([text("b"), finish(reason)])

    said = capsys.readouterr()
    assert said.out == "a\nb\n"
    assert [f"(finish reason: {reason}).)" in line for line in said.err.splitlines()] == [True, True]


@pytest.mark.parametrize("reason", ["length", "LENGTH", " length "])
def test_the_note_of_a_reason_does_not_depend_on_its_spelling(reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Hosts send the same reason in upper case, too."""
    print_stream([text("a"), finish(reason)])

    assert f"Cut off at the limit of tokens (finish reason: {reason})." in capsys.readouterr().err


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "STOP", "end_turn", " stop"])
def test_a_whole_answer_has_no_note(reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A note would hide the ones that matter."""
    print_stream([text("a"), finish(reason)])

    assert capsys.readouterr() == ("a\n", "")


async def test_an_async_stream_is_printed() -> None:
    """The text and the completion are those of the synchronous form."""
    paper = Paper()
    completion = await aprint_stream(list(HELLO), paper)

    assert paper.getvalue() == "Hello\n"
    assert completion.choices[0].message.content == "Hello"


def test_a_reader_that_leaves_ends_the_stream() -> None:
    """The connection is closed, and the partial completion is returned without an exception."""
    body = Body([sse(*HELLO[:2], done=False), sse(*HELLO[2:])])
    stream = ChatStream(sync_client(body).chat.completions.create(**CHAT))
    completion = print_stream(stream, Paper(lines=0))

    assert body.closed
    assert completion.choices[0].message.content == "Hel"


async def test_a_reader_that_leaves_ends_the_async_stream() -> None:
    """The source is closed, and the partial completion is returned without an exception."""
    closed = []

    async def source() -> AsyncIterator[Any]:
        try:
            for one in HELLO:
                yield one
        finally:
            closed.append(True)

    completion = await aprint_stream(AsyncChatStream(source()), Paper(lines=0))

    assert closed
    assert completion.choices[0].message.content == "Hel"


def test_other_errors_of_a_file_are_raised() -> None:
    """A full disk is not a reader that left."""
    with pytest.raises(OSError, match="gone") as caught:
        print_stream(list(HELLO), Paper(lines=1, error=errno.ENOSPC))

    assert caught.value.errno == errno.ENOSPC


def test_a_broken_pipe_of_the_source_is_raised() -> None:
    """The exception is the caller's own, and the answer is not complete."""

    def source() -> Iterator[Any]:
        yield HELLO[1]
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        print_stream(source(), Paper())


@pytest.mark.parametrize(("encoding", "shown"), [("cp1252", "Zürich ? €"), ("ascii", "Z?rich ? ?")])
def test_characters_that_a_file_cannot_encode_are_replaced(encoding: str, shown: str) -> None:
    """A question mark is better than an exception after the tokens were paid; the file's settings do not change."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    completion = print_stream([text("Zürich "), text("🌊 €"), finish()], file)

    assert raw.getvalue().decode(encoding).splitlines() == [shown]
    assert completion.choices[0].message.content == "Zürich 🌊 €"
    assert file.errors == "strict"


def test_ctrl_c_keeps_the_text_and_closes() -> None:
    """The line is ended, and later output begins on its own line."""
    body = Body([sse(*HELLO[:2], done=False), KeyboardInterrupt()])
    stream = ChatStream(sync_client(body).chat.completions.create(**CHAT))
    paper = Paper()
    with pytest.raises(KeyboardInterrupt):
        print_stream(stream, paper)

    assert body.closed
    assert stream.text == "Hel"
    assert paper.getvalue() == "Hel\n"


def test_a_broken_stream_raises() -> None:
    """The text so far is printed, and the error is raised."""
    paper = Paper()
    with pytest.raises(StreamTruncatedError):
        print_stream(HELLO[:2], paper)

    assert paper.getvalue() == "Hel\n"


def test_a_pipe_to_head_ends_without_an_error() -> None:
    """The status is 0, and standard error has only the program's own line."""
    run = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=BUFFERED, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    assert run.stderr is not None
    line = run.stdout.readline()
    run.stdout.close()
    errors = run.stderr.read()
    run.stderr.close()

    assert run.wait() == 0
    assert line == "line 0 🌊\n"
    assert errors.count("\n") == 1
    assert "<ChatStream closed, " in errors


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_a_redirected_output_has_the_whole_text(encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters outside the encoding of the file are question marks."""
    monkeypatch.setattr("sys.path", sys.path.copy())
    with (tmp_path / "out").open("w", encoding=encoding) as file:
        monkeypatch.setattr("sys.stdout", file)
        exec(PROGRAM, {})
    lines = (tmp_path / "out").read_text(encoding).splitlines()

    assert lines[-2] == f"line 9999 {'🌊' if encoding == 'utf-8' else '?'}"
    assert lines[-1] == "after"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_hidden_and_reordered_text_is_shown_on_a_terminal() -> None:
    """An override shows another text than is there, and tags show none (CVE-2021-42574)."""
    terminal = Terminal()
    print_stream([text("a\u202eb\u2066c\U000e0041d \u200f\u05e9\u05dc"), finish()], terminal)

    assert terminal.getvalue() == "a<U+202E>b<U+2066>c<U+E0041>d \u200f\u05e9\u05dc\n"


def test_escape_sequences_are_not_sent_to_a_terminal() -> None:
    """A terminal shows a model's escape sequences as symbols; a file receives the unchanged text."""
    hostile = "\x1b]0;title\x07 red\x1b[31m\r\tß\n\x9b2J\x7f"
    terminal, file = Terminal(), io.StringIO()
    for paper in (terminal, file):
        print_stream([*HELLO[:1], text(hostile), finish()], paper)

    assert terminal.getvalue() == "␛]0;title␇ red␛[31m␍\tß\n\ufffd2J␡\n"
    assert file.getvalue() == f"{hostile}\n"
