"""What the events of a run have in common: all bytes but those of one string, which need no JSON parser to skip."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jiter

if TYPE_CHECKING:
    from collections.abc import Mapping

_STRING = rb'"\s*:\s*("(?:[^"\\]|\\.)*")'
_STRINGS = {
    name: re.compile(b'"' + name.encode() + _STRING)
    for name in ("content", "reasoning_content", "reasoning", "arguments")
}
_LOGPROBS = re.compile(rb'"logprobs"\s*:\s*(?=\{)')
_BEFORE, _AFTER = b"data: ", b"\n\n"
# What no gateway sends.
_MARK = rb'"\u0000 gap \u0000"'
_MARKED = jiter.from_json(_MARK)
_decode = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class Template:
    """An event of one line with a gap where its piece of text, of reasoning or of arguments stands.

    `choice` is the index of the choice that grows, `name` the field of it, `call` the index of a tool call.
    `between` is what stands between the piece and its log probabilities, a second gap; empty without them.
    """

    before: bytes
    between: bytes
    after: bytes
    start: int
    end: int
    choice: int
    name: str
    call: int

    def cut(self, event: bytes) -> tuple[str, bytes]:
        """Return what stands in the gaps: the piece, and the log probabilities as JSON that nobody has looked at.

        The piece is empty for an event that differs elsewhere too, or has no string there.
        """
        if event.startswith(self.before) and event.endswith(self.after):
            logprobs = b""
            end = self.end
            if self.between:
                end = event.find(self.between, self.start)
                if end < 0:
                    return "", b""
                logprobs = event[end + len(self.between) : self.end]
            try:
                # A quote inside the gap would be an error of this string.
                piece = jiter.from_json(event[self.start : end])
            except ValueError:
                return "", b""
            if type(piece) is str:
                return piece, logprobs
        return "", b""


def template_of(payload: bytes, chunk: Mapping[str, Any]) -> Template | None:
    """Return what further events may have in common with this one, which went on with one choice.

    `None` if it says something else beside its piece that would have to be taken each time, or is not to be cut.
    """
    choice = chunk["choices"][0]
    _, name, call = _growing(choice)
    found = [*_STRINGS[name].finditer(payload)] if name in _STRINGS else []
    if not found:
        return None
    has_logprobs = choice.get("logprobs") is not None
    # Log probabilities have fields of these names, too.
    start, end = found[0 if has_logprobs else -1].span(1)
    before, between, after = payload[:start], b"", payload[end:]
    if has_logprobs:
        cut = _cut_logprobs(after)
        if cut is None:
            return None
        between, after = cut
    # Whether it is the field and not one of its name elsewhere: another string there changes that field.
    try:
        marked = jiter.from_json(before + _MARK + (between and between + _MARK) + after)["choices"][0]
    except ValueError:  # half a pair elsewhere, which only the standard library reads
        return None
    probe, _, _ = _growing(marked)
    if probe[name] != _MARKED or (between and marked["logprobs"] != _MARKED):
        return None
    before, after = _BEFORE + before, after + _AFTER
    return Template(before, between, after, len(before), -len(after), choice["index"], name, call)


def _cut_logprobs(after: bytes) -> tuple[bytes, bytes] | None:
    """Return what stands before and behind the log probabilities; `None` if they come before the piece."""
    found = _LOGPROBS.search(after)
    if found is None:
        return None
    rest = after[found.end() :].decode()
    _, end = _decode(rest)
    return after[: found.end()], rest[end:].encode()


def _growing(choice: Mapping[str, Any]) -> tuple[dict[str, Any], str, int]:
    """Return the object with the field that grows, its name, and the index of its call."""
    delta = choice["delta"]
    name = next(iter(delta))
    if name != "tool_calls":
        return delta, name, 0
    piece = delta["tool_calls"][0]
    return piece["function"], "arguments", piece["index"]
