"""The stream to show, of either API."""

from __future__ import annotations

from typing import Any

from openai.types.responses import ResponseStreamEvent

from tensorloop_stream._chat.streams import AsyncChatStream, ChatStream
from tensorloop_stream._responses.streams import AsyncResponseStream, ResponseStream
from tensorloop_stream._stream.foreign import gives


def as_stream(stream: Any) -> ChatStream | ResponseStream:
    """Return a stream of ours as it is, one of the SDK's Responses API as a `ResponseStream`, else a `ChatStream`."""
    if isinstance(stream, (ChatStream, ResponseStream)):
        return stream
    return ResponseStream(stream) if gives(stream, ResponseStreamEvent) else ChatStream(stream)


def as_async_stream(stream: Any) -> AsyncChatStream | AsyncResponseStream:
    """Return a stream to show, as `as_stream` does."""
    if isinstance(stream, (AsyncChatStream, AsyncResponseStream)):
        return stream
    return AsyncResponseStream(stream) if gives(stream, ResponseStreamEvent) else AsyncChatStream(stream)
