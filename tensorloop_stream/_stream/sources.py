"""Tell apart what a stream can be made of: an SDK stream, items of any origin, or a way to open one.

Touches private API: the SDK's `Stream._iterator`, `_iter_events` and `_make_sse_decoder`, httpx's
`is_stream_consumed`, and `gi_running` of generators.
"""

from __future__ import annotations

import copy
import inspect
import socket
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import anyio
import pydantic
from openai import AsyncStream, Stream

from .watchdog import Alarm

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx2

    from .dialect import Dialect

_T = TypeVar("_T")

# How long a server may take to end the response after [DONE], so that its connection can be used again.
DRAIN_SECONDS = 0.1
# A source's `next` gives this at its end.
END: Any = object()
# bytes: of an SDK stream that nobody has read from; sdk: items of one that was begun, or is watched by a tool; items:
# of the caller, whose errors are their own.
Kind = Literal["bytes", "sdk", "items"]
_SDK_FILE = Stream.close.__code__.co_filename
_EVENT_METHODS = ("__stream__", "_iter_events")
_READ_METHODS = ("__iter__", "__next__", "__stream__", "_iter_events")
_ASYNC_READ_METHODS = ("__aiter__", "__anext__", "__stream__", "_iter_events")
# Where wrappers of tracing tools keep the stream that they wrap.
_WRAPPED_IN = ("__wrapped__", "_stream", "stream", "_wrapped", "wrapped", "_raw_stream", "_response", "_iterator")
# A tool may wrap the wrapper of another.
_MAX_WRAPPERS = 4


@dataclass(frozen=True, slots=True)
class Request:
    """The request of a stream of the SDK, which can be made again with another body."""

    _client: Any
    _options: Any
    _cast_to: Any
    _kind: Any

    @property
    def body(self) -> Any:
        """The JSON of the request."""
        return self._options.json_data

    def again(self, body: Any) -> Any:
        """Make the request with this body and return its stream; of an async client, an awaitable of it."""
        options = copy.copy(self._options)
        options.json_data = body
        stream_cls = self._kind[self._cast_to]
        return self._client.request(self._cast_to, options, stream=True, stream_cls=stream_cls)


def request_of(stream: Any) -> Request | None:
    """Return the request of a stream of the SDK; `None` if it names none."""
    client, options, cast_to = (getattr(stream, name, None) for name in ("_client", "_options", "_cast_to"))
    if client is None or options is None or cast_to is None:
        return None
    return Request(client, options, cast_to, AsyncStream if isinstance(stream, AsyncStream) else Stream)


@dataclass(slots=True)
class Source:
    """A sync source, opened: `reads` yields bytes or items."""

    kind: Kind
    reads: Iterator[Any]
    response: httpx2.Response | None
    stream: Any
    request: Request | None = None
    # Whether `reads` was read to its end.
    is_exhausted: bool = False

    def close(self) -> None:
        """Release the connection, or end the caller's generator."""
        if self.kind == "bytes" and self.response is not None:
            # Closing a socket does not wake the thread that reads from it.
            if getattr(self.reads, "gi_running", False) and can_drain(self):
                self.wake()
            self.response.close()
        else:
            close_foreign(self.stream, is_left=not self.is_exhausted)
            if self.kind == "sdk" and self.response is not None:
                self.response.close()

    def wake(self) -> None:
        """End a read that is blocked in the kernel, in whatever thread."""
        if (waiting := self.socket) is not None:
            # Of the plain socket, also under TLS: the reader sees the end of the bytes.
            with suppress(OSError):
                socket.socket.shutdown(waiting, socket.SHUT_RDWR)

    @property
    def socket(self) -> socket.socket | None:
        """The socket that a blocked read waits for, `None` if there is none (or none to be seen)."""
        network = self.response.extensions.get("network_stream") if self.response is not None else None
        found = network.get_extra_info("socket") if network is not None else None
        return found if isinstance(found, socket.socket) else None

    @property
    def is_open(self) -> bool:
        """Whether it holds a connection that nobody has closed."""
        return self.response is not None and not self.response.is_closed


