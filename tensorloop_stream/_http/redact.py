"""Replace a key, in every form in which gateways repeat it, by stars.

LiteLLM names the last characters and the SHA-256 of a key that it refuses; others show its ends, or all of it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .library import httpx

_STARS = "***"
# A shorter key is a stand-in, and may be a word of the message.
_MIN_KEY = 8
_TAIL = 4
_DOTS = r"(?:\.{2,64}|\*{2,64}|…|\\{1,32}u2026)"
_WORD = r"[\w-]"
# What no shown beginning of a key follows: after a backslash, the letter belongs to an escape of JSON.
_BEFORE = r"[\w\\-]"
_PART = r"[\w/+=-]{0,200}"
# So many backslashes as five times JSON within JSON makes; the bound keeps the time linear.
_ESCAPE = r"\\{1,32}"
_AMP = rf"(?:&|{_ESCAPE}u0026)(?:amp;){{0,3}}"
# The names of HTML for what keys are made of.
_NAMES = {
    "<": ["lt"],
    ">": ["gt"],
    '"': ["quot"],
    "'": ["apos"],
    "+": ["plus"],
    "/": ["sol"],
    "=": ["equals"],
    ".": ["period"],
    "-": ["hyphen"],
    "_": ["lowbar"],
    ":": ["colon"],
}
# Of a key of at least so many characters, the beginning alone is hidden, too.
_LONG, _BEGINNING = 20, 12
# A pattern is made of so many characters; of a longer key, what looks like a key behind them is hidden with them.
_MOST_SHOWN = 128
_MORE = rf"(?:[\w.+/=-]|%[0-9a-fA-F]{{2}}|&#?\w{{1,8}};|{_ESCAPE}(?:u[0-9a-fA-F]{{4}}|/)){{0,20000}}"
# An event of this size is forwarded in parts, of which the last characters may be the first of a key.
_MAX_HELD, _OVERLAP = 64 * 1024, 2048
# Not of an author, a monkey or a number of tokens.
_IS_SECRET = re.compile(
    r"auth(?!ors?(?![a-z]))|(?<![a-z])(api|access|subscription)?_?keys?(?![a-z])|token(?!s)|secret|cookie",
    re.IGNORECASE,
).search
_SCHEMES = {"bearer", "basic", "digest", "token", "key", "apikey"}
_CLEANED = (str, bytes, list, dict, tuple)
_BLANK_LINES = (b"\n\n", b"\r\n\r\n", b"\r\r")


class Redactor:
    """Replaces keys in texts, bytes and JSON values; an empty or very short key is left alone."""

    __slots__ = ("_alone", "_forms", "_forms_in_bytes", "_needles", "is_active")

    def __init__(self, *keys: str) -> None:
        # A longer one first: a shorter one may be its beginning.
        secrets = sorted({key for key in keys if len(key) >= _MIN_KEY and key.isascii()}, key=len, reverse=True)
        self.is_active = bool(secrets)
        forms = "|".join([*map(_whole, secrets), *map(_parts, secrets)])
        self._forms, self._forms_in_bytes = re.compile(forms), re.compile(forms.encode())
        self._alone = re.compile(f"(?<!{_WORD})(?:{'|'.join(map(_ends, secrets))})(?!{_WORD})")
        needles = {"rror", "\\u00", "\\U00", "%", "&", "\\u0026"}
        for key in secrets:
            needles |= {key[-_TAIL:], _digest(key)[:8], *map(_alphanumeric, _base64_forms(key[:_MOST_SHOWN]))}
            if len(key) >= _LONG:
                needles.add(key[:_BEGINNING])
        # Most reads are no error, and none of these is in them.
        self._needles = tuple(needle.encode() for needle in sorted(needles))

    def text(self, text: str) -> str:
        """Return a text without the key."""
        return self._alone.sub(_STARS, self._forms.sub(_STARS, text)) if self.is_active else text

    def data(self, data: bytes) -> bytes:
        """Return bytes without the key; their JSON stays whole."""
        if self.is_active and any(needle in data for needle in self._needles):
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

    def error(self, error: BaseException) -> None:
        """Remove the keys from an error that will be the cause of another, and from the whole chain behind it."""
        if not self.is_active:
            return
        left, seen = [error], {id(error)}
        while left:
            each = left.pop()
            self._clean(each)
            for link in ("__cause__", "__context__"):
                linked = getattr(each, link)
                if linked is None or id(linked) in seen:
                    continue
                seen.add(id(linked))
                self._clean(linked)
                shown = _text_of(linked)
                if (text := self.text(shown)) != shown:
                    # Its text is made of what nobody can change.
                    is_suppressed = each.__suppress_context__
                    setattr(each, link, Exception(f"{type(linked).__name__}: {text}"))
                    each.__suppress_context__ = is_suppressed
                else:
                    left.append(linked)
            left += [member for member in getattr(each, "exceptions", ()) if isinstance(member, BaseException)]

    def _clean(self, error: BaseException) -> None:
        """Remove the keys from the arguments and the attributes of an error, of which its notes are one."""
        error.args = tuple(self.value([*error.args]))
        own = getattr(error, "__dict__", {})
        own.update({name: self.value(item) for name, item in own.items() if isinstance(item, _CLEANED)})
        if isinstance(error, OSError):
            for name in ("strerror", "filename", "filename2"):
                if isinstance(item := getattr(error, name), (str, bytes)):
                    setattr(error, name, self.value(item))
        elif isinstance(error, UnicodeDecodeError):
            # As long as before: the error shows a byte of it by its number.
            error.object = self._forms_in_bytes.sub(lambda found: b"*" * len(found[0]), error.object)
        elif isinstance(error, UnicodeEncodeError):
            error.object = self._forms.sub(lambda found: "*" * len(found[0]), error.object)


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
def redactor_of(*keys: str) -> Redactor:
    """Return the redactor of some keys."""
    return Redactor(*keys)


def redactor_for(request: httpx.Request) -> Redactor:
    """Return the redactor of the keys that a request holds, in its headers and in the query of its URL."""
    found: set[str] = set()
    for name, value in request.headers.items():
        if holds_key(name):
            found.update(_cookies(value) if "cookie" in name.lower() else _credentials(value))
    if (params := getattr(getattr(request, "url", None), "params", None)) is not None:
        found.update(value for name, value in params.multi_items() if _IS_SECRET(name))
    return redactor_of(*sorted(found))


def holds_key(name: str) -> bool:
    """Tell whether the value of a header is a key, by the header's name."""
    # The SDK makes an idempotency key for each request.
    return bool(_IS_SECRET(name)) and name.lower() != "idempotency-key"


