"""Streams of the Responses API, through both clients: the events, the end, the errors."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from clients import Body, responding_with
from events import HELLO, added, argument, call, created, delta, done, ended, event, message, stream
from openai.types.responses import Response

from tensorloop_stream import (
    AsyncResponseStream,
    AsyncTensorloop,
    Callbacks,
    ChatStream,
    ResponseCallbacks,
    ResponseStream,
    StreamDecodeError,
    StreamError,
    StreamProviderError,
    StreamTruncatedError,
    Tensorloop,
)

ASK: dict[str, Any] = {"model": "gpt-4o-mini", "input": "Hello?", "stream": True}
SETTINGS: dict[str, Any] = {"api_key": "none", "base_url": "https://gateway.test/v1", "max_retries": 0}
both = pytest.mark.parametrize("kind", ["sync", "async"])
MODES = ["events", "text", "final"]


def client_of(kind: str, *bodies: Any, ours: bool = True) -> Any:
    transport = httpx2.MockTransport(responding_with(*bodies))
    if kind == "sync":
        return (Tensorloop if ours else openai.OpenAI)(**SETTINGS, http_client=httpx2.Client(transport=transport))
    sdk: Any = AsyncTensorloop if ours else openai.AsyncOpenAI
    return sdk(**SETTINGS, http_client=httpx2.AsyncClient(transport=transport))


async def read(kind: str, source: Any, mode: str = "events", **settings: Any) -> tuple[Any, list[Any], Any]:
    """Return a stream that was read to its end, what it gave, and its error."""
    items: list[Any] = []
    try:
        if kind == "sync":
            opened: Any = ResponseStream(source, **settings)
            if mode == "final":
                items.append(opened.get_final_response())
            for item in opened.text_stream if mode == "text" else opened:
                items.append(item)  # noqa: PERF402 - those before an error count
        else:
            opened = AsyncResponseStream(source, **settings)
            if mode == "final":
                items.append(await opened.get_final_response())
            async for item in opened.text_stream if mode == "text" else opened:
                items.append(item)  # noqa: PERF401 - as above
    except StreamError as error:
        return opened, items, error
    return opened, items, None


def creating(kind: str, *bodies: Any) -> Any:
    """Return what opens a stream of these bodies, one after another."""
    client = client_of(kind, *(body if isinstance(body, httpx2.Response) else Body([body]) for body in bodies))
    return lambda: client.responses.create(**ASK)


@both
@pytest.mark.parametrize("size", [1, 3, 50, 100_000])
@pytest.mark.parametrize("mode", MODES)
async def test_a_stream_is_the_same_however_its_bytes_are_cut(kind: str, size: int, mode: str) -> None:
    """Its events, its text and its response."""
    whole = stream(*HELLO)
    parts = [whole[start : start + size] for start in range(0, len(whole), size)]
    client = client_of(kind, Body(parts))
    opened, items, error = await read(kind, lambda: client.responses.create(**ASK), mode)

    assert error is None
    assert {"events": len(HELLO), "text": 2, "final": 1}[mode] == len(items)
    assert (opened.text, opened.status, opened.usage.output_tokens) == ("Hello", "completed", 2)
    assert opened.snapshot.output_text == "Hello"
    assert opened.timing.completion_tokens == 2
    assert isinstance(opened.response, httpx2.Response)


@both
async def test_events_are_those_of_the_sdk(kind: str) -> None:
    """Copies of an earlier event, those that validate and those that do not; also of unknown types."""
    padded = [delta(f"{number}", logprobs=[], obfuscation="x" * number) for number in range(5)]
    bare = [delta(f"{number}") for number in range(5)]
    calls = [added(call(""), 1), *(argument(f"{number}") for number in range(4)), done(call("0123"), 1)]
    odd = [{"type": "keepalive"}, event("of_the_future", a={"b": 1}), delta('é\n"\\\u2028😀'), delta("é")]
    body = stream(created(), added(message("")), *padded, *bare, *calls, *odd, ended(message("x")))
    theirs = list(client_of("sync", Body([body]), ours=False).responses.create(**ASK))
    _, ours, _ = await read(kind, creating(kind, body))

    assert [type(each) for each in ours] == [type(each) for each in theirs]
    assert ours == theirs
    assert [each.model_fields_set for each in ours] == [each.model_fields_set for each in theirs]
    assert [each.model_extra for each in ours] == [each.model_extra for each in theirs]


@both
async def test_a_change_of_one_event_changes_no_other(kind: str) -> None:
    """Events share nothing that can be changed."""
    body = stream(created(), *(delta(f"{number}", logprobs=[]) for number in range(6)), ended())
    _, events, _ = await read(kind, creating(kind, body))
    for each in events[1:-1]:
        each.logprobs.append(1)

    assert [len(each.logprobs) for each in events[1:-1]] == [1] * 6


@both
@pytest.mark.parametrize("name", [True, False])
async def test_lines_with_names_are_no_condition(kind: str, name: bool) -> None:
    """LiteLLM before 1.110 sends data alone, and [DONE]."""
    opened, _, error = await read(kind, creating(kind, stream(*HELLO, name=name) + b"data: [DONE]\n\n"))

    assert (error, opened.text) == (None, "Hello")


@both
async def test_a_type_may_stand_in_the_name_alone(kind: str) -> None:
    """Also around a response that is its own event (sap-ai-core-llm-proxy#35)."""
    untyped = {name: value for name, value in delta("Hello").items() if name != "type"}
    parts = [("response.output_text.delta", untyped), ("response.completed", ended(message("Hello"))["response"])]
    body = b"".join(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode() for name, data in parts)
    opened, events, error = await read(kind, creating(kind, body))

    assert error is None
    assert [each.type for each in events] == [name for name, _ in parts]
    assert (opened.text, opened.status) == ("Hello", "completed")


@both
async def test_an_answer_in_one_piece_is_an_answer(kind: str) -> None:
    """A gateway may not stream."""
    whole = httpx2.Response(200, json=ended(message("Hello"))["response"])
    opened, _, error = await read(kind, creating(kind, whole), "text")

    assert (error, opened.text, opened.status) == (None, "Hello", "completed")


@both
async def test_incomplete_is_no_error(kind: str) -> None:
    """A reader looks at the status, as at the finish reason `length` of chat."""
    last = ended(
        message("Hel", status="incomplete"), status="incomplete", incomplete_details={"reason": "max_output_tokens"}
    )
    opened, _, error = await read(kind, creating(kind, stream(*HELLO[:4], last)), "final")

    assert (error, opened.status) == (None, "incomplete")
    assert opened.snapshot.incomplete_details.reason == "max_output_tokens"


@both
async def test_what_follows_the_end_is_not_read(kind: str) -> None:
    """Two lives of a response in one stream are the first (litellm#40118)."""
    opened, events, error = await read(kind, creating(kind, stream(*HELLO, *HELLO)))

    assert (len(events), error, opened.text) == (len(HELLO), None, "Hello")


FAILED = event(
    "failed",
    response={"id": "resp_1", "status": "failed", "output": [], "error": {"code": "server_error", "message": "Boom."}},
)
ERRORS = {
    "failed": FAILED,
    "cancelled": event("cancelled", response={"id": "resp_1", "status": "cancelled", "output": []}),
    "error": {"type": "error", "code": "server_error", "message": "Boom.", "param": None},
}


@both
@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("mode", MODES)
async def test_an_event_of_a_failure_is_given_before_its_error(kind: str, name: str, mode: str) -> None:
    """Loops find the event that the SDK gives them; the next read raises, and the text and the response at once."""
    opened, items, error = await read(kind, creating(kind, stream(*HELLO[:5], ERRORS[name])), mode)

    assert isinstance(error, StreamProviderError)
    assert error.text == error.partial_response.output_text == "Hello"  # type: ignore[union-attr]
    assert opened.status == (name if name != "error" else "in_progress")
    if mode == "events":
        assert items[-1].type in {name, f"response.{name}"}
    if name != "cancelled":
        assert (error.code, "Boom." in str(error)) == ("server_error", True)


@both
@pytest.mark.parametrize(
    ("inside", "beside"),
    [
        ({}, {"code": "server_error", "message": "Boom."}),
        ({"error": None}, {"code": "server_error", "message": "Boom."}),
        ({"error": {}}, {"error": {"code": "server_error", "message": "Boom."}}),
        ({"error": {"code": "server_error", "message": None}}, {"message": "Boom."}),
        ({"error": {"code": None, "message": "Boom."}}, {"code": "server_error"}),
        ({"error": {"code": "server_error"}}, {"error": {"code": "other", "message": "Boom."}}),
        ({"message": "Boom.", "code": "server_error"}, {}),
        ({"last_error": {"message": "Boom.", "code": "server_error"}}, {}),
        ({"status_details": {"error": {"message": "Boom."}}, "error": {"code": "server_error"}}, {}),
    ],
)
@pytest.mark.parametrize("ending", ["failed", "completed"])
async def test_what_an_error_lacks_stands_beside_it(kind: str, inside: Any, beside: Any, ending: str) -> None:
    """The message and the code count where each is found first: in the error, beside it, in the response."""
    last = event(ending, response={"id": "resp_1", "status": "failed", "output": [], **inside}, **beside)
    _, _, error = await read(kind, creating(kind, stream(*HELLO[:5], last)))

    assert isinstance(error, StreamProviderError)
    assert (error.code, "Boom." in str(error), error.text) == ("server_error", True, "Hello")


@both
async def test_a_nested_error_raises_at_once(kind: str) -> None:
    """LiteLLM's error after a keep-alive is flat and nested, and the SDK gives no event of it."""
    nested = {**ERRORS["error"], "code": "rate_limit_exceeded", "error": {"message": "Slow down.", "code": "429"}}
    _, items, error = await read(kind, creating(kind, stream(*HELLO[:5], nested)))

    assert len(items) == 5
    assert isinstance(error, StreamProviderError)


@both
@pytest.mark.parametrize("end", [b"", b"data: [DONE]\n\n"])
async def test_an_end_without_a_last_event_is_none(kind: str, end: bytes) -> None:
    """[DONE] alone is none either: whoever sends it sends an end."""
    opened, _, error = await read(kind, creating(kind, stream(*HELLO[:-1]) + end))

    assert isinstance(error, StreamTruncatedError)
    assert error.text == opened.text == "Hello"
    assert "response.completed" in str(error)


@both
async def test_an_end_may_be_missing_if_none_is_required(kind: str) -> None:
    """With `require_finish=False`, for hosts that send none."""
    opened, _, error = await read(kind, creating(kind, stream(*HELLO[:-1])), require_finish=False)

    assert (error, opened.text) == (None, "Hello")


@both
async def test_chunks_of_chat_are_no_events(kind: str) -> None:
    """The sentence names the class that reads them."""
    _, _, error = await read(kind, creating(kind, b'data: {"choices": [{"index": 0, "delta": {"content": "x"}}]}\n\n'))

    assert isinstance(error, StreamDecodeError)
    assert "ChatStream" in str(error)


@both
@pytest.mark.parametrize("ending", ["completed", "incomplete", "done"])
async def test_an_answer_that_was_cancelled_is_not_whole(kind: str, ending: str) -> None:
    """Whatever the event says: the status of its response decides."""
    last = event(ending, response={"id": "resp_1", "status": "cancelled", "output": []})
    opened, _, error = await read(kind, creating(kind, stream(*HELLO[:5], last)))

    assert isinstance(error, StreamProviderError)
    assert "cancelled" in str(error)
    assert (error.text, opened.status) == ("Hello", "cancelled")


@both
async def test_an_event_response_error_is_an_error(kind: str) -> None:
    """It is handed to the loop, as the SDK hands it, and then raised."""
    last = event("error", code="server_error", message="Boom.")
    _, items, error = await read(kind, creating(kind, stream(*HELLO[:5], last)))

    assert isinstance(error, StreamProviderError)
    assert (len(items), error.code, "Boom." in str(error), error.text) == (6, "server_error", True, "Hello")


@both
@pytest.mark.parametrize("ending", ["completed", "done"])
async def test_the_status_of_the_last_response_decides(kind: str, ending: str) -> None:
    """Some gateways end a failed answer with the event of a whole one, or each with an event of their own."""
    error = {"code": "rate_limit_exceeded", "message": "Slow down."}
    failed = event(ending, response={"id": "resp_1", "status": "failed", "output": [], "error": error})
    partial, given, broken = await read(kind, creating(kind, stream(*HELLO[:4], failed)))
    opened, _, none = await read(
        kind, creating(kind, stream(*HELLO[:-1], {**HELLO[-1], "type": "response.done"})), "text"
    )

    assert isinstance(broken, StreamProviderError)
    assert "Slow down." in str(broken)
    assert (partial.status, len(given), none) == ("failed", 5, None)
    assert (opened.status, opened.text) == ("completed", "Hello")


@both
@pytest.mark.parametrize(
    ("code", "restarts"),
    [
        ("server_error", True),
        ("rate_limit_exceeded", True),
        ("vector_store_timeout", True),
        ("503", True),
        (None, True),
        ("insufficient_quota", False),
        ("invalid_prompt", False),
        ("400", False),
        ("budget_exceeded", False),
    ],
)
async def test_a_failure_is_asked_again_if_its_code_merits_it(
    kind: str, code: str | None, restarts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sees the event of a failure that is asked again."""
    monkeypatch.setattr("tensorloop_stream._stream.state.backoff", lambda *_, **__: 0.0)
    failed = event("failed", response={"status": "failed", "output": [], "error": {"code": code, "message": "Boom."}})
    opened, _, error = await read(kind, creating(kind, stream(failed), stream(*HELLO)), "text", restarts=1)

    assert (error is None) == restarts
    assert opened.text == ("Hello" if restarts else "")


@both
async def test_a_failure_that_was_asked_again_is_never_given(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop gets the events of the second answer alone."""
    monkeypatch.setattr("tensorloop_stream._stream.state.backoff", lambda *_, **__: 0.0)
    _, events, error = await read(kind, creating(kind, stream(FAILED), stream(*HELLO)), restarts=1)

    assert error is None
    assert [each.type for each in events] == [each["type"] for each in HELLO]


@both
async def test_callbacks_are_called_as_for_chat(kind: str) -> None:
    """Events, texts, calls, usage and one end, in order."""
    log: list[Any] = []

    def note(name: str) -> Callable[[Any], object]:
        return lambda value: log.append((name, value))

    body = stream(
        *HELLO[:-1], added(call(""), 1), argument("{}", 2), done(call("{}"), 1), ended(message("Hello"), call("{}"))
    )
    names = ["on_text", "on_tool_call", "on_unusable_tool_call", "on_usage", "on_finish", "on_error", "on_abort"]
    opened, _, _ = await read(
        kind, creating(kind, body), "final", callbacks=Callbacks(**{name: note(name) for name in names})
    )

    assert [name for name, _ in log] == ["on_text", "on_text", "on_tool_call", "on_usage", "on_finish"]
    assert log[2][1].arguments == "{}"
    assert log[-1][1] == opened.snapshot


@both
async def test_the_event_of_a_failure_reaches_the_callbacks_once(kind: str) -> None:
    """Before the error, in every way of reading."""
    log: list[Any] = []
    callbacks = ResponseCallbacks(on_chunk=lambda each: log.append(each.type), on_error=lambda _: log.append("error"))
    _, _, error = await read(kind, creating(kind, stream(created(), FAILED)), "final", callbacks=callbacks)

    assert isinstance(error, StreamProviderError)
    assert log == ["response.created", "response.failed", "error"]


@both
async def test_heartbeats_are_given_and_count_for_nothing(kind: str) -> None:
    """Neither as events of the timing nor as life of the answer."""
    beats = [{"type": "keepalive"}, {"type": "ping"}]
    opened, events, _ = await read(kind, creating(kind, stream(created(), *beats, *HELLO[1:])))

    assert len(events) == len(HELLO) + 2
    assert len(opened.timing.chunk_times) == len(HELLO)


@both
async def test_an_error_can_be_pickled_with_its_response(kind: str) -> None:
    """It travels to another process, without the key."""
    _, _, error = await read(kind, creating(kind, stream(*HELLO[:5], FAILED)), "final")
    copy = pickle.loads(pickle.dumps(error))

    assert copy.partial_response.output_text == "Hello"


@both
async def test_events_of_any_origin_are_read(kind: str) -> None:
    """Mappings, models, or a mixture."""
    typed = list(ResponseStream([*HELLO]))
    opened, _, error = await read(kind, [*typed[:4], *HELLO[4:]])

    assert (error, opened.text) == (None, "Hello")


def test_each_api_has_a_stream_of_its_own() -> None:
    """One that is given to the other is refused."""
    with pytest.raises(TypeError, match="not a source of chunks"):
        ChatStream(ResponseStream([*HELLO]))  # type: ignore[arg-type] # the mistake


# The clients


@both
async def test_the_streams_of_a_client_are_ours(kind: str) -> None:
    """Both `create` and `retrieve`, which takes up a response that was begun in the background, return them."""
    client = client_of(kind, Body([stream(*HELLO)]))
    asked = client.responses.create(**ASK), client.responses.retrieve("resp_1", stream=True, starting_after=3)
    streams = asked if kind == "sync" else [await each for each in asked]

    for opened in streams:
        assert type(opened) is (ResponseStream if kind == "sync" else AsyncResponseStream)
        final: Any = opened.get_final_response()
        assert (final if kind == "sync" else await final).output_text == "Hello"


@both
async def test_a_stream_may_begin_in_the_middle(kind: str) -> None:
    """`starting_after` skips events: the last one has the answer."""
    opened, _, error = await read(kind, creating(kind, stream(*HELLO[4:])), "text")

    assert (error, opened.snapshot.output_text, opened.snapshot.id) == (None, "Hello", "resp_1")


@both
async def test_an_answer_without_stream_is_the_sdks(kind: str) -> None:
    """Only streams are of this package."""
    client = client_of(kind, httpx2.Response(200, json=ended(message("Hello"))["response"]))
    asked = client.responses.create(model="m", input="x")

    assert type(asked if kind == "sync" else await asked) is Response


def test_the_sdks_helper_runs_on_our_stream() -> None:
    """With its typed events and its parsed output."""
    client = client_of("sync", Body([stream(*HELLO)]))
    with client.responses.stream(model="m", input="x") as helper:
        kinds = [each.type for each in helper]

        assert type(helper._raw_stream) is ResponseStream
        assert helper.get_final_response().output_text == "Hello"
    assert len(kinds) >= len(HELLO)


@both
async def test_the_timeouts_of_a_client_hold_for_its_responses(kind: str) -> None:
    """Settings of streams are those of both APIs."""
    client = client_of(kind, Body([stream(*HELLO)]))
    client._stream_timeouts["idle_timeout"] = 3.0
    asked = client.responses.create(**ASK)
    opened = asked if kind == "sync" else await asked

    assert opened._state.settings.idle_timeout == 3.0
    closing = opened.close()
    if kind == "async":
        await closing


def test_a_raw_response_is_the_sdks() -> None:
    """`with_raw_response` returns a response, which gives a stream of ours when asked."""
    raw = client_of("sync", Body([stream(*HELLO)])).responses.with_raw_response.create(**ASK)

    assert "".join(raw.parse().text_stream) == "Hello"
