"""Forwarding in memory and as an ASGI application: bytes, headers, errors, callbacks and disconnects."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import cassette
import httpx2
import openai
import pytest
import recorded
import requirements
from callback_log import CallbackLog
from chunks import DONE, HELLO, event, sse, text
from clients import SSL, Body, async_client, sync_client

from tensorloop_stream import (
    SSE_HEADERS,
    AsyncTensorloop,
    Callbacks,
    ForwardApp,
    Tensorloop,
    aforward_chat,
    forward_chat,
)
from tensorloop_stream.replay import ReplayServer

both = pytest.mark.parametrize("kind", ["sync", "async"])
BARE = b'data: {"code": 503, "message": "overloaded"}\n\n'
BODY: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello?"}]}


class Answer:
    """A response as a browser receives it."""

    def __init__(self, status: int, headers: dict[str, str], parts: list[bytes]) -> None:
        self.status, self.headers, self.parts = status, headers, parts
        self.body = b"".join(parts)


def forward(kind: str, *bodies: Any, callbacks: Callbacks | None = None, read: int = 99) -> Answer:
    """Forward the gateway's response to a browser that reads `read` parts and leaves."""

    async def run() -> Answer:
        async with await aforward_chat(async_client(*bodies), BODY, callbacks) as answer:
            parts: list[bytes] = []
            while len(parts) < read and (part := await anext(answer, None)) is not None:
                parts.append(part)
            return Answer(answer.status_code, answer.headers, parts)

    if kind == "async":
        return anyio.run(run)
    with forward_chat(sync_client(*bodies), BODY, callbacks) as answer:
        return Answer(answer.status_code, answer.headers, [part for _, part in zip(range(read), answer, strict=False)])


@both
@pytest.mark.parametrize("with_callbacks", [False, True])
def test_the_bytes_of_the_gateway_are_forwarded_unchanged(kind: str, with_callbacks: bool) -> None:
    """Comments, odd line ends, unknown fields and text after `[DONE]` are kept."""
    parts = [b": ping\r\n\r\n", sse(*HELLO)[:40], sse(*HELLO)[40:], b"retry: 5\n\ndata: after\n\n"]
    answer = forward(kind, Body(parts), callbacks=Callbacks() if with_callbacks else None)

    assert answer.parts == parts
    assert answer.status == 200
    assert answer.headers == SSE_HEADERS


@both
def test_only_safe_headers_are_forwarded(kind: str) -> None:
    """The gateway's ids reach the browser; headers about the key, cookies or the connection do not."""
    headers = {
        "content-type": "text/event-stream",
        "x-litellm-call-id": "call-1",
        "x-litellm-key-spend": "0.5",
        "set-cookie": "a=b",
        "content-length": "5",
        "connection": "keep-alive",
        "authorization": "Bearer x",
    }
    answer = forward(kind, httpx2.Response(200, headers=headers, stream=Body([sse(*HELLO)])))

    assert answer.headers == {**SSE_HEADERS, "x-litellm-call-id": "call-1"}


@both
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_errors_before_the_stream_are_forwarded(kind: str, status: int) -> None:
    """Status, `retry-after` and JSON body stay unchanged, byte for byte."""
    body = b'{"error": {"message": "no", "code": "%d"}}' % status
    headers = {"content-type": "application/json", "retry-after": "60", "x-litellm-call-id": "call-1"}
    log = CallbackLog()
    answer = forward(kind, httpx2.Response(status, headers=headers, content=body), callbacks=log.callbacks)

    assert (answer.status, answer.body) == (status, body)
    own = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"}
    assert answer.headers == {**own, "retry-after": "60", "x-litellm-call-id": "call-1"}
    assert log.names == ["on_error"]


