"""The forms in which a gateway repeats a key, as patterns: whole, encoded, escaped, hashed, or only its ends."""

from __future__ import annotations

import base64
import hashlib
import re

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
# At the end of a stream that was cut, so many are.
_FEW = 8
# A pattern is made of so many characters; of a longer key, what looks like a key behind them is hidden with them.
_MOST_SHOWN = 128
_MORE = rf"(?:[\w.+/=-]|%[0-9a-fA-F]{{2}}|&#?\w{{1,8}};|{_ESCAPE}(?:u[0-9a-fA-F]{{4}}|/)){{0,20000}}"


def whole_key(key: str) -> str:
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


def parts_of_key(key: str) -> str:
    """Return the pattern of a key of which only the beginning or the end is shown."""
    end = re.escape(key[-_TAIL:])
    # Four letters may begin an ordinary word.
    begin = re.escape(key[: _TAIL * 2 if key[:_TAIL].isalpha() else _TAIL])
    # Each begins with what is rare: the time must be linear in a text of a megabyte.
    return (
        f"{begin}{_PART}['\"]?{_DOTS}{_PART}|(?:(?<!{_BEFORE}){_WORD}{{0,16}})?{_DOTS}{_PART}{end}"
        rf"|(?i:(?<=ending )|(?<=ends )|(?<=last ))(?:\w+ ){{0,3}}['\"]?{end}"
    )


def end_of_key(key: str) -> str:
    """Return the pattern of the end of a key that stands alone; a word of letters might be one of the language."""
    ends = [re.escape(key[start:]) for start in range(1, len(key) - _TAIL + 1) if not key[start:].isalpha()]
    return f"(?<!{_WORD})(?:{'|'.join(ends) or '(?!)'})(?!{_WORD})"


def spellings_of_key(key: str) -> list[tuple[list[str], int]]:
    """Return the patterns of the characters of each form, one by one, and how many of them are no ordinary word.

    Of the key itself these are eight, or half of a shorter key.
    """
    shown = key[:_MOST_SHOWN]
    few = min(_FEW, (len(key) + 1) // 2)
    forms = [([_base64_pattern(character) for character in form], few * 4 // 3) for form in _base64_forms(shown)]
    return [([*map(_escaped, shown)], few), ([f"(?i:{digit})" for digit in _digest(key)], _FEW), *forms]


def needles_of_key(key: str) -> set[str]:
    """Return texts of which one stands wherever a form of a key does, unless it is escaped."""
    needles = {key[-_TAIL:], _digest(key)[:8], *map(_alphanumeric, _base64_forms(key[:_MOST_SHOWN]))}
    return needles | {key[:_BEGINNING]} if len(key) >= _LONG else needles


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


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
