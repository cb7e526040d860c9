"""Keep all requests of a key under its limit."""

from __future__ import annotations

import asyncio
import math
import re
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

__all__ = ["CLOCK_DRIFT", "LearningLimit", "Limit", "RollingLimit", "check_limit"]

# The two clocks that measure a window may differ by NTP's slewing, 0.05 % each.
CLOCK_DRIFT = 1.001


class Limit(Protocol):
    """The interface of a limit: `ask` sends each request in an `async with` block, and `pause`s all requests.

    For example:

        class NoLimit:
            async def __aenter__(self): ...

            async def __aexit__(self, *exc_info): ...

            async def pause(self, seconds): ...

        prompts = read_prompts(["Stream a haiku about caching."], model="gpt-4o-mini")
        await ask_all(async_client, prompts, NoLimit(), print)
    """

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

    For example:

        prompts = read_prompts(["Stream a haiku about caching."], model="gpt-4o-mini")
        await ask_all(async_client, prompts, RollingLimit(requests=300, seconds=60), print)
    """

    requests: int
    """The number of requests in a window."""
    seconds: float
    """The length of the window."""

    def __init__(self, requests: int = 30, seconds: float = 60) -> None:
        check_limit(requests, seconds)
        self.requests = requests
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

    @property
    def waits_for(self) -> str:
        """The reason why the next request is held back, as text for a reader; empty if it is not."""
        if (wait := self._resume_at - asyncio.get_running_loop().time()) > 0:
            return f"the gateway said to wait {wait:.0f} s"
        return f"the limit of {self.requests} in {self.seconds:.0f} s" if self._slots.locked() else ""


class LearningLimit:
    """The limit of a key that nobody has named: it is learnt from refusals and headers, for one event loop.

    At first nothing is held back. At a 429, the number of requests that the gateway admitted in the last `seconds` is
    taken for its limit, and doubled after each such time without a 429; `pause` holds back all requests meanwhile.
    `observe` reads the limit and the rest of it from the headers of a response, where the gateway sends them.

    For example:

        limit = LearningLimit()
        prompts = read_prompts(["Stream a haiku about caching."], model="gpt-4o-mini")
        await ask_all(async_client, prompts, limit, print)
        print(limit.requests, limit.waits_for)
    """

    requests: int | None
    """The limit that was learnt, in requests per `seconds`; `None` before the first 429 or header."""
    seconds: float
    """The length of the window."""

    def __init__(self, seconds: float = 60) -> None:
        check_limit(1, seconds)
        self.requests = None
        self.seconds = seconds
        self._begun: deque[float] = deque()
        self._in_flight = 0
        self._changed = asyncio.Event()
        self._resume_at = self._learnt_at = -math.inf

    @property
    def waits_for(self) -> str:
        """The reason why the next request is held back, as text for a reader; empty if it is not."""
        now = asyncio.get_running_loop().time()
        if (wait := self._resume_at - now) > 0:
            return f"the gateway said to wait {wait:.0f} s"
        wait = self._wait(now)
        return f"the limit of {self.requests} in {self.seconds:.0f} s, for {wait:.0f} s" if wait > 0 else ""

    async def __aenter__(self) -> None:
        clock = asyncio.get_running_loop().time
        while (wait := self._wait(clock())) > 0:
            self._changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wait)
        self._in_flight += 1

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        now = asyncio.get_running_loop().time()
        self._in_flight -= 1
        if getattr(exc, "status_code", None) == 429:
            self._refused(now)
        else:
            self._begun.append(now)
        self._changed.set()

    async def pause(self, seconds: float) -> None:
        """Send no request for `seconds`; a shorter pause does not end a longer one."""
        self._resume_at = max(self._resume_at, asyncio.get_running_loop().time() + seconds)

    def observe(self, headers: Mapping[str, str]) -> None:
        """Learn from the `x-ratelimit-*-requests` headers of a response: requests per minute, and how many are left."""
        limit, left = (_count(headers.get(f"x-ratelimit-{name}-requests")) for name in ("limit", "remaining"))
        now = asyncio.get_running_loop().time()
        if limit and self.seconds == 60 and self.requests is None:
            self.requests, self._learnt_at = limit, now
        if left == 0 and (wait := _duration(headers.get("x-ratelimit-reset-requests", ""))):
            self._resume_at = max(self._resume_at, now + wait)

    def _refused(self, now: float) -> None:
        self._forget(now)
        # Nothing admitted: the requests of another program count, and the gateway says how long to wait.
        if self._begun:
            self.requests, self._learnt_at = len(self._begun), now

    def _wait(self, now: float) -> float:
        if (wait := self._resume_at - now) > 0:
            return wait
        if self.requests is None:
            return 0
        self._forget(now)
        while now - self._learnt_at > 2 * self.seconds:
            self.requests *= 2
            self._learnt_at += self.seconds
        if self._in_flight + len(self._begun) < self.requests:
            return 0
        # All may be in flight: then the first response to begin wakes the waiting ones.
        return self._begun[0] + self.seconds * CLOCK_DRIFT - now if self._begun else self.seconds

    def _forget(self, now: float) -> None:
        while self._begun and self._begun[0] + self.seconds * CLOCK_DRIFT <= now:
            self._begun.popleft()


def _count(value: str | None) -> int | None:
    return int(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 10 else None


def _duration(value: str) -> float:
    """Return the seconds of a duration such as `6m0s`, `20ms` or `12`; 0 for anything else."""
    if not re.fullmatch(r"(\d{1,9}(\.\d{1,9})?(ms|s|m|h|d)?){1,5}", value, re.ASCII):
        return 0
    units = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)(ms|s|m|h|d)?", value))
