"""The first page of the documentation: every extra, and files that exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / ".docs/index.md").read_text("utf-8")


def test_every_extra_is_in_the_table() -> None:
    """A reader finds extras by this table, and no others are in it."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = set(tomllib.load(file)["project"]["optional-dependencies"])
    table = PAGE[PAGE.index("## Extras") : PAGE.index("```{toctree}")]
    named = {name for row in re.findall(r"(?m)^\| (`[^|]*) \|", table) for name in re.findall(r"`(\w+)`", row)}

    assert named == extras


def test_every_named_file_exists() -> None:
    """Pages name files of the repository that are there."""
    pages = {
        path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
        for path in (ROOT / ".docs").rglob("*.*")
        if path.suffix in {".md", ".rst"}
    }
    pattern = r"(?:`|python )((?:tests|recipes|cassettes|\.ci)/[\w./-]+\w)"
    named = {(page, name) for page, text in pages.items() for name in re.findall(pattern, text)}

    # Names that stand for the reader's own, and those of tests below tests/.
    missing = {each for each in named if not ({"NAME.py", "mine"} & {*Path(each[1]).parts})}
    missing = {each for each in missing if not any((root / each[1]).exists() for root in (ROOT, ROOT / "tests"))}

    assert len(named) > 50
    assert missing == set()
