"""CPU per chunk over sockets, also on a busy machine: python tests/benchmarks/in_process_feed.py [--guard]

The server's end of each connection is in the measured process, and sends the next event when the last one has reached
the caller's loop. No other process and no scheduler is in the figures, so other work costs time and little CPU. The
cost of sending is calibrated and subtracted. The ways take turns in one process. Each run is compared with the run of
the SDK's documented loop next to it, and the median and the range of these ratios are printed.

"Paced" is one event for each read, "bursts" are ten. `--guard` measures a few ways, and fails at half of the claims.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.util
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import openai  # noqa: E402 - beside the package

from tensorloop_stream import AsyncTensorloop, Tensorloop  # noqa: E402

STREAMS, ASYNC_CHUNKS, SYNC_CHUNKS, BURST = 20, 101, 501, 10
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
MESSAGES: Any = [{"role": "user", "content": "Hello?"}]
# Half of them is what the guard asks for.
CLAIMS = {"sync iterate": 10.0, "sync text_stream": 15.0, "async iterate": 8.0, "async text_stream": 11.0}


def event(number: int, *, last: bool) -> bytes:
    choice = {"index": 0, "delta": {"content": f" word{number % 97}"}, "finish_reason": "stop" if last else None}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1795359264, "model": "gpt-4o-mini"}
    data = b"data: " + json.dumps({**chunk, "choices": [choice]}, separators=(",", ":")).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


class Feed:
    """One stream's end at the server."""

    def __init__(self) -> None:
        self.is_open = threading.Event()

    def open(self, connection: socket.socket, parts: list[bytes], due: list[int]) -> None:
        self._connection, self._parts, self._due = connection, iter(parts), iter(due)
        self._next_at = next(self._due)
        self.send()
        self.is_open.set()

    def send(self) -> None:
        self._connection.sendall(next(self._parts))

    def reached(self, number: int) -> None:
        """Send what is next, if the chunk with this number was the last one under way."""
        if number == self._next_at:
            self._next_at = next(self._due, 0)
            self.send()


class Server:
    """Accepts connections in threads, and leaves each stream to its feed."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.feeds: dict[int, Feed] = {}
        self.chunks, self.burst = 0, 1
        self._context = context
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http{'s' * (context is not None)}://localhost:{listener.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, EOFError, ssl.SSLError):
            peer = _TLS(connection, self._context) if self._context else _Plain(connection)
            unread = b""
            while data := peer.receive():
                unread += data
                head, found, body = unread.partition(b"\r\n\r\n")
                if not found:
                    continue
                length = int(head.lower().partition(b"content-length:")[2].split()[0])
                if len(body) == length:
                    unread = b""
                    feed = self.feeds[int(json.loads(body)["model"])]
                    feed.open(connection, [peer.encode(part) for part in self._parts()], self._due())
        connection.close()

    def _parts(self) -> list[bytes]:
        events = [event(number, last=number == self.chunks - 1) for number in range(self.chunks)]
        rest = events[1:]
        bursts = [b"".join(rest[at : at + self.burst]) for at in range(0, len(rest), self.burst)]
        return [HEAD + events[0], *bursts, b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"]

    def _due(self) -> list[int]:
        return [1, *(min(at + self.burst, self.chunks) for at in range(1, self.chunks, self.burst))]


class _Plain:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def receive(self) -> bytes:
        return self._connection.recv(65536)

    def encode(self, data: bytes) -> bytes:
        return data


class _TLS(_Plain):
    """Encrypts ahead of time, so that the measured part only sends."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(connection)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._wait_for(self._tls.do_handshake)
        connection.sendall(self._outgoing.read())

    def _wait_for(self, step: Callable[[], Any]) -> Any:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                if self._outgoing.pending:
                    self._connection.sendall(self._outgoing.read())
                data = self._connection.recv(65536)
                if not data:
                    raise EOFError from None
                self._incoming.write(data)

    def receive(self) -> bytes:
        return bytes(self._wait_for(lambda: self._tls.read(65536)))

    def encode(self, data: bytes) -> bytes:
        self._tls.write(data)
        return self._outgoing.read()


