"""Private names of other libraries: each is there and is used where this package needs it; none is indispensable."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pydantic
import pytest
from chunks import HELLO, finish, sse, text
from clients import CHAT, Body, read
from openai import AsyncOpenAI, AsyncStream, OpenAI, Stream, _base_client, _constants, _models
from renamed import rename

import tensorloop_stream._client
import tensorloop_stream._stream_classes
from tensorloop_stream import AsyncChatStream, AsyncTensorloop, ChatStream, Tensorloop, forward_chat
from tensorloop_stream._stream import model_copy, models
from tensorloop_stream._stream.foreign import is_fresh

KEY = "tl_test_1234567890"
UNSTREAMED = {**CHAT, "stream": False}
Answer = Callable[[], httpx2.Response]
clients = pytest.mark.parametrize("kind", [Tensorloop, AsyncTensorloop])


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the variables of the machine."""
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "TENSORLOOP_"))]:
        monkeypatch.delenv(name)


def answer(status: int, body: bytes, **headers: str) -> Answer:
    """Return what makes a response whose body has to be read, as one from a socket."""
    return lambda: httpx2.Response(status, headers=headers, stream=Body([body]))


STREAM = answer(200, sse(*HELLO), **{"content-type": "text/event-stream"})
COMPLETION = answer(200, b'{"id": "1", "choices": []}', **{"content-type": "application/json"})
TOO_MANY = answer(429, b'{"error": {"message": "too many"}}', **{"retry-after-ms": "1"})
TOO_MANY_UPSTREAM = answer(429, b'{"error": {"message": "too many"}}', **{"llm_provider-retry-after": "0.001"})
NO_BUDGET = answer(429, b'{"error": {"message": "spent", "type": "budget_exceeded", "code": "400"}}')
BAD = answer(400, b'{"error": {"message": "bad"}}')


