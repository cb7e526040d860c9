"""Measure the cost of streams that survive their reader and their web process, and print it as Markdown.

- **Added latency**: a gateway writes the time into each chunk; a browser records its age when it is read, directly
  and through the recipes. The difference of the medians is the latency of Redis and the web processes.
- **At once**: many streams of 30 ms chunks, begun one after the other, and measured while all of them run. Falling
  behind shows in the chunks per second, of which the gateway sends 33 a stream, and in their age. Gateway, browsers,
  web processes and Redis share the machine's cores; a web process is one thread.
- **Redis**: the memory of 1,000 streams of 100 events, until they expire.
- **A killed producer**: `kill -9` of the web process that streams; seconds until the last of 20 readers elsewhere
  has the error.
- **A cancel**: by another web process; milliseconds until the gateway sees it.

Run: `python tests/benchmarks/resumable.py [--streams 200] [--rounds 5]`, after
`pip install -e .[test,redis,starlette]` and with a `redis-server` on the path.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

import cassette  # noqa: E402 - beside the tests
from chunks import DONE, event, finish, text  # noqa: E402
from redis.asyncio import Redis  # noqa: E402
from sockets import eventually  # noqa: E402
from web import BROWSER_REQUEST, TIMEOUT, run_server, unused_port  # noqa: E402

from tensorloop_stream.replay import ReplayServer  # noqa: E402
from tensorloop_stream.resumable import ResumableStreams, _log_format, _log_store  # noqa: E402

REDIS, GATEWAY = unused_port(), unused_port()
ENVIRONMENT = {
    **os.environ,
    "REDIS_URL": f"redis://127.0.0.1:{REDIS}",
    "TENSORLOOP_BASE_URL": f"http://127.0.0.1:{GATEWAY}/v1",
    "TENSORLOOP_KEY": "tl_none",
}
# Streams, chunks of each, seconds between these, seconds in which all begin.
Load = tuple[int, int, float, float]
ONE: Load = (1, 300, 0.01, 0.0)
SENT_AT = re.compile(rb'"content":"(\d+)"')
BODY = json.dumps(BROWSER_REQUEST).encode()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gateway", nargs=3, type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.gateway:
        with suppress(KeyboardInterrupt):
            asyncio.run(be_gateway(*arguments.gateway))
        return
    server = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("redis", "hiredis", "uvicorn"))
    print(f"Python {platform.python_version()}, Redis {server}, {versions}; {os.cpu_count()} cores\n")
    with run_server([shutil.which("redis-server") or "", "--port", str(REDIS), "--save", ""], REDIS):
        latencies(arguments.streams)
        print(f"\nRedis: {asyncio.run(memory()) / 1e6:.1f} MB for 1,000 streams of 100 events of 250 bytes\n")
        known = sorted(killed() for _ in range(arguments.rounds))
        print(f"a killed producer is known to 20 readers after {known[0]:.1f} to {known[-1]:.1f} s")
        took = cancels(4 * arguments.rounds)
        print(f"a cancel reaches the gateway after {statistics.median(took):.1f} ms, at the worst {max(took):.1f} ms")


def latencies(streams: int) -> None:
    print(f"| | one stream: added, p50 | p99 | {streams} streams: chunks/s of {streams / 0.03:,.0f} | age, p50 | p99 |")
    print("|---|---|---|---|---|---|")
    direct: list[float] = []
    for name in ("the gateway itself", "forwarded, no Redis", "resumable", "resumable, read in another process"):
        with ExitStack() as stack:
            places = [GATEWAY]
            if name != "the gateway itself":
                recipe = "forward_starlette" if "no Redis" in name else "forward_resumable"
                places = [stack.enter_context(web(recipe)) for _ in range(2 if "another" in name else 1)]
            one, many = (asyncio.run(measure(name, places, load)) for load in (ONE, (streams, 300, 0.03, 4.0)))
        ages = [one.age(0.5), one.age(0.99)]
        direct = direct or ages
        row = [f"{age - direct[0]:.1f} ms" for age in ages]
        row += [f"{many.rate:,.0f}", f"{many.age(0.5):.1f} ms", f"{many.age(0.99):.1f} ms"]
        print("| " + " | ".join([name, *row]) + " |", flush=True)


@contextmanager
def web(recipe: str) -> Iterator[int]:
    port = unused_port()
    with run_server([sys.executable, str(ROOT / f"recipes/{recipe}.py")], port, {**ENVIRONMENT, "PORT": str(port)}):
        yield port


@dataclass
class Measured:
    """The ages in milliseconds of the chunks that arrived between two moments."""

    since: float = 0.0
    until: float = float("inf")
    ages: list[float] = field(default_factory=list)

    def add(self, sent: Iterable[bytes]) -> None:
        now = time.monotonic_ns()
        if self.since <= now / 1e9 <= self.until:
            self.ages += [(now - int(each)) / 1e6 for each in sent]

    def age(self, part: float) -> float:
        return sorted(self.ages)[int(len(self.ages) * part)]

    @property
    def rate(self) -> float:
        return len(self.ages) / (self.until - self.since)


async def measure(name: str, places: list[int], load: Load) -> Measured:
    streams, chunks, pace, ramp = load
    command = [sys.executable, __file__, "--gateway", str(GATEWAY), str(chunks), str(pace)]
    with run_server(command, GATEWAY):
        # The first request opens connections and loads modules.
        await read(name, places, Measured())
        began = time.monotonic()
        measured = Measured(began + ramp + 0.5, began + chunks * pace)
        readers = []
        for number in range(streams):
            await asyncio.sleep(began + number * ramp / streams - time.monotonic())
            readers.append(asyncio.create_task(read(name, places, measured)))
        await asyncio.gather(*readers)
    return measured


async def read(name: str, places: list[int], measured: Measured) -> None:
    path = f"/chat/{uuid.uuid4()}" if "resumable" in name else "/chat"
    reader, writer = await ask(places[0], "POST", path)
    if len(places) > 1:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        reader, writer = await ask(places[1], "GET", path)
    rest = tail = b""
    while b"[DONE]" not in rest:
        data = await reader.read(65536)
        if not data:
            raise SystemExit(f"{name}: broke off after {tail!r}")
        tail = (tail + data)[-300:]
        whole, mark, rest = (rest + data).rpartition(b"\n\n")
        measured.add(SENT_AT.findall(whole))
        if b"[DONE]" in whole:
            break
        rest = rest if mark else whole + rest
    writer.close()


async def ask(port: int, method: str, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    body = BODY if method == "POST" else b""
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    return reader, writer


async def be_gateway(port: float, chunks: float, pace: float) -> None:
    """Answer every request with this number of chunks at this pace, each with its sending time."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
            began = time.monotonic()
            for number in range(int(chunks)):
                await asyncio.sleep(began + number * pace - time.monotonic())
                writer.write(event(text(str(time.monotonic_ns()))))
            writer.write(event(finish()) + DONE)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", int(port), backlog=1024)
    await server.serve_forever()


