"""The how-to pages and the list of recipes: every recipe is in both, with its extra."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / ".docs/how-to"
PAGES = {path.stem: path.read_text("utf-8") for path in HOW_TO.glob("*.md")}
LIST = (ROOT / "recipes/README.md").read_text("utf-8")
KINDS = {".html", ".ipynb", ".mjs", ".py", ".ts"}
RECIPES = sorted(
    path.relative_to(ROOT / "recipes").as_posix()
    for path in (ROOT / "recipes").rglob("*")
    if path.suffix in KINDS and not {"node_modules", ".ipynb_checkpoints"} & set(path.parts)
)
# What no extra brings, because every installation has it.
BROUGHT = {*sys.stdlib_module_names, "tensorloop_stream", "openai", "pydantic", "jiter", "dotenv"}
TASK = re.compile(
    r"^## [^\n]+\n\n(?P<text>.*?)\n\n"
    r"\[`recipes/(?P<name>[^`]+)`\]\(../../recipes/(?P=name)\)(?:, extra `(?P<extra>[a-z,]+)`)?",
    re.DOTALL | re.MULTILINE,
)


def shown() -> dict[str, str]:
    """Return the extra of each recipe on the how-to pages."""
    found = [each for page in PAGES.values() for each in TASK.finditer(page)]
    assert len({each["name"] for each in found}) == len(found)
    return {each["name"]: each["extra"] or "" for each in found}


def listed() -> dict[str, str]:
    """Return the extra of each recipe in the list."""
    return dict(re.findall(r"(?m)^\| [^|]+ \| \[`([^`]+)`\]\(\1\) \| +(?:`([a-z,]+)` )?\|$", LIST))


def test_every_recipe_is_shown_whole() -> None:
    """A recipe that is added has its place on a page; the tests run what is shown."""
    included = [name for page in PAGES.values() for name in re.findall(r"{literalinclude} ../../recipes/(\S+)", page)]

    assert sorted(included) == [name for name in RECIPES if not name.endswith(".ipynb")]
    assert sorted(shown()) == RECIPES


def test_every_recipe_is_listed_under_its_page() -> None:
    """The list has the pages' tasks, with the same extras."""
    assert listed() == shown()


@pytest.mark.parametrize("name", [name for name in RECIPES if name.endswith(".py")])
def test_an_extra_brings_what_a_recipe_imports(name: str) -> None:
    """A recipe that imports more than every installation has names an extra, and no other does."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = set(tomllib.load(file)["project"]["optional-dependencies"])
    imported = set(re.findall(r"(?m)^ *(?:from|import) (\w+)", (ROOT / "recipes" / name).read_text("utf-8"))) - BROUGHT
    named = set(filter(None, shown()[name].split(",")))

    assert bool(imported) == bool(named), imported
    assert named <= extras


@pytest.mark.parametrize("page", [name for name in PAGES if name != "index"])
def test_a_task_has_two_sentences(page: str) -> None:
    """A reader knows after two sentences whether this is the recipe."""
    texts = [each["text"] for each in TASK.finditer(PAGES[page])]

    assert texts
    assert [text for text in texts if len(re.findall(r"[.!?](?=\s|$)", text)) != 2] == []


def test_every_page_is_in_the_index() -> None:
    """The index names each page in its table and in its tree."""
    index = PAGES["index"]

    assert sorted(re.findall(r"\]\((\w+)\.md\)", index)) == sorted(set(PAGES) - {"index"})
