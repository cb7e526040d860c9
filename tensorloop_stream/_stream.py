"""The streams that callers hold: they wait, call back and close; what to do is decided in `_core`."""

from __future__ import annotations

import functools
import inspect
import socket
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

import anyio
from openai import AsyncStream, Stream
from openai.types.chat import ChatCompletionChunk

from ._core import StreamCore, StreamSettings
from ._errors import StreamError
from ._sources import AsyncSource, Source, no_source, open_async_source, open_source
from ._watchdog import Alarm

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Mapping
    from types import TracebackType

    import httpx2
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletion, ChatCompletionMessage

    from ._callbacks import Call, Callbacks
    from ._timing import StreamTiming

    Chunks: TypeAlias = Iterable[ChatCompletionChunk] | Iterable[Mapping[str, Any]]
    AsyncChunks: TypeAlias = AsyncIterable[ChatCompletionChunk] | AsyncIterable[Mapping[str, Any]] | Chunks
    AsyncOpened: TypeAlias = AsyncChunks | Awaitable[AsyncChunks]

__all__ = ["AsyncChatStream", "ChatStream"]

# How long a server may take to end the response after [DONE], so that its connection can be used again.
_DRAIN_SECONDS = 0.1
_END: Any = object()
_T = TypeVar("_T")


class _View:
    """What both kinds of stream show of their core."""

    _core: StreamCore
    _response: httpx2.Response | None = None

    @property
    def completion(self) -> ChatCompletion:
        """The completion as far as it has come; never raises."""
        return self._core.accumulator.completion

    @property
    def text(self) -> str:
        """The text of choice 0 as far as it has come."""
        return self._core.accumulator.text

    @property
    def usage(self) -> CompletionUsage | None:
        """The last usage that came; the gateway sends it for `stream_options={"include_usage": True}`."""
        return self._core.accumulator.usage

    @property
    def timing(self) -> StreamTiming:
        """When the chunks came, so far."""
        return self._core.timing

    @property
    def response(self) -> httpx2.Response | None:
        """The HTTP response, `None` if the source has none or is not open yet."""
        return self._response

    @property
    def request_id(self) -> str | None:
        """The gateway's id of the request: `x-request-id`, else `x-litellm-call-id`."""
        headers: Mapping[str, str] = self.response.headers if self.response is not None else {}
        return headers.get("x-request-id") or headers.get("x-litellm-call-id")

    def __repr__(self) -> str:
        core = self._core
        state = "failed" if core.error else "done" if core.done else "closed" if core.ended else "open"
        return f"<{type(self).__name__} {state}, {len(core.timing.chunk_times)} chunks>"

    def sent_at(self, moment: float) -> Self:
        """Count the timing from when the request was sent, in seconds of `time.monotonic()`."""
        self._core.started = moment
        return self

    def _final(self) -> ChatCompletion:
        core = self._core
        if core.error is not None:
            raise core.error
        if not core.is_whole and core.settings.require_finish:
            raise core.unfinished()
        return core.accumulator.completion

    def _final_message(self) -> ChatCompletionMessage:
        completion = self._final()
        if not completion.choices:
            raise self._core.no_choice()
        return completion.choices[0].message


