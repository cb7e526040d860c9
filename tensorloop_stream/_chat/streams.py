"""The streams of chat completions: their names and docstrings, over the engine."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tensorloop_stream._stream.async_stream import AsyncStreamBase
from tensorloop_stream._stream.base import StreamView
from tensorloop_stream._stream.sync_stream import SyncStream

from .dialect import CHAT

if TYPE_CHECKING:
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletionMessage, ChatCompletionMessageToolCallUnion

    from tensorloop_stream._callbacks import UnusableToolCall

    from .accumulator import ChatAccumulation

__all__ = ["AsyncChatStream", "AsyncOpened", "ChatStream", "ChatView", "Chunks"]

Chunks: TypeAlias = Iterable[ChatCompletionChunk] | Iterable[Mapping[str, Any]]
AsyncChunks: TypeAlias = AsyncIterable[ChatCompletionChunk] | AsyncIterable[Mapping[str, Any]] | Chunks
AsyncOpened: TypeAlias = AsyncChunks | Awaitable[AsyncChunks]


class ChatView(StreamView[ChatCompletion]):
    """The completion of both streams, as far as it has arrived."""

    _dialect = CHAT

    @property
    def completion(self) -> ChatCompletion:
        """The completion so far; never raises."""
        completion: ChatCompletion = self._state.accumulation.result
        return completion

    @property
    def usage(self) -> CompletionUsage | None:
        """The last usage that the gateway sent; it does for `stream_options={"include_usage": True}`."""
        usage: CompletionUsage | None = self._state.accumulation.usage
        return usage

    @property
    def finish_reason(self) -> str | None:
        """The finish reason of choice 0, as the gateway spells it; `None` before it arrives."""
        return self._accumulation.finish_reason

    @property
    def _accumulation(self) -> ChatAccumulation:
        accumulation: Any = self._state.accumulation
        return cast("ChatAccumulation", accumulation)

    @property
    def tool_calls(self) -> list[ChatCompletionMessageToolCallUnion]:
        """The tool calls of choice 0 so far; the last may be incomplete."""
        return self._accumulation.tool_calls

    @property
    def unusable_tool_calls(self) -> list[UnusableToolCall]:
        """The tool calls of choice 0 that must not be run, with the reason; empty before its finish reason."""
        state = self._state
        calls: list[UnusableToolCall] = state.accumulation.unusable_calls(ended=state.done)
        return calls

    def _final_message(self) -> ChatCompletionMessage:
        completion = self._final()
        if not completion.choices:
            raise self._state.without("a choice")
        return completion.choices[0].message


class ChatStream(ChatView, SyncStream[ChatCompletionChunk, ChatCompletion]):  # type: ignore[misc] # `response` may be None
    """A streamed chat completion, for synchronous code.

    `source` is what `create(..., stream=True)` returned, an iterable of chunks, or a function that opens
    either. `first_chunk_timeout` and `idle_timeout` are in seconds and count chunks, not bytes: keep-alive
    comments do not reset them. `restarts` is how often to open the stream again when it breaks before
    anything reached the caller. `continue_broken` is how often to continue an answer that breaks later: the request is
    made again with the text so far as the beginning of the assistant's message, and its text goes on in this stream.
    With `require_finish=False` a stream may end without a finish reason.

    Raises `TypeError` for a source of the wrong kind or an async callback, `ValueError` for `restarts` without a
    function, `continue_broken` without a request and timeouts on a source without a connection; while read, the
    `StreamError`s.

    For example:

        with ChatStream(client.chat.completions.create(**request, stream=True), idle_timeout=30) as stream:
            for text in stream.text_stream:
                print(text, end="", flush=True)
        print(stream.finish_reason, stream.usage)
    """

    def get_final_completion(self) -> ChatCompletion:
        """Read to the end and return the completion; raises `StreamTruncatedError` after an early close."""
        self.until_done()
        return self._final()

    def get_final_message(self) -> ChatCompletionMessage:
        """Read to the end and return the message of choice 0; raises as `get_final_completion` does."""
        self.until_done()
        return self._final_message()


class AsyncChatStream(ChatView, AsyncStreamBase[ChatCompletionChunk, ChatCompletion]):  # type: ignore[misc] # as above
    """A streamed chat completion, for asynchronous code; as `ChatStream`, with `async` and `await`.

    `source` may also be the un-awaited `create(..., stream=True)`, an async iterable of chunks, or a function
    that returns any of these. Callbacks may be `async def`. Timeouts work on every source, and for one that is
    opened here they count from before the request.

    For example:

        async with AsyncChatStream(async_client.chat.completions.create(**request, stream=True)) as stream:
            async for text in stream.text_stream:
                print(text, end="", flush=True)
        print(stream.finish_reason, stream.usage)
    """

    async def get_final_completion(self) -> ChatCompletion:
        """Read to the end and return the completion; raises `StreamTruncatedError` after an early close."""
        await self.until_done()
        return self._final()

    async def get_final_message(self) -> ChatCompletionMessage:
        """Read to the end and return the message of choice 0; raises as `get_final_completion` does."""
        await self.until_done()
        return self._final_message()
