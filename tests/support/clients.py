"""Clients that answer with streams made by hand, and the three modes of reading."""

from __future__ import annotations

import asyncio
import atexit
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import anyio
import httpx2
import openai

from tensorloop_stream import AsyncChatStream, Callbacks, ChatStream

CHAT: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Hello?"}],
    "stream": True,
}
Mode = Literal["chunks", "text", "final"]
Part = bytes | BaseException
Handler = Callable[[httpx2.Request], httpx2.Response]
# Building one costs 40 ms, which every client would pay.
SSL = ssl.create_default_context()


class Body(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A response body of the given parts; an exception among them is raised."""

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
            # Yielding to the loop costs more than reading a byte, so of many parts few wait.
            if number < 20 or number % 20 == 0:
                await anyio.lowlevel.checkpoint()
            yield part

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


def responding_with(*bodies: Body | httpx2.Response) -> Handler:
    """Return a handler that answers each request with the next body; the last one repeats."""
    left = list(bodies)

    def handle(request: httpx2.Request) -> httpx2.Response:
        body = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(body, httpx2.Response):
            return body
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=body)

    return handle


SETTINGS: dict[str, Any] = {"api_key": "none", "base_url": "https://gateway.test/v1", "max_retries": 0}


def sync_client(*bodies: Body | httpx2.Response) -> openai.OpenAI:
    return _sync_client(responding_with(*bodies))


def _sync_client(handle: Handler) -> openai.OpenAI:
    return openai.OpenAI(**SETTINGS, http_client=httpx2.Client(transport=httpx2.MockTransport(handle)))


def async_client(*bodies: Body | httpx2.Response) -> openai.AsyncOpenAI:
    return _async_client(responding_with(*bodies))


def _async_client(handle: Handler) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(**SETTINGS, http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(handle)))


@dataclass
class Outcome:
    """The items and the error of a stream that was read to its end."""

    stream: ChatStream | AsyncChatStream
    items: list[Any] = field(default_factory=list)
    error: BaseException | None = None


def read(
    kind: str, parts: Iterable[Part], mode: Mode = "chunks", callbacks: Callbacks | None = None, **kw: Any
) -> Outcome:
    """Read a stream of these `parts` with either kind of client in one of the three modes."""
    _NEXT[0] = Body(parts if isinstance(parts, list) else list(parts))
    if kind == "sync":
        created = _shared_client().chat.completions.create(**_ASK)
        return drain_sync(ChatStream(created, callbacks, **kw), mode)

    async def run() -> Outcome:
        creating = _shared_async_client().chat.completions.create(**_ASK)
        return await drain_async(AsyncChatStream(creating, callbacks, **kw), mode)

    return _loop().run_until_complete(run())


# The clients and the loop of `read`: making them, or a request with messages, costs more than most streams.
_ASK = {**CHAT, "messages": []}
_NEXT = [Body([])]


def _answer(request: httpx2.Request) -> httpx2.Response:
    return responding_with(_NEXT[0])(request)


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
