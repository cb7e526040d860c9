"""The code of the documentation runs, block by block and in order, against recorded answers.

A page is one program: a name of an earlier block is there in a later one. Comments before a block say more:

- `<!-- file: NAME -->`: the block is a file, which later blocks import; a file `test_...` is run by pytest.
- `<!-- output -->`: the block of text is what the block before it prints.
- `<!-- cassette -->`: the block of YAML is a cassette, which the replay plays.

A base URL in a block is replaced by that of the replay.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cassette
import pages
import pytest
import requirements

from tensorloop_stream import ChatStream, Tensorloop
from tensorloop_stream.replay import ReplayServer

DOCS = Path(__file__).parents[2] / ".docs"
_BLOCK = re.compile(
    r"(?:<!-- (?P<note>[^>]*) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE
)
_BASE_URL = re.compile(r'"https?://[\w.:-]+(?:/api|/openai)?/v1/?"')
# What a page needs that the tests alone do not.
NEEDS = {
    "many.md": [("tqdm", "prompts")],
    "tutorial.md": [("fastapi", "fastapi")],
    "web.md": [("starlette", "starlette"), ("opentelemetry.sdk", "opentelemetry")],
}


class Block(NamedTuple):
    """A block of code: the comment before it, its language and its text."""

    note: str
    language: str
    code: str


def blocks(path: Path) -> list[Block]:
    found = _BLOCK.finditer(path.read_text("utf-8"))
    return [Block(each["note"] or "", each["language"], each["code"]) for each in found]


PAGES = sorted(path for path in DOCS.rglob("*.md") if any(each.language == "python" for each in blocks(path)))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ReplayServer]:
    """A replay that knows recorded requests alone, for clients of every service, in a folder with the cassettes."""
    with ReplayServer(cassette.FOLDER) as server:
        for name in ("TENSORLOOP", "OPENAI"):
            monkeypatch.setenv(f"{name}_BASE_URL", server.base_url)
        for name in ("TENSORLOOP_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY", "AZURE_OPENAI_API_KEY"):
            monkeypatch.setenv(name, "none")
        (tmp_path / "cassettes").symlink_to(cassette.FOLDER)
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        yield server


def run(code: str, names: dict[str, Any], page: Path) -> None:
    """Run a block, which may await at its top."""
    compiled = compile(code, page.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if compiled.co_flags & inspect.CO_COROUTINE:

        async def await_block() -> None:
            await eval(compiled, names)

        asyncio.run(await_block())
    else:
        exec(compiled, names)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_code_runs_in_its_order(
    page: Path, server: ReplayServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reader who copies the blocks of a page one after the other gets what the page says."""
    for module, extra in NEEDS.get(page.name, []):
        requirements.module(module, extra)
    names: dict[str, Any] = {"__name__": "__main__"}
    printed, asked = "", 0
    with pages.closing_clients():
        for block in blocks(page):
            if block.note.startswith("file: "):
                path = tmp_path / block.note.removeprefix("file: ")
                path.write_text(block.code, "utf-8")
                if path.name.startswith("test_"):
                    ran = subprocess.run(
                        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)],
                        capture_output=True,
                        text=True,
                        check=False,
                        # Plugins of other tests take seconds to import.
                        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
                    )
                    assert ran.returncode == 0, ran.stdout + ran.stderr
            elif block.note == "output":
                assert block.code.rstrip() == printed.rstrip()
            elif block.language == "python":
                capsys.readouterr()
                run(_BASE_URL.sub(f'"{server.base_url}"', block.code), names, page)
                printed = capsys.readouterr().out
                asked += 1

    assert asked
    # All that was asked, was asked of the replay.
    assert server.unmatched == []


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda path: path.relative_to(DOCS).as_posix())
def test_a_shown_cassette_plays(page: Path, tmp_path: Path) -> None:
    """A cassette can be written by hand as the page shows."""
    for block in blocks(page):
        if block.note == "cassette":
            path = tmp_path / "by_hand.yaml"
            path.write_text(block.code, "utf-8")
            with ReplayServer(path) as server, Tensorloop(base_url=server.base_url, api_key="none") as client:
                stream = client.chat.completions.create(
                    model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello?"}], stream=True
                )

                assert ChatStream(stream).get_final_text() == "Hello!"
                assert server.unmatched == []


def test_a_block_that_is_wrong_is_found(server: ReplayServer, tmp_path: Path) -> None:
    """The test of the pages can fail: it reads blocks, their comments, and what they print."""
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n\n<!-- output -->\n```text\n2\n```\n\n```python\nawait nothing()\n```\n")

    assert blocks(page) == [
        Block("", "python", "print(1)\n"),
        Block("output", "text", "2\n"),
        Block("", "python", "await nothing()\n"),
    ]
    with pytest.raises(NameError, match="nothing"):
        run(blocks(page)[2].code, {}, page)
