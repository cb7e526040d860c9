"""The page of errors: every public error, and texts that the package has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
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

SETUP = PAGE[PAGE.index("## When something is set up wrongly") :]
KINDS = {"BlockingIOError", "OpenAIError", "RuntimeError", "TypeError", "ValueError"}
# Data of a gateway that are no chunk become a StreamDecodeError, and errors of a prompt begin with its line. The
# commands print what is wrong.
ELSEWHERE = ("_chat/", "_transport/", "_stream/model_copy.py", "check/", "prompts/jsonl.py", "recipes/", "replay/")


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]


TEXTS = [
    text
    for row in re.findall(r"(?m)^\| `.*$", SETUP)
    for text in re.findall(r"`([^`]+)`", row.strip("|").split("|")[0])
]


def texts_raised() -> Iterator[tuple[str, str]]:
    """Yield each module and the texts of the errors that it makes for a wrong call."""
    package = ROOT / "tensorloop_stream"
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS and node.args:
                text = node.args[0]
                parts = text.values if isinstance(text, ast.JoinedStr) else [text]
                constants = [str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts]
                if any(constant != "{}" for constant in constants):
                    yield path.relative_to(package).as_posix(), "".join(constants)


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
    assert len(TEXTS) > 30
    assert [text for text in TEXTS if text not in joined] == []


def test_every_text_of_the_package_is_on_the_page() -> None:
    """A reader finds what an error of a wrong call says, and the remedy."""
    raised = {(name, text) for name, text in texts_raised() if not name.startswith(ELSEWHERE)}

    assert len(raised) > 30
    assert {(name, text) for name, text in raised if not any(each in text for each in TEXTS)} == set()


def test_every_error_of_the_sdk_exists() -> None:
    """The page names classes as the SDK does."""
    named = set(re.findall(r"`openai\.(\w+)`", PAGE))

    assert named
    assert [name for name in named if not hasattr(openai, name)] == []
