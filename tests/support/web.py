"""Recipes that serve the web, as processes, and minimal browsers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
import recorded
import requirements
import yaml
from chunks import event, finish, sse, text
from clients import SSL

ROOT = Path(__file__).parents[2]
HAIKU = recorded.text("chat/haiku")
HAIKU_BODY = recorded.interactions("chat/haiku")[0]["response"]["body"]["string"]
# The request of a browser, and the request that the recipes must make of it.
BROWSER_REQUEST: dict[str, Any] = {"messages": recorded.request("chat/haiku")["messages"]}
GATEWAY_REQUEST = recorded.request("chat/haiku")
# The longest time that any step takes on a busy machine.
TIMEOUT = 15.0
# Chromium without a network, a screen or a profile.
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Site:
    """A recipe under a server: its command, and the modules that it needs."""

    recipe: str
    modules: tuple[str, ...]
    server: tuple[str, ...] = ()

    @property
    def extra(self) -> str:
        name = self.recipe.removeprefix("forward_").replace("resumable", "redis")
        return "starlette" if name in {"eventsource", "ai_sdk", "chat_websocket"} else name

    def command(self, port: int) -> list[str]:
        """Return the command of the recipe's first line, or that of another server."""
        if self.recipe == "edge":
            return [requirements.program("node"), str(ROOT / "tests/javascript/serve.mjs")]
        if not self.server:
            return [sys.executable, str(ROOT / f"recipes/{self.recipe}.py")]
        return [sys.executable, "-m", *(part.format(port=port, app=f"{self.recipe}:app") for part in self.server)]


SITES = {
    "starlette": Site("forward_starlette", ("starlette", "uvicorn")),
    "fastapi": Site("forward_fastapi", ("fastapi", "uvicorn")),
    "fastapi-hypercorn": Site(
        "forward_fastapi", ("fastapi", "hypercorn"), ("hypercorn", "-b127.0.0.1:{port}", "{app}")
    ),
    "fastapi-granian": Site(
        "forward_fastapi", ("fastapi", "granian"), ("granian", "--interface", "asgi", "--port", "{port}", "{app}")
    ),
    "django": Site("forward_django", ("django", "uvicorn")),
    "flask": Site("forward_flask", ("flask", "gunicorn"), ("gunicorn", "--threads=8", "-b127.0.0.1:{port}", "{app}")),
    "eventsource": Site("forward_eventsource", ("starlette", "uvicorn")),
}
# Recipes that answer in another form, or are no Python.
OTHER_SITES = {
    "ai_sdk": Site("forward_ai_sdk", ("starlette", "uvicorn")),
    "websocket": Site("chat_websocket", ("starlette", "uvicorn", "websockets")),
    "resumable": Site("forward_resumable", ("starlette", "uvicorn", "redis")),
    "edge": Site("edge", ()),
}


@contextmanager
def serve_recipe(name: str, gateway_port: int) -> Iterator[RunningRecipe]:
    """Run a recipe unedited until the end of the block."""
    site = (SITES | OTHER_SITES)[name]
    for module in site.modules:
        requirements.module(module, "web" if module in {"hypercorn", "granian", "websockets"} else site.extra)
    port = unused_port()
    environment = {
        **os.environ,
        "PORT": str(port),
        "TENSORLOOP_BASE_URL": f"http://127.0.0.1:{gateway_port}/v1",
        "TENSORLOOP_KEY": "tl_none",
    }
    with run_server(site.command(port), port, environment, ROOT / "recipes") as process:
        served = RunningRecipe(port, process)
        try:
            yield served
        finally:
            served.client.close()


