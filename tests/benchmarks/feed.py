"""The server's end of streams in the measured process: it sends the next event when the last one reached the caller.

No other process and no scheduler is in the figures, so other work costs time and little CPU. The cost of sending is
calibrated, to be subtracted.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from statistics import median
from typing import Any

STREAMS, ASYNC_CHUNKS, SYNC_CHUNKS, BURST = 20, 101, 501, 10
MESSAGES: Any = [{"role": "user", "content": "Hello?"}]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
DONE = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
PATIENCE = 120


def word(number: int) -> str:
    return f" word{number % 97}"


def event(number: int, *, last: bool) -> bytes:
    choice = {"index": 0, "delta": {"content": word(number)}, "finish_reason": "stop" if last else None}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1795359264, "model": "gpt-4o-mini"}
    return framed(b"data: " + as_json({**chunk, "choices": [choice]}) + b"\n\n")


def as_json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def parts_of(chunks: int, burst: int) -> list[bytes]:
    """Return what is sent in one step each: the head and the first chunk, the others, the end."""
    events = [event(number, last=number == chunks - 1) for number in range(chunks)]
    return [HEAD + events[0], *joined(events[1:], burst), DONE]


def anthropic_parts(chunks: int, burst: int) -> list[bytes]:
    """Return the same texts as a message of Anthropic's API."""

    def event(kind: str, **fields: Any) -> bytes:
        return framed(b"event: %s\ndata: %s\n\n" % (kind.encode(), as_json({"type": kind, **fields})))

    message: dict[str, Any] = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "0", "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 1},
    }  # fmt: skip
    texts = [
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": word(number)})
        for number in range(chunks)
    ]
    start = event("message_start", message=message)
    start += event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    end = event("content_block_stop", index=0)
    end += event("message_delta", delta=stop, usage={"output_tokens": chunks})
    end += event("message_stop") + b"0\r\n\r\n"
    return [HEAD + start + texts[0], *joined(texts[1:], burst), end]


def joined(events: list[bytes], burst: int) -> list[bytes]:
    return [b"".join(events[at : at + burst]) for at in range(0, len(events), burst)]


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
                    make = anthropic_parts if b"/messages " in head.partition(b"\r\n")[0] else parts_of
                    parts = [peer.encode(part) for part in make(self.chunks, self.burst)]
                    feed.open(connection, parts, self._due())
        connection.close()

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
    """A way to read the streams of a run: a function, or with the name of an event loop a coroutine function."""

    name: str
    read: Callable[[Run], Any]
    loop: str = ""


@cache
def _runner(loop: str) -> asyncio.Runner:
    """Return the one event loop of this kind: some libraries keep their connections, which belong to their loop."""
    factory: Any = asyncio.new_event_loop
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    return asyncio.Runner(loop_factory=factory)


def measure(way: Way, server: Server) -> float:
    """Return the microseconds of CPU that a chunk takes."""
    # A client that waits for more before it passes on what it has would wait without end.
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    try:
        if not way.loop:
            run = Run(server, 1, SYNC_CHUNKS)
            way.read(run)
            return run.microseconds
        run = Run(server, STREAMS, ASYNC_CHUNKS)
        _runner(way.loop).run(way.read(run))
        return run.microseconds
    finally:
        faulthandler.cancel_dump_traceback_later()


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


def print_table(title: str, ways: list[Way], server: Server, burst: int, runs: int) -> None:
    """Print the ways, and how much less CPU each takes than the first one."""
    print(f"\n{title}\n\n| | us a chunk | times less CPU | range |\n|---|---:|---:|---|")
    for name, (took, ratios) in compare(ways, server, burst, runs).items():
        print(f"| {name} | {took:.1f} | {median(ratios):.1f} | {min(ratios):.1f} to {max(ratios):.1f} |", flush=True)


@contextmanager
def certificate() -> Iterator[ssl.SSLContext | None]:
    """Yield a server's context, whose certificate every client of this process trusts; `None` without openssl."""
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
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
        yield context
