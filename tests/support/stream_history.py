"""Compare what the readers of a resumable stream received with what its producer sent; no I/O.

The history of a reader is a list of connections, as a browser made them. The rules:

- Its events are those of one answer of the gateway, from the first on, each once and in order, by id and by text.
- After an error nothing follows in a connection. A connection that ends by itself without an error is complete.
- The last connection ends by itself: with the end of the answer, or with one error of a documented kind.
- All readers of a stream agree on its end, and a cancelled stream ends as cancelled.
- The gateway is asked once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

# The entry of the first event: the claim and the head of a log come before.
FIRST = 2
# What ends a log, for all of its readers.
LOGGED = {"producer_stopped", "producer_failed", "cancelled", "too_large"}
# What ends one connection, and not the stream.
UNLOGGED = {"stream_gone", "stream_unavailable"}
# What only a stream may answer that Redis lost, or that expired.
LOST = {"stream_gone"}
_ID = re.compile(r"([0-9]+)-([0-9]+)")


@dataclass(frozen=True, slots=True)
class Event:
    """An event with its id, and without its lines that are not of the gateway."""

    id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Failure:
    """An error in the stream, which has no id; or an exception of the reader."""

    kind: str


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection of a reader: the last event id that it sent, and what it received."""

    after: str | None
    status: int
    items: tuple[Event | Failure, ...] = ()
    # Whether the answer ended by itself; otherwise the reader left, or its connection was cut.
    ended: bool = True
    # The kind of the error which is the complete answer.
    error: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the gateway: its events so far, and how it ended."""

    events: tuple[bytes, ...]
    # "done", "cut" (an error event follows in the log), "refused" (a status and JSON), or "running".
    ending: str = "done"


@dataclass(frozen=True, slots=True)
class History:
    """Everything that was seen of one stream."""

    answers: Sequence[Answer]
    readers: dict[str, Sequence[Connection]]
    # Whether Redis lost entries, or keys expired.
    may_lose: bool = False
    # Whether a reader may come before its stream was started, or after a start that failed.
    may_be_missing: bool = False
    # Whether nothing happened that may end the answer of any reader.
    must_finish: bool = False
    is_cancelled: bool = False
    # What was seen beside the readers, each a fault.
    others: Sequence[str] = field(default=())


def faults_of(history: History) -> list[str]:
    """Return a sentence for each broken rule."""
    found = list(history.others)
    if len(history.answers) > 1 and not history.may_lose:
        found.append(f"the gateway was asked {len(history.answers)} times")
    ends: dict[tuple[int, str], str] = {}
    if history.is_cancelled:
        ends[-1, "cancelled"] = "the cancel"
    for name, connections in history.readers.items():
        reader = _Reader(history)
        found += [f"{name}: {fault}" for fault in reader.check(connections)]
        if reader.end is not None:
            ends.setdefault(reader.end, name)
    if not history.may_lose:
        found += _disagreements(ends)
    return found


def _disagreements(ends: dict[tuple[int, str], str]) -> list[str]:
    kinds = {kind for _, kind in ends}
    numbers = {number for number, _ in ends if number >= 0}
    if len(kinds) <= 1 and len(numbers) <= 1:
        return []
    return ["the readers do not agree on the end: " + ", ".join(f"{who}: {end}" for end, who in ends.items())]


class _Reader:
    """The check of one reader."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._stream: int | None = None
        self._number = FIRST - 1
        self._answer: Answer | None = None
        # The number of the last event, and the end of the stream for all readers: an error's kind, or "".
        self.end: tuple[int, str] | None = None

    def check(self, connections: Sequence[Connection]) -> Iterator[str]:
        if connections and connections[0].after is not None:
            self._stream, self._number = position_of(connections[0].after)
        for connection in connections:
            yield from self._check_connection(connection)
        if not connections or not connections[-1].ended:
            yield "it never ended"
        elif self._history.must_finish and self._error_of(connections[-1]):
            yield f"it ended with {self._error_of(connections[-1])}, and nothing happened that may end the answer"

    def _check_connection(self, connection: Connection) -> Iterator[str]:
        has_failed = False
        for item in connection.items:
            if has_failed:
                yield f"{item} follows an error in the same connection"
            if isinstance(item, Failure):
                has_failed = True
                yield from self._check_error(item.kind, LOGGED | UNLOGGED)
            else:
                yield from self._check_event(item)
        if not connection.ended:
            return
        if connection.error:
            yield from self._check_status(connection)
        elif not has_failed:
            if self._is_complete:
                self.end = (self._number, "")
            else:
                yield f"it ended in silence (status {connection.status}) after event {self._number}"

    def _check_event(self, event: Event) -> Iterator[str]:
        stream, number = position_of(event.id)
        if self._stream not in {None, stream}:
            yield f"event {event.id} is of another stream than {self._stream}"
        elif number <= self._number:
            yield f"event {event.id} is repeated, or out of order: the last one was {self._number}"
        elif number > self._number + 1:
            yield f"a gap: event {event.id} follows {self._number}"
        self._stream, self._number = stream, number
        yield from self._check_data(event)

    def _check_data(self, event: Event) -> Iterator[str]:
        index = self._number - FIRST
        for answer in self._history.answers if self._answer is None else [self._answer]:
            if index < len(answer.events) and answer.events[index] == event.data:
                self._answer = answer
                return
            if answer.ending == "cut" and index == len(answer.events) and _is_error(event.data):
                self._answer = answer
                return
        yield f"event {event.id} is not what the gateway sent there: {event.data!r}"

    def _check_error(self, kind: str, documented: set[str]) -> Iterator[str]:
        if kind not in documented:
            yield f"it ended with {kind}, which is no documented error"
        elif kind in LOST and not (self._history.may_lose or (self._history.may_be_missing and self._number < FIRST)):
            yield f"it ended with {kind}, and nothing was lost"
        if kind in LOGGED:
            self.end = (self._number, kind)

    def _check_status(self, connection: Connection) -> Iterator[str]:
        history = self._history
        if connection.error == "refused" and any(answer.ending == "refused" for answer in history.answers):
            self.end = (self._number, "")
        elif connection.error == "invalid_request_error":
            if not (history.may_lose or (connection.status == 404 and history.may_be_missing)):
                yield f"it was refused with {connection.status}"
        else:
            yield from self._check_error(connection.error, LOGGED | UNLOGGED)
            if self._number >= FIRST and connection.error in LOGGED:
                yield f"{connection.error} is the complete answer, and events were sent before"

    @property
    def _is_complete(self) -> bool:
        for answer in self._history.answers if self._answer is None else [self._answer]:
            count = len(answer.events) + (answer.ending == "cut")
            if answer.ending in {"done", "cut"} and self._number - FIRST + 1 == count:
                return True
        return False

    @staticmethod
    def _error_of(connection: Connection) -> str:
        failures = [item.kind for item in connection.items if isinstance(item, Failure)]
        return failures[-1] if failures else connection.error.removeprefix("refused")


def position_of(entry_id: str) -> tuple[int, int]:
    found = _ID.fullmatch(entry_id)
    assert found is not None, f"{entry_id!r} is no id of an event"
    return int(found[1]), int(found[2])


def _is_error(data: bytes) -> bool:
    return "error" in json.loads(data.removeprefix(b"data: "))
