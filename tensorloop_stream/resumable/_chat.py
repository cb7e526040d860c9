"""Follow one stream from any of its events on, at the reader's own speed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from redis.exceptions import RedisError

from ._inbox import Inbox
from ._log_format import UNAVAILABLE, LogCursor, RefusedError
from ._log_store import READ_COUNT, entries_after, open_cursor

if TYPE_CHECKING:
    from types import TracebackType

    from ._hub import Hub
    from ._log_format import Entry
    from ._pipeline import Commands


class FollowedChat:
    """The answer of a stream for a browser: `status_code`, `headers`, and its bytes when iterated.

    Every event has an `id:` line, which the browser sends back as `Last-Event-ID`. Comments keep the connection alive
    while the stream is silent. As with `aforward_chat`, an error before the stream is a status and JSON, and a later
    error is an event. A stream that does not exist is a 404, and a last event id of another stream a 400. A stream
    with nothing left to read is a 204, which stops an `EventSource`. Leaving cancels nothing, with `aclose()` or
    without.

    For example:

        streams = ResumableStreams(redis)
        await streams.start("c7a2", async_client, request)
        async with await streams.read("c7a2", last_event_id=None) as answer:
            print(answer.status_code, answer.headers["Content-Type"])
            print(b"".join([data async for data in answer]).decode())
        await streams.aclose()
    """

    status_code: int
    """The gateway's status, or that of the error which ended the stream before its first byte."""
    headers: dict[str, str]
    """The headers for the browser, as those of `aforward_chat`."""

    def __init__(self, reader: LogReader, first: bytes) -> None:
        self._reader = reader
        # The bytes that were read together with the status.
        self._first = first
        head = reader.cursor.head
        assert head is not None
        self.status_code, self.headers = head.status, head.headers
        if reader.cursor.ended and not first:
            self.status_code, self.headers = 204, {"Cache-Control": "no-store"}

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        data, self._first = self._first, b""
        while not data and not self._reader.cursor.ended:
            data = await self._reader.read()
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        """Stop reading; the stream continues."""
        self._reader.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.aclose()


async def follow(hub: Hub, commands: Commands, key: str, last_event_id: str | None) -> FollowedChat:
    """Open a log at the last event that a reader has, and wait until the status is known."""
    reader = LogReader(hub, commands, key)
    return FollowedChat(reader, await reader.open(last_event_id))


class LogReader:
    """Read one log: from Redis up to its last entry, then from the inbox that the hub fills."""

    def __init__(self, hub: Hub, commands: Commands, key: str) -> None:
        self.cursor: LogCursor = LogCursor(0)
        self._hub = hub
        self._commands = commands
        self._key = key
        self._inbox = Inbox()
        # Whether the last read from Redis reached the last entry, so that the hub can follow from there.
        self._is_at_end = False

    async def open(self, last_event_id: str | None) -> bytes:
        """Read until the status is known, and return the bytes that were read with it."""
        first = b""
        cursor = self.cursor
        try:
            cursor = self.cursor = await open_cursor(self._commands, self._key, last_event_id)
        except RefusedError as refused:
            first = cursor.fail(refused.error)
        except RedisError:
            first = cursor.fail(UNAVAILABLE)
        while not cursor.ended and (cursor.head is None or (self._is_behind and not first)):
            first += await self.read()
        return first

    async def read(self) -> bytes:
        """Return the next bytes; empty if the next entries hold none."""
        try:
            data = self.cursor.feed(await self._entries())
            if not data and self._inbox.error is not None:
                data = self.cursor.fail(self._inbox.error)
            if not data and self._inbox.has_ping:
                data = self.cursor.ping()
            self._inbox.has_ping = False
        except RedisError:
            data = self.cursor.fail(UNAVAILABLE)
        except BaseException:
            # The browser has left.
            self.close()
            raise
        if self.cursor.ended:
            self._hub.leave(self._key, self._inbox)
        return data

    def close(self) -> None:
        """Stop reading."""
        self.cursor.ended = True
        self._hub.leave(self._key, self._inbox)

    @property
    def _is_behind(self) -> bool:
        return not self._is_at_end and not self._inbox.is_followed

    async def _entries(self) -> list[Entry]:
        inbox, position = self._inbox, (self.cursor.stream, self.cursor.number)
        while inbox.is_empty:
            if inbox.is_followed:
                await self._hub.wait(inbox)
            elif self._is_at_end:
                self._is_at_end = False
                inbox.is_followed = self._hub.follow(self._key, position, inbox)
            else:
                entries = await entries_after(self._commands, self._key, *position)
                self._is_at_end = len(entries) < READ_COUNT
                return entries
        return inbox.take()
