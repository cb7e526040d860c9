# pyright: strict
"""Public use that type checkers must accept; this file does not run."""

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from typing import Any, assert_type

import httpx2
import openai
from openai.types import CompletionUsage
from openai.types.chat import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionMessage,
    ChatCompletionMessageParam,
    ChatCompletionMessageToolCallUnion,
)
from openai.types.responses import Response

from tensorloop_stream import (
    SSE_HEADERS,
    AsyncChatStream,
    AsyncTensorloop,
    Callbacks,
    ChatAccumulator,
    ChatStream,
    ForwardApp,
    ServerSentEvent,
    SSEDecoder,
    StreamConnectionError,
    StreamDecodeError,
    StreamError,
    StreamProviderError,
    StreamTimeoutError,
    StreamTiming,
    StreamTruncatedError,
    Tensorloop,
    aforward_chat,
    forward_chat,
    print_stream,
)
from tensorloop_stream.notebook import adisplay_side_by_side, adisplay_stream, display_stream
from tensorloop_stream.replay import Disconnect, ReceivedRequest, ReplayServer

messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello?"}]


def drop_in(client: openai.OpenAI, streamed: bool) -> None:
    """A client of the package is a client of the SDK, overloads and all."""
    stream = client.chat.completions.create(model="m", messages=messages, stream=True)
    assert_type(stream, openai.Stream[ChatCompletionChunk])
    assert_type(client.chat.completions.create(model="m", messages=messages), ChatCompletion)
    assert_type(
        client.chat.completions.create(model="m", messages=messages, stream=streamed),
        ChatCompletion | openai.Stream[ChatCompletionChunk],
    )
    drop_in(Tensorloop(api_key="k", max_retries=3, timeout=5), streamed)
    drop_in(Tensorloop(organization="o", project=None, default_query={"a": 1}, http_client=httpx2.Client()), streamed)
    drop_in(Tensorloop(api_key=lambda: "k"), streamed)


async def async_drop_in(client: openai.AsyncOpenAI, key: Callable[[], Awaitable[str]]) -> None:
    """An async client of the package is an async client of the SDK."""
    stream = await client.chat.completions.create(model="m", messages=messages, stream=True)
    assert_type(stream, openai.AsyncStream[ChatCompletionChunk])
    assert_type(await client.chat.completions.create(model="m", messages=messages), ChatCompletion)
    await async_drop_in(AsyncTensorloop(api_key="k", http_client=httpx2.AsyncClient()), key)
    await async_drop_in(AsyncTensorloop(api_key=key, timeout=httpx2.Timeout(5)), key)


def clients(client: Tensorloop, other: AsyncTensorloop) -> None:
    """Copies of a client keep its class, and the SDK's other methods keep their types."""
    assert_type(client.with_options(timeout=5), Tensorloop)
    assert_type(client.copy(max_retries=0), Tensorloop)
    assert_type(other.with_options(timeout=5), AsyncTensorloop)
    with client as entered:
        assert_type(entered, Tensorloop)
    raw = client.chat.completions.with_raw_response.create(model="m", messages=messages)
    assert_type(raw.parse(), ChatCompletion)
    with client.chat.completions.stream(model="m", messages=messages) as helper:
        assert_type(helper.get_final_completion().choices[0].message.content, str | None)


