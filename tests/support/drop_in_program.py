"""A program written for the OpenAI SDK, which knows nothing of this package; run with either client."""

from __future__ import annotations

from typing import Any

import openai


def loop(client: openai.OpenAI, ask: Any) -> str:
    """The documented loop."""
    text = ""
    for chunk in client.chat.completions.create(**ask, stream=True):
        if chunk.choices and chunk.choices[0].delta.content:
            text += chunk.choices[0].delta.content
    return text


def with_block(client: openai.OpenAI, ask: Any) -> list[Any]:
    """A stream as a context manager, left early."""
    with client.chat.completions.create(**ask, stream=True) as stream:
        return [stream.response.status_code, isinstance(stream, openai.Stream), next(stream), next(stream)]


def helper(client: openai.OpenAI, ask: Any) -> Any:
    """The SDK's own helper: events, then the final completion."""
    with client.chat.completions.stream(**ask) as stream:
        events = [event.type for event in stream]
        return events, stream.get_final_completion()


def catches(client: openai.OpenAI, ask: Any) -> str:
    """The documented except clauses, the most special first."""
    try:
        return loop(client, ask)
    except openai.APITimeoutError:
        return "timeout"
    except openai.APIConnectionError:
        return "connection"
    except openai.RateLimitError as error:
        return f"rate limit {error.status_code}"
    except openai.APIStatusError as error:
        return f"status {error.status_code}"
    except openai.APIError as error:
        return f"error {error.code} {error.body}"


def raw(client: openai.OpenAI, ask: Any) -> Any:
    """The raw response and its parsed stream, and the streamed response's lines."""
    response = client.chat.completions.with_raw_response.create(**ask, stream=True)
    chunks = list(response.parse())
    with client.chat.completions.with_streaming_response.create(**ask, stream=True) as streamed:
        return response.http_response.status_code, chunks, list(streamed.iter_lines())


def not_streamed(client: openai.OpenAI, ask: Any) -> Any:
    """An answer in one piece."""
    return client.chat.completions.create(**ask)


async def async_loop(client: openai.AsyncOpenAI, ask: Any) -> str:
    """The documented loop, with `await`."""
    text = ""
    async for chunk in await client.chat.completions.create(**ask, stream=True):
        if chunk.choices and chunk.choices[0].delta.content:
            text += chunk.choices[0].delta.content
    return text


async def async_helper(client: openai.AsyncOpenAI, ask: Any) -> Any:
    """The SDK's own helper, asynchronous."""
    async with client.chat.completions.stream(**ask) as stream:
        events = [event.type async for event in stream]
        return events, await stream.get_final_completion()
