"""Read all logs that a process follows, and the messages to it, with one XREAD."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from redis.exceptions import RedisError

from ._log_format import GONE, LAST, STOPPED, UNAVAILABLE, position_of
from ._log_store import READ_COUNT, end_commands, is_refused, lease_key, message_commands, messages_key, parse_xread
from ._pipeline import BATCH_INTERVAL, with_retries

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from ._inbox import Inbox
    from ._log_format import Entry
    from ._pipeline import Commands
    from ._producer import Producers

# Seconds without an entry after which readers get a comment, as the HTML standard recommends (section 9.2.7).
PING_INTERVAL = 15.0


@dataclass(slots=True)
class _FollowedLog:
    # The last entry that the inboxes have been given.
    position: tuple[int, int]
    # Weak, so that a reader that was dropped without being closed takes its inbox with it.
    inboxes: WeakSet[Inbox] = field(default_factory=WeakSet)
    # The time when the inboxes were last given anything.
    given_at: float = field(default_factory=time.monotonic)

    @property
    def entry_id(self) -> str:
        return "{}-{}".format(*self.position)

    def give(self, entries: list[Entry]) -> None:
        self.position = position_of(entries[-1][0])
        self.given_at = time.monotonic()
        size = sum(len(value) for _, fields in entries for value in fields.values())
        for inbox in list(self.inboxes):
            if not inbox.give(entries, size):
                self.inboxes.discard(inbox)
        if self.position[1] == LAST:
            self.inboxes.clear()

    def ping(self) -> None:
        if time.monotonic() - self.given_at >= PING_INTERVAL:
            self.given_at = time.monotonic()
            for inbox in list(self.inboxes):
                inbox.ping()

    def fail(self, error: bytes) -> None:
        for inbox in list(self.inboxes):
            inbox.fail(error)
        self.inboxes.clear()


class Hub:
    """The task that fills the inboxes of readers, ends streams of dead producers, and stops cancelled producers.

    It runs while a reader follows a log or a producer runs. It drops an inbox that overflows; the reader catches up by
    itself, and follows again.
    """

    def __init__(self, redis: Redis, commands: Commands, producers: Producers, *, lease: float, expires: int) -> None:
        self.process: str = os.urandom(8).hex()
        self._redis = redis
        self._commands = commands
        self._producers = producers
        # Seconds between two checks of the leases: a dead producer is noticed within the lease and one interval.
        self._check_interval = lease / 8
        self._timeout = lease
        # A longer block may exceed redis-py's socket timeout, since Redis replies up to 0.1 s late. Only a connection
        # knows the default of that timeout.
        timeout: float | None = redis.connection_pool.make_connection().socket_timeout  # type: ignore[no-untyped-call]
        self._max_block = lease if timeout is None else timeout / 2
        self._expires = expires
        self._logs: dict[str, _FollowedLog] = {}
        # A strong reference to each inbox that a task awaits: an event loop holds its tasks weakly.
        self._waiting: set[Inbox] = set()
        self._messages_key, self._last_message = messages_key(self.process), b"0-0"
        self._is_blocking = False
        self._is_closed = False
        self._task: asyncio.Task[None] | None = None

    def follow(self, key: str, position: tuple[int, int], inbox: Inbox) -> bool:
        """Fill the inbox with the entries after the position; `False` if the reader must catch up with others first."""
        if self._is_closed:
            inbox.fail(UNAVAILABLE)
            return True
        followed = self._logs.setdefault(key, _FollowedLog(position))
        if not followed.inboxes:
            followed.position = position
            if self._is_blocking:
                # One message wakes the XREAD for all readers that begin before it returns. If the message cannot reach
                # Redis, the XREAD fails too, and reports it.
                self._is_blocking = False
                self._commands.run_unawaited(*message_commands(self.process))
        elif followed.position > position:
            return False
        followed.inboxes.add(inbox)
        self.wake()
        return True

    def leave(self, key: str, inbox: Inbox) -> None:
        """Stop filling the inbox."""
        if (followed := self._logs.get(key)) is not None:
            followed.inboxes.discard(inbox)

    async def wait(self, inbox: Inbox) -> None:
        """Wait until the inbox receives entries, a ping or an error."""
        self._waiting.add(inbox)
        try:
            await inbox.wait()
        finally:
            self._waiting.discard(inbox)

    async def aclose(self) -> None:
        """Stop; each reader gets an error, and may retry at another process."""
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def wake(self) -> None:
        """Start the task, unless it runs."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        next_check = 0.0
        try:
            while self._logs or self._producers:
                try:
                    if time.monotonic() >= next_check:
                        await self._check_leases()
                        for followed in self._logs.values():
                            followed.ping()
                        next_check = time.monotonic() + self._check_interval
                    if await self._read(next_check):
                        await asyncio.sleep(BATCH_INTERVAL)
                except RedisError:
                    self._fail_all()
                    await asyncio.sleep(self._check_interval)
                for key in [key for key, followed in self._logs.items() if not followed.inboxes]:
                    del self._logs[key]
        finally:
            # No reader keeps waiting, whatever ended this task.
            self._fail_all()
            self._task = None

    async def _read(self, until: float) -> bool:
        """Wait for entries or messages until the time `until`; return whether any arrived."""
        entry_ids, reply = await with_retries(self._check_interval + self._timeout, lambda: self._wait(until))
        for key, entries in parse_xread(reply):
            if key == self._messages_key:
                self._last_message = entries[-1][0]
                for _, fields in entries:
                    self._producers.stop(fields[b"o"].decode())
            elif key in self._logs and entry_ids[key] == self._logs[key].entry_id:
                # The position differs if its readers have left meanwhile and a new one follows from another entry.
                self._logs[key].give(entries)
        return bool(reply)

    async def _wait(self, until: float) -> tuple[dict[Any, Any], Any]:
        entry_ids: dict[Any, Any] = {self._messages_key: self._last_message}
        entry_ids |= {key: followed.entry_id for key, followed in self._logs.items()}
        seconds = min(max(until - time.monotonic(), 0), self._max_block)
        self._is_blocking = True
        try:
            return entry_ids, await self._redis.xread(entry_ids, count=READ_COUNT, block=1 + int(1000 * seconds))
        finally:
            self._is_blocking = False

    async def _check_leases(self) -> None:
        """End the streams whose producer's lease has expired."""
        checked = list(self._logs.items())
        if not checked:
            return
        keys = [(key, lease_key(key, followed.position[0])) for key, followed in checked]
        replies = await self._commands.run(*(("EXISTS", each) for pair in keys for each in pair))
        ending = []
        for (key, followed), exists, is_leased in zip(checked, replies[::2], replies[1::2], strict=True):
            if not exists:
                followed.fail(GONE)
            elif not is_leased and not self._producers.has(key, followed.position[0]):
                # Redis refuses this end if the log has one; otherwise all readers get it, later ones too.
                commands = end_commands(key, followed.position[0], STOPPED, self._expires)
                ending.append((followed, self._commands.post(commands)))
        for followed, future in ending:
            ended, *_ = await future
            if isinstance(ended, Exception) and not is_refused(ended):
                followed.fail(UNAVAILABLE)

    def _fail_all(self) -> None:
        for followed in self._logs.values():
            followed.fail(UNAVAILABLE)
