"""The stream to show, of either API, and whatever opens it."""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncIterable, Awaitable, Iterable
from typing import Any, TypeAlias, TypeVar

from openai import AsyncStream
from openai.types.responses import ResponseStreamEvent

from tensorloop_stream._chat.streams import AsyncChatStream, ChatStream
from tensorloop_stream._responses.streams import AsyncResponseStream, ResponseStream
from tensorloop_stream._stream.base import StreamView
from tensorloop_stream._stream.foreign import gives, wrapped_stream

AsyncResponseOpened: TypeAlias = AsyncStream[ResponseStreamEvent] | Awaitable[AsyncStream[ResponseStreamEvent]]
_StreamT = TypeVar("_StreamT", bound=StreamView[Any])


def as_stream(stream: Any) -> ChatStream | ResponseStream:
    """Return a stream of ours as it is, one of the SDK's Responses API as a `ResponseStream`, else a `ChatStream`.

    A function is called first: what it opens decides.
    """
    began = time.monotonic()
    opened = stream() if _is_function(stream) else stream
    if isinstance(opened, (ChatStream, ResponseStream)):
        return opened
    return _since(began, ResponseStream(opened) if _is_of_responses(opened) else ChatStream(opened))


async def as_async_stream(stream: Any) -> AsyncChatStream | AsyncResponseStream:
    """Return a stream to show, as `as_stream` does; an awaitable is awaited first."""
    began = time.monotonic()
    opened = stream() if _is_function(stream) else stream
    if inspect.isawaitable(opened):
        opened = await opened
    if isinstance(opened, (AsyncChatStream, AsyncResponseStream)):
        return opened
    return _since(began, AsyncResponseStream(opened) if _is_of_responses(opened) else AsyncChatStream(opened))


def _is_function(stream: Any) -> bool:
    return callable(stream) and not isinstance(stream, (Iterable, AsyncIterable)) and not inspect.isawaitable(stream)


def _is_of_responses(stream: Any) -> bool:
    return gives(stream, ResponseStreamEvent) or gives(wrapped_stream(stream), ResponseStreamEvent)


def _since(began: float, stream: _StreamT) -> _StreamT:
    """Let the timing of a stream count from the moment of its request."""
    stream._state.started = began  # noqa: SLF001 - of this package
    return stream
