"""CPU per chunk, streams in memory, no sockets: python tests/benchmarks/in_memory.py [chunks]

Every way of reading takes the same bytes through the same SDK client and a transport in memory. The runs are
interleaved and the median counts, because machines are noisy: compare the ratios of one run, not its figures with
those of another.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import platform
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
import openai

from tensorloop_stream import AsyncChatStream, ChatStream

CHUNKS = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
RUNS = 7
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello?"}]}


class Body(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A stream of text as LiteLLM sends it, one event a read."""

    def __init__(self) -> None:
        envelope = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1795359264,
            "model": "gpt-4o-mini",
        }
        choices: list[Any] = [{"index": 0, "delta": {"content": f" word{number % 97}"}} for number in range(CHUNKS - 1)]
        choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        chunks = [json.dumps({**envelope, "choices": [choice]}, separators=(",", ":")) for choice in choices]
        self.events = [f"data: {chunk}\n\n".encode() for chunk in [*chunks, "[DONE]"]]

    def __iter__(self) -> Iterator[bytes]:
        yield from self.events

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for event in self.events:
            yield event


BODY = Body()


def answer(_: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=BODY)


CLIENT = openai.OpenAI(
    api_key="none",
    base_url="https://gateway.test/v1",
    http_client=httpx2.Client(transport=httpx2.MockTransport(answer)),
)
ASYNC_CLIENT = openai.AsyncOpenAI(
    api_key="none",
    base_url="https://gateway.test/v1",
    http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(answer)),
)


def sdk_loop() -> int:
    """The SDK's documented loop."""
    text = ""
    for chunk in CLIENT.chat.completions.create(**ASK, stream=True):
        text += chunk.choices[0].delta.content or ""
    return len(text)


def sdk_helper() -> int:
    """The SDK's `.stream()` helper and its final completion."""
    with CLIENT.chat.completions.stream(**ASK) as stream:
        return len(stream.get_final_completion().choices[0].message.content or "")


def iterating() -> int:
    """The same loop over a `ChatStream`."""
    text = ""
    with ChatStream(CLIENT.chat.completions.create(**ASK, stream=True)) as stream:
        for chunk in stream:
            text += chunk.choices[0].delta.content or ""
    return len(text)


def text_stream() -> int:
    """The text deltas alone."""
    with ChatStream(CLIENT.chat.completions.create(**ASK, stream=True)) as stream:
        return sum(map(len, stream.text_stream))


def final() -> int:
    """The final completion alone."""
    with ChatStream(CLIENT.chat.completions.create(**ASK, stream=True)) as stream:
        return len(stream.get_final_text())


def async_sdk_loop() -> int:
    """The SDK's documented loop, async."""

    async def run() -> int:
        text = ""
        async for chunk in await ASYNC_CLIENT.chat.completions.create(**ASK, stream=True):
            text += chunk.choices[0].delta.content or ""
        return len(text)

    return asyncio.run(run())


def async_iterating() -> int:
    """The same loop over an `AsyncChatStream`."""

    async def run() -> int:
        text = ""
        async with AsyncChatStream(ASYNC_CLIENT.chat.completions.create(**ASK, stream=True)) as stream:
            async for chunk in stream:
                text += chunk.choices[0].delta.content or ""
        return len(text)

    return asyncio.run(run())


def floor() -> int:
    """`json.loads` of the payloads alone, which makes no chunk."""
    return sum(len(json.loads(event[6:])["choices"][0]["delta"].get("content", "")) for event in BODY.events[:-1])


def measure(*ways: Callable[[], int]) -> dict[str, float]:
    """Return the median CPU of each way, in microseconds per chunk; all must read the same text."""
    assert len({way() for way in ways}) == 1
    spent: dict[str, list[float]] = {way.__name__: [] for way in ways}
    for _ in range(RUNS):
        for way in ways:
            before = time.process_time()
            way()
            spent[way.__name__].append((time.process_time() - before) / CHUNKS * 1e6)
    return {name: statistics.median(times) for name, times in spent.items()}


def main() -> None:
    ways = (sdk_loop, sdk_helper, iterating, text_stream, final, async_sdk_loop, async_iterating, floor)
    medians = measure(*ways)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("openai", "pydantic", "httpx2"))
    print(f"{CHUNKS} chunks, {RUNS} interleaved runs; Python {platform.python_version()}, {versions}\n")
    print("| way of reading | us CPU per chunk | times less than the SDK's loop |")
    print("|---|---:|---:|")
    for way in ways:
        base = medians["async_sdk_loop" if way.__name__.startswith("async") else "sdk_loop"]
        description = (way.__doc__ or "").removesuffix(".")
        print(f"| {description} | {medians[way.__name__]:.1f} | {base / medians[way.__name__]:.1f} |")


if __name__ == "__main__":
    main()