@contextmanager
def run_server(
    command: Sequence[str], port: int, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the end of the block, which begins when the server listens."""
    process = subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    said: list[bytes] = []
    # A thread reads the output, because a full pipe would block the server.
    reader = threading.Thread(target=lambda: said.extend(process.stderr or ()), daemon=True)
    reader.start()
    try:
        until = time.monotonic() + TIMEOUT
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{command} does not listen: {b''.join(said).decode()}")
            time.sleep(0.02)
        yield process
    finally:
        # The process group includes the workers.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
        reader.join()
        assert process.stderr is not None
        process.stderr.close()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class BrowserResponse:
    """A response as a browser received it: its parts, and their times in seconds since the first."""

    status: int
    headers: Mapping[str, str]
    parts: list[bytes]
    times: list[float]

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    @property
    def duration(self) -> float:
        return self.times[-1] - self.times[0]


@dataclass(slots=True)
class RunningRecipe:
    """A recipe that runs as a server."""

    port: int
    process: subprocess.Popen[bytes] | None = None
    # Each request has its own connection: some servers close one after an error without announcing it.
    client: httpx2.Client = field(
        default_factory=lambda: httpx2.Client(
            verify=SSL, timeout=TIMEOUT, limits=httpx2.Limits(max_keepalive_connections=0)
        )
    )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **headers: str) -> BrowserResponse:
        return self._arrival("GET", path, headers=headers)

    def ask(self, asked: Any = BROWSER_REQUEST, **headers: str) -> BrowserResponse:
        """Post a chat request, and read the response to its end."""
        content = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
        return self._arrival("POST", "/chat", content=content, headers={"content-type": "application/json", **headers})

    def post(self, path: str, content: bytes, **headers: str) -> BrowserResponse:
        """Post a body with these headers, and read the response to its end."""
        return self._arrival("POST", path, content=content, headers=headers)

    def _arrival(self, method: str, path: str, **request: Any) -> BrowserResponse:
        with self.client.stream(method, self.url + path, **request) as response:
            came = [(part, time.monotonic()) for part in response.iter_raw()]
        times = [when - came[0][1] for _, when in came]
        return BrowserResponse(response.status_code, dict(response.headers), [part for part, _ in came], times)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def memory(self) -> int:
        """Return the bytes of memory that the recipe and its workers use."""
        assert self.process is not None
        own = str(self.process.pid)
        total = 0
        for status in Path("/proc").glob("[0-9]*/status"):
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            if own in (fields["Pid"], fields["PPid"]):
                total += int(fields["VmRSS"].split()[0]) * 1024
        return total


class RawBrowser:
    """A browser that may leave at any time, and read at any pace."""

    def __init__(self, port: int, *, path: str = "/chat", method: str = "POST", buffer: int | None = None) -> None:
        body = json.dumps(BROWSER_REQUEST).encode() if method == "POST" else b""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        self.got = b""
        self.socket = socket.socket()
        self.socket.settimeout(TIMEOUT)
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def read(self, size: int = 65536) -> None:
        data = self.socket.recv(size)
        if not data:
            raise EOFError(f"the server closed after {self.got!r}")
        self.got += data

    def read_until(self, mark: bytes) -> None:
        while mark not in self.got:
            self.read()

    def leave(self) -> float:
        """Close the connection, and return the time."""
        left = time.monotonic()
        self.socket.close()
        return left

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.socket.close()


def write_cassette(path: Path, *events: bytes) -> Path:
    """Write a cassette in which the events answer the recipes' request for `BROWSER_REQUEST`."""
    interaction = {
        "request": {
            "method": "POST",
            "uri": "https://litellm.tensorloop.tech/v1/chat/completions",
            "body": json.dumps(GATEWAY_REQUEST),
            "headers": {},
        },
        "response": {
            "status": {"code": 200, "message": "OK"},
            "headers": {"content-type": ["text/event-stream"]},
            "body": {"string": b"".join(events).decode()},
        },
    }
    path.write_text(yaml.safe_dump({"version": 1, "interactions": [interaction]}), encoding="utf-8")
    return path


def answer_events(*texts: str) -> list[bytes]:
    """Return the events of a complete answer of these texts."""
    return [*(event(text(one)) for one in texts), sse(finish())]


class EndlessGateway:
    """A gateway that sends endless text as fast as it is read, and counts the bytes that it sent."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self._part = event(text("x" * 10_000))
        self._connections: list[socket.socket] = []
        self.sent = 0

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        # A shutdown interrupts a blocked accept or send; a close does not.
        for each in (self._listener, *self._connections):
            with suppress(OSError):  # the other side may be gone
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def is_stalled(self, seconds: float) -> bool:
        """Tell whether nothing is sent for this time."""
        sent = self.sent
        time.sleep(seconds)
        return self.sent == sent

    def _accept(self) -> None:
        try:
            while True:
                connection, _ = self._listener.accept()
                # A larger buffer would hold so much that the answer so far were most of a forwarder's memory.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
                self._connections.append(connection)
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()
        except OSError:
            pass  # the end

    def _answer(self, connection: socket.socket) -> None:
        try:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
            while True:
                connection.sendall(self._part)
                self.sent += len(self._part)
        except OSError:
            pass  # the forwarder left, or the end
