"""Tracing tools hear of the streams of the Responses API, which end with an event and then with their bytes."""

from __future__ import annotations

import functools
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
import openai
import pytest
from clients import Body, responding_with
from events import ENVELOPE, HELLO, created, delta, event, stream
from openai.resources.responses import AsyncResponses, Responses
from raw_server import RawServer

from tensorloop_stream import (
    AsyncResponseStream,
    AsyncTensorloop,
    ResponseCallbacks,
    ResponseStream,
    StreamProviderError,
    Tensorloop,
)
from tensorloop_stream._stream.sources import Source

ASK: dict[str, Any] = {"model": "gpt-4o-mini", "input": "Hello?", "stream": True}
WHOLE = stream(*HELLO)
FAILED = stream(
    created(),
    delta("Hel"),
    event("failed", response={**ENVELOPE, "status": "failed", "error": {"code": "server_error", "message": "Busy"}}),
)
both = pytest.mark.parametrize("kind", ["sync", "async"])
every_reading = pytest.mark.parametrize("reading", ["loop", "text_stream", "final"])


class Log:
    """The records of a tool: of streams that were read to their end, and of those that were not."""

    def __init__(self) -> None:
        self.whole = 0
        self.broken: list[BaseException] = []


@pytest.fixture
def log() -> Log:
    return Log()


def follow(items: Any, log: Log) -> Iterator[Any]:
    """Record what passes, as a tool does whose record is whole only behind the last item."""
    try:
        yield from items
    except BaseException as error:
        log.broken.append(error)
        raise
    log.whole += 1


async def follow_async(items: Any, log: Log) -> AsyncIterator[Any]:
    try:
        async for item in items:
            yield item
    except BaseException as error:
        log.broken.append(error)
        raise
    log.whole += 1


class Foreign:
    """An object that a tool returns in place of a stream."""

    def __init__(self, watched: Any, log: Log) -> None:
        self._stream = watched
        self._log = log

    def __iter__(self) -> Iterator[Any]:
        return follow(self._stream, self._log)

    def __aiter__(self) -> AsyncIterator[Any]:
        return follow_async(self._stream, self._log)


def replace_iterator(watched: Any, log: Log) -> Any:
    follows = follow_async if isinstance(watched, openai.AsyncStream) else follow
    watched._iterator = follows(watched._iterator, log)
    return watched


def wrap_create(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any]) -> None:
    """Wrap `create` of the SDK's classes, as most tools do."""
    for owner in (Responses, AsyncResponses):
        plain: Any = owner.create

        @functools.wraps(plain)
        def create(self: Any, *, _plain: Any = plain, **kwargs: Any) -> Any:
            return change(_plain(self, **kwargs))

        @functools.wraps(plain)
        async def create_async(self: Any, *, _plain: Any = plain, **kwargs: Any) -> Any:
            return change(await _plain(self, **kwargs))

        monkeypatch.setattr(owner, "create", create if owner is Responses else create_async)


