from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
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

from tensorloop_stream import SSE_HEADERS, Callbacks, ForwardApp, aforward_chat, forward_chat
from tensorloop_stream.replay import ReplayServer

both = pytest.mark.parametrize("kind", ["sync", "async"])
BODY: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello?"}]}


class Answer:
    """What a browser got."""

    def __init__(self, status: int, headers: dict[str, str], parts: list[bytes]) -> None:
        self.status, self.headers, self.parts = status, headers, parts
        self.body = b"".join(parts)


def forward(kind: str, *bodies: Any, callbacks: Callbacks | None = None, read: int = 99) -> Answer:
    """Forward what a gateway answers with, to a browser that takes `read` parts and leaves."""

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
@pytest.mark.parametrize("told", [False, True])
def test_the_bytes_are_the_gateways(kind: str, told: bool) -> None:
    """Comments, odd line ends, unknown fields and text after `[DONE]`: all pass unchanged."""
    parts = [b": ping\r\n\r\n", sse(*HELLO)[:40], sse(*HELLO)[40:], b"retry: 5\n\ndata: after\n\n"]
    answer = forward(kind, Body(parts), callbacks=Callbacks() if told else None)

    assert answer.parts == parts
    assert answer.status == 200
    assert answer.headers == SSE_HEADERS


@both
def test_headers_are_chosen(kind: str) -> None:
    """The gateway's ids reach the browser; what tells of the key, of cookies or of the connection does not."""
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
def test_errors_before_the_stream_are_passed_on(kind: str, status: int) -> None:
    """Status, `retry-after` and the JSON body, byte for byte."""
    body = b'{"error": {"message": "no", "code": "%d"}}' % status
    headers = {"content-type": "application/json", "retry-after": "60", "x-litellm-call-id": "call-1"}
    log = CallbackLog()
    answer = forward(kind, httpx2.Response(status, headers=headers, content=body), callbacks=log.callbacks)

    assert (answer.status, answer.body) == (status, body)
    assert answer.headers == {"Content-Type": "application/json", "retry-after": "60", "x-litellm-call-id": "call-1"}
    assert log.names == ["on_error"]


@both
@pytest.mark.parametrize(
    ("parts", "status", "says"),
    [
        ([httpx2.ReadTimeout("silent")], 504, "timed out"),
        ([httpx2.ReadError("reset")], 502, "was cut before the first byte: reset"),
        ([], 502, "ended its answer before the first byte"),
    ],
)
def test_a_stream_that_never_begins_is_an_error_with_a_status(
    kind: str, parts: list[Any], status: int, says: str
) -> None:
    """Never a 200 with nothing in it."""
    log = CallbackLog()
    answer = forward(kind, Body(parts), callbacks=log.callbacks)

    assert answer.status == status
    assert says in json.loads(answer.body)["error"]["message"]
    assert json.loads(answer.body)["error"]["code"] == str(status)
    assert log.names == ["on_error"]


@both
def test_the_key_is_not_passed_on(kind: str) -> None:
    """LiteLLM's 401 and 429 repeat the key's end and its hash, OpenAI's its beginning too."""
    key = "tl_live_0123456789abcdef"
    digest = hashlib.sha256(key.encode()).hexdigest()
    said = f"Received API Key = sk-...cdef, Key Hash (Token) ={digest}; tl_live_******cdef or {key} in 3... 2..."
    refused = httpx2.Response(401, json={"error": {"message": said}})
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
@pytest.mark.parametrize("told", [False, True])
def test_an_answer_in_one_piece_stays_one(kind: str, told: bool) -> None:
    """A gateway may answer with JSON although a stream was asked for; nothing is added to it."""
    whole = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
    response = httpx2.Response(200, json=whole)
    answer = forward(kind, response, callbacks=Callbacks() if told else None)

    assert json.loads(answer.body) == whole
    assert answer.headers == {**SSE_HEADERS, "Content-Type": "application/json"}


