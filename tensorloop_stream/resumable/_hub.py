"""One XREAD for everything that a process waits for: the streams of its readers, and messages to it."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from redis.exceptions import RedisError

from ._log_format import GONE, LAST, STOPPED, UNAVAILABLE, position_of
from ._log_store import COUNT, end, inbox_key, is_refused, lease_key, send, streams_of
from ._pipeline import WINDOW, persist

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from ._inbox import Inbox
    from ._log_format import Entry
    from ._pipeline import Commands
    from ._producer import Producers

# Seconds of silence after which readers get a comment; the HTML standard recommends them (section 9.2.7).
SILENCE = 15.0


@dataclass(slots=True)
class _Followed:
    # Up to which entry all inboxes have been given everything.
    position: tuple[int, int]
    # Those of readers that were dropped without being closed leave by themselves.
    inboxes: WeakSet[Inbox] = field(default_factory=WeakSet)
    # When they were last given anything.
    heard: float = field(default_factory=time.monotonic)

    @property
    def at(self) -> str:
        return "{}-{}".format(*self.position)

    def give(self, entries: list[Entry]) -> None:
        self.position = position_of(entries[-1][0])
        self.heard = time.monotonic()
        size = sum(len(value) for _, fields in entries for value in fields.values())
        for inbox in list(self.inboxes):
            if not inbox.give(entries, size):
                self.inboxes.discard(inbox)
        if self.position[1] == LAST:
            self.inboxes.clear()

    def ping(self) -> None:
        if time.monotonic() - self.heard >= SILENCE:
            self.heard = time.monotonic()
            for inbox in list(self.inboxes):
                inbox.ping()

    def fail(self, error: bytes) -> None:
        for inbox in list(self.inboxes):
            inbox.fail(error)
        self.inboxes.clear()


class Hub:
    """Gives readers what is written, ends streams whose producer died, and stops producers that are cancelled.

    It runs while there are followers or producers. A follower that does not keep up is let go, and catches up by
    itself.
    """

    def __init__(self, redis: Redis, commands: Commands, producers: Producers, *, lease: float, expires: int) -> None:
        self.process: str = os.urandom(8).hex()
        self._redis = redis
        self._commands = commands
        self._producers = producers
        # How often to look after the producers; a dead one is noticed within the lease and this.
        self._pause = lease / 8
        self._patience = lease
        # After more, redis-py may close the connection: Redis is up to 0.1 s late. Its default stands nowhere else.
        timeout: float | None = redis.connection_pool.make_connection().socket_timeout  # type: ignore[no-untyped-call]
        self._longest = lease if timeout is None else timeout / 2
        self._expires = expires
        self._followed: dict[str, _Followed] = {}
        # Nothing else may hold a task that waits here: an event loop does not.
        self._waiting: set[Inbox] = set()
        self._inbox, self._inbox_at = inbox_key(self.process), b"0-0"
        self._is_waiting = False
        self._is_closed = False
        self._task: asyncio.Task[None] | None = None

    def follow(self, key: str, position: tuple[int, int], inbox: Inbox) -> bool:
        """Give the inbox all that comes after the position; `False` if its reader has to catch up with others first."""
        if self._is_closed:
            inbox.fail(UNAVAILABLE)
            return True
        followed = self._followed.setdefault(key, _Followed(position))
        if not followed.inboxes:
            followed.position = position
            if self._is_waiting:
                # One XADD, however many come before the XREAD that it wakes has returned. If it does not reach Redis,
                # the XREAD does not, either, and says so.
                self._is_waiting = False
                self._commands.tell(*send(self.process))
        elif followed.position > position:
            return False
        followed.inboxes.add(inbox)
        self.wake()
        return True

    def leave(self, key: str, inbox: Inbox) -> None:
        """Give the inbox nothing more."""
        if (followed := self._followed.get(key)) is not None:
            followed.inboxes.discard(inbox)

    async def wait(self, inbox: Inbox) -> None:
        """Wait until the inbox holds something."""
        self._waiting.add(inbox)
        try:
            await inbox.wait()
        finally:
            self._waiting.discard(inbox)

    async def aclose(self) -> None:
        """Stop; readers are told to ask again, elsewhere."""
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def wake(self) -> None:
        """Run, if there is something to wait for."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        next_look = 0.0
        try:
            while self._followed or self._producers:
                try:
                    if time.monotonic() >= next_look:
                        await self._look_after_producers()
                        for followed in self._followed.values():
                            followed.ping()
                        next_look = time.monotonic() + self._pause
                    if await self._read(next_look):
                        await asyncio.sleep(WINDOW)
                except RedisError:
                    self._fail_all()
                    await asyncio.sleep(self._pause)
                for key in [key for key, followed in self._followed.items() if not followed.inboxes]:
                    del self._followed[key]
        finally:
            # Nobody is left waiting, whatever ended this.
            self._fail_all()
            self._task = None

    async def _read(self, until: float) -> bool:
        """Wait for anything, until then; return whether something came."""
        places, reply = await persist(self._pause + self._patience, lambda: self._wait(until))
        for key, entries in streams_of(reply):
            if key == self._inbox:
                self._inbox_at = entries[-1][0]
                for _, fields in entries:
                    self._producers.stop(fields[b"o"].decode())
            elif key in self._followed and places[key] == self._followed[key].at:
                # Otherwise its readers have left meanwhile, and one has come with another place.
                self._followed[key].give(entries)
        return bool(reply)

    async def _wait(self, until: float) -> tuple[dict[Any, Any], Any]:
        places: dict[Any, Any] = {self._inbox: self._inbox_at}
        places |= {key: followed.at for key, followed in self._followed.items()}
        seconds = min(max(until - time.monotonic(), 0), self._longest)
        self._is_waiting = True
        try:
            return places, await self._redis.xread(places, count=COUNT, block=1 + int(1000 * seconds))
        finally:
            self._is_waiting = False

    async def _look_after_producers(self) -> None:
        """End the streams whose producer has not said for too long that it lives."""
        looked = list(self._followed.items())
        if not looked:
            return
        keys = [(key, lease_key(key, followed.position[0])) for key, followed in looked]
        replies = await self._commands.run(*(("EXISTS", each) for pair in keys for each in pair))
        ending = []
        for (key, followed), is_there, is_leased in zip(looked, replies[::2], replies[1::2], strict=True):
            if not is_there:
                followed.fail(GONE)
            elif not is_leased and not self._producers.has(key, followed.position[0]):
                # Refused if it has ended meanwhile; otherwise all readers read it, the later ones too.
                ends = end(key, followed.position[0], STOPPED, self._expires)
                ending.append((followed, self._commands.post(ends)))
        for followed, future in ending:
            ended, *_ = await future
            if isinstance(ended, Exception) and not is_refused(ended):
                followed.fail(UNAVAILABLE)

    def _fail_all(self) -> None:
        for followed in self._followed.values():
            followed.fail(UNAVAILABLE)
