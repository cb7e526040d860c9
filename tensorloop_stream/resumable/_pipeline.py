"""Send the Redis commands of all streams of a process together, every few milliseconds."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ConnectionError as RedisConnectionError,
    TimeoutError as RedisTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis

    Command = tuple[str | bytes | int, ...]

Item = TypeVar("Item")
Reply = TypeVar("Reply")

# Seconds between two batches. The first command after a pause does not wait.
BATCH_INTERVAL = 0.003
# Seconds before the first retry after a broken connection; doubled for each further one, up to the second number.
FIRST_DELAY, MAX_DELAY = 0.01, 0.25


async def with_retries(seconds: float, run: Callable[[], Awaitable[Reply]]) -> Reply:
    """Retry an idempotent call while the connection breaks; raises redis-py's `TimeoutError` after `seconds`.

    Some clients have no socket timeout, and a client of `Redis.from_url` makes no retries of its own. A cancel or the
    timeout ends the retries even if the client drops it, or turns it into an error of its connection.
    """
    delay, broken = FIRST_DELAY, None
    task = asyncio.current_task()
    assert task is not None
    cancels = task.cancelling()
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    return await run()
                except (AuthenticationError, AuthorizationError):
                    raise
                except (RedisConnectionError, RedisTimeoutError) as error:
                    broken = error
                finally:
                    # `wait_for` of Python 3.11, in the client, drops a cancel that comes with a result (cpython#86296).
                    if task.cancelling() > cancels:
                        raise asyncio.CancelledError
                await asyncio.sleep(delay)
                delay = min(2 * delay, MAX_DELAY)
    except TimeoutError:
        raise RedisTimeoutError(f"no answer from Redis within {seconds:.1f} s") from broken


class Batched(ABC, Generic[Item, Reply]):
    """A queue that sends items in batches, one batch at a time and in order, with a timeout for each batch.

    A batch is sent again after a broken connection; all items are idempotent.
    """

    def __init__(self, redis: Redis, timeout: float) -> None:
        self._redis = redis
        self._timeout = timeout
        self._waiting: list[tuple[Item, asyncio.Future[Reply]]] = []
        self._sending: list[tuple[Item, asyncio.Future[Reply]]] = []
        self._not_before = 0.0
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def _send(self, items: list[Item]) -> list[Reply]:
        """Send a batch and return the reply to each item."""

    def post(self, item: Item) -> asyncio.Future[Reply]:
        """Queue an item; the future returns its reply."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None:
            self._start()
        return future

    async def aclose(self) -> None:
        """Wait until all batches are sent, so that the client can be closed."""
        while self._task is not None:
            await asyncio.wait([self._task])

    def _start(self) -> None:
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._restart)

    def _restart(self, _: asyncio.Task[None]) -> None:
        # An event loop that ends cancels all tasks, this one too, while producers still post ends of their logs. The
        # restart is a callback, since a task that is cancelled before its first step runs no `finally`.
        self._task = None
        batch, self._sending = self._sending, []
        self._interrupt(batch)
        if self._waiting:
            self._start()

    def _interrupt(self, batch: list[tuple[Item, asyncio.Future[Reply]]]) -> None:
        """Cancel the replies of the batch that was being sent when the task was cancelled."""
        for _, future in batch:
            future.cancel()

    def _fail(self, batch: list[tuple[Item, asyncio.Future[Reply]]], error: Exception) -> None:
        """Let each reply of a batch raise this error."""
        for _, future in batch:
            if not future.done():
                future.set_exception(error)

    async def _run(self) -> None:
        while self._waiting:
            await asyncio.sleep(max(self._not_before - time.monotonic(), 0))
            self._sending, self._waiting = self._waiting, []
            await self._run_batch(self._sending)
            self._sending = []
            self._not_before = time.monotonic() + BATCH_INTERVAL

    async def _run_batch(self, batch: list[tuple[Item, asyncio.Future[Reply]]]) -> None:
        items = [item for item, _ in batch]
        try:
            replies = await with_retries(self._timeout, lambda: self._send(items))
        except Exception as error:  # noqa: BLE001 - each future raises it
            self._fail(batch, error)
        else:
            for (_, future), reply in zip(batch, replies, strict=True):
                if not future.done():
                    future.set_result(reply)


class Commands(Batched["tuple[Command, ...]", "list[Any]"]):
    """Runs Redis commands, all that are posted at a time in one pipeline."""

    async def run(self, *commands: Command) -> list[Any]:
        """Run commands in this order and return their replies; raises the first error among the replies."""
        replies = await self.post(commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    def run_unawaited(self, *commands: Command) -> None:
        """Queue commands and ignore their errors."""
        self.post(commands).add_done_callback(_ignore_error)

    async def _send(self, items: list[tuple[Command, ...]]) -> list[list[Any]]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for commands in items:
                for command in commands:
                    pipeline.execute_command(*command)
            replies = iter(await pipeline.execute(raise_on_error=False))
        return [[next(replies) for _ in commands] for commands in items]


def _ignore_error(future: asyncio.Future[list[Any]]) -> None:
    if not future.cancelled():
        future.exception()  # marks it as retrieved