class ChatStream(_View, Stream[ChatCompletionChunk]):  # type: ignore[misc] # not every source has a response
    """A streamed chat completion, for synchronous code.

    `source` is what `create(..., stream=True)` returned, an iterable of chunks, or a function that opens
    either. `first_chunk_timeout` and `idle_timeout` are in seconds and count chunks, not bytes: keep-alive
    comments do not reset them. `restarts` says how often to open the stream anew when it breaks before
    anything reached the caller. With `require_finish=False` a stream may end without a finish reason.

    Raises `TypeError` for a source of the wrong kind or an async callback, `ValueError` for `restarts`
    without a function and for timeouts on a source without a connection; while read, the `StreamError`s.
    """

    def __init__(
        self,
        source: Chunks | Callable[[], Chunks],
        callbacks: Callbacks | None = None,
        *,
        first_chunk_timeout: float | None = None,
        idle_timeout: float | None = None,
        require_finish: bool = True,
        restarts: int = 0,
    ) -> None:
        settings = StreamSettings(first_chunk_timeout, idle_timeout, require_finish, restarts)
        if callbacks is not None:
            callbacks.require_sync()
        self._core = StreamCore(callbacks, settings)
        self._source: Source | None = None
        self._alarm: Alarm | None = None
        self._opens: Callable[[], Chunks] | None = None
        if isinstance(source, ChatStream):
            self._take_over(source, callbacks, settings)
            return
        opened = open_source(source)
        settings.require_function(opens=opened is None)
        if opened is not None:
            self._begin(opened)
        elif callable(source):
            self._opens = source
        else:
            raise no_source(source)

    # Reading

    def __iter__(self) -> Iterator[ChatCompletionChunk]:
        return self

    def __next__(self) -> ChatCompletionChunk:
        chunk = self._advance(typed=True)
        if chunk is None:
            raise StopIteration
        self._core.handed_out = True
        return chunk  # type: ignore[return-value] # typed=True

    @property
    def text_stream(self) -> Iterator[str]:
        """The text deltas of choice 0 that are not empty; may be left and taken up again."""
        while self._advance(typed=False) is not None:
            text = self._core.accumulator.text_delta
            if text:
                self._core.handed_out = True
                yield text

    def until_done(self) -> Self:
        """Read to the end; raises the `StreamError` of a stream that breaks."""
        while self._advance(typed=False) is not None:
            pass
        return self

    def get_final_completion(self) -> ChatCompletion:
        """Read to the end and return the completion; raises `StreamTruncatedError` after an early close."""
        self.until_done()
        return self._final()

    def get_final_message(self) -> ChatCompletionMessage:
        """Read to the end and return the message of choice 0; raises as `get_final_completion` does."""
        self.until_done()
        return self._final_message()

    def get_final_text(self) -> str:
        """Read to the end and return the text of choice 0; raises as `get_final_completion` does."""
        self.until_done()
        self._final()
        return self.text

    # The life of the connection

    def close(self) -> None:
        """Close the connection now; a stream left before its end calls `on_abort`."""
        self._close_source()
        self._run(self._core.left())

    def __enter__(self) -> Self:
        while self._source is None and not self._core.ended:
            try:
                self._open()
            except Exception as error:  # noqa: BLE001 - raised again, if the stream is not opened anew
                self._recover(error)
            except BaseException:
                self.close()
                raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_source", None) is not None:
            warnings.warn(
                f"{self!r} was not closed: use it in a with block", ResourceWarning, stacklevel=1, source=self
            )
            self._close_source()

    def _advance(self, *, typed: bool) -> ChatCompletionChunk | Mapping[str, Any] | None:
        """Return the next chunk, waiting for it; `None` at the end."""
        core = self._core
        while not core.ended:
            try:
                chunk = core.next(typed=typed)
                while chunk is None and not core.done:
                    self._read()
                    chunk = core.next(typed=typed)
            except Exception as error:  # noqa: BLE001 - raised again, if the stream is not opened anew
                self._recover(error)
                continue
            except BaseException:
                # Ctrl-C while waiting: the connection must not stay open until the garbage is collected.
                self.close()
                raise
            if chunk is None:
                self._drain()
                self._close_source()
                self._run(core.finished())
                break
            if core.tells:
                self._run(core.calls(chunk))
            return chunk
        if core.error is not None:
            raise core.error
        return None

    def _read(self) -> None:
        """Bring the core the next read, whenever it comes."""
        core, source, alarm = self._core, self._source or self._open(), self._alarm
        until = core.wait_until()
        if alarm is not None and until is not None:
            alarm.set(until)
        rang = False
        try:
            try:
                data = next(source.reads, _END)
            finally:
                rang = alarm is not None and alarm.clear()
        except Exception as error:
            raise core.failed(error, source.kind, timed_out=rang) from error
        if data is not _END:
            core.receive(data, source.kind)
        elif rang:
            raise core.failed(EOFError(), source.kind, timed_out=True)
        else:
            core.receive_end()

    def _open(self) -> Source:
        if self._opens is None:
            raise RuntimeError("the stream is closed")
        opened = self._opens()
        source = None
        if isinstance(opened, ChatStream):
            source = opened._hand_over()  # noqa: SLF001 - of the same class
        source = source or open_source(opened)
        if source is None:
            raise no_source(opened)
        return self._begin(source)

    def _begin(self, source: Source) -> Source:
        self._source = source
        self._response = source.response
        self._core.request = source.response.request if source.response is not None else None
        waiting = source.socket
        self._alarm = None if waiting is None else Alarm(functools.partial(_wake, waiting))
        if self._alarm is None and self._core.settings.has_timeout:
            self._close_source()
            raise ValueError(
                "first_chunk_timeout and idle_timeout need a connection whose reads can be woken, and this source "
                "has none: leave them out, or use AsyncChatStream"
            )
        return source

    def _take_over(self, other: ChatStream, callbacks: Callbacks | None, settings: StreamSettings) -> None:
        """Go on with another stream where it stands; it is closed, its connection lives on here."""
        core, source = other._core, other._source
        settings.require_function(opens=other._opens is not None)
        settings = settings.over(core.settings)
        other._core, other._source = StreamCore(None, core.settings), None
        other._core.ended = True
        core.configure(callbacks or core.callbacks, settings)
        self._core, self._opens = core, other._opens
        if source is not None:
            self._begin(source)

    def _hand_over(self) -> Source | None:
        """Give the source away, if nothing was read from it; this stream is closed then."""
        source = self._source
        if source is None or self._core.begun:
            return None
        self._source = None
        self._core.ended = True
        return source

    def _drain(self) -> None:
        """Read the end of the response, so that the connection can be used again (openai-python#3440)."""
        source, alarm = self._source, self._alarm
        if source is None or source.kind != "bytes" or alarm is None or source.is_multiplexed:
            return
        alarm.set(time.monotonic() + _DRAIN_SECONDS)
        try:
            for _ in source.reads:
                pass
        except Exception as error:
            # The answer is whole; only its connection is lost.
            if not isinstance(self._core.failed(error, source.kind), StreamError):
                raise
        finally:
            alarm.clear()

    def _recover(self, error: Exception) -> None:
        """Return if the stream is to be opened anew, else end it with `error`."""
        self._close_source()
        core = self._core
        delay = core.restart_delay(error)
        if delay is None or self._opens is None:
            self._run(core.broken(error))
            raise error
        try:
            time.sleep(delay)
        except BaseException:
            self.close()
            raise
        core.renew()

    def _run(self, calls: list[Call]) -> None:
        for function, argument in calls:
            try:
                _require_done(function(argument))
            except Exception as error:
                self._close_source()
                self._run(self._core.broken(error))
                raise
            except BaseException:
                self.close()
                raise

    def _close_source(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()


def _require_done(result: object) -> None:
    # An async callback that did not look like one when the stream was made.
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError(f"the callback {result.__qualname__} is async: use AsyncChatStream, or a plain function")


def _wake(waiting: socket.socket) -> None:
    # Of the plain socket, also under TLS: the reader in the other thread sees the end of the bytes.
    with suppress(OSError):
        socket.socket.shutdown(waiting, socket.SHUT_RDWR)


class AsyncChatStream(_View, AsyncStream[ChatCompletionChunk]):  # type: ignore[misc] # as above
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
        self._core = StreamCore(callbacks, settings)
        self._source: AsyncSource | None = None
        self._opens: Callable[[], AsyncOpened] | None = None
        self._opening: Awaitable[AsyncChunks] | None = None
        if isinstance(source, AsyncChatStream):
            self._take_over(source, callbacks, settings)
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
        chunk = await self._advance(typed=True)
        if chunk is None:
            raise StopAsyncIteration
        self._core.handed_out = True
        return chunk  # type: ignore[return-value] # typed=True

    @property
    def text_stream(self) -> AsyncIterator[str]:
        """The text deltas of choice 0 that are not empty; may be left and taken up again."""
        return _AsyncTexts(self._next_text)

    async def _next_text(self) -> str:
        while await self._advance(typed=False) is not None:
            text = self._core.accumulator.text_delta
            if text:
                self._core.handed_out = True
                return text
        return ""

    async def until_done(self) -> Self:
        """Read to the end; raises the `StreamError` of a stream that breaks."""
        while await self._advance(typed=False) is not None:
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
        # Shielded, because a cancelled task must still close and tell.
        with anyio.CancelScope(shield=True):
            await self._close_source()
            await self._run(self._core.left())

    async def aclose(self) -> None:
        """Close the connection now; the same as `close`."""
        await self.close()

    async def __aenter__(self) -> Self:
        while self._source is None and not self._core.ended:
            try:
                await self._open()
            except Exception as error:  # noqa: BLE001 - raised again, if the stream is not opened anew
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
        if getattr(self, "_source", None) is not None:
            warnings.warn(f"{self!r} was not closed: use it in an async with block", ResourceWarning, source=self)

    async def _advance(self, *, typed: bool) -> ChatCompletionChunk | Mapping[str, Any] | None:
        """Return the next chunk, waiting for it; `None` at the end."""
        core = self._core
        while not core.ended:
            try:
                chunk = core.next(typed=typed)
                while chunk is None and not core.done:
                    await self._read()
                    chunk = core.next(typed=typed)
            except Exception as error:  # noqa: BLE001 - raised again, if the stream is not opened anew
                await self._recover(error)
                continue
            except BaseException:
                # A cancelled task: the connection must not stay open until the garbage is collected.
                await self.close()
                raise
            if chunk is None:
                await self._drain()
                await self._close_source()
                await self._run(core.finished())
                break
            if core.tells:
                await self._run(core.calls(chunk))
            return chunk
        if core.error is not None:
            raise core.error
        return None

    async def _read(self) -> None:
        """Bring the core the next read, whenever it comes."""
        core, source = self._core, self._source or await self._open()
        reads = source.reads
        try:
            if isinstance(reads, Iterator):
                data = next(reads, _END)
            else:
                data = await self._in_time(anext(reads, _END))
        except StreamError:
            raise
        except Exception as error:
            raise core.failed(error, source.kind) from error
        if data is _END:
            core.receive_end()
        else:
            core.receive(data, source.kind)

    async def _in_time(self, waiting: Awaitable[_T]) -> _T:
        until = self._core.wait_until()
        if until is None:
            return await waiting
        with anyio.move_on_after(max(until - time.monotonic(), 0)):
            return await waiting
        raise self._core.timed_out()

    async def _open(self) -> AsyncSource:
        opened: Any = self._opens() if self._opens is not None else self._opening
        self._opening = None
        if inspect.isawaitable(opened):
            opened = await self._in_time(opened)
        source = None
        if isinstance(opened, AsyncChatStream):
            source = opened._hand_over()  # noqa: SLF001 - of the same class
        source = source or open_async_source(opened)
        if source is None:
            raise no_source(opened)
        return self._begin(source)

    def _begin(self, source: AsyncSource) -> AsyncSource:
        self._source = source
        self._response = source.response
        self._core.request = source.response.request if source.response is not None else None
        return source

    def _take_over(self, other: AsyncChatStream, callbacks: Callbacks | None, settings: StreamSettings) -> None:
        """Go on with another stream where it stands; it is closed, its connection lives on here."""
        core, source = other._core, other._source
        settings.require_function(opens=other._opens is not None)
        settings = settings.over(core.settings)
        other._core, other._source = StreamCore(None, core.settings), None
        other._core.ended = True
        core.configure(callbacks or core.callbacks, settings)
        self._core, self._opens, self._opening = core, other._opens, other._opening
        if source is not None:
            self._begin(source)

    def _hand_over(self) -> AsyncSource | None:
        """Give the source away, if nothing was read from it; this stream is closed then."""
        source = self._source
        if source is None or self._core.begun:
            return None
        self._source = None
        self._core.ended = True
        return source

    async def _drain(self) -> None:
        """Read the end of the response, so that the connection can be used again."""
        source = self._source
        if source is None or source.kind != "bytes" or source.is_multiplexed:
            return
        try:
            with anyio.move_on_after(_DRAIN_SECONDS):
                while await anext(source.reads, _END) is not _END:  # type: ignore[arg-type] # bytes are waited for
                    pass
        except Exception as error:
            # The answer is whole; only its connection is lost.
            if not isinstance(self._core.failed(error, source.kind), StreamError):
                raise

    async def _recover(self, error: Exception) -> None:
        """Return if the stream is to be opened anew, else end it with `error`."""
        await self._close_source()
        core = self._core
        delay = core.restart_delay(error)
        if delay is None or self._opens is None:
            await self._run(core.broken(error))
            raise error
        try:
            await anyio.sleep(delay)
        except BaseException:
            await self.close()
            raise
        core.renew()

    async def _run(self, calls: list[Call]) -> None:
        for function, argument in calls:
            try:
                result = function(argument)
                if inspect.isawaitable(result):
                    await result
            except Exception as error:
                await self._close_source()
                await self._run(self._core.broken(error))
                raise
            except BaseException:
                await self.close()
                raise

    async def _close_source(self) -> None:
        source, self._source = self._source, None
        if inspect.iscoroutine(self._opening):
            self._opening.close()
        self._opening = None
        if source is not None:
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
