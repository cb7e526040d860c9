"""Processes that are simulated in one event loop, and their network to Redis, so that faults cost no time to make.

A stopped process runs no callback until it is resumed: its tasks and timers wait, while its sockets receive, as those
of a process after SIGSTOP. A killed process runs none ever again, and its connections are reset.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any
from unittest import mock
from weakref import WeakSet

_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class KilledError(Exception):
    """The process was killed before it answered."""


class Process:
    """A process: everything that its tasks begin is a part of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_alive = True
        self.killed = asyncio.Event()
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        # Exceptions that nobody handled.
        self.reports: list[str] = []
        # Seconds by which its clocks are moved.
        self.wall_offset = 0.0
        self.monotonic_offset = 0.0
        self._stops = 0
        self._parked: list[asyncio.Handle] = []
        self._when_killed: list[Callable[[], None]] = []

    def run(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine in this process."""
        context = copy_context()
        context.run(_PROCESS.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)

    async def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in this process, and return its result; raises `KilledError` if the process is killed."""
        task = self.run(work)
        # The exception of a task of a killed process is for nobody.
        task.add_done_callback(lambda each: each.cancelled() or each.exception())
        killed = asyncio.create_task(self.killed.wait())
        try:
            await asyncio.wait([task, killed], return_when=asyncio.FIRST_COMPLETED)
        finally:
            killed.cancel()
        if not task.done():
            raise KilledError
        return task.result()

    @property
    def is_stopped(self) -> bool:
        return self._stops > 0 or not self.is_alive

    def stop(self) -> None:
        self._stops += 1

    def resume(self) -> None:
        self._stops -= 1
        self._run_parked()

    def when_killed(self, call: Callable[[], None]) -> None:
        self._when_killed.append(call)

    def kill(self) -> None:
        self.is_alive = False
        self.killed.set()
        for call in self._when_killed:
            call()

    def bury(self) -> None:
        """Let a dead process run again, so that its tasks can be ended."""
        self.is_alive, self._stops = True, 0
        self._run_parked()

    def park(self, handle: asyncio.Handle) -> None:
        self._parked.append(handle)

    def _run_parked(self) -> None:
        if not self.is_stopped:
            parked, self._parked = self._parked, []
            loop: Any = asyncio.get_running_loop()
            loop._ready.extend(parked)


class _Clock:
    """The module `time`, for modules that ask it in a simulated process."""

    def monotonic(self) -> float:
        process = _PROCESS.get()
        return time.monotonic() + (process.monotonic_offset if process else 0.0)

    def time(self) -> float:
        process = _PROCESS.get()
        return time.time() + (process.wall_offset if process else 0.0)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def process_of_caller() -> Process | None:
    return _PROCESS.get()


@contextmanager
def simulated_processes(*modules: Any, is_expected: Callable[[BaseException], bool]) -> Iterator[list[str]]:
    """Let the running event loop simulate processes; these modules ask their clocks.

    An exception that nobody handled is reported by its process, or in the list that is returned, unless it is expected.
    """
    loop = asyncio.get_running_loop()
    run = asyncio.Handle._run
    reports: list[str] = []

    def run_unless_stopped(handle: Any) -> None:
        process = handle._context.get(_PROCESS)
        if process is not None and process.is_stopped and not _is_kernel(handle):
            process.park(handle)
        else:
            run(handle)

    def create_task(loop: asyncio.AbstractEventLoop, work: Any, **settings: Any) -> asyncio.Task[Any]:
        context = settings.get("context")
        process = _PROCESS.get() if context is None else context.get(_PROCESS)
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **settings)
        if process is not None:
            process.tasks.add(task)
        return task

    def report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        process = _PROCESS.get()
        error = context.get("exception")
        if error is not None and is_expected(error):
            return
        said = "".join([context["message"], "\n", *(traceback.format_exception(error) if error is not None else ())])
        (reports if process is None else process.reports).append(said)

    clock, handler = _Clock(), loop.get_exception_handler()
    loop.set_task_factory(create_task)
    loop.set_exception_handler(report)
    patches = [mock.patch.object(module, "time", clock) for module in modules]
    with mock.patch.object(asyncio.Handle, "_run", run_unless_stopped):
        for patch in patches:
            patch.start()
        try:
            yield reports
        finally:
            for patch in patches:
                patch.stop()
            loop.set_task_factory(None)
            loop.set_exception_handler(handler)


