"""The server of recorded streams: one thread, one event loop, any number of clients."""

import asyncio
import re
import socket
import threading
import time
from concurrent.futures import Future
from types import TracebackType
from typing import Self, Unpack

from ._cassettes import Paths, read_cassettes
from ._connection import Connection
from ._faults import FaultOptions, faults_of
from ._playback import Disconnect, Playback, ReceivedRequest

_BACKLOG = 1024
_NAP = 0.002
_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/\s]+")


class ReplayServer:
    """Serve recorded streams on 127.0.0.1 inside a `with` block.

    `paths` are cassette files of vcrpy or folders of them; `port` 0 takes an unused one; `cors` is the origin
    of the pages that may call the server (`*` for all). The faults are those of the command line: `delay` (0
    here), `first_delay`, `ping`, `linger`, `retry_after` in seconds; `cut_after`, `end_after`, `stall_after`,
    `error_after` in events; `split` in bytes; `crlf`, `status`, `error_type`, `fails`. A request may ask for
    its own in the name of its model: `gpt-4o-mini?cut-after=7&delay=0.03`.

    Raises `ValueError` for unreadable cassettes and bad settings, `ModuleNotFoundError` without PyYAML, and
    `OSError` on entering if the port is taken.
    """

    def __init__(self, paths: Paths, *, port: int = 0, cors: str | None = None, **faults: Unpack[FaultOptions]) -> None:
        if cors is not None and not _ORIGIN.fullmatch(cors):
            raise ValueError(f"cors must be an origin such as http://localhost:5173, or *, not {cors!r}")
        self._playback = Playback(read_cassettes(paths), faults_of(faults))
        self._asked_port = port
        self._cors = cors
        self._connections: set[Connection] = set()
        self._accepted = 0
        self._address: tuple[str, int] | None = None

    def __enter__(self) -> Self:
        # Bound here and not in the thread, so that a port that is taken is the caller's exception.
        listener = socket.create_server(("127.0.0.1", self._asked_port), backlog=_BACKLOG)
        self._address = listener.getsockname()
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(listener, started), name="replay", daemon=True)
        self._thread.start()
        started.result()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self, listener: socket.socket, started: Future[None]) -> None:
        try:
            with listener:
                asyncio.run(self._serve(listener, started))
        except OSError as error:  # an event loop takes file descriptors, and there may be none left
            if started.done():
                raise
            started.set_exception(error)

    async def _serve(self, listener: socket.socket, started: Future[None]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(self._accept, sock=listener, backlog=_BACKLOG)
        started.set_result(None)
        await self._stop.wait()
        server.close()
        for connection in list(self._connections):
            connection.abandon()
        await asyncio.sleep(0)  # lets the transports close their sockets

    def _accept(self) -> Connection:
        self._accepted += 1
        connection = Connection(self._playback, self._cors, self._connections.discard)
        self._connections.add(connection)
        return connection

    @property
    def port(self) -> int:
        """The port that is listened on."""
        if self._address is None:
            raise RuntimeError("a ReplayServer has its port inside its with block")
        return self._address[1]

    @property
    def base_url(self) -> str:
        """The base URL for an OpenAI client; ends in `/v1`."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def served(self) -> list[str]:
        """One line per recorded interaction: method, path, model and the first words of the prompt."""
        return [str(interaction) for interaction in self._playback.recordings.interactions]

    @property
    def requests(self) -> list[ReceivedRequest]:
        """What was asked so far, in order; `/stats` and preflights are left out."""
        return list(self._playback.requests)

    @property
    def disconnects(self) -> list[Disconnect]:
        """Clients that left before they had their whole answer, in the order of being noticed."""
        return list(self._playback.disconnects)

    @property
    def unmatched(self) -> list[str]:
        """One sentence per request that no recording matches; the server answered each with a 404."""
        return list(self._playback.unmatched)

    def wait_until_idle(self, timeout: float = 5.0) -> None:
        """Wait until no request is being answered; the server notices a disconnect a moment after it.

        `timeout` is in seconds; raises `TimeoutError`. Blocks, also in async code.
        """
        until = time.monotonic() + timeout
        while active := self._playback.active:
            if time.monotonic() > until:
                raise TimeoutError(f"{active} of {len(self.requests)} requests are still being answered")
            time.sleep(_NAP)

    @property
    def connections(self) -> int:
        """How many connections were accepted so far."""
        return self._accepted