def sync(client: Tensorloop) -> None:
    """The sync stream accepts each kind of source."""
    created = client.chat.completions.create(model="m", messages=messages, stream=True)
    with ChatStream(created, idle_timeout=30, first_chunk_timeout=60, require_finish=False) as stream:
        assert_type(stream, ChatStream)
        assert_type(next(stream), ChatCompletionChunk)
        assert_type(stream.text_stream, Iterator[str])
        assert_type(stream.completion, ChatCompletion)
        assert_type(stream.text, str)
        assert_type(stream.usage, CompletionUsage | None)
        assert_type(stream.timing, StreamTiming)
        assert_type(stream.response, httpx2.Response | None)
        assert_type(stream.request_id, str | None)
        assert_type(stream.until_done(), ChatStream)
        assert_type(stream.get_final_completion(), ChatCompletion)
        assert_type(stream.get_final_message(), ChatCompletionMessage)
        assert_type(stream.get_final_text(), str)
        for chunk in stream:
            assert_type(chunk, ChatCompletionChunk)
    ChatStream(lambda: client.chat.completions.create(model="m", messages=messages, stream=True), restarts=2)
    ChatStream(stream, Callbacks(on_text=print))
    ChatStream(lambda: stream)
    ChatStream([{"choices": []}])
    as_before: openai.Stream[ChatCompletionChunk] = stream
    assert_type(list(as_before), list[ChatCompletionChunk])


def other_sources(
    chunks: list[ChatCompletionChunk], mappings: list[dict[str, Any]], generator: Generator[ChatCompletionChunk]
) -> None:
    """Iterables of chunks, or of their mappings, are sources."""
    ChatStream(chunks, Callbacks(on_text=print))
    ChatStream(iter(chunks))
    ChatStream(mappings)
    ChatStream(generator)
    ChatStream(lambda: mappings)
    AsyncChatStream(chunks)
    AsyncChatStream(mappings)


async def asynchronous(client: AsyncTensorloop) -> None:
    """The async stream accepts a source that is awaited or not."""
    async with AsyncChatStream(client.chat.completions.create(model="m", messages=messages, stream=True)) as stream:
        assert_type(stream, AsyncChatStream)
        assert_type(await anext(stream), ChatCompletionChunk)
        assert_type(stream.text_stream, AsyncIterator[str])
        assert_type(await stream.until_done(), AsyncChatStream)
        assert_type(await stream.get_final_completion(), ChatCompletion)
        assert_type(await stream.get_final_message(), ChatCompletionMessage)
        assert_type(await stream.get_final_text(), str)
        async for chunk in stream:
            assert_type(chunk, ChatCompletionChunk)
    await stream.aclose()
    AsyncChatStream(await client.chat.completions.create(model="m", messages=messages, stream=True))
    AsyncChatStream(lambda: client.chat.completions.create(model="m", messages=messages, stream=True), restarts=1)
    AsyncChatStream(stream, Callbacks(on_finish=store))
    as_before: openai.AsyncStream[ChatCompletionChunk] = stream
    await as_before.close()


async def async_sources(chunks: AsyncIterator[ChatCompletionChunk], mappings: AsyncIterator[dict[str, Any]]) -> None:
    """Async generators, and functions that return them, are sources."""
    AsyncChatStream(chunks)
    AsyncChatStream(mappings)
    AsyncChatStream(lambda: mappings)


async def store(completion: ChatCompletion) -> None:
    """An async callback."""


def callbacks() -> None:
    """A callback may return anything, which is ignored, and be an `async def`."""
    texts: list[str] = []
    finished: list[ChatCompletion] = []
    Callbacks(on_text=texts.append, on_reasoning=texts.append, on_refusal=texts.append)
    Callbacks(on_chunk=lambda chunk: chunk.id, on_tool_call=lambda call: call.id, on_usage=lambda usage: usage)
    Callbacks(on_finish=finished.append, on_error=lambda error: error.args, on_abort=store)
    Callbacks(on_finish=store)
    assert_type(Callbacks().on_text, Callable[[str], object] | None)


def forwarding(client: openai.OpenAI, body: Mapping[str, object]) -> None:
    """Forwarding accepts the SDK's client or the package's, and any mapping as the body."""
    with forward_chat(client, body, Callbacks(on_text=print)) as answer:
        assert_type(answer.status_code, int)
        assert_type(answer.headers, dict[str, str])
        for data in answer:
            assert_type(data, bytes)
    forward_chat(Tensorloop(), {"messages": messages, "model": "m"}).close()
    assert_type(SSE_HEADERS, dict[str, str])


