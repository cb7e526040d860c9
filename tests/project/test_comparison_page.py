"""The page that compares the libraries: a row for each stream, and totals that are those of the rows."""

from __future__ import annotations

import re
from pathlib import Path

from odd_streams import ODD_STREAMS

DOCS = Path(__file__).parents[2] / ".docs"
PAGE = (DOCS / "comparison.md").read_text("utf-8")
NAMES = [odd.name for odd in ODD_STREAMS if not odd.seen.startswith("by hand")]


def rows(text: str) -> list[list[str]]:
    """Return the cells of the rows of a table."""
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in re.findall(r"(?m)^\|.*$", text)]


def test_the_page_has_a_row_for_each_stream_that_was_seen() -> None:
    """A stream that is added is compared, too."""
    _, _, *streams, _ = rows(PAGE[PAGE.index("## Stream by stream") :])

    assert [row[0] for row in streams] == NAMES


def test_the_totals_are_those_of_the_rows() -> None:
    """The table of totals, the last row and the number on the first page agree."""
    header, _, *streams, last = rows(PAGE[PAGE.index("## Stream by stream") :])
    right = [sum(row[column] == "right" for row in streams) for column in range(1, len(header))]
    totals = rows(PAGE[: PAGE.index("## Stream by stream")])
    kinds = totals[0][1:]
    counted = [
        [name, *(str(sum(row[column] == kind for row in streams)) for kind in kinds)]
        for column, name in enumerate(header[1:], 1)
    ]

    assert last[1:] == [f"**{count}**" for count in right]
    assert totals[2:] == counted
    assert f"[{len(NAMES) - right[1]} of {len(NAMES)} streams](comparison.md)" in (DOCS / "index.md").read_text("utf-8")
