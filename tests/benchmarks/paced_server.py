"""Sends streams at a fixed rate, each chunk with its sending time as its text: python paced_server.py

It runs in a process of its own, prints its port, and ends with its standard input. The model of a request is JSON: the
number of streams of the run, the chunks of each, the chunks of a write, and the writes a second of all streams
together. A run begins when this number of requests has come; until then each stream has its first chunk. The streams
take turns. The times are `time.monotonic_ns()`, which all processes of a Linux machine share.
"""

from __future__ import annotations

import json
import queue
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

from feed import DONE, HEAD, event, word

# All have the same length for 57 years of uptime, and so have the chunks.
DIGITS = 18
LEAD = 0.2


@dataclass(frozen=True)
class Load:
    """A run, which is the model of its requests."""

    streams: int
    chunks: int
    rate: float
    burst: int = 1

    @property
    def model(self) -> str:
        return json.dumps(vars(self), separators=(",", ":"))

    @property
    def counted(self) -> int:
        """Return the chunks of all streams that are sent at the rate."""
        return self.streams * (self.chunks - 1)


def templates() -> tuple[bytes, bytes]:
    """Return an event with a place for the time, and the last one of a stream."""
    mark = b"%%0%dd" % DIGITS
    both = []
    for last in (False, True):
        # A word of this length, so that the size of the HTTP chunk is right.
        data = event(0, last=last).replace(word(0).encode(), b"0" * DIGITS)
        size = int(data.partition(b"\r\n")[0], 16) + DIGITS - len(word(0))
        framed = b"%x" % size + data[data.index(b"\r\n") :]
        both.append(framed.replace(b"%", b"%%").replace(b"0" * DIGITS, mark))
    return both[0], both[1]


EVENT, LAST = templates()


def serve(listener: socket.socket, opened: queue.Queue[tuple[socket.socket, Load]]) -> None:
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=read_requests, args=(connection, opened), daemon=True).start()


def read_requests(connection: socket.socket, opened: queue.Queue[tuple[socket.socket, Load]]) -> None:
    unread = b""
    with suppress(OSError):
        while data := connection.recv(65536):
            unread += data
            head, found, body = unread.partition(b"\r\n\r\n")
            if found and len(body) == int(head.lower().partition(b"content-length:")[2].split()[0]):
                unread = b""
                connection.sendall(HEAD + EVENT % time.monotonic_ns())
                opened.put((connection, Load(**json.loads(json.loads(body)["model"]))))
    connection.close()


def run(opened: queue.Queue[tuple[socket.socket, Load]]) -> None:
    """Send the streams of one run."""
    first, load = opened.get()
    connections = [first, *(opened.get()[0] for _ in range(load.streams - 1))]
    begun = time.monotonic() + LEAD
    writes = 0
    for sent in range(1, load.chunks, load.burst):
        count = min(load.burst, load.chunks - sent)
        for connection in connections:
            wait = begun + writes / load.rate - time.monotonic()
            writes += 1
            if wait > 0:
                time.sleep(wait)
            now = time.monotonic_ns()
            data = EVENT % now * count
            if sent + count == load.chunks:
                data = EVENT % now * (count - 1) + LAST % now
            with suppress(OSError):
                connection.sendall(data)
    for connection in connections:
        with suppress(OSError):
            connection.sendall(DONE)


def main() -> None:
    threading.stack_size(256 * 1024)
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    opened: queue.Queue[tuple[socket.socket, Load]] = queue.Queue()
    threading.Thread(target=serve, args=(listener, opened), daemon=True).start()
    print(listener.getsockname()[1], flush=True)

    def send() -> None:
        while True:
            run(opened)

    threading.Thread(target=send, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
