"""Text that arrives in pieces."""

from __future__ import annotations

import json


class TextBuffer:
    """Text in pieces, joined on demand and at most once per reading."""

    __slots__ = ("_high", "_parts")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._high = ""

    def append(self, piece: str) -> str:
        """Take a piece and return what a reader may be shown, which is whole characters only."""
        if self._high:
            piece = _paired(self._high + piece)
            self._high = ""
        if piece[-1] >= "\ud800" and piece[-1] <= "\udbff":
            # The first half of a UTF-16 pair: its other half is the start of the next piece.
            self._high = piece[-1]
            piece = piece[:-1]
        self._parts.append(piece)
        return piece

    def __bool__(self) -> bool:
        return bool(self._parts)

    def __str__(self) -> str:
        parts = self._parts
        if len(parts) > 1:
            # Kept joined, and extended in place where nobody holds the last text: Python copies only what is new if
            # a local variable has the one reference.
            text = parts.pop(0)
            text += "".join(parts)
            parts[:] = [text]
        return (parts[0] if parts else "") + self._high


def _paired(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def as_text(value: object) -> str:
    """Return a value that belongs into a text field as text: anything but a string as its JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
