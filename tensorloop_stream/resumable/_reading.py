"""What a process reads of a log that any other may write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._entries import EVENT, Playhead, not_of_this_stream, position_of, require_event_id, unknown

if TYPE_CHECKING:
    from ._commands import Command, Commands
    from ._entries import Entry

# How many entries of a stream are read at a time.
COUNT = 100


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
