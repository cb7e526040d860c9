"""A program for the OpenAI SDK that does not import this package; it runs with either client."""

from __future__ import annotations

from typing import Any

import openai


def loop(client: openai.OpenAI, ask: Any) -> str:
    """Run the loop of the SDK's documentation."""
    text = ""
    for chunk in client.chat.completions.create(**ask, stream=True):
        if chunk.choices and chunk.choices[0].delta.content:
            text += chunk.choices[0].delta.content
    return text


def with_block(client: openai.OpenAI, ask: Any) -> list[Any]:
    """Use a stream as a context manager, and leave it early."""
    with client.chat.completions.create(**ask, stream=True) as stream:
        return [stream.response.status_code, isinstance(stream, openai.Stream), next(stream), next(stream)]


def helper(client: openai.OpenAI, ask: Any) -> Any:
    """Use the SDK's own helper: events, then the final completion."""
    with client.chat.completions.stream(**ask) as stream:
        events = [event.type for event in stream]
        return events, stream.get_final_completion()


def catches(client: openai.OpenAI, ask: Any) -> str:
    """Return which `except` clause of the SDK's documentation catches an error."""
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
    """Read the raw response, its parsed stream, and the lines of the streamed response."""
    response = client.chat.completions.with_raw_response.create(**ask, stream=True)
    chunks = list(response.parse())
    with client.chat.completions.with_streaming_response.create(**ask, stream=True) as streamed:
        return response.http_response.status_code, chunks, list(streamed.iter_lines())


def not_streamed(client: openai.OpenAI, ask: Any) -> Any:
    """Return an unstreamed answer."""
    return client.chat.completions.create(**ask)


async def async_loop(client: openai.AsyncOpenAI, ask: Any) -> str:
    """Run the loop of the SDK's documentation with `await`."""
    text = ""
    async for chunk in await client.chat.completions.create(**ask, stream=True):
        if chunk.choices and chunk.choices[0].delta.content:
            text += chunk.choices[0].delta.content
    return text


async def async_helper(client: openai.AsyncOpenAI, ask: Any) -> Any:
    """Use the SDK's own asynchronous helper."""
    async with client.chat.completions.stream(**ask) as stream:
        events = [event.type async for event in stream]
        return events, await stream.get_final_completion()
