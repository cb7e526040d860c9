"""The keys of a stream in Redis, and the commands that any process may send."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._entries import END, LAST

if TYPE_CHECKING:
    from ._commands import Command


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