@dataclass(slots=True)
class AsyncSource:
    """An async source, opened: `reads` yields bytes or items; a sync iterable needs no waiting."""

    kind: Kind
    # Of an AsyncIterator if it `waits`, else of an Iterator.
    reads: Any
    response: httpx2.Response | None
    stream: Any
    waits: bool = True
    request: Request | None = None

    async def close(self) -> None:
        """Release the connection, or end the caller's generator."""
        if self.kind == "bytes" and self.response is not None:
            if "network_stream" in self.response.extensions and can_drain(self):
                await self.response.aclose()
                await self._unwind()
            else:
                with suppress(RuntimeError):  # another task is reading, and ends with the connection
                    await self.reads.aclose()
                await self.response.aclose()
            return
        if self.waits:
            await aclose_foreign(self.stream)
        else:
            close_foreign(self.stream)
        if self.kind == "sdk" and self.response is not None:
            await self.response.aclose()

    def close_at_once(self) -> None:
        """Release the connection without waiting, as far as that goes: a coroutine that is closed must not wait."""
        if not self.waits:
            close_foreign(self.stream)
        elif self.kind != "bytes":
            run_at_once(aclose_foreign(self.stream))
        if self.response is not None:
            # Without an event loop this fails, and the socket closes when it is collected.
            with suppress(Exception):
                run_at_once(self.response.aclose())

    async def _unwind(self) -> None:
        """End the generators of the HTTP library, the innermost first, by reading from the closed connection.

        Closed from the outside, some of the inner ones would be left to the garbage collector, which ends them
        in a task of its own (asyncio) or warns of them (trio). Other transports are not read from after their
        end: aiohttp raises one and the same exception each time, whose traceback would grow for good.
        """
        with suppress(Exception), anyio.move_on_after(DRAIN_SECONDS):
            while await anext(self.reads, END) is not END:
                pass

    @property
    def is_open(self) -> bool:
        """Whether it holds a connection that nobody has closed."""
        return self.response is not None and not self.response.is_closed


def close_foreign(stream: Any, *, is_left: bool = True) -> None:
    """Close an iterable, or an object of another library around one, by the method that its class has for that.

    A tool's object may end its span only where its `with` block is left (AgentOps). `close` may be that of the stream
    inside, which the object passes on.
    """
    if is_left and _own(stream, "close") is None and _own(stream, "__exit__") is not None and is_wrapper(stream):
        stream.__exit__(None, None, None)
    if callable(close := getattr(stream, "close", None)):
        close()


async def aclose_foreign(stream: Any) -> None:
    """Close an async generator, or an object of another library, as `close_foreign` does."""
    close = _own(stream, "aclose") or _own(stream, "close")
    if _own(stream, "__aexit__") is not None and not inspect.iscoroutinefunction(close):
        # OpenTelemetry's `close` calls that of the stream inside, and does not await it.
        await stream.__aexit__(None, None, None)
        return
    close = getattr(stream, "aclose", None) or getattr(stream, "close", None)
    if callable(close):
        closing = close()
        if inspect.isawaitable(closing):
            await closing


def run_at_once(waiting: Awaitable[Any]) -> None:
    """Run an awaitable until it waits, and end it there."""
    steps = waiting.__await__()
    with suppress(StopIteration):
        next(steps)
        if (close := getattr(steps, "close", None)) is not None:
            close()


def open_source(source: object, dialect: Dialect) -> Source | None:
    """Return an iterable source opened, `None` if it is none; raises `TypeError` for one of the wrong kind."""
    if isinstance(source, Stream):
        if is_fresh(source):
            return Source("bytes", bytes_of(source.response), source.response, source, request_of(source))
        return Source("sdk", iter(source), response_of(source), source, request_of(source))
    if isinstance(source, AsyncStream) or inspect.isawaitable(source):
        if inspect.iscoroutine(source):
            source.close()
        raise TypeError(f"this is an async stream: {_for_async(dialect)}")
    _refuse_what_only_looks_iterable(source, dialect)
    if isinstance(source, Iterable):
        kind: Kind = "sdk" if is_wrapper(source) else "items"
        return Source(kind, iter(source), response_of(source), source)
    if isinstance(source, AsyncIterable):
        raise TypeError(f"{type(source).__name__} is an async iterable: {_for_async(dialect)}")
    return None


def open_async_source(source: object, dialect: Dialect) -> AsyncSource | None:
    """Return an iterable source opened, `None` if it is none; raises `TypeError` for one of the wrong kind."""
    if isinstance(source, AsyncStream):
        if is_fresh(source):
            reads = async_bytes_of(source.response)
            return AsyncSource("bytes", reads, source.response, source, request=request_of(source))
        return AsyncSource("sdk", aiter(source), response_of(source), source, request=request_of(source))
    if isinstance(source, Stream):
        raise TypeError(
            f"this is a sync stream, which would block the event loop: use {dialect.stream_name} or, in a notebook, "
            "display_stream(...)"
        )
    if isinstance(source, AsyncIterable):
        kind: Kind = "sdk" if is_wrapper(source) else "items"
        return AsyncSource(kind, aiter(source), response_of(source), source)
    _refuse_what_only_looks_iterable(source, dialect)
    if isinstance(source, Iterable):
        return AsyncSource("items", iter(source), None, source, waits=False)
    return None


