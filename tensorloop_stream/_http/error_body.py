"""Read the body of an error response within bounds of size and time, whatever a server or a proxy sends."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from .library import is_http_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2

# A page of HTML has some hundred kB; what lies beyond says no more.
MAX_BODY = 1024 * 1024
SECONDS = 10.0
# So few compressed bytes at a time that what they may grow to is bounded, too.
_STEP = 256
# Headers that do not fit a body which is decoded and whole.
_OF_TRANSFER = (b"content-encoding", b"content-length", b"transfer-encoding")


def read_error(response: httpx2.Response) -> httpx2.Response:
    """Return a response with as much of its body as arrived: at most a MiB, and no read is begun after ten seconds."""
    parts, size, until = [], 0, time.monotonic() + SECONDS
    try:
        for part in response.iter_raw():
            parts.append(part)
            size += len(part)
            if size > MAX_BODY or time.monotonic() > until:
                break
    except Exception as error:
        # The status is known, and says more than a body that was cut.
        if not is_http_error(error):
            raise
    finally:
        response.close()
    return _with_body(response, b"".join(parts))


async def aread_error(response: httpx2.Response) -> httpx2.Response:
    """Return a response with as much of its body as arrived in ten seconds, at most a MiB."""
    parts, size = [], 0
    try:
        with anyio.move_on_after(SECONDS):
            async for part in response.aiter_raw():
                parts.append(part)
                size += len(part)
                if size > MAX_BODY:
                    break
    except Exception as error:
        if not is_http_error(error):
            raise
    finally:
        with anyio.CancelScope(shield=True):
            await response.aclose()
    return _with_body(response, b"".join(parts))


def _with_body(response: httpx2.Response, raw: bytes) -> httpx2.Response:
    body = _decoded(response, raw)
    # As bytes: not all of them are ASCII.
    headers = [each for each in response.headers.raw if each[0].lower() not in _OF_TRANSFER]
    if not _is_readable(response, body):
        headers = [(name, value.partition(b";")[0]) for name, value in headers]
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


def _is_readable(response: httpx2.Response, body: bytes) -> bool:
    """Tell whether the HTTP library can read a body as text: a server may name an encoding that is none."""
    content_type = response.headers.get("content-type", "")
    try:
        return type(response)(200, headers={"content-type": content_type}, content=body).text is not None
    except (UnicodeError, TypeError, LookupError):
        return False


def _decoded(response: httpx2.Response, raw: bytes) -> bytes:
    """Return the first MiB of a body as the HTTP library decodes it; what is not decodable ends it."""
    encoding = response.headers.get("content-encoding", "")
    if not encoding:
        return raw[:MAX_BODY]
    body = bytearray()
    with suppress(Exception):  # of whatever library decodes this
        for part in type(response)(200, headers={"content-encoding": encoding}, content=_steps(raw)).iter_bytes():
            body += part
            if len(body) >= MAX_BODY:
                break
    return bytes(body[:MAX_BODY])


def _steps(data: bytes) -> Iterator[bytes]:
    return (data[start : start + _STEP] for start in range(0, len(data), _STEP))
