"""Interrupts before and while a stream is read directly close its connection, and the caller sees the interrupt."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import httpx2
import pytest
import requirements
from interrupts import AfterCallsOfC, AtInstructions, CancelledAtAwait, Interrupt, send_ctrl_c
from raw_server import RawServer, chunked
from sockets import EVENTS, NEVER, eventually, open_descriptors

from tensorloop_stream import AsyncStreamHttpxClient, StreamHttpxClient

PHASES = ["connect", "tls", "write", "head", "body"]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
BODY = chunked(*EVENTS) + b"0\r\n\r\n"
interruptible = pytest.mark.skipif(sys.platform == "win32", reason="a signal does not end a blocked call there")


@pytest.fixture(autouse=True)
def _as_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read as a client does by default, however the suite runs."""
    monkeypatch.delenv("TENSORLOOP_DIRECT_READS", raising=False)


class StalledServer:
    """A server on which a request waits for ever in one phase, and which knows when it does."""

    def __init__(self, phase: str) -> None:
        self.phase = phase
        self.is_waiting = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0 if phase == "connect" else 8)
        self._open: list[socket.socket] = []
        self.url = f"http{'s' * (phase == 'tls')}://127.0.0.1:{self._listener.getsockname()[1]}"
        if phase == "connect":
            # The system answers nobody while so many wait to be accepted.
            for _ in range(2):
                self._open.append(socket.socket())
                self._open[-1].setblocking(False)
                with suppress(BlockingIOError):
                    self._open[-1].connect(self._listener.getsockname())
            self.is_waiting.set()
        else:
            threading.Thread(target=self._answer, daemon=True).start()

    @property
    def content(self) -> bytes:
        # More than all buffers between, if nobody reads it.
        return b"x" * 50_000_000 if self.phase == "write" else b"{}"

    def _answer(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                connection.recv(10)
                if self.phase == "body":
                    connection.sendall(HEAD + chunked(*EVENTS[:2]))
                self.is_waiting.set()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            each.close()


@pytest.fixture(params=PHASES)
def stalled(request: pytest.FixtureRequest) -> Iterator[StalledServer]:
    if request.param == "connect" and sys.platform != "linux":
        pytest.skip("other systems accept more connections than the backlog")
    server = StalledServer(request.param)
    yield server
    server.close()


def interrupt_when_waiting(server: StalledServer) -> None:
    """Send Ctrl-C as soon as a request waits."""

    def wait_and_send() -> None:
        if server.is_waiting.wait(NEVER):
            send_ctrl_c(0.05)

    threading.Thread(target=wait_and_send, daemon=True).start()


def in_use(client: Any) -> list[Any]:
    """Return the connections that the pool of an HTTP client counts, without those that are idle or closed."""
    return [each for each in client._transport._pool.connections if not (each.is_idle() or each.is_closed())]


def seen_by(call: Any) -> type[BaseException] | None:
    """Return the class of what a call raises, which is forgotten then, with the sockets of its frames."""
    try:
        call()
    except BaseException as error:  # noqa: BLE001 - it is what the tests look at
        return type(error)
    return None


@contextmanager
def unwarned() -> Iterator[None]:
    """Let a socket be closed by being forgotten, as one is whose connecting or handshake was interrupted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@interruptible
def test_ctrl_c_closes_the_connection_of_a_request(stalled: StalledServer) -> None:
    """In each phase the caller sees the interrupt, nothing is open, and the client can send the next request."""
    with RawServer(lambda connection, _: connection.sendall(HEAD + BODY)) as server, unwarned():
        with new_client() as client:
            client.get(server.url)
            held = open_descriptors()
            interrupt_when_waiting(stalled)

            seen = seen_by(lambda: client.post(stalled.url, content=stalled.content))
            after, left = open_descriptors(), in_use(client)
            again = client.get(server.url).content

        assert seen is KeyboardInterrupt
        # The server keeps its end.
        assert after <= held + (stalled.phase != "connect")
        assert left == []
        assert again == b"".join(EVENTS)
        assert server.connections == 1


@interruptible
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_ctrl_c_closes_the_connection_of_an_asynchronous_request(stalled: StalledServer, loop: str) -> None:
    """In each phase the caller of `asyncio.run` sees the interrupt, the task is cancelled, and nothing is open."""
    factory: Any = asyncio.new_event_loop
    if loop == "uvloop":
        requirements.module("uvloop", "aiohttp")
        import uvloop

        factory = uvloop.new_event_loop
    pools: list[list[Any]] = []

    async def main() -> None:
        async with AsyncStreamHttpxClient(timeout=NEVER, trust_env=False) as client:
            interrupt_when_waiting(stalled)
            try:
                await client.post(stalled.url, content=stalled.content)
            finally:
                pools.append(list(client._transport._pool.connections))  # type: ignore[attr-defined]

    def run() -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())

    anyio.run(anyio.sleep, 0, backend_options={"use_uvloop": loop == "uvloop"})  # the first opens what all share
    held = open_descriptors()
    seen = seen_by(run)

    assert seen is KeyboardInterrupt
    assert pools == [[]]
    assert eventually(lambda: open_descriptors() <= held + (stalled.phase != "connect"))


# Every position


def new_client() -> StreamHttpxClient:
    return StreamHttpxClient(timeout=NEVER, trust_env=False)


def request(client: httpx2.Client, url: str) -> None:
    with client.stream("POST", url, content=b"{}") as response:
        for _ in response.iter_raw():
            pass


@pytest.mark.parametrize(
    "places",
    [
        pytest.param(
            AtInstructions(),
            id="at signals",
            marks=pytest.mark.skipif(sys.version_info >= (3, 13), reason="sys.settrace skips instructions"),
        ),
        pytest.param(AfterCallsOfC(), id="after calls"),
    ],
)
def test_an_interrupt_at_any_position_of_a_request_leaves_no_connection(places: Any) -> None:
    """Until the end of the body, the interrupt is seen, and no connection is kept in use."""
    found: list[str] = []
    with RawServer(lambda connection, _: connection.sendall(HEAD + BODY)) as server, unwarned():
        with new_client() as client:
            request(client, server.url)
        with new_client() as client:
            positions = places.positions(lambda: request(client, server.url))
        held = open_descriptors()
        for position in positions:
            interrupt = Interrupt(KeyboardInterrupt())
            with new_client() as client:
                with places.raising(interrupt, position):
                    seen = seen_by(lambda: request(client, server.url))
                if seen is not KeyboardInterrupt:
                    found.append(f"{interrupt}: the caller sees {seen}")
                # A `close` that is interrupted before it begins is called by nobody again.
                if in_use(client) and interrupt.function != "_Body.close":
                    found.append(f"{interrupt}: a connection is in use")
            interrupt.error.__traceback__ = None
        gc.collect()
        closed = eventually(lambda: open_descriptors() <= held, NEVER)

    assert found == []
    assert closed
    assert len(positions) > 50


def test_a_task_cancelled_at_any_await_of_a_request_leaves_no_connection() -> None:
    """Until the end of the body, the task ends cancelled, and no connection or task is left."""
    found: list[str] = []

    async def send(client: httpx2.AsyncClient, url: str) -> None:
        async with client.stream("POST", url, content=b"{}") as response:
            async for _ in response.aiter_raw():
                pass

    async def sweep(url: str) -> int:
        position = 0
        while True:
            async with AsyncStreamHttpxClient(timeout=NEVER, trust_env=False) as client:
                cancelled = CancelledAtAwait(send(client, url), position + 1)
                task = asyncio.ensure_future(cancelled)
                await asyncio.wait([task])
                if cancelled.left > 0:
                    return position
                position += 1
                if not task.cancelled():
                    found.append(f"await {position}: not cancelled")
                if left := in_use(client):
                    found.append(f"await {position}: {left}")
                if len(asyncio.all_tasks()) > 1:
                    found.append(f"await {position}: a task is left")

    with RawServer(lambda connection, _: connection.sendall(HEAD + BODY)) as server:
        held = open_descriptors()
        count = asyncio.run(sweep(server.url))
        closed = eventually(lambda: open_descriptors() <= held, NEVER)

    assert found == []
    assert closed
    assert count >= 3
