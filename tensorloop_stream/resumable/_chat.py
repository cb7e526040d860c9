"""Follow one stream from any of its events on, at the reader's own speed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from redis.exceptions import RedisError

from ._inbox import Inbox
from ._log_format import UNAVAILABLE, Playhead, RefusedError
from ._log_store import COUNT, entries_after, open_log

if TYPE_CHECKING:
    from types import TracebackType

    from ._hub import Hub
    from ._log_format import Entry
    from ._pipeline import Commands


class FollowedChat:
    """A stream's answer for a browser: `status_code`, `headers`, and its bytes when iterated.

    Every event has an `id:` line, for the browser to send as `Last-Event-ID`; in a silence there is a comment now and
    then, so that no proxy takes the connection for dead. As with `aforward_chat`, an error before the stream is a
    status and JSON, a later one an event. A stream that is not there is a 404, a last event id that is none of its own
    a 400, and nothing left to read a 204, which stops an `EventSource`.
    Leaving, by `aclose()` or just so, cancels nothing.
    """

    status_code: int
    """The gateway's, or that of the error which ended the stream before it began."""
    headers: dict[str, str]
    """For the browser, as those of `aforward_chat`."""

    def __init__(self, reader: LogReader, first: bytes) -> None:
        self._reader = reader
        # What came while the status was not known.
        self._first = first
        head = reader.playhead.head
        assert head is not None
        self.status_code, self.headers = head.status, head.headers
        if reader.playhead.ended and not first:
            self.status_code, self.headers = 204, {"Cache-Control": "no-store"}

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        data, self._first = self._first, b""
        while not data and not self._reader.playhead.ended:
            data = await self._reader.read()
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        """Leave; the stream goes on."""
        self._reader.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.aclose()


async def follow(hub: Hub, commands: Commands, key: str, last_event_id: str | None) -> FollowedChat:
    """Find the place in a log, and wait until the status is known."""
    reader = LogReader(hub, commands, key)
    return FollowedChat(reader, await reader.open(last_event_id))


class LogReader:
    """Read one log: from Redis up to its last entry, then from the inbox that the hub fills."""

    def __init__(self, hub: Hub, commands: Commands, key: str) -> None:
        self.playhead = Playhead(0)
        self._hub = hub
        self._commands = commands
        self._key = key
        self._inbox = Inbox()
        # Whether the last read from Redis reached the last entry, and the hub was not asked since.
        self._is_at_end = False

    async def open(self, last_event_id: str | None) -> bytes:
        """Read until the status is known, and return the bytes that were read with it."""
        first = b""
        playhead = self.playhead
        try:
            playhead = self.playhead = await open_log(self._commands, self._key, last_event_id)
        except RefusedError as refused:
            first = playhead.fail(refused.error)
        except RedisError:
            first = playhead.fail(UNAVAILABLE)
        while not playhead.ended and (playhead.head is None or (self._is_behind and not first)):
            first += await self.read()
        return first

    async def read(self) -> bytes:
        """Return the next bytes for the reader; empty where an entry holds none."""
        try:
            data = self.playhead.take(await self._entries())
            if not data and self._inbox.error is not None:
                data = self.playhead.fail(self._inbox.error)
            if not data and self._inbox.has_ping:
                data = self.playhead.ping()
            self._inbox.has_ping = False
        except RedisError:
            data = self.playhead.fail(UNAVAILABLE)
        except BaseException:
            # The browser left.
            self.close()
            raise
        if self.playhead.ended:
            self._hub.leave(self._key, self._inbox)
        return data

    def close(self) -> None:
        """Read nothing more."""
        self.playhead.ended = True
        self._hub.leave(self._key, self._inbox)

    @property
    def _is_behind(self) -> bool:
        return not self._is_at_end and not self._inbox.is_followed

    async def _entries(self) -> list[Entry]:
        inbox, position = self._inbox, (self.playhead.stream, self.playhead.number)
        while inbox.is_empty:
            if inbox.is_followed:
                await self._hub.wait(inbox)
            elif self._is_at_end:
                self._is_at_end = False
                inbox.is_followed = self._hub.follow(self._key, position, inbox)
            else:
                entries = await entries_after(self._commands, self._key, *position)
                self._is_at_end = len(entries) < COUNT
                return entries
        return inbox.take()
