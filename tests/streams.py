"""Streams for the tests: chunks and events by hand, clients that answer with them, both ways of reading."""

from __future__ import annotations

import asyncio
import atexit
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import anyio
import httpx2
import openai
import pydantic

from tensorloop_stream import AsyncChatStream, Callbacks, ChatAccumulator, ChatStream

ENVELOPE = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1795359264, "model": "gpt-4o-mini"}
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello?"}], "stream": True}
DONE = b"data: [DONE]\n\n"
Mode = Literal["chunks", "text", "final"]
Part = bytes | BaseException
Handler = Callable[[httpx2.Request], httpx2.Response]


def chunk(delta: Any = None, *, index: int | None = 0, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a chunk with one choice; `more` goes into the choice."""
    choice: dict[str, Any] = {"index": index, "delta": {} if delta is None else delta, **more}
    if finish is not None:
        choice["finish_reason"] = finish
    return {**ENVELOPE, "choices": [choice]}


def text(content: str, **more: Any) -> dict[str, Any]:
    return chunk({"content": content}, **more)


def tool(*pieces: Any, **more: Any) -> dict[str, Any]:
    return chunk({"tool_calls": list(pieces)}, **more)


def finish(reason: str = "stop", **more: Any) -> dict[str, Any]:
    return chunk({}, finish=reason, **more)


def usage(total: int = 9, **more: Any) -> dict[str, Any]:
    counts = {"prompt_tokens": total - 2, "completion_tokens": 2, "total_tokens": total}
    return {**ENVELOPE, "choices": [], "usage": counts, **more}


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def sse(*chunks: Any, done: bool = True) -> bytes:
    return b"".join(map(event, chunks)) + (DONE if done else b"")


HELLO = (chunk({"role": "assistant", "content": ""}), text("Hel"), text("lo"), finish())


def accumulate(*chunks: Any) -> ChatAccumulator:
    accumulator = ChatAccumulator()
    for one in chunks:
        accumulator.add(one)
    return accumulator


def message_of(*chunks: Any) -> dict[str, Any]:
    """Return the message that the chunks make, as a dictionary."""
    return accumulate(*chunks).completion.choices[0].message.to_dict()


class Body(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A response body that comes in the given parts; an exception among them is raised."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self.parts = parts
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        for part in self.parts:
            if isinstance(part, BaseException):
                raise part
            yield part

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for number, part in enumerate(self):
            # Of thousands, most are there already: a turn of the loop costs more than to read a byte.
            if number < 20 or number % 20 == 0:
                await anyio.lowlevel.checkpoint()
            yield part

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


def answering(*bodies: Body | httpx2.Response) -> Handler:
    """Return a handler that answers each request with the next body, the last again and again."""
    left = list(bodies)

    def handle(request: httpx2.Request) -> httpx2.Response:
        body = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(body, httpx2.Response):
            return body
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=body)

    return handle


SETTINGS: dict[str, Any] = {"api_key": "none", "base_url": "https://gateway.test/v1", "max_retries": 0}


def sync_client(*bodies: Body | httpx2.Response) -> openai.OpenAI:
    return _sync_client(answering(*bodies))


def _sync_client(handle: Handler) -> openai.OpenAI:
    return openai.OpenAI(**SETTINGS, http_client=httpx2.Client(transport=httpx2.MockTransport(handle)))


def async_client(*bodies: Body | httpx2.Response) -> openai.AsyncOpenAI:
    return _async_client(answering(*bodies))


def _async_client(handle: Handler) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(**SETTINGS, http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(handle)))


@dataclass
class Outcome:
    """What came of reading a stream to its end."""

    stream: ChatStream | AsyncChatStream
    items: list[Any] = field(default_factory=list)
    error: BaseException | None = None


def read(
    kind: str, parts: Iterable[Part], mode: Mode = "chunks", callbacks: Callbacks | None = None, **kw: Any
) -> Outcome:
    """Read a stream that comes in `parts`, with either kind of client, in one of the three ways."""
    _NEXT[0] = Body(parts if isinstance(parts, list) else list(parts))
    if kind == "sync":
        created = _shared_client().chat.completions.create(**_ASK)
        return drain_sync(ChatStream(created, callbacks, **kw), mode)

    async def run() -> Outcome:
        creating = _shared_async_client().chat.completions.create(**_ASK)
        return await drain_async(AsyncChatStream(creating, callbacks, **kw), mode)

    return _loop().run_until_complete(run())


# The clients and the loop of `read`: to make them, and a request of messages, costs more than most streams do.
_ASK = {**ASK, "messages": []}
_NEXT = [Body([])]


def _answer(request: httpx2.Request) -> httpx2.Response:
    return answering(_NEXT[0])(request)


@cache
def _shared_client() -> openai.OpenAI:
    return _sync_client(_answer)


@cache
def _shared_async_client() -> openai.AsyncOpenAI:
    return _async_client(_answer)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    atexit.register(loop.close)
    return loop


def drain_sync(stream: ChatStream, mode: Mode) -> Outcome:
    outcome = Outcome(stream)
    try:
        with stream:
            if mode == "final":
                outcome.items.append(stream.get_final_completion())
            else:
                for item in stream.text_stream if mode == "text" else stream:
                    outcome.items.append(item)
    except Exception as error:  # noqa: BLE001 - it is what the test looks at
        outcome.error = error
    return outcome


async def drain_async(stream: AsyncChatStream, mode: Mode) -> Outcome:
    outcome = Outcome(stream)
    try:
        async with stream:
            if mode == "final":
                outcome.items.append(await stream.get_final_completion())
            else:
                async for item in stream.text_stream if mode == "text" else stream:
                    outcome.items.append(item)
    except Exception as error:  # noqa: BLE001 - it is what the test looks at
        outcome.error = error
    return outcome


def anatomy(value: Any) -> Any:
    """Return all of a model that a caller could see."""
    if isinstance(value, pydantic.BaseModel):
        fields = {name: anatomy(item) for name, item in value.__dict__.items()}
        return type(value), fields, anatomy(value.model_extra), value.model_fields_set, value.__pydantic_private__
    if isinstance(value, dict):
        return {name: anatomy(item) for name, item in value.items()}
    if isinstance(value, list):
        return [anatomy(item) for item in value]
    return type(value), value
