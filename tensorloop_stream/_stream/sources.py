"""Tell apart what a stream can be made of: an SDK stream, items of any origin, or a way to open one.

Touches private API: httpx's `is_stream_consumed`, and `gi_running` of generators.
"""

from __future__ import annotations

import copy
import inspect
import socket
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import anyio
import pydantic
from openai import AsyncStream, Stream

from .foreign import (
    EVENT_METHODS,
    aclose_foreign,
    close_foreign,
    is_fresh,
    is_patched,
    is_wrapper,
    response_of,
)
from .waiting import run_at_once
from .watchdog import Alarm

if TYPE_CHECKING:
    from collections.abc import Awaitable

    import httpx2

    from .dialect import Dialect

# How long a server may take to end the response after [DONE], so that its connection can be used again.
DRAIN_SECONDS = 0.1
# A source's `next` gives this at its end.
END: Any = object()
# bytes: of an SDK stream that nobody has read from; sdk: items of one that was begun, or is watched by a tool; items:
# of the caller, whose errors are their own.
Kind = Literal["bytes", "sdk", "items"]


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


@dataclass(slots=True, weakref_slot=True)
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
            if self.stream is not None and is_patched(Stream, "close"):
                self.stream.close()
        else:
            close_foreign(self.stream, is_left=not self.is_exhausted)
            if self.kind == "sdk" and self.response is not None:
                self.response.close()

    def wake(self) -> None:
        """End a read that is blocked in the kernel, in whatever thread."""
        if self.is_open and (waiting := self.socket) is not None:
            # Once its response is closed, the connection may be another's. Of the plain socket, also under TLS: the
            # reader sees the end of the bytes.
            with suppress(OSError):
                socket.socket.shutdown(waiting, socket.SHUT_RDWR)

    @property
    def socket(self) -> socket.socket | None:
        """The socket that a blocked read waits for, `None` if there is none (or none to be seen)."""
        network = self.response.extensions.get("network_stream") if self.response is not None else None
        found = network.get_extra_info("socket") if network is not None else None
        return found if isinstance(found, socket.socket) else None

    @property
    def is_in_memory(self) -> bool:
        """Whether its response comes over no network, so that no read waits: that of a mock transport."""
        return self.response is not None and "network_stream" not in self.response.extensions

    @property
    def is_watched(self) -> bool:
        """Whether a tool may watch its items, and has not seen their end, which can be had.

        In HTTP/2, a read that waits cannot be woken: other streams use its socket.
        """
        return _may_be_watched(self) and cast("httpx2.Response", self.response).http_version != "HTTP/2"

    @property
    def is_open(self) -> bool:
        """Whether it holds a connection that nobody has closed."""
        return self.response is not None and not self.response.is_closed


@dataclass(slots=True, weakref_slot=True)
class AsyncSource:
    """An async source, opened: `reads` yields bytes or items; a sync iterable needs no waiting."""

    kind: Kind
    # Of an AsyncIterator if it `waits`, else of an Iterator.
    reads: Any
    response: httpx2.Response | None
    stream: Any
    waits: bool = True
    request: Request | None = None
    # Whether `reads` was read to its end.
    is_exhausted: bool = False

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
            if self.stream is not None and is_patched(AsyncStream, "close"):
                await self.stream.close()
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
    def is_watched(self) -> bool:
        """Whether a tool may watch its items, and has not seen their end."""
        return _may_be_watched(self)

    @property
    def is_open(self) -> bool:
        """Whether it holds a connection that nobody has closed."""
        return self.response is not None and not self.response.is_closed


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
            "this is a sync stream, which would block the event loop: open it with an async client, or use "
            f"{dialect.stream_name} or, in a notebook, display_stream(...)"
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
    if is_patched(Stream, *EVENT_METHODS):
        return Source("sdk", Stream.__stream__(stream), response, response, request_of(stream))
    source = Source("bytes", iter(()), response, None, request_of(stream))
    source.reads = _Unread(source)
    return source


def async_source_of_sdk(stream: AsyncStream[Any]) -> AsyncSource:
    """Return the source of a stream that the SDK constructs, as `source_of_sdk` does."""
    response = stream.response
    if is_patched(AsyncStream, *EVENT_METHODS):
        return AsyncSource("sdk", AsyncStream.__stream__(stream), response, response, request=request_of(stream))
    source = AsyncSource("bytes", None, response, None, request=request_of(stream))
    source.reads = _AsyncUnread(source)
    return source


class _Unread:
    """The bytes of a stream that nobody has read from: its caller may still read the response by hand."""

    __slots__ = ("_source",)

    def __init__(self, source: Source) -> None:
        # Weak, so that a stream that is dropped unread is finalized at once.
        self._source = weakref.proxy(source)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        # Only the first read comes here.
        self._source.reads = reads = bytes_of(self._source.response)
        return next(reads)


class _AsyncUnread:
    """The bytes of an asynchronous stream that nobody has read from, as `_Unread`."""

    __slots__ = ("_source",)

    def __init__(self, source: AsyncSource) -> None:
        self._source = weakref.proxy(source)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        self._source.reads = reads = async_bytes_of(self._source.response)
        return anext(reads)

    async def aclose(self) -> None:
        """Do nothing: nothing was begun."""


def bytes_of(response: httpx2.Response) -> Iterator[bytes]:
    """Return the decoded bytes of a response as they arrive."""
    if "content-encoding" in response.headers or response.is_stream_consumed:
        # Also what the caller has read by hand, or an error if it is gone: as with the SDK.
        return response.iter_bytes()
    # Past three layers of the HTTP library, which only matter to content that must be decoded.
    response.is_stream_consumed = True
    return iter(cast("httpx2.SyncByteStream", response.stream))


def async_bytes_of(response: httpx2.Response) -> AsyncIterator[bytes]:
    """Return the decoded bytes of a response as they arrive."""
    if "content-encoding" in response.headers or response.is_stream_consumed:
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


def can_drain(source: Source | AsyncSource) -> bool:
    """Tell whether reading the rest of the response frees its connection: in HTTP/2 closing does."""
    return source.kind == "bytes" and source.response is not None and source.response.http_version != "HTTP/2"


def _may_be_watched(source: Source | AsyncSource) -> bool:
    return source.kind == "sdk" and source.response is not None and not source.is_exhausted


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