@dataclass
class Run:
    """One run of one way."""

    server: Server
    streams: int
    chunks: int
    spent: float = 0.0
    _begun: float = 0.0
    _first: int = 0
    _left: int = field(init=False)

    def __post_init__(self) -> None:
        self._left = self.streams
        self.feeds = [Feed() for _ in range(self.streams)]
        self.server.feeds = dict(enumerate(self.feeds))
        self.server.chunks = self.chunks

    def reached(self, stream: int, number: int) -> None:
        """Count a chunk that reached the caller's loop, and let the next one come."""
        feed = self.feeds[stream]
        if number == 1:
            # All begin together, with their second chunks.
            feed.is_open.wait()
            self._first += 1
            if self._first == self.streams:
                gc.collect()
                self._begun = time.process_time()
                for each in self.feeds:
                    each.reached(1)
            return
        if number == self.chunks:
            self._left -= 1
            if not self._left:
                self.spent = time.process_time() - self._begun
        feed.reached(number)

    @property
    def microseconds(self) -> float:
        return self.spent / (self.streams * (self.chunks - 1)) * 1e6


@dataclass(frozen=True)
class Way:
    """A client, and a way to read: `iterate`, or `text_stream`."""

    name: str
    client: Callable[[str], Any]
    is_text: bool = False
    loop: str = ""


def read(way: Way, run: Run) -> None:
    with way.client(run.server.url) as client:
        stream = client.chat.completions.create(model="0", messages=MESSAGES, stream=True)
        number = 0
        for item in stream.text_stream if way.is_text else stream:
            if way.is_text or (item.choices and item.choices[0].delta.content):
                number += 1
                run.reached(0, number)
        assert number == run.chunks


async def aread(way: Way, client: Any, run: Run, index: int) -> None:
    stream = await client.chat.completions.create(model=str(index), messages=MESSAGES, stream=True)
    number = 0
    async for item in stream.text_stream if way.is_text else stream:
        if way.is_text or (item.choices and item.choices[0].delta.content):
            number += 1
            run.reached(index, number)
    assert number == run.chunks


async def aread_all(way: Way, run: Run) -> None:
    async with way.client(run.server.url) as client:
        await asyncio.gather(*(aread(way, client, run, index) for index in range(run.streams)))


async def by_hand(run: Run) -> None:
    """Read as somebody does who writes the loop with aiohttp, and checks nothing."""
    import aiohttp
    import orjson  # type: ignore[import-not-found, unused-ignore]

    async def one(session: aiohttp.ClientSession, index: int) -> None:
        number = 0
        body = {"model": str(index), "messages": MESSAGES, "stream": True}
        async with session.post(f"{run.server.url}/chat/completions", json=body, ssl=_trusted) as response:
            async for line in response.content:
                if line.startswith(b"data: {") and orjson.loads(line[6:])["choices"][0]["delta"].get("content"):
                    number += 1
                    run.reached(index, number)

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(one(session, index) for index in range(run.streams)))


_trusted: Any = True


def measure(way: Way, server: Server) -> float:
    if not way.loop:
        run = Run(server, 1, SYNC_CHUNKS)
        read(way, run)
        return run.microseconds
    run = Run(server, STREAMS, ASYNC_CHUNKS)
    factory: Any = asyncio.new_event_loop
    if way.loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(by_hand(run) if way.client is hand else aread_all(way, run))
    return run.microseconds


def sending(burst: int, *, tls: bool) -> float:
    """Return the microseconds of CPU that sending a chunk takes."""
    listener = socket.create_server(("127.0.0.1", 0))
    sender = socket.create_connection(listener.getsockname())
    sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    receiver, _ = listener.accept()
    part = b"x" * (len(event(1, last=False)) * burst + 22 * tls)
    spent = []
    for _ in range(40):
        begun = time.process_time()
        for _ in range(50):
            sender.sendall(part)
        spent.append((time.process_time() - begun) / 50 / burst * 1e6)
        left = 50 * len(part)
        while left:
            left -= len(receiver.recv(1 << 20))
    for each in (listener, sender, receiver):
        each.close()
    return median(spent)


