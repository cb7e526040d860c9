"""Faults of real processes, under the checker of histories: python tests/resumable/fault_processes.py --seed 3

As `fault_matrix`, with few schedules: the producer is a process that is killed or stopped by a signal, and so is a
Redis server of its own, which comes back with what it had on disk, or empty. The readers are in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1] / "support"), str(Path(__file__).parents[2])]

import httpx2
import openai
from fault_matrix import PATIENCE, Answering, Gateway, Outcome, Replica, Schedule, connect, says_retry, schedule_of
from redis.asyncio import Redis
from redis_servers import redis_server
from stream_history import Connection, Event, History, faults_of
from web import unused_port

from tensorloop_stream.resumable import ResumableStreams

# As in `fault_matrix`: a lease whose end is waited for, and one that a busy machine does not reach.
REAL_LEASE, LONG_LEASE = 1.0, 8.0
# The signal, whom it hits, and how long the process stays stopped, or Redis away.
FAULTS = [
    ("producer", signal.SIGKILL, 0.0),
    ("producer", signal.SIGSTOP, REAL_LEASE / 4),
    ("producer", signal.SIGSTOP, 2 * REAL_LEASE),
    ("redis", signal.SIGSTOP, REAL_LEASE / 4),
    ("redis", signal.SIGSTOP, 2 * REAL_LEASE),
    ("redis on disk", signal.SIGKILL, 0.1),
    ("redis", signal.SIGKILL, 0.1),
    ("two producers", signal.SIGKILL, 0.0),
]


@dataclass(frozen=True, slots=True)
class RealSchedule:
    """A fault of a process, and when it comes after the first event."""

    who: str
    signal: signal.Signals
    length: float
    at: float
    answer: Schedule

    @property
    def is_survived(self) -> bool:
        """Whether no reader may notice it."""
        return self.who == "redis on disk" or self.length == REAL_LEASE / 4

    @property
    def lease(self) -> float:
        return LONG_LEASE if self.is_survived else REAL_LEASE

    def __str__(self) -> str:
        fault = f"{self.signal.name} of {self.who} after {self.at:.2f} s, for {self.length} s"
        return f"seed {self.answer.seed}: {self.answer.events} events, {self.answer.pause:.3f} s apart; {fault}"


def real_schedule_of(seed: int) -> RealSchedule:
    rng = random.Random(seed)
    answer = replace(schedule_of(seed), events=40, burst=2, pause=rng.uniform(0.02, 0.08), ending="done")
    return RealSchedule(*FAULTS[seed % len(FAULTS)], rng.uniform(0, 0.5), answer)


async def produce(seed: int, name: str, redis_port: int) -> None:
    """Produce the answer of a seed in this process, and say whether it asks the gateway."""
    gateway = Gateway()
    gateway.answers[name], gateway.schedules[name] = [], real_schedule_of(seed).answer
    http_client = httpx2.AsyncClient(transport=gateway)
    async with (
        Redis.from_url(f"redis://127.0.0.1:{redis_port}") as redis,
        openai.AsyncOpenAI(api_key="none", base_url="http://gateway.test/v1", http_client=http_client) as client,
        ResumableStreams(redis, lease=real_schedule_of(seed).lease) as streams,
    ):
        if await streams.start(name, client, {"model": name, "messages": []}):
            print("asked", flush=True)
        while streams._producers:  # noqa: ASYNC110 - nothing tells when it ends
            await asyncio.sleep(0.02)


async def run_real(seed: int) -> Outcome:
    """Run the schedule of a seed with processes of its own."""
    schedule, name = real_schedule_of(seed), uuid.uuid4().hex
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        kept = ["--appendonly", "yes", "--appendfsync", "always", "--dir", folder]
        options = kept if schedule.who == "redis on disk" else []
        port = unused_port()

        def serve() -> subprocess.Popen[bytes]:
            return stack.enter_context(redis_server(port, *options))

        server = await asyncio.to_thread(serve)
        command = [sys.executable, __file__, "--produce", str(seed), name, str(port)]
        count = 2 if schedule.who == "two producers" else 1
        producers = [_popen(command) for _ in range(count)]
        for each in producers:
            stack.enter_context(each)
            stack.callback(each.kill)
        async with AsyncExitStack() as closing:
            readers = [Replica(number, port, 3, schedule.lease) for number in range(2)]
            for reader in readers:
                await reader.open()
                closing.push_async_callback(reader.close)
                closing.callback(reader.link.close)
            histories: dict[str, Sequence[Connection]] = {}
            found: list[str] = []
            try:
                async with asyncio.timeout(2 * PATIENCE):
                    await _wait_for_event(readers[0], name)
                works = [_read(histories, f"reader {number}", reader, name) for number, reader in enumerate(readers)]
                async with asyncio.timeout(PATIENCE):
                    await asyncio.gather(*works, _fault(schedule, producers[0], server, serve))
                    await _read(histories, "late reader", readers[1], name)
            except TimeoutError:
                found.append("it did not end")
        asked = 0
        for each in producers:
            each.send_signal(signal.SIGCONT)
            asked += (await asyncio.to_thread(each.communicate, timeout=PATIENCE))[0].count("asked")
    if asked > 1:
        found.append(f"the gateway was asked {asked} times")
    may_lose = schedule.who == "redis" and schedule.signal == signal.SIGKILL
    answer = Answering(name, 0, schedule.answer).whole()
    history = History([answer], histories, may_lose=may_lose, must_finish=schedule.is_survived, others=found)
    return Outcome(schedule.answer, faults_of(history), schedule.is_survived, is_whole=False)


def _popen(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def _wait_for_event(replica: Replica, name: str) -> None:
    """Wait until the producer has begun; a process takes seconds to start."""
    while not (await connect(replica, name, None, 1)).items:  # noqa: ASYNC110 - it is another process
        await asyncio.sleep(0.2)


async def _fault(schedule: RealSchedule, producer: Any, server: Any, again: Callable[[], Any]) -> None:
    """Send the signal, and let the process continue, or Redis run again."""
    await asyncio.sleep(schedule.at)
    process = server if schedule.who.startswith("redis") else producer
    process.send_signal(schedule.signal)
    await asyncio.sleep(schedule.length)
    if schedule.signal == signal.SIGSTOP:
        process.send_signal(signal.SIGCONT)
    elif process is server:
        await asyncio.to_thread(process.wait)
        await asyncio.to_thread(again)


async def _read(histories: dict[str, Sequence[Connection]], reader: str, replica: Replica, name: str) -> None:
    """Read to the end as a browser, which leaves once."""
    connections: list[Connection] = []
    histories[reader] = connections
    last: str | None = None
    for turn in range(12):
        connection = await connect(replica, name, last, 3 if turn == 0 else 1000)
        connections.append(connection)
        ids = [item.id for item in connection.items if isinstance(item, Event)]
        last = ids[-1] if ids else last
        if connection.ended:
            if not says_retry(connection):
                return
            await asyncio.sleep(REAL_LEASE / 2)


async def run_all_real(seeds: Sequence[int], concurrency: int = 2) -> list[Outcome]:
    """Run the schedules of these seeds, a few at a time."""
    limit = asyncio.Semaphore(concurrency)

    async def run(seed: int) -> Outcome:
        async with limit:
            return await run_real(seed)

    return await asyncio.gather(*map(run, seeds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, help="run this seed, and print its schedule")
    parser.add_argument("--schedules", type=int, default=len(FAULTS), help="how many seeds to run")
    parser.add_argument("--produce", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.produce:
        seed, name, port = options.produce
        asyncio.run(produce(int(seed), name, int(port)))
        return
    seeds = range(options.schedules) if options.seed is None else [options.seed]
    outcomes = asyncio.run(run_all_real(seeds))
    for seed, outcome in zip(seeds, outcomes, strict=True):
        print(real_schedule_of(seed), *(f"\n  FAULT: {each}" for each in outcome.faults))
    sys.exit(any(outcome.faults for outcome in outcomes))


if __name__ == "__main__":
    main()
