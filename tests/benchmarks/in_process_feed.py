"""CPU per chunk over sockets, also on a busy machine: python tests/benchmarks/in_process_feed.py [--summary]

The server's end of each connection is in the measured process (`feed.py`), and the ways take turns there. Each run is
compared with the run of the SDK's documented loop next to it, and the median and the range of these ratios are
printed.

"Paced" is one event for each read, "bursts" are ten. `--summary` prints the table of the README, without TLS, and
draws it into the file of `--svg`. `--guard` measures a few ways, and fails at half of the claims.
`--peers` measures other libraries in place of ours, those that are installed: `pip install -e .[aiohttp,peers]`.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import bars  # noqa: E402 - beside the package
import feed_peers  # noqa: E402
import openai  # noqa: E402
from feed import BURST, MESSAGES, STREAMS, Run, Server, Way, certificate, compare, print_table  # noqa: E402
from machine import machine  # noqa: E402

from tensorloop_stream import AsyncTensorloop, Tensorloop  # noqa: E402

# Half of them is what the guard asks for.
CLAIMS = {"sync iterate": 10.0, "sync text_stream": 15.0, "async iterate": 8.0, "async text_stream": 11.0}
BASE = "the SDK's loop"


def sync_way(name: str, make: Callable[..., Any], *, is_text: bool = False, **settings: Any) -> Way:
    """Return a way to iterate a stream, or its `text_stream`."""

    def read(run: Run) -> None:
        with make(api_key="none", base_url=run.server.url, **settings) as client:
            stream = client.chat.completions.create(model="0", messages=MESSAGES, stream=True)
            number = 0
            for item in stream.text_stream if is_text else stream:
                if is_text or (item.choices and item.choices[0].delta.content):
                    number += 1
                    run.reached(0, number)
            assert number == run.chunks

    return Way(name, read)


def async_way(
    name: str, make: Callable[..., Any], *, is_text: bool = False, loop: str = "asyncio", **settings: Any
) -> Way:
    """Return the same for asynchronous code."""

    async def read(run: Run) -> None:
        async def one(client: Any, index: int) -> None:
            stream = await client.chat.completions.create(model=str(index), messages=MESSAGES, stream=True)
            number = 0
            async for item in stream.text_stream if is_text else stream:
                if is_text or (item.choices and item.choices[0].delta.content):
                    number += 1
                    run.reached(index, number)
            assert number == run.chunks

        async with make(api_key="none", base_url=run.server.url, **settings) as client:
            await asyncio.gather(*(one(client, index) for index in range(run.streams)))

    return Way(name, read, loop)


async def by_hand(run: Run) -> None:
    """Read as somebody does who writes the loop with aiohttp, and checks nothing."""
    import aiohttp
    import orjson  # type: ignore[import-not-found, unused-ignore]

    trusted = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))

    async def one(session: aiohttp.ClientSession, index: int) -> None:
        number = 0
        body = {"model": str(index), "messages": MESSAGES, "stream": True}
        async with session.post(f"{run.server.url}/chat/completions", json=body, ssl=trusted) as response:
            async for line in response.content:
                if line.startswith(b"data: {") and orjson.loads(line[6:])["choices"][0]["delta"].get("content"):
                    number += 1
                    run.reached(index, number)

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(one(session, index) for index in range(run.streams)))


SYNC = [
    sync_way(BASE, openai.OpenAI),
    sync_way("iterate", Tensorloop),
    sync_way("text_stream", Tensorloop, is_text=True),
    sync_way("iterate, direct reads off", Tensorloop, direct_reads=False),
    sync_way("text_stream, direct reads off", Tensorloop, is_text=True, direct_reads=False),
]
ASYNC = [
    async_way(BASE, openai.AsyncOpenAI),
    async_way("iterate", AsyncTensorloop),
    async_way("text_stream", AsyncTensorloop, is_text=True),
    async_way("iterate, direct reads off", AsyncTensorloop, direct_reads=False),
    async_way("text_stream, direct reads off", AsyncTensorloop, is_text=True, direct_reads=False),
]
UVLOOP = [
    async_way("iterate, uvloop", AsyncTensorloop, loop="uvloop"),
    async_way("text_stream, uvloop", AsyncTensorloop, is_text=True, loop="uvloop"),
]
BY_HAND = Way("aiohttp and orjson by hand, nothing checked", by_hand, "asyncio")


def has(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) for module in modules)


def guard() -> None:
    """Exit with the ways that are below half of their claims."""
    server = Server(None)
    failed = []
    for kind, ways in (("sync", SYNC[:3]), ("async", ASYNC[:3])):
        for name, (_, ratios) in compare(ways, server, 1, 5).items():
            claim = CLAIMS.get(f"{kind} {name}", 0.0)
            print(f"{kind} {name}: {median(ratios):.1f} times (claimed: {claim or '-'})")
            if median(ratios) < claim / 2:
                failed.append(f"{kind} {name}")
    if failed:
        raise SystemExit(f"below half of what is claimed: {', '.join(failed)}")


def print_summary(runs: int, svg: Path | None) -> None:
    """Print the times less CPU of four ways, and draw those of paced chunks."""
    print(f"{machine('openai', 'httpx2')}; {runs} interleaved runs\n")
    print(f"| reading | one event a read | {BURST} events a read |\n|---|---:|---:|")
    server = Server(None)
    rows = [("the SDK's loop", 1.0, "1", False)]
    for ways, labels in (
        (SYNC[:3], ("`for chunk in stream`", "`stream.text_stream`")),
        (ASYNC[:3], (f"`async for`, {STREAMS} streams", f"async `text_stream`, {STREAMS} streams")),
    ):
        paced, bursts = (compare(ways, server, burst, runs) for burst in (1, BURST))
        for way, label in zip(ways[1:], labels, strict=True):
            found = [ratios for _, ratios in (paced[way.name], bursts[way.name])]
            cells = [f"{median(each):.1f} ({min(each):.1f} to {max(each):.1f})" for each in found]
            print(f"| {label} | {' | '.join(cells)} |", flush=True)
            rows.append((label.replace("`", ""), median(found[0]), f"{median(found[0]):.1f}", True))
    if svg is not None:
        svg.write_text(
            bars.draw("Chunks for the same CPU over sockets, one event a read (more is better)", rows), "utf-8"
        )


def print_peers(runs: int) -> None:
    print(machine(*feed_peers.DISTRIBUTIONS))
    for peer in feed_peers.missing():
        print(f"\n{peer} is not installed, and skipped: pip install -e .[aiohttp,peers]")
    hand = [BY_HAND] if has("aiohttp", "orjson") else []
    server = Server(None)
    for pace, burst in (("paced", 1), (f"bursts of {BURST}", BURST)):
        print_table(f"sync, one stream, {pace}", [*SYNC[:3], *feed_peers.ways("")], server, burst, runs)
        ways = [*ASYNC[:3], *hand, *feed_peers.ways("asyncio")]
        print_table(f"async, {STREAMS} streams, {pace}", ways, server, burst, runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--guard", action="store_true")
    parser.add_argument("--summary", action="store_true")
    parser.add_argument("--svg", type=Path, help="draw the summary into this file")
    arguments = parser.parse_args()
    if arguments.guard:
        guard()
        return
    if arguments.summary:
        print_summary(arguments.runs, arguments.svg)
        return
    if arguments.peers:
        print_peers(arguments.runs)
        return
    print(f"{machine('openai', 'httpx2', 'aiohttp', 'orjson', 'uvloop')}; {arguments.runs} interleaved runs")
    ways = [*ASYNC, *(UVLOOP if has("uvloop") else []), *([BY_HAND] if has("aiohttp", "orjson") else [])]
    with certificate() as context:
        for kind, server in (("plain", Server(None)), *([("TLS", Server(context))] if context else [])):
            for pace, burst in (("paced", 1), (f"bursts of {BURST}", BURST)):
                for name, which in (("sync, one stream", SYNC), (f"async, {STREAMS} streams", ways)):
                    print_table(f"{name}, {kind}, {pace}", which, server, burst, arguments.runs)


if __name__ == "__main__":
    main()
