"""What the events of a run have in common: all bytes but those of one string, which need no JSON parser to skip."""

from __future__ import annotations

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
_BEFORE = b"data: "
# What no gateway sends.
_MARK = rb'"\u0000 gap \u0000"'


@dataclass(frozen=True, slots=True)
class Template:
    """The line of an event with a gap where its piece of text, of reasoning or of arguments stands.

    `choice` is the index of the choice that grows, `name` the field of it, `call` the index of a tool call.
    """

    before: bytes
    after: bytes
    start: int
    end: int
    choice: int
    name: str
    call: int

    def piece_of(self, line: bytes) -> str:
        """Return what stands in the gap; empty for an event that differs elsewhere too, or has no string there."""
        if line.startswith(self.before) and line.endswith(self.after):
            try:
                # A quote inside the gap would be an error of this string.
                piece = jiter.from_json(line[self.start : self.end])
            except ValueError:
                return ""
            if type(piece) is str:
                return piece
        return ""


def template_of(payload: bytes, chunk: Mapping[str, Any]) -> Template | None:
    """Return what further events may have in common with this one, which went on with one choice.

    `None` if it says something else beside its piece that would have to be taken each time, or is not to be cut.
    """
    choice = chunk["choices"][0]
    if choice.get("logprobs") is not None:
        return None
    _, name, call = _growing(choice)
    found = [*_STRINGS[name].finditer(payload)] if name in _STRINGS else []
    if not found:
        return None
    start, end = found[-1].span(1)
    before, after = payload[:start], payload[end:]
    # Whether it is the field and not one of its name elsewhere: another string there changes that field.
    probe, _, _ = _growing(jiter.from_json(before + _MARK + after)["choices"][0])
    if probe[name] != jiter.from_json(_MARK):
        return None
    return Template(_BEFORE + before, after, len(_BEFORE) + start, -len(after), choice["index"], name, call)


def _growing(choice: Mapping[str, Any]) -> tuple[dict[str, Any], str, int]:
    """Return the object with the field that grows, its name, and the index of its call."""
    delta = choice["delta"]
    name = next(iter(delta))
    if name != "tool_calls":
        return delta, name, 0
    piece = delta["tool_calls"][0]
    return piece["function"], "arguments", piece["index"]
