"""Recipes for terminals, on a pseudo-terminal and in a pipe."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cassette
import pages
import pytest
import recorded
import requirements
from chunks import finish, sse, text

from tensorloop_stream.replay import ReplayServer

pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")

Markdown = Callable[..., tuple[str, dict[str, Any]]]
ROOT = Path(__file__).parents[2]
LONG = recorded.text("chat/long")
FIRST, SECOND = ("What is a cache, in one sentence?", "Now explain it to a child.")
ANSWERS = [
    "".join(re.findall(r'"delta":\{[^{}]*?"content":"([^"\\]+)"', interaction["response"]["body"]["string"]))
    for interaction in recorded.interactions("conversations/two_turns")
]
# Makes the terminal the controlling one, which Ctrl-C needs, and runs the recipe unedited.
RUN = """
import os, runpy, sys
os.open(os.ttyname(0), os.O_RDWR)
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@pytest.fixture(scope="module")
def replay() -> Iterator[ReplayServer]:
    with ReplayServer([cassette.FOLDER], delay=0.005) as server:
        yield server


@pytest.fixture(scope="module")
def environment(replay: ReplayServer) -> dict[str, str]:
    # PYTHONUNBUFFERED would hide a missing flush.
    plain = {
        name: value for name, value in os.environ.items() if name not in {"PYTHONUNBUFFERED", "COLUMNS", "NO_COLOR"}
    }
    return {**plain, "TENSORLOOP_BASE_URL": replay.base_url, "TENSORLOOP_KEY": "tl_none", "TERM": "xterm"}


class Terminal:
    """A recipe in its own terminal."""

    def __init__(self, recipe: str, environment: dict[str, str]) -> None:
        self._screen, terminal = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", RUN, ROOT / recipe],
            env=environment,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        self.seen = ""
        self.reads = 0

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def wait_for(self, text: str) -> str:
        """Read until the text is on the screen; return and discard the text before it."""
        while text not in self.seen:
            assert self._read(), self.seen
        before, _, self.seen = self.seen.partition(text)
        return before

    def end(self, keys: str = "") -> int:
        """Type `keys` until the recipe ends its line, and return the exit status."""
        self.type(keys)
        while self._read("" if "\n" in self.seen else keys):
            pass
        os.close(self._screen)
        return self._process.wait()

    def _read(self, keys: str = "") -> bool:
        for _ in range(30):
            if select.select([self._screen], [], [], 1)[0]:
                break
            # Python loses a Ctrl-C between the prompt of input() and its read.
            self.type(keys)
        else:
            raise AssertionError(f"nothing came for 30 s after {self.seen!r}")
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # Linux: all have closed it
            return False
        self.seen += data.decode(errors="replace").replace("\r\n", "\n")
        self.reads += 1
        return bool(data)


@pytest.fixture(scope="module")
def chats(environment: dict[str, str]) -> Iterator[list[Terminal]]:
    """Two chats, which start together because importing the SDK takes a second."""
    begun = [Terminal("recipes/chat_terminal.py", environment) for _ in range(2)]
    yield begun
    for left in begun:
        left.end("\x04")


def words(screen: str) -> list[str]:
    return re.sub(r"\x1b\[[\d;]*m", "", screen).split()


def test_a_chat_sends_its_history(chats: list[Terminal]) -> None:
    """The recorded second answer requires the first in the request, and no unanswered question.

    An error does not end the chat; Ctrl-D does.
    """
    terminal = chats.pop()
    terminal.wait_for("> ")
    terminal.type("What was never recorded?\n")
    terminal.wait_for("(")
    terminal.wait_for("\n")
    for question, answer in ((FIRST, ANSWERS[0]), (SECOND, ANSWERS[1])):
        terminal.wait_for("> ")
        terminal.type(f"{question}\n")
        terminal.wait_for(f"{question}\n{answer}\n")
    terminal.wait_for("> ")
    terminal.type("\x04")

    assert terminal.end() == 0
    # Text that is printed as it arrives takes many reads.
    assert terminal.reads > 20


def test_ctrl_c_stops_the_answer_and_keeps_it(chats: list[Terminal], replay: ReplayServer) -> None:
    """The next request contains the shown part, the gateway sees the disconnect, and a second Ctrl-C quits."""
    left = len(replay.disconnects)
    terminal = chats.pop()
    terminal.wait_for("> ")
    terminal.type(f"{FIRST}\n")
    terminal.wait_for("A cache is")
    terminal.type("\x03")
    terminal.wait_for("(stopped)\n> ")
    terminal.type(f"{SECOND}\n")
    # No recorded request contains half an answer, so the server answers with an error.
    terminal.wait_for("> ")
    status = terminal.end("\x03")
    messages = replay.requests[-1].body["messages"]

    assert status == 0
    assert "Traceback" not in terminal.seen
    assert len(replay.disconnects) == left + 1
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert ANSWERS[0].startswith(messages[1]["content"])
    assert len(messages[1]["content"]) < len(ANSWERS[0])


