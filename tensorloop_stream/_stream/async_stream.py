"""The stream that asynchronous callers hold; as `_stream`, with `await` where that one blocks."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

import anyio
from openai import AsyncStream
from openai.types.chat import ChatCompletionChunk

from tensorloop_stream._errors import StreamError, StreamTimeoutError

from .base import UNCLOSED, StreamView
from .settings import StreamSettings
from .sources import DRAIN_SECONDS, END, AsyncSource, can_drain, in_time, no_source, open_async_source
from .state import StreamState

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
    from types import TracebackType

    from openai.types.chat import ChatCompletion, ChatCompletionMessage

    from tensorloop_stream._callbacks import Call, Callbacks

    Chunks: TypeAlias = Iterable[ChatCompletionChunk] | Iterable[Mapping[str, Any]]
    AsyncChunks: TypeAlias = AsyncIterable[ChatCompletionChunk] | AsyncIterable[Mapping[str, Any]] | Chunks
    AsyncOpened: TypeAlias = AsyncChunks | Awaitable[AsyncChunks]

__all__ = ["AsyncChatStream"]

_T = TypeVar("_T")


class AsyncChatStream(StreamView, AsyncStream[ChatCompletionChunk]):  # type: ignore[misc] # as above
    """A streamed chat completion, for asynchronous code; as `ChatStream`, with `async` and `await`.

    `source` may also be the un-awaited `create(..., stream=True)`, an async iterable of chunks, or a function
    that returns any of these. Callbacks may be `async def`. Timeouts work on every source, and for one that is
    opened here they count from before the request.
    """

    def __init__(
        self,
        source: AsyncOpened | Callable[[], AsyncOpened],
        callbacks: Callbacks | None = None,
        *,
        first_chunk_timeout: float | None = None,
        idle_timeout: float | None = None,
        require_finish: bool = True,
        restarts: int = 0,
    ) -> None:
        settings = StreamSettings(first_chunk_timeout, idle_timeout, require_finish, restarts)
        self._state = StreamState(callbacks, settings)
        self._source: AsyncSource | None = None
        self._opens: Callable[[], AsyncOpened] | None = None
        self._opening: Awaitable[AsyncChunks] | None = None
        self._opening_scope: anyio.CancelScope | None = None
        if isinstance(source, AsyncChatStream):
            taken = self._take_over(source, callbacks, settings)
            if taken is not None:
                self._begin(taken)
            return
        opened = None if inspect.isawaitable(source) else open_async_source(source)
        if opened is not None:
            settings.require_function(opens=False)
            self._begin(opened)
        elif inspect.isawaitable(source):
            settings.require_function(opens=False)
            self._opening = source
        elif callable(source):
            self._opens = source
        else:
            raise no_source(source)

    # Reading

    def __aiter__(self) -> AsyncIterator[ChatCompletionChunk]:
        return self

    async def __anext__(self) -> ChatCompletionChunk:
        chunk = await self._advance(True)
        if chunk is None:
            raise StopAsyncIteration
        self._state.delivered = True
        return chunk  # type: ignore[return-value] # typed=True

    @property
    def text_stream(self) -> AsyncIterator[str]:
        """The text deltas of choice 0 that are not empty; may be left and taken up again."""
        return _AsyncTexts(self._next_text)

    async def _next_text(self) -> str:
        while await self._advance(False) is not None:
            text = self._state.accumulation.text_delta
            if text:
                self._state.delivered = True
                return text
        return ""

    async def until_done(self) -> Self:
        """Read to the end; raises the `StreamError` of a stream that breaks."""
        while await self._advance(False) is not None:
            pass
        return self

    async def get_final_completion(self) -> ChatCompletion:
        """Read to the end and return the completion; raises `StreamTruncatedError` after an early close."""
        await self.until_done()
        return self._final()

    async def get_final_message(self) -> ChatCompletionMessage:
        """Read to the end and return the message of choice 0; raises as `get_final_completion` does."""
        await self.until_done()
        return self._final_message()

    async def get_final_text(self) -> str:
        """Read to the end and return the text of choice 0; raises as `get_final_completion` does."""
        await self.until_done()
        self._final()
        return self.text

    # The life of the connection

    async def close(self) -> None:
        """Close the connection now; a stream left before its end calls `on_abort`."""
        calls = self._state.abandoned()
        # Shielded, because a cancelled task must still close and tell.
        with anyio.CancelScope(shield=True):
            await self._close_source()
            await self._run(calls)

    async def aclose(self) -> None:
        """Close the connection now; the same as `close`."""
        await self.close()

    async def __aenter__(self) -> Self:
        while self._source is None and not self._state.ended:
            try:
                await self._open()
            except Exception as error:
                if self._state.ended:
                    raise
                await self._recover(error)
            except BaseException:
                await self.close()
                raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        source = getattr(self, "_source", None)
        if source is not None and source.response is not None:
            warnings.warn(UNCLOSED.format(self), ResourceWarning, stacklevel=1, source=self)

    async def _advance(self, typed: bool) -> ChatCompletionChunk | Mapping[str, Any] | None:
        """Return the next chunk, waiting for it; `None` at the end."""
        state = self._state
        while not state.ended:
            try:
                chunk = state.next(typed) if state.pending else None
                while chunk is None and not state.done:
                    chunk = await self._read(typed)
                if chunk is None:
                    await self._drain()
            except Exception as error:  # noqa: BLE001 - raised again, if the stream is not opened anew
                if state.ended:
                    # Closed under the read, by another task.
                    state.interrupted()
                    break
                await self._recover(error)
                continue
            except BaseException:
                # A cancelled task: the connection must not stay open until the garbage is collected.
                await self.close()
                state.interrupted()
                raise
            if chunk is None:
                await self._close_source()
                await self._run(state.finished())
                break
            if state.has_chunk_callbacks:
                await self._run(state.calls(chunk))
            return chunk
        if state.error is not None:
            raise state.error
        return None

    async def _read(self, typed: bool) -> ChatCompletionChunk | Mapping[str, Any] | None:
        """Bring the state the next read, whenever it comes, and return the chunk that it completes."""
        state, source = self._state, self._source or await self._open()
        until = state.wait_until() if state.has_timeout and source.waits else None
        try:
            if not source.waits:
                data = next(source.reads, END)
            elif until is None:
                data = await anext(source.reads, END)
            else:
                data = await in_time(anext(source.reads, END), until, state.timed_out)
        except StreamTimeoutError:
            raise
        except Exception as error:
            broke = state.failed(error, source.kind)
            if broke is error:
                raise
            raise broke from error
        if data is not END:
            return state.feed_one(data, source.kind, typed)
        state.receive_end()
        return state.next(typed)

    async def _open(self) -> AsyncSource:
        opened: Any = self._opens() if self._opens is not None else self._opening
        self._opening = None
        if inspect.isawaitable(opened):
            opened = await self._opened(opened)
        source = None
        if isinstance(opened, AsyncChatStream):
            source = opened._hand_over()  # noqa: SLF001 - of the same class
        source = source or open_async_source(opened)
        if source is None:
            raise no_source(opened)
        return self._begin(source)

    async def _opened(self, opening: Awaitable[_T]) -> _T:
        """Wait for what opens the stream, until another task closes it."""
        until = self._state.wait_until()
        with anyio.CancelScope() as self._opening_scope:
            return await (opening if until is None else in_time(opening, until, self._state.timed_out))
        raise self._state.unfinished()

    def _begin(self, source: AsyncSource) -> AsyncSource:
        self._source = source
        self._state.response = source.response
        return source

    async def _drain(self) -> None:
        """Read the end of the response, so that the connection can be used again."""
        source = self._source
        if source is None or not can_drain(source):
            return
        try:
            with anyio.move_on_after(DRAIN_SECONDS):
                while await anext(source.reads, END) is not END:
                    pass
        except Exception as error:
            # The answer is whole; only its connection is lost.
            if not isinstance(self._state.failed(error, source.kind), StreamError):
                raise

    async def _recover(self, error: Exception) -> None:
        """Return if the stream is to be opened anew, else end it with `error`."""
        await self._close_source()
        state = self._state
        delay = state.restart_delay(error)
        if delay is None or self._opens is None:
            await self._run(state.failed_with(error))
            raise error
        try:
            await anyio.sleep(delay)
        except BaseException:
            await self.close()
            raise
        state.reset()

    async def _run(self, calls: list[Call]) -> None:
        for function, argument in calls:
            try:
                result = function(argument)
                if inspect.isawaitable(result):
                    await result
            except Exception as error:
                await self._close_source()
                await self._run(self._state.failed_with(error))
                raise
            except BaseException:
                await self.close()
                raise

    async def _close_source(self) -> None:
        source, self._source = self._source, None
        if self._opening_scope is not None:
            self._opening_scope.cancel()
        if inspect.iscoroutine(self._opening):
            self._opening.close()
        self._opening = None
        if source is not None:
            with anyio.CancelScope(shield=True):
                await source.close()


class _AsyncTexts:
    # Not an async generator: left half-way, those end in a task of the event loop's choice (openai-python#503).

    def __init__(self, next_text: Callable[[], Awaitable[str]]) -> None:
        self._next_text = next_text

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        if text := await self._next_text():
            return text
        raise StopAsyncIteration
