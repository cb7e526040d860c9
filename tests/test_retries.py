"""Asking again, on real sockets: restarts of a stream, and what the clients retry before there is one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import openai
import pytest
import streams
from sockets import EVENTS, SSL, ask, at_once, cassette, read

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

# An async limit that ends while a connection is made: the HTTP libraries may leave the socket to the garbage.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
CLIENTS = ("sync", "async", "aiohttp")
every_client = pytest.mark.parametrize("kind", CLIENTS)
both = pytest.mark.parametrize("kind", ["sync", "async"])


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cassette(tmp_path_factory.mktemp("retries") / "hello.yaml", hello=EVENTS)


@pytest.fixture
def server(recording: Path) -> Iterator[ReplayServer]:
    with ReplayServer(recording) as server:
        yield server


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The back-off is there, and short."""
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
def test_a_stream_is_opened_anew_before_anything_came(faults: str, settings: Any, recording: Path) -> None:
    """A role chunk that text_stream passes over has reached nobody; each failed request is paid for once."""

    def read_on(kind: str) -> None:
        with ReplayServer(recording) as server:
            outcome = read(kind, server.base_url, ask(faults + "&fails=2"), mode="text", restarts=2, **settings)

        assert outcome.error is None
        assert outcome.items == ["Hel", "lo"]
        assert len(server.requests) == 3

    at_once(read_on, CLIENTS)


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
def test_what_was_handed_out_is_never_asked_again(
    kind: str, faults: str, mode: Any, error: type[Exception], server: ReplayServer
) -> None:
    """The caller has shown it already."""
    outcome = read(kind, server.base_url, ask(faults + "&fails=1"), mode=mode, restarts=5)

    assert type(outcome.error) is error
    assert len(outcome.items) == 1
    assert len(server.requests) == 1


@every_client
def test_a_callback_is_an_audience_too(kind: str, server: ReplayServer) -> None:
    """What a callback was told has reached the caller, although nothing was yielded."""
    told: list[str] = []
    outcome = read(
        kind, server.base_url, ask("cut-after=2&fails=1"), Callbacks(on_text=told.append), mode="final", restarts=5
    )

    assert type(outcome.error) is StreamConnectionError
    assert told == ["Hel"]
    assert len(server.requests) == 1


@every_client
def test_restarts_run_out(kind: str, server: ReplayServer) -> None:
    """The last failure is raised, told once."""
    told: list[Exception] = []
    callbacks = Callbacks(on_error=told.append)
    outcome = read(kind, server.base_url, ask("cut-after=0"), callbacks, mode="text", restarts=2)

    assert type(outcome.error) is StreamConnectionError
    assert told == [outcome.error]
    assert len(server.requests) == 3


def test_each_try_has_its_own_limit(server: ReplayServer) -> None:
    """The wait for the first chunk begins anew with the request."""

    def wait(kind: str) -> None:
        before = time.monotonic()
        outcome = read(kind, server.base_url, ask("stall-after=0"), mode="text", restarts=2, first_chunk_timeout=0.25)
        took = time.monotonic() - before

        assert type(outcome.error) is StreamTimeoutError
        assert 0.75 <= took < 3

    at_once(wait, CLIENTS)

    assert len(server.requests) == 3 * len(CLIENTS)


# What the clients retry


class Gateway:
    """Clients whose first requests are refused, and how long they slept between."""

    def __init__(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kind = kind
        self.waits: list[float] = []
        self.requests = 0
        monkeypatch.setattr("time.sleep", self.waits.append)

        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)

        monkeypatch.setattr("anyio.sleep", sleep)

    def create(self, *answers: httpx2.Response, stream: bool = True, **settings: Any) -> str:
        """Ask, and return the text of the answer."""
        answer = streams.answering(*answers, streams.Body(EVENTS))

        def handle(request: httpx2.Request) -> httpx2.Response:
            self.requests += 1
            return answer(request)

        transport = httpx2.MockTransport(handle)
        asked = ask() | {"stream": stream}
        if self.kind == "sync":
            client = Tensorloop(api_key="tl_none", http_client=httpx2.Client(transport=transport), **settings)
            return str(client.chat.completions.create(**asked).get_final_text())

        async def run() -> str:
            http_client = httpx2.AsyncClient(transport=transport)
            client = AsyncTensorloop(api_key="tl_none", http_client=http_client, **settings)
            return str(await (await client.chat.completions.create(**asked)).get_final_text())

        return anyio.run(run)


