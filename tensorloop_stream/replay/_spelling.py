"""The keys of a cassette that a replay reads, and those that look like one of them. No I/O."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

# Other recorders have keys of their own: `recorded_at`, `http_version`, `encoding`.
_IN_FILE = ("version", "interactions", "replay")
_IN_INTERACTION = {
    (): ("request", "response", "replay"),
    ("request",): ("method", "uri", "body", "headers"),
    ("response",): ("status", "headers", "body"),
    ("response", "status"): ("code", "message"),
    ("response", "body"): ("string",),
}
_REQUIRED = {"request", "response", "method", "uri", "status", "code"}
_NEAR = 0.75
# Without it the interaction is refused in any case: a farther guess does no harm.
_NEAR_REQUIRED = 0.6


def check_file_keys(cassette: Mapping[Any, Any]) -> None:
    """Raise `ValueError` for a key at the top of a cassette that is a misspelt one."""
    _check(cassette, _IN_FILE, ())


def check_keys(interaction: object) -> None:
    """Raise `ValueError` for a misspelt key of an interaction, and for a body of an answer without its text.

    A key is misspelt if it is unknown and like a known one that is missing.
    """
    for path, known in _IN_INTERACTION.items():
        part: Any = interaction
        for name in path:
            part = part.get(name) if isinstance(part, dict) else None
        if isinstance(part, dict):
            _check(part, known, path)
            if path == ("response", "body") and part and "string" not in part:
                raise ValueError(f"response.body has {', '.join(map(str, part))}, where string is wanted")


def nearest(name: str, known: Iterable[str], likeness: float = _NEAR) -> str | None:
    """Return the known name that a name is a misspelling of, or `None`."""
    found = get_close_matches(name.lower(), sorted(known), 1, likeness)
    return found[0] if found else None


def _check(part: Mapping[Any, Any], known: Iterable[str], path: tuple[str, ...]) -> None:
    missing = {name for name in known if name not in part}
    for key in part:
        if key in known:
            continue
        if near := nearest(str(key), missing) or nearest(str(key), missing & _REQUIRED, _NEAR_REQUIRED):
            raise ValueError(f"{'.'.join([*path, str(key)])} is unknown: did you mean {near}?")
