"""The body of an error is read within bounds: a proxy may send anything, for ever."""

from __future__ import annotations

import gzip
import importlib
import itertools
import json
import zlib
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from clients import Body

from tensorloop_stream import AsyncTensorloop, Tensorloop
from tensorloop_stream._http import error_body

ASK: dict[str, Any] = {"model": "m", "messages": [], "stream": True}
both = pytest.mark.parametrize("kind", ["sync", "async"])


async def error_of(kind: str, status: int, parts: Any, **headers: str) -> openai.APIStatusError:
    """Return the error of a request that is answered with these parts of a body."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, headers={"content-type": "application/json", **headers}, stream=Body(parts))

    transport = httpx2.MockTransport(answer)
    settings: dict[str, Any] = {"api_key": "none", "base_url": "https://gateway.test/v1", "max_retries": 0}
    if kind == "sync":
        client = Tensorloop(http_client=httpx2.Client(transport=transport), **settings)
        with pytest.raises(openai.APIStatusError) as caught:
            client.chat.completions.create(**ASK)
        return caught.value
    async_client = AsyncTensorloop(http_client=httpx2.AsyncClient(transport=transport), **settings)
    with pytest.raises(openai.APIStatusError) as caught:
        await async_client.chat.completions.create(**ASK)
    return caught.value


@both
@pytest.mark.parametrize("status", [400, 429, 503])
async def test_an_endless_error_is_cut(kind: str, status: int) -> None:
    """A megabyte says enough."""
    read: list[int] = []

    def endless() -> Iterator[bytes]:
        for number in itertools.count():
            read.append(number)
            yield b"x" * 65536

    error = await error_of(kind, status, endless())

    assert error.status_code == status
    assert len(error.response.content) == error_body.MAX_BODY
    assert len(read) <= error_body.MAX_BODY // 65536 + 2


@both
async def test_a_compressed_bomb_is_not_unpacked(kind: str) -> None:
    """A few hundred kB of gzip can be half a gigabyte."""
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    error = await error_of(kind, 429, [bomb], **{"content-encoding": "gzip"})

    assert len(error.response.content) == error_body.MAX_BODY


@both
async def test_a_slow_error_is_cut(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that drips bytes does not hold the program."""
    monkeypatch.setattr(error_body, "SECONDS", 0.0)
    error = await error_of(kind, 500, itertools.repeat(b"x"))

    assert error.status_code == 500


@both
@pytest.mark.parametrize("encoding", ["", "gzip"])
async def test_an_error_arrives_whole(kind: str, encoding: str) -> None:
    """Body, headers and status are what the SDK would give."""
    body = json.dumps({"error": {"message": "slow down", "code": "429"}}).encode()
    headers = {"content-encoding": encoding} if encoding else {}
    error = await error_of(kind, 429, [gzip.compress(body) if encoding else body], **headers, **{"x-request-id": "r-1"})

    assert isinstance(error, openai.RateLimitError)
    assert (error.code, error.request_id) == ("429", "r-1")
    assert error.response.json()["error"]["message"] == "slow down"
    assert "slow down" in error.message


@both
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
async def test_a_bomb_of_any_encoding_is_bounded(kind: str, encoding: str) -> None:
    """The bound is on what is unpacked, by whatever library."""
    if encoding not in httpx2.Client().headers["accept-encoding"]:
        pytest.skip("nobody asks for this encoding without its library")
    bomb = bytes(32 * 1024 * 1024)
    if encoding == "br":
        packed = importlib.import_module("brotli").compress(bomb)
    elif encoding == "zstd":
        packed = importlib.import_module("zstandard").compress(bomb)
    else:
        packed = gzip.compress(bomb) if encoding == "gzip" else zlib.compress(bomb)
    error = await error_of(kind, 503, [packed], **{"content-encoding": encoding})

    assert error.response.content == bytes(error_body.MAX_BODY)


@both
@pytest.mark.parametrize("encoding", ["", "gzip"])
async def test_an_error_whose_body_is_cut_keeps_its_status(kind: str, encoding: str) -> None:
    """The part of a cut body that arrived is kept."""
    body = b"the upstream is gone"
    parts = [gzip.compress(body)[:-6] if encoding else body, httpx2.ReadError("cut")]
    error = await error_of(kind, 503, parts, **({"content-encoding": encoding} if encoding else {}))

    assert error.status_code == 503
    assert error.response.content == body


@both
async def test_an_error_with_a_header_that_is_not_ascii_keeps_its_status(kind: str) -> None:
    """The bytes of a header are those that the server sent."""
    note: Any = "café".encode("latin-1")
    error = await error_of(kind, 429, [b'{"error":{"message":"slow down"}}'], **{"x-note": note})

    assert isinstance(error, openai.RateLimitError)
    assert (b"x-note", note) in [(name.lower(), value) for name, value in error.response.headers.raw]


@both
@pytest.mark.parametrize("charset", ["utf-16", "idna", "rot13", "no-such"])
async def test_an_encoding_that_is_none_costs_no_reason(kind: str, charset: str) -> None:
    """JSON is UTF-8, whatever a header says (RFC 8259, section 8.1)."""
    content_type = f"application/json; charset={charset}"
    error = await error_of(kind, 429, [b'{"error":{"message":"slow down"}}'], **{"content-type": content_type})

    assert "slow down" in str(error)