@pytest.fixture(params=["sync", "async"])
def gateway(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    return Gateway(request.param, monkeypatch)


LIMIT = {"error": {"message": "Rate limit reached", "type": "throttling_error", "param": None, "code": "429"}}


def refused(headers: Any = None, *, status: int = 429, body: Any = LIMIT) -> httpx2.Response:
    """Return an answer that is streamed, as those of a socket are."""
    return httpx2.Response(status, headers=headers, stream=streams.Body([json.dumps(body).encode()]))


BUDGET = {
    "message": "Budget has been exceeded! Key=key Current cost: 5.02, Max budget: 5.0",
    "type": "budget_exceeded",
    "param": None,
    "code": "429",
}
SAYS = "The budget of this key is spent: a retry does not help"


@pytest.mark.parametrize(
    "body", [{"error": BUDGET}, {"error": {**BUDGET, "type": None, "code": "budget_exceeded"}}, BUDGET]
)
@pytest.mark.parametrize("headers", [{}, {"retry-after": "1"}, {"x-should-retry": "true"}])
def test_a_spent_budget_is_not_asked_again(gateway: Gateway, body: Any, headers: Any) -> None:
    """It would stay spent, whatever the headers say; the error says so, and keeps what the gateway said."""
    with pytest.raises(openai.RateLimitError, match=SAYS) as raised:
        gateway.create(refused(headers, body=body), max_retries=5)

    assert gateway.requests == 1
    assert gateway.waits == []
    assert "Budget has been exceeded! Key=key Current cost: 5.02" in str(raised.value)
    assert raised.value.body == body.get("error", body)


@pytest.mark.parametrize("body", [None, ["no object"], {"error": "budget_exceeded"}, {"error": {"type": None}}])
def test_other_limits_are_asked_again(gateway: Gateway, body: Any) -> None:
    """Whatever the shape of the refusal; its text is the SDK's."""
    assert gateway.create(refused(body=body), refused(body=body), max_retries=2) == "Hello"
    assert gateway.requests == 3

    with pytest.raises(openai.RateLimitError) as raised:
        gateway.create(refused(body=body), max_retries=0)
    assert SAYS not in str(raised.value)


def test_a_refusal_that_is_no_json_is_asked_again(gateway: Gateway) -> None:
    """A load balancer in front of the gateway has pages of its own."""
    page = httpx2.Response(429, stream=streams.Body([b"<html>\xff", b"slow down"]))

    assert gateway.create(page, max_retries=1) == "Hello"


def test_a_refusal_that_is_cut_is_asked_again(gateway: Gateway) -> None:
    """Its body is read before it is judged, and may break: that is closed, and a connection error to the SDK."""
    body = streams.Body([b'{"error":', httpx2.ReadError("cut")])

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
def test_the_upstreams_rest_is_kept(gateway: Gateway, headers: Any, waits: float, status: int) -> None:
    """LiteLLM passes an upstream's retry-after on under another name only; a name of the gateway's own wins."""
    assert gateway.create(refused(headers, status=status), max_retries=1) == "Hello"
    assert gateway.waits == [waits]


@pytest.mark.parametrize("told", ["soon", "", "-1", "0", "nan"])
def test_a_rest_that_is_none_is_the_sdks_back_off(gateway: Gateway, told: str) -> None:
    """What is no number of seconds is as good as nothing."""
    assert gateway.create(refused({"llm_provider-retry-after": told}), max_retries=1) == "Hello"
    assert 0.3 < gateway.waits[0] <= 0.5


def test_a_rest_beyond_the_sdks_bound_is_not_waited_for(gateway: Gateway) -> None:
    """As with retry-after: nobody waits an hour inside a call."""
    with pytest.raises(openai.RateLimitError):
        gateway.create(refused({"llm_provider-retry-after": "3600"}), max_retries=5)
    assert gateway.requests == 1


def test_copies_retry_alike() -> None:
    """`with_options()` keeps the rules."""
    client = Tensorloop(api_key="tl_none").with_options(max_retries=7)

    assert client._should_retry(httpx2.Response(429, json={"error": BUDGET})) is False
    assert client._should_retry(httpx2.Response(429, json={})) is True


@pytest.mark.parametrize("stream", [True, False])
@both
def test_a_spent_budget_on_a_socket(kind: str, stream: bool, server: ReplayServer) -> None:
    """One request, and the connection is whole."""
    asked = ask("status=429&error-type=budget_exceeded") | {"stream": stream}
    settings: Any = {"api_key": "tl_none", "base_url": server.base_url, "max_retries": 3}

    def refuse(call: Callable[[], Any]) -> None:
        with pytest.raises(openai.RateLimitError, match=SAYS):
            call()

    async def run() -> None:
        async with AsyncTensorloop(**settings, http_client=httpx2.AsyncClient(verify=SSL)) as client:
            for _ in range(2):
                with pytest.raises(openai.RateLimitError, match=SAYS):
                    await client.chat.completions.create(**asked)

    if kind == "sync":
        with Tensorloop(**settings, http_client=httpx2.Client(verify=SSL)) as client:
            for _ in range(2):
                refuse(lambda: client.chat.completions.create(**asked))
    else:
        anyio.run(run)

    assert len(server.requests) == 2
    assert server.connections == 1


@both
def test_a_rate_limit_on_a_socket(kind: str, server: ReplayServer) -> None:
    """Asked again after the time that was told, on the same connection."""
    asked = ask("status=429&retry-after=0.05&fails=2")
    settings: Any = {"api_key": "tl_none", "base_url": server.base_url, "max_retries": 2}

    async def run() -> str:
        async with AsyncTensorloop(**settings, http_client=httpx2.AsyncClient(verify=SSL)) as client:
            return str(await (await client.chat.completions.create(**asked)).get_final_text())

    if kind == "sync":
        with Tensorloop(**settings, http_client=httpx2.Client(verify=SSL)) as client:
            text = client.chat.completions.create(**asked).get_final_text()
    else:
        text = anyio.run(run)

    assert text == "Hello"
    assert len(server.requests) == 3
    assert server.connections == 1
