"""The SDK's chat resource, returning this package's streams."""

from __future__ import annotations

import functools
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from openai import AsyncStream, Stream
from openai.resources.chat import AsyncChat, AsyncCompletions, Chat, Completions

from ._stream.async_stream import AsyncChatStream
from ._stream.sync_stream import ChatStream


class TensorloopCompletions(Completions):
    """`create(..., stream=True)` returns a `ChatStream`; all else is the SDK's."""

    # The SDK's overloads stay what type checkers see: a ChatStream is a Stream.
    if not TYPE_CHECKING:

        @functools.wraps(Completions.create)
        def create(self, *args: Any, **kwargs: Any) -> Any:
            started = time.monotonic()
            result = super().create(*args, **kwargs)
            # Not so for with_raw_response and with_streaming_response, whose results are responses.
            if not isinstance(result, Stream):
                return result
            return ChatStream(result, **self._client._stream_timeouts).sent_at(started)  # noqa: SLF001 - as below


class AsyncTensorloopCompletions(AsyncCompletions):
    """`create(..., stream=True)` returns an `AsyncChatStream`; all else is the SDK's."""

    if not TYPE_CHECKING:

        @functools.wraps(AsyncCompletions.create)
        async def create(self, *args: Any, **kwargs: Any) -> Any:
            started = time.monotonic()
            result = await super().create(*args, **kwargs)
            if not isinstance(result, AsyncStream):
                return result
            return AsyncChatStream(result, **self._client._stream_timeouts).sent_at(started)  # noqa: SLF001 - of our client


class TensorloopChat(Chat):
    """The SDK's `chat`, with these completions."""

    @cached_property
    def completions(self) -> Completions:
        """Chat completions, streamed as `ChatStream`."""
        return TensorloopCompletions(self._client)


class AsyncTensorloopChat(AsyncChat):
    """The SDK's `chat`, with these completions."""

    @cached_property
    def completions(self) -> AsyncCompletions:
        """Chat completions, streamed as `AsyncChatStream`."""
        return AsyncTensorloopCompletions(self._client)
