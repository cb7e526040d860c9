"""Skip JSON parsing for events that differ from an earlier one only in their delta and their number."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Any

import jiter

from tensorloop_stream._stream.model_copy import ModelCopy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .accumulator import ResponseAccumulation

# The mapping of an event that no caller sees: only its text was read.
_UNSEEN: Mapping[str, Any] = {}
# As many items may take turns; the events of more are parsed.
_MAX_KINDS = 8
# After so many events in a row that fit no template, the stream is taken for one whose events never do.
_MAX_MISSES = 16
# A larger event is rare, and a template keeps a copy of what surrounds its gaps.
_MAX_LEARNT = 16 * 1024
# The fields that differ. Possessive: a quantifier that can go back keeps a stack frame for each character.
_GAPS = {
    "delta": (re.compile(rb'"delta"\s*:\s*("[^"\\]*+(?:\\.[^"\\]*+)*+")'), rb'("[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+")'),
    "sequence_number": (re.compile(rb'"sequence_number"\s*:\s*(\d+)'), rb"(\d{1,15})"),
    "obfuscation": (re.compile(rb'"obfuscation"\s*:\s*"([A-Za-z0-9]*)"'), rb"([A-Za-z0-9]*)"),
}
# No gateway sends these.
_MARKS: dict[str, tuple[bytes, Any]] = {
    "delta": (rb'"\u0000 gap \u0000"', "\0 gap \0"),
    "sequence_number": (b"918273645546372", 918273645546372),
    "obfuscation": (b"gapgapgap", "gapgapgap"),
}


class _Template:
    """The bytes of an event around its gaps, what it extends, and its model to copy."""

    __slots__ = ("append", "channel", "copy", "delta", "empty", "match", "number", "padding", "target")

    def __init__(self, match: Any, gaps: Mapping[str, int], target: Any) -> None:
        self.match = match
        # The numbers of the gaps; 0 for none.
        self.delta = gaps["delta"]
        self.number = gaps.get("sequence_number", 0)
        self.padding = gaps.get("obfuscation", 0)
        text, self.channel = target
        self.target = text
        # No whole can come in between: any other event ends the template.
        self.append = text.appending
        self.copy: ModelCopy | None = None
        # The fields that are a new empty list in each copy.
        self.empty: tuple[str, ...] = ()

    def item(self, found: Any, piece: str) -> Any:
        """Return the event with what stands in the gaps; of a template with a model to copy."""
        copy = self.copy
        assert copy is not None
        values: dict[str, Any] = {"delta": piece}
        if self.number:
            values["sequence_number"] = int(found[self.number])
        for name in self.empty:
            values[name] = []
        if not self.padding:
            return copy.copied(values, {})
        padding = {"obfuscation": found[self.padding].decode()}
        return copy.copied(values | padding, {}) if copy.knows("obfuscation") else copy.copied(values, padding)

    def learn(self, item: Any, found: Any) -> None:
        """Keep the model of the event that was learnt, if a copy equals it."""
        if found is None:
            return
        self.empty = tuple(name for name, value in vars(item).items() if value == [])
        try:
            self.copy = ModelCopy(item, *self.empty)
            twin = self.item(found, jiter.from_json(found[self.delta]))
        except (AttributeError, TypeError, ValueError):
            self.copy = None
            return
        is_same = twin == item and twin.model_fields_set == item.model_fields_set
        if not is_same or twin.model_extra != item.model_extra:
            self.copy = None


class FastPath:
    """Match events by templates of earlier ones, and copy their models (`dialect.FastPath`)."""

    __slots__ = (
        "_accumulation",
        "_hits_before",
        "_misses",
        "_others",
        "_template",
        "hits",
        "is_active",
        "templates_built",
    )

    def __init__(self, accumulation: ResponseAccumulation) -> None:
        self._accumulation = accumulation
        # The one that is expected next, and the others in the order in which they were seen.
        self._template: _Template | None = None
        self._others: deque[_Template] = deque()
        self._misses = self._hits_before = 0
        self.is_active = True
        self.hits = self.templates_built = 0

    def match(self, event: bytes, typed: bool) -> Any:
        """Accumulate an event, its blank line included, and return its item; `None` if no template fits."""
        template = self._template
        if template is None:
            return None
        found = template.match(event)
        if found is None:
            template, found = self._turned(event)
            if template is None:
                self._miss()
                return None
        if typed and template.copy is None:
            return None
        try:
            piece = jiter.from_json(found[template.delta])
        except ValueError:
            return None
        if not piece:
            return None
        item = template.item(found, piece) if typed else _UNSEEN
        accumulation = self._accumulation
        accumulation.text_delta = accumulation.reasoning_delta = accumulation.refusal_delta = ""
        shown = template.append(piece)
        if template.channel == "text":
            accumulation.text_delta = shown
        elif template.channel == "reasoning":
            accumulation.reasoning_delta = shown
        elif template.channel:
            accumulation.refusal_delta = shown
        self.hits += 1
        return item

    def _turned(self, event: bytes) -> tuple[_Template | None, Any]:
        """Return another template that matches, which is expected next from now on, and the match."""
        for template in self._others:
            found = template.match(event)
            if found is not None:
                assert self._template is not None
                self._others.remove(template)
                self._others.appendleft(self._template)
                self._template = template
                return template, found
        return None, None

    def _miss(self) -> None:
        if self._hits_before != self.hits:
            self._hits_before, self._misses = self.hits, 0
        self._misses += 1
        if self._misses == _MAX_MISSES:
            self.reset()
            self.is_active = False

    def continues(self, event: bytes, mapping: Mapping[str, Any]) -> bool:
        """Tell whether a template may be learnt of this event: a delta, and nothing of value beside it."""
        kind, delta = mapping.get("type"), mapping.get("delta")
        return (
            type(kind) is str
            and kind.endswith(".delta")
            and type(delta) is str
            and delta != ""
            and not mapping.get("logprobs")
            and len(event) <= _MAX_LEARNT
        )

    def learn(self, event: bytes, mapping: Mapping[str, Any], item: Any) -> None:
        """Learn the template of an event that `continues`; `item` is `None` if it was not built."""
        target = self._accumulation.target
        # Three without any use, then one for every eight hits.
        if target is None or self.templates_built * 8 > self.hits + 16:
            self.is_active = self._template is not None and target is not None
            return
        self.templates_built += 1
        built = _template_of(event, mapping)
        if built is None:
            return
        matches, gaps = built
        template = _Template(matches, gaps, target)
        if item is not None:
            template.learn(item, matches(event + b"\n\n"))
        known = [*self._others] if self._template is None else [self._template, *self._others]
        # One without a model may be known already.
        others = [each for each in known if each.target is not template.target]
        self._template, self._others = template, deque(others[: _MAX_KINDS - 1])

    def reset(self) -> None:
        """Forget all templates: an event may have changed what they extend."""
        if self._template is not None:
            self._template = None
            self._others.clear()


def _template_of(event: bytes, mapping: Mapping[str, Any]) -> tuple[Any, dict[str, int]] | None:
    """Return what matches events like this one, and the order of its gaps; `None` if they are not safe."""
    start = event.find(b"{")
    if event.find(b"\n", start) >= 0:
        return None
    spans = []
    for name, (field, gap) in _GAPS.items():
        if name not in mapping:
            continue
        found = [*field.finditer(event, start)]
        if len(found) != 1:
            return None
        spans.append((*found[0].span(1), gap, name))
    spans.sort()
    pattern, marked, end = b"", b"", 0
    for left, right, gap, name in spans:
        pattern += re.escape(event[end:left]) + gap
        marked += event[end:left] + _MARKS[name][0]
        end = right
    pattern += re.escape(event[end:] + b"\n\n")
    marked += event[end:]
    # A name of these may stand elsewhere too: the gaps are right if marks in them become the values of the fields.
    try:
        other = jiter.from_json(marked[start:])
    except ValueError:
        return None
    if other != {**mapping, **{name: _MARKS[name][1] for *_, name in spans}}:
        return None
    return re.compile(pattern).fullmatch, {name: number for number, (*_, name) in enumerate(spans, 1)}