def without_key(url: httpx.URL) -> httpx.URL:
    """Return a URL with stars for the keys in its query."""
    for name in filter(_IS_SECRET, url.params):
        url = url.copy_set_param(name, _STARS)
    return url


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - of a program's own class
        return ""


def _credentials(value: str) -> list[str]:
    """Return what may be a key in the value of a header: with its scheme, unless that is well known, and without."""
    scheme, _, rest = value.partition(" ")
    if scheme.lower() not in _SCHEMES:
        return [value, rest]
    if scheme.lower() == "basic":
        with suppress(ValueError):
            return [rest, base64.b64decode(rest).decode().partition(":")[2]]
    return [rest]


def _cookies(value: str) -> list[str]:
    return [cookie.partition("=")[2].strip() for cookie in value.split(";")]


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _whole(key: str) -> str:
    """Return the pattern of a whole key, or of its digest."""
    shown = key[:_MOST_SHOWN]
    if len(key) < _LONG:
        whole = "".join(map(_escaped, shown))
    else:
        # The first characters of a long key are no ordinary word, whatever follows.
        rest = "".join(map(_escaped, shown[_BEGINNING:]))
        more = _MORE if len(key) > _MOST_SHOWN else ""
        whole = f"{''.join(map(_escaped, key[:_BEGINNING]))}(?:{rest}{more}|{_PART})"
    shared = "{0,20000}" if len(key) > _MOST_SHOWN else "?"
    forms = [f"{_base64_pattern(form)}[A-Za-z0-9+/_-]{shared}(?:=|%3[dD]){{0,2}}" for form in _base64_forms(shown)]
    return f"{whole}|(?i:{_digest(key)})|{'|'.join(forms)}"


def _parts(key: str) -> str:
    """Return the pattern of a key of which only the beginning or the end is shown."""
    end = re.escape(key[-_TAIL:])
    # Four letters may begin an ordinary word.
    begin = re.escape(key[: _TAIL * 2 if key[:_TAIL].isalpha() else _TAIL])
    # Each begins with what is rare: the time must be linear in a text of a megabyte.
    return (
        f"{begin}{_PART}{_DOTS}{_PART}|(?:(?<!{_BEFORE}){_WORD}{{0,16}})?{_DOTS}{_PART}{end}"
        rf"|(?i:(?<=ending )|(?<=ends )|(?<=last ))(?:\w+ ){{0,3}}['\"]?{end}"
    )


def _ends(key: str) -> str:
    """Return the pattern of the end of a key that stands alone; a word of letters might be one of the language."""
    ends = [re.escape(key[start:]) for start in range(1, len(key) - _TAIL + 1) if not key[start:].isalpha()]
    return "|".join(ends) or "(?!)"


def _escaped(character: str) -> str:
    """Return the pattern of a character: as itself, or escaped for JSON, a URL or HTML, also more than once."""
    code = ord(character)
    names = "|".join(["amp"] * (character == "&") + _NAMES.get(character, []))
    forms = [rf"(?:%(?:25){{0,3}}|{_ESCAPE}[uU]00|{_AMP}#[xX]0{{0,4}})(?i:{code:02x});?", f"{_AMP}#0{{0,4}}{code};?"]
    if names:
        forms.append(f"{_AMP}(?:{names});?")
    if character in '/"\\':
        forms.append(_ESCAPE + re.escape(character))
    if character == " ":
        forms.append(r"\+")
    # The longer first: a backslash and an ampersand begin their own escapes.
    return f"(?:{'|'.join(forms)}|{re.escape(character)})"


def _base64_forms(key: str) -> list[str]:
    """Return what base64 makes of a key at each of its three places behind other bytes, as far as it is the key's."""
    forms = []
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + key.encode()).decode()
        forms.append(encoded[(before * 8 + 5) // 6 : (before + len(key)) * 8 // 6])
    return forms


def _base64_pattern(form: str) -> str:
    """Return the pattern of a form, also of that for URLs."""
    characters = {"+": r"(?:[+-]|%2[bB])", "/": rf"(?:[/_]|{_ESCAPE}/|%2[fF])"}
    return "".join(characters.get(character, character) for character in form)


def _alphanumeric(form: str) -> str:
    """Return the longest part of a base64 form that stands in each of its spellings."""
    return max(re.split("[+/]", form), key=len)
