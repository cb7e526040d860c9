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
from chunks import finish, sse, text

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


@pytest.mark.parametrize("reason", ["length", "content_filter"])
@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        *((recipe, "chat/haiku") for recipe in ("stream", "stream_async", "stream_callbacks", "raw_http", "restart")),
        ("moderate", "chat/haiku"),
        ("limits", "chat/haiku"),
        ("reasoning", "reasoning/reasoning_content"),
        ("keep_partial_text", "errors/mid_stream_error"),
        ("usage_and_cost", "chat/usage_of_a_budget"),
        ("stop_sequences", "chat/stop_sequence"),
    ],
)
def test_a_cut_answer_says_so(
    recipe: str, name: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last lines name the finish reason, which is no error, and no whole answer either."""
    body = sse(text("Half an answer"), finish(reason))
    with (
        ReplayServer(recorded.cassette_with_body(name, tmp_path, body)) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("TENSORLOOP_BASE_URL", server.base_url)
        pages.run_recipe(recipe)
    printed = capsys.readouterr()

    assert "Half an answer" in printed.out
    assert re.search(rf"\([^()]*{reason}|finish reason: {reason}", printed.out + printed.err)


@pytest.mark.parametrize("recipe", PAGES)
def test_a_recipe_is_a_page(recipe: str) -> None:
    """A recipe has at most 40 lines or a reason for more, and its docstring begins with the command that runs it."""
    source = (ROOT / recipe).read_text("utf-8")

    assert len(source.splitlines()) <= 40 or re.search(r"(?m)^\W*Longer than a page, since ", source[:1000])
    assert recipe not in RECIPES or f"python {recipe}" in source.partition("\n")[0]


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
    assert "\n" not in end.value.code.lstrip("\n")
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
