"""Join the text of a continued answer to what had arrived, so that nothing is said twice."""

from __future__ import annotations

# A shorter beginning may recur by chance.
_MIN_REPEATED = 16


class Joint:
    """Finds how much of a continuation's beginning had arrived already.

    A model that cannot continue begins again: a continuation that repeats all of the answer so far says it twice. The
    white space at the end of the answer was not sent, since some services refuse it, and may come back.
    """

    __slots__ = ("_arrived", "_text")

    def __init__(self, arrived: str) -> None:
        self._arrived = arrived
        self._text = ""

    def add(self, text: str) -> int | None:
        """Take more of the continuation and return how many of its characters to drop; `None` until that is known."""
        self._text += text
        arrived, text = self._arrived, self._text
        if len(arrived) >= _MIN_REPEATED:
            if text.startswith(arrived):
                return len(arrived)
            if arrived.startswith(text):
                return None
        blanks = arrived[len(arrived.rstrip()) :]
        return None if blanks.startswith(text) and len(text) < len(blanks) else _shared(blanks, text)

    def end(self) -> int:
        """Return how many characters to drop of a continuation that ended before that was known."""
        blanks = self._arrived[len(self._arrived.rstrip()) :]
        return _shared(blanks, self._text)


def _shared(one: str, other: str) -> int:
    """Return how many characters two texts have in common at their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((number for number, (a, b) in pairs if a != b), min(len(one), len(other)))
