"""Measure the CPU per forwarded chunk, with direct reads and without: python tests/benchmarks/forward_cost.py

A gateway's streams come from the in-process feed (`feed.py`), and go through `ForwardApp` to a server that counts the
chunks, or into Redis by `ResumableStreams`, alone and with a reader in the same process. The next event is sent when
the last one has passed. Both ways take turns; the median and the range of the ratios of all runs are printed. The web
server and Redis are not in the figures; without `redis-server` and redis-py the resumable streams are skipped.

Run: `python tests/benchmarks/forward_cost.py [--runs 7]`, after `pip install -e .[redis]`.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import shutil
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

from feed import BURST, MESSAGES, STREAMS, Run, Server, Way, print_table  # noqa: E402 - beside the package
from machine import machine  # noqa: E402
from web import run_server, unused_port  # noqa: E402

from tensorloop_stream import AsyncTensorloop, ForwardApp  # noqa: E402

REDIS = unused_port()
EVENT = b"data: {"


class Counter:
    """A reader of one stream, which lets the next events come."""

    def __init__(self, run: Run, index: int) -> None:
        self._run = run
        self._index = index
        self._number = 0
        self.has_ended = asyncio.Event()

    def add(self, data: bytes) -> None:
        for _ in range(data.count(EVENT)):
            self._number += 1
            self._run.reached(self._index, self._number)
        if self._number == self._run.chunks:
            self.has_ended.set()


def body_of(index: int) -> dict[str, Any]:
    return {"model": str(index), "messages": MESSAGES}


def forwarding(*, direct_reads: bool) -> Callable[[Run], Any]:
    async def read(run: Run) -> None:
        async def one(client: Any, index: int) -> None:
            counter = Counter(run, index)

            async def receive() -> dict[str, Any]:
                # The browser stays.
                await asyncio.Event().wait()
                raise AssertionError

            async def send(message: Any) -> None:
                counter.add(message.get("body", b""))

            await ForwardApp(client, body_of(index))({"type": "http"}, receive, send)
            assert counter.has_ended.is_set()

        async with AsyncTensorloop(api_key="none", base_url=run.server.url, direct_reads=direct_reads) as client:
            await asyncio.gather(*(one(client, index) for index in range(run.streams)))

    return read


def resuming(*, direct_reads: bool) -> Callable[[Run], Any]:
    from redis.asyncio import Redis

    from tensorloop_stream.resumable import ResumableStreams

    async def read(run: Run) -> None:
        async def one(streams: ResumableStreams, client: Any, index: int) -> None:
            counter, name = Counter(run, index), uuid.uuid4().hex
            await streams.start(name, client, body_of(index))
            async for data in await streams.read(name):
                counter.add(data)
            assert counter.has_ended.is_set()

        async with (
            AsyncTensorloop(api_key="none", base_url=run.server.url, direct_reads=direct_reads) as client,
            Redis(port=REDIS) as redis,
            ResumableStreams(redis, expires=60) as streams,
        ):
            await asyncio.gather(*(one(streams, client, index) for index in range(run.streams)))

    return read


def producing(*, direct_reads: bool) -> Callable[[Run], Any]:
    from redis.asyncio import Redis

    from tensorloop_stream.resumable import ResumableStreams
    from tensorloop_stream.resumable._log_store import Log, log_key

    append: Any = Log.append
    counters: dict[str, Counter] = {}

    async def append_and_count(log: Log, events: list[bytes]) -> None:
        await append(log, events)
        counters[log.key].add(b"".join(events))

    async def read(run: Run) -> None:
        async def one(streams: ResumableStreams, client: Any, index: int) -> None:
            name = uuid.uuid4().hex
            counter = counters[log_key(name)] = Counter(run, index)
            await streams.start(name, client, body_of(index))
            await counter.has_ended.wait()

        Log.append = append_and_count  # type: ignore[assignment, method-assign]
        try:
            async with (
                AsyncTensorloop(api_key="none", base_url=run.server.url, direct_reads=direct_reads) as client,
                Redis(port=REDIS) as redis,
                ResumableStreams(redis, expires=60) as streams,
            ):
                await asyncio.gather(*(one(streams, client, index) for index in range(run.streams)))
        finally:
            Log.append = append  # type: ignore[method-assign]

    return read


def compare(name: str, make: Callable[..., Callable[[Run], Any]], runs: int) -> None:
    server = Server(None)
    ways = [
        Way("direct reads off", make(direct_reads=False), "asyncio"),
        Way("direct reads on", make(direct_reads=True), "asyncio"),
    ]
    for pace, burst in (("paced", 1), (f"bursts of {BURST}", BURST)):
        print_table(f"{name}, {STREAMS} streams, {pace}", ways, server, burst, runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()
    print(f"{machine('openai', 'httpx2', 'redis', 'hiredis')}; {arguments.runs} interleaved runs")
    compare("ForwardApp", forwarding, arguments.runs)
    program = shutil.which("redis-server")
    if program is None or importlib.util.find_spec("redis") is None:
        print("\nneeds redis-server and redis-py: resumable streams are skipped")
        return
    with run_server([program, "--port", str(REDIS), "--save", ""], REDIS):
        compare("resumable, written", producing, arguments.runs)
        compare("resumable, written and read", resuming, arguments.runs)


if __name__ == "__main__":
    main()