@both
@pytest.mark.parametrize("told", [False, True])
def test_a_cut_after_the_end_is_none(kind: str, told: bool) -> None:
    """What said `[DONE]` was whole, however its connection ends."""
    log = CallbackLog("on_finish", "on_error")
    answer = forward(kind, Body([sse(*HELLO), httpx2.ReadError("reset")]), callbacks=log.callbacks if told else None)

    assert answer.body == sse(*HELLO)
    assert log.names == (["on_finish"] if told else [])


@both
def test_a_cut_says_how_much_had_passed(kind: str) -> None:
    """Also where nobody is told of the chunks, which are not parsed then."""
    parts: list[Any] = [b": hello\n\n", sse(*HELLO[:2], done=False), httpx2.ReadError("reset")]
    untold, told = forward(kind, Body(parts)), forward(kind, Body(parts), callbacks=Callbacks())

    assert b"cut after 2 events: reset" in untold.body
    assert b"cut after 2 chunks and 3 characters of text: reset" in told.body


def test_a_client_of_the_other_kind_is_refused() -> None:
    """At once, and by name."""
    with pytest.raises(TypeError, match="AsyncOpenAI is an async client: use aforward_chat"):
        forward_chat(async_client(), BODY)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="OpenAI is a sync client: use an async one, such as AsyncTensorloop"):
        ForwardApp(sync_client(), BODY)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"need a connection whose reads can be woken, .* vcrpy and mock transports"):
        forward_chat(sync_client(Body([sse(*HELLO)])), BODY, idle_timeout=5)


@both
def test_a_gateway_out_of_reach_is_a_502(kind: str) -> None:
    """Nobody listens there; the client stays usable."""
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
@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([sse(*HELLO[:2], done=False), httpx2.ReadError("reset")], "502"),
        ([sse(*HELLO[:2], done=False), httpx2.ReadTimeout("silent")], "504"),
        ([sse(*HELLO[:2], done=False)], "502"),
        ([sse(*HELLO[:2], done=False) + b'data: {"id"', httpx2.ReadError("reset")], "502"),
    ],
)
def test_a_cut_upstream_is_made_visible(kind: str, told: bool, parts: list[Any], status: str) -> None:
    """After the gateway's bytes comes an error event, apart from a half event before it, and no `[DONE]`."""
    log = CallbackLog("on_error", "on_finish")
    answer = forward(kind, Body(parts), callbacks=log.callbacks if told else None)
    passed, added = answer.parts

    assert passed == parts[0]
    assert b"[DONE]" not in answer.body
    assert json.loads(added.strip().removeprefix(b"data: "))["error"]["code"] == status
    assert (passed + added).split(b"\n\n")[-2] == added.strip()
    assert log.names == (["on_error"] if told else [])


@both
@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize(
    "parts",
    [
        [sse(*HELLO, done=False)],
        [sse(*HELLO[:2])],
        [sse(text("a"), done=False), event({"error": {"message": "no"}})],
        [sse(text("a"), done=False), b"event: error\ndata: no\n\n"],
    ],
)
def test_what_says_its_end_gets_no_other(kind: str, told: bool, parts: list[bytes]) -> None:
    """A finish reason, `[DONE]` or the gateway's own error is an end that the browser sees."""
    assert forward(kind, Body(parts), callbacks=Callbacks() if told else None).body == b"".join(parts)


def test_a_model_cannot_fake_an_end() -> None:
    """Text that looks like a finish reason is not one."""
    parts = [sse(text('"finish_reason":"stop" data: [DONE] "error":{'), done=False)]

    assert forward("sync", Body(parts)).body != b"".join(parts)


@both
def test_the_finished_message_is_told(kind: str) -> None:
    """`on_finish` has the whole message, to be stored."""
    log = CallbackLog("on_finish", "on_text")
    forward(kind, Body([sse(*HELLO)]), callbacks=log.callbacks)

    assert log.arguments("on_text") == ["Hel", "lo"]
    assert log.arguments("on_finish")[0].choices[0].message.content == "Hello"


