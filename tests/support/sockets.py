"""Streams on real sockets: servers, clients of every kind, and the resources of the process."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self

import anyio
import httpx2
import openai
import yaml
from chunks import DONE, chunk, event, finish, text, usage
from clients import SSL, Mode, Outcome, drain_async, drain_sync

from tensorloop_stream import AsyncChatStream, Callbacks, ChatStream
from tensorloop_stream.replay import ReplayServer

# One event each: the role, two texts, the finish reason, the usage, [DONE].
EVENTS = [*map(event, (chunk({"role": "assistant", "content": ""}), text("Hel"), text("lo"), finish(), usage())), DONE]
# Much longer than any test waits.
NEVER = 30.0
# The delay that other work on the machine may cause; every timed step takes at most a tenth of a second.
SLACK = 1.0


def write_cassette(path: Path, **streams: list[bytes]) -> Path:
    """Write a cassette in which each stream is the answer to the prompt of its name."""
    interactions = [
        {
            "request": {
                "method": "POST",
                "uri": "https://litellm.tensorloop.tech/v1/chat/completions",
                "body": json.dumps(chat(prompt=prompt)),
                "headers": {},
            },
            "response": {
                "status": {"code": 200, "message": "OK"},
                "headers": {"content-type": ["text/event-stream"], "x-litellm-call-id": ["42"]},
                "body": {"string": b"".join(events).decode()},
            },
        }
        for prompt, events in streams.items()
    ]
    path.write_text(yaml.safe_dump({"version": 1, "interactions": interactions}), encoding="utf-8")
    return path


def chat(faults: str = "", *, prompt: str = "hello") -> dict[str, Any]:
    """Return the arguments of `create`, with faults for the server."""
    model = f"gpt-4o-mini?{faults}" if faults else "gpt-4o-mini"
    return {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": True}


@contextmanager
def sync_client(url: str, *, verify: ssl.SSLContext = SSL, **settings: Any) -> Iterator[openai.OpenAI]:
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    http_client = httpx2.Client(verify=verify, limits=limits)
    with openai.OpenAI(
        **{"api_key": "none", "base_url": url, "max_retries": 0, **settings}, http_client=http_client
    ) as c:
        yield c


@asynccontextmanager
async def async_client(
    url: str, kind: str = "async", *, verify: ssl.SSLContext = SSL, **settings: Any
) -> AsyncIterator[openai.AsyncOpenAI]:
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    make = openai.DefaultAioHttpClient if kind == "aiohttp" else httpx2.AsyncClient
    http_client = make(verify=verify, limits=limits)
    settings = {"api_key": "none", "base_url": url, "max_retries": 0, **settings}
    async with openai.AsyncOpenAI(**settings, http_client=http_client) as client:
        yield client


def read(
    kind: str,
    url: str,
    asked: dict[str, Any],
    callbacks: Callbacks | None = None,
    *,
    mode: Mode = "chunks",
    client_settings: Any = None,
    **settings: Any,
) -> Outcome:
    """Read a stream to its end with any kind of client; an error while opening is an outcome, too."""
    if kind == "sync":
        with sync_client(url, **client_settings or {}) as client:
            return drain_sync(ChatStream(lambda: client.chat.completions.create(**asked), callbacks, **settings), mode)

    async def run() -> Outcome:
        async with async_client(url, kind, **client_settings or {}) as client:
            stream = AsyncChatStream(lambda: client.chat.completions.create(**asked), callbacks, **settings)
            return await drain_async(stream, mode)

    return anyio.run(run, backend="trio" if kind == "trio" else "asyncio")


@contextmanager
def program_on_server(
    recording: Path, source: str, *options: str
) -> Iterator[tuple[ReplayServer, subprocess.Popen[str]]]:
    """Start a program with the address of a new server; it runs beside the tests of a module."""
    with ReplayServer(recording) as server:
        command = [sys.executable, *options, "-c", source, server.base_url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                yield server, process
            finally:
                process.kill()


def run_in_threads(work: Callable[..., Any], several: Sequence[Any]) -> list[Any]:
    """Return the result of each call; the calls run in threads, because most of their time is waiting."""
    with ThreadPoolExecutor(len(several)) as pool:
        return list(pool.map(work, several))


def open_descriptors() -> int:
    """Return the number of open file descriptors of this process."""
    return len(list(Path("/dev/fd").iterdir()))


def eventually(holds: Callable[[], bool], seconds: float = SLACK) -> bool:
    """Tell whether a condition becomes true within the seconds; return as soon as it does."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


async def aeventually(holds: Callable[[], bool], seconds: float = SLACK) -> bool:
    """Tell whether a condition becomes true within the seconds, without blocking the event loop."""
    with anyio.move_on_after(seconds):
        while not holds():  # noqa: ASYNC110 - what is waited for happens in other threads
            await anyio.sleep(0.002)
    return holds()


def saw_disconnects(server: ReplayServer, count: int = 1) -> bool:
    """Tell whether the server sees exactly this number of disconnects."""
    return eventually(lambda: len(server.disconnects) >= count) and len(server.disconnects) == count


class TLSRelay:
    """A relay that terminates TLS in front of a server, as a load balancer does."""

    def __init__(self, port: int, certificate: Path) -> None:
        self._upstream = port
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate)

    def __enter__(self) -> Self:
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.base_url = f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
        started: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(listener, started)), daemon=True)
        self._thread.start()
        started.result()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self, listener: socket.socket, started: Future[None]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._relay, sock=listener, ssl=self._context)
        started.set_result(None)
        await self._stop.wait()
        server.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, to_upstream = await asyncio.open_connection("127.0.0.1", self._upstream)
        await asyncio.gather(_copy(reader, to_upstream), _copy(upstream, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # either end may leave at any time
    finally:
        writer.transport.abort()
