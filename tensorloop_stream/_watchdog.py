"""Alarms for reads that are blocked in the kernel: one thread for all streams, none while no alarm is set."""

from __future__ import annotations

import heapq
import itertools
import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Alarm:
    """Calls `ring` when its deadline passes, unless it is cleared before; `ring` must not block."""

    __slots__ = ("deadline", "queued", "rang", "ring")

    def __init__(self, ring: Callable[[], None]) -> None:
        self.ring = ring
        self.deadline: float | None = None
        self.queued: float | None = None
        self.rang = False

    def set(self, deadline: float) -> None:
        """Ring at `deadline`, in seconds of `time.monotonic()`."""
        _watchdog.watch(self, deadline)

    def clear(self) -> bool:
        """Stop waiting; return whether it rang."""
        return _watchdog.clear(self)


class _Watchdog:
    def __init__(self) -> None:
        self._condition = threading.Condition(threading.Lock())
        self._queue: list[tuple[float, int, Alarm]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    def watch(self, alarm: Alarm, deadline: float) -> None:
        with self._condition:
            alarm.deadline = deadline
            # A later deadline waits for its entry to come up: setting it after every chunk must be cheap.
            if alarm.queued is None or deadline < alarm.queued:
                self._push(alarm, deadline)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="tensorloop_stream", daemon=True)
                    self._thread.start()
                elif self._queue[0][2] is alarm:
                    self._condition.notify()

    def clear(self, alarm: Alarm) -> bool:
        with self._condition:
            alarm.deadline = None
            return alarm.rang

    def _push(self, alarm: Alarm, when: float) -> None:
        alarm.queued = when
        heapq.heappush(self._queue, (when, next(self._numbers), alarm))

    def _run(self) -> None:
        with self._condition:
            while self._queue:
                when, _, alarm = self._queue[0]
                now = time.monotonic()
                if when > now:
                    self._condition.wait(when - now)
                    continue
                heapq.heappop(self._queue)
                if alarm.queued != when:
                    continue
                alarm.queued = None
                if alarm.deadline is None:
                    continue
                if alarm.deadline > now:
                    self._push(alarm, alarm.deadline)
                    continue
                alarm.deadline = None
                alarm.rang = True
                # Under the lock, so that after `clear` it cannot ring any more.
                alarm.ring()
            self._thread = None


def _renew() -> None:
    global _watchdog  # noqa: PLW0603 - a forked child has no watching thread, and maybe a lock held by nobody
    _watchdog = _Watchdog()


_watchdog = _Watchdog()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
