"""Hold entries between the hub and one reader."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._log_format import Entry

# Bytes that an inbox holds, unless one batch of entries is larger.
BUFFER = 256 * 1024


class Inbox:
    """A buffer between the hub and one reader: it holds entries, a ping and an error.

    The inbox refuses a batch that does not fit. The hub then gives it no further batch, and the reader reads on from
    Redis, at its own speed.
    """

    def __init__(self) -> None:
        # Whether the hub gives it the next entries.
        self.is_followed: bool = False
        self.has_ping: bool = False
        self.error: bytes | None = None
        self._entries: list[Entry] = []
        self._size = 0
        self._filled = asyncio.Event()

    def give(self, entries: list[Entry], size: int) -> bool:
        """Add entries of `size` bytes; return whether they fit."""
        self._filled.set()
        self.is_followed = not self._entries or self._size + size <= BUFFER
        if self.is_followed:
            self._entries += entries
            self._size += size
        return self.is_followed

    def ping(self) -> None:
        """Request a comment, unless the reader has entries to send."""
        self._filled.set()
        self.has_ping = True

    def fail(self, error: bytes) -> None:
        """Set the error that ends this reader, but not the stream."""
        self._filled.set()
        self.error = error

    @property
    def is_empty(self) -> bool:
        """Whether the inbox holds neither entries nor a ping nor an error."""
        return not self._entries and not self.has_ping and self.error is None

    async def wait(self) -> None:
        """Wait until the hub adds entries, a ping or an error."""
        self._filled.clear()
        await self._filled.wait()

    def take(self) -> list[Entry]:
        """Remove the entries and return them."""
        entries, self._entries, self._size = self._entries, [], 0
        return entries
