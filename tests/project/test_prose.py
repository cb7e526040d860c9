"""Docstrings begin with a verb or a noun phrase, and never with a word that begins a question or a fragment."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tensorloop_stream

PACKAGE = Path(tensorloop_stream.__file__).parent
ROOT = Path(__file__).parents[2]
FILES = {
    f"{folder.name}/{path.relative_to(folder).as_posix()}": path
    for folder in (PACKAGE, ROOT / "tests", ROOT / "recipes")
    for path in sorted(folder.rglob("*.py"))
    if "node_modules" not in path.parts
}
QUESTIONS = {"What", "Who", "When", "How", "Where"}
FRAGMENTS = {"Of", "Not", "So", "As", "For", "At", "From"}


def docstrings(source: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the docstring of a module, and of each class and function in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "name", "module"), text


def first_word(text: str) -> str:
    return text.split(maxsplit=1)[0].strip(".,:;") if text.strip() else ""


@pytest.mark.parametrize("name", FILES)
def test_docstrings_begin_with_a_verb_or_a_noun_phrase(name: str) -> None:
    """A docstring names its subject or its action, in a sentence that stands alone."""
    found = docstrings(FILES[name].read_text("utf-8"))
    riddles = {owner: text for owner, text in found if first_word(text) in QUESTIONS | FRAGMENTS}

    assert riddles == {}


def test_a_riddle_is_found() -> None:
    """The check reads modules, classes, functions and methods."""
    source = '''"""What it does."""

class Stream:
    """{fragment}"""

    async def close(self):
        """At once."""

def ask():
    """Whatever comes is returned."""
'''.format(fragment="So that it is short.")
    found = {owner: first_word(text) for owner, text in docstrings(source)}

    assert found == {"module": "What", "Stream": "So", "close": "At", "ask": "Whatever"}
