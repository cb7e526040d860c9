"""Measure the cost of forwarding, and the detection of a browser that leaves, and print both as Markdown.

- **Added latency**: a gateway writes the time into each chunk, one every 10 ms; a browser reads it directly and
  through each recipe under its server, and records the age. The difference of the medians is the forwarder's latency.
- **Leaving**: milliseconds from the browser's close to the moment the gateway sees it, median and worst of some
  rounds. While the SDK waits to retry there is no connection to close: the browser leaves 20 ms before the retry is
  due, and the cell shows the number of further requests.
- **At once**: many browsers read a stream of 30 ms chunks each through one process; every answer must be whole.

Run: `python tests/benchmarks/forward_latency.py [--rounds 10] [--streams 400] [SITE ...]`, after
`pip install -e .[test,starlette,fastapi,django,flask]`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

import cassette  # noqa: E402 - beside the tests
from chunks import DONE, event, finish, text  # noqa: E402
from sockets import eventually  # noqa: E402
from web import BROWSER_REQUEST, HAIKU_BODY, SITES, RawBrowser, serve_recipe, unused_port  # noqa: E402

from tensorloop_stream.replay import ReplayServer  # noqa: E402

CHUNKS, PACE = 200, 0.01
PATIENCE = 3.0
LEAD, RETRY_AFTER = 0.02, 0.3
PHASES: dict[str, dict[str, Any]] = {
    "mid-stream": {"delay": 0.03},
    "stalled": {"stall_after": 3},
    "before the first byte": {"first_delay": 2, "delay": 0.03},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("sites", nargs="*", metavar="SITE", help=f"of {', '.join(SITES)}")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--streams", type=int, default=400)
    arguments = parser.parse_args()
    names = arguments.sites or [name for name in SITES if name != "eventsource"]
    direct = statistics.median(ages(lambda gateway: gateway))
    print(f"chunk latency of the gateway itself, p50: {direct:.2f} ms\n")
    print("| site | added per chunk, p50 | p99 | " + " | ".join(PHASES) + " | waiting to retry: asked again |")
    print("|---|---|---|" + "---|" * (len(PHASES) + 1))
    for name in names:
        print(row(name, direct, arguments.rounds), flush=True)
    print(f"\nat once, through {names[0]}: {at_once(names[0], arguments.streams)}")


def row(name: str, direct: float, rounds: int) -> str:
    port = unused_port()
    with serve_recipe(name, port) as site:
        measured = sorted(ages(lambda _: site.port, port))
        p50, p99 = (measured[int(len(measured) * part)] - direct for part in (0.5, 0.99))
        cells = [f"{p50:.2f} ms", f"{p99:.2f} ms"]
        cells += [leaving(site.port, port, faults, rounds) for faults in PHASES.values()]
        cells.append(retrying(site.port, port, rounds))
    return f"| {name} | " + " | ".join(cells) + " |"


def ages(ask_at: Callable[[int], int], port: int = 0) -> list[float]:
    """Return the age of each chunk when it is read, in milliseconds."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=answer_once, args=(listener,))
        thread.start()
        with RawBrowser(ask_at(port)) as visitor:
            found = []
            while b"[DONE]" not in visitor.got:
                visitor.got = b""
                visitor.read()
                now = time.monotonic_ns()
                for piece in visitor.got.split(b'"content":"')[1:]:
                    sent = piece.partition(b'"')[0]
                    if sent.isdigit():
                        found.append((now - int(sent)) / 1e6)
        thread.join()
    # The first ones open connections and load modules.
    return found[10:]


def answer_once(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for _ in range(CHUNKS):
            connection.sendall(event(text(str(time.monotonic_ns()))))
            time.sleep(PACE)
        connection.sendall(event(finish()) + DONE)


def leaving(site: int, port: int, faults: dict[str, Any], rounds: int) -> str:
    took = []
    for _ in range(rounds):
        with (
            ReplayServer(cassette.FOLDER / "chat/haiku.yaml", port=port, **faults) as gateway,
            RawBrowser(site) as visitor,
        ):
            if "first_delay" not in faults:
                visitor.read_until(b"data: ")
            eventually(lambda: len(gateway.requests) == 1, PATIENCE)
            time.sleep(0.04)
            left = visitor.leave()
            if not eventually(lambda: len(gateway.disconnects) == 1, PATIENCE):
                return f"not within {PATIENCE:.0f} s"
            took.append(1000 * (gateway.disconnects[0].time - left))
    return f"{statistics.median(took):.1f} / {max(took):.1f} ms"


def retrying(site: int, port: int, rounds: int) -> str:
    again = 0
    for _ in range(rounds):
        faults: dict[str, Any] = {"status": 503, "retry_after": RETRY_AFTER}
        with (
            ReplayServer(cassette.FOLDER / "chat/haiku.yaml", port=port, **faults) as gateway,
            RawBrowser(site) as visitor,
        ):
            eventually(lambda: len(gateway.requests) == 1, PATIENCE)
            time.sleep(gateway.requests[0].time + RETRY_AFTER - LEAD - time.monotonic())
            visitor.leave()
            time.sleep(4 * LEAD)
            again += len(gateway.requests) > 1
    return f"{again} of {rounds}"


def at_once(name: str, streams: int) -> str:
    port = unused_port()
    with (
        serve_recipe(name, port) as site,
        ReplayServer(cassette.FOLDER / "chat/haiku.yaml", port=port, delay=0.03) as gateway,
    ):
        before, began = site.memory(), time.monotonic()
        whole = sum(asyncio.run(read_all(site.port, streams)))
        took, grown = time.monotonic() - began, site.memory() - before
        asked, left = len(gateway.requests), len(gateway.disconnects)
    return f"{whole} of {streams} whole in {took:.1f} s, {asked} asked, {left} left, {grown / 1e6:.0f} MB more"


async def read_all(port: int, streams: int) -> list[bool]:
    """Return for each stream whether all of its events arrived."""

    async def read() -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = json.dumps(BROWSER_REQUEST).encode()
        head = f"POST /chat HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        got = await reader.read()
        writer.close()
        return all(line in got for line in HAIKU_BODY.encode().splitlines())

    return await asyncio.gather(*(read() for _ in range(streams)))


if __name__ == "__main__":
    main()
