"""Find the end of a JSON object that arrives in pieces, in one pass over its characters."""

from __future__ import annotations

import re
from typing import Literal

from tensorloop_stream._stream.text import TextBuffer

# Possessive: a quantifier that can go back keeps a stack frame for each character.
_REST_OF_STRING = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)
_MARK = re.compile(r'["{}]')


class ObjectText(TextBuffer):
    """Text in pieces that may be one JSON object, and whether the object is whole.

    A piece without an opening brace cannot begin another object: it may be appended unseen, and is looked at later.
    """

    __slots__ = ("_depth", "_is_escaped", "_is_quoted", "_looked_at", "state")

    def __init__(self) -> None:
        super().__init__()
        self.clear()

    def clear(self) -> None:
        """Forget all that has come."""
        self._parts.clear()
        self._high = ""
        self._looked_at = self._depth = 0
        self._is_quoted = self._is_escaped = False
        # Blank until a character comes; other for text that is no object, or more than one object.
        self.state: Literal["blank", "open", "whole", "other"] = "blank"

    def take(self, text: str) -> str:
        """Take a piece, and return the part of it that begins another object."""
        self.look()
        end = self._look_at(text)
        rest = text[end:].lstrip() if self.state == "whole" else ""
        if rest.startswith("{"):
            text = text[:end]
        elif rest:
            self.state = "other"
        if text:
            self.append(text)
            self._looked_at = len(self._parts)
        return rest if rest.startswith("{") else ""

    def look(self) -> None:
        """Look at the pieces that were appended unseen."""
        parts = self._parts
        for number in range(self._looked_at, len(parts)):
            end = self._look_at(parts[number])
            if self.state == "whole" and parts[number][end:].strip():
                self.state = "other"
        self._looked_at = len(parts)

    def __str__(self) -> str:
        self.look()
        text = super().__str__()
        self._looked_at = len(self._parts)
        return text

    def begins(self, text: str) -> bool:
        """Tell whether `text` begins with all of the pieces."""
        # The first piece decides it nearly always, and joining all of them each time would be quadratic.
        return bool(self._parts) and text.startswith(self._parts[0]) and text.startswith(str(self))

    def _look_at(self, text: str) -> int:
        """Return where the object ends in a piece, 0 if it ended before."""
        if not text or self.state in {"whole", "other"}:
            return 0
        at = 0
        if self.state == "blank":
            at = len(text) - len(text.lstrip())
            if at == len(text):
                return at
            self.state = "open" if text[at] == "{" else "other"
        while self.state == "open":
            if self._is_quoted:
                # A backslash that ended the last piece takes one character of this one.
                at += self._is_escaped
                self._is_escaped = False
                found = _REST_OF_STRING.match(text, at)
                at = found.end() if found else at
                if at == len(text):
                    break
                self._is_escaped = text[at] == "\\"
                self._is_quoted = self._is_escaped
                at += 1
                if self._is_escaped:
                    break
                continue
            found = _MARK.search(text, at)
            if found is None:
                break
            at = found.end()
            if found[0] == '"':
                self._is_quoted = True
            else:
                self._depth += 1 if found[0] == "{" else -1
                if not self._depth:
                    self.state = "whole"
        return at if self.state == "whole" else len(text)
