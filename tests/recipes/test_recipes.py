"""Properties of all recipes, and the README's first command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cassette
import pages
import pytest
import recorded

from tensorloop_stream.replay import ReplayServer

ROOT = Path(__file__).parents[2]
RECIPES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("recipes/*.py"))
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for kind in ("*.py", "*.mjs", "*.ts", "*.html")
    for path in (ROOT / "recipes").rglob(kind)
    if "node_modules" not in path.parts
)
HAIKU = recorded.text("chat/haiku")


@pytest.fixture(scope="module")
def replay() -> Iterator[ReplayServer]:
    with ReplayServer([cassette.FOLDER]) as server:
        yield server


@pytest.fixture(autouse=True)
def _served(replay: ReplayServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENSORLOOP_BASE_URL", replay.base_url)
    monkeypatch.setenv("TENSORLOOP_KEY", "tl_none")


@pytest.mark.parametrize("recipe", ["stream", "stream_async", "stream_callbacks", "raw_http"])
def test_a_recipe_prints_the_haiku(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The text is printed as it arrives, then its length."""
    pages.run_recipe(recipe)

    assert capsys.readouterr().out == f"{HAIKU}\n--- final ({len(HAIKU)} chars) ---\n"


@pytest.mark.parametrize("recipe", PAGES)
def test_a_recipe_is_a_page(recipe: str) -> None:
    """A recipe has at most 40 lines or a reason for more, and its docstring begins with the command that runs it."""
    text = (ROOT / recipe).read_text("utf-8")

    assert len(text.splitlines()) <= 40 or re.search(r"(?m)^\W*Longer than a page, since ", text[:1000])
    assert recipe not in RECIPES or f"python {recipe}" in text.partition("\n")[0]


@pytest.mark.parametrize("recipe", ["stream", "stream_async", "raw_http"])
def test_a_recipe_without_a_key_names_the_remedies(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence names the variable and the replay command; there is no traceback, and the status is 1."""
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
    assert "python -m tensorloop_stream.replay cassettes --" in end.value.code


def run_the_first_command() -> tuple[int, list[bytes]]:
    """Return the status of the README's first command, and each read of its output."""
    command = [sys.executable, "-m", "tensorloop_stream.replay", "cassettes", "--", sys.executable, "recipes/stream.py"]
    reads = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while read := os.read(process.stdout.fileno(), 65536):
            reads.append(read)
    return process.returncode, reads


@pytest.fixture(scope="module", autouse=True)
def first_command() -> Iterator[Future[tuple[int, list[bytes]]]]:
    """The result of the first command, which runs beside other tests."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(run_the_first_command)


def test_the_readmes_first_command_runs_the_haiku(first_command: Future[tuple[int, list[bytes]]]) -> None:
    """The haiku is printed as it arrives, without a key, and the status is 0."""
    status, reads = first_command.result()

    assert status == 0
    assert b"".join(reads).decode() == f"{HAIKU}\n--- final ({len(HAIKU)} chars) ---\n"
    # Two texts may share a read on a busy machine; output that is printed at the end would take one read.
    assert len(reads) > len(recorded.chunks("chat/haiku")) / 2