def source_of_sdk(stream: Stream[Any]) -> Source:
    """Return the source of a stream that the SDK constructs: its bytes, or its items where a tool patched the class."""
    response = stream.response
    if is_patched(Stream, *_EVENT_METHODS):
        return Source("sdk", Stream.__stream__(stream), response, response, request_of(stream))
    return Source("bytes", bytes_of(response), response, None, request_of(stream))


def async_source_of_sdk(stream: AsyncStream[Any]) -> AsyncSource:
    """Return the source of a stream that the SDK constructs, as `source_of_sdk` does."""
    response = stream.response
    if is_patched(AsyncStream, *_EVENT_METHODS):
        return AsyncSource("sdk", AsyncStream.__stream__(stream), response, response, request=request_of(stream))
    return AsyncSource("bytes", async_bytes_of(response), response, None, request=request_of(stream))


def complete(stream: Any, *, cast_to: Any, client: Any, options: Any = None, **_: Any) -> None:
    """Give a stream what the SDK's constructor keeps: tools look at it, and the SDK's own methods need it."""
    stream._cast_to, stream._client, stream._options = cast_to, client, options  # noqa: SLF001 - of one of our streams
    if (make_decoder := getattr(client, "_make_sse_decoder", None)) is not None:
        stream._decoder = make_decoder()  # noqa: SLF001 - as the SDK does


def gives(stream: object, items: Any) -> bool:
    """Tell whether a stream of the SDK gives items of this type."""
    return isinstance(stream, (Stream, AsyncStream)) and getattr(stream, "_cast_to", None) == items


def is_patched(kind: type[Stream[Any] | AsyncStream[Any]], *names: str) -> bool:
    """Tell whether somebody replaced a method of the SDK's class: all that read, or those named."""
    every = names or (_READ_METHODS if kind is Stream else _ASYNC_READ_METHODS)
    # An SDK that has no such method has none that could be replaced.
    methods = (vars(kind)[name] for name in every if name in vars(kind))
    # By the file of the code: `functools.wraps` and wrapt copy names and signatures.
    return any(type(method) is not FunctionType or method.__code__.co_filename != _SDK_FILE for method in methods)


def is_fresh(stream: Stream[Any] | AsyncStream[Any]) -> bool:
    """Tell whether a stream is the SDK's own, unread and unwatched, so that its bytes can be read past it."""
    kind = type(stream)
    if kind is not Stream and kind is not AsyncStream:
        # A subclass or a wrapper of another library may do something of its own when it is iterated.
        return False
    if is_patched(kind) or stream.response.is_stream_consumed or stream.response.is_closed:
        return False
    iterator: Any = getattr(stream, "_iterator", None)  # tracing tools replace it
    code = getattr(iterator, "gi_code", None) or getattr(iterator, "ag_code", None)
    return code is not None and code is getattr(getattr(kind, "__stream__", None), "__code__", None)


def _own(stream: Any, name: str) -> Any:
    """Return a method of an object's class, and not of what the object wraps; `None` if there is none."""
    return getattr(type(stream), name, None)


def is_wrapper(source: object) -> bool:
    """Tell whether an object wraps a stream of the SDK, as tracing tools do."""
    return wrapped_stream(source) is not None


def wrapped_stream(source: object) -> Stream[Any] | AsyncStream[Any] | None:
    """Return the stream that an object of another library wraps, `None` if there is none to be seen."""
    for _ in range(_MAX_WRAPPERS):
        attributes = [_attribute(source, name) for name in _WRAPPED_IN]
        for each in [*attributes, *_values(source)]:
            # By its true type: a mock answers for the class that it mocks.
            if issubclass(type(each), (Stream, AsyncStream)):
                return cast("Stream[Any] | AsyncStream[Any]", each)
        source = next((each for each in attributes if each is not None), None)
        if source is None:
            return None
    return None


def _values(source: object) -> list[Any]:
    """Return what an object holds in attributes of its own, whatever their names."""
    try:
        return [*object.__getattribute__(source, "__dict__").values()]
    except (AttributeError, TypeError):  # without attributes of its own; and wrapt's proxies have another layout
        return []


