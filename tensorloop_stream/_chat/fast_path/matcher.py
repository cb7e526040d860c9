"""Chunks that are like one that came but for their piece: they are known by their bytes, and not parsed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from tensorloop_stream._chat.logprobs import is_plain_json
from tensorloop_stream._chat.models import parse_object

from .prototype import Mould, mould_of
from .template import Template, template_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai.types.chat import ChatCompletionChunk

    from tensorloop_stream._chat.accumulation import Accumulation

# For a chunk that nobody wants to see: only its piece was read.
_UNSEEN: Mapping[str, Any] = {}
# As many choices or calls may take turns; of more, each is parsed.
_MAX_KINDS = 8


class Alikes:
    """The kinds of chunks that go on with what an accumulation has: each as a template and, once seen, as a mould."""

    __slots__ = ("_accumulation", "_changes", "_mould", "_others", "_template", "made", "taken")

    def __init__(self, accumulation: Accumulation) -> None:
        self._accumulation = accumulation
        # The kind that is expected next, and the others in the order in which they came.
        self._template: Template | None = None
        self._mould: Mould | None = None
        self._others: deque[tuple[Template, Mould | None]] = deque()
        self._changes = 0
        self.made = self.taken = 0

    def take(self, event: bytes, typed: bool, tries: int = 0) -> ChatCompletionChunk | Mapping[str, Any] | None:
        """Accumulate an event, `data:` and blank line included, and return its chunk; `None` for one unlike all."""
        template = self._template
        if template is None:
            return None
        piece, logprobs, padding = template.cut(event)
        if piece:
            chunk: ChatCompletionChunk | Mapping[str, Any] | None = None
            if typed:
                if self._mould is not None:
                    chunk = self._mould.cast(piece, logprobs, padding)
            elif not logprobs or is_plain_json(logprobs):
                chunk = _UNSEEN
            if chunk is not None:
                self._accumulation.go_on(template, piece, logprobs)
                self.taken += 1
                if self._others:
                    # Choices take turns.
                    self._turn()
                return chunk
        if tries == len(self._others):
            return None
        self._turn()
        return self.take(event, typed, tries + 1)

    def learn(self, payload: bytes, mapping: Mapping[str, Any] | None, chunk: ChatCompletionChunk | None) -> None:
        """Expect more chunks like this one, which went on with one choice: as it was parsed, or as it was typed."""
        accumulation = self._accumulation
        if self._changes != accumulation.changes:
            # What the others take as said, the accumulation holds no longer.
            self.forget()
            self._changes = accumulation.changes
        # Three for nothing, then one for every eight chunks that they were of use for: chunks of which no two are
        # alike must not cost a template each.
        if self.made * 8 > self.taken + 16:
            return
        self.made += 1
        template = template_of(payload, mapping or parse_object(payload))
        if template is None:
            return
        mould = None
        if chunk is not None:
            mould = mould_of(chunk, template.name, *template.cut(b"data: %b\n\n" % payload))
        if self._template is not None:
            self._others.append((self._template, self._mould))
        # One without a mould may be known already.
        kinds = [kind for kind in self._others if kind[0] != template][1 - _MAX_KINDS :]
        self._others = deque([*kinds, (template, mould)])
        self._template, self._mould = self._others.popleft()

    def forget(self) -> None:
        """Expect nothing: something came that may have changed what the others take as said."""
        if self._template is not None:
            self._template = self._mould = None
            self._others.clear()

    def _turn(self) -> None:
        self._others.append((self._template, self._mould))  # type: ignore[arg-type] # called with a template only
        self._template, self._mould = self._others.popleft()
