"""The Responses API in memory: its streams by kind, and the ways of reading one, for in_memory.py."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
import openai

from tensorloop_stream import AsyncResponseStream, ResponseStream

KINDS = ("OpenAI's text", "LiteLLM's text", "tool arguments")
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "input": "Hello?"}
ENVELOPE: dict[str, Any] = {
    "id": "resp_1", "object": "response", "created_at": 1795359264, "model": "gpt-4o-mini", "output": [],
    "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "status": "in_progress",
}  # fmt: skip
USAGE = {
    "input_tokens": 20, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}, "output_tokens": 1,
    "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 21,
}  # fmt: skip


def events_of(kind: str, size: int) -> list[dict[str, Any]]:
    """Return the events of a stream with this number of deltas."""
    words = [f" word{number % 97}" for number in range(size)]
    is_call = kind == "tool arguments"
    ids = {"id": "fc_1", "call_id": "call_1"} if is_call else {"id": "msg_1"}
    place = {"item_id": ids["id"], "output_index": 0} | ({} if is_call else {"content_index": 0})
    # The bridge leaves out what the SDK requires.
    more: dict[str, Any] = {} if is_call or kind == "LiteLLM's text" else {"logprobs": []}
    name = "function_call_arguments" if is_call else "output_text"
    part = {"type": "output_text", "text": "".join(words), "annotations": []}
    whole: dict[str, Any] = {"type": "function_call", **ids, "name": "f", "arguments": "".join(words)}
    if not is_call:
        whole = {"type": "message", **ids, "role": "assistant", "status": "completed", "content": [part]}
    begun = whole | ({"arguments": ""} if is_call else {"content": [], "status": "in_progress"})
    end = {"arguments": "".join(words)} if is_call else {"text": "".join(words)} | more
    steps: list[dict[str, Any]] = [
        {"type": "response.created", "response": ENVELOPE},
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
    ]
    if not is_call:
        steps.append({"type": "response.content_part.added", **place, "part": part | {"text": ""}})
    steps += [{"type": f"response.{name}.delta", **place, "delta": word, **more} for word in words]
    steps += [
        {"type": f"response.{name}.done", **place, **end},
        {"type": "response.output_item.done", "output_index": 0, "item": whole},
        {
            "type": "response.completed",
            "response": ENVELOPE | {"status": "completed", "output": [whole], "usage": USAGE},
        },
    ]
    return [step | {"sequence_number": number} for number, step in enumerate(steps)]


class Body(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A stream of this kind, one event per read."""

    def __init__(self, kind: str, size: int) -> None:
        self.chunks = events_of(kind, size)
        payloads = [(each["type"], json.dumps(each, separators=(",", ":"))) for each in self.chunks]
        self.events = [f"event: {name}\ndata: {payload}\n\n".encode() for name, payload in payloads]

    def __iter__(self) -> Iterator[bytes]:
        yield from self.events

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for event in self.events:
            yield event


class Bench:
    """The ways of reading one stream of the Responses API to its end."""

    def __init__(self, body: Body) -> None:
        def answer(_: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=body)

        transport = httpx2.MockTransport(answer)
        settings: dict[str, Any] = {"api_key": "none", "base_url": "https://gateway.test/v1"}
        self.body = body
        self.client = openai.OpenAI(**settings, http_client=httpx2.Client(transport=transport))
        self.async_client = openai.AsyncOpenAI(**settings, http_client=httpx2.AsyncClient(transport=transport))

    def sdk_loop(self) -> None:
        """The SDK's documented loop"""
        for event in self.client.responses.create(**ASK, stream=True):
            assert event.type

    def sdk_helper(self) -> None:
        """The SDK's `.stream()` helper and its final response"""
        with self.client.responses.stream(**ASK) as stream:
            stream.get_final_response()

    def iterating(self) -> None:
        """The same loop over a `ResponseStream`"""
        with ResponseStream(self.client.responses.create(**ASK, stream=True)) as stream:
            for event in stream:
                assert event.type

    def text_stream(self) -> None:
        """`ResponseStream.text_stream`"""
        with ResponseStream(self.client.responses.create(**ASK, stream=True)) as stream:
            for _ in stream.text_stream:
                pass

    def final(self) -> None:
        """`ResponseStream.get_final_response()`"""
        with ResponseStream(self.client.responses.create(**ASK, stream=True)) as stream:
            stream.get_final_response()

    def async_sdk_loop(self) -> None:
        """The SDK's documented loop, async"""

        async def run() -> None:
            async for event in await self.async_client.responses.create(**ASK, stream=True):
                assert event.type

        asyncio.run(run())

    def async_iterating(self) -> None:
        """The same loop over an `AsyncResponseStream`"""

        async def run() -> None:
            async with AsyncResponseStream(self.async_client.responses.create(**ASK, stream=True)) as stream:
                async for event in stream:
                    assert event.type

        asyncio.run(run())

    @property
    def ways(self) -> list[Callable[[], None]]:
        return [
            self.sdk_loop,
            self.sdk_helper,
            self.iterating,
            self.text_stream,
            self.final,
            self.async_sdk_loop,
            self.async_iterating,
        ]