class Wire:
    """A transport that gives these answers, one after the other, and keeps the requests; the last answer repeats."""

    def __init__(self, *answers: Answer) -> None:
        self.requests: list[httpx2.Request] = []
        self._left = list(answers)
        self.transport = httpx2.MockTransport(self._handle)

    def _handle(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        return (self._left.pop(0) if len(self._left) > 1 else self._left[0])()

    def client(self, kind: Any = Tensorloop, **settings: Any) -> Any:
        http_client = (httpx2.AsyncClient if issubclass(kind, AsyncOpenAI) else httpx2.Client)(transport=self.transport)
        return kind(**{"api_key": KEY, "base_url": "https://gateway.test/v1", "http_client": http_client, **settings})


async def settled(value: Any) -> Any:
    """Return a value of sync code, or the result of an awaitable."""
    return await value if inspect.isawaitable(value) else value


async def content(stream: Any) -> list[Any]:
    """Return the texts of a stream of either kind."""
    if isinstance(stream, AsyncStream):
        return [chunk.choices[0].delta.content async for chunk in stream if chunk.choices]
    return [chunk.choices[0].delta.content for chunk in stream if chunk.choices]


async def ask(kind: Any, *answers: Answer, **request: Any) -> tuple[Any, Wire]:
    """Return what `create` returns, or the error that it raises, and the wire."""
    wire = Wire(*answers)
    try:
        return await settled(wire.client(kind).chat.completions.create(**{**CHAT, **request})), wire
    except openai.OpenAIError as error:
        return error, wire


async def call(kind: Any, *answers: Answer, **request: Any) -> Wire:
    """Call `create`, read what it returns, and return the wire."""
    result, wire = await ask(kind, *answers, **request)
    if isinstance(result, (Stream, AsyncStream)):
        await content(result)
    return wire


async def outcomes(kind: Any) -> dict[str, Any]:
    """Return what becomes of a program's usual calls with a client of this kind."""
    found: dict[str, Any] = {}
    stream, wire = await ask(kind, TOO_MANY, STREAM)
    found["a retried 429"] = await content(stream), len(wire.requests)
    error, wire = await ask(kind, BAD)
    found["a bad request"] = type(error), error.status_code, len(wire.requests)
    completion, wire = await ask(kind, COMPLETION, **UNSTREAMED)
    found["an unstreamed call"] = completion.id, wire.requests[0].extensions["timeout"]["read"]
    client = Wire(STREAM).client(kind)
    raw = await settled(client.with_options(timeout=3).chat.completions.with_raw_response.create(**CHAT))
    found["a raw response"] = await content(raw.parse())
    theirs, _ = await ask(AsyncOpenAI if issubclass(kind, AsyncOpenAI) else OpenAI, STREAM)
    wrapped = (AsyncChatStream if issubclass(kind, AsyncOpenAI) else ChatStream)(theirs)
    found["a stream of the SDK"] = await settled(wrapped.get_final_text())
    if not issubclass(kind, AsyncOpenAI):
        found["forwarding"] = b"".join(forward_chat(Wire(STREAM).client(kind), dict(CHAT)))
    return found


# Each name is there, and is used in the flow that needs it


@pytest.mark.parametrize(
    ("name", "parameters", "answers"),
    [
        ("_should_retry", "response", [TOO_MANY, STREAM]),
        ("_should_retry", "response", [NO_BUDGET]),
        ("_parse_retry_after_header", "response_headers", [TOO_MANY_UPSTREAM, STREAM]),
        ("_make_status_error", "err_msg body response", [NO_BUDGET]),
        ("_prepare_options", "options", [COMPLETION]),
        ("_send_request", "request stream kwargs", [BAD]),
        ("_build_headers", "options retries_taken", [STREAM]),
        ("_make_sse_decoder", "", [STREAM]),
    ],
)
@clients
async def test_method_of_the_sdks_client_is_called(
    kind: Any, name: str, parameters: str, answers: list[Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK has a method of that name with these parameters, and calls it in the flow that this package needs."""
    called: list[str] = []
    ours, theirs = getattr(kind, name), getattr(OpenAI if kind is Tensorloop else AsyncOpenAI, name)

    def spy(self: Any, *args: Any, **kwargs: Any) -> Any:
        called.append(name)
        return ours(self, *args, **kwargs)

    monkeypatch.setattr(kind, name, spy)
    await call(kind, *answers, stream=COMPLETION not in answers)

    assert [*inspect.signature(theirs).parameters] == ["self", *parameters.split()]
    assert called


@clients
async def test_each_hook_of_the_client_has_its_effect(kind: Any) -> None:
    """A spent budget is not retried and says so, an upstream's wait is kept, an unstreamed call gets its time."""
    spent, wire = await ask(kind, NO_BUDGET)
    assert ("The budget of this key is spent" in str(spent), len(wire.requests)) == (True, 1)

    client = Wire(STREAM).client(kind)
    assert client._parse_retry_after_header(TOO_MANY_UPSTREAM().headers) == 0.001

    wires = [await call(kind, STREAM), await call(kind, COMPLETION, **UNSTREAMED)]
    assert [wire.requests[0].extensions["timeout"]["read"] for wire in wires] == [60, 600]


@clients
async def test_the_sdk_sends_the_custom_headers_of_a_client(kind: Any) -> None:
    """A request holds what this package sets as `_custom_headers`, and nothing that was there before."""
    wire = Wire(STREAM)
    client = wire.client(kind, default_headers={"X-Given": "1"})
    assert client._custom_headers == {"X-Given": "1"}

    client._custom_headers = {"X-Set": "2"}
    await content(await settled(client.chat.completions.create(**CHAT)))
    assert ("x-given" in wire.requests[0].headers, wire.requests[0].headers["x-set"]) == (False, "2")


@clients
def test_the_sdk_keeps_its_http_client_as_expected(kind: Any) -> None:
    """A client has its pool in `_client`, of the SDK's own class."""
    pool = kind(api_key=KEY)._client

    assert isinstance(pool, (_base_client.SyncHttpxClientWrapper, _base_client.AsyncHttpxClientWrapper))


@pytest.mark.parametrize(("stream", "kind"), [(Stream, OpenAI), (AsyncStream, AsyncOpenAI)])
async def test_a_stream_of_the_sdk_has_the_expected_parts(stream: Any, kind: Any) -> None:
    """The methods that tools patch, the iterator that they replace, and what its constructor takes and keeps."""
    created, _ = await ask(kind, STREAM)

    assert {"__stream__", "_iter_events"} <= vars(stream).keys()
    assert list(inspect.signature(stream.__init__).parameters) == ["self", "cast_to", "response", "client", "options"]
    assert {"_iterator", "_decoder", "_cast_to", "_client", "_options", "response"} <= vars(created).keys()
    assert is_fresh(created)
    await created.response.aclose() if stream is AsyncStream else created.response.close()


@clients
async def test_the_sdk_makes_the_stream_from_the_class_that_post_is_given(kind: Any) -> None:
    """Each stream of a client was made by the SDK in the place of its own, with what the SDK's holds."""
    stream, _ = await ask(kind, STREAM)

    assert type(stream) is (ChatStream if kind is Tensorloop else AsyncChatStream)
    assert {"_decoder", "_cast_to", "_client", "_options"} <= vars(stream).keys()
    await settled(stream.close())


def test_options_of_a_request_have_the_expected_fields() -> None:
    """The hook of unstreamed calls reads the body and sets the timeout."""
    assert {"method", "url", "json_data", "timeout"} <= _models.FinalRequestOptions.model_fields.keys()


def test_the_header_of_raw_responses_is_the_sdks() -> None:
    """With this header in a call, `create` returns a response and no stream."""
    assert tensorloop_stream._stream_classes._RAW_RESPONSE == _constants.RAW_RESPONSE_HEADER


def test_a_response_tells_whether_it_was_read() -> None:
    """The attribute is there, can be set, and is set where bytes are read past the SDK."""
    response = STREAM()
    assert (response.is_stream_consumed, response.extensions) == (False, {})

    stream = Wire(STREAM).client().chat.completions.create(**CHAT)
    stream.until_done()
    assert stream.response.is_stream_consumed


def test_the_parameters_of_the_sdks_constructor_of_models_are_known() -> None:
    """A field of a gateway with the name of such a parameter is kept apart; all other names are fields."""
    parameters = inspect.signature(inspect.getattr_static(_models.BaseModel, "construct").__func__).parameters

    assert {*parameters} == {*models._PARAMETERS, "values"}


def test_pydantic_keeps_a_model_in_the_expected_slots() -> None:
    """A copy that is made by the slots is a model as any other: chunks after the first ones are such copies."""
    slots = {name for name, value in vars(pydantic.BaseModel).items() if inspect.isdatadescriptor(value)}
    assert {*model_copy._SLOTS} <= slots

    outcome = read("sync", [sse(*(text(f"word {number}") for number in range(9)), finish())])
    assert outcome.error is None
    assert outcome.stream._state._fast_path.hits > 0


# An SDK that has another name for one


RENAMED = [
    "_should_retry",
    "_parse_retry_after_header",
    "_make_status_error",
    "_prepare_options",
    "_send_request",
    "_build_headers",
    "_custom_headers",
    "_client",
    "_make_sse_decoder",
    "_iter_events",
    "__stream__",
    "_iterator",
    "_decoder",
    "_cast_to",
    "_options",
    "SyncHttpxClientWrapper",
    "AsyncHttpxClientWrapper",
    "FinalRequestOptions",
]


@pytest.mark.parametrize("name", RENAMED)
@clients
async def test_client_does_as_the_sdk_does_when_a_name_is_gone(
    kind: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an SDK that calls one private name otherwise, calls end as they do with the SDK's own client."""
    rename(name, monkeypatch)

    assert await outcomes(kind) == await outcomes(OpenAI if kind is Tensorloop else AsyncOpenAI)


def test_a_renamed_name_is_gone_from_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The helper of the test above makes what it says: a budget that is spent is retried then."""
    rename("_should_retry", monkeypatch)
    wire = Wire(NO_BUDGET)
    with pytest.raises(openai.RateLimitError):
        wire.client(max_retries=1).chat.completions.create(**CHAT)

    assert not hasattr(OpenAI, "_should_retry")
    assert len(wire.requests) == 2


@clients
async def test_stream_is_made_when_the_sdks_constructor_takes_more(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parameter of a later SDK is its own affair."""
    make = tensorloop_stream._stream_classes._make
    monkeypatch.setattr(
        tensorloop_stream._stream_classes, "_make", lambda kind, made_of: make(kind, {**made_of, "retries_taken": 0})
    )
    stream, _ = await ask(kind, STREAM)

    assert "".join(each or "" for each in await content(stream)) == "Hello"


async def test_raw_response_is_one_when_its_header_has_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object of the SDK that is no stream is returned as it is."""
    monkeypatch.setattr(tensorloop_stream._stream_classes, "_RAW_RESPONSE", "X-Other")
    raw = Wire(STREAM).client().chat.completions.with_raw_response.create(**CHAT)

    assert raw.http_response.status_code == 200
    assert raw.parse().get_final_text() == "Hello"


def test_every_chunk_is_parsed_when_pydantic_has_other_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without copies by the slots, the chunks are the same."""
    parts = [sse(*(text(f"word {number}") for number in range(9)), finish())]
    expected = read("sync", parts).items
    monkeypatch.setattr(model_copy, "_setters", [None] * 4)
    outcome = read("sync", parts)

    assert outcome.items == expected
    assert outcome.error is None


@pytest.mark.parametrize("name", ["SyncHttpxClientWrapper", "_client"])
def test_client_of_a_parent_process_is_refused_when_its_pool_is_unknown(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool that cannot be replaced would mix the answers of two processes."""
    rename(name, monkeypatch)
    client = Tensorloop(api_key=KEY, direct_reads=False)
    client._leave_shared_connections(is_request=True)
    monkeypatch.setattr(os, "getpid", lambda: -1)

    with pytest.raises(openai.OpenAIError, match="used before a fork"):
        client.models.list()


# Settings of another service are refused where they cannot be dropped


SECRETS = {
    "OPENAI_CUSTOM_HEADERS": "X-Api-Key: sk-secret\nX-Team: secret",
    "OPENAI_ORG_ID": "org-secret",
    "OPENAI_PROJECT_ID": "proj-secret",
}


def reads_custom_headers() -> bool:
    """Tell whether the SDK sends the headers of OPENAI_CUSTOM_HEADERS: openai 2.31 does not know the variable."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_CUSTOM_HEADERS", "X-Probe: 1")
        return "X-Probe" in Wire(STREAM).client(OpenAI).default_headers


needs_custom_headers = pytest.mark.skipif(not reads_custom_headers(), reason="this openai reads no such variable")


@pytest.mark.parametrize(
    ("names", "variable"),
    [
        pytest.param(["_custom_headers", *others], "OPENAI_CUSTOM_HEADERS", marks=needs_custom_headers)
        for others in ([], ["_build_headers"], ["FinalRequestOptions"], ["default_headers"])
    ]
    + [
        (["_build_headers", "default_headers"], "OPENAI_CUSTOM_HEADERS"),
        (["organization"], "OPENAI_ORG_ID"),
        (["project"], "OPENAI_PROJECT_ID"),
    ],
)
@clients
def test_client_that_would_send_a_setting_of_openai_is_refused(
    kind: Any, names: list[str], variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An SDK that keeps a setting elsewhere would send it to the gateway; the error names the variable alone."""
    monkeypatch.setenv(variable, SECRETS[variable])
    for name in names:
        rename(name, monkeypatch)

    with pytest.raises(openai.OpenAIError, match=f"would send {variable} to gateway.test, another service") as caught:
        Wire(STREAM).client(kind)
    assert "secret" not in str(caught.value)


@needs_custom_headers
@clients
def test_client_with_a_function_as_key_is_refused_too(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function is not called for it."""
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Api-Key: sk-secret")
    rename("_custom_headers", monkeypatch)

    with pytest.raises(openai.OpenAIError, match="would send OPENAI_CUSTOM_HEADERS"):
        Wire(STREAM).client(kind, api_key=lambda: pytest.fail("called"))


@clients
def test_setting_of_openai_that_is_passed_is_sent(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's own arguments are sent, whatever the variables hold, and so are headers without a secret."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Team: ours\nAccept: application/json")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-ours")
    rename("_custom_headers", monkeypatch)
    client = Wire(STREAM).client(kind, default_headers={"x-team": "ours"}, organization="org-ours")

    assert client.with_options(timeout=3).organization == "org-ours"


@clients
async def test_no_setting_of_openai_is_sent(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the SDK that is installed every setting is dropped, and nothing is refused."""
    for name, value in {**SECRETS, "OPENAI_API_KEY": "sk-secret", "OPENAI_ADMIN_KEY": "sk-secret"}.items():
        monkeypatch.setenv(name, value)
    wire = Wire(STREAM)
    stream = await settled(wire.client(kind).with_options(timeout=3).chat.completions.create(**CHAT))
    await settled(stream.close())

    assert "secret" not in str(wire.requests[0].headers.multi_items())
