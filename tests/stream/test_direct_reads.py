"""Streams that are read directly from the socket: what the HTTP library would return, over the same connections."""

from __future__ import annotations

import asyncio
import gzip
import os
import random
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import httpx2
import openai
import pytest
import requirements
from direct_reads import is_direct
from raw_server import RawServer, chunked
from sockets import EVENTS, NEVER, aeventually, chat, open_descriptors

from tensorloop_stream import (
    AsyncStreamHttpxClient,
    AsyncTensorloop,
    StreamConnectionError,
    StreamHttpxClient,
    StreamTimeoutError,
    Tensorloop,
    aforward_chat,
    forward_chat,
)

LIMIT = 0.15
OURS: dict[str, Any] = {"api_key": "tl_none", "max_retries": 0}
SSE = b"content-type: text/event-stream\r\n"
HEAD = b"HTTP/1.1 200 OK\r\n" + SSE + b"transfer-encoding: chunked\r\n\r\n"
BODY = chunked(*EVENTS) + b"0\r\n\r\n"
both = pytest.mark.parametrize("kind", ["sync", "async"])
loops = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


@pytest.fixture(autouse=True)
def _as_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read as a client does by default, however the suite runs."""
    monkeypatch.delenv("TENSORLOOP_DIRECT_READS", raising=False)


def sending(*answers: bytes) -> Callable[[socket.socket, int], None]:
    """Return the answer that sends the next bytes for each request; the last ones repeat."""
    return lambda connection, number: connection.sendall(answers[min(number, len(answers)) - 1])


def fetch(kind: str, url: str, count: int = 1, **settings: Any) -> list[Any]:
    """Return the text of each of `count` streams in a row, or its error, and whether it was read directly."""
    settings = {**OURS, "base_url": url, **settings}
    return _fetch(count, settings) if kind == "sync" else asyncio.run(_afetch(count, settings))


def _fetch(count: int, settings: dict[str, Any]) -> list[Any]:
    found = []
    with Tensorloop(**settings) as client:
        for _ in range(count):
            with client.chat.completions.create(**chat()) as stream:
                direct = is_direct(stream.response)
                found.append((_result(stream.get_final_text), direct))
    return found


async def _afetch(count: int, settings: dict[str, Any]) -> list[Any]:
    found = []
    async with AsyncTensorloop(**settings) as client:
        for _ in range(count):
            async with await client.chat.completions.create(**chat()) as stream:
                direct = is_direct(stream.response)
                try:
                    text: Any = await stream.get_final_text()
                except openai.APIError as error:
                    text = type(error)
                found.append((text, direct))
    return found


def _result(read: Callable[[], str]) -> Any:
    try:
        return read()
    except openai.APIError as error:
        return type(error)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command")
    path = tmp_path_factory.mktemp("certificate") / "localhost.pem"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(path)]
    names = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-out", f"{path}.crt"]
    subprocess.run([openssl, "req", "-x509", *key, *names], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def trusting(certificate: Path, kind: str) -> Any:
    context = ssl.create_default_context(cafile=certificate)
    return StreamHttpxClient(verify=context) if kind == "sync" else AsyncStreamHttpxClient(verify=context)


def run(main: Callable[[], Awaitable[None]], loop: str = "asyncio") -> None:
    """Run on a loop, and check that everything that `main` opened is closed."""
    if loop == "uvloop":
        requirements.module("uvloop", "aiohttp")
    options = {"use_uvloop": loop == "uvloop"}
    anyio.run(anyio.sleep, 0, backend_options=options)  # the first uvloop opens a pipe that the others share
    anyio.run(main, backend_options=options)


# What is read directly, and what is left to the HTTP library


@both
def test_a_chunked_stream_is_read_directly(kind: str) -> None:
    """The default client reads it so, and its connection is used again."""
    with RawServer(sending(HEAD + BODY)) as server:
        assert fetch(kind, server.url, 5) == [("Hello", True)] * 5
        assert server.connections == 1


@both
@pytest.mark.parametrize("after", [b"x: y\r\n\r\n", b"x: y\r\n z\r\n\r\n", b"\r\n"], ids=["trailers", "fold", "none"])
@pytest.mark.parametrize("early", [b"", b"HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n" * 2], ids=["", "early hints"])
def test_every_form_of_a_chunked_stream_is_read_directly(kind: str, early: bytes, after: bytes) -> None:
    """Interim responses, extensions and trailers change nothing, and the connection is used again."""
    body = chunked(*EVENTS[:3]) + b"".join(b"%X ;a=b\r\n%s\r\n" % (len(event), event) for event in EVENTS[3:])
    with RawServer(sending(early + HEAD + body.replace(b" ;", b";") + b"0;c\r\n" + after)) as server:
        assert fetch(kind, server.url, 3) == [("Hello", True)] * 3
        assert server.connections == 1


PLAIN = b"".join(EVENTS)
ZIPPED = gzip.compress(PLAIN)
LEFT_TO_THE_LIBRARY = {
    "content-length": b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n\r\n%s" % (SSE, len(PLAIN), PLAIN),
    "until the end": b"HTTP/1.1 200 OK\r\n%sconnection: close\r\n\r\n%s" % (SSE, PLAIN),
    "gzip": HEAD[:-2] + b"content-encoding: gzip\r\n\r\n" + chunked(ZIPPED) + b"0\r\n\r\n",
    "HTTP/1.0": HEAD.replace(b"1.1", b"1.0") + BODY,
    "both lengths": HEAD[:-2] + b"content-length: 5\r\n\r\n" + BODY,
}


@both
@pytest.mark.parametrize("form", LEFT_TO_THE_LIBRARY)
def test_other_bodies_are_read_by_the_library(kind: str, form: str) -> None:
    """The stream is the same."""

    def answer(connection: socket.socket, _: int) -> None:
        connection.sendall(LEFT_TO_THE_LIBRARY[form])
        if form == "until the end":
            connection.shutdown(socket.SHUT_WR)

    with RawServer(answer) as server:
        assert fetch(kind, server.url) == [("Hello", False)]


@both
@pytest.mark.parametrize("switch", ["argument", "environment", "no"])
def test_direct_reads_can_be_switched_off(kind: str, switch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument and the environment variable leave the HTTP client to the SDK; each is enough."""
    if switch == "argument" and os.environ.get("TENSORLOOP_STREAM_TEST_DIRECT_READS"):
        pytest.skip("every client reads directly in this run")
    settings = {"direct_reads": False} if switch == "argument" else {}
    if switch != "argument":
        monkeypatch.setenv("TENSORLOOP_DIRECT_READS", "0" if switch == "environment" else switch)
    with RawServer(sending(HEAD + BODY)) as server:
        assert fetch(kind, server.url, **settings) == [("Hello", False)]


