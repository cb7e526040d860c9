"""What a stream can be made of, told apart: an SDK stream, chunks of any origin, or a way to open one."""

from __future__ import annotations

import inspect
import socket
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import anyio
import pydantic
from openai import AsyncStream, Stream

from .watchdog import Alarm

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx2

_T = TypeVar("_T")

# How long a server may take to end the response after [DONE], so that its connection can be used again.
DRAIN_SECONDS = 0.1
# A source's `next` gives this at its end.
END: Any = object()
_FOR_ASYNC = "use AsyncChatStream or, in a notebook, await adisplay_stream(...)"
_FOR_SYNC = "use ChatStream or, in a notebook, display_stream(...)"
# bytes: of an SDK stream that nobody has read from; sdk: chunks of one that was begun; chunks: of the caller.
Kind = Literal["bytes", "sdk", "chunks"]


@dataclass(slots=True)
class Source:
    """A sync source, opened: `reads` yields bytes or chunks."""

    kind: Kind
    reads: Iterator[Any]
    response: httpx2.Response | None
    stream: Any

    def close(self) -> None:
        """Release the connection, or end the caller's generator."""
        if self.kind == "bytes" and self.response is not None:
            # Closing a socket does not wake the thread that reads from it.
            if getattr(self.reads, "gi_running", False) and can_drain(self):
                self.wake()
            self.response.close()
        elif callable(close := getattr(self.stream, "close", None)):
            close()

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


@dataclass(slots=True)
class AsyncSource:
    """An async source, opened: `reads` yields bytes or chunks; a sync iterable needs no waiting."""

    kind: Kind
    # Of an AsyncIterator if it `waits`, else of an Iterator.
    reads: Any
    response: httpx2.Response | None
    stream: Any
    waits: bool = True

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
        close = getattr(self.stream, "aclose", None) or getattr(self.stream, "close", None)
        if callable(close):
            closing = close()
            if inspect.isawaitable(closing):
                await closing

    async def _unwind(self) -> None:
        """End the generators of httpx2, the innermost first, by reading from the connection that is closed now.

        Closed from the outside, some of the inner ones would be left to the garbage collector, which ends them
        in a task of its own (asyncio) or warns of them (trio). Other transports are not read from after their
        end: aiohttp raises one and the same exception each time, whose traceback would grow for good.
        """
        with suppress(Exception), anyio.move_on_after(DRAIN_SECONDS):
            while await anext(self.reads, END) is not END:
                pass


def open_source(source: object) -> Source | None:
    """Return an iterable source opened, `None` if it is none; raises `TypeError` for one of the wrong kind."""
    if isinstance(source, Stream):
        if _is_fresh(source, Stream):
            return Source("bytes", bytes_of(source.response), source.response, source)
        return Source("sdk", iter(source), getattr(source, "response", None), source)
    if isinstance(source, AsyncStream) or inspect.isawaitable(source):
        if inspect.iscoroutine(source):
            source.close()
        raise TypeError(f"this is an async stream: {_FOR_ASYNC}")
    _refuse_what_only_looks_iterable(source)
    if isinstance(source, Iterable):
        return Source("chunks", iter(source), None, source)
    if isinstance(source, AsyncIterable):
        raise TypeError(f"{type(source).__name__} is an async iterable: {_FOR_ASYNC}")
    return None


def open_async_source(source: object) -> AsyncSource | None:
    """Return an iterable source opened, `None` if it is none; raises `TypeError` for one of the wrong kind."""
    if isinstance(source, AsyncStream):
        if _is_fresh(source, AsyncStream):
            return AsyncSource("bytes", async_bytes_of(source.response), source.response, source)
        return AsyncSource("sdk", aiter(source), getattr(source, "response", None), source)
    if isinstance(source, Stream):
        raise TypeError(f"this is a sync stream, which would block the event loop: {_FOR_SYNC}")
    if isinstance(source, AsyncIterable):
        return AsyncSource("chunks", aiter(source), None, source)
    _refuse_what_only_looks_iterable(source)
    if isinstance(source, Iterable):
        return AsyncSource("chunks", iter(source), None, source, waits=False)
    return None


def bytes_of(response: httpx2.Response) -> Iterator[bytes]:
    """Return the decoded bytes of a response as they come."""
    if "content-encoding" in response.headers:
        return response.iter_bytes()
    # Past three layers of the HTTP library, which only matter to what has to be decoded.
    response.is_stream_consumed = True
    return iter(cast("httpx2.SyncByteStream", response.stream))


def async_bytes_of(response: httpx2.Response) -> AsyncIterator[bytes]:
    """Return the decoded bytes of a response as they come."""
    if "content-encoding" in response.headers:
        return response.aiter_bytes()
    response.is_stream_consumed = True
    return aiter(cast("httpx2.AsyncByteStream", response.stream))


def alarm_of(source: Source, *, is_needed: bool) -> Alarm | None:
    """Return what wakes the reads of a source; raises `ValueError` if `is_needed` and there is no such thing."""
    if source.socket is not None:
        return Alarm(source.wake)
    if is_needed:
        raise ValueError(
            "first_chunk_timeout and idle_timeout need a connection whose reads can be woken, and this source has "
            "none (chunks of your own, vcrpy and mock transports have none): leave them out there, or use async code"
        )
    return None


async def in_time(waiting: Awaitable[_T], until: float, timed_out: Callable[[], Exception]) -> _T:
    """Return what `waiting` brings before this moment of the monotonic clock, else raise what `timed_out` returns."""
    with anyio.move_on_after(max(until - time.monotonic(), 0)):
        return await waiting
    raise timed_out()


def can_drain(source: Source | AsyncSource) -> bool:
    """Tell whether reading the rest of the response frees its connection: in HTTP/2 closing does."""
    return source.kind == "bytes" and source.response is not None and source.response.http_version != "HTTP/2"


def no_source(source: object) -> TypeError:
    """Return the error for a source that is none."""
    return TypeError(
        f"{type(source).__name__} is not a source of chunks: give the stream that create(..., stream=True) returns, "
        "an iterable of chunks, or a function that opens one"
    )


def _is_fresh(stream: Stream[Any] | AsyncStream[Any], kind: type) -> bool:
    # A subclass or a wrapper of another library may do something of its own when it is iterated.
    return type(stream) is kind and not stream.response.is_stream_consumed and not stream.response.is_closed


def _refuse_what_only_looks_iterable(source: object) -> None:
    if isinstance(source, pydantic.BaseModel):
        raise TypeError(f"{type(source).__name__} is no stream: did create() get stream=True?")
    if isinstance(source, (str, bytes, Mapping)):
        raise no_source(source)
