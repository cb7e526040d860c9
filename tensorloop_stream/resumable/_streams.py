"""Start, read and cancel, from any process."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

from redis import Redis as SyncRedis

from tensorloop_stream._forward.observer import request_body
from tensorloop_stream._forward.responses import AsyncForwardedChat, require_async
from tensorloop_stream._stream.settings import StreamSettings

from ._chat import FollowedChat, follow
from ._hub import Hub
from ._log_format import CANCELLED, require_id
from ._log_store import Log, Writer, end, is_refused, log_key, owner_of, release, send
from ._pipeline import Commands
from ._producer import Producers, produce

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType

    import openai
    from redis.asyncio import Redis

    from tensorloop_stream._callbacks import Callbacks


class ResumableStreams:
    """Streams in Redis: each is started once, and read by anybody, anywhere, from any of its events on.

    `redis` is a client of `redis.asyncio`, and stays the caller's to close. What came of a stream is kept for `expires`
    seconds after its end, or after the end of its producer. A producer that has not told Redis for `lease` seconds that
    it lives is dead, also one whose event loop is blocked for so long; its readers know an eighth of that later, at the
    latest. Redis, too, has `lease` seconds to answer. An answer of more than `max_size` bytes ends with an error.

    An id is 1 to 128 letters, digits, `-` and `_`; who knows it may read and cancel, so it should be as hard to guess
    as a UUID; every method raises `ValueError` for another one. `start` and `cancel` raise the errors of redis-py where
    Redis cannot be reached.
    """

    def __init__(
        self, redis: Redis, *, expires: float = 600.0, lease: float = 4.0, max_size: int = 32 * 1024 * 1024
    ) -> None:
        if isinstance(redis, SyncRedis):
            raise TypeError("this is a sync Redis client: give one of redis.asyncio")
        if redis.connection_pool.connection_kwargs.get("decode_responses"):
            raise ValueError("decode_responses is set: the events are bytes, so give a Redis client without it")
        if not 0 < lease < expires:
            raise ValueError(f"lease is {lease} and expires {expires}: both are seconds, and a lease is the shorter")
        self._expires, self._lease = int(1000 * expires), int(1000 * lease)
        self._max_size = max_size
        self._commands, self._writer = Commands(redis, lease), Writer(redis, lease)
        self._producers = Producers(redis, lease)
        self._hub = Hub(redis, self._commands, self._producers, lease=lease, expires=self._expires)
        self._is_closed = False
        self._numbers = itertools.count(1)

    async def start(
        self,
        id: str,  # noqa: A002 - what everybody calls it
        client: openai.AsyncOpenAI,
        body: Mapping[str, Any],
        callbacks: Callbacks | None = None,
        *,
        first_chunk_timeout: float | None = None,
        idle_timeout: float | None = None,
    ) -> bool:
        """Send `body` through `client`, in the background of this process, unless the id was started or cancelled.

        Returns whether it was this call that started it. The answer, or its error, is for those who `read`, until it
        expires: ask again under another id. Callbacks and timeouts are those of `aforward_chat`; what a callback raises
        goes to the event loop's exception handler.
        """
        require_async(client)
        key, body = log_key(require_id(id)), request_body(body)
        forwarded = AsyncForwardedChat(callbacks, StreamSettings(first_chunk_timeout, idle_timeout))
        self._require_open()
        owner = f"{self._hub.process}:{next(self._numbers)}"
        log = await Log.claim(self._commands, self._writer, key, owner, expires=self._expires, lease=self._lease)
        if log is None:
            return False
        if self._is_closed:
            release(self._commands, key, owner)
            self._require_open()
        self._producers.add(owner, log, produce(log, forwarded, client, body, self._max_size))
        self._hub.wake()
        return True

    async def read(self, id: str, last_event_id: str | None = None) -> FollowedChat:  # noqa: A002
        """Return the answer from after the event with this id on, or from the start.

        Waits until the gateway has answered. What a browser may get wrong, and a Redis that cannot be reached, are
        answers with a status too.
        """
        return await follow(self._hub, self._commands, log_key(require_id(id)), last_event_id)

    async def cancel(self, id: str) -> bool:  # noqa: A002
        """End the stream for everybody, and its request to the gateway; return whether it was running.

        One that was not started yet is cancelled, too, for the next 30 seconds: requests overtake each other.
        """
        key = log_key(require_id(id))
        found = await owner_of(self._commands, key)
        if found is None:
            return False
        stream, owner = found
        process = owner.partition(":")[0]
        ended, *_ = await self._commands.post((*end(key, stream, CANCELLED, self._expires), *send(process, owner)))
        if isinstance(ended, Exception) and not is_refused(ended):
            raise ended
        return isinstance(ended, bytes)

    async def aclose(self) -> None:
        """End what this process produces, with an error to its readers, and let go of what it reads."""
        self._is_closed = True
        await self._producers.aclose()
        await self._hub.aclose()
        await self._writer.aclose()
        # The last, since a start that is under way gives its id back.
        await self._commands.aclose()

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:  # noqa: ARG002 - given by the framework
        """Close with an application: what Starlette and FastAPI take as `lifespan`.

        Without it every restart looks like a crash: uvicorn lets SIGTERM end the process before its tasks can.
        """
        async with self:
            yield

    def _require_open(self) -> None:
        if self._is_closed:
            raise RuntimeError("these streams are closed: nothing can be started here any more")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.aclose()
