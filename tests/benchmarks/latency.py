"""Measure the time from the write of a chunk to its arrival in the caller's loop: python tests/benchmarks/latency.py

The server is in another process, and writes its time into each chunk. The streams take turns at a fixed rate of all of
them together. The ways take turns, too; each run is compared with the run of the SDK's documented loop next to it.
Other work on the machine makes the ages longer: compare the ratios. `--streams 100` measures only this number.
"""

from __future__ import annotations

import argparse
import resource
from statistics import median, quantiles

from machine import machine
from paced_clients import ASYNC, SYNC, UVLOOP, Figures, Way, interleaved, serving
from paced_server import Load

# Chunks a second of all streams, by the number of streams.
RATES = {1: 100, 100: 1000, 1000: 1000}
LEAST_CHUNKS = 5


def percentiles(figures: Figures) -> tuple[float, float]:
    """Return the milliseconds in which half of the chunks arrived, and 99 in 100."""
    found = quantiles(figures.ages, n=100)
    return found[49], found[98]


def load_of(streams: int, seconds: float) -> Load:
    rate = RATES.get(streams, 1000)
    return Load(streams, 1 + max(int(rate * seconds / streams), LEAST_CHUNKS), rate)


def print_table(title: str, ways: list[Way], url: str, load: Load, runs: int) -> None:
    print(f"\n{title}\n\n| | p50, ms | range | p99, ms | range | p50: times less | range | us CPU a chunk |")
    print("|---|---:|---|---:|---|---:|---|---:|")
    found = interleaved(ways, url, load, runs)
    base = [percentiles(each)[0] for each in found[ways[0].name]]
    for name, each in found.items():
        halves, most = zip(*map(percentiles, each), strict=True)
        ratios = [sdk / ours for sdk, ours in zip(base, halves, strict=True)]
        cells = [f"{median(values):.2f} | {min(values):.2f} to {max(values):.2f}" for values in (halves, most)]
        cells += [f"{median(ratios):.1f} | {min(ratios):.1f} to {max(ratios):.1f}"]
        cells += [f"{median(one.cpu for one in each):.0f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--streams", type=int, action="append", help="1, 100 and 1000 if not given")
    arguments = parser.parse_args()
    # Each stream takes a descriptor here and in the server.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"{machine('openai', 'httpx2', 'uvloop')}; {arguments.runs} interleaved runs")
    with serving() as url:
        for streams in arguments.streams or RATES:
            load = load_of(streams, arguments.seconds)
            how = f"{load.rate} chunks a second in all"
            if streams == 1:
                print_table(f"sync, one stream, {how}", SYNC, url, load, arguments.runs)
            title = f"async, {streams:,} stream{'s' * (streams > 1)}, {how}"
            print_table(title, [*ASYNC, *UVLOOP], url, load, arguments.runs)


if __name__ == "__main__":
    main()
