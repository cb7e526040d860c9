"""The Redis commands of a process, those of all its streams together every few milliseconds."""

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
WINDOW = 0.003
# Seconds between two attempts where a connection broke: at first, and at the most.
FIRST_PAUSE, LAST_PAUSE = 0.01, 0.25


async def persist(seconds: float, run: Callable[[], Awaitable[Reply]]) -> Reply:
    """Run what may run twice, again and again where the connection breaks; raise `TimeoutError` after so long.

    The error is redis-py's. Not every client has a socket timeout, and one of `Redis.from_url` never tries again.
    """
    pause, broke = FIRST_PAUSE, None
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    return await run()
                except (AuthenticationError, AuthorizationError):
                    raise
                except (RedisConnectionError, RedisTimeoutError) as error:
                    broke = error
                await asyncio.sleep(pause)
                pause = min(2 * pause, LAST_PAUSE)
    except TimeoutError:
        raise RedisTimeoutError(f"no answer from Redis within {seconds:.1f} s") from broke


class Batched(ABC, Generic[Item, Reply]):
    """Sends what is posted in batches, one at a time and in order; Redis has so many seconds for each.

    A batch is sent again where the connection broke: none of ours does harm when it is run twice.
    """

    def __init__(self, redis: Redis, seconds: float) -> None:
        self._redis = redis
        self._patience = seconds
        self._waiting: list[tuple[Item, asyncio.Future[Reply]]] = []
        self._not_before = 0.0
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def _send(self, items: list[Item]) -> list[Reply]:
        """Send a batch and return the reply to each item."""

    def post(self, item: Item) -> asyncio.Future[Reply]:
        """Have an item sent; the future is its reply."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return future

    async def aclose(self) -> None:
        """Wait for what is under way, so that the client can be closed."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        batch: list[tuple[Item, asyncio.Future[Reply]]] = []
        try:
            while self._waiting:
                await asyncio.sleep(max(self._not_before - time.monotonic(), 0))
                batch, self._waiting = self._waiting, []
                await self._run_batch(batch)
                self._not_before = time.monotonic() + WINDOW
        finally:
            # An event loop that ends cancels all its tasks: this one too, while others still have an end to write.
            for _, future in batch:
                future.cancel()
            self._task = asyncio.create_task(self._run()) if self._waiting else None

    async def _run_batch(self, batch: list[tuple[Item, asyncio.Future[Reply]]]) -> None:
        items = [item for item, _ in batch]
        try:
            replies = await persist(self._patience, lambda: self._send(items))
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), reply in zip(batch, replies, strict=True):
                if not future.done():
                    future.set_result(reply)


class Commands(Batched["tuple[Command, ...]", "list[Any]"]):
    """Runs commands, as many as there are in one pipeline."""

    async def run(self, *commands: Command) -> list[Any]:
        """Run commands in this order and return their replies; raises the first error of Redis among them."""
        replies = await self.post(commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    def tell(self, *commands: Command) -> None:
        """Run commands after those that were posted before, whatever becomes of them."""
        self.post(commands).add_done_callback(_seen)

    async def _send(self, items: list[tuple[Command, ...]]) -> list[list[Any]]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for commands in items:
                for command in commands:
                    pipeline.execute_command(*command)
            replies = iter(await pipeline.execute(raise_on_error=False))
        return [[next(replies) for _ in commands] for commands in items]


def _seen(future: asyncio.Future[list[Any]]) -> None:
    if not future.cancelled():
        future.exception()
