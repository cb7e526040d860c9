"""The scripted upstream: an OpenAI-compatible host on loopback that answers a prompt with its script."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from anthropic_script import EVENTS
from entry import prompt_of
from responses_script import response_events, whole_response
from script import Script


class Upstream(ThreadingHTTPServer):
    """A server that answers by the text of the last message, so that requests look ordinary."""

    daemon_threads = True

    def __init__(self, scripts: Mapping[str, Script]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scripts = scripts
        # That of the last response, which may be asked for again.
        self.last: Script | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Upstream
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if "/responses/" in self.path and self.server.last is not None:
            self._answer(200, whole_response(self.server.last))
            return
        # LiteLLM asks every upstream for its models, at the start and every five minutes.
        self._answer(200, b'{"object":"list","data":[]}')

    def do_POST(self) -> None:
        request: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path.endswith("/messages"):
            self._stream(EVENTS)
            return
        responses = self.path.endswith("/responses")
        script = self.server.scripts.get(prompt_of(request))
        self.server.last = script if responses else self.server.last
        if script is None:
            self._answer(404, b'{"error":{"message":"no script for this prompt","type":"not_found"}}')
        elif script.status != 200:
            self._answer(script.status, json.dumps({"error": script.error}).encode(), script.headers)
        elif request.get("stream"):
            self._stream(response_events(script) if responses else script.events(), cut=script.end == "cut")
        else:
            self._answer(200, script.whole())

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, events: Iterator[bytes] | tuple[bytes, ...], *, cut: bool = False) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in events:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
        if cut:
            # The end of the connection would discard data that the proxy has not forwarded.
            time.sleep(0.2)
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *args: object) -> None:
        """Print nothing: the proxy's log has everything."""


@contextmanager
def upstream(scripts: Mapping[str, Script]) -> Iterator[Upstream]:
    """Run the scripted upstream in a thread."""
    with Upstream(scripts) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
