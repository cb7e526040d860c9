"""A connection of asyncio: an event loop's protocol that keeps what arrives, and pauses while nobody reads."""

from __future__ import annotations

import asyncio
import ipaddress
import select
import socket
from typing import TYPE_CHECKING, Any, cast

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext

__all__ = ["Connection", "connect"]

# As much as the event loop reads at once.
_MOST_UNREAD = 256 * 1024
# RFC 8305, and what anyio uses.
_NEXT_ADDRESS_AFTER = 0.25
# The event loop has a limit of its own, where the HTTP library has none.
_NO_LIMIT = 86400.0


class Connection(asyncio.Protocol):
    """One connection: `receive` what arrives, `send`, `close`; errors are `OSError`s, of time `TimeoutError`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._parts: list[bytes] = []
        self._unread = 0
        self._is_paused = False
        self._has_ended = False
        self._error: Exception | None = None
        self._is_closed = False
        self._reading: asyncio.Future[None] | None = None
        self._writing: asyncio.Future[None] | None = None
        # One timer, which looks for itself whether the deadline has moved: reads set one each.
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Keep what arrived, and pause the socket while too much is unread."""
        self._parts.append(data)
        self._unread += len(data)
        if self._unread > _MOST_UNREAD and not self._is_paused and not self._transport.is_closing():
            self._is_paused = True
            self._transport.pause_reading()
        _wake(self._reading)

    def eof_received(self) -> None:
        """Note the end; the event loop closes the transport."""
        self._has_ended = True
        _wake(self._reading)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end, and the error."""
        self._has_ended, self._error = True, exc
        self._stop_timer()
        _wake(self._reading)
        _wake(self._writing)

    def pause_writing(self) -> None:
        """Let writers wait."""
        self._writing = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let writers go on."""
        writing, self._writing = self._writing, None
        _wake(writing)

    # Called by the transport of the HTTP library

    async def receive(self, timeout: float | None) -> bytes:  # noqa: ASYNC109 - the library's parameter
        """Return all that has arrived, and wait for something; nothing at the end."""
        while not self._parts:
            if self._is_closed:
                raise ConnectionAbortedError("the connection is closed")
            if self._error is not None:
                raise self._error if isinstance(self._error, OSError) else ConnectionError(str(self._error))
            if self._has_ended:
                return b""
            await self._wait(timeout)
        parts = self._parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._unread = 0
        if self._is_paused:
            self._is_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return data

    async def _wait(self, timeout: float | None) -> None:  # noqa: ASYNC109
        if self._reading is not None:
            # The words of Python for two tasks in one asynchronous generator.
            raise RuntimeError("asynchronous generator is already running")
        loop = self._require_loop()
        reading = self._reading = loop.create_future()
        if timeout is not None:
            self._deadline = loop.time() + timeout
            if self._timer is None or self._timer_at > self._deadline:
                self._stop_timer()
                self._start_timer()
        else:
            self._deadline = 0.0
        try:
            await reading
        finally:
            self._reading = None

    def _start_timer(self) -> None:
        self._timer_at = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._look)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _look(self) -> None:
        self._timer = None
        reading = self._reading
        if reading is None or reading.done() or not self._deadline:
            return
        if self._loop.time() < self._deadline:
            self._start_timer()
        else:
            reading.set_exception(TimeoutError("the read timed out"))

    async def send(self, data: bytes, timeout: float | None) -> None:  # noqa: ASYNC109
        """Send these bytes, and wait while too many are unsent."""
        self._require_loop()
        if self._transport.is_closing():
            raise self._error if isinstance(self._error, OSError) else ConnectionError("the connection is closed")
        self._transport.write(data)
        if self._writing is not None:
            with anyio.fail_after(timeout):
                # Another task may be cancelled, and the future with it.
                await asyncio.shield(self._writing)
            if self._has_ended:
                raise self._error if isinstance(self._error, OSError) else ConnectionError("the connection is cut")

    async def close(self) -> None:
        """Close the connection now."""
        self._is_closed = True
        self._stop_timer()
        self._parts.clear()
        _wake(self._reading)
        # Nothing is sent any more: TLS would wait for the answer to its goodbye.
        self._transport.abort()
        # The event loop closes the socket in its next round.
        await asyncio.sleep(0)

    async def start_tls(self, context: SSLContext, server_hostname: str | None, timeout: float | None) -> None:  # noqa: ASYNC109
        """Begin TLS; a connection on which it fails is closed."""
        try:
            with anyio.fail_after(timeout):
                transport = await self._loop.start_tls(
                    self._transport,
                    self,
                    context,
                    server_hostname=server_hostname,
                    ssl_handshake_timeout=_NO_LIMIT if timeout is None else timeout + 1,
                )
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.close()
            raise
        if transport is None:
            raise ConnectionError("the connection was closed while TLS began")
        self._transport = transport

    def info(self, name: str) -> Any:
        """Return what the event loop knows of the connection."""
        return self._transport.get_extra_info(name)

    @property
    def is_readable(self) -> bool:
        """Whether something has arrived, or the end has."""
        if self._parts or self._has_ended or self._transport.is_closing():
            return True
        # The event loop may not have seen it yet.
        return _is_readable(self.info("socket"))

    def _require_loop(self) -> asyncio.AbstractEventLoop:
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("this connection belongs to another event loop")
        return self._loop


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)


def _is_readable(sock: Any) -> bool:
    number = -1 if sock is None else sock.fileno()
    if number < 0:
        return True
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([number], [], [], 0)[0])
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))


async def connect(host: str, port: int, local_address: str | None) -> Connection:
    """Return a connection to the first address of a host that answers; the next one is tried a moment later."""
    addresses = await _addresses(host, port)
    found: list[Connection] = []
    errors: list[OSError] = []
    loop = asyncio.get_running_loop()
    local = None if local_address is None else (local_address, 0)

    async def attempt(address: str, is_over: Callable[[], None]) -> None:
        try:
            _, connection = await loop.create_connection(Connection, address, port, local_addr=local)
        except OSError as error:
            errors.append(error)
            is_over()
            return
        found.append(connection)
        tasks.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as tasks:
            for address in addresses:
                failed = anyio.Event()
                tasks.start_soon(attempt, address, failed.set)
                with anyio.move_on_after(_NEXT_ADDRESS_AFTER):
                    await failed.wait()
    except BaseException:
        with anyio.CancelScope(shield=True):
            for each in found:
                await each.close()
        raise
    for each in found[1:]:
        await each.close()
    if not found:
        cause = errors[0] if len(errors) == 1 else ExceptionGroup("no address answers", errors)
        raise OSError("All connection attempts failed") from cause
    return found[0]


async def _addresses(host: str, port: int) -> list[str]:
    """Return the addresses of a host, the first two of different families."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    found = [*dict.fromkeys((family, str(address[0])) for family, _, _, _, address in infos)]
    for number, (family, _) in enumerate(found):
        if family != found[0][0]:
            found.insert(1, found.pop(number))
            break
    return [address for _, address in found]
