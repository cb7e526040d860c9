"""Split an event into the bytes that it shares with others of its kind and the one string that differs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jiter

from tensorloop_stream._chat.vocabulary import REASONING_FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping

# Possessive: a quantifier that can go back keeps a stack frame for each character, 144 bytes for one of text.
_STRING = rb'"\s*+:\s*+("[^"\\]*+(?:\\.[^"\\]*+)*+")'
_STRINGS = {name: re.compile(b'"' + name.encode() + _STRING) for name in ("content", *REASONING_FIELDS, "arguments")}
_LOGPROBS = re.compile(rb'"logprobs"\s*:\s*(?=\{)')
_PADDING = re.compile(rb'(.*"obfuscation"\s*:\s*")[A-Za-z0-9]*(".*)', re.DOTALL)
_BEFORE, _AFTER = b"data: ", b"\n\n"
# No gateway sends this.
_MARK = rb'"\u0000 gap \u0000"'
_PAD = b"gap"
_NO_MATCH = ("", b"", b"")
_MARKED = jiter.from_json(_MARK)
_decode = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class EventTemplate:
    """An event of one line with a gap for its text, its reasoning or its arguments.

    `choice` is the index of the choice that the event extends, `field` the field, `call` the index of a tool call. Two
    more gaps may follow: `to_logprobs` stands between the text and its log probabilities, `to_padding` before OpenAI's
    padding against traffic analysis, which has another length in every chunk; both are empty without them.
    """

    before: bytes
    to_logprobs: bytes
    to_padding: bytes
    after: bytes
    start: int
    end: int
    choice: int
    field: str
    call: int

    def match(self, event: bytes) -> tuple[str, bytes, bytes]:
        """Return what stands in the gaps: the text, log probabilities as unchecked JSON, padding.

        The text is empty for anything but one event that differs nowhere else and has a string in the gap.
        """
        if not event.startswith(self.before) or not event.endswith(self.after):
            return _NO_MATCH
        end, logprobs, padding = self.end, b"", b""
        if self.to_padding:
            found = event.rfind(self.to_padding, self.start)
            padding = event[found + len(self.to_padding) : end]
            if found < 0 or (padding and not padding.isalnum()):
                return _NO_MATCH
            end = found
        if self.to_logprobs:
            found = event.find(self.to_logprobs, self.start, end)
            if found < 0:
                return _NO_MATCH
            logprobs = event[found + len(self.to_logprobs) : end]
            if b"\n" in logprobs:
                # Another event may begin there.
                return _NO_MATCH
            end = found
        try:
            # A quote or a line end inside the gap would be an error of this string.
            text = jiter.from_json(event[self.start : end])
        except ValueError:
            return _NO_MATCH
        return (text, logprobs, padding) if type(text) is str else _NO_MATCH


def build_template(payload: bytes, chunk: Mapping[str, Any]) -> EventTemplate | None:
    """Return the template of an event that extends one choice and says nothing else; `None` if it has no safe gap."""
    choice = chunk["choices"][0]
    _, name, call = _changing_field(choice)
    found = [*_STRINGS[name].finditer(payload)] if name in _STRINGS else []
    if not found:
        return None
    has_logprobs = choice.get("logprobs") is not None
    # Log probabilities have fields of these names, too.
    start, end = found[0 if has_logprobs else -1].span(1)
    before, rest, to_logprobs, to_padding, after = payload[:start], payload[end:], b"", b"", b""
    if "obfuscation" in chunk:
        padded = _PADDING.fullmatch(rest)
        if padded is None:
            return None
        rest, after = padded.groups()
    if has_logprobs:
        cut = _cut_logprobs(rest)
        if cut is None:
            return None
        to_logprobs, rest = cut
    if after:
        to_padding = rest
    else:
        after = rest
    # A name of these may stand elsewhere too: the gap is right if a mark in it becomes the value of the field.
    marked = before + _MARK + (to_logprobs and to_logprobs + _MARK) + (to_padding and to_padding + _PAD) + after
    try:
        other = jiter.from_json(marked)
    except ValueError:  # half a pair elsewhere, which only the standard library reads
        return None
    probe, _, _ = _changing_field(other["choices"][0])
    if (
        probe[name] != _MARKED
        or (to_logprobs and other["choices"][0]["logprobs"] != _MARKED)
        or (to_padding and other["obfuscation"] != _PAD.decode())
    ):
        return None
    before, after = _BEFORE + before, after + _AFTER
    return EventTemplate(before, to_logprobs, to_padding, after, len(before), -len(after), choice["index"], name, call)


def _cut_logprobs(after: bytes) -> tuple[bytes, bytes] | None:
    """Return what stands before and behind the log probabilities; `None` if they come before the piece."""
    found = _LOGPROBS.search(after)
    if found is None:
        return None
    rest = after[found.end() :].decode()
    _, end = _decode(rest)
    return after[: found.end()], rest[end:].encode()


def _changing_field(choice: Mapping[str, Any]) -> tuple[dict[str, Any], str, int]:
    """Return the object with the field that grows, its name, and the index of its call."""
    delta = choice["delta"]
    name = next(name for name, value in delta.items() if value is not None and name != "role")
    if name != "tool_calls":
        return delta, name, 0
    piece = delta["tool_calls"][0]
    return piece["function"], "arguments", piece["index"]
