"""The page of errors: every public error, and texts that the package has."""

from __future__ import annotations

import re
from pathlib import Path

import openai

import tensorloop_stream

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / ".docs/errors.md").read_text("utf-8")
ERRORS = {
    name: kind
    for name in tensorloop_stream.__all__
    if isinstance(kind := getattr(tensorloop_stream, name), type) and issubclass(kind, Exception)
}


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_every_error_has_a_row() -> None:
    """A row says what happened, what to do, and by which other classes the error is caught."""
    rows = {cells(row)[0].strip("`"): cells(row) for row in re.findall(r"(?m)^\| `Stream\w+` \|.*$", PAGE)}

    assert list(rows) == sorted(ERRORS, key=lambda name: list(rows).index(name))
    for name, kind in ERRORS.items():
        _, happened, remedy, also = rows[name]
        bases = [base for base in kind.__mro__[1:] if base.__module__ in {"openai", "builtins"}]
        most_special = [
            base for base in bases if not any(issubclass(other, base) for other in bases if other is not base)
        ]
        named = {base.__name__ if base.__module__ == "builtins" else f"openai.{base.__name__}" for base in most_special}
        assert happened, name
        assert remedy, name
        assert set(re.findall(r"`([^`]+)`", also)) == named, name


def test_every_text_is_one_of_the_package() -> None:
    """Texts stand in the tables as the package words them."""
    source = "".join(path.read_text("utf-8") for path in sorted((ROOT / "tensorloop_stream").rglob("*.py")))
    joined = re.sub(r"\"\s*\n\s*f?\"", "", source)
    setup = PAGE[PAGE.index("## When something is set up wrongly") :]
    texts = [cells(row)[0].strip("`") for row in re.findall(r"(?m)^\| `.*$", setup)]

    assert len(texts) > 30
    assert [text for text in texts if text not in joined] == []


def test_every_error_of_the_sdk_exists() -> None:
    """The page names classes as the SDK does."""
    named = set(re.findall(r"`openai\.(\w+)`", PAGE))

    assert named
    assert [name for name in named if not hasattr(openai, name)] == []
