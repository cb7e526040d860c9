"""The service that is recorded: one request to it at a time, read as it comes."""

import http.client
import ipaddress
import re
import socket
import ssl
import threading
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import SplitResult, unquote, urlsplit

from tensorloop_stream.replay._http import Request

_LOCAL_BASE = "/v1"
_VERSION = re.compile(r"/v\d")
_CONNECT_TIMEOUT = 15.0
_READ = 65536
# Of one connection, not of the exchange (RFC 9110, 7.6.1); and what each connection settles for itself.
_OF_A_CONNECTION = {
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"),
    *("transfer-encoding", "upgrade", "host", "content-length", "accept-encoding", "expect"),
}


class UnreachableError(Exception):
    """The service cannot be reached, or does not speak HTTP."""


class CutError(Exception):
    """The response broke off."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """The base URL of a service, checked."""

    base: SplitResult
    _context: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    @classmethod
    def at(cls, base_url: str) -> Self:
        """Raise `ValueError` for an address that keys must not be sent to."""
        base = urlsplit(base_url.rstrip("/"))
        if base.scheme not in {"http", "https"} or not base.hostname:
            raise ValueError(f"the upstream is {base_url}: it must begin with https://, or http:// for this machine")
        if base.scheme == "http" and not _is_loopback(base.hostname):
            raise ValueError(
                f"the upstream is http://{base.hostname}: keys would be sent in the clear; use https://, or http:// "
                "for this machine alone"
            )
        return cls(base)

    def url_of(self, request: Request) -> str:
        """Return the address of a request at the service; its path begins with that of the base URL."""
        path = request.path
        if path == _LOCAL_BASE or path.startswith(f"{_LOCAL_BASE}/"):
            path = self.base.path + path.removeprefix(_LOCAL_BASE)
        return self.base._replace(path=path, query=request.query).geturl()

    def address_of(self, request: Request) -> str:
        """Return the address of a request without a user's name, a password and a query, to be shown."""
        return _shown(urlsplit(self.url_of(request)))

    def __str__(self) -> str:
        return _shown(self.base)

    @property
    def has_version(self) -> bool:
        """Whether the path of the base URL names a version of an API, such as `/v1`."""
        return _VERSION.search(self.base.path) is not None

    def call(self, request: Request) -> "UpstreamCall":
        """Return a request that can be sent."""
        return UpstreamCall(self._connection(), self.url_of(request), request)

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self.base.hostname or "", self.base.port
        if self.base.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=_CONNECT_TIMEOUT)
        proxy = urlsplit(urllib.request.getproxies().get("https", ""))
        if not proxy.hostname or urllib.request.proxy_bypass(host):
            return http.client.HTTPSConnection(host, port, timeout=_CONNECT_TIMEOUT, context=self._context)
        through = http.client.HTTPSConnection(
            proxy.hostname, proxy.port or 8080, timeout=_CONNECT_TIMEOUT, context=self._context
        )
        through.set_tunnel(host, port, _proxy_headers(proxy))
        return through


@dataclass(slots=True)
class UpstreamCall:
    """One request to the service; `open` and `read` block, `close` may be called from another thread."""

    _connection: http.client.HTTPConnection
    _url: str
    _request: Request
    _response: http.client.HTTPResponse | None = None
    _socket: socket.socket | None = None
    _is_closed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self) -> tuple[int, str, list[tuple[str, str]]]:
        """Send the request and return status, reason and headers; raises `UnreachableError`."""
        headers = {name: value for name, value in self._request.headers.items() if name not in _OF_A_CONNECTION}
        # The cassette is to be read.
        headers["accept-encoding"] = "identity"
        parts = urlsplit(self._url)
        target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        try:
            self._connect()
            self._connection.request(self._request.method, target, self._request.body or None, headers)
            self._response = response = self._connection.getresponse()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise UnreachableError(f"{parts.netloc.rpartition('@')[2]} did not answer: {_in_words(error)}") from error
        return response.status, response.reason, response.getheaders()

    def _connect(self) -> None:
        self._connection.connect()
        with self._lock:
            self._socket = self._connection.sock
            if self._is_closed:
                raise ConnectionAbortedError("closed")
        # A model may think for as long as its client waits.
        self._socket.settimeout(None)

    def read(self) -> bytes:
        """Return the next bytes as soon as there are any; nothing at the end. Raises `CutError`."""
        assert self._response is not None
        try:
            data = self._response.read1(_READ)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise CutError(_in_words(error)) from error
        if not data:
            missing = self._response.length
            if missing and self._request.method != "HEAD":
                raise CutError(f"{missing} bytes are missing")
        return data

    def release(self) -> None:
        """Give the connection back to the system, in the thread that read from it."""
        if self._response is not None:
            self._response.close()
        self._connection.close()

    def close(self) -> None:
        """End the request, also while another thread waits for the service."""
        with self._lock:
            self._is_closed = True
            connected = self._socket
        if connected is not None:
            with suppress(OSError):
                # Not that of an SSLSocket, which the other thread is reading from.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)


def forwarded(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers of a response that its client gets."""
    return [(name, value) for name, value in headers if name.lower() not in _OF_A_CONNECTION]


def _proxy_headers(proxy: SplitResult) -> Mapping[str, str]:
    if not proxy.username:
        return {}
    user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"proxy-authorization": f"Basic {b64encode(user.encode()).decode()}"}


def _in_words(error: Exception) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shown(parts: SplitResult) -> str:
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
