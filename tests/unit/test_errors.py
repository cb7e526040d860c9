"""The family of errors: classes, contents, pickling and causes."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import anyio
import httpx2
import openai
import pytest
from chunks import DONE, HELLO, accumulate, chunk, sse
from clients import CHAT, Body, async_client, read, sync_client

from tensorloop_stream import (
    AsyncChatStream,
    ChatStream,
    ResponseStream,
    StreamConnectionError,
    StreamDecodeError,
    StreamError,
    StreamProviderError,
    StreamTimeoutError,
    StreamTruncatedError,
)
from tensorloop_stream._errors import StreamContentError

KEY = "tl_test_1234567890"
FAMILY = (
    StreamError,
    StreamTruncatedError,
    StreamConnectionError,
    StreamTimeoutError,
    StreamProviderError,
    StreamDecodeError,
)
each_error = pytest.mark.parametrize("kind", FAMILY)
both = pytest.mark.parametrize("kind", ["sync", "async"])

# The error event of two versions of LiteLLM when the upstream fails in mid-stream: both send the code as a string;
# one sends the type null, and the other sends [DONE] after the error.
CUT = (
    b'data: {"error": {"message": "litellm.APIConnectionError: APIConnectionError: OpenAIException - '
    b'The server had an error while processing your request", "type": %s, "param": null, "code": "500"}}\n\n'
)
LIMIT = (
    b'data: {"error": {"message": "litellm.RateLimitError: RateLimitError: OpenAIException - '
    b'Rate limit reached mid-stream", "type": "throttling_error", "param": null, "code": "429"}}\n\n'
)
LITELLM = {
    "cut-1.106.2": (CUT % b"null", 500, None),
    "limit-1.106.2": (LIMIT, 429, "throttling_error"),
    "cut-1.109.1": (CUT % b'"internal_server_error"' + DONE, 500, "internal_server_error"),
    "limit-1.109.1": (LIMIT + DONE, 429, "throttling_error"),
}
# The bodies of errors before the stream.
NO_KEY = (
    '{"error":{"message":"Authentication Error, Invalid proxy server token passed. Received API Key = tl_...",'
    '"type":"token_not_found_in_db","param":"key","code":"401"}}'
)
KEY_LIMIT = (
    '{"error":{"message":"Rate limit exceeded for api_key: tl_.... Limit type: requests. Current limit: 1, '
    'Remaining: 0.","type":"throttling_error","param":null,"code":"429"}}'
)


def broken(kind: type[StreamError]) -> StreamError:
    """Return an error with all its fields, as a stream of a client with a key raises it."""
    headers = {"Authorization": f"Bearer {KEY}", "api-key": KEY, "x-team": "ours"}
    request = httpx2.Request("POST", "https://gateway.test/v1/chat/completions", headers=headers)
    error = kind(
        "went wrong",
        partial=accumulate(*HELLO[:2]).completion,
        request=request,
        request_id="call-1",
        body={"message": "no", "type": "throttling_error", "code": "429", "param": None},
    )
    error.__cause__ = ConnectionError("why")
    return error


def through_pickle(error: StreamError) -> StreamError:
    copied: StreamError = pickle.loads(pickle.dumps(error))
    return copied


@pytest.mark.parametrize("travel", [through_pickle, copy.copy, copy.deepcopy])
@each_error
def test_an_error_survives_pickling_and_copying(
    kind: type[StreamError], travel: Callable[[StreamError], StreamError]
) -> None:
    """A pickled or copied error keeps its fields, and loses the key."""
    error = broken(kind)
    arrived = travel(error)

    assert type(arrived) is kind
    assert (str(arrived), repr(arrived), arrived.args) == (str(error), repr(error), error.args)
    assert arrived.message == "went wrong"
    assert arrived.partial == error.partial
    assert arrived.partial.choices[0].message.content == "Hel"
    assert arrived.body == error.body
    assert arrived.request_id == "call-1"
    assert (arrived.code, arrived.type, arrived.param) == ("429", "throttling_error", None)
    assert getattr(arrived, "status_code", None) == getattr(error, "status_code", None)
    assert (arrived.request.method, arrived.request.url) == (error.request.method, error.request.url)
    assert KEY not in repr(arrived.request.headers.multi_items())


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@each_error
def test_a_pickle_holds_no_key(kind: type[StreamError], protocol: int) -> None:
    """The headers of a request contain the key; the pickle, the message and the arguments do not."""
    assert KEY.encode() not in pickle.dumps(broken(kind), protocol)
    assert KEY not in f"{broken(kind)!s} {broken(kind)!r} {broken(kind).args}"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Hel", "Hel"),
        ([{"type": "text", "text": "Hel"}, {"type": "image_url"}, {"type": "text", "text": "lo"}], "Hello"),
    ],
)
def test_an_error_has_the_text_that_had_arrived(content: Any, text: str) -> None:
    """A recipe needs no way through choices and parts."""
    with pytest.raises(StreamTruncatedError) as caught:
        ChatStream([chunk({"content": content})]).until_done()

    assert caught.value.text == text
    assert StreamTruncatedError("ended").text == ""


def test_a_stream_has_its_finish_reason() -> None:
    """A recipe needs no way through choices."""
    stream = ChatStream(HELLO)

    assert stream.finish_reason is None
    assert stream.until_done().finish_reason == "stop"


def test_an_error_has_the_request_id() -> None:
    """An `except` clause that does not have the stream can read the request id from the error."""
    headers = {"content-type": "text/event-stream", "x-litellm-call-id": "call-1"}
    response = httpx2.Response(200, headers=headers, stream=Body([sse(*HELLO[:2], done=False)]))

    with pytest.raises(StreamTruncatedError) as raised:
        ChatStream(sync_client(response).chat.completions.create(**CHAT)).until_done()
    assert raised.value.request_id == "call-1"
    assert ChatStream(list(HELLO)).request_id is None


def test_a_truncated_error_names_a_content_type_that_is_no_event_stream() -> None:
    """A proxy may answer with a page and the status 200."""
    response = httpx2.Response(200, headers={"content-type": "text/html; charset=utf-8"}, content=b"<p>Log in</p>")

    with pytest.raises(StreamTruncatedError, match=r"; it is text/html and no event stream: is the base URL right\?"):
        ChatStream(sync_client(response).chat.completions.create(**CHAT)).until_done()


@each_error
def test_an_error_without_a_request_survives_pickling(kind: type[StreamError]) -> None:
    """Tests of other programs make such an error, with a message alone."""
    arrived = through_pickle(kind("went wrong"))

    assert (type(arrived), arrived.message, arrived.body) == (kind, "went wrong", None)
    assert arrived.partial.choices == []
    assert str(arrived.request.url) == "about:blank"


@pytest.mark.parametrize(
    ("kind", "caught_by"),
    [
        *((kind, openai.APIError) for kind in FAMILY),
        *((kind, openai.OpenAIError) for kind in FAMILY),
        *((kind, StreamError) for kind in FAMILY),
        (StreamConnectionError, openai.APIConnectionError),
        (StreamTimeoutError, openai.APITimeoutError),
        (StreamTimeoutError, openai.APIConnectionError),
        (StreamDecodeError, ValueError),
    ],
)
def test_except_clauses_for_the_sdk_catch_the_family(kind: type[StreamError], caught_by: type[Exception]) -> None:
    """Programs that were written for the SDK need no change."""
    with pytest.raises(caught_by):
        raise kind("went wrong")


@pytest.mark.parametrize("kind", [StreamTruncatedError, StreamProviderError, StreamDecodeError])
def test_other_errors_are_not_connection_errors(kind: type[StreamError]) -> None:
    """A clause that retries on connection errors must not catch an error that repeats itself."""
    assert not issubclass(kind, openai.APIConnectionError)


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        ({"code": "429"}, "429", 429),
        ({"code": 500}, "500", 500),
        ({"code": "invalid_api_key"}, "invalid_api_key", None),
        ({"code": "budget_exceeded"}, "budget_exceeded", None),
        ({"code": None}, None, None),
        ({"code": 1.5}, "1.5", None),
        ({"code": "١٢٣"}, "١٢٣", None),
        ({"code": "1000"}, "1000", None),
        ({}, None, None),
        ({"code": ""}, "", None),
        ("overloaded", None, None),
        (None, None, None),
        (["overloaded"], None, None),
    ],
)
def test_status_code_is_the_error_code_when_it_is_a_number(body: Any, code: str | None, status: int | None) -> None:
    """LiteLLM sends the code as a string, OpenRouter as a number, others a word or nothing."""
    error = StreamProviderError("went wrong", body=body)

    assert error.body == body
    assert error.code == code
    assert error.status_code == status
    assert through_pickle(error).status_code == status  # type: ignore[attr-defined] # of this kind


@pytest.mark.parametrize("name", LITELLM)
@both
def test_an_error_event_of_litellm_has_a_status_code(kind: str, name: str) -> None:
    """LiteLLM sends a late failure inside the response with status 200; `[DONE]` after it changes nothing."""
    event, status, error_type = LITELLM[name]
    outcome = read(kind, [sse(*HELLO[:2], done=False), event])

    assert type(outcome.error) is StreamProviderError
    assert outcome.error.status_code == status
    assert (outcome.error.code, outcome.error.type, outcome.error.param) == (str(status), error_type, None)
    assert outcome.error.message.startswith("litellm.")
    assert outcome.error.message.endswith("(in the stream, after 2 chunks and 3 characters of text)")
    assert outcome.error.partial.choices[0].message.content == "Hel"
    assert isinstance(outcome.error.body, dict)
    assert outcome.error.body["code"] == str(status)


@pytest.mark.parametrize(
    ("event", "message", "status"),
    [
        (b'data: {"error": "overloaded"}', "overloaded", None),
        (b'data: {"error": {"error": {"message": "inner", "code": 503}}}', "inner", 503),
        (b'data: {"error": {"code": 429}}', "the gateway sent an error without a message", 429),
        (b'data: {"error": {"message": {"not": "text"}, "code": "400"}}', "the gateway sent an error without", 400),
        (b'data: {"error": true}', "the gateway sent an error without a message", None),
        (b'data: {"object": "error", "message": "vLLM", "code": 400}', "vLLM", 400),
        (b"event: error\ndata: overloaded", "overloaded", None),
        (b'event: error\ndata: {"error": {"message": "inner", "code": "502"}}', "inner", 502),
        (b'event: error\ndata: {"message": "bare", "code": 529}', "bare", 529),
        (b'event: error\ndata: {"error": {"message": "beside"}, "code": 529}', "beside", 529),
        (b"event: error\ndata: {broken", "{broken", None),
    ],
)
@both
def test_an_error_event_of_any_shape_is_a_provider_error(
    kind: str, event: bytes, message: str, status: int | None
) -> None:
    """The error carries the message and the status that the event contains."""
    outcome = read(kind, [sse(*HELLO[:2], done=False) + event + b"\n\n"])

    assert type(outcome.error) is StreamProviderError
    assert outcome.error.message.startswith(message)
    assert outcome.error.status_code == status
    assert outcome.stream.text == "Hel"


@pytest.mark.parametrize(
    ("parts", "error", "cause"),
    [
        ([httpx2.ReadError("cut")], StreamConnectionError, httpx2.ReadError),
        ([httpx2.RemoteProtocolError("cut")], StreamConnectionError, httpx2.RemoteProtocolError),
        ([httpx2.ReadTimeout("late")], StreamTimeoutError, httpx2.ReadTimeout),
        ([ConnectionResetError("reset")], StreamConnectionError, ConnectionResetError),
        ([httpx2.DecodingError("gzip")], StreamContentError, httpx2.DecodingError),
        ([b"data: {broken\n\n"], StreamDecodeError, ValueError),
        ([b'data: {"choices": "\xff"}\n\n'], StreamDecodeError, ValueError),
    ],
)
@both
def test_the_cause_is_chained(kind: str, parts: list[Any], error: type[Exception], cause: type[Exception]) -> None:
    """The error of the HTTP library or the parser stays reachable as `__cause__`."""
    outcome = read(kind, [sse(*HELLO[:2], done=False), *parts])

    assert type(outcome.error) is error
    assert isinstance(outcome.error, StreamError)
    assert isinstance(outcome.error.__cause__, cause)
    assert outcome.error.partial.choices[0].message.content == "Hel"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [(401, NO_KEY, openai.AuthenticationError), (429, KEY_LIMIT, openai.RateLimitError)],
)
@both
def test_an_error_before_the_stream_is_the_sdks(kind: str, status: int, body: str, error: type[Exception]) -> None:
    """The class, the status and the code are unchanged."""
    response = httpx2.Response(status, headers={"content-type": "application/json"}, stream=Body([body.encode()]))

    async def run() -> None:
        await AsyncChatStream(async_client(response).chat.completions.create(**CHAT)).until_done()

    def run_sync() -> None:
        ChatStream(lambda: sync_client(response).chat.completions.create(**CHAT)).until_done()

    with pytest.raises(error) as raised:
        run_sync() if kind == "sync" else anyio.run(run)

    assert type(raised.value) is error
    assert isinstance(raised.value, openai.APIStatusError)
    assert raised.value.status_code == status
    assert raised.value.code == str(status)


LIMIT_TEXT = "rate limit"
OTHER_ERRORS: list[dict[str, Any]] = [
    {"throttlingException": {"message": LIMIT_TEXT}},
    {"modelStreamErrorException": {"originalStatusCode": 429, "message": LIMIT_TEXT}},
    {"Response": {"Error": {"Code": "RequestLimitExceeded", "Message": LIMIT_TEXT}, "RequestId": "x"}},
    {"Error": {"Message": LIMIT_TEXT}},
    {"errcode": 429, "errmsg": LIMIT_TEXT},
    {"errorCode": 429, "errorMessage": LIMIT_TEXT},
    {"status": {"code": 429, "message": LIMIT_TEXT}},
    {"data": {"error": {"message": LIMIT_TEXT}}},
    {"event": "error", "message": LIMIT_TEXT},
    {"type": "about:blank", "title": LIMIT_TEXT, "status": 429},
    {"fault": {"faultstring": "x", "detail": {"message": LIMIT_TEXT}}},
    {"exception": LIMIT_TEXT, "message": LIMIT_TEXT},
    {"ok": False, "message": LIMIT_TEXT},
    {"success": "false", "message": LIMIT_TEXT},
    {"type": "rate_limit_error", "message": LIMIT_TEXT},
    {"base_resp": {"status_code": 1002, "status_msg": LIMIT_TEXT}},
    {"id": "x", "choices": [], "baseResp": {"statusCode": "1002", "statusMsg": LIMIT_TEXT}},
    {"status_code": 1002, "status_msg": LIMIT_TEXT},
    {"header": {"code": 10013, "message": LIMIT_TEXT, "sid": "x"}},
    {"code": 429, "data": {"message": LIMIT_TEXT}},
    {"code": -1, "data": {"msg": LIMIT_TEXT}},
    {"status": 503, "result": {"message": LIMIT_TEXT}},
    {"code": 429, "message": {"text": LIMIT_TEXT}},
    {"code": 429, "error": {"message": LIMIT_TEXT}},
]


@pytest.mark.parametrize("form", OTHER_ERRORS, ids=str)
@pytest.mark.parametrize("has_begun", [False, True])
def test_an_error_by_any_name_is_an_error(form: dict[str, Any], has_begun: bool) -> None:
    """Names are compared without case and separators; what follows does not make the answer whole."""
    outcome = read("sync", [sse(*HELLO[:2], done=False)] * has_begun + [sse(form)])

    assert isinstance(outcome.error, StreamProviderError)
    assert LIMIT_TEXT in str(outcome.error)


@pytest.mark.parametrize("form", [form for form in OTHER_ERRORS if form.get("type") != "about:blank"], ids=str)
def test_an_error_by_any_name_is_an_error_of_a_response_too(form: dict[str, Any]) -> None:
    """The rule is the same for both APIs, for events without a type of their own."""
    with pytest.raises(StreamProviderError) as raised:
        ResponseStream([form]).until_done()

    assert LIMIT_TEXT in str(raised.value)


@pytest.mark.parametrize("status", [{"status_code": 1002}, {"status_code": 1002, "status_msg": ""}], ids=str)
@pytest.mark.parametrize("source", [ChatStream, ResponseStream])
def test_a_status_of_minimax_needs_no_message(source: Any, status: dict[str, Any]) -> None:
    """Its name says what it is."""
    with pytest.raises(StreamProviderError) as raised:
        source([{"id": "x", "choices": None, "base_resp": status}]).until_done()

    assert raised.value.code == "1002"


@pytest.mark.parametrize(
    "form",
    [
        {"type": "tool_result", "success": False, "message": "no such file", "code": 2},
        {"type": "tool_error", "tool": "read"},
        {"type": "note", "detail": "high"},
    ],
    ids=str,
)
def test_an_event_of_a_gateways_own_type_is_no_error_of_a_response(form: dict[str, Any]) -> None:
    """A tool of the gateway's own may fail, and the answer goes on."""
    stream = ResponseStream([form, {"type": "response.completed", "response": {"output": []}}])

    assert stream.get_final_response().output == []


