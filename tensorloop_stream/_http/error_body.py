"""Read the body of an error response within bounds of size and time, whatever a server or a proxy sends."""

from __future__ import annotations

import time
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    import httpx2

# A page of HTML has some hundred kB; what lies beyond says no more.
MAX_BODY = 1024 * 1024
SECONDS = 10.0
# Headers that do not fit a body which is decoded and whole.
_OF_TRANSFER = ("content-encoding", "content-length", "transfer-encoding")
# Of zlib: gzip or zlib, by what the data say.
_ANY_HEADER = 47


def read_error(response: httpx2.Response) -> httpx2.Response:
    """Return a response with the body that was read: at most a MiB, and what arrives within ten seconds."""
    parts, size, until = [], 0, time.monotonic() + SECONDS
    try:
        for part in response.iter_raw():
            parts.append(part)
            size += len(part)
            if size > MAX_BODY or time.monotonic() > until:
                break
    finally:
        response.close()
    return _with_body(response, b"".join(parts))


async def aread_error(response: httpx2.Response) -> httpx2.Response:
    """Return a response with the body that was read, as `read_error` does."""
    parts, size = [], 0
    try:
        with anyio.move_on_after(SECONDS):
            async for part in response.aiter_raw():
                parts.append(part)
                size += len(part)
                if size > MAX_BODY:
                    break
    finally:
        with anyio.CancelScope(shield=True):
            await response.aclose()
    return _with_body(response, b"".join(parts))


def _with_body(response: httpx2.Response, raw: bytes) -> httpx2.Response:
    encoding = response.headers.get("content-encoding", "").strip().lower()
    headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in _OF_TRANSFER]
    if encoding in {"gzip", "deflate"}:
        body = b""
        with suppress(zlib.error):  # a body that is not what it says has no text
            body = zlib.decompressobj(_ANY_HEADER).decompress(raw, MAX_BODY)
    elif encoding in {"", "identity"}:
        body = raw[:MAX_BODY]
    else:
        # The library has what decodes it; the bound is on the encoded size.
        body = raw[:MAX_BODY]
        headers.append(("content-encoding", encoding))
    read = type(response)(
        response.status_code,
        headers=headers,
        content=body,
        request=response.request,
        extensions=response.extensions,
    )
    read.history = response.history
    with suppress(RuntimeError):  # a response of a mock transport has none
        read.elapsed = response.elapsed
    return read