@both
def test_a_browser_that_leaves_is_told(kind: str) -> None:
    """`on_abort` has what had come, and the upstream is closed."""
    log = CallbackLog("on_abort", "on_finish")
    body = Body([sse(*HELLO[:2], done=False), sse(*HELLO[2:])])
    forward(kind, body, callbacks=log.callbacks, read=1)

    assert log.names == ["on_abort"]
    assert log.arguments("on_abort")[0].choices[0].message.content == "Hel"
    assert body.closed


@both
def test_a_callback_that_raises_closes_the_upstream(kind: str) -> None:
    """Its exception reaches the server's log unchanged; the browser's answer breaks off."""
    log = CallbackLog("on_text", "on_error", raising="on_text")
    body = Body([sse(*HELLO)])

    with pytest.raises(LookupError):
        forward(kind, body, callbacks=log.callbacks)
    assert body.closed
    assert log.names == ["on_text", "on_error"]


def test_async_callbacks_are_awaited() -> None:
    """Storing a message is asynchronous in an asynchronous backend; the sync form refuses it."""
    log = CallbackLog("on_finish", is_async=True)
    forward("async", Body([sse(*HELLO)]), callbacks=log.callbacks)

    assert log.names == ["on_finish"]
    with pytest.raises(TypeError, match="on_finish is an async function"):
        forward("sync", Body([sse(*HELLO)]), callbacks=log.callbacks)


def test_the_body_is_sent_as_it_is() -> None:
    """Any field goes to the gateway, `stream` is set, and the mapping stays the caller's."""
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
    """The other side of an ASGI application: receives messages, and may leave."""

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
    """Wait for what another thread's server sees."""
    while not happened():  # noqa: ASYNC110 - the server is not of this event loop
        await anyio.sleep(0.01)


def asking(fault: str = "") -> dict[str, Any]:
    haiku = recorded.request("chat/haiku")
    return {**haiku, "model": haiku["model"] + fault}


def client_of(gateway: ReplayServer, **settings: Any) -> openai.AsyncOpenAI:
    http_client = httpx2.AsyncClient(verify=SSL)
    return openai.AsyncOpenAI(api_key="tl_none", base_url=gateway.base_url, http_client=http_client, **settings)


async def test_an_asgi_application_answers(gateway: ReplayServer) -> None:
    """Start, one message for each read, and the end."""
    browser = Browser()
    async with client_of(gateway) as client:
        await ForwardApp(client, asking())({"type": "http"}, browser.receive, browser.send)

    start, *parts, end = browser.messages
    assert (start["type"], start["status"]) == ("http.response.start", 200)
    assert dict(start["headers"])[b"x-accel-buffering"] == b"no"
    assert all(part["more_body"] for part in parts)
    assert end == {"type": "http.response.body", "body": b"", "more_body": False}
    assert browser.body.decode() == recorded.interactions("chat/haiku")[0]["response"]["body"]["string"]


@pytest.mark.parametrize(
    ("fault", "sees"),
    [
        ("?stall-after=3", True),
        ("?first-delay=30", False),
        ("?delay=0.05", True),
        ("?status=429&retry-after=30", False),
    ],
    ids=["stalled", "before the first byte", "mid-stream", "waiting to retry"],
)
async def test_a_browser_that_leaves_ends_the_request(gateway: ReplayServer, fault: str, sees: bool) -> None:
    """In every phase: the upstream is closed at once, the abort told, and nothing is asked again."""
    browser, log = Browser(), CallbackLog("on_abort", "on_error", "on_finish")
    asked, left = len(gateway.requests), len(gateway.disconnects)
    async with client_of(gateway) as client:
        app = ForwardApp(client, asking(fault), log.callbacks)
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(app, {"type": "http"}, browser.receive, browser.send)
                await until(lambda: len(gateway.requests) > asked)
                if sees:
                    await browser.sent.wait()
                else:
                    await anyio.sleep(0.1)
                browser.left.set()
            # A request refused by its status has been answered whole.
            await until(lambda: len(gateway.disconnects) > left or fault.startswith("?status"))

    assert len(gateway.requests) == asked + 1
    assert log.names == ["on_abort"]