@both
def test_an_http_client_of_the_caller_is_left_alone(kind: str) -> None:
    """A client of the library stays as it is; a client of this package reads directly in any client of the SDK."""
    if os.environ.get("TENSORLOOP_STREAM_TEST_DIRECT_READS"):
        pytest.skip("every client reads directly in this run")
    own = httpx2.Client() if kind == "sync" else httpx2.AsyncClient()
    ours = StreamHttpxClient() if kind == "sync" else AsyncStreamHttpxClient()
    with RawServer(sending(HEAD + BODY)) as server:
        assert fetch(kind, server.url, http_client=own) == [("Hello", False)]
        assert fetch(kind, server.url, http_client=ours) == [("Hello", True)]


def test_the_sdk_reads_its_own_streams_through_the_client() -> None:
    """Its loop, and raw bytes, are the same."""
    with RawServer(sending(HEAD + BODY)) as server, StreamHttpxClient() as http_client:
        client = openai.OpenAI(api_key="none", base_url=server.url, http_client=http_client)
        stream: Any = client.chat.completions.create(**chat())
        texts = [chunk.choices[0].delta.content for chunk in stream if chunk.choices]
        with http_client.stream("POST", f"{server.url}/x", content=b"") as response:
            raw = response.read()

        assert "".join(filter(None, texts)) == "Hello"
        assert is_direct(response)
        assert raw == PLAIN


