"""Replace a key, in every form in which gateways repeat it, by stars: in texts, in bytes and in JSON values.

LiteLLM names the last characters and the SHA-256 of a key that it refuses; others show its ends, or all of it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, AnyStr

from .key_patterns import end_of_key, needles_of_key, parts_of_key, spellings_of_key, whole_key

STARS = "***"
# A shorter key is a stand-in, and may be a word of the message.
_MIN_KEY = 8
# One of these stands in an error, or in a key that is escaped.
_ESCAPES = frozenset({"rror", "\\u00", "\\U00", "%", "&", "\\u0026"})
# The first characters of an escape, of which the rest is missing.
_CUT_ESCAPE = re.compile(rb"(?:(?:\\{1,32}|[%&])[\w#;%]{0,20})?")


class Redactor:
    """Replaces keys in texts, bytes and JSON values; an empty or very short key is left alone."""

    __slots__ = ("_alone", "_forms", "_forms_in_bytes", "_keys", "_needles", "is_active")

    def __init__(self, *keys: str) -> None:
        # A longer one first: a shorter one may be its beginning.
        secrets = sorted({key for key in keys if len(key) >= _MIN_KEY and key.isascii()}, key=len, reverse=True)
        self._keys = secrets
        self.is_active = bool(secrets)
        forms = "|".join([*map(whole_key, secrets), *map(parts_of_key, secrets)])
        self._forms, self._forms_in_bytes = re.compile(forms), re.compile(forms.encode())
        self._alone = re.compile("|".join(map(end_of_key, secrets)) or "(?!)")
        # Most reads are no error, and none of these is in them.
        self._needles = tuple(needle.encode() for needle in sorted(_ESCAPES.union(*map(needles_of_key, secrets))))

    def text(self, text: str) -> str:
        """Return a text without the key."""
        return self._alone.sub(STARS, self._forms.sub(STARS, text)) if self.is_active else text

    def data(self, data: bytes) -> bytes:
        """Return bytes without the key; their JSON stays whole."""
        if self.is_active and any(needle in data for needle in self._needles):
            return self._forms_in_bytes.sub(STARS.encode(), data)
        return data

    def cut_data(self, data: bytes) -> bytes:
        """Return the last bytes of a stream without the key; a key that their end cuts in half is hidden, too."""
        for key in self._keys if data else ():
            for characters, few in spellings_of_key(key):
                for found in re.finditer("".join(characters[:few]).encode(), data):
                    if _CUT_ESCAPE.fullmatch(data, _end_of_match(data, found.end(), characters[few:])):
                        return self.data(data[: found.start()]) + STARS.encode()
        return self.data(data)

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
                elif isinstance(item, bytes):
                    container[key] = self.data(item)
                elif isinstance(item, tuple):
                    container[key] = tuple(self.value([*item]))
                elif isinstance(item, dict):
                    container[key] = {self.text(str(name)): each for name, each in item.items()}
                    left.append(container[key])
                elif isinstance(item, list):
                    container[key] = [*item]
                    left.append(container[key])
        return copy[0]

    def masked(self, value: AnyStr) -> AnyStr:
        """Return a text or bytes with as many stars as the key has characters there."""
        if isinstance(value, str):
            return self._forms.sub(lambda found: "*" * len(found[0]), value)
        return self._forms_in_bytes.sub(lambda found: b"*" * len(found[0]), value)


def _end_of_match(data: bytes, end: int, characters: list[str]) -> int:
    """Return where the last of these characters ends that follow each other from `end` on."""
    for character in characters:
        found = re.compile(character.encode()).match(data, end)
        if found is None:
            break
        end = found.end()
    return end


@lru_cache(maxsize=64)
def redactor_of(*keys: str) -> Redactor:
    """Return the redactor of some keys."""
    return Redactor(*keys)