@both
@pytest.mark.parametrize("told", [False, True])
def test_a_stall_behind_pings_is_made_visible(gateway: ReplayServer, kind: str, told: bool) -> None:
    """`idle_timeout` counts chunks: keep-alive comments, which also pass, do not reset it."""
    log = CallbackLog("on_error", "on_abort")
    callbacks, asked = log.callbacks if told else None, asking("?stall-after=3&ping=0.05")

    async def run() -> bytes:
        async with (
            client_of(gateway) as client,
            await aforward_chat(client, asked, callbacks, first_chunk_timeout=60, idle_timeout=0.2) as answer,
        ):
            return b"".join([part async for part in answer])

    if kind == "async":
        body = anyio.run(run)
    else:
        http_client = httpx2.Client(verify=SSL)
        client = openai.OpenAI(api_key="tl_none", base_url=gateway.base_url, http_client=http_client)
        with client, forward_chat(client, asked, callbacks, idle_timeout=0.2) as answer:
            body = b"".join(answer)

    *passed, last = body.removesuffix(b"\n\n").split(b"\n\n")
    assert passed.count(b": ping") >= 2
    error = json.loads(last.removeprefix(b"data: "))["error"]
    assert error["type"] == "timeout_error"
    assert error["message"].startswith("no chunk for 0.2 s (idle_timeout), after 3 ")
    assert log.names == (["on_error"] if told else [])


async def test_a_silent_model_is_a_504(gateway: ReplayServer) -> None:
    """`first_chunk_timeout` counts from before the request, and the browser has not been answered yet."""
    async with (
        client_of(gateway) as client,
        await aforward_chat(client, asking("?first-delay=30"), first_chunk_timeout=0.2) as answer,
    ):
        body = b"".join([part async for part in answer])

    assert answer.status_code == 504
    assert json.loads(body)["error"]["message"] == "no first chunk within 0.2 s (first_chunk_timeout)"


async def test_headers_and_background_of_an_application(gateway: ReplayServer) -> None:
    """A cookie or an id of one's own goes with the stream; Starlette's background task is run after it."""
    browser, ran = Browser(), []
    async with client_of(gateway) as client:
        app = ForwardApp(client, asking(), headers={"X-Chat-Id": "7"})

        async def background() -> None:
            ran.append(len(browser.messages))

        app.background = background
        await app({"type": "http"}, browser.receive, browser.send)

    assert dict(browser.messages[0]["headers"])[b"x-chat-id"] == b"7"
    assert ran == [len(browser.messages)]


async def test_a_browser_that_leaves_early_has_an_answer_all_the_same(gateway: ReplayServer) -> None:
    """Starlette's `BaseHTTPMiddleware` raises "No response returned." for an application that sends nothing."""
    requirements.module("starlette", "starlette")
    from starlette.middleware.base import BaseHTTPMiddleware

    browser, asked = Browser(), len(gateway.requests)
    async with client_of(gateway) as client:
        app = BaseHTTPMiddleware(
            ForwardApp(client, asking("?first-delay=30")), dispatch=lambda request, call_next: call_next(request)
        )

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
                tasks.start_soon(app, scope, browser.receive, browser.send)
                await until(lambda: len(gateway.requests) > asked)
                browser.left.set()

    assert [message.get("status") for message in browser.messages][:1] in ([499], [])


async def test_an_exception_of_a_callback_is_the_applications(gateway: ReplayServer) -> None:
    """It is not wrapped in a group, so that the server's handlers know it."""
    log = CallbackLog("on_text", raising="on_text")
    browser = Browser()

    async with client_of(gateway) as client:
        with pytest.raises(LookupError):
            await ForwardApp(client, asking(), log.callbacks)({"type": "http"}, browser.receive, browser.send)


async def test_an_endless_stream_is_forwarded_in_flat_memory() -> None:
    """A slow reader holds the upstream back, and nothing is kept of what has passed."""
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