def test_markdown_grows_by_blocks(environment: dict[str, str]) -> None:
    """Each paragraph is printed once, wrapped, and before the next one arrives."""
    requirements.module("rich", "rich")
    terminal = Terminal("recipes/terminal_markdown.py", environment)
    paragraphs = [paragraph.split() for paragraph in LONG.split("\n\n")]
    first = terminal.wait_for("\n\n")
    at_once = terminal.seen
    status = terminal.end()

    assert status == 0
    assert words(first) == paragraphs[0]
    assert paragraphs[1][-1] not in at_once
    assert words(terminal.seen) == LONG.split()[len(paragraphs[0]) :]


@pytest.fixture
def markdown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Markdown:
    """A function that runs the recipe as on a terminal on an answer of these texts; it returns output and names."""
    requirements.module("rich", "rich")

    def running(*texts: str) -> tuple[str, dict[str, Any]]:
        for name, value in {"FORCE_COLOR": "1", "COLUMNS": "80", "TENSORLOOP_KEY": "tl_none"}.items():
            monkeypatch.setenv(name, value)
        with ReplayServer(
            recorded.cassette_with_body("chat/long", tmp_path, sse(*map(text, texts), finish()))
        ) as server:
            monkeypatch.setenv("TENSORLOOP_BASE_URL", server.base_url)
            names = pages.run_recipe("terminal_markdown")
        return capsys.readouterr().out, names

    return running


SEQUENCES = ["\x1b]52;c;aGk=\x07", "\x1b]0;title\x1b\\", "\x9b2J", "\x90q\x9c", "\x1b[", "1A", "\x1b", "c"]
HARM = [*SEQUENCES, "\r", "\b", "\x7f", "\x0b", "&#27;[2J&#155;2J&#13;&#8;"]


@pytest.mark.parametrize("around", ["{}", "# {}", "```\n{}\n```", "`{}`", "- {}", "[x](https://x.test/{})"])
def test_control_characters_are_not_sent_to_a_terminal(around: str, markdown: Markdown) -> None:
    """A model's text reaches the terminal without control characters but line feeds, in any position and split."""
    before, _, after = around.partition("{}")
    printed, _ = markdown(before, *HARM, "text", after, "\n\n", *HARM)
    # rich itself sends styles, and links for those in the Markdown.
    shown = re.sub(r"\x1b\[[\d;]*m|\x1b\]8;[^\x1b]*\x1b\\", "", printed)

    assert "]52;c;aGk=" in shown
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown)


@pytest.mark.parametrize(
    ("finished", "rest"),
    [
        ("", "One"),
        ("One.\n\n", "Two"),
        ("One.\n\nTwo.\n\n", ""),
        ("", "One.\n"),
        ("", "One.\n "),
        ("One.\n \n", ""),
        ("", "```\na\n\nb"),
        ("One.\n\n", "```python\na\n\n\nb\n\n"),
        ("", "- one\n  ~~~\n  a\n\n"),
        ("", "```\na\n\nb\n```\n"),
        ("```\na\n\nb\n```\n\n", "Two"),
    ],
)
def test_a_text_is_split_at_its_last_finished_block(finished: str, rest: str, markdown: Markdown) -> None:
    """An empty line ends a block, except inside code; an unfinished block may still change its appearance."""
    _, names = markdown("Hello.")

    assert names["split_finished"](finished + rest) == (finished, rest)


def test_code_with_an_empty_line_is_one_block(markdown: Markdown) -> None:
    """The output equals that of the whole text at once."""
    code = "Look:\n\n```python\nprint(1)\n\nprint(2)\n```\n\nSo."
    printed, _ = markdown(*code)
    at_once, _ = markdown(code)

    assert printed == at_once
    assert words(printed) == ["Look:", "print(1)", "print(2)", "So."]


def test_markdown_in_a_pipe_is_the_text_itself(environment: dict[str, str]) -> None:
    """A file or another program receives the model's Markdown."""
    requirements.module("rich", "rich")
    run = subprocess.run(
        [sys.executable, ROOT / "recipes/terminal_markdown.py"], env=environment, capture_output=True, check=True
    )

    assert run.stdout.decode() == LONG.rstrip("\n") + "\n"
    assert run.stderr == b""


@pytest.mark.parametrize("recipe", ["chat_terminal", "terminal_markdown"])
def test_a_recipe_without_a_key_names_the_variable(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, without a traceback, and the status is 1."""
    if recipe == "terminal_markdown":
        requirements.module("rich", "rich")
    for name in [name for name in os.environ if name.startswith(("TENSORLOOP", "OPENAI"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        pages.run_recipe(recipe)

    # Python prints an exit code that is a text, and returns the status 1.
    assert isinstance(end.value.code, str)
    assert capsys.readouterr() == ("", "")
    assert "\n" not in end.value.code
    assert "TENSORLOOP_KEY" in end.value.code
