"""The differences between a sent and a recorded body, in words. No I/O."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Self

from ._bodies import canonical

_SHOWN = 60
_LISTED = 3


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

    def __str__(self) -> str:
        where = self.where.lstrip(".") or "the body"
        if self.sent is None:
            return f"{where} was not sent, but recorded as {_shortened(self.recorded)}"
        if self.recorded is None:
            return f"{where} was sent as {_shortened(self.sent)}, but not recorded"
        return f"{where} was sent as {_shortened(self.sent)}, but recorded as {_shortened(self.recorded)}"


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


def in_words(found: list[Difference]) -> str:
    """Describe the first differences, and count the others."""
    more = f"; and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return "; ".join(map(str, found[:_LISTED])) + more


def likeness(found: list[Difference]) -> float:
    """Return how similar the differing values are; only their beginnings, since long prompts would take seconds."""
    sent = "".join((each.sent or "")[:_SHOWN] for each in found[:_LISTED])
    recorded = "".join((each.recorded or "")[:_SHOWN] for each in found[:_LISTED])
    return SequenceMatcher(None, sent, recorded).ratio()


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _shortened(text: str | None) -> str:
    text = text or ""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
