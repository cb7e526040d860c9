"""The stream for asynchronous code: the SDK's class over a reader, with what tools put between the two.

`sync_stream` is the same without `await`; a test compares the two.
"""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Self

from openai import AsyncStream

from .async_reader import AsyncReader
from .base import ItemT, ResultT, StreamView
from .foreign import LIFE_METHODS, aclose_foreign, complete, is_made_by_sdk, is_patched
from .settings import StreamSettings
from .sources import AsyncSource, async_source_of_sdk, no_source, open_async_source
from .state import StreamState

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
    from types import TracebackType

    from tensorloop_stream._callbacks import AnyCallbacks


class AsyncStreamBase(StreamView[ResultT], AsyncStream[ItemT], Generic[ItemT, ResultT]):  # type: ignore[misc] # response: may be None
    """A stream of the SDK on the engine, for asynchronous code.

    `_iterator` is where the SDK has it, and every read goes through it: tracing tools replace it.
    """

    _reader: AsyncReader[ItemT]
    # What a tool put between the reader and the caller: the object that it returned in place of a stream, or a stream
    # that it watches; and the iterator of its `AsyncStream.__aiter__`.
    _wrapper: Any = None
    _through: AsyncIterator[ItemT] | None = None

    def __init__(
        self,
        source: AsyncOpened[ItemT] | Callable[[], AsyncOpened[ItemT]],
        callbacks: AnyCallbacks[Any, Any, Any, Any] | None = None,
        *,
        first_chunk_timeout: float | None = None,
        idle_timeout: float | None = None,
        total_timeout: float | None = None,
        require_finish: bool = True,
        restarts: int = 0,
        continue_broken: int = 0,
    ) -> None:
        settings = StreamSettings(
            first_chunk_timeout, idle_timeout, total_timeout, require_finish, restarts, continue_broken
        )
        self._use(AsyncReader(StreamState(self._dialect, callbacks, settings), type(self).__name__))
        # By its true type: the proxy of a tool answers for the stream that it wraps. An object of the caller's around
        # one of ours may change what passes, and counts as any iterable.
        if isinstance(source, AsyncStreamBase) and issubclass(type(source), AsyncStreamBase):
            self._take_over(source, callbacks, settings)
            return
        opened = None if inspect.isawaitable(source) else open_async_source(source, self._dialect)
        settings.require_function(opens=opened is None and not inspect.isawaitable(source))
        if opened is not None:
            settings.require_request(is_known=opened.request is not None)
            self._reader.begin(opened)
        elif inspect.isawaitable(source):
            self._reader.opening = source
        elif callable(source):
            self._reader.opens = source
        else:
            raise no_source(source, self._dialect)

    @classmethod
    def _from_sdk(cls, settings: StreamSettings, started: float, **made_of: Any) -> Self:
        """Return the stream that the SDK would construct with the arguments `made_of`."""
        stream = object.__new__(cls)
        stream._use(AsyncReader(StreamState(cls._dialect, None, settings), cls.__name__))
        stream._state.started = started
        stream._state.response = made_of["response"]
        complete(stream, **made_of)
        stream._reader.begin(async_source_of_sdk(stream))
        if cls.__stream__ is not AsyncStreamBase.__stream__:
            # A tool's subclass, which reads there.
            stream._iterator = stream.__stream__()
        return stream

    @classmethod
    def _behind(cls, wrapper: Any, stream: AsyncStreamBase[ItemT, ResultT]) -> Self:
        """Return a stream that is read through a tool's `wrapper` around `stream`."""
        outer = object.__new__(cls)
        outer._read_through(wrapper, stream)
        return outer

    def _read_through(self, wrapper: Any, stream: AsyncStreamBase[Any, Any]) -> None:
        self._reader = stream._reader
        self._wrapper, self._iterator = wrapper, aiter(wrapper)

    def _use(self, reader: AsyncReader[ItemT]) -> None:
        self._reader = reader
        self._iterator: AsyncIterator[ItemT] = reader

    # Reading

    def __aiter__(self) -> AsyncIterator[ItemT]:
        # From the method of a subclass, `self` would lead back to it.
        if type(self).__aiter__ is not AsyncStreamBase.__aiter__ or is_patched(AsyncStream, "__aiter__"):
            return AsyncStream.__aiter__(self)
        return self

    async def __anext__(self) -> ItemT:
        reader = self._reader
        if self._iterator is reader:
            # As its `__anext__`, at the price of one call less.
            item: ItemT | None = await reader.advance(True)
            if item is None:
                raise StopAsyncIteration
            reader.state.delivered = True
            return item
        try:
            item = await self._iterator.__anext__()
        except StopAsyncIteration:
            await reader.finish()
            raise
        self._returned = (self._returned or 0) + 1
        return item

    def __stream__(self) -> AsyncIterator[ItemT]:
        return self._reader

    @property
    def text_stream(self) -> AsyncIterator[str]:
        """The text deltas that are not empty, of choice 0; may be left and taken up again."""
        advance = self._advancing()
        is_direct = (self._through or self._iterator) is self._reader
        return _AsyncTexts(self._state, advance, None if is_direct else self._text_in)

    async def until_done(self) -> Self:
        """Read to the end; raises the `StreamError` of a stream that breaks."""
        advance = self._advancing()
        while await advance(False) is not None:
            pass
        return self

    async def get_final_text(self) -> str:
        """Read to the end and return the text; raises `StreamTruncatedError` after an early close."""
        await self.until_done()
        self._final()
        return self.text

    def _advancing(self) -> Callable[[bool], Awaitable[Any]]:
        """Return the function that reads the next item: the reader's, or one through what a tool put before it."""
        if self._through is None and is_patched(AsyncStream, "__aiter__"):
            self._through = AsyncStream.__aiter__(self)
        through, reader = self._through or self._iterator, self._reader

        if through is reader:
            return reader.advance
        self._returned = self._returned or 0

        async def advance(_: bool) -> Any:
            item = await anext(through, None)
            self._returned = (self._returned or 0) + (item is not None)
            return await reader.finish(item)

        return advance

    # The life of the connection

    async def close(self) -> None:
        """Close the connection now; a stream closed before its end calls `on_abort`."""
        await self._close()
        if self._is_tools("close"):
            await AsyncStream.close(self)

    def _is_tools(self, name: str) -> bool:
        """Tell whether a tool put its own method into the SDK's class, and this stream is one that it may know."""
        return self._wrapper is None and is_made_by_sdk(self) and is_patched(AsyncStream, name)

    async def _close(self, left: Any = None) -> None:
        """Close the connection, and what a tool put before it, so that its span ends; but not what is `left`."""
        await self._reader.close()
        for each in (self._through, self._iterator, self._wrapper):
            if each is not left and each is not self._reader and self._state.is_first_end(each):
                with suppress(RuntimeError):  # a generator that another task is in, which ends with the connection
                    await aclose_foreign(each)

    async def aclose(self) -> None:
        """Close the connection now; the same as `close`."""
        await self.close()

    async def __aenter__(self) -> Self:
        try:
            await self._reader.enter()
            if self._wrapper is not None and hasattr(self._wrapper, "__aenter__"):
                await self._wrapper.__aenter__()
            if self._is_tools("__aenter__"):
                return await AsyncStream.__aenter__(self)
        except Exception:
            raise
        except BaseException as interrupt:
            # Without this, nobody closes it: `__aexit__` follows an `__aenter__` that returned.
            await self._reader._leave(interrupt)
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        try:
            left: Any = self._wrapper if hasattr(self._wrapper, "__aexit__") else None
            if left is not None:
                await self._close(left)
            elif self._is_tools("__aexit__"):
                try:
                    await AsyncStream.__aexit__(self, exc_type, exc, exc_tb)
                finally:
                    await self._close()
            else:
                await self.close()
        except Exception:
            raise
        except BaseException as interrupt:
            await self._reader._leave(interrupt)
            raise
        if self._state.is_first_end(left):
            await left.__aexit__(exc_type, exc, exc_tb)

    # Streams made of streams

    def _take_over(
        self,
        other: AsyncStreamBase[Any, Any],
        callbacks: AnyCallbacks[Any, Any, Any, Any] | None,
        settings: StreamSettings,
    ) -> None:
        """Go on with another stream where it stands; the other is closed, unless a tool watches it."""
        if other._dialect is not self._dialect:
            raise no_source(other, self._dialect)
        reader = other._reader
        settings.require_function(opens=reader.opens is not None)
        settings.require_request(is_known=reader.source is None or reader.source.request is not None)
        reader.state.configure(callbacks, settings.over(reader.state.settings))
        reader.name = type(self).__name__
        if other._is_watched:
            self._read_through(other, other)
        else:
            self._use(reader)
            other._use(_closed(other))

    def _set_timeouts(self, settings: StreamSettings) -> None:
        """Take the timeouts of a stream that reads this one through a tool."""
        self._state.configure(None, self._state.settings.with_timeouts_of(settings))

    @property
    def _is_watched(self) -> bool:
        """Whether a tool reads, or hears of the end, at this very object."""
        is_replaced = self._iterator is not self._reader or not vars(self).keys().isdisjoint({"close", "aclose"})
        return is_replaced or is_patched(AsyncStream) or is_patched(AsyncStream, *LIFE_METHODS)

    def _hand_over(self) -> AsyncSource | None:
        """Return the source if nothing was read from it, else `None`; this stream is closed then."""
        reader = self._reader
        source = reader.source
        if source is None or reader.state.has_started or self._is_watched or source.kind != "bytes":
            return None
        closed = _closed(self)
        # Without a call, at which an interrupt could lose the source.
        reader.source, reader.state.ended = None, True
        self._reader = self._iterator = closed
        return source


def _closed(stream: AsyncStreamBase[Any, Any]) -> AsyncReader[Any]:
    state = StreamState(stream._dialect, None, stream._state.settings)
    state.ended = True
    return AsyncReader(state, type(stream).__name__)


class _AsyncTexts:
    # Not an async generator: left half-way, those end in a task of the event loop's choice (openai-python#503).

    def __init__(
        self, state: StreamState, advance: Callable[[bool], Awaitable[Any]], text_in: Callable[[Any], str] | None
    ) -> None:
        self._state = state
        self._advance = advance
        self._text_in = text_in

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        state, advance, text_in = self._state, self._advance, self._text_in
        while (item := await advance(False)) is not None:
            if text := state.accumulation.text_delta if text_in is None else text_in(item):
                state.delivered = True
                return text
        raise StopAsyncIteration


if TYPE_CHECKING:
    from typing import TypeAlias

    AsyncItems: TypeAlias = (
        AsyncIterable[ItemT] | AsyncIterable[Mapping[str, Any]] | Iterable[ItemT] | Iterable[Mapping[str, Any]]
    )
    AsyncOpened: TypeAlias = AsyncItems[ItemT] | Awaitable[AsyncItems[ItemT]]
