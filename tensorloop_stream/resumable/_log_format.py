"""Define the entries of a stream's log, and turn them into the bytes for a reader; no I/O.

| id       | entry | content                                                             |
|----------|-------|---------------------------------------------------------------------|
| `ms-0`   | claim | the producer of the stream                                          |
| `ms-1`   | head  | the status and headers of its answer                                |
| `ms-2`.. | event | one event of the gateway, unchanged                                 |
| `ms-MAX` | end   | the number of the last event, or the error that ended the stream    |

`ms` is the time of the claim by Redis's clock; the producer counts the numbers. With these ids, Redis itself refuses
three kinds of events: one that a retried command writes again, one after the end (no id is greater), and one for a
later stream of the same id. A reader can see that no entry is missing. A stream that was cancelled before its start
holds a claim without a producer, and its end.

The processes of a deployment may have different releases. A reader ignores fields and parts of a head that it does not
know, and ends with an error at an entry that it does not know, whose text would be missing.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    # The form in which redis-py returns an entry, not decoded.
    Entry = tuple[bytes, Mapping[bytes, bytes]]

# One letter each, since every entry repeats it.
CLAIM, HEAD, EVENT, END = b"c", b"h", b"e", b"x"
# A second field of the end of a complete answer: the last events before it may be lost too.
COUNT = b"n"
LAST = 2**64 - 1

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_EVENT_ID = re.compile(r"(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,19})")
_JSON = {"Content-Type": "application/json", "Cache-Control": "no-store"}


def error(message: str, kind: str, status: int) -> bytes:
    """Return an error in the JSON form of the gateway and of `aforward_chat`."""
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": str(status)}}).encode()


class RefusedError(Exception):
    """A reader requested a stream or an event that does not exist; `error` is the answer."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.error = error(message, "invalid_request_error", status)


def require_id(value: object) -> str:
    """Return the id of a stream; raises `ValueError` unless it is 1 to 128 letters, digits, `-` and `_`."""
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    raise ValueError(f"id is {_short_repr(value)}: it must be 1 to 128 letters, digits, - and _, such as a UUID")


def position_of(entry_id: bytes) -> tuple[int, int]:
    """Return the time of the stream's claim, and the entry's number."""
    stream, _, number = entry_id.partition(b"-")
    return int(stream), int(number)


def require_event_id(value: object) -> tuple[int, int]:
    """Return the position that a browser's last event id names; raises `RefusedError` for another form."""
    found = _EVENT_ID.fullmatch(value) if isinstance(value, str) else None
    if found is not None and max(position := (int(found[1]), int(found[2]))) <= LAST:
        return position
    raise RefusedError(
        f"last event id is {_short_repr(value)}: it must be the id of an event of this stream, or absent", 400
    )


def foreign_event_id(value: object) -> RefusedError:
    """Return the error for an event id of the right form that this stream never sent."""
    return RefusedError(f"last event id {_short_repr(value)} names no event of this stream: read from the start", 400)


def unknown_stream() -> RefusedError:
    """Return the error for an id without a log."""
    return RefusedError("no such stream: it was never started, or it has expired", 404)


def _short_repr(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


STOPPED = error("the server that produced this answer stopped before its end", "producer_stopped", 502)
FAILED = error("the server failed while it produced this answer", "producer_failed", 500)
CANCELLED = error("the answer was cancelled", "cancelled", 499)
GONE = error("the rest of this answer is gone: it has expired, or Redis lost it", "stream_gone", 410)
UNAVAILABLE = error("this stream cannot be read now: retry from the last event id", "stream_unavailable", 503)


# A comment that keeps a reader's connection alive. Comments, also the gateway's, stand in no log.
PING = b": ping\n\n"


def is_comment(event: bytes) -> bool:
    """Tell whether an event holds nothing but comments."""
    return event[:1] == b":" and all(line[:1] == b":" for line in event.split(b"\n"))


def too_large(max_size: int) -> bytes:
    """Return the error for an answer that exceeds the size bound."""
    return error(f"the answer is larger than {max_size} bytes, and the rest was not read", "too_large", 502)


@dataclass(slots=True)
class Head:
    """The status and headers of an answer."""

    status: int
    headers: dict[str, str]

    @property
    def is_stream(self) -> bool:
        """Whether events follow, and not the JSON of an error."""
        return self.headers.get("Content-Type", "").startswith("text/event-stream")

    def encode(self) -> bytes:
        """Return the head in the form that the log holds."""
        return json.dumps([self.status, self.headers]).encode()

    @classmethod
    def decode(cls, data: bytes) -> Head:
        """Return the head of a log."""
        status, headers, *_ = json.loads(data)
        return cls(status, headers)


@dataclass(slots=True)
class LogCursor:
    """The position of a reader in a log; turns the entries after it into bytes, and ignores repeated entries."""

    stream: int
    number: int = 0
    head: Head | None = None
    ended: bool = False

    def feed(self, entries: Iterable[Entry]) -> bytes:
        """Advance over entries and return their bytes for the reader; sets `ended` after the last ones."""
        sent: list[bytes] = []
        for entry_id, fields in entries:
            stream, number = position_of(entry_id)
            if self.ended or (stream == self.stream and number <= self.number):
                continue
            if stream != self.stream or (number != self.number + 1 and number != LAST):
                # The stream expired and was started again, Redis trimmed it, or a failover lost entries.
                sent.append(self.fail(GONE))
                break
            if END in fields:
                self.ended = True
                if fields[END]:
                    sent.append(self.fail(fields[END]))
                elif int(fields.get(COUNT, self.number)) != self.number:
                    sent.append(self.fail(GONE))
                break
            if EVENT in fields:
                sent.append(self._framed(entry_id, fields[EVENT]))
            elif HEAD in fields:
                self.head = Head.decode(fields[HEAD])
            elif CLAIM not in fields:
                # Of a later release, whose processes can read it.
                sent.append(self.fail(UNAVAILABLE))
                break
            self.number = number
        return b"".join(sent)

    def ping(self) -> bytes:
        """Return a comment that keeps the connection alive; empty where none may stand."""
        return PING if self.head is not None and self.head.is_stream and not self.ended else b""

    def fail(self, error: bytes) -> bytes:
        """Return the error that ends the answer: an event if the stream has begun, else the complete answer.

        The event has no id, so that a reader who resumes gets it again.
        """
        self.ended = True
        if self.head is None:
            self.head = Head(int(json.loads(error)["error"]["code"]), dict(_JSON))
            return error
        if self.head.is_stream:
            return b"data: " + error + b"\n\n"
        # The gateway's own error is the better answer, unless none of its bytes has arrived.
        return error if self.number <= 1 else b""

    def _framed(self, entry_id: bytes, event: bytes) -> bytes:
        if self.head is not None and not self.head.is_stream:
            return event
        # The id follows the event's own lines, since the last id of an event counts.
        return event + b"\nid: " + entry_id + b"\n\n"
