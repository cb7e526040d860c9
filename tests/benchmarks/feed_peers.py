# mypy: disable-error-code="import-not-found, unused-ignore"
# The peers are seldom installed in the environment of the type checker.
"""Other libraries that read streams, each in the loop of its documentation, on the feed of `in_process_feed.py`."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from feed import MESSAGES, Run, Way

# litellm would look for prices in the network.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
MODULES = {
    "httpx and httpx-sse": "httpx_sse",
    "anthropic, `text_stream`": "anthropic",
    "litellm": "litellm",
    "langchain-openai": "langchain_openai",
    "pydantic-ai": "pydantic_ai",
}
DISTRIBUTIONS = (
    "openai",
    "aiohttp",
    "orjson",
    "httpx-sse",
    "httpx",
    "anthropic",
    "litellm",
    "langchain-openai",
    "pydantic-ai-slim",
)


def httpx_sse(url: str) -> Iterator[str]:
    import httpx
    from httpx_sse import connect_sse

    with (
        httpx.Client(timeout=60) as client,
        connect_sse(client, "POST", f"{url}/chat/completions", json=asked(0)) as source,
    ):
        for event in source.iter_sse():
            if event.data != "[DONE]":
                yield json.loads(event.data)["choices"][0]["delta"].get("content")


def httpx_sse_async(url: str) -> Callable[[int], AsyncIterator[str]]:
    import httpx
    from httpx_sse import aconnect_sse

    client = httpx.AsyncClient(timeout=60)

    async def read(index: int) -> AsyncIterator[str]:
        async with aconnect_sse(client, "POST", f"{url}/chat/completions", json=asked(index)) as source:
            async for event in source.aiter_sse():
                if event.data != "[DONE]":
                    yield json.loads(event.data)["choices"][0]["delta"].get("content")

    return read


def asked(index: int) -> dict[str, Any]:
    return {"model": str(index), "messages": MESSAGES, "stream": True}


def anthropic(url: str) -> Iterator[str]:
    from anthropic import Anthropic

    client = Anthropic(api_key="none", base_url=url.removesuffix("/v1"))
    with client.messages.stream(model="0", messages=MESSAGES, max_tokens=1024) as stream:
        yield from stream.text_stream


def anthropic_async(url: str) -> Callable[[int], AsyncIterator[str]]:
    from anthropic import AsyncAnthropic

    client = AsyncAnthropic(api_key="none", base_url=url.removesuffix("/v1"))

    async def read(index: int) -> AsyncIterator[str]:
        async with client.messages.stream(model=str(index), messages=MESSAGES, max_tokens=1024) as stream:
            async for text in stream.text_stream:
                yield text

    return read


def litellm(url: str) -> Iterator[str]:
    import litellm as library

    for part in library.completion(
        model="openai/0", messages=MESSAGES, api_base=url, api_key="none", stream=True, timeout=60
    ):
        yield part.choices[0].delta.content or ""


def litellm_async(url: str) -> Callable[[int], AsyncIterator[str]]:
    import litellm as library

    async def read(index: int) -> AsyncIterator[str]:
        response: Any = await library.acompletion(
            model=f"openai/{index}", messages=MESSAGES, api_base=url, api_key="none", stream=True, timeout=60
        )
        async for part in response:
            yield part.choices[0].delta.content or ""

    return read


def langchain_openai(url: str) -> Iterator[str]:
    from langchain_openai import ChatOpenAI

    model: Any = ChatOpenAI(model="0", base_url=url, api_key=lambda: "none")
    for chunk in model.stream("Hello?"):
        yield chunk.content


def langchain_openai_async(url: str) -> Callable[[int], AsyncIterator[str]]:
    from langchain_openai import ChatOpenAI

    async def read(index: int) -> AsyncIterator[str]:
        model: Any = ChatOpenAI(model=str(index), base_url=url, api_key=lambda: "none")
        async for chunk in model.astream("Hello?"):
            yield chunk.content

    return read


def pydantic_ai_async(url: str) -> Callable[[int], AsyncIterator[str]]:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(base_url=url, api_key="none")

    async def read(index: int) -> AsyncIterator[str]:
        agent: Any = Agent(OpenAIChatModel(str(index), provider=provider))
        async with agent.run_stream("Hello?") as result:
            # By default it waits a tenth of a second for more.
            async for text in result.stream_text(delta=True, debounce_by=None):
                yield text

    return read


SYNC: dict[str, Callable[[str], Iterator[str]]] = {
    "httpx and httpx-sse": httpx_sse,
    "anthropic, `text_stream`": anthropic,
    "litellm": litellm,
    "langchain-openai": langchain_openai,
}
ASYNC: dict[str, Callable[[str], Callable[[int], AsyncIterator[str]]]] = {
    "httpx and httpx-sse": httpx_sse_async,
    "anthropic, `text_stream`": anthropic_async,
    "litellm": litellm_async,
    "langchain-openai": langchain_openai_async,
    "pydantic-ai": pydantic_ai_async,
}


def missing() -> list[str]:
    """Return the peers that are not installed."""
    return [name for name, module in MODULES.items() if importlib.util.find_spec(module) is None]


def ways(loop: str) -> list[Way]:
    """Return the peers that are installed: in synchronous code, or on an event loop."""
    away = missing()
    if loop:
        return [Way(name, _async(make), loop) for name, make in ASYNC.items() if name not in away]
    return [Way(name, _sync(texts)) for name, texts in SYNC.items() if name not in away]


def _sync(texts: Callable[[str], Iterator[str]]) -> Callable[[Run], Any]:
    def read(run: Run) -> None:
        number = 0
        for text in texts(run.server.url):
            if text:
                number += 1
                run.reached(0, number)
        assert number == run.chunks

    return read


def _async(make: Callable[[str], Callable[[int], AsyncIterator[str]]]) -> Callable[[Run], Any]:
    async def read(run: Run) -> None:
        texts = make(run.server.url)

        async def one(index: int) -> None:
            number = 0
            async for text in texts(index):
                if text:
                    number += 1
                    run.reached(index, number)
            assert number == run.chunks

        await asyncio.gather(*(one(index) for index in range(run.streams)))

    return read
