"""The transport for synchronous code: a body is read from the socket, all else by the HTTP library.

`async_transport` is the same for asyncio. Touches private API: httpx's `_pool` of a transport, which is replaced by a
pool with the network backend of this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorloop_stream._http.library import httpx

from .chunked import ChunkedDecoder
from .held_bytes import HeldBytes, can_read_directly
from .library import CUT, STREAM_MODULE, httpcore

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

__all__ = ["StreamTransport"]

_READ_SIZE = 65536


class _NetworkStream(httpcore.NetworkStream):
    """A connection of the library's, whose bodies can be read past it."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner
        self.held = HeldBytes()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        held = self.held
        return held.pass_on(held.take(max_bytes) or self._inner.read(max_bytes, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.held.begin()
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _NetworkStream(self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self.held.bytes:
            # Nobody asked for them: the pool must not use the connection again.
            return True
        return self._inner.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """The library's backend with these connections."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(self, host: str, port: int, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _NetworkStream(self._inner.connect_tcp(host, port, *args, **kwargs))

    def connect_unix_socket(self, path: str, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return self._inner.connect_unix_socket(path, *args, **kwargs)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Body(httpx.SyncByteStream):
    """The body of a response, read from the socket."""

    def __init__(self, inner: Any, network: _NetworkStream, request: httpx.Request) -> None:
        self._inner = inner
        self._network = network
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._read()
        except BaseException:
            # Before the error is raised, as the library does.
            self.close()
            raise

    def _read(self) -> Iterator[bytes]:
        network, request, decoder = self._network, self._request, ChunkedDecoder()
        socket = network.get_extra_info("socket")
        socket.settimeout(request.extensions.get("timeout", {}).get("read"))
        receive, feed = socket.recv, decoder.feed
        if payload := feed(network.held.take_body()):
            yield payload
        while not decoder.done:
            try:
                data = receive(_READ_SIZE)
            except TimeoutError as error:
                raise httpx.ReadTimeout(str(error), request=request) from error
            except OSError as error:
                raise httpx.ReadError(str(error), request=request) from error
            if not data:
                raise httpx.RemoteProtocolError(CUT, request=request)
            if payload := feed(data):
                yield payload
        if decoder.error:
            raise httpx.RemoteProtocolError(decoder.error, request=request)
        if not decoder.rest:
            network.held.give_back(decoder.ending)
            for _ in self._inner:
                pass

    def close(self) -> None:
        self._inner.close()


class StreamTransport(httpx.HTTPTransport):
    """The library's transport, whose chunked bodies over HTTP/1.1 are read from the socket."""

    def __init__(
        self,
        *,
        verify: ssl.SSLContext,
        limits: httpx.Limits,
        http1: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(verify=verify, limits=limits, http1=http1, **kwargs)
        if type(getattr(self, "_pool", None)) is httpcore.ConnectionPool:
            self._pool = httpcore.ConnectionPool(
                ssl_context=verify,
                max_connections=limits.max_connections,
                max_keepalive_connections=limits.max_keepalive_connections,
                keepalive_expiry=limits.keepalive_expiry,
                http1=http1,
                network_backend=_Backend(),
            )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its response, as the library does."""
        response = super().handle_request(request)
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
            response.close()
            raise
        return response
