"""Many streams at once over loopback, with the server in its own process: python tests/benchmarks/loopback.py

The benchmark runs 1, 20, 200 and 1,000 streams in one event loop, and 20 in threads. It measures the chunks per
second that one core of the client takes (of its own CPU time, so neither the server nor other work counts), the age
of a chunk when it reaches the caller's loop, the cost of a request, and the memory of an open stream. Every text is
compared with the sent one.

"Paced" means one event per read: a stream gets its next event when the last has reached the loop. "Bursts" are ten at
once. The ages are those of the first chunks, which arrive at even distances, 500 a second of all streams together.
The runs are interleaved and medians count, because machines are noisy: compare the ratios of one run, not its
figures with those of another. Each way holds a thousand streams once, in a separate process.

Run `pip install "tensorloop_stream[aiohttp]" uvloop` before. `--streams 20` measures only that, `--svg` draws it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import bars
from loopback_clients import LIMITS, THREADED, WAYS, Way, iterating, text_stream
from loopback_run import SLOW_CHUNKS, Figures, Run
from loopback_server import Board
from machine import machine

SIZES, MANY = (1, 20, 200, 1000), 1000
BURST = 10


@dataclass
class Server:
    """The server process."""

    path: str
    port: int

    def __post_init__(self) -> None:
        self.board = Board(Path(self.path))


@contextmanager
def serving() -> Iterator[Server]:
    with tempfile.NamedTemporaryFile() as file:
        command = [sys.executable, str(Path(__file__).with_name("loopback_server.py")), file.name]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                yield Server(file.name, int(process.stdout.readline()))
            finally:
                process.terminate()


def measured(way: Way, server: Server, streams: int, burst: int = 1) -> Figures:
    # The slow chunks and a thousand of all streams, but at least ten of each.
    chunks = -(-SLOW_CHUNKS // streams) + max(1000 // streams, 10)
    run = Run(server.board, server.port, streams, chunks, burst)
    way(run)
    return run.figures


def measured_alone(way: Way, server: Server, streams: int) -> Figures:
    """Measure in a new process, whose memory is unused."""
    command = [sys.executable, __file__, "--alone", way.name, server.path, str(server.port), str(streams)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    figures: Figures = json.loads(done.stdout)
    return figures


def alone(name: str, path: str, port: str, streams: str) -> None:
    way, server = next(way for way in [*WAYS, *LIMITS] if way.name == name), Server(path, int(port))
    measured(way, server, 20)
    print(json.dumps(measured(way, server, int(streams))))


def interleaved(ways: list[Way], runs: int, measure: Callable[..., Figures], *arguments: object) -> dict[Way, Figures]:
    found: dict[Way, Figures] = {way: defaultdict(list) for way in ways}
    for _ in range(runs):
        for way in ways:
            for name, values in measure(way, *arguments).items():
                found[way][name] += values
    return found


def print_table(title: str, found: dict[Way, Figures], *, ages: bool = True, memory: bool = False) -> None:
    """Print the medians; ratios are to the first way."""
    columns = ["way of reading", "HTTP library", "loop", "chunks/s and core", "times the SDK's loop"]
    columns += ["age p50, ms", "age p99, ms"] * ages + ["CPU of a request, ms"] + ["KB per stream"] * memory
    print(f"\n### {title}\n\n| {' | '.join(columns)} |\n|---|---|---|{'---:|' * (len(columns) - 3)}")
    base = median(next(iter(found.values()))["chunk"])
    for way, each in found.items():
        cost, age = median(each["chunk"]), quantiles(each["age"], n=100)
        cells = [way.read.__doc__ or "", way.library, way.loop or "threads", f"{1e6 / cost:,.0f}", f"{base / cost:.1f}"]
        cells += [f"{age[49]:.2f}", f"{age[98]:.2f}"] * ages + [f"{median(each['request']):.1f}"]
        cells += [f"{median(each['memory']):.0f}"] * memory
        print(f"| {' | '.join(cells)} |", flush=True)


BARS = {
    "sdk_loop+httpx2+asyncio": "the SDK's documented loop",
    "iterating+httpx2+asyncio": "the same over an AsyncChatStream",
    "text_stream+httpx2+asyncio": "AsyncChatStream.text_stream",
    "iterating+direct reads+asyncio": "AsyncChatStream, direct reads",
    "text_stream+direct reads+asyncio": "text_stream, direct reads",
    "iterating+aiohttp+asyncio": "AsyncChatStream, aiohttp",
    "iterating+aiohttp+uvloop": "AsyncChatStream, aiohttp, uvloop",
    "text_stream+aiohttp+uvloop": "text_stream, aiohttp, uvloop",
    "bare++uvloop": "a bare protocol on uvloop, nothing parsed",
}


def draw(found: dict[Way, Figures]) -> str:
    """Return the important rows as a plain SVG of bars."""
    values = {way.name: 1e6 / median(each["chunk"]) for way, each in found.items()}
    rows = [
        (label, values[name], f"{values[name]:,.0f}", not name.startswith(("sdk", "bare")))
        for name, label in BARS.items()
    ]
    return bars.draw("Chunks per second and core, 20 streams at once over sockets (more is better)", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--streams", type=int, action="append", help="only so many at once; may be repeated")
    parser.add_argument("--runs", type=int, default=7, help="default: 7, and half as many but of 20")
    parser.add_argument("--svg", type=Path, help="draw the table of 20 streams into this file")
    parser.add_argument("--alone", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    # Each stream takes a descriptor here and in the server.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    if arguments.alone:
        alone(*arguments.alone)
        return
    print(f"{machine('openai', 'httpx2', 'aiohttp', 'uvloop')}; {arguments.runs} interleaved runs of 20 streams")
    with serving() as server:
        tables(server, arguments.streams or SIZES, arguments.runs, arguments.svg)


def tables(server: Server, sizes: tuple[int, ...], runs: int, svg: Path | None) -> None:
    ways = [*WAYS, *LIMITS]
    for way in [*ways, *THREADED]:
        measured(way, server, 20)
    for size in sizes:
        title = f"{size:,} stream{'s' * (size > 1)}"
        if size >= MANY:
            few = [way for way in ways if way.read is not text_stream and way.loop != "uvloop"]
            few += [way for way in ways if way.read is iterating and way.loop == "uvloop" and way.library != "httpx2"]
            print_table(f"{title}, paced", interleaved(few, 1, measured_alone, server, size), memory=True)
            continue
        found = interleaved(ways, runs if size == 20 else -(-runs // 2), measured, server, size)
        print_table(f"{title}, paced", found)
        if size == 20:
            if svg is not None:
                svg.write_text(draw(found), "utf-8")
            bursts = interleaved(ways, runs, measured, server, size, BURST)
            print_table(f"{title}, bursts of {BURST}", bursts, ages=False)
            print_table(f"{title}, paced, threads", interleaved(THREADED, runs, measured, server, size))


if __name__ == "__main__":
    main()
