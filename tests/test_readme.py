from __future__ import annotations

import re
from pathlib import Path

import pytest
import recorded

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def block(marker: str) -> str:
    """Return the code block that follows a comment."""
    found = re.search(rf"<!-- {re.escape(marker)} -->\n```\w+\n(.*?)```\n", README, re.DOTALL)
    assert found, f"README.md has no block marked {marker}"
    return found[1]


def test_the_example_is_the_recipe() -> None:
    """What the README shows is what the tests run."""
    assert block("recipes/stream.py") == (ROOT / "recipes/stream.py").read_text("utf-8")


def test_the_output_is_the_recorded_one() -> None:
    """What the README says the first command prints is what it prints."""
    haiku = recorded.text("chat/haiku")

    assert block("output of the first command") == f"{haiku}\n--- final ({len(haiku)} chars) ---\n"


def test_the_two_commands_stand_at_the_top() -> None:
    """A fresh machine needs no more."""
    top = README[: README.index("\n## ")]

    assert (
        'pip install -e ".[replay]" && python -m tensorloop_stream.replay cassettes -- python recipes/stream.py' in top
    )
    assert 'pip install -e ".[test]" && pytest' in top


def test_every_file_that_it_names_is_there() -> None:
    """Links and commands point at files of the repository."""
    named = re.findall(r"(?:\]\(|python |`)((?:tests|recipes|cassettes|\.ci)/[\w./-]+)", README)

    assert named
    assert not [name for name in named if not (ROOT / name).exists()]


@pytest.mark.parametrize("recipe", sorted(path.name for path in ROOT.glob("recipes/*.py")))
def test_every_recipe_is_in_the_table(recipe: str) -> None:
    """A recipe that nobody finds answers no question."""
    assert f"](recipes/{recipe})" in README
