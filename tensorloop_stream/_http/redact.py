"""Replace a key, in every form in which gateways repeat it, by stars.

LiteLLM names the last characters and the SHA-256 of a key that it refuses; others show its ends, or all of it.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import openai

if TYPE_CHECKING:
    from collections.abc import Mapping

_STARS = "***"
# A shorter key is a stand-in, and may be a word of the message.
_MIN_KEY = 8
_TAIL = 4
_DOTS = r"(?:\.{2,}|\*{2,}|…|\\u2026)"
_WORD = r"[\w-]"
# What no shown beginning of a key follows: after a backslash, the letter belongs to an escape of JSON.
_BEFORE = r"[\w\\-]"
_PART = r"[\w/-]{0,200}"
# An event of this size is forwarded in parts, of which the last characters may be the first of a key.
_MAX_HELD, _OVERLAP = 64 * 1024, 2048
_BLANK_LINES = (b"\n\n", b"\r\n\r\n", b"\r\r")


class Redactor:
    """Replaces one key in texts, bytes and JSON values; an empty or very short key is left alone."""

    __slots__ = ("_alone", "_digest", "_forms", "_forms_in_bytes", "_tail", "is_active")

    def __init__(self, key: str) -> None:
        self.is_active = len(key) >= _MIN_KEY and key.isascii()
        digest, tail = hashlib.sha256(key.encode()).hexdigest(), key[-_TAIL:]
        whole = "".join(map(_escaped, key))
        end = re.escape(tail)
        forms = (
            f"{whole}|(?i:{digest})"
            # Each begins with what is rare: the time must be linear in a text of a megabyte.
            f"|{re.escape(key[:_TAIL])}{_PART}{_DOTS}{_PART}|(?:(?<!{_BEFORE}){_WORD}{{0,16}})?{_DOTS}{_PART}{end}"
            rf"|(?i:(?<=ending )|(?<=ends )|(?<=last ))(?:\w+ ){{0,3}}['\"]?{end}"
        )
        self._forms, self._forms_in_bytes = re.compile(forms), re.compile(forms.encode())
        # The end of a key that stands alone; a word of letters might be one of the language.
        ends = [re.escape(key[start:]) for start in range(1, len(key) - _TAIL + 1) if not key[start:].isalpha()]
        self._alone = re.compile(f"(?<!{_WORD})(?:{'|'.join(ends) or '(?!)'})(?!{_WORD})")
        self._tail, self._digest = tail.encode(), digest[:8].encode()

    def text(self, text: str) -> str:
        """Return a text without the key."""
        return self._alone.sub(_STARS, self._forms.sub(_STARS, text)) if self.is_active else text

    def data(self, data: bytes) -> bytes:
        """Return bytes without the key; their JSON stays whole."""
        # Most reads are no error, and none of these is in them.
        if self.is_active and (self._tail in data or b"rror" in data or self._digest in data or b"\\u00" in data):
            return self._forms_in_bytes.sub(_STARS.encode(), data)
        return data

    def value(self, value: Any) -> Any:
        """Return a JSON value without the key in any of its strings."""
        if not self.is_active:
            return value
        # Not recursive: a gateway may nest an error as deep as it likes.
        copy = [value]
        left: list[Any] = [copy]
        while left:
            container = left.pop()
            for key, item in list(container.items() if isinstance(container, dict) else enumerate(container)):
                if isinstance(item, str):
                    container[key] = self.text(item)
                elif isinstance(item, dict):
                    container[key] = {self.text(str(name)): each for name, each in item.items()}
                    left.append(container[key])
                elif isinstance(item, list):
                    container[key] = [*item]
                    left.append(container[key])
        return copy[0]

    def error(self, error: BaseException) -> None:
        """Remove the key from the texts of an error that will be the cause of another."""
        if not self.is_active:
            return
        error.args = tuple(self.value(argument) for argument in error.args)
        if isinstance(error, openai.APIError):
            error.message = self.text(error.message)
            error.body = self.value(error.body)


class KeyFilter:
    """Passes on the bytes of an event stream without a key, whole events at a time where the reads cut them."""

    __slots__ = ("_held", "_redactor")

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes:
        """Take one read and return what may be passed on, perhaps nothing; each byte is searched about once."""
        redactor, held = self._redactor, self._held
        if not redactor.is_active:
            return data
        if not held and data.endswith(b"\n\n"):
            return redactor.data(data)
        # A blank line may have begun in the read before.
        start = max(0, len(held) - 3)
        held += data
        end = max(place + len(line) if (place := held.rfind(line, start)) >= 0 else 0 for line in _BLANK_LINES)
        passed = redactor.data(bytes(held[:end])) if end else b""
        del held[:end]
        if len(held) > _MAX_HELD:
            # Before it is cut: a key must not stand on both sides.
            part = redactor.data(bytes(held))
            passed += part[:-_OVERLAP]
            held[:] = part[-_OVERLAP:]
        return passed

    def finish(self) -> bytes:
        """Return what is left at the end of the stream."""
        held, self._held = self._redactor.data(bytes(self._held)), bytearray()
        return held


@lru_cache(maxsize=64)
def redactor_of(key: str) -> Redactor:
    """Return the redactor of a key."""
    return Redactor(key)


def redactor_for(headers: Mapping[str, str]) -> Redactor:
    """Return the redactor of the key that the headers of a request hold."""
    # A key may hold blanks; the scheme in front of it does not.
    key = headers.get("authorization", "").partition(" ")[2] or headers.get("api-key", "")
    return redactor_of(key or headers.get("x-api-key", ""))


def _escaped(character: str) -> str:
    """Return the pattern of a character of JSON, escaped or not."""
    escapes = rf"|\\{re.escape(character)}" if character in '/"\\' else ""
    return f"(?:{re.escape(character)}|\\\\u(?i:{ord(character):04x}){escapes})"