async def async_forwarding(client: openai.AsyncOpenAI, body: dict[str, Any]) -> None:
    """An ASGI application is accepted, too."""
    async with await aforward_chat(client, body) as answer:
        assert_type(answer.status_code, int)
        assert_type([data async for data in answer], list[bytes])
    ForwardApp(AsyncTensorloop(), body, Callbacks(on_finish=store))
    ForwardApp(client, body, headers={"X-Chat-Id": "7"}, first_chunk_timeout=60, idle_timeout=None).background = store


async def shown(client: Tensorloop, other: AsyncTensorloop) -> None:
    """Streams are displayed in a terminal and in a notebook."""
    created = client.chat.completions.create(model="m", messages=messages, stream=True)
    assert_type(print_stream(created), ChatCompletion)
    assert_type(print_stream(ChatStream(created)), ChatCompletion)
    assert_type(display_stream(created, footer=False), ChatCompletion)
    opening = other.chat.completions.create(model="m", messages=messages, stream=True)
    assert_type(await adisplay_stream(opening, min_interval=1), ChatCompletion)
    assert_type(print_stream(lambda: client.responses.create(model="m", input="x", stream=True)), Response)
    response = other.responses.create(model="m", input="x", stream=True)
    assert_type(await adisplay_stream(response), Response)
    assert_type(await adisplay_side_by_side(opening, opening), list[ChatCompletion])
    assert_type(await adisplay_side_by_side(opening, response), list[ChatCompletion | Response])


def errors(stream: ChatStream) -> None:
    """Each clause knows the class of its error; the SDK's clauses catch the errors, too."""
    try:
        stream.until_done()
    except StreamProviderError as error:
        assert_type(error.status_code, int | None)
        assert_type(error.code, str | None)
    except (StreamTruncatedError, StreamConnectionError, StreamTimeoutError, StreamDecodeError) as error:
        assert_type(error.partial, ChatCompletion)
        assert_type(error.request, httpx2.Request)
    except StreamError as error:
        assert_type(error.partial, ChatCompletion)
        api: openai.APIError = error
        assert_type(api.message, str)
    timeouts: list[openai.APITimeoutError] = [StreamTimeoutError("late", partial=stream.completion)]
    cuts: list[openai.APIConnectionError] = [StreamConnectionError("cut"), *timeouts]
    api_errors: list[openai.APIError] = [StreamTruncatedError("unfinished"), *cuts]
    wrong: list[ValueError] = [StreamDecodeError("not JSON")]
    print(api_errors, wrong)


def parts(accumulator: ChatAccumulator, decoder: SSEDecoder, timing: StreamTiming, chunk: ChatCompletionChunk) -> None:
    """Parts of the package can be used alone."""
    accumulator.add(chunk)
    accumulator.add({"choices": []})
    assert_type(accumulator.completion, ChatCompletion)
    assert_type(accumulator.tool_calls, list[ChatCompletionMessageToolCallUnion])
    assert_type(accumulator.text, str)
    assert_type(accumulator.usage, CompletionUsage | None)
    assert_type(accumulator.finish_reason, str | None)
    assert_type(accumulator.finished, bool)
    assert_type(decoder.feed(b""), list[ServerSentEvent])
    assert_type(ServerSentEvent("text").retry, int | None)
    assert_type(timing.time_to_first_token, float | None)
    assert_type(timing.time_to_first_chunk, float | None)
    assert_type(timing.chunk_times, tuple[float, ...])
    assert_type(timing.gap(0.99), float | None)


def replayed() -> None:
    """A user's own tests can use the replay server."""
    with ReplayServer("cassettes", cut_after=7, delay=0.1) as server:
        assert_type(server.base_url, str)
        assert_type(server.requests, list[ReceivedRequest])
        assert_type(server.disconnects, list[Disconnect])
        assert_type(server.disconnects[0].request.headers, Mapping[str, str])
    ReplayServer(["cassettes/chat", "cassettes/tools"], status=429, retry_after=1)
