"""Start, read and cancel streams from any process."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

from redis import Redis as SyncRedis

from tensorloop_stream._forward.apis import api_of
from tensorloop_stream._forward.headers import request_body
from tensorloop_stream._forward.responses import AsyncForwardedChat, require_async, settings_for

from ._chat import FollowedChat, follow
from ._eviction import warn_of_eviction
from ._hub import Hub
from ._log_format import CANCELLED, require_id
from ._log_store import Log, Writer, end_commands, is_refused, log_key, message_commands, owner_to_cancel, release
from ._pipeline import Commands
from ._producer import Producers, produce

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType

    import openai
    from redis.asyncio import Redis

    from tensorloop_stream._callbacks import AnyCallbacks


class ResumableStreams:
    """A set of streams in Redis: each is started once, and read by any process from any of its events on.

    `redis` is a client of `redis.asyncio`, which the caller closes. Redis keeps a stream for `expires` seconds after
    its end, or after the end of its producer. A producer is dead if it has not renewed its lease for `lease` seconds,
    for example because its event loop was blocked. Its readers notice within a further eighth of `lease`. Redis, too,
    has `lease` seconds to answer a command. An answer of more than `max_size` bytes ends with an error.

    Redis needs the `maxmemory-policy` `noeviction`: each key of a stream expires, so that every other policy may evict
    it while it is read. The first `start` or `read` logs a warning under `tensorloop_stream` for another one.

    An id is 1 to 128 letters, digits, `-` and `_`; every method raises `ValueError` for another one. Everyone who knows
    an id may read and cancel its stream, so it should be as hard to guess as a UUID. `start` and `cancel` raise the
    errors of redis-py if Redis cannot be reached.

    For example:

        streams = ResumableStreams(redis)
        await streams.start("b5f1", async_client, request)
        async with await streams.read("b5f1") as answer:
            async for data in answer:
                print(data.decode(), end="")
        await streams.aclose()
    """

    def __init__(
        self, redis: Redis, *, expires: float = 600.0, lease: float = 4.0, max_size: int = 32 * 1024 * 1024
    ) -> None:
        if isinstance(redis, SyncRedis):
            raise TypeError("redis is a sync client: give one of redis.asyncio")
        if redis.connection_pool.connection_kwargs.get("decode_responses"):
            raise ValueError("decode_responses is set, and the events are bytes: give a Redis client without it")
        if not 0 < lease < expires:
            raise ValueError(
                f"lease is {lease} and expires is {expires}: give seconds above 0, with lease below expires"
            )
        self._expires, self._lease = int(1000 * expires), int(1000 * lease)
        self._max_size = max_size
        self._commands, self._writer = Commands(redis, lease), Writer(redis, lease)
        self._producers = Producers(redis, lease)
        self._hub = Hub(redis, self._commands, self._producers, lease=lease, expires=self._expires)
        self._is_closed = False
        self._has_asked_policy = False
        self._numbers = itertools.count(1)

    async def start(
        self,
        id: str,  # noqa: A002 - the plainest name
        client: openai.AsyncOpenAI,
        body: Mapping[str, Any],
        callbacks: AnyCallbacks[Any, Any, Any, Any] | None = None,
        *,
        first_chunk_timeout: float | None = None,
        idle_timeout: float | None = None,
        hide_refusals: bool = False,
    ) -> bool:
        """Send `body` through `client`, in the background of this process, unless the id was started or cancelled.

        Returns whether this call started the stream. `read` returns its answer, or its error, until the stream expires;
        a retry needs another id. Callbacks, timeouts and `hide_refusals` are those of `aforward_chat`. The event
        loop's exception handler gets what a callback raises.
        """
        require_async(client)
        key, body = log_key(require_id(id)), request_body(body)
        settings = settings_for(client, first_chunk_timeout, idle_timeout)
        forwarded = AsyncForwardedChat(callbacks, settings, hide_refusals=hide_refusals, api=api_of(body))
        self._require_open()
        owner = f"{self._hub.process}:{next(self._numbers)}"
        self._ask_policy()
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
        """Return the answer after the event with the id `last_event_id`, or from the start.

        Waits until the gateway has answered. A mistake of the browser, or a Redis that cannot be reached, is an answer
        with an error status.
        """
        key = log_key(require_id(id))
        self._ask_policy()
        return await follow(self._hub, self._commands, key, last_event_id)

    async def cancel(self, id: str) -> bool:  # noqa: A002
        """End the stream for all readers, and its request to the gateway; return whether it was running.

        A stream that was not started yet is cancelled for the next 30 seconds: the cancel may overtake the start.
        """
        key = log_key(require_id(id))
        tried = None
        # A start that failed may release its claim meanwhile, and another one may follow: that one is meant, too.
        while (found := await owner_to_cancel(self._commands, key)) is not None and found != tried:
            tried = stream, owner = found
            process = owner.partition(":")[0]
            ended, *_ = await self._commands.post(
                (*end_commands(key, stream, CANCELLED, self._expires), *message_commands(process, owner))
            )
            if isinstance(ended, bytes):
                return True
            if isinstance(ended, Exception) and not is_refused(ended):
                raise ended
        return False

    async def aclose(self) -> None:
        """End the streams that this process produces with an error to their readers, and stop its own readers."""
        self._is_closed = True
        await self._producers.aclose()
        await self._hub.aclose()
        await self._writer.aclose()
        # Closed last, since a pending start releases its id.
        await self._commands.aclose()

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:  # noqa: ARG002 - the framework passes it
        """Close with an application: the `lifespan` argument of Starlette and FastAPI.

        Without it, every restart looks like a crash: uvicorn ends the process at SIGTERM, before its tasks end.
        """
        async with self:
            yield

    def _ask_policy(self) -> None:
        if not self._has_asked_policy and not self._is_closed:
            self._has_asked_policy = True
            warn_of_eviction(self._commands)

    def _require_open(self) -> None:
        if self._is_closed:
            raise RuntimeError(
                "these streams are closed: start the stream in another process, or make new ResumableStreams"
            )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.aclose()
