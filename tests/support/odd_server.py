"""A loopback server that answers with odd streams, each at its own address."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from odd_streams import OddStream, Silence


class OddServer(ThreadingHTTPServer):
    """A server of `streams` at `/0`, `/1`, ...; an exception among the parts cuts the connection."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, streams: Sequence[OddStream]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.streams = streams
        self.leaving = threading.Event()

    def url(self, number: int) -> str:
        """Return the base URL of the stream with this number."""
        return f"http://127.0.0.1:{self.server_address[1]}/{number}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.leaving.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that left."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: OddServer

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for part in self.server.streams[int(self.path.split("/")[1])].parts:
            if isinstance(part, Silence):
                self._be_silent(part)
            elif isinstance(part, bytes):
                self._write(part)
            else:
                self.close_connection = True
                return
        self._write(b"")

    def _be_silent(self, silence: Silence) -> None:
        until = time.monotonic() + silence.seconds
        while time.monotonic() < until and not self.server.leaving.wait(0.05):
            if silence.pings:
                self._write(b": ping\n\n")

    def _write(self, part: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the method overridden
        pass
