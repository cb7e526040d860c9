"""Split and parse a stream of server-sent events, without I/O (WHATWG HTML, section 9.2.6)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ._errors import StreamDecodeError

__all__ = ["SSEDecoder", "ServerSentEvent"]

MAX_EVENT_SIZE = 64 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_BLANK_LINES = re.compile(rb"\n{3,}")
# Python does not parse numbers of any length, and no server means a wait of 10**18 milliseconds.
_MAX_RETRY_DIGITS = 18


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    r"""An event as the standard dispatches it (WHATWG HTML, section 9.2.6).

    For example:

        [event] = SSEDecoder().feed(b"id: 7\ndata: one\ndata: two\n\n")
        print(event.id, event.data.splitlines())
    """

    data: str
    """The `data` lines of the event, joined by LF."""
    event: str = "message"
    """The type of the event; `message` if the event names none."""
    id: str = ""
    """The last event id of the stream so far: from this event or from an earlier one."""
    retry: int | None = None
    """The milliseconds to wait before a reconnection, if the server names them."""


def is_single_event(data: bytes) -> bool:
    """Tell whether a read that begins with an event is exactly this event, with LF at the end of its lines."""
    size = len(data)
    return size > 2 and data.find(b"\n\n", 1) == size - 2 and b"\r" not in data


class EventSplitter:
    """Split bytes into whole events; each event is its undecoded lines, joined by LF.

    Raises `StreamDecodeError` for an event larger than `max_event_size` bytes. The events before it are
    returned first; the next call raises.
    """

    __slots__ = ("_after_cr", "_at_start", "_error", "_max", "_rest", "is_plain")

    def __init__(self, max_event_size: int = MAX_EVENT_SIZE) -> None:
        self._max = max_event_size
        # A list of the reads would add sixty bytes to each: with small reads, memory would far exceed the bound.
        self._rest = bytearray()
        self._after_cr = False
        self._at_start = True
        self._error: StreamDecodeError | None = None
        # Whether the next read begins with an event, and no state of the ones before matters to it.
        self.is_plain = False

    @property
    def pending(self) -> int:
        """The size of the incomplete last event, in bytes."""
        return len(self._rest)

    @property
    def rest(self) -> bytes:
        """The bytes of the incomplete last event."""
        return bytes(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """Take one read, in any size, and return the events that it completes."""
        if self.is_plain and data.endswith(b"\n\n") and data[0] != 10 and b"\r" not in data and len(data) <= self._max:
            # Nearly every read of a gateway: whole events, LF, nothing left over from before. An event after the
            # first may keep a blank line too many before it, since looking for that would cost as much again.
            events = data.split(b"\n\n")
            if not events.pop():
                return events
        self.is_plain = False
        events = self._feed(data)
        self.is_plain = not (self._rest or self._after_cr or self._at_start or self._error)
        return events

    def _feed(self, data: bytes) -> list[bytes]:
        if self._error is not None:
            raise self._error
        if self._at_start:
            data = self._without_bom(data)
        if self._after_cr and data:
            # This LF belongs to a CRLF that was cut between two reads.
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in data:
            # A line ends with CR, LF or CRLF, and holds neither CR nor LF: every line end can become LF.
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if not self._rest:
            # Blank lines before an event are no part of it, wherever the reads were cut.
            data = data.lstrip(b"\n")
        if not data:
            return []
        return self._split(data)

    def finish(self) -> None:
        """Mark the end of the bytes; an event without its blank line is dropped, as the standard requires."""
        self._rest.clear()
        if self._error is not None:
            raise self._error

    def _without_bom(self, data: bytes) -> bytes:
        data = self.rest + data
        self._rest.clear()
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._rest += data
            return b""
        self._at_start = False
        return data.removeprefix(_BOM)

    def _split(self, data: bytes) -> list[bytes]:
        rest = self._rest
        completes = b"\n\n" in data or (data[0] == 10 and rest.endswith(b"\n"))
        rest += data
        if not completes:
            # Split only when an event is complete: then a megabyte in small reads takes linear time.
            return self._oversized([]) if self._is_oversized(rest) else []
        data = bytes(rest)
        if b"\n\n\n" in data:
            data = _BLANK_LINES.sub(b"\n\n", data)
        rest.clear()
        events = data.split(b"\n\n")
        rest += events.pop()
        if len(data) > self._max:
            for number, event in enumerate(events):
                if len(event) > self._max:
                    return self._oversized(events[:number])
            if self._is_oversized(rest):
                return self._oversized(events)
        return events

    def _is_oversized(self, rest: bytearray) -> bool:
        # An LF at the end may be the first half of the blank line that ends the event.
        return len(rest) - rest.endswith(b"\n") > self._max

    def _oversized(self, before: list[bytes]) -> list[bytes]:
        self._rest.clear()
        self._error = StreamDecodeError(
            f"too many bytes in one event, where {self._max} are allowed: check that this is an event stream"
        )
        if not before:
            raise self._error
        return before


class EventParser:
    """Parse the lines of an event; keep the last event id of the stream, as the standard requires."""

    __slots__ = ("_last_id", "_retry")

    def __init__(self) -> None:
        self._last_id = ""
        self._retry: int | None = None

    def parse(self, lines: bytes) -> ServerSentEvent | None:
        """Return the event, or `None` if its lines hold no data; raises `StreamDecodeError` if they are not UTF-8."""
        try:
            text = str(lines, "utf-8")
        except UnicodeDecodeError as error:
            raise StreamDecodeError(
                f"not UTF-8: byte 0x{lines[error.start]:02x} at position {error.start} of an event of "
                f"{len(lines)} bytes ({error.reason})"
            ) from error
        event = ""
        data: list[str] = []
        for line in text.split("\n"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                data.append(value)
            elif name == "event":
                event = value
            elif name == "id":
                if "\0" not in value:
                    self._last_id = value
            elif name == "retry" and value.isascii() and value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
                self._retry = int(value)
        if not data:
            return None
        # Lines without data are no event: the next event carries their `retry`.
        retry, self._retry = self._retry, None
        return ServerSentEvent("\n".join(data), event or "message", self._last_id, retry)


class SSEDecoder:
    r"""Decode an event stream, in reads of any size, by the rules of WHATWG HTML, section 9.2.6.

    Two deviations keep errors from passing silently. Bytes that are not UTF-8 raise `StreamDecodeError` instead
    of becoming U+FFFD. An event larger than `max_event_size` bytes raises it too. Events completed before the
    bad one are returned first; the next call raises.

    For example:

        decoder = SSEDecoder()
        for read in (b"data: Hel", b"lo\n\nevent: ping\n", b"data: 1\n\n"):
            for event in decoder.feed(read):
                print(event.event, event.data)
        decoder.finish()
    """

    __slots__ = ("_error", "_parser", "_splitter")

    def __init__(self, *, max_event_size: int = MAX_EVENT_SIZE) -> None:
        self._splitter = EventSplitter(max_event_size)
        self._parser = EventParser()
        self._error: StreamDecodeError | None = None

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Return the events that one read completes; raises `StreamDecodeError`."""
        if self._error is not None:
            raise self._error
        events: list[ServerSentEvent] = []
        for lines in self._splitter.feed(data):
            try:
                event = self._parser.parse(lines)
            except StreamDecodeError as error:
                self._error = error
                if not events:
                    raise
                return events
            if event is not None:
                events.append(event)
        return events

    def finish(self) -> None:
        """Mark the end of the stream; drop an unterminated last event, and raise an error that `feed` deferred."""
        if self._error is not None:
            raise self._error
        self._splitter.finish()
