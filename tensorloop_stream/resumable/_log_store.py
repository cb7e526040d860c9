"""The log of one stream in Redis: its keys, what its producer writes, and what any process reads of it."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from ._log_format import (
    CANCELLED,
    CLAIM,
    END,
    EVENT,
    HEAD,
    LAST,
    Head,
    Playhead,
    not_of_this_stream,
    position_of,
    require_event_id,
    unknown,
)
from ._pipeline import Batched

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from ._log_format import Entry
    from ._pipeline import Command, Commands

    # Key, id, kind, value.
    NewEntry = tuple[str, str, bytes, bytes]

# How many entries of a stream are read at a time.
COUNT = 100
# Bytes of a stream that may be on their way to Redis; what a gateway sends beyond waits in its socket.
UNDER_WAY = 256 * 1024
# Milliseconds for which a cancel waits for its stream: a "Stop" may overtake its question, and anybody may send one.
EARLY = 30_000

# Atomic, so that two that start at once are one; and the same when it is run twice.
_CLAIM = """
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if first then return first[2][2] == ARGV[1] and first[1] end
local is_cancelled = redis.call('DEL', KEYS[1] .. ':cancelled') == 1
local id = redis.call('XADD', KEYS[1], '*', ARGV[2], is_cancelled and '' or ARGV[1])
local stream = id:match('%d+')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if is_cancelled then
  redis.call('XADD', KEYS[1], stream .. '-' .. ARGV[5], ARGV[6], ARGV[7])
  return false
end
redis.call('SET', KEYS[1] .. ':' .. stream, '', 'PX', ARGV[4])
return id
"""
# Of a claim that nobody will write to; not where it was cancelled, or another has come.
_RELEASE = """
local found = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 2)
if #found == 1 and found[1][2][2] == ARGV[1] then
  redis.call('DEL', KEYS[1], KEYS[1] .. ':' .. found[1][1]:match('%d+'))
