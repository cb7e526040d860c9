"""Store the log of one stream in Redis: its keys, the producer's writes, and the readers' reads."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from ._log_format import (
    CANCELLED,
    CLAIM,
    COUNT,
    END,
    EVENT,
    HEAD,
    LAST,
    Head,
    LogCursor,
    foreign_event_id,
    position_of,
    require_event_id,
    unknown_stream,
)
from ._pipeline import Batched

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from ._log_format import Entry
    from ._pipeline import Command, Commands

    # Key, id, kind, value.
    NewEntry = tuple[str, str, bytes, bytes]

# The number of entries that one command reads.
READ_COUNT = 100
# Bytes of a stream that Redis may not have confirmed yet; the rest waits in the gateway's socket.
MAX_PENDING = 256 * 1024
# Milliseconds for which a cancel waits for its stream, whose start it may overtake. Anybody may cancel, so it expires.
CANCEL_EXPIRES = 30_000

# Atomic, so that of two concurrent starts one wins; a repeated run returns the same.
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
# Deletes a claim that no producer will use, unless it was cancelled or is another producer's.
_RELEASE = """
local found = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 2)
if #found == 1 and found[1][2][2] == ARGV[1] then
  redis.call('DEL', KEYS[1], KEYS[1] .. ':' .. found[1][1]:match('%d+'))