async def memory() -> int:
    """Return the bytes that 1,000 streams of 100 events take in Redis."""
    async with Redis(port=REDIS) as redis, ResumableStreams(redis) as streams:
        await redis.flushall()
        before = (await redis.info("memory"))["used_memory"]
        line = event(text("x" * 58)).removesuffix(b"\n\n")
        for _ in range(1000):
            key, writes = _log_store.log_key(str(uuid.uuid4())), (streams._commands, streams._writer)
            log = await _log_store.Log.claim(*writes, key, "p:1", expires=600_000, lease=4000)
            assert log is not None
            await log.begin(_log_format.Head(200, {"Content-Type": "text/event-stream; charset=utf-8"}))
            await log.append([line] * 100)
            await log.flush()
            await log.end()
        return int((await redis.info("memory"))["used_memory"] - before)


def killed() -> float:
    """Return the seconds from the end of a web process until all readers elsewhere have the error."""
    haiku = cassette.FOLDER / "chat/haiku.yaml"
    with ReplayServer(haiku, port=GATEWAY, stall_after=5), web("forward_resumable") as other:
        port = unused_port()
        command = [sys.executable, str(ROOT / "recipes/forward_resumable.py")]
        with run_server(command, port, {**ENVIRONMENT, "PORT": str(port)}) as doomed:
            return asyncio.run(until_known(port, other, doomed))


async def until_known(port: int, other: int, doomed: subprocess.Popen[bytes]) -> float:
    path = f"/chat/{uuid.uuid4()}"
    reader, writer = await ask(port, "POST", path)
    await reader.readuntil(b"data: ")
    others = [await ask(other, "GET", path) for _ in range(20)]
    for each, _ in others:
        await each.readuntil(b"data: ")
    # A random moment between two heartbeats.
    await asyncio.sleep(time.monotonic_ns() % 10**9 / 1e9)
    doomed.kill()
    began = time.monotonic()
    await asyncio.wait_for(asyncio.gather(*(each.readuntil(b"producer_stopped") for each, _ in others)), TIMEOUT)
    took = time.monotonic() - began
    writer.close()
    for _, each_writer in others:
        each_writer.close()
    return took


def cancels(rounds: int) -> list[float]:
    """Return the milliseconds from a DELETE until the gateway sees its client leave."""
    took = []
    haiku = cassette.FOLDER / "chat/haiku.yaml"
    with web("forward_resumable") as one, web("forward_resumable") as other:
        for _ in range(rounds):
            with ReplayServer(haiku, port=GATEWAY, stall_after=5) as gateway:
                began = asyncio.run(cancel(one, other))
                took.append(1000 * (left(gateway) - began))
    return took


def left(gateway: ReplayServer) -> float:
    """Return the time at which the gateway saw its client leave."""
    if not eventually(lambda: len(gateway.disconnects) == 1, TIMEOUT):
        raise SystemExit(f"the gateway was not left within {TIMEOUT} s")
    return gateway.disconnects[0].time


async def cancel(one: int, other: int) -> float:
    path = f"/chat/{uuid.uuid4()}"
    reader, writer = await ask(one, "POST", path)
    await reader.readuntil(b"data: ")
    await asyncio.sleep(0.1)
    began = time.monotonic()
    reader, other_writer = await ask(other, "DELETE", path)
    await reader.read()
    writer.close()
    other_writer.close()
    return began


if __name__ == "__main__":
    main()