def test_a_client_keeps_its_settings() -> None:
    """Limits, hooks, mounts and timeouts are those of the SDK's own client."""
    seen: list[str] = []
    mounted = httpx2.MockTransport(lambda request: httpx2.Response(204))
    with RawServer(sending(HEAD + BODY)) as server:
        with StreamHttpxClient(
            event_hooks={"response": [lambda response: seen.append(response.http_version)]},
            mounts={"http://mounted.test": mounted},
            limits=httpx2.Limits(max_connections=3, keepalive_expiry=7),
        ) as client:
            assert client.get(server.url).content == PLAIN
            assert client.get("http://mounted.test").status_code == 204
            pool: Any = client._transport._pool  # type: ignore[attr-defined]
        assert (pool._max_connections, pool._keepalive_expiry) == (3, 7)

    ours, theirs = Tensorloop(**OURS)._client, openai.OpenAI(api_key="none")._client
    assert seen == ["HTTP/1.1", "HTTP/1.1"]
    assert isinstance(ours, type(theirs))
    assert (ours.timeout, ours.follow_redirects) == (theirs.timeout, theirs.follow_redirects)
    for name in ("_max_connections", "_max_keepalive_connections", "_keepalive_expiry", "_http1", "_http2", "_retries"):
        assert getattr(ours._transport._pool, name) == getattr(theirs._transport._pool, name)  # type: ignore[attr-defined]


