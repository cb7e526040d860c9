"""Retries, on real sockets: restarts of a stream, and requests that the clients retry before it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import clients
import httpx2
import openai
import pytest
from clients import SSL
from sockets import EVENTS, chat, read, run_in_threads, write_cassette

from tensorloop_stream import (
    AsyncTensorloop,
    Callbacks,
    StreamConnectionError,
    StreamProviderError,
    StreamTimeoutError,
    StreamTruncatedError,
    Tensorloop,
    _retry,
)
from tensorloop_stream.replay import ReplayServer

# If an async timeout ends while a connection is made, the HTTP libraries may leave the socket to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
CLIENTS = ("sync", "async", "aiohttp")
every_client = pytest.mark.parametrize("kind", CLIENTS)
both = pytest.mark.parametrize("kind", ["sync", "async"])


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cassette(tmp_path_factory.mktemp("retries") / "hello.yaml", hello=EVENTS)


@pytest.fixture
def server(recording: Path) -> Iterator[ReplayServer]:
    with ReplayServer(recording) as server:
        yield server


@pytest.fixture(autouse=True)
def _short_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the back-off."""
    monkeypatch.setattr(_retry, "FIRST_DELAY", 0.01)


# Restarts


@pytest.mark.parametrize(
    ("faults", "settings"),
    [
        ("cut-after=0", {}),
        ("cut-after=1", {}),
        ("end-after=0", {}),
        ("end-after=1", {}),
        ("error-after=0", {}),
        ("error-after=1", {}),
        ("stall-after=0&ping=0.02", {"first_chunk_timeout": 0.4}),
        ("stall-after=1&ping=0.02", {"idle_timeout": 0.15}),
    ],
)
def test_a_stream_restarts_before_anything_was_delivered(faults: str, settings: Any, recording: Path) -> None:
    """`text_stream` skips a role chunk, so the caller has received nothing; each failed request counts once."""

    def check(kind: str) -> None:
        with ReplayServer(recording) as server:
            outcome = read(kind, server.base_url, chat(faults + "&fails=2"), mode="text", restarts=2, **settings)

        assert outcome.error is None
        assert outcome.items == ["Hel", "lo"]
        assert len(server.requests) == 3

    run_in_threads(check, CLIENTS)


@pytest.mark.parametrize(
    ("faults", "mode", "error"),
    [
        ("cut-after=2", "text", StreamConnectionError),
        ("end-after=2", "text", StreamTruncatedError),
        ("error-after=2", "text", StreamProviderError),
        ("cut-after=1", "chunks", StreamConnectionError),
    ],
)
@every_client
def test_a_stream_does_not_restart_after_an_item_was_delivered(
    kind: str, faults: str, mode: Any, error: type[Exception], server: ReplayServer
) -> None:
    """The caller may have shown the item already."""
    outcome = read(kind, server.base_url, chat(faults + "&fails=1"), mode=mode, restarts=5)

    assert type(outcome.error) is error
    assert not hasattr(outcome.error, "__notes__")
    assert len(outcome.items) == 1
    assert len(server.requests) == 1


@every_client
def test_a_stream_does_not_restart_after_a_callback(kind: str, server: ReplayServer) -> None:
    """Text that a callback received has reached the caller, although nothing was yielded."""
    calls: list[str] = []
    outcome = read(
        kind,
        server.base_url,
        chat("cut-after=2&fails=1"),
        Callbacks(on_text=calls.append),
        mode="final",
        restarts=5,
    )

    assert type(outcome.error) is StreamConnectionError
    assert calls == ["Hel"]
    assert len(server.requests) == 1


@every_client
def test_the_last_error_is_raised_when_restarts_run_out(kind: str, server: ReplayServer) -> None:
    """`on_error` receives the last error alone; a note of it tells that there were others."""
    calls: list[Exception] = []
    callbacks = Callbacks(on_error=calls.append)
    outcome = read(kind, server.base_url, chat("cut-after=0"), callbacks, mode="text", restarts=2)

    assert type(outcome.error) is StreamConnectionError
    assert calls == [outcome.error]
    assert outcome.error.__notes__ == ["The request was made 3 times."]
    assert len(server.requests) == 3


@every_client
def test_an_answer_with_its_finish_reason_is_not_asked_for_again(kind: str, server: ReplayServer) -> None:
    """It would be billed again: only its end is missing."""
    before_done = len(EVENTS) - 1
    outcome = read(kind, server.base_url, chat(f"cut-after={before_done}"), mode="final", restarts=2)

    assert type(outcome.error) is StreamConnectionError
    assert outcome.error.partial.choices[0].finish_reason == "stop"
    assert len(server.requests) == 1


