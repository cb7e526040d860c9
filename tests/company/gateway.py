"""A loopback gateway of both APIs: the name of the model says how its answer ends."""

from __future__ import annotations

import json
import socket
import struct
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from answers import Answer, ChatAnswer, ResponseAnswer

# One text chunk for each word.
WORDS = [
    "Never",
    " send",
    " to",
    " know",
    " for",
    " whom",
    " the",
    " bell",
    " tolls.",
    " It",
    " tolls",
    " for",
    " thee.",
]
# A broken answer breaks after as many text chunks.
BREAKS_AFTER = 6
# A program that leaves early does so after as many.
LEAVES_AFTER = 4
# The text chunks of the answer whose cost is measured.
LONG = 1_000
_STALL_SECONDS = 2.0


class Gateway:
    """Serve chat completions and responses on 127.0.0.1 inside a `with` block."""

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        self.over = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that leave early: that is one of the endings."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        ending = asked["model"]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("x-request-id", "req_1")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self._is_chat = self.path.endswith("/chat/completions")
        answer: Answer = ChatAnswer(asked) if self._is_chat else ResponseAnswer()
        words = {"whole": WORDS, "long": [" word"] * LONG}.get(ending, WORDS[:BREAKS_AFTER])
        events = [*answer.begin(), *map(answer.text, words)]
        if ending in {"stall", "long"}:
            # All at once: on a busy machine, a pause between them would be a stall.
            self._send(*events)
        else:
            for event in events:
                self._send(event)
        if ending == "truncated":
            self._write(b"")
        elif ending == "cut":
            self._reset()
        elif ending == "stall":
            self.server.over.wait(_STALL_SECONDS)
            self._reset()
        else:
            for event in answer.fail() if ending == "error" else answer.end(words):
                self._send(event)
            self._end()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the standard library
        """Write nothing: the output of the runner is its table."""

    def _send(self, *events: dict[str, Any]) -> None:
        names = ["" if self._is_chat else f"event: {event['type']}\n" for event in events]
        lines = [f"{name}data: {json.dumps(event)}\n\n" for name, event in zip(names, events, strict=True)]
        self._write("".join(lines).encode())

    def _end(self) -> None:
        if self._is_chat:
            self._write(b"data: [DONE]\n\n")
        self._write(b"")

    def _write(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _reset(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
