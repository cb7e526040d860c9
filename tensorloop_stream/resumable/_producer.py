"""From the gateway into a log, whoever reads it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from tensorloop_stream._sse import EventSplitter

from ._log_format import FAILED, STOPPED, Head, is_comment, too_large
from ._log_store import LostError, renew
from ._pipeline import persist

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    import openai
    from redis.asyncio import Redis

    from tensorloop_stream._forward.responses import AsyncForwardedChat

    from ._log_store import Log


class Producers:
    """What this process streams: kept alive by one heartbeat for all of it, and stopped on demand.

    A producer that can no longer say that it lives is stopped, since its readers will be told that it is dead.
    """

    def __init__(self, redis: Redis, lease: float) -> None:
        self._redis = redis
        self._lease = lease
        self._running: dict[str, tuple[Log, asyncio.Task[None]]] = {}
        self._beating: asyncio.Task[None] | None = None

    def __bool__(self) -> bool:
        return bool(self._running)

    def add(self, owner: str, log: Log, produced: Coroutine[Any, Any, None]) -> None:
        """Run a producer under this name."""
        task = asyncio.create_task(produced)
        self._running[owner] = log, task
        task.add_done_callback(lambda _: self._running.pop(owner))
        task.add_done_callback(_report)
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat())

    def stop(self, owner: str) -> None:
        """Stop the producer of this name, if it is one of this process that runs."""
        # Not again while it writes its end: the message may come twice.
        if owner in self._running and not (task := self._running[owner][1]).cancelling():
            task.cancel()

    async def aclose(self) -> None:
        """Stop all; their readers are told."""
        tasks = [task for _, task in self._running.values()]
        for owner in self._running:
            self.stop(owner)
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait([self._beating])

    def has(self, key: str, stream: int) -> bool:
        """Tell whether this stream is produced here."""
        return any((log.key, log.stream) == (key, stream) for log, _ in self._running.values())

    async def _beat(self) -> None:
        try:
            while self._running:
                owners = list(self._running)
                renewing = partial(renew, self._redis, [log for log, _ in self._running.values()])
                try:
                    are_alive = await persist(self._lease, renewing)
                except RedisError:
                    are_alive = [False] * len(owners)
                for owner, is_alive in zip(owners, are_alive, strict=True):
                    if not is_alive:
                        self.stop(owner)
                await asyncio.sleep(self._lease / 8)
        finally:
            self._beating = None


def _report(task: asyncio.Task[None]) -> None:
    """Tell the event loop of an exception that nobody waits for, at once and not when the task is collected."""
    if not task.cancelled() and (error := task.exception()) is not None:
        message = "a resumable stream's producer failed"
        task.get_loop().call_exception_handler({"message": message, "exception": error, "task": task})


async def produce(
    log: Log, forwarded: AsyncForwardedChat, client: openai.AsyncOpenAI, body: Mapping[str, Any], max_size: int
) -> None:
    """Ask the gateway and write its answer, until its end or until the log is another's."""
    error = FAILED
    try:
        async with await forwarded.open(client, body) as answer:
            error = await _write(log, answer, max_size)
    except LostError:
        error = STOPPED
    except asyncio.CancelledError:
        error = STOPPED
        raise
    finally:
        # Without Redis the lease runs out, and readers see the same.
        with suppress(RedisError):
            await log.end(error)


async def _write(log: Log, answer: AsyncForwardedChat, max_size: int) -> bytes:
    """Write the answer, and return the error that ends it, if there is one."""
    head = Head(answer.status_code, answer.headers)
    await log.begin(head)
    if not head.is_stream:
        await log.append([b"".join([data async for data in answer])])
        await log.settle()
        return b""
    splitter, size = EventSplitter(max_size), 0
    async for data in answer:
        size += len(data)
        if size > max_size:
            return too_large(max_size)
        events = [event for each in splitter.feed(data) if (event := each.lstrip(b"\n")) and not is_comment(event)]
        if events:
            await log.append(events)
    if rest := splitter.rest.strip():
        await log.append([rest])
    await log.settle()
    return b""
