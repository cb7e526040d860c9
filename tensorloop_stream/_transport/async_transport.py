"""The transport for asyncio: a body is read from the event loop's protocol, all else by the HTTP library.

`sync_transport` is the same for synchronous code. Touches private API: httpx's `_pool` of a transport, which is
replaced by a pool with the network backend of this module.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import anyio

from tensorloop_stream._http.library import httpx

from .chunked import ChunkedDecoder
from .held_bytes import HeldBytes, can_read_directly
from .library import CUT, STREAM_MODULE, httpcore
from .protocol import Connection, connect

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterable

__all__ = ["AsyncStreamTransport"]

_NAMES = {"ssl_object": "ssl_object", "client_addr": "sockname", "server_addr": "peername", "socket": "socket"}


class _NetworkStream(httpcore.AsyncNetworkStream):
    """A connection of asyncio, whose bodies can be read past the library."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.held = HeldBytes()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - the library's
        held = self.held
        data = held.take(max_bytes)
        if not data:
            try:
                held.bytes = await self.connection.receive(timeout)
            except TimeoutError as error:
                raise httpcore.ReadTimeout(str(error)) from error
            except OSError as error:
                raise httpcore.ReadError(str(error)) from error
            data = held.take(max_bytes)
        return held.pass_on(data)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self.held.begin()
        if not buffer:
            return
        try:
            await self.connection.send(buffer, timeout)
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        await self.connection.close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        try:
            await self.connection.start_tls(ssl_context, server_hostname, timeout)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        return self

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            # Bytes that nobody asked for: the pool must not use the connection again.
            return bool(self.held.bytes) or self.connection.is_readable
        return self.connection.info(_NAMES[info]) if info in _NAMES else None


class _Backend(httpcore.AsyncNetworkBackend):
    """Connections of asyncio; under trio, the library's."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        if not _is_asyncio():
            return await _librarys().connect_tcp(host, port, timeout, local_address, socket_options)
        try:
            with anyio.fail_after(timeout):
                connection = await connect(host, port, local_address)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        for option in socket_options or ():
            connection.info("socket").setsockopt(*option)
        return _NetworkStream(connection)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return await _librarys().connect_unix_socket(path, timeout, socket_options)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


def _librarys() -> httpcore.AsyncNetworkBackend:
    """Return the backend that the library would choose."""
    return httpcore.AnyIOBackend() if _is_asyncio() or "trio" not in sys.modules else httpcore.TrioBackend()


def _is_asyncio() -> bool:
    try:
        # Under trio as a guest there is a loop, but no task.
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


class _Body(httpx.AsyncByteStream):
    """The body of a response, read from the connection.

    No asynchronous generator: left half-way, those end in a task of the event loop's choice.
    """

    def __init__(self, inner: Any, network: _NetworkStream, request: httpx.Request) -> None:
        self._inner = inner
        self._network = network
        self._request = request
        self._decoder = ChunkedDecoder()
        self._timeout = request.extensions.get("timeout", {}).get("read")
        self._has_begun = self._is_over = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            payload = await self._read()
        except BaseException:
            # Before the error is raised, as the library does.
            self._is_over = True
            with anyio.CancelScope(shield=True):
                await self.aclose()
            raise
        if payload is None:
            raise StopAsyncIteration
        return payload

    async def _read(self) -> bytes | None:
        decoder, request = self._decoder, self._request
        if self._is_over:
            return None
        if not self._has_begun:
            self._has_begun = True
            if payload := decoder.feed(self._network.held.take_body()):
                return payload
        while not decoder.done:
            try:
                data = await self._network.connection.receive(self._timeout)
            except TimeoutError as error:
                raise httpx.ReadTimeout(str(error), request=request) from error
            except OSError as error:
                raise httpx.ReadError(str(error), request=request) from error
            if not data:
                raise httpx.RemoteProtocolError(CUT, request=request)
            if payload := decoder.feed(data):
                return payload
        self._is_over = True
        if decoder.error:
            raise httpx.RemoteProtocolError(decoder.error, request=request)
        if not decoder.rest:
            self._network.held.give_back(decoder.ending)
            async for _ in self._inner:
                pass
        return None

    async def aclose(self) -> None:
        await self._inner.aclose()


class AsyncStreamTransport(httpx.AsyncHTTPTransport):
    """The library's transport, whose chunked bodies over HTTP/1.1 are read from the event loop's protocol."""

    def __init__(
        self,
        *,
        verify: ssl.SSLContext,
        limits: httpx.Limits,
        http1: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(verify=verify, limits=limits, http1=http1, **kwargs)
        if type(getattr(self, "_pool", None)) is httpcore.AsyncConnectionPool:
            self._pool = httpcore.AsyncConnectionPool(
                ssl_context=verify,
                max_connections=limits.max_connections,
                max_keepalive_connections=limits.max_keepalive_connections,
                keepalive_expiry=limits.keepalive_expiry,
                http1=http1,
                network_backend=_Backend(),
            )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its response, as the library does."""
        response = await super().handle_async_request(request)
        try:
            network = response.extensions.get("network_stream")
            if (
                isinstance(network, _NetworkStream)
                and network.held.has_whole_body
                and can_read_directly(request, response, STREAM_MODULE)
            ):
                response.stream = _Body(response.stream, network, request)
        except BaseException:
            # Nobody else can close it, and the pool would count its connection for ever.
            with anyio.CancelScope(shield=True):
                await response.aclose()
            raise
        return response
