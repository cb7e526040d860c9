"""Find the recipes, what each is about, and which files belong to it."""

from __future__ import annotations

import re
from pathlib import Path

_HERE = Path(__file__).parent
_KINDS = frozenset({".py", ".mjs", ".ts", ".html", ".ipynb", ".json"})
_DIRECTORIES_OF_TOOLS = frozenset({"node_modules", "__pycache__", ".ipynb_checkpoints"})
# The first line that says something: of a docstring or a comment, in any of the languages.
_FIRST_SENTENCE = re.compile(r'\A(?:<!doctype html>\n)?(?:"""|// |<!-- )(?P<text>[^\n]*)', re.IGNORECASE)


def cassettes() -> Path:
    """Return the folder of the recorded streams, beside that of the recipes or in the wheel."""
    beside = folder().with_name("cassettes")
    if not beside.is_dir():
        raise FileNotFoundError("this installation has no cassettes: install the package again")
    return beside


def folder() -> Path:
    """Return the folder of the recipes: that of the wheel, or in an editable install that of the repository."""
    for path in (_HERE / "files", _HERE.parents[1] / "recipes"):
        if path.is_dir():
            return path
    raise FileNotFoundError("this installation has no recipes: install the package again")


def names() -> list[str]:
    """Return the recipes, as paths below their folder."""
    root = folder()
    found = (path.relative_to(root) for path in root.rglob("*"))
    return sorted(
        path.as_posix() for path in found if path.suffix in _KINDS and not _DIRECTORIES_OF_TOOLS & set(path.parts)
    )


def find(name: str) -> str:
    """Return the recipe of a name, with or without its folder and suffix; `LookupError` if there is none."""
    wanted = name.removeprefix("recipes/")
    for matches in (
        lambda each: each == wanted,
        lambda each: Path(each).with_suffix("").as_posix() == wanted,
        lambda each: Path(each).name == wanted or Path(each).stem == wanted,
    ):
        if found := [each for each in names() if matches(each)]:
            return found[0]
    near = [each for each in names() if wanted and wanted in each]
    hint = f"did you mean {', '.join(near)}?" if near else "python -m tensorloop_stream.recipes lists them"
    raise LookupError(f"no recipe is called {name}: {hint}")


def summary(name: str) -> str:
    """Return what a recipe is about, in one line."""
    if name.endswith(".ipynb"):
        return "Watch answers in a notebook"
    found = _FIRST_SENTENCE.match((folder() / name).read_text("utf-8"))
    text = found["text"] if found else ""
    # After a colon stands the command that runs it.
    return re.sub(r"(: (python|node|npx|streamlit) .*|\W*-->|\"\"\")$", "", text).strip()


def with_companions(name: str) -> list[str]:
    """Return a recipe and the files that it reads: its page, and for JavaScript what npm needs.

    The cassettes of a recipe that plays them itself are those of `needs_cassettes`.
    """
    text = (folder() / name).read_text("utf-8")
    every = names()
    beside = [Path(name).parent / found for found in re.findall(r'with_name\("([\w.]+)"\)', text)]
    if re.search(r'from "openai', text):
        beside.append(Path("javascript/package.json"))
    return [name, *(path.as_posix() for path in beside if path.as_posix() in every)]


def needs_cassettes(name: str) -> bool:
    """Tell whether a recipe plays the cassettes by itself, as tests do."""
    return '/ "cassettes' in (folder() / name).read_text("utf-8")
