"""The Redis commands of a process, those of all its streams in one pipeline every few milliseconds."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from redis.exceptions import TimeoutError as RedisTimeoutError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from redis.asyncio import Redis

    Command = tuple[str | bytes | int, ...]
    _Posted = tuple[tuple[Command, ...], asyncio.Future[list[Any]]]

# Seconds between two pipelines. The first command after a pause does not wait.
WINDOW = 0.003


@asynccontextmanager
async def patience(seconds: float) -> AsyncIterator[None]:
    """Raise redis-py's `TimeoutError` if the block takes longer: not every client has a socket timeout."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise RedisTimeoutError(f"no answer from Redis within {seconds:.1f} s") from None


class Commands:
    """Runs commands; each waits so many seconds at most."""

    def __init__(self, redis: Redis, seconds: float) -> None:
        self._redis = redis
        self._patience = seconds
        self._waiting: list[_Posted] = []
        self._not_before = 0.0
        self._task: asyncio.Task[None] | None = None

    def post(self, *commands: Command) -> asyncio.Future[list[Any]]:
        """Have commands run in this order; the future's result is their replies, with errors of Redis among them."""
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((commands, future))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return future

    async def run(self, *commands: Command) -> list[Any]:
        """Run commands in this order and return their replies; raises the first error of Redis among them."""
        replies = await self.post(*commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    async def aclose(self) -> None:
        """Wait for what is under way, so that the client can be closed."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        batch: list[_Posted] = []
        try:
            while self._waiting:
                await asyncio.sleep(max(self._not_before - time.monotonic(), 0))
                batch, self._waiting = self._waiting, []
                await self._run_all(batch)
                self._not_before = time.monotonic() + WINDOW
        finally:
            # An event loop that ends cancels all its tasks: this one too, while others still have an end to write.
            for _, future in batch:
                future.cancel()
            self._task = asyncio.create_task(self._run()) if self._waiting else None

    async def _run_all(self, batch: list[_Posted]) -> None:
        try:
            replies = iter(await self._replies(command for commands, _ in batch for command in commands))
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
        else:
            for commands, future in batch:
                mine = [next(replies) for _ in commands]
                if not future.done():
                    future.set_result(mine)

    async def _replies(self, commands: Iterable[Command]) -> list[Any]:
        async with patience(self._patience), self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            # Retried by redis-py where the connection broke: no command here does harm when it is run twice.
            return await pipeline.execute(raise_on_error=False)
