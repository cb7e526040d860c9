"""The stream for synchronous code: the SDK's class over a reader, with what tools put between the two.

`async_stream` is the same with `await`; a test compares the two.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Self

from openai import Stream

from tensorloop_stream._callbacks import require_sync

from .base import ItemT, ResultT, StreamView
from .foreign import LIFE_METHODS, complete, is_made_by_sdk, is_patched
from .settings import StreamSettings
from .sources import Source, no_source, open_source, source_of_sdk
from .state import StreamState
from .sync_reader import SyncReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from tensorloop_stream._callbacks import AnyCallbacks


class SyncStream(StreamView[ResultT], Stream[ItemT], Generic[ItemT, ResultT]):  # type: ignore[misc] # response: may be None
    """A stream of the SDK on the engine, for synchronous code.

    `_iterator` is where the SDK has it, and every read goes through it: tracing tools replace it.
    """

    _reader: SyncReader[ItemT]
    # What a tool put between the reader and the caller: the object that it returned in place of a stream, or a stream
    # that it watches; and the iterator of its `Stream.__iter__`.
    _wrapper: Any = None
    _through: Iterator[ItemT] | None = None

    def __init__(
        self,
        source: Iterable[ItemT]
        | Iterable[Mapping[str, Any]]
        | Callable[[], Iterable[ItemT] | Iterable[Mapping[str, Any]]],
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
        self._use(SyncReader(StreamState(self._dialect, callbacks, settings), type(self).__name__))
        require_sync(callbacks)
        # By its true type: the proxy of a tool answers for the stream that it wraps. An object of the caller's around
        # one of ours may change what passes, and counts as any iterable.
        if isinstance(source, SyncStream) and issubclass(type(source), SyncStream):
            self._take_over(source, callbacks, settings)
            return
        opened = open_source(source, self._dialect)
        settings.require_function(opens=opened is None)
        if opened is not None:
            settings.require_request(is_known=opened.request is not None)
            self._reader.begin(opened)
        elif callable(source):
            self._reader.opens = source
        else:
            raise no_source(source, self._dialect)

    @classmethod
    def _from_sdk(cls, settings: StreamSettings, started: float, **made_of: Any) -> Self:
        """Return the stream that the SDK would construct with the arguments `made_of`."""
        stream = object.__new__(cls)
        stream._use(SyncReader(StreamState(cls._dialect, None, settings), cls.__name__))
        stream._state.started = started
        stream._state.response = made_of["response"]
        complete(stream, **made_of)
        stream._reader.begin(source_of_sdk(stream), needs_alarm=False)
        if cls.__stream__ is not SyncStream.__stream__:
            # A tool's subclass, which reads there.
            stream._iterator = stream.__stream__()
        return stream

    @classmethod
    def _behind(cls, wrapper: Any, stream: SyncStream[ItemT, ResultT]) -> Self:
        """Return a stream that is read through a tool's `wrapper` around `stream`."""
        outer = object.__new__(cls)
        outer._read_through(wrapper, stream)
        return outer

    def _read_through(self, wrapper: Any, stream: SyncStream[Any, Any]) -> None:
        self._reader = stream._reader
        self._wrapper, self._iterator = wrapper, iter(wrapper)

    def _use(self, reader: SyncReader[ItemT]) -> None:
        self._reader = reader
        self._iterator: Iterator[ItemT] = reader

    # Reading

    def __iter__(self) -> Iterator[ItemT]:
        # From the method of a subclass, `self` would lead back to it.
        if type(self).__iter__ is not SyncStream.__iter__ or is_patched(Stream, "__iter__"):
            return Stream.__iter__(self)
        return self

    def __next__(self) -> ItemT:
        reader = self._reader
        if self._iterator is reader:
            # As its `__next__`, at the price of one call less.
            item: ItemT | None = reader.advance(True)
            if item is None:
                raise StopIteration
            reader.state.delivered = True
            return item
        try:
            item = self._iterator.__next__()
        except StopIteration:
            reader.finish()
            raise
        self._returned = (self._returned or 0) + 1
        return item

    def __stream__(self) -> Iterator[ItemT]:
        return self._reader

    @property
    def text_stream(self) -> Iterator[str]:
        """The text deltas that are not empty, of choice 0; may be left and taken up again."""
        state, advance = self._state, self._advancing()
        is_direct = (self._through or self._iterator) is self._reader
        while (item := advance(False)) is not None:
            text = state.accumulation.text_delta if is_direct else self._text_in(item)
            if text:
                state.delivered = True
                yield text

    def until_done(self) -> Self:
        """Read to the end; raises the `StreamError` of a stream that breaks."""
        advance = self._advancing()
        while advance(False) is not None:
            pass
        return self

    def get_final_text(self) -> str:
        """Read to the end and return the text; raises `StreamTruncatedError` after an early close."""
        self.until_done()
        self._final()
        return self.text

    def _advancing(self) -> Callable[[bool], Any]:
        """Return the function that reads the next item: the reader's, or one through what a tool put before it."""
        if self._through is None and is_patched(Stream, "__iter__"):
            self._through = Stream.__iter__(self)
        through, reader = self._through or self._iterator, self._reader
        if through is reader:
            return reader.advance
        self._returned = self._returned or 0

        def advance(_: bool) -> Any:
            item = next(through, None)
            self._returned = (self._returned or 0) + (item is not None)
            return reader.finish(item)

        return advance

    # The life of the connection

    def close(self) -> None:
        """Close the connection now; a stream closed before its end calls `on_abort`."""
        self._close()
        if self._is_tools("close"):
            Stream.close(self)

    def _is_tools(self, name: str) -> bool:
        """Tell whether a tool put its own method into the SDK's class, and this stream is one that it may know."""
        return self._wrapper is None and is_made_by_sdk(self) and is_patched(Stream, name)

    def _close(self, left: Any = None) -> None:
        """Close the connection, and what a tool put before it, so that its span ends; but not what is `left`."""
        self._reader.close()
        for each in (self._through, self._iterator, self._wrapper):
            if (
                each is not left
                and each is not self._reader
                and self._state.is_first_end(each)
                and callable(close := getattr(each, "close", None))
            ):
                with suppress(ValueError):  # a generator that another thread is in, which ends with the connection
                    close()

    def __enter__(self) -> Self:
        try:
            self._reader.enter()
            if self._wrapper is not None and hasattr(self._wrapper, "__enter__"):
                self._wrapper.__enter__()
            if self._is_tools("__enter__"):
                return Stream.__enter__(self)
        except Exception:
            raise
        except BaseException as interrupt:
            # Without this, nobody closes it: `__exit__` follows an `__enter__` that returned.
            self._reader._leave(interrupt)
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        try:
            left: Any = self._wrapper if hasattr(self._wrapper, "__exit__") else None
            if left is not None:
                self._close(left)
            elif self._is_tools("__exit__"):
                try:
                    Stream.__exit__(self, exc_type, exc, exc_tb)
                finally:
                    self._close()
            else:
                self.close()
        except Exception:
            raise
        except BaseException as interrupt:
            self._reader._leave(interrupt)
            raise
        if self._state.is_first_end(left):
            left.__exit__(exc_type, exc, exc_tb)

    # Streams made of streams

    def _take_over(
        self, other: SyncStream[Any, Any], callbacks: AnyCallbacks[Any, Any, Any, Any] | None, settings: StreamSettings
    ) -> None:
        """Go on with another stream where it stands; the other is closed, unless a tool watches it."""
        if other._dialect is not self._dialect:
            raise no_source(other, self._dialect)
        reader = other._reader
        settings.require_function(opens=reader.opens is not None)
        settings.require_request(is_known=reader.source is None or reader.source.request is not None)
        needs_alarm = settings.has_timeout
        reader.state.configure(callbacks, settings.over(reader.state.settings))
        reader.name = type(self).__name__
        if other._is_watched:
            self._read_through(other, other)
        else:
            self._use(reader)
            other._use(_closed(other))
        if reader.source is not None:
            reader.begin(reader.source, needs_alarm=needs_alarm)

    def _set_timeouts(self, settings: StreamSettings, *, needs_alarm: bool) -> None:
        """Take the timeouts of a stream that reads this one through a tool."""
        state, reader = self._state, self._reader
        state.configure(None, state.settings.with_timeouts_of(settings))
        if reader.source is not None:
            reader.begin(reader.source, needs_alarm=needs_alarm)

    @property
    def _is_watched(self) -> bool:
        """Whether a tool reads, or hears of the end, at this very object."""
        is_replaced = self._iterator is not self._reader or not vars(self).keys().isdisjoint({"close", "aclose"})
        return is_replaced or is_patched(Stream) or is_patched(Stream, *LIFE_METHODS)

    def _hand_over(self) -> Source | None:
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


def _closed(stream: SyncStream[Any, Any]) -> SyncReader[Any]:
    state = StreamState(stream._dialect, None, stream._state.settings)
    state.ended = True
    return SyncReader(state, type(stream).__name__)