@both
@pytest.mark.parametrize(
    "content_type",
    [
        "text/html",
        "text/html; profile=json",
        "text/html;application/json",
        "image/svg+json",
        "application/ld+json, text/html",
        "application/jsonfoo",
    ],
)
def test_what_a_browser_may_show_is_not_forwarded(kind: str, content_type: str) -> None:
    """Words of an upstream must not be a page of the app, whatever stands beside its media type."""
    page = httpx2.Response(503, headers={"content-type": content_type}, content=b"<script>alert(1)</script>")
    answer = forward(kind, page)

    assert answer.headers["Content-Type"] == "application/json"
    assert "<script>" not in json.loads(answer.body)["error"]["message"]


@both
@pytest.mark.parametrize("content_type", ["Application/JSON", "application/problem+json; charset=utf-8"])
def test_json_of_any_kind_is_forwarded_as_json(kind: str, content_type: str) -> None:
    """The media type is compared without case and parameters, and sent without them."""
    answer = forward(kind, httpx2.Response(503, headers={"content-type": content_type}, content=b'{"error":"x"}'))

    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body == b'{"error":"x"}'


@both
@pytest.mark.parametrize(
    ("parts", "status", "message"),
    [
        ([httpx2.ReadTimeout("silent")], 504, "timed out"),
        ([httpx2.ReadError("reset")], 502, "was cut before the first byte: reset"),
        ([], 502, "ended its answer before the first byte"),
    ],
)
def test_a_stream_that_never_begins_is_an_error_with_a_status(
    kind: str, parts: list[Any], status: int, message: str
) -> None:
    """The browser never receives an empty response with status 200."""
    log = CallbackLog()
    answer = forward(kind, Body(parts), callbacks=log.callbacks)

    assert answer.status == status
    assert message in json.loads(answer.body)["error"]["message"]
    assert json.loads(answer.body)["error"]["code"] == str(status)
    assert log.names == ["on_error"]


@both
def test_the_key_is_not_forwarded(kind: str) -> None:
    """LiteLLM's errors contain the end of the key and its hash, OpenAI's also its beginning."""
    key = "tl_live_0123456789abcdef"
    digest = hashlib.sha256(key.encode()).hexdigest()
    message = f"Received API Key = sk-...cdef, Key Hash (Token) ={digest}; tl_live_******cdef or {key} in 3... 2..."
    refused = httpx2.Response(401, json={"error": {"message": message}})
    client: Any = (sync_client if kind == "sync" else async_client)(refused)
    client.api_key = key

    async def run() -> bytes:
        async with await aforward_chat(client, BODY) as answer:
            return b"".join([part async for part in answer])

    if kind == "async":
        body = anyio.run(run)
    else:
        with forward_chat(client, BODY) as answer:
            body = b"".join(answer)

    expected = "Received API Key = ***, Key Hash (Token) =***; *** or *** in 3... 2..."
    assert json.loads(body) == {"error": {"message": expected}}


@both
@pytest.mark.parametrize("with_callbacks", [False, True])
def test_an_unstreamed_answer_is_forwarded_unchanged(kind: str, with_callbacks: bool) -> None:
    """A gateway may send JSON instead of a stream; nothing is added."""
    whole = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
    response = httpx2.Response(200, json=whole)
    answer = forward(kind, response, callbacks=Callbacks() if with_callbacks else None)

    assert json.loads(answer.body) == whole
    assert answer.headers == {**SSE_HEADERS, "Content-Type": "application/json"}


@both
@pytest.mark.parametrize("with_callbacks", [False, True])
def test_a_connection_error_after_done_is_ignored(kind: str, with_callbacks: bool) -> None:
    """`[DONE]` completes the answer, however its connection ends."""
    log = CallbackLog("on_finish", "on_error")
    answer = forward(
        kind, Body([sse(*HELLO), httpx2.ReadError("reset")]), callbacks=log.callbacks if with_callbacks else None
    )

    assert answer.body == sse(*HELLO)
    assert log.names == (["on_finish"] if with_callbacks else [])


