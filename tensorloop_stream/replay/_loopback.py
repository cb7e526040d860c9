"""A server on 127.0.0.1: one thread, one event loop, any number of clients."""

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from ._connection import Connection

_BACKLOG = 1024


@dataclass(slots=True)
class Loopback:
    """Listen on 127.0.0.1 and give each client a connection, between `start` and `stop`."""

    connect: Callable[[Callable[[Connection], None]], Connection]
    """Makes the connection of a client; its argument is to be called when the connection has ended."""
    accepted: int = 0
    _connections: set[Connection] = field(default_factory=set)
    _address: tuple[str, int] | None = None
    _thread: threading.Thread = field(init=False)
    _loop: asyncio.AbstractEventLoop = field(init=False)
    _stop: asyncio.Event = field(init=False)

    def start(self, port: int) -> None:
        """Listen; port 0 takes an unused one. Raises `OSError` if the port is taken."""
        # Bind here, not in the thread: then the exception for a port in use reaches the caller.
        listener = socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
        self._address = listener.getsockname()
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(listener, started), name="replay", daemon=True)
        self._thread.start()
        started.result()

    def stop(self) -> None:
        """Close all connections and the port."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def port(self) -> int:
        """The port that the server listens on; raises `RuntimeError` outside the `with` block."""
        if self._address is None:
            raise RuntimeError("a ReplayServer has its port inside its with block")
        return self._address[1]

    def _run(self, listener: socket.socket, started: Future[None]) -> None:
        try:
            with listener:
                asyncio.run(self._serve(listener, started))
        except OSError as error:  # an event loop needs file descriptors, and none may be left
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
        await asyncio.sleep(0)  # let the transports close their sockets

    def _accept(self) -> Connection:
        self.accepted += 1
        connection = self.connect(self._connections.discard)
        self._connections.add(connection)
        return connection
