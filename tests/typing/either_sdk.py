# pyright: strict
"""Public use that type checkers must accept with each SDK, whatever HTTP library it has; this file does not run."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam

from tensorloop_stream import AsyncChatStream, AsyncTensorloop, ChatStream, StreamError, Tensorloop, forward_chat

messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello?"}]


def drop_in(client: openai.OpenAI) -> None:
    """A client of the package is one of the SDK."""
    stream = client.chat.completions.create(model="m", messages=messages, stream=True)
    assert_type(stream, openai.Stream[ChatCompletionChunk])
    assert_type(client.chat.completions.create(model="m", messages=messages), ChatCompletion)
    drop_in(Tensorloop(api_key="k", max_retries=3, timeout=5))
    drop_in(Tensorloop(api_key="k", organization="o", project=None, idle_timeout=5).with_options(timeout=3))


async def async_drop_in(client: openai.AsyncOpenAI) -> None:
    """The same of the async client."""
    stream = await client.chat.completions.create(model="m", messages=messages, stream=True)
    assert_type(stream, openai.AsyncStream[ChatCompletionChunk])
    await async_drop_in(AsyncTensorloop(api_key="k", idle_timeout=5))


def stream_sync(client: openai.OpenAI) -> None:
    """A stream, its parts and its errors."""
    try:
        with ChatStream(client.chat.completions.create(model="m", messages=messages, stream=True)) as stream:
            assert_type(stream.text_stream, Iterator[str])
            for chunk in stream:
                assert_type(chunk, ChatCompletionChunk)
        assert_type(stream.completion, ChatCompletion)
    except StreamError as error:
        assert_type(error.partial, ChatCompletion)
    for data in forward_chat(client, {"model": "m"}):
        assert_type(data, bytes)


async def stream_async(client: openai.AsyncOpenAI, settings: dict[str, Any]) -> None:
    """The same of the async stream."""
    creating = client.chat.completions.create(model="m", messages=messages, stream=True)
    async with AsyncChatStream(creating, idle_timeout=5) as stream:
        assert_type(stream.text_stream, AsyncIterator[str])
        assert_type(await stream.get_final_text(), str)
