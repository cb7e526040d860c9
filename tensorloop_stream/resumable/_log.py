"""One stream's log in Redis: its keys, and what is done with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from ._entries import (
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

if TYPE_CHECKING:
    from ._commands import Command, Commands
    from ._entries import Entry

# How many entries a reader that has fallen behind, or begins, takes at a time.
COUNT = 100

# Atomic, so that two that start at once are one; and the same when it is run twice.
_CLAIM = """
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if first then return first[2][2] == ARGV[1] and first[1] end
local id = redis.call('XADD', KEYS[1], '*', ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('SET', KEYS[1] .. ':' .. id:match('%d+'), '', 'PX', ARGV[4])
return id
"""

# In one command, since there may be hundreds and the moment counts.
_RENEW = """
local leased = {}
for i = 1, #KEYS, 2 do
  leased[#leased + 1] = redis.call('PEXPIRE', KEYS[i], ARGV[1])
  redis.call('PEXPIRE', KEYS[i + 1], ARGV[2])
end
return leased
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


def is_refused(reply: object) -> bool:
    """Tell whether an entry was refused because the log is past it."""
    return isinstance(reply, ResponseError) and "equal or smaller" in str(reply)


def send(process: str, owner: str) -> tuple[Command, ...]:
    """Return the commands that wake a process, and have it stop the producer that is meant."""
    key = inbox_key(process)
    return ("XADD", key, "MAXLEN", "~", 1000, "*", b"o", owner), ("PEXPIRE", key, 60_000)


def end(key: str, stream: int, error: bytes, expires: int) -> tuple[Command, ...]:
    """Return the commands that end a log, the first of which is refused if it has ended."""
    return (
        ("XADD", key, "NOMKSTREAM", f"{stream}-{LAST}", END, error),
        ("PEXPIRE", key, expires),
        ("DEL", lease_key(key, stream)),
    )


class LostError(Exception):
    """The log is no longer the producer's to write: it was ended, it expired, or the producer was too slow."""


@dataclass(slots=True)
class Log:
    """The log of a stream that this process produces."""

    commands: Commands
    key: str
    stream: int
    expires: int
    lease: int
    number: int = 0

    @classmethod
    async def claim(cls, commands: Commands, key: str, owner: str, expires: int, lease: int) -> Log | None:
        """Begin a log, unless there is one; times in milliseconds."""
        claim = ("EVAL", _CLAIM, 1, key, owner, CLAIM, expires, lease)
        [entry_id] = await commands.run(claim)
        return None if entry_id is None else cls(commands, key, position_of(entry_id)[0], expires, lease)

    async def begin(self, head: Head) -> None:
        """Write the head."""
        await self._add(HEAD, [head.encode()])

    async def append(self, events: list[bytes]) -> None:
        """Write events; raises `LostError`."""
        await self._add(EVENT, events)

    async def end(self, error: bytes = b"") -> None:
        """Write the end, unless there is one."""
        await self.commands.post(*end(self.key, self.stream, error, self.expires))

    async def _add(self, kind: bytes, values: list[bytes]) -> None:
        first = self.number + 1
        self.number += len(values)
        replies = await self.commands.post(
            *(
                ("XADD", self.key, "NOMKSTREAM", f"{self.stream}-{number}", kind, value)
                for number, value in enumerate(values, first)
            )
        )
        for reply in replies:
            # Refused is what was written already, by a pipeline whose replies were lost: unless it has ended.
            if reply is None or (is_refused(reply) and await self._has_ended()):
                raise LostError
            if isinstance(reply, Exception) and not is_refused(reply):
                raise reply

    async def _has_ended(self) -> bool:
        [entries] = await self.commands.run(("XREVRANGE", self.key, "+", "-", "COUNT", 1))
        return not entries or position_of(entries[0][0]) != (self.stream, self.number)


async def renew(commands: Commands, logs: list[Log]) -> list[bool]:
    """Say that the producers of these logs live; return of which that can still be said."""
    if not logs:
        return []
    keys = [key for log in logs for key in (lease_key(log.key, log.stream), log.key)]
    [are_leased] = await commands.run(("EVAL", _RENEW, len(keys), *keys, logs[0].lease, logs[0].expires))
    return [is_leased == 1 for is_leased in are_leased]


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
    """Return the next entries that are there."""
    [entries] = await commands.run(("XRANGE", key, f"{stream}-{number + 1}", "+", "COUNT", COUNT))
    return list(entries)


async def owner_of(commands: Commands, key: str) -> tuple[int, str] | None:
    """Return the stream in a log and its producer, `None` if there is no log."""
    [entries] = await commands.run(("XRANGE", key, "-", "+", "COUNT", 1))
    if not entries:
        return None
    entry_id, fields = entries[0]
    return position_of(entry_id)[0], fields[CLAIM].decode()


def streams_of(reply: Any) -> list[tuple[str, list[Entry]]]:
    """Return what an XREAD brought, by key, in whichever of its shapes redis-py returns it (RESP2, RESP3)."""
    found = []
    for key, entries in reply.items() if isinstance(reply, dict) else reply or ():
        nested = bool(entries) and isinstance(entries[0], list)
        found.append((key.decode(), entries[0] if nested else entries))
    return found