def test_first_chunk_timeout_starts_again_with_each_request(server: ReplayServer) -> None:
    """Three requests wait three times as long."""

    def wait(kind: str) -> None:
        before = time.monotonic()
        outcome = read(kind, server.base_url, chat("stall-after=0"), mode="text", restarts=2, first_chunk_timeout=0.25)
        took = time.monotonic() - before

        assert type(outcome.error) is StreamTimeoutError
        assert 0.75 <= took < 3

    run_in_threads(wait, CLIENTS)

    assert len(server.requests) == 3 * len(CLIENTS)


# Retries of the clients


class Gateway:
    """Clients whose first requests are refused, and the seconds that they sleep."""

    def __init__(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kind = kind
        self.waits: list[float] = []
        self.requests = 0
        monkeypatch.setattr("time.sleep", self.waits.append)

        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)

        monkeypatch.setattr("anyio.sleep", sleep)

    def create(self, *answers: httpx2.Response, stream: bool = True, **settings: Any) -> str:
        """Send a request, and return the text of the answer."""
        answer = clients.responding_with(*answers, clients.Body(EVENTS))

        def handle(request: httpx2.Request) -> httpx2.Response:
            self.requests += 1
            return answer(request)

        transport = httpx2.MockTransport(handle)
        request = chat() | {"stream": stream}
        if self.kind == "sync":
            client = Tensorloop(api_key="tl_none", http_client=httpx2.Client(transport=transport), **settings)
            return str(client.chat.completions.create(**request).get_final_text())

        async def run() -> str:
            http_client = httpx2.AsyncClient(transport=transport)
            client = AsyncTensorloop(api_key="tl_none", http_client=http_client, **settings)
            return str(await (await client.chat.completions.create(**request)).get_final_text())

        return anyio.run(run)