end
"""
# Returns the claim. Without a log, it sets a key, which is smaller than a log.
_CANCEL = """
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if first then return {first[1], first[2][2]} end
redis.call('SET', KEYS[1] .. ':cancelled', '', 'PX', ARGV[1])
return false
"""
# One script writes all entries: a command for each costs the process three times as much. Returns the failures.
_APPEND = """
local failed = {}
for i = 1, #KEYS do
  local reply = redis.pcall('XADD', KEYS[i], 'NOMKSTREAM', ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i])
  if type(reply) ~= 'string' then failed[#failed + 1] = {i - 1, reply and reply.err or 'gone'} end
end
return failed
"""
# Renews the lease of a log that has no end and is no later stream's, also an expired one. The lease alone says nothing:
# Redis may lose a log and keep its lease, and then nobody could read or cancel what is produced.
_RENEW = """
local renewed = {}
for i = 1, #KEYS, 2 do
  local lease, log, is_alive = KEYS[i], KEYS[i + 1], 0
  local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  if last and last[2][1] ~= ARGV[3] and log .. ':' .. last[1]:match('%d+') == lease then
    redis.call('SET', lease, '', 'PX', ARGV[1])
    redis.call('PEXPIRE', log, ARGV[2])
    is_alive = 1
  end
  renewed[#renewed + 1] = is_alive
end
return renewed
"""


def log_key(stream_id: str) -> str:
    """Return the key of a stream's log."""
    return f"tensorloop:stream:{stream_id}"


def lease_key(log: str, stream: int) -> str:
    """Return the key of the producer's lease, for this stream and no later one of the same id."""
    return f"{log}:{stream}"


def messages_key(process: str) -> str:
    """Return the key of the messages to a process."""
    return f"tensorloop:inbox:{process}"


def message_commands(process: str, owner: str = "") -> tuple[Command, ...]:
    """Return the commands that wake a process, and stop its producer `owner` if one is given."""
    key = messages_key(process)
    return ("XADD", key, "MAXLEN", "~", 1000, "*", b"o", owner), ("PEXPIRE", key, 60_000)


def end_commands(key: str, stream: int, error: bytes, expires: int, count: int = 0) -> tuple[Command, ...]:
    """Return the commands that end a log; Redis refuses the first if it has ended.

    `expires` is in milliseconds. `count` is the number of the last entry of a complete answer.
    """
    counted = () if error else (COUNT, count)
    return (
        ("XADD", key, "NOMKSTREAM", f"{stream}-{LAST}", END, error, *counted),
        ("PEXPIRE", key, expires),
        ("DEL", lease_key(key, stream)),
    )


def is_refused(error: object) -> bool:
    """Tell whether Redis refused an entry because the log has a greater id."""
    return "equal or smaller" in str(error)


class LostError(Exception):
    """The producer may no longer write the log: the log was ended, it expired, or Redis lost entries of it."""


class Writer(Batched["list[NewEntry]", "list[str]"]):
    """Writes entries to Redis in batches; a reply lists the errors of the refused ones.

    When a batch fails, the waiting entries of its logs fail too: a log that goes on after a gap has no readable end.
    """

    def _fail(self, batch: list[tuple[list[NewEntry], asyncio.Future[list[str]]]], error: Exception) -> None:
        logs = {entry[0] for item, _ in batch for entry in item}
        waiting, self._waiting = self._waiting, []
        lost = list(batch)
        for each in waiting:
            (lost if any(entry[0] in logs for entry in each[0]) else self._waiting).append(each)
        super()._fail(lost, error)

    def _interrupt(self, batch: list[tuple[list[NewEntry], asyncio.Future[list[str]]]]) -> None:
        """Send the batch again, before the next one: a gap would end the answers of all readers."""
        self._waiting[:0] = batch

    async def _send(self, items: list[list[NewEntry]]) -> list[list[str]]:
        entries = [entry for item in items for entry in item]
        keys, values = [entry[0] for entry in entries], [value for entry in entries for value in entry[1:]]
        failed = await run_script(self._redis, _APPEND, keys, *values)
        item_numbers = [number for number, item in enumerate(items) for _ in item]
        replies: list[list[str]] = [[] for _ in items]
        for index, error in failed:
            replies[item_numbers[index]].append(error.decode())
        return replies


@dataclass(slots=True)
class Log:
    """The log of a stream that this process produces; its writes are pending when the calls return.

    A call waits while more than `MAX_PENDING` bytes are pending. A later call, or `flush`, raises the error of a write:
    `LostError`, or an error of Redis.
    """

    commands: Commands
    writer: Writer
    key: str
    stream: int
    expires: int
    lease: int
    number: int = 0
    pending: deque[tuple[int, int, asyncio.Future[list[str]]]] = field(default_factory=deque)
    size: int = 0

    @classmethod
    async def claim(
        cls, commands: Commands, writer: Writer, key: str, owner: str, *, expires: int, lease: int
    ) -> Log | None:
        """Begin a log, unless the id has one; times are in milliseconds."""
        cancelled = LAST, END, CANCELLED
        try:
            [entry_id] = await commands.run(("EVAL", _CLAIM, 1, key, owner, CLAIM, expires, lease, *cancelled))
        except BaseException:
            # Redis may have run the command all the same.
            release(commands, key, owner)
            raise
        return None if entry_id is None else cls(commands, writer, key, position_of(entry_id)[0], expires, lease)

    async def begin(self, head: Head) -> None:
        """Write the head."""
        await self._add(HEAD, [head.encode()])

    async def append(self, events: list[bytes]) -> None:
        """Write events."""
        await self._add(EVENT, events)

    async def flush(self) -> None:
        """Wait until Redis has confirmed all writes."""
        while self.pending:
            await self._check()

    async def end(self, error: bytes = b"") -> None:
        """Write the end, unless the log has one; raises no error of an earlier write."""
        await asyncio.gather(*(future for *_, future in self.pending), return_exceptions=True)
        await self.commands.post(end_commands(self.key, self.stream, error, self.expires, self.number))

    async def _add(self, kind: bytes, values: list[bytes]) -> None:
        # The error of an earlier write first, since nothing may follow its gap.
        await self._check_done()
        first = self.number + 1
        self.number += len(values)
        new = [(self.key, f"{self.stream}-{number}", kind, value) for number, value in enumerate(values, first)]
        size = sum(map(len, values))
        self.pending.append((self.number, size, self.writer.post(new)))
        self.size += size
        while self.pending and self.size > MAX_PENDING:
            await self._check()

    async def _check_done(self) -> None:
        while self.pending and self.pending[0][2].done():
            await self._check()

    async def _check(self) -> None:
        number, size, future = self.pending.popleft()
        self.size -= size
        for error in await future:
            if error != "gone" and not is_refused(error):
                raise ResponseError(error)
            # Redis also refuses an entry that a script wrote before, if the reply of that script was lost.
            if await self._is_lost(number):
                raise LostError

    async def _is_lost(self, number: int) -> bool:
        [entries] = await self.commands.run(("XREVRANGE", self.key, "+", "-", "COUNT", 1))
        return not entries or not (self.stream, number) <= position_of(entries[0][0]) < (self.stream, LAST)


def release(commands: Commands, key: str, owner: str) -> None:
    """Release an id that was claimed and has no events."""
    commands.run_unawaited(("EVAL", _RELEASE, 1, key, owner))


async def owner_to_cancel(commands: Commands, key: str) -> tuple[int, str] | None:
    """Return the stream to cancel and its producer; without a log, cancel a start that follows and return `None`."""
    [found] = await commands.run(("EVAL", _CANCEL, 1, key, CANCEL_EXPIRES))
    return (position_of(found[0])[0], found[1].decode()) if found and found[1] else None


async def renew_leases(redis: Redis, logs: list[Log]) -> list[bool]:
    """Renew the leases of the producers of these logs; return for each whether it is still valid."""
    keys = [key for log in logs for key in (lease_key(log.key, log.stream), log.key)]
    renewed = await run_script(redis, _RENEW, keys, logs[0].lease, logs[0].expires, END)
    return [is_alive == 1 for is_alive in renewed]


async def run_script(redis: Redis, script: str, keys: list[str], *values: str | bytes | int) -> Any:
    """Run a script apart from the pipeline of commands, so that it does not wait for them."""
    running: Any = redis.execute_command("EVAL", script, len(keys), *keys, *values)  # type: ignore[no-untyped-call]
    return await running


async def open_cursor(commands: Commands, key: str, last_event_id: str | None) -> LogCursor:
    """Return a cursor at the last event that a reader has, or at the start; raises `RefusedError`."""
    after = None if last_event_id is None else require_event_id(last_event_id)
    ranges: list[Command] = [("XRANGE", key, "-", "+", "COUNT", 2)]
    if after is not None:
        at = "{}-{}".format(*after)
        ranges.append(("XRANGE", key, at, at))
    [start, *reached] = await commands.run(*ranges)
    if not start:
        raise unknown_stream()
    cursor = LogCursor(position_of(start[0][0])[0])
    if after is None:
        return cursor
    if not reached[0] or EVENT not in reached[0][0][1]:
        raise foreign_event_id(last_event_id)
    cursor.feed(start)
    if cursor.head is None or not cursor.head.is_stream:
        raise foreign_event_id(last_event_id)
    cursor.number = after[1]
    return cursor


async def entries_after(commands: Commands, key: str, stream: int, number: int) -> list[Entry]:
    """Return the next entries of a log, at most `READ_COUNT`."""
    [entries] = await commands.run(("XRANGE", key, f"{stream}-{number + 1}", "+", "COUNT", READ_COUNT))
    return list(entries)


def parse_xread(reply: Any) -> list[tuple[str, list[Entry]]]:
    """Return the keys and entries of an XREAD reply, in any shape that redis-py returns (RESP2, RESP3)."""
    found = []
    for key, entries in reply.items() if isinstance(reply, dict) else reply or ():
        nested = bool(entries) and isinstance(entries[0], list)
        found.append((key.decode(), entries[0] if nested else entries))
    return found
