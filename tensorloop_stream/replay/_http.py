"""Parse requests and write responses of HTTP/1.1, as far as a loopback server needs it. No I/O."""

import re
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

MAX_HEAD = 64 * 1024
MAX_BODY = 32 * 1024 * 1024

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VERSION = re.compile(r"HTTP/(\d)\.(\d)")
_TARGET = re.compile(r"[!-~]+")
# An attacker hides a header, or the end of one, behind these (RFC 9110, section 5.5).
_INVALID_IN_VALUE = re.compile(r"[\x00\v\f\r]")


class BadRequestError(Exception):
    """The received bytes are not a valid request; `status` is the HTTP status to answer with."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """A received request; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    is_http_1_0: bool
    query: str = ""

    @property
    def keeps_connection(self) -> bool:
        """Whether another request may follow on the same connection."""
        options = self.headers.get("connection", "").lower().split(",")
        return not self.is_http_1_0 and "close" not in (option.strip() for option in options)


class RequestParser:
    """Parse bytes into requests; raises `BadRequestError`, also for heads and bodies above the bounds."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._wants_continue = False
        self._parsing = self._parse()

    @property
    def buffered(self) -> int:
        """The number of received bytes that belong to no complete request yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add bytes from the socket."""
        self._buffer += data

    def next_request(self) -> Request | None:
        """Return the next complete request, or `None` while bytes of it are missing."""
        try:
            next(self._parsing)
        except StopIteration as finished:
            self._parsing = self._parse()
            request: Request = finished.value
            return request
        return None

    def take_continue(self) -> bool:
        """Tell whether the client waits for `100 Continue` before it sends the body; true once per request."""
        wanted, self._wants_continue = self._wants_continue, False
        return wanted

    def _parse(self) -> Generator[None, None, Request]:
        line = yield from self._line()
        if not line:  # a server ignores an empty line before the request line (RFC 9112, section 2.2)
            line = yield from self._line()
        method, path, query, is_http_1_0 = _request_line(line)
        headers: dict[str, str] = {}
        head_size = len(line)
        while line := (yield from self._line()):
            head_size += len(line)
            if head_size > MAX_HEAD:
                raise BadRequestError(431, f"the head is larger than {MAX_HEAD} bytes")
            name, value = _header(line)
            if name == "host" and name in headers:
                raise BadRequestError(400, "a request has one Host header")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        if not is_http_1_0 and "host" not in headers:
            raise BadRequestError(400, "a request of HTTP/1.1 needs a Host header")
        length = _content_length(headers)
        if headers.get("expect", "").lower() == "100-continue" and length != 0 and not self._buffer:
            self._wants_continue = True
        body = yield from self._chunked() if length is None else self._exactly(length)
        return Request(method, path, headers, body, is_http_1_0, query)

    def _line(self, *, is_framing: bool = False) -> Generator[None, None, str]:
        # In a head, LF alone ends a line, too (RFC 9112, section 2.2).
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > MAX_HEAD:
                raise BadRequestError(431, f"a line is longer than {MAX_HEAD} bytes")
            yield
        line = self._buffer[:end].decode("latin-1")
        if is_framing and not line.endswith("\r"):
            raise BadRequestError(400, "a line between the chunks of a body ends with CRLF")
        line = line.removesuffix("\r")
        del self._buffer[: end + 1]
        return line

    def _exactly(self, size: int) -> Generator[None, None, bytes]:
        while len(self._buffer) < size:
            yield
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _chunked(self) -> Generator[None, None, bytes]:
        body = bytearray()
        while size := _chunk_size((yield from self._line(is_framing=True))):
            if len(body) + size > MAX_BODY:
                raise BadRequestError(413, f"the body is larger than {MAX_BODY} bytes")
            body += yield from self._exactly(size)
            if (yield from self._line(is_framing=True)):
                raise BadRequestError(400, "a chunk of the body is longer than it says")
        while line := (yield from self._line()):
            _header(line)  # this server ignores trailers
        return bytes(body)


def _header(line: str) -> tuple[str, str]:
    """Return the name of a header, in lower case, and its value."""
    name, colon, value = line.partition(":")
    if not colon or not _TOKEN.fullmatch(name) or _INVALID_IN_VALUE.search(value):
        raise BadRequestError(400, f"not a header line: {line[:60]!r}")
    return name.lower(), value.strip(" \t")


def _request_line(line: str) -> tuple[str, str, str, bool]:
    words = line.split(" ")
    version = _VERSION.fullmatch(words[-1])
    if len(words) != 3 or not _TOKEN.fullmatch(words[0]) or version is None:
        raise BadRequestError(400, f"not a request line: {line[:60]!r}")
    if version[1] != "1":
        raise BadRequestError(505, f"{words[2]} is not spoken here, HTTP/1.1 is")
    return words[0], *_path_and_query(words[1]), version[2] == "0"


def _path_and_query(target: str) -> tuple[str, str]:
    if not _TARGET.fullmatch(target):
        raise BadRequestError(400, f"not a request target: {target[:60]!r}")
    if target.startswith("/"):
        path, _, query = target.partition("?")
        return path, query
    if target == "*":
        return target, ""
    try:
        parts = urlsplit(target)
    except ValueError:
        parts = None
    if parts is None or not parts.netloc:
        raise BadRequestError(400, f"not a request target: {target[:60]!r}")
    return parts.path or "/", parts.query


def _content_length(headers: dict[str, str]) -> int | None:
    """Return the length of the body in bytes; `None` for a chunked body."""
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        # Request smuggling sends both headers (RFC 9112, section 6.3).
        if length is not None or coding.lower() != "chunked":
            raise BadRequestError(400, "a body needs one of: content-length, transfer-encoding: chunked")
        return None
    if length is None:
        return 0
    if not (length.isascii() and length.isdigit()):
        raise BadRequestError(400, f"not a content-length: {length[:60]!r}")
    if len(length) > len(str(MAX_BODY)) or int(length) > MAX_BODY:
        raise BadRequestError(413, f"the body is larger than {MAX_BODY} bytes")
    return int(length)


def _chunk_size(line: str) -> int:
    digits = line.partition(";")[0].rstrip(" \t")
    if not re.fullmatch(r"[0-9A-Fa-f]{1,16}", digits):
        raise BadRequestError(400, f"not the size of a chunk: {line[:60]!r}")
    return int(digits, 16)


def reason_of(status: int) -> str:
    """Return the standard reason phrase of a status; empty if it has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def response_head(status: int, reason: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """Return the status line, the headers and the empty line after them, as bytes."""
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode()


def chunk(data: bytes) -> bytes:
    """Return data as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
