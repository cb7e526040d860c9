"""Alarms for reads that are blocked in the kernel: one thread for all streams, none while no alarm is set."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# A lock cannot be waited for without end; waking up once an hour harms nobody.
_LONGEST_WAIT = 3600.0


class Alarm:
    """Calls `ring` when its deadline passes, unless it is cleared before; `ring` must not block."""

    __slots__ = ("rang", "ring")

    def __init__(self, ring: Callable[[], None]) -> None:
        self.ring = ring
        self.rang = False

    def set(self, deadline: float) -> None:
        """Ring at `deadline`, in seconds of `time.monotonic()`."""
        _watchdog.watch(self, deadline)

    def clear(self) -> bool:
        """Stop waiting; return whether it rang."""
        return _watchdog.clear(self)

    def drop(self) -> None:
        """Stop waiting for good: the thread ends now, if this was the last alarm."""
        _watchdog.drop(self)


class _Watchdog:
    def __init__(self) -> None:
        # Reentrant: a signal handler, or a stream that the garbage collector takes, may come in between.
        self._lock = threading.RLock()
        self._condition = threading.Condition(self._lock)
        self._deadlines: dict[Alarm, float] = {}
        self._wakes_at = 0.0
        self._thread: threading.Thread | None = None

    def watch(self, alarm: Alarm, deadline: float) -> None:
        with self._lock:
            self._deadlines[alarm] = deadline
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="tensorloop_stream", daemon=True)
                thread.start()
                # Only now: where no thread can be started, the next stream must try again.
                self._thread, self._wakes_at = thread, deadline
            elif deadline < self._wakes_at:
                self._condition.notify()

    def clear(self, alarm: Alarm) -> bool:
        # The thread is not told, because streams clear and set their alarms at every read. It wakes up once in
        # the length of a timeout and looks for itself.
        with self._lock:
            self._deadlines.pop(alarm, None)
            return alarm.rang

    def drop(self, alarm: Alarm) -> None:
        with self._lock:
            self._deadlines.pop(alarm, None)
            if not self._deadlines and self._thread is not None:
                self._condition.notify()

    def _run(self) -> None:
        with self._lock:
            while self._deadlines:
                now = time.monotonic()
                for alarm, deadline in list(self._deadlines.items()):
                    if deadline <= now:
                        del self._deadlines[alarm]
                        alarm.rang = True
                        # Under the lock, so that after `clear` it cannot ring any more.
                        alarm.ring()
                self._wakes_at = min(self._deadlines.values(), default=now)
                self._condition.wait(min(self._wakes_at - now, _LONGEST_WAIT))
            self._thread = None


def _renew() -> None:
    global _watchdog  # noqa: PLW0603 - a forked child has no watching thread, and maybe a lock held by nobody
    _watchdog = _Watchdog()


_watchdog = _Watchdog()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
