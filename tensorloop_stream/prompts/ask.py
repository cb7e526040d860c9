"""Stream the answers to many prompts concurrently, under the limit of one key."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import openai

from tensorloop_stream._chat.streams import AsyncChatStream
from tensorloop_stream._retry import backoff, classify_error, retry_after

from .jsonl import build_answer
from .limits import LearningLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from openai.types.chat import ChatCompletion

    from .jsonl import Answer, Prompt
    from .limits import Limit

__all__ = ["ask", "ask_all"]


async def ask(
    client: openai.AsyncOpenAI,
    prompt: Prompt,
    limit: Limit,
    write: Callable[[Answer], object],
    *,
    requests: int = 5,
    idle_timeout: float = 300,
) -> None:
    """Stream the answer to one prompt and `write` it once: complete, or partial with its error.

    The limit governs each request. A 429 with `retry-after` pauses all requests under the limit, any number of times.
    Cuts, stalls and errors that the SDK would retry lead to at most `requests` requests. A stream without a chunk for
    `idle_timeout` seconds has stalled, whether or not keep-alive comments arrive; the client's own read timeout does
    not apply. A cancelled task writes the partial answer.

    Raises the SDK's error if the budget is spent or the key is refused, which every other prompt would meet too;
    `ValueError` if `requests` is below 1.
    """
    _require_one(requests=requests)
    client = _without_retries(client)
    timeout = with_read_timeout(client, idle_timeout)
    body = prompt.request
    stream: AsyncChatStream | None = None
    failures = 0
    try:
        while True:
            try:
                async with limit:
                    source = await client.chat.completions.create(
                        model=body["model"], messages=body["messages"], stream=True, extra_body=body, timeout=timeout
                    )
                if isinstance(limit, LearningLimit):
                    limit.observe(source.response.headers)
                stream = AsyncChatStream(source, first_chunk_timeout=idle_timeout, idle_timeout=idle_timeout)
                async with stream:
                    await stream.until_done()
            except openai.APIError as error:
                kind, wait = classify_error(error), _requested_wait(error)
                failures += kind != "wait" or wait is None
                if kind in {"stop", "fail"} or failures == requests:
                    if kind != "stop" or partial_completion(stream):
                        write(build_answer(prompt, partial_completion(stream), error))
                    if kind == "stop":
                        raise
                    return
            else:
                write(build_answer(prompt, stream.completion))
                return
            if wait is not None or kind == "wait":
                await limit.pause(wait or backoff(failures))
            else:
                await asyncio.sleep(backoff(failures))
    except asyncio.CancelledError as error:
        if completion := partial_completion(stream):
            write(build_answer(prompt, completion, error))
        raise


async def ask_all(
    client: openai.AsyncOpenAI,
    prompts: Iterable[Prompt],
    limit: Limit,
    write: Callable[[Answer], object],
    *,
    concurrency: int = 50,
    requests: int = 5,
    idle_timeout: float = 300,
) -> None:
    """Stream the answers to all prompts, `concurrency` of them at a time; each prompt is handled as by `ask`.

    Raises the first exception of `ask` or `write`, after the other requests are cancelled and their partial answers
    written. Raises `ValueError` if `concurrency` or `requests` is below 1.
    """
    _require_one(concurrency=concurrency, requests=requests)
    client = _without_retries(client)
    remaining = iter(prompts)

    async def work() -> None:
        for prompt in remaining:
            await ask(client, prompt, limit, write, requests=requests, idle_timeout=idle_timeout)

    first: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        first = errors.exceptions[0]
    if first is not None:
        raise first


def _require_one(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} is {number}: no request could be sent, so it must be 1 or more")


def with_read_timeout(client: openai.AsyncOpenAI, seconds: float) -> openai.Timeout:
    """Return the client's timeouts with another read timeout: a model may think for long before its first byte."""
    timeout = openai.Timeout(client.timeout)
    return openai.Timeout(connect=timeout.connect, read=seconds, write=timeout.write, pool=timeout.pool)


def _without_retries(client: openai.AsyncOpenAI) -> openai.AsyncOpenAI:
    """Return the client without its own retries, which would bypass the limit."""
    return client.with_options(max_retries=0) if client.max_retries else client


def partial_completion(stream: AsyncChatStream | None) -> ChatCompletion | None:
    """Return the partial completion of a stream; `None` if it has no choice."""
    completion = None if stream is None else stream.completion
    return completion if completion is not None and completion.choices else None


def _requested_wait(error: openai.APIError) -> float | None:
    """Return the seconds that the gateway's response asks to wait, if it names them."""
    return retry_after(error.response.headers, time.time()) if isinstance(error, openai.APIStatusError) else None