def compare(ways: list[Way], server: Server, burst: int, runs: int) -> dict[str, tuple[float, list[float]]]:
    """Return the microseconds of each way, and its ratios to the first one; a first round warms up."""
    server.burst = burst
    cost = sending(burst, tls=server.url.startswith("https"))
    found: dict[str, list[float]] = {way.name: [] for way in ways}
    for number in range(runs + 1):
        for way in ways:
            took = measure(way, server) - cost
            if number:
                found[way.name].append(took)
    base = found[ways[0].name]
    return {
        name: (median(all_), [sdk / ours for sdk, ours in zip(base, all_, strict=True)]) for name, all_ in found.items()
    }


def sdk(url: str) -> Any:
    return openai.OpenAI(api_key="none", base_url=url)


def async_sdk(url: str) -> Any:
    return openai.AsyncOpenAI(api_key="none", base_url=url)


def ours(url: str) -> Any:
    return Tensorloop(api_key="none", base_url=url)


def async_ours(url: str) -> Any:
    return AsyncTensorloop(api_key="none", base_url=url)


def ours_off(url: str) -> Any:
    return Tensorloop(api_key="none", base_url=url, direct_reads=False)


def async_ours_off(url: str) -> Any:
    return AsyncTensorloop(api_key="none", base_url=url, direct_reads=False)


def hand(url: str) -> Any:
    raise NotImplementedError(url)  # `by_hand` reads


SYNC = [
    Way("the SDK's loop", sdk),
    Way("iterate", ours),
    Way("text_stream", ours, is_text=True),
    Way("iterate, direct reads off", ours_off),
    Way("text_stream, direct reads off", ours_off, is_text=True),
]
ASYNC = [
    Way("the SDK's loop", async_sdk, loop="asyncio"),
    Way("iterate", async_ours, loop="asyncio"),
    Way("text_stream", async_ours, is_text=True, loop="asyncio"),
    Way("iterate, direct reads off", async_ours_off, loop="asyncio"),
    Way("text_stream, direct reads off", async_ours_off, is_text=True, loop="asyncio"),
]
UVLOOP = [
    Way("iterate, uvloop", async_ours, loop="uvloop"),
    Way("text_stream, uvloop", async_ours, is_text=True, loop="uvloop"),
]


@contextmanager
def certificate() -> Iterator[ssl.SSLContext | None]:
    """Yield a server's context, whose certificate every client of this process trusts; `None` without openssl."""
    global _trusted  # noqa: PLW0603 - of this process
    openssl = shutil.which("openssl")
    if openssl is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        files = ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"]
        names = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", *names, *files]
        subprocess.run(command, check=True, capture_output=True)
        os.environ["SSL_CERT_FILE"] = f"{folder}/cert.pem"
        _trusted = ssl.create_default_context(cafile=f"{folder}/cert.pem")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
        yield context


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--guard", action="store_true")
    arguments = parser.parse_args()
    if arguments.guard:
        guard()
        return
    ways = [*ASYNC, *(UVLOOP if importlib.util.find_spec("uvloop") else [])]
    if importlib.util.find_spec("aiohttp") and importlib.util.find_spec("orjson"):
        ways.append(Way("aiohttp and orjson by hand, nothing checked", hand, loop="asyncio"))
    with certificate() as context:
        for kind, server in (("plain", Server(None)), *([("TLS", Server(context))] if context else [])):
            for pace, burst in (("paced", 1), ("bursts of ten", BURST)):
                for name, which in (("sync, one stream", SYNC), (f"async, {STREAMS} streams", ways)):
                    print(f"\n{name}, {kind}, {pace}\n\n| | us a chunk | times less CPU | range |\n|---|---|---|---|")
                    for way, (took, ratios) in compare(which, server, burst, arguments.runs).items():
                        span = f"{min(ratios):.1f} to {max(ratios):.1f}"
                        print(f"| {way} | {took:.1f} | {median(ratios):.1f} | {span} |", flush=True)


if __name__ == "__main__":
    main()