def _attribute(source: object, name: str) -> Any:
    with suppress(Exception):  # an attribute of another library may do anything
        return getattr(source, name, None)
    return None


def response_of(source: object) -> httpx2.Response | None:
    """Return the HTTP response of a stream or of an object that wraps one; `None` if it has none."""
    for each in (source, wrapped_stream(source)):
        response = getattr(each, "response", None)
        if hasattr(response, "is_stream_consumed") and hasattr(response, "extensions"):
            return cast("httpx2.Response", response)
    return None


def bytes_of(response: httpx2.Response) -> Iterator[bytes]:
    """Return the decoded bytes of a response as they arrive."""
    if "content-encoding" in response.headers:
        return response.iter_bytes()
    # Past three layers of the HTTP library, which only matter to content that must be decoded.
    response.is_stream_consumed = True
    return iter(cast("httpx2.SyncByteStream", response.stream))


def async_bytes_of(response: httpx2.Response) -> AsyncIterator[bytes]:
    """Return the decoded bytes of a response as they arrive."""
    if "content-encoding" in response.headers:
        return response.aiter_bytes()
    response.is_stream_consumed = True
    return aiter(cast("httpx2.AsyncByteStream", response.stream))


def alarm_of(source: Source, *, is_needed: bool) -> Alarm | None:
    """Return the alarm that wakes the reads of a source; raises `ValueError` if `is_needed` and impossible."""
    if source.socket is not None:
        return Alarm(source.wake)
    if is_needed:
        raise ValueError(
            "first_chunk_timeout, idle_timeout and total_timeout need a connection whose reads can be woken, and this "
            "source has none (an iterable of your own, vcrpy and mock transports have none): leave them out there, or "
            "use async code"
        )
    return None


async def in_time(waiting: Awaitable[_T], until: float, timed_out: Callable[[], Exception]) -> _T:
    """Return the result of `waiting` before this moment of the monotonic clock, else raise what `timed_out` returns."""
    with anyio.move_on_after(max(until - time.monotonic(), 0)):
        return await waiting
    raise timed_out()


async def in_time_or_closed(
    waiting: Awaitable[_T], until: float, response: httpx2.Response, timed_out: Callable[[], Exception]
) -> _T:
    """Return the result of `waiting` before this moment, as `in_time` does; else close the response and raise.

    The tool that watches the stream sees a connection that breaks, and records an error. A cancellation would be none.
    """
    is_late = False
    done: list[_T] = []
    failed: list[Exception] = []

    async def close_when_late() -> None:
        nonlocal is_late
        await anyio.sleep(max(until - time.monotonic(), 0))
        is_late = True
        await response.aclose()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(close_when_late)
        try:
            done.append(await waiting)
        except Exception as error:  # noqa: BLE001 - raised below, not in a group
            failed.append(error)
        tasks.cancel_scope.cancel()
    if is_late:
        raise timed_out()
    if failed:
        raise failed[0]
    return done[0]


def can_drain(source: Source | AsyncSource) -> bool:
    """Tell whether reading the rest of the response frees its connection: in HTTP/2 closing does."""
    return source.kind == "bytes" and source.response is not None and source.response.http_version != "HTTP/2"


class BeingReadError(RuntimeError):
    """Two threads, or two tasks, read one stream at the same time: a mistake of the program, which breaks no stream."""


def is_in_use(error: Exception) -> bool:
    """Tell whether a read failed because another thread or task is in the same generator."""
    return isinstance(error, (ValueError, RuntimeError)) and "generator is already running" in str(error).replace(
        "generator already executing", "generator is already running"
    )


def _for_async(dialect: Dialect) -> str:
    return f"use Async{dialect.stream_name} or, in a notebook, await adisplay_stream(...)"


def no_source(source: object, dialect: Dialect) -> TypeError:
    """Return the error for a source that is none."""
    return TypeError(
        f"{type(source).__name__} is not a source of {dialect.item_name}s: give the stream that "
        f"create(..., stream=True) returns, an iterable of {dialect.item_name}s, or a function that opens one"
    )


def _refuse_what_only_looks_iterable(source: object, dialect: Dialect) -> None:
    if isinstance(source, pydantic.BaseModel):
        raise TypeError(f"{type(source).__name__} is no stream: did create() get stream=True?")
    if isinstance(source, (str, bytes, Mapping)):
        raise no_source(source, dialect)
