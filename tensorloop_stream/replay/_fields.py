"""Fields of a request by their dotted paths: `model`, `messages.0`, `messages.-1.content`, `tools.*.name`. No I/O."""

import json
from collections.abc import Iterator
from typing import Any

Path = tuple[str, ...]


def path_of(text: str) -> Path:
    """Read a dotted path; raises `ValueError` for one without names."""
    path = tuple(text.split("."))
    if not all(path):
        raise ValueError(f"a path such as messages.0.content is wanted, not {text!r}")
    return path


def values_at(value: Any, path: Path) -> Iterator[Any]:
    """Yield the values at a path: one or none, and several with `*`."""
    if not path:
        yield value
        return
    name, rest = path[0], path[1:]
    for key in _keys(value, name):
        yield from values_at(value[key], rest)


def without(value: Any, path: Path) -> Any:
    """Return a copy that lacks what is at a path; elements of a list are blanked, so that the others stay in place."""
    keys = _keys(value, path[0]) if path else []
    if not keys:
        return value
    copy = value.copy()
    for key in keys:
        if len(path) > 1:
            copy[key] = without(value[key], path[1:])
        elif isinstance(copy, dict):
            del copy[key]
        else:
            copy[key] = None
    return copy


def text_of(value: Any) -> str:
    """Return a value as the text that a pattern is searched in: the texts of a message's parts, else JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and (texts := [part["text"] for part in value if _is_text_part(part)]):
        return "\n".join(texts)
    return json.dumps(value, ensure_ascii=False)


def _is_text_part(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)


def _keys(value: Any, name: str) -> list[Any]:
    """Return the keys of an object, or the indices of a list, that one name of a path stands for."""
    if isinstance(value, dict):
        return list(value) if name == "*" else [name] if name in value else []
    if not isinstance(value, list):
        return []
    if name == "*":
        return list(range(len(value)))
    digits = name.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        return []
    index = int(name) + (len(value) if name.startswith("-") else 0)
    return [index] if 0 <= index < len(value) else []
