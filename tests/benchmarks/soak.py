"""Read thousands of streams with random faults in one process, and fail if something of them stays behind.

python -m tensorloop_stream.replay cassettes/chat --delay 0 -- python tests/benchmarks/soak.py 20000
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import openai

from tensorloop_stream import AsyncChatStream, AsyncTensorloop, ChatStream, StreamError, Tensorloop

FAULTS = [
    "",
    "split=7",
    "crlf",
    "linger=9",
    "cut-after={}",
    "end-after={}",
    "error-after={}",
    "stall-after={}",
    "stall-after={}&ping=0.02",
    "status=500",
    "status=429",
    "delay=0.01",
]
LEAVING = ["end", "end", "text", "break", "exception", "cancel"]
EVENTS = 26  # in the recorded haiku
LIMITS: dict[str, Any] = {"first_chunk_timeout": 2, "idle_timeout": 0.5}
THREADS, TASKS = 16, 64
# Of descriptors, threads, tasks and MiB.
MOST_GROWTH = 0, 0, 0, 16.0


class LeftError(Exception):
    """The exception of a caller's own code."""


def asked(dice: random.Random) -> dict[str, Any]:
    faults = dice.choice(FAULTS).format(dice.randrange(EVENTS))
    return {
        "model": f"gpt-4o-mini?{faults}" if faults else "gpt-4o-mini",
        "stream": True,
        "messages": [{"role": "user", "content": "Stream a haiku about caching."}],
    }


def sync_stream(client: Tensorloop, dice: random.Random) -> None:
    how = dice.choice(LEAVING)
    source = client.chat.completions.create(**asked(dice))
    with ChatStream(source, **LIMITS) as stream:
        if how == "end":
            stream.get_final_completion()
        elif how == "text":
            "".join(stream.text_stream)
        else:
            for _ in stream:
                if how == "exception":
                    raise LeftError
                break


async def async_stream(client: AsyncTensorloop, dice: random.Random) -> None:
    how = dice.choice(LEAVING)
    source = client.chat.completions.create(**asked(dice))
    async with asyncio.timeout(dice.random() / 20 if how == "cancel" else None):
        async with AsyncChatStream(source, **LIMITS) as stream:
            if how in {"end", "cancel"}:
                await stream.get_final_completion()
            elif how == "text":
                _ = [text async for text in stream.text_stream]
            else:
                async for _ in stream:
                    if how == "exception":
                        raise LeftError
                    break


EXPECTED = (StreamError, LeftError, TimeoutError, openai.APIStatusError, openai.APIConnectionError)


def sync_round(count: int, seed: int) -> Counter[str]:
    results: Counter[str] = Counter()
    lock = threading.Lock()

    def run(number: int) -> None:
        try:
            sync_stream(client, random.Random(seed + number))
            result = "whole or left"
        except EXPECTED as error:
            result = type(error).__name__
        with lock:
            results[result] += 1

    with Tensorloop(max_retries=0) as client, ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, range(count)))
    return results


async def async_round(count: int, seed: int, http_client: httpx2.AsyncClient) -> Counter[str]:
    results: Counter[str] = Counter()
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            try:
                await async_stream(client, random.Random(seed + number))
                result = "whole or left"
            except EXPECTED as error:
                result = type(error).__name__
            results[result] += 1

    async with AsyncTensorloop(max_retries=0, http_client=http_client) as client, asyncio.TaskGroup() as tasks:
        for _ in range(TASKS):
            tasks.create_task(worker())
    return results


def report(when: str, done: int, begun: float) -> tuple[int, int, int, float]:
    """Print and return the descriptors, threads, tasks and MiB of the process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    descriptors = len(list(Path("/dev/fd").iterdir()))
    held = descriptors, threading.active_count(), len(asyncio.all_tasks()), pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    print(
        f"{when:>8} {done:7,} streams {time.monotonic() - begun:6.0f} s {held[0]:4} descriptors "
        f"{held[1]:3} threads {held[2]:3} tasks {held[3]:7.1f} MiB",
        flush=True,
    )
    return held


async def main(count: int) -> None:
    each, seed, begun = count // 12, 0, time.monotonic()
    results: Counter[str] = Counter()
    held = []
    # One round before the first figure loads late imports and fills pools.
    for when, rounds in (("start", 0.1), ("middle", 2), ("end", 2)):
        for _ in range(max(int(rounds), 1)):
            size = each if rounds >= 1 else max(int(each * rounds), 1)
            # In this thread, as in a synchronous program; the loop has no other work.
            results += sync_round(size, seed)
            for make in (httpx2.AsyncClient, openai.DefaultAioHttpClient):
                results += await async_round(size, seed + 1, make())
            seed += 2 * size
        await asyncio.sleep(0.5)  # lets threads and sockets end
        held.append(report(when, results.total(), begun))
    print(", ".join(f"{count} {name}" for name, count in results.most_common()))
    # From the middle to the end nothing may grow but the heap, a little, in pages that are partly used.
    grown = [now - before for before, now in zip(held[1], held[2], strict=True)]
    assert all(more <= most for more, most in zip(grown, MOST_GROWTH, strict=True)), f"grown by {grown}"


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
