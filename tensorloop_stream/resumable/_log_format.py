"""What a stream's log holds, and what a reader is sent of it, with no I/O.

| id       | entry | holds                                   |
|----------|-------|-----------------------------------------|
| `ms-0`   | claim | who produces the stream                 |
| `ms-1`   | head  | the status and headers of its answer    |
| `ms-2`.. | event | one event of the gateway, unchanged     |
| `ms-MAX` | end   | nothing, or the error that ended it     |

`ms` is when the stream was claimed, by Redis's clock; the numbers are the producer's. So Redis itself refuses an event
that is written twice (a command that was retried), after the end (nothing is greater), and into a later stream of the
same id; and a reader sees that nothing is missing. A stream that was cancelled before it was started has a claim by
nobody, and its end.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    # As redis-py returns them, not decoded.
    Entry = tuple[bytes, Mapping[bytes, bytes]]

# Of one letter, since every entry repeats it.
CLAIM, HEAD, EVENT, END = b"c", b"h", b"e", b"x"
LAST = 2**64 - 1

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_EVENT_ID = re.compile(r"(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,19})")
_JSON = {"Content-Type": "application/json", "Cache-Control": "no-store"}


def error(message: str, kind: str, status: int) -> bytes:
    """Return an error as the gateway, and `aforward_chat`, write it."""
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": str(status)}}).encode()


class RefusedError(Exception):
    """A reader asked for what there is not; `error` is the answer."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.error = error(message, "invalid_request_error", status)


def require_id(value: object) -> str:
    """Return a stream's id; raises `ValueError` unless it is 1 to 128 letters, digits, `-` and `_`."""
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    raise ValueError(f"id is {_shown(value)}: it must be 1 to 128 letters, digits, - and _, such as a UUID")


def position_of(entry_id: bytes) -> tuple[int, int]:
    """Return when the stream was claimed, and the entry's number."""
    stream, _, number = entry_id.partition(b"-")
    return int(stream), int(number)


def require_event_id(value: object) -> tuple[int, int]:
    """Return the position that a browser says it has reached; raises `RefusedError` unless it has the form of one."""
    found = _EVENT_ID.fullmatch(value) if isinstance(value, str) else None
    if found is not None and max(position := (int(found[1]), int(found[2]))) <= LAST:
        return position
    raise RefusedError(
        f"last event id is {_shown(value)}: it must be the id of an event of this stream, or not be sent", 400
    )


def not_of_this_stream(value: object) -> RefusedError:
    """Return the error for an event id that has the form of one, but was never given out by this stream."""
    return RefusedError(f"last event id {_shown(value)} is of no event of this stream: read it from the start", 400)


def unknown() -> RefusedError:
    """Return the error for an id without a log."""
    return RefusedError("no such stream: it was never started, or it has expired", 404)


def _shown(value: object) -> str:
    said = repr(value)
    return said if len(said) <= 60 else f"{said[:60]}…"


STOPPED = error("the server that produced this answer stopped before its end", "producer_stopped", 502)
FAILED = error("the server failed while it produced this answer", "producer_failed", 500)
CANCELLED = error("the answer was cancelled", "cancelled", 499)
GONE = error("the rest of this answer is gone: it expired, or Redis lost it", "stream_gone", 410)
UNAVAILABLE = error("this stream cannot be read now: ask again, from the last event id", "stream_unavailable", 503)


# For a reader, while there is nothing else: it belongs to a connection, and to no log. So do those of the gateway.
PING = b": ping\n\n"


def is_comment(event: bytes) -> bool:
    """Tell whether an event is none: nothing but comments."""
    return event[:1] == b":" and all(line[:1] == b":" for line in event.split(b"\n"))


def too_large(max_size: int) -> bytes:
    """Return the error for an answer that Redis shall not hold."""
    return error(f"the answer is larger than {max_size} bytes, and was not read further", "too_large", 502)


@dataclass(slots=True)
class Head:
    """What an answer says before its bytes."""

    status: int
    headers: dict[str, str]

    @property
    def is_stream(self) -> bool:
        """Whether events follow, not the JSON of an error."""
        return self.headers.get("Content-Type", "").startswith("text/event-stream")

    def encode(self) -> bytes:
        """Return the head as it is written."""
        return json.dumps([self.status, self.headers]).encode()

    @classmethod
    def decode(cls, data: bytes) -> Head:
        """Return a head that was written."""
        return cls(*json.loads(data))


@dataclass(slots=True)
class Playhead:
    """Where a reader is in a log: takes entries in order, any of them twice, and returns what to send."""

    stream: int
    number: int = 0
    head: Head | None = None
    ended: bool = False

    def take(self, entries: Iterable[Entry]) -> bytes:
        """Take entries and return the bytes they are to the reader; `ended` tells whether that is all."""
        sent: list[bytes] = []
        for entry_id, fields in entries:
            stream, number = position_of(entry_id)
            if self.ended or (stream == self.stream and number <= self.number):
                continue
            if stream != self.stream or (number != self.number + 1 and number != LAST):
                # Expired and begun anew, trimmed, or lost when another Redis took over.
                sent.append(self.fail(GONE))
                break
            if END in fields:
                self.ended = True
                sent.append(self.fail(fields[END]) if fields[END] else b"")
                break
            self.number = number
            if EVENT in fields:
                sent.append(self._framed(entry_id, fields[EVENT]))
            elif HEAD in fields:
                self.head = Head.decode(fields[HEAD])
        return b"".join(sent)

    def ping(self) -> bytes:
        """Return what keeps a connection alive, if it may stand here."""
        return PING if self.head is not None and self.head.is_stream and not self.ended else b""

    def fail(self, error: bytes) -> bytes:
        """End with an error: in the stream if that has begun, else as the whole answer.

        The event has no id, so that a reader who asks again is told again.
        """
        self.ended = True
        if self.head is None:
            self.head = Head(int(json.loads(error)["error"]["code"]), dict(_JSON))
            return error
        if self.head.is_stream:
            return b"data: " + error + b"\n\n"
        # The gateway's own error was on its way, which is better, unless nothing of it came.
        return error if self.number <= 1 else b""

    def _framed(self, entry_id: bytes, event: bytes) -> bytes:
        if self.head is not None and not self.head.is_stream:
            return event
        # After the event's own lines, since the last id of an event counts.
        return event + b"\nid: " + entry_id + b"\n\n"