def patch_events(monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    """Replace `_iter_events` of the SDK's classes."""
    plain: Any = openai.Stream._iter_events
    plain_async: Any = openai.AsyncStream._iter_events
    monkeypatch.setattr(openai.Stream, "_iter_events", lambda self: follow(plain(self), log))
    monkeypatch.setattr(openai.AsyncStream, "_iter_events", lambda self: follow_async(plain_async(self), log))


def switch_on(mechanism: str, monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    """Switch a tool on that gets at streams by one of the mechanisms."""
    if mechanism == "events":
        patch_events(monkeypatch, log)
    else:
        change = replace_iterator if mechanism == "iterator" else Foreign
        wrap_create(monkeypatch, lambda watched: change(watched, log))


def client_of(kind: str, body: bytes, *, ours: bool, url: str = "", **extensions: Any) -> Any:
    answer = httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Body([body]))
    answer.extensions.update(extensions)
    transport = httpx2.MockTransport(responding_with(answer))
    settings: dict[str, Any] = {"api_key": "none", "base_url": url or "https://gateway.test/v1", "max_retries": 0}
    if kind == "sync":
        http_client = httpx2.Client() if url else httpx2.Client(transport=transport)
        return (Tensorloop if ours else openai.OpenAI)(http_client=http_client, **settings)
    async_http_client = httpx2.AsyncClient() if url else httpx2.AsyncClient(transport=transport)
    kind_of_client: Any = AsyncTensorloop if ours else openai.AsyncOpenAI
    return kind_of_client(http_client=async_http_client, **settings)


async def stream_of(kind: str, client: Any) -> Any:
    """Return our stream, made by the client or around its stream."""
    if kind == "sync":
        made = client.responses.create(**ASK)
        return made if isinstance(client, Tensorloop) else ResponseStream(made)
    made = await client.responses.create(**ASK)
    return made if isinstance(client, AsyncTensorloop) else AsyncResponseStream(made)


async def text_of(kind: str, opened: Any, reading: str) -> str:
    """Read a stream in one of the ways, and return its text."""
    if kind == "sync":
        if reading == "final":
            return str(opened.get_final_response().output_text)
        if reading == "text_stream":
            return "".join(opened.text_stream)
        return "".join(each.delta for each in opened if each.type == "response.output_text.delta")
    if reading == "final":
        return str((await opened.get_final_response()).output_text)
    if reading == "text_stream":
        return "".join([text async for text in opened.text_stream])
    return "".join([each.delta async for each in opened if each.type == "response.output_text.delta"])


@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize("mechanism", ["iterator", "object", "events"])
@both
@every_reading
async def test_a_tool_sees_the_end_behind_the_last_event(
    kind: str, reading: str, log: Log, monkeypatch: pytest.MonkeyPatch, *, mechanism: str, ours: bool
) -> None:
    """The SDK's loop reads on after `response.completed`: only then Sentry, MLflow and New Relic have a record."""
    switch_on(mechanism, monkeypatch, log)
    opened = await stream_of(kind, client_of(kind, WHOLE, ours=ours))

    assert await text_of(kind, opened, reading) == "Hello"
    assert (log.whole, log.broken) == (1, [])


@pytest.mark.parametrize("mechanism", ["iterator", "object", "events"])
@both
@every_reading
async def test_a_tool_sees_the_end_behind_an_answer_that_failed(
    kind: str, reading: str, mechanism: str, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK hands `response.failed` to its loop, and ends as usual: a tool around its stream sees that."""
    switch_on(mechanism, monkeypatch, log)
    opened = await stream_of(kind, client_of(kind, FAILED, ours=False))
    with pytest.raises(StreamProviderError, match="Busy") as raised:
        await text_of(kind, opened, reading)
    partial: Any = raised.value.partial

    assert partial.output_text == "Hel"
    assert (log.whole, log.broken) == (1, [])


@both
async def test_an_event_behind_the_last_one_changes_nothing(
    kind: str, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tool sees it, as with the SDK, and the answer is what it was."""
    wrap_create(monkeypatch, lambda watched: replace_iterator(watched, log))
    opened = await stream_of(kind, client_of(kind, WHOLE + stream(delta("more")), ours=False))

    assert await text_of(kind, opened, "final") == "Hello"
    assert (log.whole, opened.text) == (1, "Hello")


@pytest.mark.parametrize("body", [WHOLE, FAILED])
@both
async def test_a_server_that_keeps_the_connection_open_is_not_waited_for(
    kind: str, body: bytes, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tool waits for the end behind the last event no longer than a connection does."""
    wrap_create(monkeypatch, lambda watched: replace_iterator(watched, log))
    read, has_given_up = threading.Event(), threading.Event()

    def answer(connection: socket.socket, _: int) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        connection.sendall(head + b"%x\r\n%s\r\n" % (len(body), body))
        read.wait(20)
        has_given_up.set()

    with RawServer(answer) as server:
        opened = await stream_of(kind, client_of(kind, b"", ours=False, url=server.url))
        try:
            text = await text_of(kind, opened, "text_stream")
        except StreamProviderError as error:
            partial: Any = error.partial
            text = partial.output_text
        is_late = has_given_up.is_set()
        read.set()

    assert text == ("Hello" if body is WHOLE else "Hel")
    assert not is_late
    assert log.whole + len(log.broken) == 1


@both
async def test_over_http_2_only_async_code_waits_for_the_end(
    kind: str, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blocked read is woken by its socket, which other streams use in HTTP/2."""
    wrap_create(monkeypatch, lambda watched: replace_iterator(watched, log))
    opened = await stream_of(kind, client_of(kind, WHOLE, ours=False, http_version=b"HTTP/2"))

    assert await text_of(kind, opened, "final") == "Hello"
    assert log.whole == (kind == "async")


def test_a_late_alarm_spares_a_connection_whose_response_is_closed() -> None:
    """The connection may be another request's by then."""
    mine, theirs = socket.socketpair()

    class Network:
        def get_extra_info(self, _: str) -> socket.socket:
            return mine

    response = httpx2.Response(200, stream=Body([]), extensions={"network_stream": Network()})
    source = Source("sdk", iter(()), response, response)
    response.close()
    source.wake()
    mine.sendall(b"still open")

    assert theirs.recv(99) == b"still open"
    mine.close()
    theirs.close()


def close_with_response(opened: Any) -> None:
    """Close a stream when its response is closed, as OpenTelemetry does for what `with_raw_response` gives."""
    name = "aclose" if isinstance(opened, openai.AsyncStream) else "close"
    plain = getattr(opened.response, name)

    def close() -> None:
        plain()
        opened.close()

    async def close_async() -> None:
        await plain()
        await opened.close()

    setattr(opened.response, name, close if name == "close" else close_async)


@both
@every_reading
async def test_a_failed_answer_is_an_error_although_the_stream_closes_with_its_response(
    kind: str, reading: str
) -> None:
    """A close while the connection closes does not end the stream: the error was there before."""
    calls: list[str] = []
    callbacks: Any = ResponseCallbacks(
        on_error=lambda _: calls.append("on_error"), on_abort=lambda _: calls.append("on_abort")
    )
    opened = await stream_of(kind, client_of(kind, FAILED, ours=True))
    opened = (ResponseStream if kind == "sync" else AsyncResponseStream)(opened, callbacks)
    close_with_response(opened)
    with pytest.raises(StreamProviderError, match="Busy"):
        await text_of(kind, opened, reading)

    assert calls == ["on_error"]