def _is_kernel(handle: Any) -> bool:
    # A socket that is ready is reported again and again until somebody reads it.
    owner = getattr(handle._callback, "__self__", None)
    return isinstance(owner, asyncio.BaseTransport | asyncio.AbstractEventLoop)


class Link:
    """The network between one process and Redis, as a relay that delays, holds, cuts or refuses."""

    def __init__(self, redis_port: int) -> None:
        self.port = 0
        self.redis_port = redis_port
        self.connections: set[_Connection] = set()
        self.refuses = False
        self.delay = 0.0
        # How often each direction is held; held bytes are delivered later, as TCP sends them again.
        self.holds = {"up": 0, "down": 0}

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self).client, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def is_held(self, direction: str) -> bool:
        return self.holds[direction] > 0

    def hold(self, *directions: str) -> None:
        for direction in directions:
            self.holds[direction] += 1

    def release(self, *directions: str) -> None:
        for direction in directions:
            self.holds[direction] -= 1
        for connection in list(self.connections):
            connection.pump()

    def cut(self, late: float = 0.0) -> None:
        """Reset all connections; what was on its way to Redis arrives `late` seconds later, unless that is 0."""
        for connection in list(self.connections):
            connection.cut(late)

    def close(self) -> None:
        self._server.close()
        self.cut()


class _Connection:
    """A connection of a client, and the one to Redis."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.client = _Side(self, "up")
        self.redis = _Side(self, "down")
        self.client.other, self.redis.other = self.redis, self.client
        self.is_cut = False

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self.redis, "127.0.0.1", self.link.redis_port)
        except OSError:
            self.cut()
        else:
            self.pump()

    def pump(self) -> None:
        self.client.pump()
        self.redis.pump()

    def cut(self, late: float = 0.0) -> None:
        if self.is_cut:
            return
        self.is_cut = True
        self.link.connections.discard(self)
        self.client.abort()
        data = b"".join(data for _, data in self.client.queue)
        if late and data and self.redis.transport is not None:
            asyncio.get_running_loop().call_later(late, self._deliver, data)
        else:
            self.redis.abort()

    def _deliver(self, data: bytes) -> None:
        if self.redis.transport is not None:
            self.redis.transport.write(data)
            self.redis.transport.close()


class _Side(asyncio.Protocol):
    """One end of a connection: it passes on what it receives."""

    other: _Side

    def __init__(self, connection: _Connection, direction: str) -> None:
        self._connection = connection
        self._link = connection.link
        self._direction = direction
        self.queue: deque[tuple[float, bytes]] = deque()
        self.transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self._direction == "down":
            if self._connection.is_cut:
                transport.abort()
        elif self._link.refuses:
            transport.abort()
        else:
            self._link.connections.add(self._connection)
            self._connecting = asyncio.create_task(self._connection.connect())

    def data_received(self, data: bytes) -> None:
        self.queue.append((asyncio.get_running_loop().time() + self._link.delay, data))
        self.pump()

    def pump(self) -> None:
        if self.other.transport is None or self._connection.is_cut:
            return
        now = asyncio.get_running_loop().time()
        while self.queue and not self._link.is_held(self._direction):
            due, data = self.queue[0]
            if due > now:
                if self._timer is None or self._timer.cancelled() or self._timer.when() <= now:
                    self._timer = asyncio.get_running_loop().call_at(due, self.pump)
                return
            self.queue.popleft()
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        # A client that closes in haste has sent everything: Redis gets it, after a while.
        self._connection.cut(late=0.05 if self._direction == "up" else 0.0)

    def abort(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.transport is not None:
            self.transport.abort()
