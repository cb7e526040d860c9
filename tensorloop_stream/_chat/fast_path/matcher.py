"""Skip JSON parsing for chunks that differ from an earlier one only in their text."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from tensorloop_stream._chat.logprobs import is_plain_json

from .prototype import ChunkPrototype, build_prototype
from .template import EventTemplate, build_template

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai.types.chat import ChatCompletionChunk

    from tensorloop_stream._chat.accumulator import ChatAccumulation

# The mapping of a chunk that no caller sees: only its text was read.
_UNSEEN: Mapping[str, Any] = {}
_FIELD = b"data: "
# As many choices or calls may take turns; the chunks of more are parsed.
_MAX_KINDS = 8
# After so many chunks in a row that fit no template, the stream is taken for one whose chunks never do.
_MAX_MISSES = 16
# A larger event is rare, and a template keeps a copy of what surrounds its text.
_MAX_LEARNT = 16 * 1024


class FastPath:
    """Match events by templates of earlier ones, and copy their chunks from prototypes (`dialect.FastPath`)."""

    __slots__ = (
        "_accumulation",
        "_changes",
        "_hits_before",
        "_misses",
        "_others",
        "_prototype",
        "_template",
        "hits",
        "is_active",
        "templates_built",
    )

    def __init__(self, accumulation: ChatAccumulation) -> None:
        self._accumulation = accumulation
        # The kind that is expected next, and the others in the order in which they were seen.
        self._template: EventTemplate | None = None
        self._prototype: ChunkPrototype | None = None
        self._others: deque[tuple[EventTemplate, ChunkPrototype | None]] = deque()
        self._changes = self._misses = self._hits_before = 0
        # Whether templates exist or may be learnt.
        self.is_active = True
        self.templates_built = self.hits = 0

    def match(self, event: bytes, typed: bool) -> ChatCompletionChunk | Mapping[str, Any] | None:
        """Accumulate an event, its field name and blank line included, and return its chunk; `None` if none fits."""
        template, tries = self._template, 0
        while template is not None:
            text, logprobs, padding = template.match(event)
            if text:
                chunk: ChatCompletionChunk | Mapping[str, Any] | None = None
                if typed:
                    if self._prototype is not None:
                        chunk = self._prototype.copy_with(text, logprobs, padding)
                elif not logprobs or is_plain_json(logprobs):
                    chunk = _UNSEEN
                if chunk is not None:
                    self._accumulation.extend(template, text, logprobs)
                    self.hits += 1
                    if self._others:
                        # Choices take turns.
                        self._turn()
                    return chunk
            if tries == len(self._others):
                self._miss()
                return None
            tries += 1
            self._turn()
            template = self._template
        return None

    def _miss(self) -> None:
        if self._hits_before != self.hits:
            self._hits_before, self._misses = self.hits, 0
        self._misses += 1
        if self._misses == _MAX_MISSES:
            self.reset()
            self.is_active = False

    def continues(self, event: bytes, mapping: Mapping[str, Any]) -> bool:
        """Tell whether a template may be learnt of this event, which is not accumulated yet."""
        return event.startswith(_FIELD) and self._accumulation.continues(mapping)

    def learn(self, event: bytes, mapping: Mapping[str, Any], chunk: ChatCompletionChunk | None) -> None:
        """Learn the template of an event that `continues`; `chunk` is `None` if it was not built."""
        accumulation = self._accumulation
        if self._changes != accumulation.changes:
            # The envelope is another one: the templates would hide the difference.
            self.reset()
            self._changes = accumulation.changes
        if len(event) > _MAX_LEARNT:
            return
        # Three without any use, then one for every eight hits: chunks of which each is different must not cost a
        # template each.
        if self.templates_built * 8 > self.hits + 16:
            self.is_active = self._template is not None
            return
        self.templates_built += 1
        template = build_template(event.removeprefix(_FIELD), mapping)
        if template is None:
            return
        prototype = None
        if chunk is not None:
            prototype = build_prototype(chunk, template.field, *template.match(event + b"\n\n"))
        if self._template is not None:
            self._others.append((self._template, self._prototype))
        # One without a prototype may be known already.
        kinds = [kind for kind in self._others if kind[0] != template][1 - _MAX_KINDS :]
        self._others = deque([*kinds, (template, prototype)])
        self._template, self._prototype = self._others.popleft()

    def reset(self) -> None:
        """Forget all templates: a chunk may have changed what they take for granted."""
        if self._template is not None:
            self._template = self._prototype = None
            self._others.clear()

    def _turn(self) -> None:
        self._others.append((self._template, self._prototype))  # type: ignore[arg-type] # called with a template only
        self._template, self._prototype = self._others.popleft()
