"""Write the gateway's answers into logs, and keep the leases of their producers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from tensorloop_stream._sse import EventSplitter

from ._log_format import FAILED, STOPPED, Head, is_comment, too_large
from ._log_store import LostError, renew_leases
from ._pipeline import with_retries

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    import openai
    from redis.asyncio import Redis

    from tensorloop_stream._forward.responses import AsyncForwardedChat

    from ._log_store import Log


class Producers:
    """The producers of this process; one heartbeat renews all their leases.

    A producer whose lease cannot be renewed is stopped, because its readers take it for dead.
    """

    def __init__(self, redis: Redis, lease: float) -> None:
        self._redis = redis
        self._lease = lease
        self._running: dict[str, tuple[Log, asyncio.Task[None]]] = {}
        self._heartbeat: asyncio.Task[None] | None = None

    def __bool__(self) -> bool:
        return bool(self._running)

    def add(self, owner: str, log: Log, producing: Coroutine[Any, Any, None]) -> None:
        """Run a producer under the name `owner`."""
        task = asyncio.create_task(producing)
        self._running[owner] = log, task
        task.add_done_callback(lambda _: self._running.pop(owner))
        task.add_done_callback(_report)
        if self._heartbeat is None:
            self._heartbeat = asyncio.create_task(self._run_heartbeat())

    def stop(self, owner: str) -> None:
        """Stop the producer `owner`, if it runs in this process."""
        # A second message must not cancel the writing of the end.
        if owner in self._running and not (task := self._running[owner][1]).cancelling():
            task.cancel()

    async def aclose(self) -> None:
        """Stop all producers; each ends its log with an error."""
        tasks = [task for _, task in self._running.values()]
        for owner in self._running:
            self.stop(owner)
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            await asyncio.wait([self._heartbeat])

    def has(self, key: str, stream: int) -> bool:
        """Tell whether a producer of this process writes this stream."""
        return any((log.key, log.stream) == (key, stream) for log, _ in self._running.values())

    async def _run_heartbeat(self) -> None:
        try:
            while self._running:
                owners = list(self._running)
                renewing = partial(renew_leases, self._redis, [log for log, _ in self._running.values()])
                try:
                    are_alive = await with_retries(self._lease, renewing)
                except RedisError:
                    are_alive = [False] * len(owners)
                for owner, is_alive in zip(owners, are_alive, strict=True):
                    if not is_alive:
                        self.stop(owner)
                await asyncio.sleep(self._lease / 8)
        finally:
            self._heartbeat = None


def _report(task: asyncio.Task[None]) -> None:
    """Report a producer's exception to the event loop immediately, since nothing awaits the task."""
    if not task.cancelled() and (error := task.exception()) is not None:
        message = "a resumable stream's producer failed"
        task.get_loop().call_exception_handler({"message": message, "exception": error, "task": task})


async def produce(
    log: Log, forwarded: AsyncForwardedChat, client: openai.AsyncOpenAI, body: Mapping[str, Any], max_size: int
) -> None:
    """Send the request and write the answer, until it ends or the log is lost."""
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
        # Without Redis the lease expires, and the readers get the same error.
        with suppress(RedisError):
            await log.end(error)


async def _write(log: Log, answer: AsyncForwardedChat, max_size: int) -> bytes:
    """Write the answer, and return the error that ends it; empty if it is complete."""
    head = Head(answer.status_code, answer.headers)
    await log.begin(head)
    if not head.is_stream:
        await log.append([b"".join([data async for data in answer])])
        await log.flush()
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
    await log.flush()
    return b""
