"""Make up a text that a regular expression matches. No I/O."""

import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any

# The parser of the standard library; its name is private, its trees have been the same since Python 2.
_parser: Any = importlib.import_module("re._parser")
_CATEGORIES = {"CATEGORY_DIGIT": "0", "CATEGORY_WORD": "a", "CATEGORY_SPACE": " "}
_OTHERS = "a0A-_ .@/é"
_SAMPLES = {"0": r"\d", "a": r"\w", " ": r"\s"}


def text_for(pattern: str) -> str:
    """Return a text that a pattern matches as a whole or in part; `""` for a pattern beyond this module."""
    try:
        text = _text(_parser.parse(pattern))
        return text if re.search(pattern, text) else ""
    except (re.error, RecursionError, OverflowError):
        return ""


def _text(tree: Any) -> str:
    return "".join(_one(str(kind), value) for kind, value in tree)


def _one(kind: str, value: Any) -> str:
    make = _MAKERS.get(kind)
    return make(value) if make is not None else ""  # anchors, and what looks around


def _of_set(members: Any) -> str:
    """Return a character of a set such as `[a-z_]` or `[^/]`."""
    kind, value = str(members[0][0]), members[0][1]
    if kind == "RANGE":
        return chr(value[0])
    if kind != "NEGATE":
        return _one(kind, value)
    excluded = members[1:]
    return next((each for each in _OTHERS if not any(_holds(of, what, each) for of, what in excluded)), "")


def _holds(kind: object, value: Any, character: str) -> bool:
    """Return whether a member of a set stands for a character."""
    if str(kind) == "RANGE":
        return bool(value[0] <= ord(character) <= value[1])
    if str(kind) == "LITERAL":
        return bool(ord(character) == value)
    return re.match(_SAMPLES[_CATEGORIES.get(str(value), "a")], character) is not None


def _repeated(value: Any) -> str:
    least, most, inner = int(value[0]), int(value[1]), value[2]
    return _text(inner) * min(max(least, 1), most)


_MAKERS: Mapping[str, Callable[[Any], str]] = {
    "LITERAL": chr,
    "NOT_LITERAL": lambda value: next(each for each in _OTHERS if ord(each) != value),
    "ANY": lambda _: "a",
    "IN": _of_set,
    "CATEGORY": lambda value: _CATEGORIES.get(str(value), "a"),
    "BRANCH": lambda value: _text(value[1][0]),
    "SUBPATTERN": lambda value: _text(value[-1]),
    "MAX_REPEAT": _repeated,
    "MIN_REPEAT": _repeated,
    "POSSESSIVE_REPEAT": _repeated,
    "ATOMIC_GROUP": _text,
}
