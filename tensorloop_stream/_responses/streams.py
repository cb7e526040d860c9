"""The streams of the Responses API: their names and docstrings, over the engine."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from openai.types.responses import Response, ResponseStreamEvent

from tensorloop_stream._stream.async_stream import AsyncStreamBase
from tensorloop_stream._stream.base import StreamView
from tensorloop_stream._stream.sync_stream import SyncStream

from .dialect import RESPONSES

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai.types.responses import ResponseUsage

    from tensorloop_stream._callbacks import AnyCallbacks, ResponseCalls, UnusableToolCall

    from .accumulator import ResponseAccumulation

__all__ = ["AsyncEventsOpened", "AsyncResponseStream", "Events", "ResponseStream", "ResponseView"]

Events: TypeAlias = Iterable[ResponseStreamEvent] | Iterable[Mapping[str, Any]]
AsyncEvents: TypeAlias = AsyncIterable[ResponseStreamEvent] | AsyncIterable[Mapping[str, Any]] | Events
AsyncEventsOpened: TypeAlias = AsyncEvents | Awaitable[AsyncEvents]


class ResponseView(StreamView[Response]):
    """The response of both streams, as far as it has arrived."""

    _dialect = RESPONSES

    @property
    def snapshot(self) -> Response:
        """The response so far; never raises. `response` is the HTTP response, as on every stream of the SDK."""
        response: Response = self._state.accumulation.result
        return response

    @property
    def status(self) -> str | None:
        """The last status that the gateway sent: `completed`, `incomplete` and others; `None` before any."""
        return self._accumulation.status

    @property
    def usage(self) -> ResponseUsage | None:
        """The usage, which comes with the end."""
        return self._accumulation.usage

    @property
    def tool_calls(self) -> list[ResponseCalls]:
        """The calls that the caller is to run; the last may be incomplete."""
        return self._accumulation.tool_calls

    @property
    def unusable_tool_calls(self) -> list[UnusableToolCall[ResponseCalls]]:
        """The calls that must not be run, with the reason; empty before the end."""
        state = self._state
        calls: list[UnusableToolCall[ResponseCalls]] = state.accumulation.unusable_calls(ended=state.done)
        return calls

    @property
    def _accumulation(self) -> ResponseAccumulation:
        accumulation: Any = self._state.accumulation
        return cast("ResponseAccumulation", accumulation)


class ResponseStream(ResponseView, SyncStream[ResponseStreamEvent, Response]):  # type: ignore[misc] # `response` may be None
    """A streamed response, for synchronous code.

    `source` is what `responses.create(..., stream=True)` returned, an iterable of events, or a function that opens
    either. It ends with `response.completed` or `response.incomplete`, which is no error: look at `status`. After
    `response.failed` and `error`, which the SDK hands to its loop, the next read raises. The timeouts and `restarts`
    are those of `ChatStream`; heartbeats do not reset them. With `require_finish=False` a stream may end without
    those events.

    Raises `TypeError` for a source of the wrong kind or an async callback, `ValueError` for `restarts` without a
    function and timeouts on a source without a connection; while read, the `StreamError`s.

    For example:

        answer = client.responses.create(model="gpt-4o-mini", input="Stream a haiku about caching.", stream=True)
        with ResponseStream(answer) as stream:
            for text in stream.text_stream:
                print(text, end="", flush=True)
        print(stream.status, stream.snapshot.id)
    """

    def __init__(
        self,
        source: Events | Callable[[], Events],
        callbacks: AnyCallbacks[Any, Any, Any, Any] | None = None,
        *,
        first_chunk_timeout: float | None = None,
        idle_timeout: float | None = None,
        total_timeout: float | None = None,
        require_finish: bool = True,
        restarts: int = 0,
    ) -> None:
        super().__init__(
            source,
            callbacks,
            first_chunk_timeout=first_chunk_timeout,
            idle_timeout=idle_timeout,
            total_timeout=total_timeout,
            require_finish=require_finish,
            restarts=restarts,
        )

    def get_final_response(self) -> Response:
        """Read to the end and return the response; raises `StreamTruncatedError` after an early close."""
        self.until_done()
        return self._final()


class AsyncResponseStream(ResponseView, AsyncStreamBase[ResponseStreamEvent, Response]):  # type: ignore[misc] # as above
    """A streamed response, for asynchronous code; as `ResponseStream`, with `async` and `await`.

    `source` may also be the un-awaited `responses.create(..., stream=True)`, an async iterable of events, or a
    function that returns any of these. Callbacks may be `async def`.

    For example:

        create = async_client.responses.create
        answer = create(model="gpt-4o-mini", input="Stream a haiku about caching.", stream=True)
        async with AsyncResponseStream(answer) as stream:
            async for text in stream.text_stream:
                print(text, end="", flush=True)
        print(stream.status)
    """

    def __init__(
        self,
        source: AsyncEventsOpened | Callable[[], AsyncEventsOpened],
        callbacks: AnyCallbacks[Any, Any, Any, Any] | None = None,
        *,
        first_chunk_timeout: float | None = None,
        idle_timeout: float | None = None,
        total_timeout: float | None = None,
        require_finish: bool = True,
        restarts: int = 0,
    ) -> None:
        super().__init__(
            source,
            callbacks,
            first_chunk_timeout=first_chunk_timeout,
            idle_timeout=idle_timeout,
            total_timeout=total_timeout,
            require_finish=require_finish,
            restarts=restarts,
        )

    async def get_final_response(self) -> Response:
        """Read to the end and return the response; raises `StreamTruncatedError` after an early close."""
        await self.until_done()
        return self._final()