@pytest.fixture(params=["sync", "async"])
def gateway(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    return Gateway(request.param, monkeypatch)


LIMIT = {"error": {"message": "Rate limit reached", "type": "throttling_error", "param": None, "code": "429"}}


def refused(headers: Any = None, *, status: int = 429, body: Any = LIMIT) -> httpx2.Response:
    """Return a streamed response, as responses from a socket are."""
    return httpx2.Response(status, headers=headers, stream=clients.Body([json.dumps(body).encode()]))


BUDGET = {
    "message": "Budget has been exceeded! Key=key Current cost: 5.02, Max budget: 5.0",
    "type": "budget_exceeded",
    "param": None,
    "code": "429",
}
EXPLANATION = "The budget of this key is spent: a retry does not help"


@pytest.mark.parametrize(
    "body", [{"error": BUDGET}, {"error": {**BUDGET, "type": None, "code": "budget_exceeded"}}, BUDGET]
)
@pytest.mark.parametrize("headers", [{}, {"retry-after": "1"}, {"x-should-retry": "true"}])
def test_an_exceeded_budget_is_not_retried(gateway: Gateway, body: Any, headers: Any) -> None:
    """Headers cannot change that; the error keeps the gateway's message, and adds why it is final."""
    with pytest.raises(openai.RateLimitError, match=EXPLANATION) as raised:
        gateway.create(refused(headers, body=body), max_retries=5)

    assert gateway.requests == 1
    assert gateway.waits == []
    assert "Budget has been exceeded! Key=key Current cost: 5.02" in str(raised.value)
    assert raised.value.body == body.get("error", body)


@pytest.mark.parametrize("body", [None, ["no object"], {"error": "budget_exceeded"}, {"error": {"type": None}}])
def test_other_rate_limits_are_retried(gateway: Gateway, body: Any) -> None:
    """The shape of the refusal does not matter, and its message is the SDK's."""
    assert gateway.create(refused(body=body), refused(body=body), max_retries=2) == "Hello"
    assert gateway.requests == 3

    with pytest.raises(openai.RateLimitError) as raised:
        gateway.create(refused(body=body), max_retries=0)
    assert EXPLANATION not in str(raised.value)


def test_a_refusal_that_is_no_json_is_retried(gateway: Gateway) -> None:
    """A load balancer in front of the gateway has its own pages."""
    page = httpx2.Response(429, stream=clients.Body([b"<html>\xff", b"slow down"]))

    assert gateway.create(page, max_retries=1) == "Hello"


def test_a_truncated_refusal_is_retried(gateway: Gateway) -> None:
    """The client reads the body to classify the error; if the read fails, it closes the body and retries."""
    body = clients.Body([b'{"error":', httpx2.ReadError("cut")])

    assert gateway.create(httpx2.Response(429, stream=body), max_retries=1) == "Hello"
    assert body.closed


@pytest.mark.parametrize(
    ("headers", "waits"),
    [
        ({"llm_provider-retry-after": "3"}, 3.0),
        ({"llm_provider-retry-after-ms": "2500"}, 2.5),
        ({"llm_provider-retry-after": "3", "retry-after": "7"}, 7.0),
        ({"llm_provider-retry-after": "3", "retry-after-ms": "400"}, 0.4),
        ({"retry-after": "7"}, 7.0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_the_upstreams_retry_after_is_respected(gateway: Gateway, headers: Any, waits: float, status: int) -> None:
    """LiteLLM forwards it under another name; the gateway's own `retry-after` precedes it."""
    assert gateway.create(refused(headers, status=status), max_retries=1) == "Hello"
    assert gateway.waits == [waits]


@pytest.mark.parametrize("value", ["soon", "", "-1", "0", "nan"])
def test_an_invalid_retry_after_gives_the_sdks_back_off(gateway: Gateway, value: str) -> None:
    """A value that is no positive number of seconds is ignored."""
    assert gateway.create(refused({"llm_provider-retry-after": value}), max_retries=1) == "Hello"
    assert 0.3 < gateway.waits[0] <= 0.5


def test_a_retry_after_beyond_the_sdks_maximum_is_not_waited_for(gateway: Gateway) -> None:
    """No caller waits an hour inside a call; openai 2.31 makes a request again after its own back-off."""
    refuses = not openai.OpenAI(api_key="none")._should_retry(httpx2.Response(429, headers={"retry-after": "3600"}))
    with pytest.raises(openai.RateLimitError):
        gateway.create(*(refused({"llm_provider-retry-after": "3600"}) for _ in range(3)), max_retries=2)
    assert gateway.requests == (1 if refuses else 3)
    assert all(wait < 10 for wait in gateway.waits)


def test_copies_of_a_client_keep_the_retry_policy() -> None:
    """`with_options()` returns a client with the same policy."""
    client = Tensorloop(api_key="tl_none").with_options(max_retries=7)

    assert client._should_retry(httpx2.Response(429, json={"error": BUDGET})) is False
    assert client._should_retry(httpx2.Response(429, json={})) is True


@pytest.mark.parametrize("stream", [True, False])
@both
def test_an_exceeded_budget_keeps_the_connection(kind: str, stream: bool, server: ReplayServer) -> None:
    """One request is made, and the next call reuses the connection."""
    request = chat("status=429&error-type=budget_exceeded") | {"stream": stream}
    settings: Any = {"api_key": "tl_none", "base_url": server.base_url, "max_retries": 3}

    def refuse(call: Callable[[], Any]) -> None:
        with pytest.raises(openai.RateLimitError, match=EXPLANATION):
            call()

    async def run() -> None:
        async with AsyncTensorloop(**settings, http_client=httpx2.AsyncClient(verify=SSL)) as client:
            for _ in range(2):
                with pytest.raises(openai.RateLimitError, match=EXPLANATION):
                    await client.chat.completions.create(**request)

    if kind == "sync":
        with Tensorloop(**settings, http_client=httpx2.Client(verify=SSL)) as client:
            for _ in range(2):
                refuse(lambda: client.chat.completions.create(**request))
    else:
        anyio.run(run)

    assert len(server.requests) == 2
    assert server.connections == 1


@both
def test_a_rate_limit_is_retried_on_the_same_connection(kind: str, server: ReplayServer) -> None:
    """The client waits for the seconds in `retry-after`."""
    request = chat("status=429&retry-after=0.05&fails=2")
    settings: Any = {"api_key": "tl_none", "base_url": server.base_url, "max_retries": 2}

    async def run() -> str:
        async with AsyncTensorloop(**settings, http_client=httpx2.AsyncClient(verify=SSL)) as client:
            return str(await (await client.chat.completions.create(**request)).get_final_text())

    if kind == "sync":
        with Tensorloop(**settings, http_client=httpx2.Client(verify=SSL)) as client:
            text = client.chat.completions.create(**request).get_final_text()
    else:
        text = anyio.run(run)

    assert text == "Hello"
    assert len(server.requests) == 3
    assert server.connections == 1
