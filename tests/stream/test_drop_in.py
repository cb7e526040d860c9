"""The same unmodified program on the SDK's client and on this package's."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

import cassette
import drop_in_program
import httpx2
import openai
import pytest
from chunks import HELLO, sse
from clients import SSL, Body, responding_with

from tensorloop_stream import AsyncTensorloop, Tensorloop
from tensorloop_stream.replay import ReplayServer

HAIKU: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Stream a haiku about caching."}],
}


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
def test_a_loop_reads_a_whole_completion_in_place_of_a_stream(kind: str) -> None:
    """A gateway that ignores `stream` gives one chunk, whose delta is the message; the completion is the gateway's."""
    call = {"id": "a", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    message = {"role": "assistant", "content": "Hello", "tool_calls": [call]}
    whole = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    whole["choices"] = [{"index": 0, "message": message, "finish_reason": "stop"}]
    data = json.dumps(whole).encode()
    body = data if kind == "application/json" else b"data: " + data + b"\n\ndata: [DONE]\n\n"
    answer = httpx2.Response(200, headers={"content-type": kind}, content=body)
    http_client = httpx2.Client(transport=httpx2.MockTransport(lambda _: answer))
    with Tensorloop(base_url="http://localhost/v1", api_key="none", http_client=http_client) as client:
        stream = client.chat.completions.create(**HAIKU, stream=True)
        (chunk,) = stream

    delta = chunk.choices[0].delta
    assert (delta.role, delta.content) == ("assistant", "Hello")
    assert delta.tool_calls is not None
    assert delta.tool_calls[0].to_dict() == {"index": 0, **call}
    assert stream.completion.to_dict() == whole


CUTS_ARE_THE_SDKS_ERRORS = pytest.mark.skipif(
    tuple(map(int, openai.__version__.split(".")[:2])) < (3, 14), reason="before openai 3.14 they were httpx2's"
)


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with ReplayServer([cassette.FOLDER]) as server:
        yield server.base_url


@pytest.fixture
def both(base_url: str) -> Iterator[tuple[openai.OpenAI, Tensorloop]]:
    """Give the SDK's client and this package's: the one line that a program changes."""
    settings: dict[str, Any] = {"base_url": base_url, "api_key": "none", "max_retries": 0, "timeout": 5}
    with (
        openai.OpenAI(**settings, http_client=httpx2.Client(verify=SSL)) as before,
        Tensorloop(**settings, http_client=httpx2.Client(verify=SSL)) as after,
    ):
        yield before, after


@pytest.mark.parametrize("name", ["loop", "with_block", "helper", "raw", "not_streamed"])
def test_the_same_program_has_the_same_results(name: str, both: Any) -> None:
    """Loops, blocks, the SDK's helper and raw responses work unchanged."""
    before, after = (getattr(drop_in_program, name)(client, HAIKU) for client in both)

    assert after == before


@pytest.mark.parametrize(
    ("fault", "caught"),
    [
        ("", None),
        ("?status=401", "status 401"),
        ("?status=429", "rate limit 429"),
        ("?status=503", "status 503"),
        ("?error-after=3", None),
        pytest.param("?cut-after=0&first-delay=0", None, marks=CUTS_ARE_THE_SDKS_ERRORS),
    ],
)
def test_the_same_except_clauses_catch(fault: str, caught: str | None, both: Any) -> None:
    """Existing `except openai.…` clauses catch the same errors."""
    ask = {**HAIKU, "model": f"gpt-4o-mini{fault}"}
    before, after = (drop_in_program.catches(client, ask) for client in both)

    assert after == before
    assert caught in {None, after}


@pytest.mark.parametrize(
    ("fault", "caught"),
    [("?cut-after=5", "connection"), ("?stall-after=5", "timeout"), ("?error-after=5", "error 500")],
)
def test_except_clauses_catch_broken_streams(fault: str, caught: str, both: Any) -> None:
    """A connection error, a stall and an error event reach the clauses that are meant for them."""
    client = both[1].with_options(timeout=0.3)
    result = drop_in_program.catches(client, {**HAIKU, "model": f"gpt-4o-mini{fault}"})

    assert result.startswith(caught)


@pytest.mark.parametrize("name", ["async_loop", "async_helper"])
async def test_the_same_async_program_has_the_same_results(name: str, base_url: str) -> None:
    """Asynchronous loops and the SDK's asynchronous helper work unchanged."""
    results = []
    for kind in (openai.AsyncOpenAI, AsyncTensorloop):
        async with kind(base_url=base_url, api_key="none", http_client=httpx2.AsyncClient(verify=SSL)) as client:
            results.append(await getattr(drop_in_program, name)(client, HAIKU))

    assert results[1] == results[0]


BODY = sse(*HELLO)
LATE_MODULES = [
    "tensorloop_stream._stream_classes",
    "tensorloop_stream._resources.creating",
    "tensorloop_stream._resources.chat",
    "tensorloop_stream._resources.responses",
]
MOCKED = [
    "openai.Stream",
    "openai.AsyncStream",
    "openai.resources.chat.Chat",
    "openai.resources.chat.AsyncChat",
    "openai.resources.chat.Completions",
    "openai.resources.chat.completions.Completions",
    "openai.resources.chat.completions.Completions.create",
    "openai.resources.chat.completions.AsyncCompletions.create",
    "openai.resources.responses.Responses",
    "openai.resources.responses.Responses.create",
]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("name", MOCKED)
async def test_a_mock_at_the_first_use_is_not_kept(kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients load their resources at the first use: what a test mocks then is right again behind it."""
    # As in a process that has not used a client yet.
    # All are loaded before any is dropped: one that is kept must not hold a copy of another.
    modules = {late: importlib.import_module(late) for late in LATE_MODULES}
    for late, module in modules.items():
        package, _, name_in_it = late.rpartition(".")
        monkeypatch.setattr(sys.modules[package], name_in_it, module)
        monkeypatch.delitem(sys.modules, late)
    ours, theirs = (Tensorloop, openai.OpenAI) if kind == "sync" else (AsyncTensorloop, openai.AsyncOpenAI)
    with mock.patch(name):
        first: Any = ours(api_key="none", base_url="https://gateway.test/v1")
        for resource in (first.chat.completions, first.responses):
            assert resource.create is not None
    transport = httpx2.MockTransport(responding_with(Body([BODY])))
    http: Any = (httpx2.Client if kind == "sync" else httpx2.AsyncClient)(transport=transport)
    client = ours(api_key="none", base_url="https://gateway.test/v1", http_client=http)
    stream: Any = client.chat.completions.create(**HAIKU, stream=True)

    if kind == "sync":
        assert stream.get_final_text() == "Hello"
    else:
        assert await (await stream).get_final_text() == "Hello"
    usual = theirs(api_key="none")
    for made, expected in (
        (client.chat.completions.create, usual.chat.completions.create),
        (client.responses.create, usual.responses.create),
    ):
        assert inspect.signature(made) == inspect.signature(expected)
        assert inspect.iscoroutinefunction(made) == (kind == "async")


@pytest.mark.parametrize("used", ["chat", "responses"])
def test_a_client_loads_only_the_api_that_is_used(used: str) -> None:
    """The first request of an event loop waits for what it needs, as with the SDK's client.

    Some releases of the SDK load the resources of chat with those of responses (3.0).
    """
    code = """
import sys
from {} import {} as Client
Client(api_key="none").{}
print(*(f"openai.resources.{{each}}" in sys.modules for each in ("chat", "responses")))
"""
    programs = [code.format(*names, used) for names in (("openai", "OpenAI"), ("tensorloop_stream", "Tensorloop"))]
    seen = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for program in programs
    ]

    assert seen[1] == seen[0]
    assert used != "chat" or seen[1] == "True False\n"


@pytest.mark.parametrize("name", ["openai.resources.chat.Chat", "openai.resources.responses.Responses"])
def test_a_mock_of_a_resource_is_used_while_it_lasts(name: str) -> None:
    """A test that replaces the class of a resource gets what it put there, as with the SDK's client."""
    with mock.patch(name) as fake:
        client = Tensorloop(api_key="none", base_url="https://gateway.test/v1")
        resource: Any = client.chat if name.endswith("Chat") else client.responses

    assert resource is fake.return_value