@both
def test_a_connection_error_says_how_much_was_forwarded(kind: str) -> None:
    """Without callbacks chunks are not parsed, and the message counts events."""
    parts: list[Any] = [b": hello\n\n", sse(*HELLO[:2], done=False), httpx2.ReadError("reset")]
    without, with_callbacks = forward(kind, Body(parts)), forward(kind, Body(parts), callbacks=Callbacks())

    assert b"cut after 2 events: reset" in without.body
    assert b"cut after 2 chunks and 3 characters of text: reset" in with_callbacks.body


def test_a_client_of_the_other_kind_is_refused() -> None:
    """The error names the class or function to use."""
    with pytest.raises(TypeError, match="AsyncOpenAI is an async client: use aforward_chat"):
        forward_chat(async_client(), BODY)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="OpenAI is a sync client: use an async one, such as AsyncTensorloop"):
        ForwardApp(sync_client(), BODY)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"need a connection whose reads can be woken, .* vcrpy and mock transports"):
        forward_chat(sync_client(Body([sse(*HELLO)])), BODY, idle_timeout=5)


@both
def test_an_unreachable_gateway_is_a_502(kind: str) -> None:
    """The error type is `upstream_error`."""
    url = "http://127.0.0.1:9/v1"

    async def run() -> tuple[int, bytes]:
        http_client = httpx2.AsyncClient(verify=SSL)
        client = openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0, http_client=http_client)
        async with client, await aforward_chat(client, BODY) as answer:
            return answer.status_code, b"".join([part async for part in answer])

    if kind == "async":
        status, body = anyio.run(run)
    else:
        http_client = httpx2.Client(verify=SSL)
        client = openai.OpenAI(api_key="none", base_url=url, max_retries=0, http_client=http_client)
        with client, forward_chat(client, BODY) as answer:
            status, body = answer.status_code, b"".join(answer)

    assert status == 502
    assert json.loads(body)["error"]["type"] == "upstream_error"


@both
@pytest.mark.parametrize("with_callbacks", [False, True])
@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([sse(*HELLO[:2], done=False), httpx2.ReadError("reset")], "502"),
        ([sse(*HELLO[:2], done=False), httpx2.ReadTimeout("silent")], "504"),
        ([sse(*HELLO[:2], done=False)], "502"),
        ([sse(*HELLO[:2], done=False) + b'data: {"id"', httpx2.ReadError("reset")], "502"),
    ],
)
def test_a_broken_upstream_is_reported_by_an_error_event(
    kind: str, with_callbacks: bool, parts: list[Any], status: str
) -> None:
    """The error event follows the gateway's bytes, separate from an incomplete event, and without `[DONE]`."""
    log = CallbackLog("on_error", "on_finish")
    answer = forward(kind, Body(parts), callbacks=log.callbacks if with_callbacks else None)
    forwarded, added = answer.parts

    assert forwarded == parts[0]
    assert b"[DONE]" not in answer.body
    assert json.loads(added.strip().removeprefix(b"data: "))["error"]["code"] == status
    assert (forwarded + added).split(b"\n\n")[-2] == added.strip()
    assert log.names == (["on_error"] if with_callbacks else [])


@both
@pytest.mark.parametrize("with_callbacks", [False, True])
@pytest.mark.parametrize(
    "parts",
    [
        [sse(*HELLO, done=False)],
        [sse(*HELLO[:2])],
        [sse(text("a"), done=False), event({"error": {"message": "no"}})],
        [sse(text("a"), done=False), b"event: error\ndata: no\n\n"],
    ],
)
def test_a_complete_stream_gets_no_error_event(kind: str, with_callbacks: bool, parts: list[bytes]) -> None:
    """The browser recognizes a finish reason, `[DONE]` and the gateway's own error as an end."""
    assert forward(kind, Body(parts), callbacks=Callbacks() if with_callbacks else None).body == b"".join(parts)


