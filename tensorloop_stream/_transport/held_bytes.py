"""Decide which bytes of a connection the HTTP library gets: heads at once, a body only if nobody reads it past it."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["HeldBytes", "can_read_directly"]

# The end of a head by the grammar of h11.
_BLANK_LINE = re.compile(rb"\n\r?\n")
# The library refuses a longer head.
_LONGEST_HEAD = 128 * 1024


class HeldBytes:
    """The bytes that were read from a connection, and have not been passed to the HTTP library.

    The library gets each head alone. Nothing of the body has reached it when it returns the response.
    """

    __slots__ = ("_head", "_is_head", "bytes", "has_whole_body")

    def __init__(self) -> None:
        self.bytes = b""
        self.has_whole_body = False
        """Whether a final head was passed on, and nothing after it."""
        self._is_head = False
        self._head = bytearray()

    def begin(self) -> None:
        """Expect the head of a response: a request is sent."""
        self._is_head, self.has_whole_body = True, False
        self._head.clear()

    def take(self, most: int) -> bytes:
        """Return bytes that are held, at most this number."""
        data, self.bytes = self.bytes[:most], self.bytes[most:]
        return data

    def pass_on(self, data: bytes) -> bytes:
        """Return the bytes that the library gets now; the others are held."""
        self.has_whole_body = False
        if not self._is_head or not data:
            return data
        head = self._head
        before = len(head)
        head += data
        found = _BLANK_LINE.search(head, max(0, before - 2))
        if found is None:
            self._is_head = len(head) <= _LONGEST_HEAD
            return data
        end = found.end() - before
        self.bytes = data[end:] + self.bytes
        # After an interim response another head follows; after 101, another protocol.
        is_interim = head[9:10] == b"1" and head[9:12] != b"101"
        head.clear()
        if not is_interim:
            self._is_head, self.has_whole_body = False, True
        return data[:end]

    def take_body(self) -> bytes:
        """Return what has arrived of the body: the library does not get it."""
        self.has_whole_body = False
        return self.take(len(self.bytes))

    def give_back(self, ending: bytes) -> None:
        """Pass the end of a body to the library, for which the body is empty then."""
        self.bytes = ending


def can_read_directly(request: Any, response: Any, stream_module: str) -> bool:
    """Tell whether the body of a response has the one form that is read past the HTTP library.

    `stream_module` is where the library's own class of bodies is defined: one of another class, or with a patched
    method, is a tool's.
    """
    headers = response.headers
    return (
        response.status_code == 200
        and request.method in {"GET", "POST"}
        and response.extensions.get("http_version") == b"HTTP/1.1"
        and headers.get("transfer-encoding", "").lower() == "chunked"
        # With both, a proxy on the way may have seen another end than we do.
        and "content-length" not in headers
        and "content-encoding" not in headers
        # Somebody counts the events of the library.
        and "trace" not in request.extensions
        and _is_own(type(response.stream), stream_module)
    )


def _is_own(kind: type, module: str) -> bool:
    # By the file of the code: `functools.wraps` and wrapt copy names.
    methods = [vars(kind).get(name) for name in ("__iter__", "close", "__aiter__", "aclose")]
    files = {getattr(getattr(method, "__code__", None), "co_filename", None) for method in methods if method}
    return kind.__module__ == module and len(files) == 1 and None not in files