@both
def test_a_proxy_of_the_environment_is_the_librarys(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request goes to the proxy, and its answer is read by the library."""
    with RawServer(sending(HEAD + BODY)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "")

        assert fetch(kind, "http://gateway.test/v1") == [("Hello", False)]


def test_trio_is_left_to_the_library() -> None:
    """Its connections are the library's."""
    requirements.module("trio", "test")
    with RawServer(sending(HEAD + BODY)) as server:

        async def main() -> None:
            settings: dict[str, Any] = {**OURS, "base_url": server.url}
            found.extend(await _afetch(2, settings))

        found: list[Any] = []
        anyio.run(main, backend="trio")

        assert found == [("Hello", False)] * 2


@both
def test_a_tool_that_replaces_bodies_sees_them(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools patch the transport of the library, and wrap the body that it returns."""
    seen: list[bytes] = []
    transport: Any = httpx2.HTTPTransport if kind == "sync" else httpx2.AsyncHTTPTransport
    name = "handle_request" if kind == "sync" else "handle_async_request"
    original = getattr(transport, name)

    class Wrapped(httpx2.SyncByteStream, httpx2.AsyncByteStream):
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __iter__(self) -> Iterator[bytes]:
            for part in self.inner:
                seen.append(part)
                yield part

        async def __aiter__(self) -> Any:
            async for part in self.inner:
                seen.append(part)
                yield part

        def close(self) -> None:
            self.inner.close()

        async def aclose(self) -> None:
            await self.inner.aclose()

    def handle(self: Any, request: Any) -> Any:
        response = original(self, request)
        response.stream = Wrapped(response.stream)
        return response

    async def ahandle(self: Any, request: Any) -> Any:
        response = await original(self, request)
        response.stream = Wrapped(response.stream)
        return response

    monkeypatch.setattr(transport, name, handle if kind == "sync" else ahandle)
    with RawServer(sending(HEAD + BODY)) as server:
        assert fetch(kind, server.url) == [("Hello", False)]
    assert b"".join(seen) == PLAIN


# Framing


def bodies(kind: str, url: str, count: int) -> list[Any]:
    """Return each of `count` bodies in a row, and whether it was read directly."""
    if kind == "sync":
        with StreamHttpxClient() as client:
            responses = [client.get(url) for _ in range(count)]
        return [(response.content, is_direct(response)) for response in responses]

    async def main() -> list[httpx2.Response]:
        async with AsyncStreamHttpxClient() as client:
            return [await client.get(url) for _ in range(count)]

    return [(response.content, is_direct(response)) for response in asyncio.run(main())]


@both
def test_reads_may_be_cut_anywhere(kind: str) -> None:
    """The connection is used again each time, so its framing was right to the last byte."""
    rng = random.Random(5)

    def answer(connection: socket.socket, number: int) -> None:
        head = HEAD if number % 3 else b"HTTP/1.1 102 Processing\r\n\r\n" + HEAD
        sizes = [PLAIN[at : at + 7] for at in range(0, len(PLAIN), 7)] if number % 2 else EVENTS
        data = head + chunked(*sizes) + b"0\r\n" + (b"x: y\r\n" if number % 5 == 0 else b"") + b"\r\n"
        while data:
            length = rng.choice((1, 2, 3, 30, 300, 5000))
            connection.sendall(data[:length])
            data = data[length:]
            if rng.random() < 0.1:
                time.sleep(0.0003)

    with RawServer(answer) as server:
        assert bodies(kind, server.url, 40) == [(PLAIN, True)] * 40
        assert server.connections == 1


@both
@pytest.mark.parametrize("body", [b"", b"5", b"5\r\n", b"5;"], ids=repr)
def test_a_cut_before_the_first_byte_is_an_error_for_a_browser(kind: str, body: bytes) -> None:
    """A read without payload is not the beginning of an answer, whose status could not be taken back."""

    def answer(connection: socket.socket, _: int) -> None:
        connection.sendall(HEAD + body)
        connection.shutdown(socket.SHUT_WR)

    async def main() -> int:
        async with AsyncTensorloop(**OURS, base_url=server.url) as client:
            return (await aforward_chat(client, {"messages": []})).status_code

    with RawServer(answer) as server, Tensorloop(**OURS, base_url=server.url) as client:
        status = forward_chat(client, {"messages": []}).status_code if kind == "sync" else asyncio.run(main())

        assert status == 502


@both
@pytest.mark.parametrize(
    "body",
    [
        chunked(*EVENTS[:2]) + b"xyz\r\n",
        chunked(*EVENTS[:2]) + b"0x5\r\nhello\r\n0\r\n\r\n",
        chunked(*EVENTS[:2])[:-2] + b"0\r\n\r\n",
        chunked(*EVENTS[:2]) + b"5\nhello\r\n0\r\n\r\n",
    ],
    ids=["no size", "prefix", "no footer", "bare LF"],
)
def test_a_broken_body_is_a_connection_error(kind: str, body: bytes) -> None:
    """The text before it is kept, and the connection is closed."""
    with RawServer(sending(HEAD + body)) as server:
        found = fetch(kind, server.url, 2)

        assert found == [(StreamConnectionError, True)] * 2
        assert server.connections == 2


@both
def test_an_unasked_answer_is_not_taken_for_the_next(kind: str) -> None:
    """Bytes after the end of a response close the connection, together with it or later."""
    poison = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    with RawServer(sending(HEAD + BODY + poison)) as server:
        assert fetch(kind, server.url, 3) == [("Hello", True)] * 3
        assert server.connections == 3


def test_an_unasked_answer_after_a_short_one_is_not_taken_for_the_next() -> None:
    """The library would read the second head for the next request."""
    poison = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
    with RawServer(sending(b"HTTP/1.1 204 No Content\r\n\r\n" + poison)) as server, StreamHttpxClient() as client:
        assert [client.get(server.url).status_code for _ in range(3)] == [204] * 3
        assert server.connections == 3


@both
def test_a_connection_that_the_server_closes_is_not_used_again(kind: str) -> None:
    """Servers close idle connections, with an announcement or without."""

    def answer(connection: socket.socket, number: int) -> None:
        connection.sendall(HEAD.replace(SSE, SSE + b"connection: close\r\n") + BODY if number % 2 else HEAD + BODY)
        connection.shutdown(socket.SHUT_RDWR)

    settings: dict[str, Any] = {"max_retries": 0}
    with RawServer(answer) as server:
        for _ in range(3):
            assert fetch(kind, server.url, 2, **settings) == [("Hello", True)] * 2
        assert server.connections == 6


@both
@pytest.mark.parametrize("chunks", [0, 2])
def test_a_cut_is_a_connection_error(kind: str, chunks: int) -> None:
    """The end of the connection is not the end of the body."""

    def answer(connection: socket.socket, _: int) -> None:
        connection.sendall(HEAD + chunked(*EVENTS[:chunks]))
        connection.shutdown(socket.SHUT_WR)

    with RawServer(answer) as server:
        assert fetch(kind, server.url) == [(StreamConnectionError, True)]


@both
@pytest.mark.parametrize("way", ["goodbye", "cut"])
def test_a_cut_of_tls_is_a_connection_error(kind: str, way: str, certificate: Path) -> None:
    """With the goodbye of TLS and without, which an attacker could leave out."""

    def answer(connection: socket.socket, _: int) -> None:
        connection.sendall(HEAD + chunked(*EVENTS[:2]))
        if way == "goodbye" and isinstance(connection, ssl.SSLSocket):
            with suppress(OSError):
                connection.unwrap()
        socket.socket.shutdown(connection, socket.SHUT_RDWR)

    with RawServer(answer, certificate) as server:
        assert fetch(kind, server.url, http_client=trusting(certificate, kind)) == [(StreamConnectionError, True)]


@both
def test_tls_is_read_directly(kind: str, certificate: Path) -> None:
    """The context is the caller's, and the connection is used again."""
    with RawServer(sending(HEAD + BODY), certificate) as server:
        assert fetch(kind, server.url, 3, http_client=trusting(certificate, kind)) == [("Hello", True)] * 3
        assert server.connections == 1


@both
def test_a_certificate_that_nobody_signed_is_refused(kind: str, certificate: Path) -> None:
    """Verification is that of the library."""
    ours: Any = StreamHttpxClient() if kind == "sync" else AsyncStreamHttpxClient()
    with RawServer(sending(HEAD + BODY), certificate) as server:
        with pytest.raises(openai.APIConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            fetch(kind, server.url, http_client=ours)
        assert server.requests == 0


# Time


def silent(connection: socket.socket, _: int) -> None:
    """Answer nothing."""


@both
@pytest.mark.parametrize("chunks", [0, 2])
def test_the_read_timeout_holds(kind: str, chunks: int) -> None:
    """It counts from the last byte, in the body as in the head."""
    timeout = openai.Timeout(NEVER, read=LIMIT)
    with RawServer(sending(HEAD + chunked(*EVENTS[:chunks]))) as server:
        assert fetch(kind, server.url, timeout=timeout) == [(StreamTimeoutError, True)]
    with RawServer(silent) as server, pytest.raises(openai.APITimeoutError):
        fetch(kind, server.url, timeout=timeout)


@both
def test_the_read_timeout_may_become_shorter(kind: str) -> None:
    """A connection that is used again has the timeout of its request."""
    with RawServer(sending(HEAD + BODY, HEAD + chunked(*EVENTS[:2]))) as server:
        if kind == "sync":
            with Tensorloop(**OURS, base_url=server.url) as client:
                assert client.chat.completions.create(**chat()).get_final_text() == "Hello"
                short = client.with_options(timeout=LIMIT)
                with pytest.raises(StreamTimeoutError):
                    short.chat.completions.create(**chat()).get_final_text()
        else:

            async def main() -> None:
                async with AsyncTensorloop(**OURS, base_url=server.url) as client:
                    assert await (await client.chat.completions.create(**chat())).get_final_text() == "Hello"
                    short = client.with_options(timeout=LIMIT)
                    with pytest.raises(StreamTimeoutError):
                        await (await short.chat.completions.create(**chat())).get_final_text()

            run(main)
        assert server.connections == 1


@both
@pytest.mark.parametrize("phase", ["write", "pool", "tls"])
def test_the_other_timeouts_hold(kind: str, phase: str) -> None:
    """The timeouts are those of the HTTP library, and so are their errors."""
    ours: Any = {"write": httpx2.WriteTimeout, "pool": httpx2.PoolTimeout, "tls": httpx2.ConnectTimeout}[phase]
    limits = httpx2.Limits(max_connections=1)
    timeout = httpx2.Timeout(NEVER, **{"connect" if phase == "tls" else phase: LIMIT})
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http{'s' * (phase == 'tls')}://127.0.0.1:{listener.getsockname()[1]}"
    content = b"x" * 50_000_000 if phase == "write" else b""
    with RawServer(sending(HEAD + chunked(*EVENTS[:1]))) as server, listener:
        url = server.url if phase == "pool" else url
        busy = phase == "pool"
        if kind == "sync":
            with StreamHttpxClient(timeout=timeout, limits=limits) as client:
                left = [client.send(client.build_request("GET", url), stream=True) for _ in range(busy)]
                with pytest.raises(ours):
                    client.post(url, content=content)
                for response in left:
                    response.close()
        else:

            async def main() -> None:
                async with AsyncStreamHttpxClient(timeout=timeout, limits=limits) as client:
                    left = [await client.send(client.build_request("GET", url), stream=True) for _ in range(busy)]
                    with pytest.raises(ours):
                        await client.post(url, content=content)
                    for response in left:
                        await response.aclose()

            run(main)


def test_a_connection_expires() -> None:
    """An idle one is closed after the time that the client sets."""
    with RawServer(sending(HEAD + BODY)) as server:

        async def main() -> None:
            async with AsyncStreamHttpxClient(limits=httpx2.Limits(keepalive_expiry=0.05)) as client:
                await client.get(server.url)
                await anyio.sleep(0.1)
                await client.get(server.url)

        run(main)
        assert server.connections == 2


@both
def test_an_unreachable_server_is_a_connection_error(kind: str) -> None:
    """The error names the cause, as the library's does."""
    with pytest.raises(openai.APIConnectionError):
        fetch(kind, "http://127.0.0.1:9/v1")
    with pytest.raises(openai.APIConnectionError):
        fetch(kind, "http://localhost:9/v1")


# Leaving


@loops
@pytest.mark.parametrize("phase", ["tls", "head", "body", "write"])
def test_a_cancelled_task_closes_its_connection(phase: str, loop: str) -> None:
    """It may be cancelled in each phase, and the pool is free again."""

    def answer(connection: socket.socket, _: int) -> None:
        if phase == "body":
            connection.sendall(HEAD + chunked(*EVENTS[:2]))

    listener = socket.create_server(("127.0.0.1", 0))
    silent_url = f"http{'s' * (phase == 'tls')}://127.0.0.1:{listener.getsockname()[1]}"
    with listener, RawServer(answer) as server:

        async def leave(client: httpx2.AsyncClient) -> None:
            url = silent_url if phase in {"tls", "write"} else server.url
            content = b"x" * 50_000_000 if phase == "write" else b""
            task = asyncio.create_task(client.post(url, content=content))
            await anyio.sleep(0.1)
            assert not task.done()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert client._transport._pool.connections == []  # type: ignore[attr-defined]

        async def main() -> None:
            async with AsyncStreamHttpxClient(timeout=NEVER) as client:
                await leave(client)  # the first one opens what the others share
                await anyio.sleep(0.1)
                held = open_descriptors()
                for _ in range(3):
                    await leave(client)
                # The server's ends are of this process, too.
                assert await aeventually(lambda: open_descriptors() <= held)

        run(main, loop)


@loops
def test_two_tasks_cannot_read_one_stream(loop: str) -> None:
    """The second one gets the error of the program's mistake, and the first one reads on."""
    more = threading.Event()

    def answer(connection: socket.socket, _: int) -> None:
        connection.sendall(HEAD + chunked(*EVENTS[:2]))
        more.wait(NEVER)
        connection.sendall(chunked(*EVENTS[2:]) + b"0\r\n\r\n")

    with RawServer(answer) as server:

        async def main() -> None:
            async with AsyncTensorloop(**OURS, base_url=server.url) as client:
                stream = await client.chat.completions.create(**chat())
                first = asyncio.create_task(stream.get_final_text())
                await anyio.sleep(0.1)
                with pytest.raises(RuntimeError, match="read by another task"):
                    await anext(stream)
                more.set()
                assert await first == "Hello"

        run(main, loop)


@loops
def test_a_slow_reader_pauses_the_server(loop: str) -> None:
    """The unread bytes stay few, however much the server sends."""
    sent = 0

    def answer(connection: socket.socket, _: int) -> None:
        nonlocal sent
        connection.sendall(HEAD)
        part = chunked(b"x" * 65536)
        for _ in range(800):
            connection.sendall(part)
            sent += 65536
        connection.sendall(b"0\r\n\r\n")

    with RawServer(answer) as server:

        async def main() -> None:
            async with AsyncStreamHttpxClient() as client, client.stream("GET", server.url) as response:
                parts = response.aiter_raw()
                length = len(await anext(parts))
                await anyio.sleep(0.3)
                connection = response.extensions["network_stream"].connection
                assert connection._unread < 2_000_000
                assert sent < 40_000_000
                async for part in parts:
                    length += len(part)
                assert length == 800 * 65536

        run(main, loop)


@loops
def test_many_streams_are_whole(loop: str) -> None:
    """Each connection keeps its own bytes."""
    with RawServer(sending(HEAD + BODY)) as server:

        async def main() -> None:
            async with AsyncTensorloop(**OURS, base_url=server.url) as client:

                async def one() -> Any:
                    async with await client.chat.completions.create(**chat()) as stream:
                        return await stream.get_final_text()

                assert await asyncio.gather(*[one() for _ in range(200)]) == ["Hello"] * 200

        run(main, loop)


@loops
def test_a_host_with_two_addresses_is_reached_at_the_one_that_answers(loop: str) -> None:
    """`localhost` may be IPv6 first, where nobody listens."""
    with RawServer(sending(HEAD + BODY)) as server:

        async def main() -> None:
            settings: dict[str, Any] = {
                "api_key": "tl_none",
                "direct_reads": True,
                "base_url": server.url.replace("127.0.0.1", "localhost"),
            }
            assert await _afetch(2, settings) == [("Hello", True)] * 2

        run(main, loop)
        assert server.connections == 1


def test_a_connection_belongs_to_its_event_loop() -> None:
    """In another loop the pool gives an error, instead of waiting without end."""
    with RawServer(sending(HEAD + BODY)) as server:
        client = AsyncStreamHttpxClient()
        first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
        first.run_until_complete(client.get(server.url))
        with pytest.raises(RuntimeError, match="belongs to another event loop"):
            second.run_until_complete(client.get(server.url))
        first.run_until_complete(client.aclose())
        first.close()
        second.close()


def test_the_ssl_context_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second client has the first one's; other certificates, and other settings, have their own."""
    made: list[ssl.SSLContext] = []

    def make(**_: Any) -> ssl.SSLContext:
        made.append(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        return made[-1]

    monkeypatch.setattr(httpx2, "create_ssl_context", make)
    clients = [
        Tensorloop(**OURS),
        Tensorloop(**OURS),
        AsyncTensorloop(**OURS),
    ]
    assert len(made) == 1
    assert all(client._client._transport._pool._ssl_context is made[0] for client in clients)
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull)
    Tensorloop(**OURS)
    StreamHttpxClient(trust_env=False)

    assert len(made) == 3
