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

# What a program prints when nothing sees to it that it prints at once.
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
    """A file that notes what was flushed, and that breaks when told."""

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


def test_each_piece_is_flushed() -> None:
    """What came is seen at once, and the last line is ended."""
    paper = Paper()
    completion = print_stream(list(HELLO), paper)

    assert paper.flushed == ["Hel", "Hello", "Hello\n"]
    assert completion.choices[0].message.content == "Hello"


def test_standard_output_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    """The one of now, not the one of when the package was imported; a line that has ended is not ended again."""
    print_stream([text("a\n"), finish()])

    assert capsys.readouterr().out == "a\n"


async def test_the_async_form() -> None:
    """The same with await."""
    paper = Paper()
    completion = await aprint_stream(list(HELLO), paper)

    assert paper.getvalue() == "Hello\n"
    assert completion.choices[0].message.content == "Hello"


def test_a_reader_that_leaves_ends_the_stream() -> None:
    """The connection is closed, what had come is returned, nothing is raised."""
    body = Body([sse(*HELLO[:2], done=False), sse(*HELLO[2:])])
    stream = ChatStream(sync_client(body).chat.completions.create(**CHAT))
    completion = print_stream(stream, Paper(lines=0))

    assert body.closed
    assert completion.choices[0].message.content == "Hel"


async def test_a_reader_that_leaves_ends_the_async_stream() -> None:
    """The same with await."""
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
    """A full disk is no reader that left."""
    with pytest.raises(OSError, match="gone") as caught:
        print_stream(list(HELLO), Paper(lines=1, error=errno.ENOSPC))

    assert caught.value.errno == errno.ENOSPC


def test_a_broken_pipe_of_the_source_is_raised() -> None:
    """It is the caller's own, and the answer is not whole."""

    def source() -> Iterator[Any]:
        yield HELLO[1]
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        print_stream(source(), Paper())


@pytest.mark.parametrize(("encoding", "shown"), [("cp1252", "Zürich ? €"), ("ascii", "Z?rich ? ?")])
def test_what_a_file_cannot_encode(encoding: str, shown: str) -> None:
    """The tokens were paid for: a question mark is better than an exception, and the file stays as it was."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    completion = print_stream([text("Zürich "), text("🌊 €"), finish()], file)

    assert raw.getvalue().decode(encoding).splitlines() == [shown]
    assert completion.choices[0].message.content == "Zürich 🌊 €"
    assert file.errors == "strict"


def test_ctrl_c_keeps_the_text_and_closes() -> None:
    """The line is ended, so that what follows stands on its own."""
    body = Body([sse(*HELLO[:2], done=False), KeyboardInterrupt()])
    stream = ChatStream(sync_client(body).chat.completions.create(**CHAT))
    paper = Paper()
    with pytest.raises(KeyboardInterrupt):
        print_stream(stream, paper)

    assert body.closed
    assert stream.text == "Hel"
    assert paper.getvalue() == "Hel\n"


def test_a_broken_stream_raises() -> None:
    """What came is printed, and the error goes on."""
    paper = Paper()
    with pytest.raises(StreamTruncatedError):
        print_stream(HELLO[:2], paper)

    assert paper.getvalue() == "Hel\n"


def test_head_ends_quietly() -> None:
    """`program | head -1`: one line, nothing on standard error but what the program says, status 0."""
    run = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=BUFFERED, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    assert run.stderr is not None
    line = run.stdout.readline()
    run.stdout.close()
    said = run.stderr.read()
    run.stderr.close()

    assert run.wait() == 0
    assert line == "line 0 🌊\n"
    assert said.count("\n") == 1
    assert "<ChatStream closed, " in said


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_a_redirected_output_of_any_encoding(encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it is in the file, as far as the file can hold it."""
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


def test_a_terminal_is_not_told_what_to_do() -> None:
    """A model's escape sequences are shown, not obeyed; a file gets the text as it came."""
    said = "\x1b]0;title\x07 red\x1b[31m\r\tß\n\x9b2J\x7f"
    terminal, file = Terminal(), io.StringIO()
    for paper in (terminal, file):
        print_stream([*HELLO[:1], text(said), finish()], paper)

    assert terminal.getvalue() == "␛]0;title␇ red␛[31m␍\tß\n\ufffd2J␡\n"
    assert file.getvalue() == f"{said}\n"
