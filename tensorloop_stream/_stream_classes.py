"""Choose the stream that the SDK makes for a request, and limit the wait for it.

The SDK ends a request with `stream_cls(cast_to=, response=, client=, options=)`. The clients put a class of this module
there, so that our stream is made inside of every tool that wraps `create`, and is wrapped as the SDK's own would be.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent

from ._chat.streams import AsyncChatStream, ChatStream
from ._responses.streams import AsyncResponseStream, ResponseStream
from ._stream.foreign import SDK_STREAMS
from ._stream.settings import StreamSettings
from ._stream.state import StreamState
from ._stream.waiting import opened_in_time, waiting_with

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Mapping

# This module is loaded at the first use, in which a test may have mocks in the place of the SDK's names: classes are
# taken from where they are defined.
Stream, AsyncStream = SDK_STREAMS
_T = TypeVar("_T")
# The SDK's mark of a request by with_raw_response or with_streaming_response.
_RAW_RESPONSE = "X-Stainless-Raw-Response"


class StreamRequest:
    """One call of `create`: when it began, and the stream that the SDK made in it."""

    __slots__ = ("is_raw", "made", "started")

    def __init__(self, kwargs: Mapping[str, Any]) -> None:
        self.started = time.monotonic()
        self.made: Any = None
        # Of with_raw_response: its caller wants a response, and asks that for the stream.
        self.is_raw = _RAW_RESPONSE in (kwargs.get("extra_headers") or {})


_request: ContextVar[StreamRequest | None] = ContextVar("_request", default=None)


@contextmanager
def noted(kwargs: Mapping[str, Any]) -> Iterator[StreamRequest]:
    """Keep the stream that the SDK makes inside of the block, for a call of `create` with these arguments."""
    outer, request = _request.get(), StreamRequest(kwargs)
    token = _request.set(request)
    try:
        yield request
    finally:
        with suppress(ValueError):  # a coroutine that is dropped is closed in whatever context
            _request.reset(token)
        if outer is not None:
            # A tool's function in the place of `create` called this one.
            outer.made = request.made


def _make(kind: Any, made_of: dict[str, Any]) -> Any:
    """Return the stream that the SDK makes: ours, with the timeouts of its client."""
    request = _request.get()
    settings = StreamSettings(**made_of["client"]._stream_timeouts)  # noqa: SLF001 - of our client
    stream = kind._from_sdk(settings, time.monotonic() if request is None else request.started, **made_of)  # noqa: SLF001 - the SDK's side of our classes
    if request is not None:
        request.made = stream
    return stream


# The SDK calls these, and reads the type of the items from the first of their generic bases. A tool may make a subclass
# of them that overrides `__stream__` (Logfire): the stream is an instance of that.
class _SDKChatStream(ChatStream):
    __orig_bases__ = (Stream[ChatCompletionChunk],)

    def __new__(cls, **made_of: Any) -> Any:
        return _make(ChatStream if cls is _SDKChatStream else cls, made_of)

    def __init__(self, **made_of: Any) -> None:
        """Do nothing: `__new__` made the instance of a subclass."""


class _SDKAsyncChatStream(AsyncChatStream):
    __orig_bases__ = (AsyncStream[ChatCompletionChunk],)

    def __new__(cls, **made_of: Any) -> Any:
        return _make(AsyncChatStream if cls is _SDKAsyncChatStream else cls, made_of)

    def __init__(self, **made_of: Any) -> None:
        """Do nothing: `__new__` made the instance of a subclass."""


class _SDKResponseStream(ResponseStream):
    __orig_bases__ = (Stream[ResponseStreamEvent],)

    def __new__(cls, **made_of: Any) -> Any:
        return _make(ResponseStream if cls is _SDKResponseStream else cls, made_of)

    def __init__(self, **made_of: Any) -> None:
        """Do nothing: `__new__` made the instance of a subclass."""


class _SDKAsyncResponseStream(AsyncResponseStream):
    __orig_bases__ = (AsyncStream[ResponseStreamEvent],)

    def __new__(cls, **made_of: Any) -> Any:
        return _make(AsyncResponseStream if cls is _SDKAsyncResponseStream else cls, made_of)

    def __init__(self, **made_of: Any) -> None:
        """Do nothing: `__new__` made the instance of a subclass."""


_OURS: dict[Any, Any] = {
    Stream[ChatCompletionChunk]: _SDKChatStream,
    AsyncStream[ChatCompletionChunk]: _SDKAsyncChatStream,
    Stream[ResponseStreamEvent]: _SDKResponseStream,
    AsyncStream[ResponseStreamEvent]: _SDKAsyncResponseStream,
}


def stream_class(asked: Any) -> Any:
    """Return the class that makes the streams of a request, where the SDK asks for this one."""
    return _OURS.get(asked, asked)


async def requested_in_time(opening: Awaitable[_T], kind: Any, timeouts: Mapping[str, float | None], asked: Any) -> _T:
    """Return what a request for a stream returns; raises `StreamTimeoutError` where no headers come in time.

    `timeouts` are those of the client; a stream that waits for its request, and has its own, keeps those. `asked` are
    the options of the request.
    """
    own, request = waiting_with.get() or StreamSettings(), _request.get()
    settings = StreamSettings(
        first_chunk_timeout=None if own.first_chunk_timeout else timeouts["first_chunk_timeout"],
        total_timeout=None if own.total_timeout else timeouts["total_timeout"],
    )
    if not settings.has_timeout or _RAW_RESPONSE in (asked.get("headers") or {}):
        return await opening
    state = StreamState(kind._dialect, None, settings)  # noqa: SLF001 - of our classes
    if request is not None:
        state.started = request.started
    return await opened_in_time(opening, state.wait_until(), state.timed_out)
