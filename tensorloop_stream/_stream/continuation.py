"""Join the text of a continued answer to what had arrived, so that nothing is said twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .dialect import Dialect

# A shorter beginning may recur by chance.
_MIN_REPEATED = 16


class Continuation:
    """The first events of a continued answer, held until it is known how much of their text had arrived already.

    A model that cannot continue begins again: a continuation that repeats all of the answer so far says it twice. The
    white space at the end of the answer was not sent, since some services refuse it, and may come back.
    """

    __slots__ = ("_arrived", "_blanks", "_dialect", "_held", "_text")

    def __init__(self, dialect: Dialect, arrived: str) -> None:
        self._dialect = dialect
        self._arrived = arrived
        self._blanks = arrived[len(arrived.rstrip()) :]
        self._held: list[Mapping[str, Any]] = []
        self._text = ""

    def __bool__(self) -> bool:
        """Whether any event has arrived."""
        return bool(self._held)

    def add(self, mapping: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
        """Take an event; return all that were held, without what had arrived already, once that is known."""
        self._held.append(mapping)
        self._text += self._dialect.text_of(mapping)
        arrived, text = self._arrived, self._text
        if len(arrived) >= _MIN_REPEATED:
            if text.startswith(arrived):
                return self._without(len(arrived))
            if arrived.startswith(text):
                return None
        if self._blanks.startswith(text) and len(text) < len(self._blanks):
            return None
        return self.end()

    def end(self) -> list[Mapping[str, Any]]:
        """Return the events that were held, without the white space that had arrived: no more will come."""
        return self._without(_shared(self._blanks, self._text))

    def _without(self, count: int) -> list[Mapping[str, Any]]:
        """Return the events that were held, without the first characters of their text."""
        dialect, events = self._dialect, []
        for mapping in self._held:
            here = min(count, len(dialect.text_of(mapping)))
            events.append(dialect.without_text(mapping, here) if here else mapping)
            count -= here
        return events


def _shared(one: str, other: str) -> int:
    """Return how many characters two texts have in common at their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((number for number, (a, b) in pairs if a != b), min(len(one), len(other)))
