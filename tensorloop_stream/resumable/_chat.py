"""A reader of a stream, as fast or slow as it likes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from redis.exceptions import RedisError

from ._log_format import UNAVAILABLE, Playhead, RefusedError
from ._log_store import COUNT, entries_after, open_log

if TYPE_CHECKING:
    from types import TracebackType

    from ._hub import Hub
    from ._log_format import Entry
    from ._pipeline import Commands

# Bytes that wait here for a reader. One that lets more come reads on from Redis, at its own pace.
BUFFER = 256 * 1024


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

    def __init__(self, hub: Hub, commands: Commands, key: str) -> None:
        self.key = key
        self._hub = hub
        self._commands = commands
        self._playhead = Playhead(0)
        # What came while the status was not known.
        self._first = b""
        # Given by the hub.
        self._arrived: list[Entry] = []
        self._size = 0
        self._error: bytes | None = None
        self._is_silent = False
        self._wake = asyncio.Event()
        self._is_behind = True
        self._is_followed = False

    async def open(self, last_event_id: str | None) -> Self:
        """Find the place, and wait until the status is known."""
        playhead = self._playhead
        try:
            playhead = self._playhead = await open_log(self._commands, self.key, last_event_id)
        except RefusedError as refused:
            self._first = playhead.fail(refused.error)
        except RedisError:
            self._first = playhead.fail(UNAVAILABLE)
        while not playhead.ended and (playhead.head is None or (self._is_behind and not self._first)):
            self._first += await self._next()
        assert playhead.head is not None
        self.status_code, self.headers = playhead.head.status, playhead.head.headers
        if playhead.ended and not self._first:
            self.status_code, self.headers = 204, {"Cache-Control": "no-store"}
        return self

    @property
    def place(self) -> tuple[int, int]:
        """Up to which entry it has everything."""
        return self._playhead.stream, self._playhead.number

    def give(self, entries: list[Entry], size: int) -> bool:
        """Take entries from the hub; return whether to be given the next ones, too."""
        self._wake.set()
        self._is_followed = not self._arrived or self._size + size <= BUFFER
        self._is_behind = not self._is_followed
        if self._is_followed:
            self._arrived += entries
            self._size += size
        return self._is_followed

    def ping(self) -> None:
        """Send a comment, unless there is something to send."""
        self._wake.set()
        self._is_silent = True

    def fail(self, error: bytes) -> None:
        """Take an error that ends this reading, and not the stream."""
        self._wake.set()
        self._error = error

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        data, self._first = self._first, b""
        while not data and not self._playhead.ended:
            data = await self._next()
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        """Leave; the stream goes on."""
        self._playhead.ended = True
        self._hub.leave(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _next(self) -> bytes:
        try:
            data = self._playhead.take(await self._entries())
            if not data and not self._arrived and self._error is not None:
                data = self._playhead.fail(self._error)
            if not data and self._is_silent:
                data = self._playhead.ping()
            self._is_silent = False
        except RedisError:
            data = self._playhead.fail(UNAVAILABLE)
        except BaseException:
            # The browser left.
            await self.aclose()
            raise
        if self._playhead.ended:
            self._hub.leave(self)
        return data

    async def _wait(self) -> None:
        self._wake.clear()
        self._hub.waiting.add(self)
        try:
            await self._wake.wait()
        finally:
            self._hub.waiting.discard(self)

    async def _entries(self) -> list[Entry]:
        while not self._arrived and self._error is None and not self._is_silent:
            if self._is_followed:
                await self._wait()
            elif self._is_behind:
                entries = await entries_after(self._commands, self.key, *self.place)
                self._is_behind = len(entries) == COUNT
                return entries
            elif not self._hub.follow(self):
                self._is_behind = True
            else:
                self._is_followed = True
        arrived, self._arrived, self._size = self._arrived, [], 0
        return arrived
