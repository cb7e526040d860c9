"""Chunks that are like one that came but for their piece: they are known by their bytes, and not parsed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from tensorloop_stream._chat.logprobs import is_plain_json
from tensorloop_stream._chat.models import parse_object

from .prototype import ChunkPrototype, build_prototype
from .template import EventTemplate, build_template

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai.types.chat import ChatCompletionChunk

    from tensorloop_stream._chat.accumulation import Accumulation

# For a chunk that nobody wants to see: only its piece was read.
_UNSEEN: Mapping[str, Any] = {}
# As many choices or calls may take turns; of more, each is parsed.
_MAX_KINDS = 8


class FastPath:
    """The kinds of chunks that extend an accumulation: each a template and, once a caller saw one, a prototype."""

    __slots__ = ("_accumulation", "_changes", "_others", "_prototype", "_template", "hits", "templates_built")

    def __init__(self, accumulation: Accumulation) -> None:
        self._accumulation = accumulation
        # The kind that is expected next, and the others in the order in which they came.
        self._template: EventTemplate | None = None
        self._prototype: ChunkPrototype | None = None
        self._others: deque[tuple[EventTemplate, ChunkPrototype | None]] = deque()
        self._changes = 0
        self.templates_built = self.hits = 0

    def match(self, event: bytes, typed: bool, tries: int = 0) -> ChatCompletionChunk | Mapping[str, Any] | None:
        """Accumulate an event, `data:` and blank line included, and return its chunk; `None` for one unlike all."""
        template = self._template
        if template is None:
            return None
        piece, logprobs, padding = template.match(event)
        if piece:
            chunk: ChatCompletionChunk | Mapping[str, Any] | None = None
            if typed:
                if self._prototype is not None:
                    chunk = self._prototype.copy_with(piece, logprobs, padding)
            elif not logprobs or is_plain_json(logprobs):
                chunk = _UNSEEN
            if chunk is not None:
                self._accumulation.extend(template, piece, logprobs)
                self.hits += 1
                if self._others:
                    # Choices take turns.
                    self._turn()
                return chunk
        if tries == len(self._others):
            return None
        self._turn()
        return self.match(event, typed, tries + 1)

    def learn(self, payload: bytes, mapping: Mapping[str, Any] | None, chunk: ChatCompletionChunk | None) -> None:
        """Expect more chunks like this one, which went on with one choice: as it was parsed, or as it was typed."""
        accumulation = self._accumulation
        if self._changes != accumulation.changes:
            # What the others take as said, the accumulation holds no longer.
            self.reset()
            self._changes = accumulation.changes
        # Three for nothing, then one for every eight chunks that they were of use for: chunks of which no two are
        # alike must not cost a template each.
        if self.templates_built * 8 > self.hits + 16:
            return
        self.templates_built += 1
        template = build_template(payload, mapping or parse_object(payload))
        if template is None:
            return
        prototype = None
        if chunk is not None:
            prototype = build_prototype(chunk, template.name, *template.match(b"data: %b\n\n" % payload))
        if self._template is not None:
            self._others.append((self._template, self._prototype))
        # One without a prototype may be known already.
        kinds = [kind for kind in self._others if kind[0] != template][1 - _MAX_KINDS :]
        self._others = deque([*kinds, (template, prototype)])
        self._template, self._prototype = self._others.popleft()

    def reset(self) -> None:
        """Expect nothing: something came that may have changed what the others take as said."""
        if self._template is not None:
            self._template = self._prototype = None
            self._others.clear()

    def _turn(self) -> None:
        self._others.append((self._template, self._prototype))  # type: ignore[arg-type] # called with a template only
        self._template, self._prototype = self._others.popleft()
