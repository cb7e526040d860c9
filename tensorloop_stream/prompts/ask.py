"""Stream the answers to many prompts concurrently, under the limit of one key."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import openai

from tensorloop_stream._chat.streams import AsyncChatStream
from tensorloop_stream._retry import backoff, classify_error, retry_after

from .answer_file import require_open
from .jsonl import Prompt, build_answer
from .limits import LearningLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from openai.types.chat import ChatCompletion

    from .jsonl import Answer
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
    `ValueError` if `requests` is below 1 or the file of answers is not open, `TypeError` for a sync client and for what
    is no prompt.
    """
    _require_one(requests=requests)
    require_open(write)  # before a request, which is paid for
    await ask_in(Run(), _without_retries(client), prompt, limit, write, requests=requests, idle_timeout=idle_timeout)


class Run:
    """The tasks of a run that wait to send a request, and the error that ends the run."""

    def __init__(self) -> None:
        self.error: openai.OpenAIError | None = None
        self._waiting: set[asyncio.Task[object]] = set()

    def stop(self, error: openai.OpenAIError) -> None:
        """Let no further request be sent; the streams that are open are read to their end."""
        if self.error is None:
            self.error = error
            for task in self._waiting:
                task.cancel()

    @contextmanager
    def wait(self) -> Iterator[None]:
        """Mark this task as one that waits to send a request: it is cancelled when the run ends, or has ended."""
        task = asyncio.current_task()
        assert task is not None
        if self.error is not None:
            raise asyncio.CancelledError
        self._waiting.add(task)
        try:
            yield
        finally:
            self._waiting.discard(task)


async def ask_in(
    run: Run,
    client: openai.AsyncOpenAI,
    prompt: Prompt,
    limit: Limit,
    write: Callable[[Answer], object],
    *,
    requests: int = 5,
    idle_timeout: float = 300,
) -> None:
    """Do what `ask` does, as a part of a run; `client` makes no retries of its own."""
    if not isinstance(prompt, Prompt):
        raise TypeError(f"{prompt!r:.60} is {type(prompt).__name__}, and no prompt: give those of read_prompts(...)")
    timeout = with_read_timeout(client, idle_timeout)
    body = prompt.request
    stream: AsyncChatStream | None = None
    failures = 0
    try:
        while True:
            try:
                async with _Turn(limit, run):
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
            with run.wait():
                if wait is not None or kind == "wait":
                    await limit.pause(wait or backoff(failures))
                else:
                    await asyncio.sleep(backoff(failures))
    except asyncio.CancelledError as error:
        if completion := partial_completion(stream):
            write(build_answer(prompt, completion, error))
        raise


class _Turn:
    """The limit of a run, at which a task waits for its turn."""

    def __init__(self, limit: Limit, run: Run) -> None:
        self._limit = limit
        self._run = run

    async def __aenter__(self) -> None:
        with self._run.wait():
            await self._limit.__aenter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self._limit.__aexit__(exc_type, exc, exc_tb)


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

    Where the budget is spent or the key is refused, no further request is sent; the streams that are open are read to
    their end, because they are paid for, and then the error is raised. Any other exception, of `write` or a Ctrl-C, is
    raised after the other requests are cancelled and their partial answers written. Raises `ValueError` if
    `concurrency` or `requests` is below 1 or the file of answers is not open, `TypeError` for a sync client and for
    what is no prompt.
    """
    _require_one(concurrency=concurrency, requests=requests)
    require_open(write)  # before a request, which is paid for
    client = _without_retries(client)
    remaining = iter(prompts)
    run = Run()

    async def work() -> None:
        while run.error is None and (prompt := next(remaining, None)) is not None:
            try:
                await ask_in(run, client, prompt, limit, write, requests=requests, idle_timeout=idle_timeout)
            except openai.APIError as error:
                run.stop(error)

    first: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        first = errors.exceptions[0]
    if first := first or run.error:
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
    """Return the client without its own retries, which would bypass the limit; raises `TypeError` for a sync one."""
    if isinstance(client, openai.OpenAI):
        raise TypeError(f"{type(client).__name__} is a sync client: use an async one, such as AsyncTensorloop")
    return client.with_options(max_retries=0) if client.max_retries else client


def partial_completion(stream: AsyncChatStream | None) -> ChatCompletion | None:
    """Return the partial completion of a stream; `None` if it has no choice."""
    completion = None if stream is None else stream.completion
    return completion if completion is not None and completion.choices else None


def _requested_wait(error: openai.APIError) -> float | None:
    """Return the seconds that the gateway's response asks to wait, if it names them."""
    return retry_after(error.response.headers, time.time()) if isinstance(error, openai.APIStatusError) else None
