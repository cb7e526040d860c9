"""Use clients whose HTTP client is of this library, and print what comes of it: other_http_library.py httpx|httpx2.

A program of its own, since the tests call `httpx2` whatever library the SDK has.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
from chunks import HELLO, sse, text

from tensorloop_stream import AsyncTensorloop, Tensorloop, aforward_chat, forward_chat

BODY: dict[str, Any] = {"model": "m", "messages": [], "stream": True}
library: Any = importlib.import_module(sys.argv[1])


class Parts(library.SyncByteStream, library.AsyncByteStream):  # type: ignore[misc] # of either library
    """A body of these parts; an exception among them is raised."""

    def __init__(self, *parts: bytes | Exception) -> None:
        self.parts = parts

    def __iter__(self) -> Iterator[bytes]:
        for part in self.parts:
            if isinstance(part, Exception):
                raise part
            yield part

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self:
            yield part


def client(kind: Any, status: int, *parts: bytes | Exception) -> Any:
    """Return a client that gets this answer, and counts its requests in `answered`."""
    answered: list[Any] = []

    def handle(request: Any) -> Any:
        answered.append(request)
        headers = {"content-type": "text/event-stream", "retry-after-ms": "1"}
        return library.Response(status, headers=headers, stream=Parts(*parts))

    is_async, transport = kind is AsyncTensorloop, library.MockTransport(handle)
    if library.__name__ == "httpx2" and hasattr(openai, "DefaultHttpx2Client"):
        make = openai.DefaultAsyncHttpx2Client if is_async else openai.DefaultHttpx2Client
    else:
        make = library.AsyncClient if is_async else library.Client
    made = kind(api_key="tl_none", base_url="https://gateway.test/v1", http_client=make(transport=transport))
    made.answered = answered
    return made


async def settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def streamed(client: Any) -> list[Any]:
    """Return the text of a stream, or its error with the text so far, and the number of requests."""
    try:
        stream = await settled(client.chat.completions.create(**BODY))
        return [await settled(stream.get_final_text()), len(client.answered)]
    except openai.APIError as error:
        return [type(error).__name__, getattr(error, "text", ""), len(client.answered)]


async def forwarded(client: Any) -> int:
    """Return the status that a browser gets."""
    forward = forward_chat if isinstance(client, Tensorloop) else aforward_chat
    answer = await settled(forward(client, BODY))
    await settled(answer.close() if isinstance(client, Tensorloop) else answer.aclose())
    return int(answer.status_code)


async def outcomes(kind: Any) -> dict[str, Any]:
    """Return what comes of each answer."""
    begun = sse(text("Hel"), done=False)
    spent = b'{"error": {"message": "spent", "type": "budget_exceeded", "code": "400"}}'
    return {
        "whole": await streamed(client(kind, 200, sse(*HELLO))),
        "silent": await streamed(client(kind, 200, begun, library.ReadTimeout("silent"))),
        "cut": await streamed(client(kind, 200, begun, library.ReadError("reset"))),
        "retried": await streamed(client(kind, 503, b"{}")),
        "spent": await streamed(client(kind, 429, spent)),
        "cut refusal": await streamed(client(kind, 400, b'{"er', library.ReadError("reset"))),
        "forwarded": await forwarded(client(kind, 200, sse(*HELLO))),
        "forwarded, silent": await forwarded(client(kind, 200, library.ReadTimeout("silent"))),
        "forwarded, cut": await forwarded(client(kind, 200, library.ReadError("reset"))),
    }


print(json.dumps([asyncio.run(outcomes(kind)) for kind in (Tensorloop, AsyncTensorloop)]))
