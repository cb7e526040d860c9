"""The usage of an answer: of all its requests, from each place where services put it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorloop_stream._stream.usage import merge_counts

if TYPE_CHECKING:
    from collections.abc import Iterable

_NUMBERS = (int, float)
# The counts of which the total is the sum.
_PARTS = ("prompt_tokens", "completion_tokens")


class AnswerUsage:
    """The usage so far.

    Moonshot sends it inside the choice (pi#2017), Groq in a field of its own (langchain#30379). Zeros in one place hide
    nothing in another.
    """

    __slots__ = ("_before", "_of_chunks", "_of_groq")

    def __init__(self) -> None:
        self._of_chunks: dict[str, Any] | None = None
        self._of_groq: dict[str, Any] | None = None
        # Of the requests that this answer continues.
        self._before: dict[str, Any] | None = None

    def add(self, usage: dict[str, Any]) -> None:
        """Take the usage of a chunk.

        Not simply the last chunk's: some gateways send an empty chunk after it (openai-python loses it).
        """
        self._of_chunks = merge_usage(self._of_chunks or {}, usage)

    def add_of_groq(self, field: object) -> None:
        """Take the usage inside of the field `x_groq`, if it has one."""
        if isinstance(field, dict) and isinstance(usage := field.get("usage"), dict):
            self._of_groq = merge_usage(self._of_groq or {}, usage)

    def begin_continuation(self, of_choices: Iterable[dict[str, Any] | None]) -> None:
        """Keep the usage so far beside that of the request which continues the answer."""
        self._before = self.total(of_choices)
        self._of_chunks = self._of_groq = None

    def total(self, of_choices: Iterable[dict[str, Any] | None]) -> dict[str, Any] | None:
        """Return the usage of all requests, with that inside of the choices; `None` before any came."""
        return add_usage(self._before, self._of_request(of_choices))

    def _of_request(self, of_choices: Iterable[dict[str, Any] | None]) -> dict[str, Any] | None:
        of_choice = next(filter(None, of_choices), None)
        places = [usage for usage in (self._of_groq, of_choice, self._of_chunks) if usage]
        if len(places) < 2:
            return places[0] if places else None
        merged: dict[str, Any] = {}
        for usage in places:
            merged = merge_usage(merged, usage)
        return merged


def merge_usage(known: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
    """Merge a usage by field: what is null, zero or empty erases nothing."""
    return merge_counts(known, usage, _PARTS)


def add_usage(before: dict[str, Any] | None, usage: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the sum of two usages, counter by counter; of other values the later ones."""
    if not before or not usage:
        return usage or before
    total = {**before, **usage}
    for name, value in before.items():
        later = usage.get(name)
        if isinstance(value, dict) and isinstance(later, dict):
            total[name] = add_usage(value, later)
        elif type(value) in _NUMBERS and type(later) in _NUMBERS:
            total[name] = value + later
        elif later is None:
            total[name] = value
    return total