end
"""
# Whose stream it is. Where there is none, a key that is smaller than a log.
_CANCEL = """
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if first then return {first[1], first[2][2]} end
redis.call('SET', KEYS[1] .. ':cancelled', '', 'PX', ARGV[1])
return false
"""
# A script for all, since a command for each costs the process three times as much. Returns what failed, and why.
_APPEND = """
local failed = {}
for i = 1, #KEYS do
  local reply = redis.pcall('XADD', KEYS[i], 'NOMKSTREAM', ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i])
  if type(reply) ~= 'string' then failed[#failed + 1] = {i - 1, reply and reply.err or 'gone'} end
end
return failed
"""
# A lease that ran out is taken again, unless the stream was ended for it or is another one.
_RENEW = """
local renewed = {}
for i = 1, #KEYS, 2 do
  local lease, log, is_alive = KEYS[i], KEYS[i + 1], 1
  if redis.call('PEXPIRE', lease, ARGV[1]) == 0 then
    local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
    if last and last[2][1] ~= ARGV[3] and log .. ':' .. last[1]:match('%d+') == lease then
      redis.call('SET', lease, '', 'PX', ARGV[1])
    else
      is_alive = 0
    end
  end
  redis.call('PEXPIRE', log, ARGV[2])
  renewed[#renewed + 1] = is_alive
end
return renewed
"""


def log_key(stream_id: str) -> str:
    """Return the key of a stream's log."""
    return f"tensorloop:stream:{stream_id}"


def lease_key(log: str, stream: int) -> str:
    """Return the key that lives as long as the producer does; of this stream, not of a later one of the same id."""
    return f"{log}:{stream}"


def inbox_key(process: str) -> str:
    """Return the key of the messages to a process."""
    return f"tensorloop:inbox:{process}"


def send(process: str, owner: str = "") -> tuple[Command, ...]:
    """Return the commands that wake a process, and have it stop the producer that is meant."""
    key = inbox_key(process)
    return ("XADD", key, "MAXLEN", "~", 1000, "*", b"o", owner), ("PEXPIRE", key, 60_000)


def end(key: str, stream: int, error: bytes, expires: int) -> tuple[Command, ...]:
    """Return the commands that end a log, the first of which is refused if it has ended; `expires` in milliseconds."""
    return (
        ("XADD", key, "NOMKSTREAM", f"{stream}-{LAST}", END, error),
        ("PEXPIRE", key, expires),
        ("DEL", lease_key(key, stream)),
    )


def is_refused(error: object) -> bool:
    """Tell whether an entry was refused because the log is past it."""
    return "equal or smaller" in str(error)


class LostError(Exception):
    """The log is no longer the producer's to write: it was ended, it expired, or the producer was too slow."""


class Writer(Batched["list[NewEntry]", "list[str]"]):
    """Writes entries; the reply is what Redis had against some of them."""

    async def _send(self, items: list[list[NewEntry]]) -> list[list[str]]:
        entries = [entry for item in items for entry in item]
        keys, values = [entry[0] for entry in entries], [value for entry in entries for value in entry[1:]]
        failed = await run_script(self._redis, _APPEND, keys, *values)
        whose = [number for number, item in enumerate(items) for _ in item]
        replies: list[list[str]] = [[] for _ in items]
        for index, error in failed:
            replies[whose[index]].append(error.decode())
        return replies


@dataclass(slots=True)
class Log:
    """The log of a stream that this process produces; what is written is under way when the call returns.

    Once it is too much, the next call waits. What went wrong is raised by a later call, or by `settle`: `LostError`, or
    an error of Redis.
    """

    commands: Commands
    writer: Writer
    key: str
    stream: int
    expires: int
    lease: int
    number: int = 0
    under_way: deque[tuple[int, int, asyncio.Future[list[str]]]] = field(default_factory=deque)
    size: int = 0

    @classmethod
    async def claim(
        cls, commands: Commands, writer: Writer, key: str, owner: str, *, expires: int, lease: int
    ) -> Log | None:
        """Begin a log, unless there is one; times in milliseconds."""
        cancelled = LAST, END, CANCELLED
        try:
            [entry_id] = await commands.run(("EVAL", _CLAIM, 1, key, owner, CLAIM, expires, lease, *cancelled))
        except BaseException:
            # It is on its way all the same.
            release(commands, key, owner)
            raise
        return None if entry_id is None else cls(commands, writer, key, position_of(entry_id)[0], expires, lease)

    async def begin(self, head: Head) -> None:
        """Write the head."""
        await self._add(HEAD, [head.encode()])

    async def append(self, events: list[bytes]) -> None:
        """Write events."""
        await self._add(EVENT, events)

    async def settle(self) -> None:
        """Wait until all is written."""
        while self.under_way:
            await self._check()

    async def end(self, error: bytes = b"") -> None:
        """Write the end, unless there is one; raises nothing of what went wrong before."""
        await asyncio.gather(*(future for *_, future in self.under_way), return_exceptions=True)
        await self.commands.post(end(self.key, self.stream, error, self.expires))

    async def _add(self, kind: bytes, values: list[bytes]) -> None:
        first = self.number + 1
        self.number += len(values)
        new = [(self.key, f"{self.stream}-{number}", kind, value) for number, value in enumerate(values, first)]
        size = sum(map(len, values))
        self.under_way.append((self.number, size, self.writer.post(new)))
        self.size += size
        while self.under_way and (self.size > UNDER_WAY or self.under_way[0][2].done()):
            await self._check()

    async def _check(self) -> None:
        number, size, future = self.under_way.popleft()
        self.size -= size
        for error in await future:
            if error != "gone" and not is_refused(error):
                raise ResponseError(error)
            # Refused is also what was written already, by a script whose reply was lost.
            if await self._is_lost(number):
                raise LostError

    async def _is_lost(self, number: int) -> bool:
        [entries] = await self.commands.run(("XREVRANGE", self.key, "+", "-", "COUNT", 1))
        return not entries or not (self.stream, number) <= position_of(entries[0][0]) < (self.stream, LAST)


def release(commands: Commands, key: str, owner: str) -> None:
    """Give an id back that was claimed and not begun."""
    commands.tell(("EVAL", _RELEASE, 1, key, owner))


async def owner_of(commands: Commands, key: str) -> tuple[int, str] | None:
    """Return the stream to cancel, and its producer; `None` if it has none, and never will."""
    [found] = await commands.run(("EVAL", _CANCEL, 1, key, EARLY))
    return (position_of(found[0])[0], found[1].decode()) if found and found[1] else None


async def renew(redis: Redis, logs: list[Log]) -> list[bool]:
    """Say that the producers of these logs live; return of which that can still be said."""
    keys = [key for log in logs for key in (lease_key(log.key, log.stream), log.key)]
    renewed = await run_script(redis, _RENEW, keys, logs[0].lease, logs[0].expires, END)
    return [is_alive == 1 for is_alive in renewed]


async def run_script(redis: Redis, script: str, keys: list[str], *values: str | bytes | int) -> Any:
    """Run a script by itself, not with the other commands: it must not wait for them."""
    running: Any = redis.execute_command("EVAL", script, len(keys), *keys, *values)  # type: ignore[no-untyped-call]
    return await running


async def open_log(commands: Commands, key: str, last_event_id: str | None) -> Playhead:
    """Return the place in a log that a reader has reached; raises `RefusedError`."""
    after = None if last_event_id is None else require_event_id(last_event_id)
    ranges: list[Command] = [("XRANGE", key, "-", "+", "COUNT", 2)]
    if after is not None:
        at = "{}-{}".format(*after)
        ranges.append(("XRANGE", key, at, at))
    [start, *reached] = await commands.run(*ranges)
    if not start:
        raise unknown()
    playhead = Playhead(position_of(start[0][0])[0])
    if after is None:
        return playhead
    if not reached[0] or EVENT not in reached[0][0][1]:
        raise not_of_this_stream(last_event_id)
    playhead.take(start)
    if playhead.head is None or not playhead.head.is_stream:
        raise not_of_this_stream(last_event_id)
    playhead.number = after[1]
    return playhead


async def entries_after(commands: Commands, key: str, stream: int, number: int) -> list[Entry]:
    """Return the next entries that are there, `COUNT` at most."""
    [entries] = await commands.run(("XRANGE", key, f"{stream}-{number + 1}", "+", "COUNT", COUNT))
    return list(entries)


def streams_of(reply: Any) -> list[tuple[str, list[Entry]]]:
    """Return what an XREAD brought, by key, in whichever of its shapes redis-py returns it (RESP2, RESP3)."""
    found = []
    for key, entries in reply.items() if isinstance(reply, dict) else reply or ():
        nested = bool(entries) and isinstance(entries[0], list)
        found.append((key.decode(), entries[0] if nested else entries))
    return found