@pytest.mark.parametrize(
    "form",
    [
        {"base_resp": {"status_code": 0, "status_msg": "success"}},
        {"base_resp": {"status_code": 0, "status_msg": ""}},
        {"code": 200, "data": {"message": "fine"}},
        {"code": 0, "data": {"code": 7, "message": "fine"}},
        {"status": "generating", "data": {"message": "one moment"}},
        {"status": 1, "data": {"message": "one moment"}},
        {"node": {"status": 1, "message": "one moment"}},
        {"notice": {"code": "deprecated", "message": "of the model"}},
        {"code": 429, "data": {"items": 3}},
        {"header": {"code": 10013}},
        {"error_code": 0, "error_msg": "success"},
        {"code": "00000", "message": "ok"},
        {"status": "running", "message": "one moment"},
        {"errors": [], "error": None, "message": "hello"},
        {"status": {"code": 0, "message": "fine"}},
    ],
    ids=str,
)
def test_a_code_of_success_is_no_error(form: dict[str, Any]) -> None:
    """Services send their states in the form of their errors."""
    outcome = read("sync", [sse(*HELLO[:2], done=False), sse(form, done=False), sse(*HELLO[2:])])

    assert outcome.error is None
    assert outcome.stream.text == "Hello"


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"error": "Insufficient balance", "status": 402}, 402),
        ({"error": {"message": LIMIT_TEXT}, "status_code": 429}, 429),
        ({"error": json.dumps({"error": {"code": 429, "message": LIMIT_TEXT}})}, 429),
        ({"error": [{"code": 429, "message": LIMIT_TEXT}]}, 429),
        ({"detail": {"code": 429, "msg": LIMIT_TEXT}}, 429),
        ({"detail": {"error": {"code": 429, "message": LIMIT_TEXT}}}, 429),
        ({"error": 429, "message": LIMIT_TEXT}, 429),
        ({"error": True, "message": LIMIT_TEXT}, None),
        ({"error_code": 429, "error": {"message": LIMIT_TEXT}}, 429),
        ({"code": 429, "error": {"error": {"message": LIMIT_TEXT}}}, 429),
        ({"code": 429, "error": {"code": None, "message": LIMIT_TEXT}}, 429),
        ({"code": 500, "error": {"error": {"code": 429, "message": LIMIT_TEXT}}}, 429),
        ({"code": 429, "data": {"message": LIMIT_TEXT}}, 429),
        ({"header": {"code": 429, "message": LIMIT_TEXT}}, 429),
        ({"status": {"code": 429, "message": LIMIT_TEXT}}, 429),
    ],
    ids=str,
)
def test_the_code_of_an_error_is_found_where_it_stands(form: dict[str, Any], status: int | None) -> None:
    """Beside the error, in a list, in a text that is JSON: it decides whether the request is made again."""
    error = read("sync", [sse(form)]).error
    with pytest.raises(StreamProviderError) as raised:
        ResponseStream([form]).until_done()

    for each in (error, raised.value):
        assert isinstance(each, StreamProviderError)
        assert each.status_code == status
        assert str(each).startswith(("rate limit (in", "Insufficient balance (in"))
