"""The README: its length, its commands, links, tables and examples."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import cassette
import pages
import pytest
import recorded
from readability import MOST_WORDS, sentences, words

import tensorloop_stream
from tensorloop_stream import StreamError
from tensorloop_stream.replay import ReplayServer
from tensorloop_stream.replay._cli import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
FIRST_SCREEN = README[: README.index("\n## ")]
FIRST = 'pip install -e ".[replay]" && python -m tensorloop_stream.replay cassettes -- python recipes/stream.py'
SECOND = 'pip install -e ".[test]" && pytest'


def blocks(language: str) -> list[str]:
    """Return the code blocks in a language."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", README)


def section(heading: str) -> str:
    """Return the text under a heading."""
    return README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_the_page_is_short() -> None:
    """A reader decides in half a minute."""
    assert len(README.splitlines()) <= 160
    assert len(README.encode()) <= 10_000
    assert [sentence for sentence in sentences(README) if words(sentence) > MOST_WORDS] == []


def test_the_first_screen_answers_what_it_is_and_how_to_begin() -> None:
    """The versions, the one changed line and the two commands stand before the first heading."""
    assert "Python 3.11" in FIRST_SCREEN
    assert "`openai` 2.31" in FIRST_SCREEN
    assert "client = Tensorloop()" in blocks("python")[0]
    assert FIRST in FIRST_SCREEN
    assert SECOND in FIRST_SCREEN


def test_the_example_is_the_recipe() -> None:
    """The tests run the code that the README shows."""
    assert (ROOT / "recipes/stream.py").read_text("utf-8") in blocks("python")


def test_the_output_is_the_recorded_one() -> None:
    """The README shows the output of the first command."""
    haiku = recorded.text("chat/haiku")

    assert blocks("text") == [f"{haiku}\n--- final ({len(haiku)} chars) ---\n"]


@pytest.mark.parametrize("code", blocks("python"))
def test_every_block_of_python_runs(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shown code runs against recorded answers."""
    with ReplayServer(cassette.FOLDER) as server:
        for name in ("TENSORLOOP", "OPENAI"):
            monkeypatch.setenv(f"{name}_BASE_URL", server.base_url)
        monkeypatch.setenv("TENSORLOOP_KEY", "tl_none")
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        with pages.closing_clients():
            exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})

        assert server.unmatched == []


def test_the_shown_command_runs(tmp_path: Path) -> None:
    """A reader's own program runs under the replay, and an option that is named breaks its stream."""
    (shown,) = (block for block in blocks("sh") if "your_program.py" in block)
    (tmp_path / "cassettes").symlink_to(cassette.FOLDER)
    (tmp_path / "your_program.py").write_text((ROOT / "recipes/stream.py").read_text("utf-8"), "utf-8")
    _, *command = shlex.split(shown)
    command[command.index("python")] = sys.executable
    whole, cut = (
        subprocess.run(
            [sys.executable, *command[:3], *options, *command[3:]], cwd=tmp_path, capture_output=True, check=False
        )
        for options in ([], ["--cut-after", "7"])
    )

    assert (whole.returncode, whole.stdout.decode()) == (0, blocks("text")[0])
    assert (cut.returncode, cut.stdout.decode()) != (0, blocks("text")[0])
    assert cut.returncode == 1


def test_the_named_options_of_the_replay_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever tries one is not refused."""
    named = re.findall(r"`(--[a-z-]+)", section("Your program without a key"))
    with pytest.raises(SystemExit):
        main(["--help"])
    helped = capsys.readouterr().out

    assert len(named) == 5
    assert [name for name in named if name not in helped] == []


def test_every_link_ends_at_a_file_or_a_heading() -> None:
    """Links, pictures and commands name what is there."""
    prose = re.sub(r"(?ms)^```.*?^```$", "", README)
    targets = re.findall(r"\]\(([^)]+)\)", prose)
    headings = {f"#{heading.lower().replace(' ', '-')}" for heading in re.findall(r"(?m)^## (.*)$", README)}
    files = [target for target in targets if not target.startswith(("https://", "#"))]
    files += re.findall(r"(?:python |`)((?:tests|recipes)/[\w./-]+)", README)

    assert len(files) > 30
    assert [name for name in files if not (ROOT / name).exists()] == []
    assert {target for target in targets if target.startswith("#")} <= headings


def test_every_error_is_in_the_table() -> None:
    """A reader who catches one finds what to do."""
    named = re.findall(r"(?m)^\| `(\w+)` \|", section("When a stream breaks"))
    errors = [getattr(tensorloop_stream, name) for name in tensorloop_stream.__all__ if name.endswith("Error")]

    assert sorted(named) == sorted(each.__name__ for each in errors if each is not StreamError)


def test_the_comparison_is_that_of_its_page() -> None:
    """The totals, and the numbers at the top, are those of the page with each stream."""
    page = (ROOT / ".docs/comparison.md").read_text("utf-8")
    rows = re.findall(r"(?m)^\| .* \d+ \|$", section("Comparison"))
    right, wrong, unnoticed, raises, hangs = map(
        int, re.findall(r"(?m)^\| openai .*$", "\n".join(rows))[0].split("|")[2:7]
    )

    assert len(rows) == 5
    assert [row for row in rows if row not in page] == []
    assert f"[{unnoticed} broken ones](#comparison)" in FIRST_SCREEN
    assert f"[{wrong + raises + hangs} more](.docs/comparison.md)" in FIRST_SCREEN
    assert f"Of {right + wrong + unnoticed + raises + hangs} streams" in FIRST_SCREEN


def test_ten_recipes_are_shown_and_all_are_counted() -> None:
    """The list of all recipes has as many as the README says."""
    listed = re.findall(r"(?m)^\| [^|]+ \| \[`", (ROOT / "recipes/README.md").read_text("utf-8"))
    shown = section("Recipes")

    assert len(re.findall(r"\]\(recipes/(?!README)", shown)) == 10
    assert f"has {len(listed)};" in shown
