"""Every fault, in every phase of a stream, with every client: errors, callbacks, partials, and no leaks."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
from sockets import EVENTS, NEVER, chat, eventually, open_descriptors, read, run_in_threads, write_cassette

from tensorloop_stream import (
    Callbacks,
    StreamConnectionError,
    StreamDecodeError,
    StreamError,
    StreamProviderError,
    StreamTimeoutError,
    StreamTruncatedError,
)
from tensorloop_stream.replay import ReplayServer

# The number of events so far, and the text in them.
PHASES = {"before": (0, ""), "role": (1, ""), "text": (2, "Hel"), "finish": (4, "Hello")}
# The first covers the connection in async code.
LIMITS = {"first_chunk_timeout": 0.5, "idle_timeout": 0.25}
BAD_JSON = b'data: {"choices": [}\n\n'
CLIENTS = ("sync", "async", "aiohttp")


@dataclass
class Fault:
    """One row: the faults of the server after the events of a phase, and the error that the client raises."""

    name: str
    faults: str
    error: type[Exception] | None
    phases: tuple[str, ...] = tuple(PHASES)
    # Whether the server waits, and only the client can end the connection.
    left: bool = False
    bad: bool = False
    settings: dict[str, Any] = field(default_factory=dict)

    def at(self, phase: str) -> dict[str, Any]:
        count = PHASES[phase][0]
        return chat(self.faults.format(count + self.bad), prompt=f"bad{count}" if self.bad else "hello")


TABLE = [
    Fault("cut", "cut-after={}", StreamConnectionError),
    Fault("end", "end-after={}", StreamTruncatedError, ("before", "role", "text")),
    Fault("stall", "stall-after={}&ping=0.02", StreamTimeoutError, left=True, settings=LIMITS),
    Fault("error", "error-after={}", StreamProviderError),
    Fault("bad json", "stall-after={}", StreamDecodeError, left=True, bad=True),
    Fault("late", f"first-delay={NEVER}&ping=0.02", StreamTimeoutError, ("before",), left=True, settings=LIMITS),
    Fault("429", "status=429", openai.RateLimitError, ("before",)),
    Fault("500", "status=500", openai.InternalServerError, ("before",)),
    Fault("end after the finish", "end-after={}", None, ("finish",)),
    Fault("none", "", None, ("finish",)),
    Fault(
        "none, small reads", "split=5&crlf&ping=0.02&delay=0.03", None, ("finish",), settings={"idle_timeout": NEVER}
    ),
]
CELLS = [pytest.param(fault, phase, id=f"{fault.name}-{phase}") for fault in TABLE for phase in fault.phases]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bad = {f"bad{count}": [*EVENTS[:count], BAD_JSON, *EVENTS[count:]] for count, _ in PHASES.values()}
    return write_cassette(tmp_path_factory.mktemp("faults") / "streams.yaml", hello=EVENTS, **bad)


@pytest.fixture
def server(recording: Path) -> Iterator[ReplayServer]:
    with ReplayServer(recording) as server:
        yield server


class RecordedCalls:
    """Callbacks that record texts and terminal calls."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.terminal: list[tuple[str, Any]] = []
        self.callbacks = Callbacks(
            on_text=self.texts.append,
            on_finish=lambda completion: self.terminal.append(("on_finish", completion)),
            on_error=lambda error: self.terminal.append(("on_error", error)),
            on_abort=lambda completion: self.terminal.append(("on_abort", completion)),
        )


@pytest.mark.parametrize(("fault", "phase"), CELLS)
def test_a_fault_is_raised_and_reported_once(fault: Fault, phase: str, server: ReplayServer) -> None:
    """One request is made; its error keeps the partial completion, and nothing stays open."""
    count, text = PHASES[phase]
    held, threads = open_descriptors(), threading.active_count()
    settings = fault.settings if count == 0 else {**fault.settings, "first_chunk_timeout": NEVER}

    def check(row: tuple[str, RecordedCalls | None]) -> None:
        kind, recorded = row
        callbacks = recorded.callbacks if recorded else None
        outcome = read(kind, server.base_url, fault.at(phase), callbacks, **settings)

        assert type(outcome.error) is (fault.error or type(None))
        assert outcome.stream.text == text
        if isinstance(outcome.error, StreamError):
            assert len(outcome.items) == count
            assert "".join(choice.message.content or "" for choice in outcome.error.partial.choices) == text
            assert outcome.error.request.url == f"{server.base_url}/chat/completions"
        if recorded:
            assert "".join(recorded.texts) == text
            expected = ("on_error", outcome.error) if outcome.error else ("on_finish", outcome.stream.completion)
            assert recorded.terminal == [expected]

    rows = [(kind, recorded) for kind in CLIENTS for recorded in (None, RecordedCalls())]
    run_in_threads(check, rows)

    assert eventually(lambda: open_descriptors() <= held)
    assert eventually(lambda: threading.active_count() <= threads)
    # If the first chunk is late, a slow machine may not have made all requests in time.
    late = fault.left and count == 0 and not fault.bad
    assert len(server.requests) == len(rows) or (late and len(server.requests) < len(rows))
    assert len(server.disconnects) == len(server.requests) * fault.left


# Resets, which the replay server does not do to chunked answers


class ResettingServer:
    """A server that answers one request with some events, and resets the connection after they are read."""

    def __init__(self, events: list[bytes]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._events = events
        self.read: list[Any] = []
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            request = b""
            while not request.endswith(b"}"):
                request += connection.recv(65536)
            connection.sendall(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            for event in self._events:
                connection.sendall(b"%x\r\n%s\r\n" % (len(event), event))
            # A reset discards bytes that the client has not read; no callback confirms that it read the head.
            assert eventually(lambda: len(self.read) == len(self._events), NEVER)
            if not self._events:
                connection.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    connection.recv(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("phase", PHASES)
def test_a_reset_connection_raises_a_connection_error(phase: str) -> None:
    """The HTTP library's own name for the reset does not matter."""
    count, text = PHASES[phase]
    held = open_descriptors()

    def check(kind: str) -> None:
        with closing(ResettingServer(EVENTS[:count])) as server:
            outcome = read(kind, server.base_url, chat(), Callbacks(on_chunk=server.read.append))

        assert type(outcome.error) is StreamConnectionError
        assert len(outcome.items) == count
        assert outcome.stream.text == text

    run_in_threads(check, CLIENTS)

    assert eventually(lambda: open_descriptors() <= held)
