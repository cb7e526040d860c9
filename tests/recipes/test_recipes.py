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


@pytest.mark.parametrize("recipe", ["stream", "stream_async", "stream_callbacks", "existing_code", "raw_http"])
def test_the_haiku_in_every_form(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The documented flow: the text as it arrives, then its length."""
    pages.run_recipe(recipe)

    assert capsys.readouterr().out == f"{HAIKU}\n--- final ({len(HAIKU)} chars) ---\n"


@pytest.mark.parametrize("recipe", PAGES)
def test_a_recipe_is_a_page(recipe: str) -> None:
    """One question, at most 40 lines or a reason, and its docstring begins with the command that runs it."""
    text = (ROOT / recipe).read_text("utf-8")

    assert len(text.splitlines()) <= 40 or re.search(r"(?m)^\W*Longer than a page, since ", text[:1000])
    assert recipe not in RECIPES or f"python {recipe}" in text.partition("\n")[0]


@pytest.mark.parametrize("recipe", ["stream", "stream_async", "existing_code", "raw_http"])
def test_without_a_key_a_recipe_says_what_to_do(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence that names the variable and the replay command, no traceback, and a failing status."""
    for name in [name for name in os.environ if name.startswith(("TENSORLOOP", "OPENAI"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        pages.run_recipe(recipe)

    # Python prints a text that a program ends with, and fails.
    assert isinstance(end.value.code, str)
    assert capsys.readouterr() == ("", "")
    assert "\n" not in end.value.code
    assert "TENSORLOOP_KEY" in end.value.code
    assert "python -m tensorloop_stream.replay cassettes --" in end.value.code


def run_the_first_command() -> tuple[int, list[bytes]]:
    """Return its status, and what each read of its output brought."""
    command = [sys.executable, "-m", "tensorloop_stream.replay", "cassettes", "--", sys.executable, "recipes/stream.py"]
    reads = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while read := os.read(process.stdout.fileno(), 65536):
            reads.append(read)
    return process.returncode, reads


@pytest.fixture(scope="module", autouse=True)
def first_command() -> Iterator[Future[tuple[int, list[bytes]]]]:
    """It runs while other tests do: most of it is waiting."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(run_the_first_command)


def test_the_readmes_first_command_runs_the_haiku(first_command: Future[tuple[int, list[bytes]]]) -> None:
    """The main job with no key: the recorded haiku, piece by piece, and status 0."""
    status, reads = first_command.result()

    assert status == 0
    assert b"".join(reads).decode() == f"{HAIKU}\n--- final ({len(HAIKU)} chars) ---\n"
    # Two pieces may share a read on a busy machine; one write at the end would be a single one.
    assert len(reads) > len(recorded.chunks("chat/haiku")) / 2
