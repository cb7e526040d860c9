"""The differences between a sent and a recorded body, in words. No I/O."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Self

from ._bodies import canonical

# What fits on a screen.
SHOWN = 40
LISTED = 3
# What a log holds.
LOG_SHOWN = 500
LOG_LISTED = 20
_COMPARED = 60


@dataclass(frozen=True, slots=True)
class Difference:
    """A place where the sent and the recorded JSON differ; values are texts, `None` where one is missing."""

    where: str
    sent: str | None
    recorded: str | None

    @classmethod
    def of(cls, where: str, values: list[Any], wanted: str) -> Self:
        """Return the difference of what was sent at a path and a text of what is wanted there."""
        sent = values[0] if len(values) == 1 else values
        return cls(where, _text(sent) if values else None, wanted)

    def in_words(self, shown: int) -> str:
        """Describe the difference; of longer values, show so many characters from about where they differ."""
        where = _shortened(self.where.lstrip("."), 2 * shown) or "the body"
        if self.sent is None:
            return f"{where} was not sent, but recorded as {_shortened(self.recorded or '', shown)}"
        if self.recorded is None:
            return f"{where} was sent as {_shortened(self.sent, shown)}, but not recorded"
        pairs = enumerate(zip(self.sent, self.recorded, strict=False))
        same = next((at for at, (one, other) in pairs if one != other), 0)
        sent, recorded = (_shortened(text, shown, same) for text in (self.sent, self.recorded))
        return f"{where} was sent as {sent}, but recorded as {recorded}"


def differences(sent: Any, recorded: Any, where: str = "") -> Iterator[Difference]:
    """Yield each place where two bodies differ."""
    if isinstance(sent, dict) and isinstance(recorded, dict):
        for name in recorded | sent:
            yield from _compared(sent, recorded, name, f"{where}.{name}")
    elif isinstance(sent, list) and isinstance(recorded, list):
        by_index = dict(enumerate(sent)), dict(enumerate(recorded))
        for index in range(max(len(sent), len(recorded))):
            yield from _compared(*by_index, index, f"{where}.{index}")
    elif canonical(sent) != canonical(recorded):
        yield Difference(where, _text(sent), _text(recorded))


def _compared(sent: dict[Any, Any], recorded: dict[Any, Any], key: str | int, where: str) -> Iterator[Difference]:
    if key in sent and key in recorded:
        yield from differences(sent[key], recorded[key], where)
    elif key in sent:
        yield Difference(where, _text(sent[key]), None)
    else:
        yield Difference(where, None, _text(recorded[key]))


def in_words(found: list[Difference], *, shown: int = SHOWN, listed: int = LISTED) -> str:
    """Describe the first differences, each value in so many characters, and count the others."""
    more = f"; and {len(found) - listed} more" if len(found) > listed else ""
    return "; ".join(each.in_words(shown) for each in found[:listed]) + more


def likeness(found: list[Difference]) -> float:
    """Return how similar the differing values are; only their beginnings, since long prompts would take seconds."""
    sent = "".join((each.sent or "")[:_COMPARED] for each in found[:LISTED])
    recorded = "".join((each.recorded or "")[:_COMPARED] for each in found[:LISTED])
    return SequenceMatcher(None, sent, recorded).ratio()


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _shortened(text: str, shown: int, same: int = 0) -> str:
    """Return a part of a text that shows the first character after those that are the same as in another text."""
    if len(text) <= shown:
        return text
    start = min(max(0, same - shown // 2), len(text) - shown)
    end = start + shown
    return f"{'…' * (start > 0)}{text[start:end]}{'…' * (end < len(text))}"
