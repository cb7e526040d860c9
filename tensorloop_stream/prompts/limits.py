"""A key's limit of requests, kept for all who ask."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["CLOCKS", "Limit", "RollingLimit", "check_limit"]

# The two clocks that measure a window may differ by NTP's slewing, 0.05 % each.
CLOCKS = 1.001


class Limit(Protocol):
    """What `ask` needs of a limit: a block to send each request in, and a pause for all who share it."""

    async def __aenter__(self) -> object:
        """Wait until a request may be sent."""

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Take note that the answer has begun, or never will."""

    async def pause(self, seconds: float) -> None:
        """Let no request be sent for so many seconds."""


def check_limit(requests: int, seconds: float) -> None:
    """Raise `ValueError` for a limit that lets nothing through."""
    if requests < 1 or not 0 < seconds < math.inf:
        raise ValueError(f"a limit of {requests} requests in {seconds} seconds lets nothing through")


class RollingLimit:
    """At most `requests` in any `seconds`, as the server counts them, for all tasks of one event loop.

    Each request has a place until `seconds` after its answer began. The server has counted it by then, however
    long it was on its way; a list of the times at which requests were sent allows too many as soon as one of them
    takes longer (a new connection) than those after it. The price is the time to the first byte: 30 requests take
    61 seconds where that is one. Token and leaky buckets allow twice the limit around the edge of a window.

    Raises `ValueError` for a limit that lets nothing through.
    """

    seconds: float
    """The length of the window."""

    def __init__(self, requests: int = 30, seconds: float = 60) -> None:
        check_limit(requests, seconds)
        self.seconds = seconds
        self._places = asyncio.Semaphore(requests)
        self._resume_at = -math.inf

    async def __aenter__(self) -> None:
        await self._places.acquire()
        clock = asyncio.get_running_loop().time
        try:
            while (rest := self._resume_at - clock()) > 0:  # noqa: ASYNC110 - it may be put off meanwhile
                await asyncio.sleep(rest)
        except BaseException:
            self._places.release()
            raise

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().call_later(self.seconds * CLOCKS, self._places.release)

    async def pause(self, seconds: float) -> None:
        """Let no request be sent for so many seconds; a shorter pause does not end a longer one."""
        self._resume_at = max(self._resume_at, asyncio.get_running_loop().time() + seconds)
