# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""Wrong use that type checkers must refuse: an unnecessary ignore is an error. This file does not run."""

import openai
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from tensorloop_stream import (
    AsyncChatStream,
    AsyncTensorloop,
    Callbacks,
    ChatAccumulator,
    ChatStream,
    ForwardApp,
    ServerSentEvent,
    SSEDecoder,
    StreamError,
    StreamTiming,
    Tensorloop,
    aforward_chat,
    forward_chat,
)
from tensorloop_stream.replay import ReplayServer

messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello?"}]


def sources(client: Tensorloop, async_client: AsyncTensorloop, opened: openai.AsyncStream[ChatCompletionChunk]) -> None:
    """An unstreamed answer, and a source that must be awaited, are refused."""
    ChatStream(client.chat.completions.create(model="m", messages=messages))  # type: ignore[arg-type]
    ChatStream(opened)  # type: ignore[arg-type]
    ChatStream(async_client.chat.completions.create(model="m", messages=messages, stream=True))  # type: ignore[arg-type]
    ChatStream(["text"])  # type: ignore[arg-type]
    ChatStream(None)  # type: ignore[arg-type]
    AsyncChatStream(async_client.chat.completions.create(model="m", messages=messages))  # type: ignore[arg-type]


def settings(chunks: list[ChatCompletionChunk]) -> None:
    """Seconds are numbers, and settings have names."""
    ChatStream(chunks, None, 30)  # type: ignore[call-arg]
    ChatStream(chunks, idle_timeout="30")  # type: ignore[arg-type]
    ChatStream(chunks, timeout=30)  # type: ignore[call-arg]
    ChatStream(chunks, print)  # type: ignore[arg-type]
    SSEDecoder(1024)  # type: ignore[call-arg]


async def reading(stream: ChatStream, other: AsyncChatStream) -> None:
    """Sync and async reading are separate."""
    async for _ in stream:  # type: ignore[attr-defined]
        pass
    for _ in other:  # type: ignore[attr-defined]
        pass
    async with stream:  # type: ignore[attr-defined]
        pass
    with other:  # type: ignore[attr-defined]
        pass
    other.get_final_text().strip()  # type: ignore[attr-defined]
    stream.text = "mine"  # type: ignore[misc]
    print(stream.usage.total_tokens)  # type: ignore[union-attr]


def callbacks() -> None:
    """Callbacks have names and parameter types, and cannot be changed."""
    Callbacks(print)  # type: ignore[call-arg]
    Callbacks(on_test=print)  # type: ignore[call-arg]
    Callbacks(on_text=lambda: None)  # type: ignore[misc, arg-type]
    Callbacks(on_finish=len)  # type: ignore[arg-type]
    Callbacks().on_text = print  # type: ignore[misc]


async def forwarding(client: openai.OpenAI, async_client: openai.AsyncOpenAI, body: dict[str, object]) -> None:
    """Each form takes a client of its kind."""
    forward_chat(async_client, body)  # type: ignore[arg-type]
    await aforward_chat(client, body)  # type: ignore[arg-type]
    ForwardApp(client, body)  # type: ignore[arg-type]
    forward_chat(client, b"{}")  # type: ignore[arg-type]
    async with aforward_chat(async_client, body):  # type: ignore[attr-defined]
        pass


def parts(accumulator: ChatAccumulator, timing: StreamTiming, event: ServerSentEvent, error: StreamError) -> None:
    """Values are read-only and typed."""
    accumulator.add("text")  # type: ignore[arg-type]
    accumulator.text = "mine"  # type: ignore[misc]
    timing.duration = 0.0  # type: ignore[misc]
    timing.gap("0.99")  # type: ignore[arg-type]
    event.data = "mine"  # type: ignore[misc]
    SSEDecoder().feed("text")  # type: ignore[arg-type]
    StreamError()  # type: ignore[call-arg]
    Tensorloop("key")  # type: ignore[call-arg]
    Tensorloop(organisation="ours")  # type: ignore[call-arg]
    AsyncTensorloop(max_retry=3)  # type: ignore[call-arg]
    Tensorloop(max_retries="3")  # type: ignore[arg-type]
    ReplayServer("cassettes", cut_affter=7)  # type: ignore[call-arg]
    error.partial.choices[0].message.content.strip()  # type: ignore[union-attr]
