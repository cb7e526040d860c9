"""Which recorded interaction answers a request, and what differs when none does. No I/O."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from textwrap import shorten
from typing import Any

from ._answers import Answer

_SHOWN = 60
_LISTED = 3


@dataclass(frozen=True, slots=True)
class Interaction:
    """One recorded request with its answer; `body` is the JSON value, other text as it is, or `None`."""

    file: str
    method: str
    path: str
    body: Any
    answer: Answer

    def __str__(self) -> str:
        body = self.body if isinstance(self.body, dict) else {}
        status = self.answer.status
        result = f"-> {status}" if status != 200 else "-> not a stream" if self.answer.frames is None else ""
        words = [self.method, self.path, str(body.get("model") or ""), _prompt(body), result]
        return "  ".join(word for word in words if word)


def _prompt(body: dict[str, Any]) -> str:
    """Return the first words of the last message."""
    try:
        said = body["messages"] if "messages" in body else body["input"]
        content = said if isinstance(said, str) else said[-1]["content"]
        text = content if isinstance(content, str) else next(part["text"] for part in content if "text" in part)
        return shorten(text, _SHOWN, placeholder=" ...")
    except (AttributeError, KeyError, IndexError, TypeError, StopIteration):
        return ""


def read_body(data: bytes | str | None) -> Any:
    """Return the JSON value of a body, `None` if there is none; raises `ValueError` if it is not JSON."""
    try:
        # JSON has one kind of number: what Python writes as 1.0, JavaScript writes as 1.
        return json.loads(data, parse_float=_number) if data else None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _number(text: str) -> float | int:
    number = float(text)
    return int(number) if number.is_integer() else number


def canonical(value: Any) -> str:
    """Return text that is equal exactly if the JSON values are: keys have no order, `true` is not 1."""
    try:
        return json.dumps(value, sort_keys=True)
    except RecursionError:
        raise ValueError("nested too deeply") from None


Key = tuple[str, str, str]


def key_of(method: str, path: str, body: Any) -> Key:
    """Return what two equal requests have in common."""
    if isinstance(body, dict) and body.get("stream") is False:
        # The same as leaving it out.
        body = {name: value for name, value in body.items() if name != "stream"}
    return method, path, canonical(body)


class Recordings:
    """All recorded interactions, found by method, path and JSON body."""

    def __init__(self, interactions: Iterable[Interaction]) -> None:
        self.interactions = tuple(interactions)
        self._by_key: dict[Key, list[Interaction]] = {}
        for interaction in self.interactions:
            key = key_of(interaction.method, interaction.path, interaction.body)
            self._by_key.setdefault(key, []).append(interaction)

    def matching(self, key: Key) -> Sequence[Interaction]:
        """Return the interactions recorded for one request, in their order."""
        return self._by_key.get(key, ())

    def why_none(self, method: str, path: str, body: Any) -> str:
        """Say in one sentence what keeps the nearest interaction from answering the request."""
        near = [each for each in self.interactions if (each.method, each.path) == (method, path)]
        if not near:
            there = ", ".join(dict.fromkeys(f"{each.method} {each.path}" for each in self.interactions))
            return f"nothing is recorded for {method} {path}, only for {there}"
        differing = [(each, list(_differences(body, each.body))) for each in near]
        fewest = min(len(differences) for _, differences in differing)
        nearest, differences = max(
            (pair for pair in differing if len(pair[1]) == fewest), key=lambda pair: _likeness(pair[1])
        )
        said = "; ".join(map(str, differences[:_LISTED]))
        more = f"; and {fewest - _LISTED} more" if fewest > _LISTED else ""
        return f"no recorded {method} {path} has this body; the nearest ({nearest.file}) differs: {said}{more}"


@dataclass(frozen=True, slots=True)
class _Difference:
    """One place where the sent and the recorded JSON differ; a value as text, `None` where there is none."""

    where: str
    sent: str | None
    recorded: str | None

    def __str__(self) -> str:
        where = self.where.lstrip(".") or "the body"
        if self.sent is None:
            return f"{where} was not sent, but recorded as {_shortened(self.recorded)}"
        if self.recorded is None:
            return f"{where} was sent as {_shortened(self.sent)}, but not recorded"
        return f"{where} was sent as {_shortened(self.sent)}, but recorded as {_shortened(self.recorded)}"


def _differences(sent: Any, recorded: Any, where: str = "") -> Iterator[_Difference]:
    if isinstance(sent, dict) and isinstance(recorded, dict):
        for name in recorded | sent:
            yield from _compared(sent, recorded, name, f"{where}.{name}")
    elif isinstance(sent, list) and isinstance(recorded, list):
        for index in range(max(len(sent), len(recorded))):
            yield from _compared(dict(enumerate(sent)), dict(enumerate(recorded)), index, f"{where}[{index}]")
    elif canonical(sent) != canonical(recorded):
        yield _Difference(where, _text(sent), _text(recorded))


def _compared(sent: dict[Any, Any], recorded: dict[Any, Any], key: str | int, where: str) -> Iterator[_Difference]:
    if key in sent and key in recorded:
        yield from _differences(sent[key], recorded[key], where)
    elif key in sent:
        yield _Difference(where, _text(sent[key]), None)
    else:
        yield _Difference(where, None, _text(recorded[key]))


def _likeness(differences: list[_Difference]) -> float:
    """Tell how alike the differing values are; only their beginnings, for long prompts would take seconds."""
    sent = "".join((each.sent or "")[:_SHOWN] for each in differences[:_LISTED])
    recorded = "".join((each.recorded or "")[:_SHOWN] for each in differences[:_LISTED])
    return SequenceMatcher(None, sent, recorded).ratio()


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _shortened(text: str | None) -> str:
    text = text or ""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
