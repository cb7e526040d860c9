"""The reasoning of one choice, which several fields may bring: that of the plainest counts, and counts once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tensorloop_stream._stream.text import TextBuffer

# The forms of a field, the plainest first: one of a usual name, a text, a list or an object of another name, none.
USUAL, TEXT, PARTS, _NONE = range(4)


class Thought(NamedTuple):
    """A piece of reasoning: the form of its field, the name where that is none of the usual ones, and the text."""

    form: int
    name: str
    text: str


class PlainestThoughts:
    """The plainest field of thoughts so far, and what it repeats of those before it."""

    __slots__ = ("_form", "_name", "_repeated", "repeats")

    def __init__(self) -> None:
        self._form = _NONE
        self._name = ""
        self.repeats = ""
        """The reasoning that the field may repeat, because others brought it; empty for none."""
        # How much of it came again.
        self._repeated = 0

    def new_in(self, thought: Thought, reasoning: TextBuffer) -> str:
        """Return what a piece adds to the reasoning so far: nothing, if a plainer field has brought any.

        A field that is plainer than those before may begin with what they brought, which counts once.
        """
        if thought.form > self._form or (thought.form == self._form and thought.name != self._name):
            return ""
        if thought.form < self._form:
            self.repeats, self._repeated = str(reasoning), 0
            self._form, self._name = thought.form, thought.name
        return self.beyond(thought.text) if self.repeats else thought.text

    def beyond(self, piece: str) -> str:
        """Return what of a piece goes on behind the reasoning that is repeated; all that came, if it is another."""
        known, start = self.repeats, self._repeated
        if known.startswith(piece, start):
            self._repeated += len(piece)
            return ""
        self.repeats = ""
        rest = known[start:]
        return piece[len(rest) :] if piece.startswith(rest) else known[:start] + piece
