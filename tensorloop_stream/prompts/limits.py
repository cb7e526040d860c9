"""Keep all requests of a key under its limit."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["CLOCK_DRIFT", "Limit", "RollingLimit", "check_limit"]

# The two clocks that measure a window may differ by NTP's slewing, 0.05 % each.
CLOCK_DRIFT = 1.001


class Limit(Protocol):
    """The interface of a limit: `ask` sends each request in an `async with` block, and `pause`s all requests."""

    async def __aenter__(self) -> object:
        """Wait until a request may be sent."""

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Record that the response has begun, or that it failed."""

    async def pause(self, seconds: float) -> None:
        """Send no request for `seconds`."""


def check_limit(requests: int, seconds: float) -> None:
    """Raise `ValueError` for a limit that permits no request."""
    if requests < 1 or not 0 < seconds < math.inf:
        raise ValueError(
            f"a limit of {requests} requests in {seconds} seconds permits nothing: give at least 1 request in a finite "
            "number of seconds above 0"
        )


class RollingLimit:
    """A limit of `requests` in any `seconds`, as the server counts them, for all tasks of one event loop.

    Each request holds a slot until `seconds` after its response began; by then the server has counted it. A list of
    sending times would permit too many: one request may take longer (a new connection) than those after it. The price
    is the time to the first byte: 30 requests take 61 seconds where that time is one second. Token and leaky buckets
    permit twice the limit around the edge of a window.

    Raises `ValueError` for a limit that permits no request.
    """

    seconds: float
    """The length of the window."""

    def __init__(self, requests: int = 30, seconds: float = 60) -> None:
        check_limit(requests, seconds)
        self.seconds = seconds
        self._slots = asyncio.Semaphore(requests)
        self._resume_at = -math.inf

    async def __aenter__(self) -> None:
        await self._slots.acquire()
        clock = asyncio.get_running_loop().time
        try:
            while (wait := self._resume_at - clock()) > 0:  # noqa: ASYNC110 - another pause may begin meanwhile
                await asyncio.sleep(wait)
        except BaseException:
            self._slots.release()
            raise

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().call_later(self.seconds * CLOCK_DRIFT, self._slots.release)

    async def pause(self, seconds: float) -> None:
        """Send no request for `seconds`; a shorter pause does not end a longer one."""
        self._resume_at = max(self._resume_at, asyncio.get_running_loop().time() + seconds)
