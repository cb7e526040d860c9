"""Public use, as type checkers must accept it; nothing here is run."""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import openai
from openai.types import CompletionUsage
from openai.types.chat import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionMessage,
    ChatCompletionMessageParam,
    ChatCompletionMessageToolCallUnion,
)

from tensorloop_stream import (
    AsyncChatStream,
    AsyncTensorloop,
    Callbacks,
    ChatAccumulator,
    ChatStream,
    ServerSentEvent,
    SSEDecoder,
    StreamError,
    StreamProviderError,
    StreamTiming,
    Tensorloop,
)

messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello?"}]


def drop_in(client: openai.OpenAI) -> None:
    """A client of the package is a client of the SDK, overloads and all."""
    stream = client.chat.completions.create(model="m", messages=messages, stream=True)
    assert_type(stream, openai.Stream[ChatCompletionChunk])
    assert_type(client.chat.completions.create(model="m", messages=messages), ChatCompletion)
    drop_in(Tensorloop(api_key="k", max_retries=3, timeout=5))
    drop_in(Tensorloop(api_key=lambda: "k"))


def sync(client: Tensorloop) -> None:
    """The sync stream, from each kind of source."""
    created = client.chat.completions.create(model="m", messages=messages, stream=True)
    with ChatStream(created, idle_timeout=30, first_chunk_timeout=60, require_finish=False) as stream:
        assert_type(stream, ChatStream)
        assert_type(next(stream), ChatCompletionChunk)
        assert_type(stream.text_stream, Iterator[str])
        assert_type(stream.completion, ChatCompletion)
        assert_type(stream.usage, CompletionUsage | None)
        assert_type(stream.timing, StreamTiming)
        assert_type(stream.request_id, str | None)
        assert_type(stream.get_final_completion(), ChatCompletion)
        assert_type(stream.get_final_message(), ChatCompletionMessage)
        assert_type(stream.get_final_text(), str)
    ChatStream(lambda: client.chat.completions.create(model="m", messages=messages, stream=True), restarts=2)
    ChatStream([{"choices": []}])
    chunks: list[ChatCompletionChunk] = []
    ChatStream(chunks, Callbacks(on_text=print))


async def asynchronous(client: AsyncTensorloop) -> None:
    """The async stream, awaited or not."""
    async with AsyncChatStream(client.chat.completions.create(model="m", messages=messages, stream=True)) as stream:
        assert_type(stream, AsyncChatStream)
        assert_type(await anext(stream), ChatCompletionChunk)
        assert_type(stream.text_stream, AsyncIterator[str])
        assert_type(await stream.get_final_completion(), ChatCompletion)
        assert_type(await stream.get_final_text(), str)
    AsyncChatStream(await client.chat.completions.create(model="m", messages=messages, stream=True))
    AsyncChatStream(lambda: client.chat.completions.create(model="m", messages=messages, stream=True), restarts=1)


async def store(completion: ChatCompletion) -> None:
    """An async callback."""


def other_names(accumulator: ChatAccumulator, decoder: SSEDecoder, timing: StreamTiming) -> None:
    """The parts that are used alone."""
    Callbacks(on_finish=store)
    assert_type(accumulator.tool_calls, list[ChatCompletionMessageToolCallUnion])
    assert_type(accumulator.text, str)
    assert_type(decoder.feed(b""), list[ServerSentEvent])
    assert_type(timing.time_to_first_token, float | None)
    try:
        pass
    except StreamProviderError as error:
        assert_type(error.status_code, int | None)
    except StreamError as error:
        assert_type(error.partial, ChatCompletion)
