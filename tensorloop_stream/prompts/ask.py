"""Stream the answers to many prompts at once, under the limit of one key."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import openai

from tensorloop_stream._retry import backoff, classify_error, retry_after
from tensorloop_stream._stream.async_stream import AsyncChatStream

from .jsonl import answer_to

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
    """Stream the answer to one prompt and give it to `write`, once: whole, or what came of it with its error.

    Each request is sent under the limit. Told to wait (a 429 with `retry-after`), all who share the limit do, as
    often as it takes; after cuts, stalls and errors that the SDK would retry, up to `requests` requests are made.
    A stream that is silent for `idle_timeout` seconds is a stall, keep-alive comments or not; the client's own read
    timeout does not count. A cancelled task gives what had come to `write`.

    Raises the SDK's error if the budget is spent or the key refused: then no other prompt need be asked; `ValueError`
    if `requests` is below 1.
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
                stream = AsyncChatStream(source, first_chunk_timeout=idle_timeout, idle_timeout=idle_timeout)
                async with stream:
                    await stream.until_done()
            except openai.APIError as error:
                means, wait = classify_error(error), _requested_wait(error)
                failures += means != "wait" or wait is None
                if means in {"stop", "fail"} or failures == requests:
                    if means != "stop" or partial_completion(stream):
                        write(answer_to(prompt, partial_completion(stream), error))
                    if means == "stop":
                        raise
                    return
            else:
                write(answer_to(prompt, stream.completion))
                return
            if wait is not None or means == "wait":
                await limit.pause(wait or backoff(failures))
            else:
                await asyncio.sleep(backoff(failures))
    except asyncio.CancelledError as error:
        if completion := partial_completion(stream):
            write(answer_to(prompt, completion, error))
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
    """Ask as many prompts at once as `concurrency` says, until all are answered; the rest is as in `ask`.

    Raises what `ask` or `write` raised first; the others are cancelled, and what came of them is written. Raises
    `ValueError` if `concurrency` or `requests` is below 1.
    """
    _require_one(concurrency=concurrency, requests=requests)
    client = _without_retries(client)
    todo = iter(prompts)

    async def work() -> None:
        for prompt in todo:
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
            raise ValueError(f"{name} is {number}: with fewer than 1, nothing is asked")


def with_read_timeout(client: openai.AsyncOpenAI, seconds: float) -> openai.Timeout:
    """Return the client's timeout with another limit for the next byte: a model may think for long before its first."""
    timeout = openai.Timeout(client.timeout)
    return openai.Timeout(connect=timeout.connect, read=seconds, write=timeout.write, pool=timeout.pool)


def _without_retries(client: openai.AsyncOpenAI) -> openai.AsyncOpenAI:
    """Return the same client without retries of its own, which no limit would see."""
    return client.with_options(max_retries=0) if client.max_retries else client


def partial_completion(stream: AsyncChatStream | None) -> ChatCompletion | None:
    """Return what came of an answer, if anything did."""
    completion = None if stream is None else stream.completion
    return completion if completion is not None and completion.choices else None


def _requested_wait(error: openai.APIError) -> float | None:
    """Return the seconds that the gateway asks to wait, if its response names them."""
    return retry_after(error.response.headers, time.time()) if isinstance(error, openai.APIStatusError) else None