@both
@pytest.mark.parametrize("with_callbacks", [False, True])
@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([sse(text("Hello"), done=False), httpx2.ReadError("reset")], "connection cut after 1"),
        ([sse(text("Hello"), done=False)], "stream ended after 1"),
        ([sse(text("Hello"), done=False), b'data: {"error": {"message": "overloaded"}}\n\n'], "overloaded"),
        ([sse(text("Hello"), done=False), b'data: {"code": 503, "message": "overloaded"}\n\n'], "overloaded"),
        (
            [sse(text("Hello"), done=False), b'data: {"fault": {"text": "overloaded"}}\n\ndata: [DONE]\n\n'],
            "overloaded",
        ),
    ],
)
def test_a_broken_answer_is_logged_once(
    kind: str, with_callbacks: bool, parts: list[Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its status was sent before it broke, so no access log shows it."""
    forward(kind, Body(parts), callbacks=Callbacks() if with_callbacks else None)
    (record,) = caplog.records

    assert record.getMessage().startswith("a forwarded answer broke: ")
    assert (record.name, record.levelname) == ("tensorloop_stream", "WARNING")
    assert reason in record.getMessage()


@both
@pytest.mark.parametrize("with_callbacks", [False, True])
@pytest.mark.parametrize("parts", [[BARE], [BARE[:20], BARE[20:]], [BARE.replace(b"\n", b"\r\n")]])
def test_an_error_of_another_form_is_followed_by_one_that_browsers_know(
    kind: str, with_callbacks: bool, parts: list[bytes]
) -> None:
    """The gateway's own bytes pass through before it. Where `[DONE]` follows them, no browser reads on."""
    callbacks = Callbacks() if with_callbacks else None
    sent = [sse(text("Hello"), done=False), *parts]
    added = forward(kind, Body(sent), callbacks=callbacks).body.removeprefix(b"".join(sent))

    assert json.loads(added.strip().removeprefix(b"data: "))["error"]["type"] == "upstream_error"
    for ended in ([*sent, DONE], [*sent[:-1], sent[-1] + DONE]):
        assert forward(kind, Body(ended), callbacks=callbacks).body == b"".join(ended)


@both
@pytest.mark.parametrize("is_refused", [False, True])
def test_an_answer_that_does_not_begin_is_logged_once(
    kind: str, is_refused: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The browser is not told all that an operator needs."""
    busy = httpx2.Response(503, json={"error": {"message": "reset"}})
    forward(kind, busy if is_refused else Body([httpx2.ReadError("reset")]))
    (record,) = caplog.records

    assert record.getMessage().startswith("a forwarded answer did not begin: ")
    assert "reset" in record.getMessage()
    assert (record.name, record.levelname) == ("tensorloop_stream", "WARNING")


@both
@pytest.mark.parametrize("with_callbacks", [False, True])
@pytest.mark.parametrize("read", [1, 99])
def test_an_answer_that_is_whole_or_left_is_not_logged(
    kind: str, with_callbacks: bool, read: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A browser that leaves is no fault."""
    callbacks = Callbacks() if with_callbacks else None
    forward(kind, Body([sse(text("Hello"), done=False), sse(*HELLO)]), callbacks=callbacks, read=read)

    assert caplog.records == []


@both
def test_a_logged_reason_is_one_line(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Words of a gateway forge no line of a log, and half a surrogate pair ends no handler."""
    busy = httpx2.Response(503, content=b'{"error": {"message": "a\\n2026 ERROR forged \\ud800"}}')
    forward(kind, busy)
    (record,) = caplog.records

    assert "\n" not in record.getMessage()
    assert record.getMessage().encode()


def test_a_model_cannot_fake_an_end() -> None:
    """Text that looks like a finish reason is not one."""
    parts = [sse(text('"finish_reason":"stop" data: [DONE] "error":{'), done=False)]

    assert forward("sync", Body(parts)).body != b"".join(parts)


@both
def test_on_finish_receives_the_whole_message(kind: str) -> None:
    """A program can store the message."""
    log = CallbackLog("on_finish", "on_text")
    forward(kind, Body([sse(*HELLO)]), callbacks=log.callbacks)

    assert log.arguments("on_text") == ["Hel", "lo"]
    assert log.arguments("on_finish")[0].choices[0].message.content == "Hello"


@both
def test_on_abort_receives_the_partial_message_when_the_browser_leaves(kind: str) -> None:
    """The upstream connection is closed."""
    log = CallbackLog("on_abort", "on_finish")
    body = Body([sse(*HELLO[:2], done=False), sse(*HELLO[2:])])
    forward(kind, body, callbacks=log.callbacks, read=1)

    assert log.names == ["on_abort"]
    assert log.arguments("on_abort")[0].choices[0].message.content == "Hel"
    assert body.closed


@both
def test_a_callback_that_raises_closes_the_upstream(kind: str) -> None:
    """The exception reaches the server's log unchanged, and the browser's response is truncated."""
    log = CallbackLog("on_text", "on_error", raising="on_text")
    body = Body([sse(*HELLO)])

    with pytest.raises(LookupError):
        forward(kind, body, callbacks=log.callbacks)
    assert body.closed
    assert log.names == ["on_text", "on_error"]


@both
@pytest.mark.parametrize("is_refused", [False, True], ids=["broken", "refused"])
def test_a_last_callback_that_raises_hides_no_failure_from_the_browser(kind: str, is_refused: bool) -> None:
    """The browser gets the event, or the status and body, that tells of it; then the exception reaches the server."""
    log = CallbackLog("on_error", raising="on_error")
    refusal = httpx2.Response(400, json={"error": {"message": "too long", "code": "400"}})
    answer = refusal if is_refused else Body([sse(*HELLO[:2], done=False)])
    got: list[Any] = []

    async def aread() -> None:
        async with await aforward_chat(async_client(answer), BODY, log.callbacks) as forwarded:
            got.append(forwarded.status_code)
            while (part := await anext(forwarded, None)) is not None:
                got.append(part)

    def read() -> None:
        with forward_chat(sync_client(answer), BODY, log.callbacks) as forwarded:
            got.append(forwarded.status_code)
            got.extend(forwarded)

    with pytest.raises(LookupError):
        anyio.run(aread) if kind == "async" else read()
    assert got[0] == (400 if is_refused else 200)
    assert (b"too long" if is_refused else b"upstream_error") in got[-1]
    assert log.names == ["on_error"]


def test_async_callbacks_are_awaited() -> None:
    """The synchronous form refuses them."""
    log = CallbackLog("on_finish", is_async=True)
    forward("async", Body([sse(*HELLO)]), callbacks=log.callbacks)

    assert log.names == ["on_finish"]
    with pytest.raises(TypeError, match="on_finish is an async function"):
        forward("sync", Body([sse(*HELLO)]), callbacks=log.callbacks)


def test_the_body_is_sent_unchanged() -> None:
    """Any field reaches the gateway, `stream` is set, and the caller's mapping is not modified."""
    seen: list[Any] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append((json.loads(request.content), request.headers["authorization"]))
        return httpx2.Response(200, stream=Body([DONE]))

    client = openai.OpenAI(
        api_key="tl_none",
        base_url="https://gateway.test/v1",
        http_client=httpx2.Client(transport=httpx2.MockTransport(handle)),
    )
    body = {**BODY, "own_field": {"a": [1]}, "stream": False}
    with forward_chat(client, body) as answer:
        list(answer)

    assert seen == [({**body, "stream": True}, "Bearer tl_none")]
    assert body["stream"] is False
    with pytest.raises(TypeError, match="body is str: it must be the mapping"):
        forward_chat(client, "{}")  # type: ignore[arg-type]


# On real sockets, as an ASGI application


@pytest.fixture(scope="module")
def gateway() -> Iterator[ReplayServer]:
    with ReplayServer([cassette.FOLDER]) as server:
        yield server


class Browser:
    """The other side of an ASGI application, which receives messages and may leave."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.left = anyio.Event()
        self.sent = anyio.Event()

    async def receive(self) -> Any:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.messages.append(message)
        self.sent.set()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)


async def until(happened: Callable[[], bool]) -> None:
    """Wait for an observation of a server in another thread."""
    while not happened():  # noqa: ASYNC110 - the server is not of this event loop
        await anyio.sleep(0.01)


def haiku_request(fault: str = "") -> dict[str, Any]:
    haiku = recorded.request("chat/haiku")
    return {**haiku, "model": haiku["model"] + fault}


def client_of(gateway: ReplayServer, **settings: Any) -> openai.AsyncOpenAI:
    http_client = httpx2.AsyncClient(verify=SSL)
    return openai.AsyncOpenAI(api_key="tl_none", base_url=gateway.base_url, http_client=http_client, **settings)


async def test_an_asgi_application_sends_one_message_per_read(gateway: ReplayServer) -> None:
    """A start message comes first, and an end message last."""
    browser = Browser()
    async with client_of(gateway) as client:
        await ForwardApp(client, haiku_request())({"type": "http"}, browser.receive, browser.send)

    start, *parts, end = browser.messages
    assert (start["type"], start["status"]) == ("http.response.start", 200)
    assert dict(start["headers"])[b"x-accel-buffering"] == b"no"
    assert all(part["more_body"] for part in parts)
    assert end == {"type": "http.response.body", "body": b"", "more_body": False}
    assert browser.body.decode() == recorded.interactions("chat/haiku")[0]["response"]["body"]["string"]


@pytest.mark.parametrize(
    ("fault", "has_begun"),
    [
        ("?stall-after=3", True),
        ("?first-delay=30", False),
        ("?delay=0.05", True),
        ("?status=429&retry-after=30", False),
    ],
    ids=["stalled", "before the first byte", "mid-stream", "waiting to retry"],
)
async def test_a_browser_that_leaves_ends_the_request(gateway: ReplayServer, fault: str, has_begun: bool) -> None:
    """In every phase the upstream is closed at once, `on_abort` is called, and no retry follows."""
    browser, log = Browser(), CallbackLog("on_abort", "on_error", "on_finish")
    requests, disconnects = len(gateway.requests), len(gateway.disconnects)
    async with client_of(gateway) as client:
        app = ForwardApp(client, haiku_request(fault), log.callbacks)
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(app, {"type": "http"}, browser.receive, browser.send)
                await until(lambda: len(gateway.requests) > requests)
                if has_begun:
                    await browser.sent.wait()
                else:
                    await anyio.sleep(0.1)
                browser.left.set()
            # A request that the status refused has a complete response.
            await until(lambda: len(gateway.disconnects) > disconnects or fault.startswith("?status"))

    assert len(gateway.requests) == requests + 1
    assert log.names == ["on_abort"]


@both
@pytest.mark.parametrize("with_callbacks", [False, True])
def test_a_stall_with_pings_is_reported_by_an_error_event(
    gateway: ReplayServer, kind: str, with_callbacks: bool
) -> None:
    """`idle_timeout` counts chunks, so forwarded keep-alive comments do not reset it."""
    log = CallbackLog("on_error", "on_abort")
    callbacks, request = log.callbacks if with_callbacks else None, haiku_request("?stall-after=3&ping=0.05")

    async def run() -> bytes:
        async with (
            client_of(gateway) as client,
            await aforward_chat(client, request, callbacks, first_chunk_timeout=60, idle_timeout=0.2) as answer,
        ):
            return b"".join([part async for part in answer])

    if kind == "async":
        body = anyio.run(run)
    else:
        http_client = httpx2.Client(verify=SSL)
        client = openai.OpenAI(api_key="tl_none", base_url=gateway.base_url, http_client=http_client)
        with client, forward_chat(client, request, callbacks, idle_timeout=0.2) as answer:
            body = b"".join(answer)

    *forwarded, last = body.removesuffix(b"\n\n").split(b"\n\n")
    assert forwarded.count(b": ping") >= 2
    error = json.loads(last.removeprefix(b"data: "))["error"]
    assert error["type"] == "timeout_error"
    assert error["message"].startswith("no chunk for 0.2 s (idle_timeout), after 3 ")
    assert log.names == (["on_error"] if with_callbacks else [])


async def test_a_silent_model_is_a_504(gateway: ReplayServer) -> None:
    """`first_chunk_timeout` counts from before the request, when the browser has no response yet."""
    async with (
        client_of(gateway) as client,
        await aforward_chat(client, haiku_request("?first-delay=30"), first_chunk_timeout=0.2) as answer,
    ):
        body = b"".join([part async for part in answer])

    assert answer.status_code == 504
    assert json.loads(body)["error"]["message"] == "no first chunk within 0.2 s (first_chunk_timeout)"


@pytest.mark.parametrize("with_callbacks", [False, True])
@pytest.mark.parametrize(
    ("limit", "fault", "said"),
    [
        ({"first_chunk_timeout": 0.2}, "?first-delay=30", "no first chunk within 0.2 s (first_chunk_timeout)"),
        ({"idle_timeout": 0.2}, "?stall-after=3", "no chunk for 0.2 s (idle_timeout), after 3 "),
        ({"total_timeout": 0.2}, "?delay=0.05&ping=0.02", "not complete within 0.2 s (total_timeout), after "),
    ],
)
async def test_the_timeouts_of_a_client_hold_for_what_is_forwarded(
    gateway: ReplayServer, limit: dict[str, Any], fault: str, said: str, with_callbacks: bool
) -> None:
    """They are said once, where the client is made, for all its streams."""
    callbacks, browser = Callbacks() if with_callbacks else None, Browser()
    async with AsyncTensorloop(api_key="none", base_url=gateway.base_url, max_retries=0, **limit) as client:
        await ForwardApp(client, haiku_request(fault), callbacks)({"type": "http"}, browser.receive, browser.send)
    body = b"".join(each.get("body", b"") for each in browser.messages)
    message = json.loads(body.rstrip(b"\n").rpartition(b"data: ")[2])["error"]["message"]

    assert message.startswith(said)


@both
def test_a_timeout_of_the_answer_comes_before_that_of_the_client(gateway: ReplayServer, kind: str) -> None:
    """The rule is that of a stream."""
    settings: dict[str, Any] = {"api_key": "none", "base_url": gateway.base_url, "idle_timeout": 0.05}

    async def run() -> bytes:
        async with (
            AsyncTensorloop(**settings) as client,
            await aforward_chat(client, haiku_request("?stall-after=3"), idle_timeout=0.2) as answer,
        ):
            return b"".join([part async for part in answer])

    if kind == "async":
        body = anyio.run(run)
    else:
        with (
            Tensorloop(**settings) as client,
            forward_chat(client, haiku_request("?stall-after=3"), idle_timeout=0.2) as answer,
        ):
            body = b"".join(answer)

    assert b"no chunk for 0.2 s (idle_timeout)" in body


async def test_an_application_has_headers_and_a_background_task(gateway: ReplayServer) -> None:
    """Added headers are sent with the stream, and Starlette's background task runs after it."""
    browser, ran = Browser(), []
    async with client_of(gateway) as client:
        app = ForwardApp(client, haiku_request(), headers={"X-Chat-Id": "7"})

        async def background() -> None:
            ran.append(len(browser.messages))

        app.background = background
        await app({"type": "http"}, browser.receive, browser.send)

    assert dict(browser.messages[0]["headers"])[b"x-chat-id"] == b"7"
    assert ran == [len(browser.messages)]


@pytest.mark.parametrize("sent", ["\u4f60".encode(), "caf\u00e9".encode("latin-1")])
async def test_an_application_sends_the_bytes_of_an_id(sent: bytes) -> None:
    """They are encoded once: the id is the one that the gateway's log has."""
    headers: Any = {"content-type": "text/event-stream", "x-request-id": sent}
    answer = httpx2.Response(200, headers=headers, stream=Body([sse(*HELLO)]))
    messages: list[Any] = []

    async def receive() -> Any:
        await anyio.sleep_forever()

    async def send(message: Any) -> None:
        messages.append(message)

    await ForwardApp(async_client(answer), BODY, headers={"x-own": "\u4f60"})({}, receive, send)

    assert dict(messages[0]["headers"])[b"x-request-id"] == sent
    assert dict(messages[0]["headers"])[b"x-own"] == "\u4f60".encode()


async def test_an_application_sends_a_response_to_a_browser_that_left(gateway: ReplayServer) -> None:
    """Starlette's `BaseHTTPMiddleware` raises "No response returned." for an application that sends nothing."""
    requirements.module("starlette", "starlette")
    from starlette.middleware.base import BaseHTTPMiddleware

    browser, requests = Browser(), len(gateway.requests)
    async with client_of(gateway) as client:
        app = BaseHTTPMiddleware(
            ForwardApp(client, haiku_request("?first-delay=30")), dispatch=lambda request, call_next: call_next(request)
        )

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
                tasks.start_soon(app, scope, browser.receive, browser.send)
                await until(lambda: len(gateway.requests) > requests)
                browser.left.set()

    assert [message.get("status") for message in browser.messages][:1] in ([499], [])


async def test_an_exception_from_a_callback_is_not_wrapped(gateway: ReplayServer) -> None:
    """The handlers of the server recognize its class, because no exception group contains it."""
    log = CallbackLog("on_text", raising="on_text")
    browser = Browser()

    async with client_of(gateway) as client:
        with pytest.raises(LookupError):
            await ForwardApp(client, haiku_request(), log.callbacks)({"type": "http"}, browser.receive, browser.send)


@pytest.mark.parametrize(("callback", "fault"), [("on_finish", ""), ("on_error", "?cut-after=7")])
async def test_an_exception_from_a_last_callback_comes_after_the_answer(
    callback: str, fault: str, gateway: ReplayServer
) -> None:
    """The browser sees the end of the response, and no lost connection behind a whole answer."""
    log = CallbackLog(callback, raising=callback)
    browser = Browser()
    request = haiku_request(fault)

    async with client_of(gateway) as client:
        with pytest.raises(LookupError):
            await ForwardApp(client, request, log.callbacks)({"type": "http"}, browser.receive, browser.send)
    bodies = [message for message in browser.messages if message["type"] == "http.response.body"]

    assert bodies[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert (b"upstream_error" if fault else b"[DONE]") in bodies[-2]["body"]


async def test_an_endless_stream_is_forwarded_in_constant_memory() -> None:
    """A slow reader holds the upstream back, and forwarded bytes are not kept."""
    import tracemalloc

    one = sse(text("x" * 1000), done=False)

    class Endless(Body):
        async def __aiter__(self) -> Any:
            while True:
                yield one

    async with await aforward_chat(async_client(Endless([])), BODY) as answer:
        for _ in range(100):
            await anext(answer)
        tracemalloc.start()
        for _ in range(5000):
            await anext(answer)
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert grown < 100_000


@both
@pytest.mark.parametrize(("error", "status"), [("ReadTimeout", 504), ("ReadError", 502)])
async def test_a_client_with_the_older_http_library_is_forwarded_the_same(kind: str, error: str, status: int) -> None:
    """openai 3 takes an `httpx.Client`, whose errors are of other classes with the same names."""
    requirements.module("httpx", "dev")
    httpx = importlib.import_module("httpx")

    class Silent(httpx.SyncByteStream, httpx.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __iter__(self) -> Iterator[bytes]:
            raise getattr(httpx, error)("no byte")
            yield b""

        async def __aiter__(self) -> AsyncIterator[bytes]:
            raise getattr(httpx, error)("no byte")
            yield b""

    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Silent()))
    settings: dict[str, Any] = {"api_key": "none", "base_url": "https://gateway.test/v1", "max_retries": 0}
    if kind == "sync":
        answer: Any = forward_chat(openai.OpenAI(http_client=httpx.Client(transport=transport), **settings), BODY)
    else:
        client = openai.AsyncOpenAI(http_client=httpx.AsyncClient(transport=transport), **settings)
        answer = await aforward_chat(client, BODY)

    assert answer.status_code == status
