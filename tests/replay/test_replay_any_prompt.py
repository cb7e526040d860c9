"""A replay that is not strict: any request has an answer, recorded or made up."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from cassette_files import Reply, ask, cassette_file, chat, completion, events, interaction
from openai import OpenAI
from openai.types.responses import Response
from pydantic import BaseModel

from tensorloop_stream import ResponseStream
from tensorloop_stream.replay import ReplayServer
from tensorloop_stream.replay._cli import main
from tensorloop_stream.replay._command import is_test_run

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
CLOCK: dict[str, Any] = {"type": "function", "function": {"name": "get_time", "description": "The time, now."}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Bern"}'}}
ABOUT_BERN = {"role": "user", "content": "What is the weather in Bern?"}
STREAMS = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


class Book(BaseModel):
    title: str
    kind: Literal["novel", "essay"]
    pages: int


@pytest.fixture(scope="module")
def server() -> Iterator[ReplayServer]:
    """A server without any cassette."""
    with ReplayServer(strict=False) as server:
        yield server


def calls(reply: Reply) -> list[tuple[str, Any]]:
    """Return the calls of an answer: name and arguments."""
    if not reply.body.startswith(b"data:"):
        made = [call["function"] for call in reply.json["choices"][0]["message"]["tool_calls"]]
        return [(call["name"], json.loads(call["arguments"])) for call in made]
    pieces = [call["function"] for delta in reply.deltas for call in delta.get("tool_calls", ())]
    return [(pieces[0]["name"], json.loads("".join(piece["arguments"] for piece in pieces)))]


def as_asked(schema: type[BaseModel]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema.model_json_schema()}}


# Plain chat


@STREAMS
def test_a_plain_prompt_gets_an_answer_that_says_it_is_canned(server: ReplayServer, stream: bool) -> None:
    """The text says what was asked, and what to do for a real answer."""
    reply = ask(server, chat("What is the capital of France?", "gpt-4o", stream=stream))

    assert reply.status == 200
    assert reply.text.startswith("This is a canned answer: no model has read your message")
    assert "What is the capital of France?" in reply.text
    assert "set TENSORLOOP_KEY" in reply.text
    assert reply.finish_reasons == ["stop"]


@STREAMS
def test_a_canned_answer_has_the_model_that_was_asked(server: ReplayServer, stream: bool) -> None:
    """A program that looks at it finds its own."""
    reply = ask(server, chat(model="gpt-4o", stream=stream))

    assert {part["model"] for part in (reply.chunks if stream else [reply.json])} == {"gpt-4o"}


def test_each_word_of_a_canned_stream_is_an_event(server: ReplayServer) -> None:
    """With a delay, it comes at the pace of a model."""
    reply = ask(server, chat(stream=True))

    assert reply.deltas[0] == {"role": "assistant", "content": ""}
    assert [delta.get("content") for delta in reply.deltas[1:5]] == ["This", " is", " a", " canned"]


def test_a_canned_answer_counts_the_messages_of_a_conversation(server: ReplayServer) -> None:
    """One's own program can be seen to send them all."""
    turns = [{"role": role, "content": "Hello!"} for role in ("system", "user", "assistant", "user")]

    assert "(4 messages arrived)" in ask(server, chat(messages=turns)).text


def test_a_canned_answer_counts_what_is_attached(server: ReplayServer) -> None:
    """A picture is not read, and is not lost in silence either."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    reply = ask(server, chat([{"type": "text", "text": "What are these?"}, picture, picture]))

    assert "(1 message and 2 images arrived)" in reply.text
    assert "What are these?" in reply.text


@STREAMS
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_canned_answer_is_cut_at_the_limit_of_tokens(server: ReplayServer, stream: bool, name: str) -> None:
    """And says so, as a model does."""
    reply = ask(server, {**chat(stream=stream), name: 3})

    assert reply.text == "This is a"
    assert reply.finish_reasons == ["length"]


@STREAMS
@pytest.mark.parametrize("stop", [" canned", ["no such words", " canned"]])
def test_a_canned_answer_ends_before_a_stop_sequence(server: ReplayServer, stream: bool, stop: Any) -> None:
    """The sequence is no part of the text."""
    reply = ask(server, chat(stream=stream, stop=stop))

    assert reply.text == "This is a"
    assert reply.finish_reasons == ["stop"]


def test_choices_are_as_many_as_asked_for(server: ReplayServer) -> None:
    """Each says which it is."""
    choices = ask(server, chat(n=3)).json["choices"]

    assert [choice["index"] for choice in choices] == [0, 1, 2]
    assert ["choice 2 of 3" in choice["message"]["content"] for choice in choices] == [False, True, False]


def test_streamed_choices_come_by_turns(server: ReplayServer) -> None:
    """Gateways interleave choices in the same way."""
    chunks = ask(server, chat(n=2, stream=True)).chunks

    assert [chunk["choices"][0]["index"] for chunk in chunks[:6]] == [0, 1, 0, 1, 0, 1]


def test_whole_answers_have_usage(server: ReplayServer) -> None:
    """Completion tokens are the parts that would have been streamed."""
    usage = ask(server, chat(max_tokens=3)).json["usage"]

    assert usage["completion_tokens"] == 3
    assert usage["total_tokens"] == usage["prompt_tokens"] + 3


@pytest.mark.parametrize("asked", [True, False])
def test_streams_have_usage_if_it_is_asked_for(server: ReplayServer, asked: bool) -> None:
    """In a last event without choices."""
    chunks = ask(server, chat(stream=True, stream_options={"include_usage": asked})).chunks

    assert [chunk["choices"] for chunk in chunks if "usage" in chunk] == [[]] * asked
    assert "usage" not in chunks[-2]


@STREAMS
def test_log_probabilities_come_if_they_are_asked_for(server: ReplayServer, stream: bool) -> None:
    """One for each part of the text, with as many alternatives as there can be."""
    reply = ask(server, chat(logprobs=True, top_logprobs=2, max_tokens=2, stream=stream))
    choices = [choice for part in (reply.chunks if stream else [reply.json]) for choice in part["choices"]]
    tokens = [token for choice in choices for token in (choice.get("logprobs") or {}).get("content", ())]

    assert [token["token"] for token in tokens] == ["This", " is"]
    assert [len(token["top_logprobs"]) for token in tokens] == [1, 1]


# Structured output


@STREAMS
def test_structured_output_fits_the_schema(server: ReplayServer, stream: bool) -> None:
    """A program that parses it goes on."""
    reply = ask(server, chat(response_format=as_asked(Book), stream=stream))

    assert Book.model_validate_json(reply.text) == Book(title="canned title", kind="novel", pages=1)


def test_a_json_object_without_a_schema_is_one(server: ReplayServer) -> None:
    """The older form of structured output."""
    reply = ask(server, chat(response_format={"type": "json_object"}))

    assert isinstance(json.loads(reply.text), dict)


def test_structured_output_that_is_recorded_comes_first(tmp_path: Path) -> None:
    """A real answer of the same kind, if it fits the schema."""
    real = '{"title": "Caches", "kind": "essay", "pages": 9}'
    path = cassette_file(tmp_path / "a.yaml", interaction(chat(response_format=as_asked(Book)), completion(real)))
    with ReplayServer(path, strict=False) as server:
        reply = ask(server, chat("Another book", response_format=as_asked(Book)))

    assert reply.text == real


def test_structured_output_of_another_schema_is_made_up(tmp_path: Path) -> None:
    """The recorded answer would not validate."""

    class Film(BaseModel):
        director: str

    path = cassette_file(tmp_path / "a.yaml", interaction(chat(response_format=as_asked(Book)), completion("{}")))
    with ReplayServer(path, strict=False) as server:
        reply = ask(server, chat(response_format=as_asked(Film)))

    assert Film.model_validate_json(reply.text).director == "canned director"


def test_a_schema_without_any_value_is_a_404(server: ReplayServer) -> None:
    """The replay says that it cannot, rather than send what does not fit."""
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 2, "maximum": 1}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "none", "schema": schema}}
    reply = ask(server, chat(response_format=form))

    assert reply.status == 404
    assert "no value was found that fits the schema" in reply.error["message"]
    assert server.unmatched[-1] == f"404: {reply.error['message']}"


# Tools


@STREAMS
@pytest.mark.parametrize(
    "choice", [None, "auto", "required", {"type": "function", "function": {"name": "get_weather"}}]
)
def test_tools_are_called_with_arguments_that_fit(server: ReplayServer, stream: bool, choice: Any) -> None:
    """A name in the prompt is the first text among them."""
    extra = {} if choice is None else {"tool_choice": choice}
    reply = ask(server, chat(messages=[ABOUT_BERN], tools=[CLOCK, WEATHER], stream=stream, **extra))

    assert calls(reply) == [("get_weather", {"city": "Bern", "unit": "celsius"})]
    assert reply.finish_reasons == ["tool_calls"]


def test_the_named_tool_is_called(server: ReplayServer) -> None:
    """Whatever the prompt is about."""
    choice = {"type": "function", "function": {"name": "get_time"}}
    reply = ask(server, chat(messages=[ABOUT_BERN], tools=[WEATHER, CLOCK], tool_choice=choice))

    assert calls(reply) == [("get_time", {})]


def test_a_custom_tool_is_called(server: ReplayServer) -> None:
    """Its input is any text."""
    reply = ask(server, chat(tools=[{"type": "custom", "custom": {"name": "run"}}]))

    call = reply.json["choices"][0]["message"]["tool_calls"][0]
    assert (call["type"], call["custom"]) == ("custom", {"name": "run", "input": "canned input"})


def test_no_tool_is_called_where_none_may_be(server: ReplayServer) -> None:
    """`tool_choice: none` is a plain prompt."""
    assert ask(server, chat(tools=[WEATHER], tool_choice="none")).text.startswith("This is a canned answer")


def test_the_result_of_a_tool_gets_a_plain_answer(server: ReplayServer) -> None:
    """A loop that calls tools ends."""
    turns = [
        ABOUT_BERN,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "9 °C"},
    ]
    reply = ask(server, chat(messages=turns, tools=[WEATHER]))

    assert 'the result of get_weather "9 °C"' in reply.text


def test_a_recorded_call_of_the_same_tool_comes_first(tmp_path: Path) -> None:
    """With the asked model, an id and a time of its own, and the recorded call."""
    asked = chat(messages=[ABOUT_BERN], tools=[WEATHER])
    recorded = completion(None, "tool_calls", tool_calls=[CALL])
    path = cassette_file(tmp_path / "a.yaml", interaction(asked, recorded))
    with ReplayServer(path, strict=False) as server:
        reply = ask(server, chat("And in Basel?", "gpt-4o", tools=[WEATHER]))

    assert calls(reply) == [("get_weather", {"city": "Bern"})]
    assert reply.json["model"] == "gpt-4o"
    assert reply.json["id"] != recorded["id"]
    assert reply.json["created"] > recorded["created"]
    assert reply.json["usage"]["total_tokens"] > 0


def test_the_nearest_of_several_recorded_calls_is_taken(tmp_path: Path) -> None:
    """By the differences between the requests."""
    cities = {
        city: {**CALL, "function": {"name": "get_weather", "arguments": json.dumps({"city": city})}}
        for city in ("Bern", "Basel")
    }
    recorded = [
        interaction(chat(f"The weather in {city}?", tools=[WEATHER]), completion(None, "tool_calls", tool_calls=[call]))
        for city, call in cities.items()
    ]
    with ReplayServer(cassette_file(tmp_path / "a.yaml", *recorded), strict=False) as server:
        reply = ask(server, chat("The weather in Basel, please?", tools=[WEATHER]))

    assert calls(reply) == [("get_weather", {"city": "Basel"})]


@pytest.mark.parametrize(
    ("asked", "recorded"),
    [
        pytest.param({"tools": [CLOCK]}, completion(None, "tool_calls", tool_calls=[CALL]), id="another tool"),
        pytest.param({"max_tokens": 1}, completion(None, "tool_calls", tool_calls=[CALL]), id="too long"),
        pytest.param({}, completion(None, "length", tool_calls=[CALL]), id="cut"),
        pytest.param({}, completion("No tool is needed."), id="no call"),
        pytest.param({}, {"error": {"message": "inside a 200"}}, id="error"),
        pytest.param({}, "data: [DONE]\n\n", id="empty"),
        pytest.param({}, {"choices": [{"message": {"tool_calls": 7}, "finish_reason": "stop"}]}, id="odd"),
    ],
)
def test_a_recorded_call_that_does_not_serve_is_left_out(tmp_path: Path, asked: dict[str, Any], recorded: Any) -> None:
    """The answer is made up instead."""
    path = cassette_file(tmp_path / "a.yaml", interaction(chat(tools=[WEATHER]), recorded))
    with ReplayServer(path, strict=False) as server:
        reply = ask(server, chat("The time?", **{"tools": [WEATHER], **asked}))

    assert reply.status == 200
    assert reply.body != json.dumps(recorded).encode()
    assert reply.json["choices"][0]["message"]["tool_calls"][0]["id"] != "call_1"


@pytest.mark.parametrize("asked", [True, False])
def test_usage_of_a_recorded_stream_is_as_asked(tmp_path: Path, asked: bool) -> None:
    """It is added or left out."""
    deltas = [{"tool_calls": [{"index": 0, **CALL}]}]
    usage = 'data: {"choices":[],"usage":{"total_tokens":9}}\n\ndata: [DONE]'
    stream = events(*deltas, finish_reason="tool_calls")
    recorded = stream if asked else stream.replace("data: [DONE]", usage)
    path = cassette_file(tmp_path / "a.yaml", interaction(chat(tools=[WEATHER], stream=True), recorded))
    with ReplayServer(path, strict=False) as server:
        options = {"include_usage": asked}
        reply = ask(server, chat("Basel?", tools=[WEATHER], stream=True, stream_options=options))

    assert calls(reply) == [("get_weather", {"city": "Bern"})]
    assert ["usage" in chunk for chunk in reply.chunks] == [False, False, True] if asked else [False, False]


# What else there is


def test_an_equal_request_still_gets_its_own_answer(tmp_path: Path) -> None:
    """Byte for byte, whatever else could be made of it."""
    path = cassette_file(tmp_path / "a.yaml", interaction(chat(stream=True), events({"content": "Hello"})))
    with ReplayServer(path, strict=False) as server:
        reply = ask(server, chat(stream=True))

    assert reply.body.decode() == events({"content": "Hello"})


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "gpt-4o"}, "messages"),
        ({"model": "gpt-4o", "messages": "Hi"}, "messages"),
        ({"model": "gpt-4o", "messages": ["Hi"]}, "messages.0"),
        ({"messages": chat()["messages"]}, "model"),
        (chat(n=0), "n"),
        (chat(max_tokens=0), "max_tokens"),
        (chat(stop=7), "stop"),
        (chat(tools=[{"name": "get_weather"}]), "tools.0"),
        (chat(tools=[WEATHER], tool_choice={"type": "function", "function": {"name": "other"}}), "tool_choice"),
        (chat(tool_choice="required"), "tool_choice"),
        (chat(response_format={"type": "xml"}), "response_format"),
    ],
)
def test_a_wrong_request_is_refused(server: ReplayServer, body: dict[str, Any], param: str) -> None:
    """With the status and the field that a gateway would name."""
    reply = ask(server, body)

    assert (reply.status, reply.error["param"]) == (400, param)


def test_the_faults_of_a_models_name_are_those_of_a_canned_answer(server: ReplayServer) -> None:
    """The name without them is what the answer has."""
    reply = ask(server, chat(model="gpt-4o?end-after=3", stream=True))
    *chunks, rest = reply.body.decode().split("\n\n")

    assert rest == ""
    assert [json.loads(chunk.removeprefix("data: "))["model"] for chunk in chunks] == ["gpt-4o"] * 3


def test_a_canned_answer_can_fail_first(server: ReplayServer) -> None:
    """A retry is tried out on any prompt."""
    body = chat("Once more", model="gpt-4o?status=429&fails=1")

    assert [ask(server, body).status for _ in range(2)] == [429, 200]


@pytest.mark.parametrize("path", ["/v1/models", "/models"])
def test_models_are_those_that_answered(tmp_path: Path, path: str) -> None:
    """A model that a recorded error was about is none."""
    path_of_file = cassette_file(
        tmp_path / "a.yaml",
        interaction(chat(model="one"), completion("Hi")),
        interaction(chat(model="two"), completion("Hi")),
        interaction(chat(model="no-such-model"), {"error": {}}, status=404),
    )
    with ReplayServer(path_of_file, strict=False) as server:
        models = ask(server, method="GET", path=path).json

    assert models["object"] == "list"
    assert [model["id"] for model in models["data"]] == ["one", "two"]


def test_one_model_can_be_asked_for(server: ReplayServer) -> None:
    """Without recordings it is the one that every key may call."""
    found = ask(server, method="GET", path="/v1/models/gpt-4o-mini")
    missing = ask(server, method="GET", path="/v1/models/other")

    assert (found.status, found.json["id"]) == (200, "gpt-4o-mini")
    assert (missing.status, missing.error["param"]) == (404, "model")


def test_a_base_url_without_v1_is_served(server: ReplayServer) -> None:
    """LiteLLM serves both."""
    assert ask(server, chat(), path="/chat/completions").status == 200


def test_other_paths_are_a_404(server: ReplayServer) -> None:
    """Nothing is made up for them."""
    reply = ask(server, {"input": "Hi", "model": "any"}, path="/v1/embeddings")

    assert reply.status == 404
    assert reply.error["message"] == "nothing is recorded for POST /v1/embeddings"


def test_a_strict_server_makes_nothing_up(tmp_path: Path) -> None:
    """The default, for tests."""
    path = cassette_file(tmp_path / "a.yaml", interaction(chat(), completion("Hi")))
    with ReplayServer(path) as server:
        statuses = [ask(server, chat("Bye")).status, ask(server, method="GET", path="/v1/models").status]

    assert statuses == [404, 404]


# The Responses API

RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "gpt-4o-mini",
    "status": "completed",
    "output": [
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Hello", "annotations": []}],
        }
    ],
}
STREAMED = f"data: {json.dumps({'type': 'response.completed', 'response': RESPONSE})}\n\ndata: [DONE]\n\n"
PICTURE = [{"role": "user", "content": [{"type": "input_image", "image_url": "data:", "detail": "auto"}]}]
RESPONSE_WEATHER = {"type": "function", "strict": True, **WEATHER["function"]}


def respond(server: ReplayServer, asked: Any, **more: Any) -> Reply:
    return ask(server, {"model": "gpt-4o", "input": asked, **more}, path="/v1/responses")


@pytest.fixture
def responses(tmp_path: Path) -> Iterator[ReplayServer]:
    body = {"model": "gpt-4o-mini", "input": [*PICTURE, *PICTURE], "stream": True}
    path = cassette_file(tmp_path / "a.yaml", interaction(body, STREAMED, path="/v1/responses"))
    with ReplayServer(path, strict=False) as server:
        yield server


@pytest.fixture
def sdk(server: ReplayServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.base_url, api_key="none", max_retries=0) as client:
        yield client


def responded(client: OpenAI, *, stream: bool, **request: Any) -> Response:
    """Ask for a response, streamed or whole."""
    if stream:
        return ResponseStream(client.responses.create(**request, stream=True)).get_final_response()
    answer: Response = client.responses.create(**request)
    return answer


def test_a_response_is_the_nearest_recorded_one_of_its_kind(responses: ReplayServer) -> None:
    """With the asked model, and an id and a time of its own."""
    first = respond(responses, PICTURE, stream=True).body.partition(b"\n\n")[0]
    response = json.loads(first.removeprefix(b"data: "))["response"]

    assert response["output"] == RESPONSE["output"]
    assert response["model"] == "gpt-4o"
    assert response["id"] != RESPONSE["id"]
    assert response["created_at"] > RESPONSE["created_at"]


def test_a_stream_without_numbers_gets_them(tmp_path: Path) -> None:
    """Some hosts leave them out, and the SDK's helper needs them."""
    made = [
        {"type": "response.created", "response": RESPONSE},
        {"type": "response.output_item.added", "item": {"id": "a", "type": "message"}},
        {"type": "response.output_text.delta", "item_id": "a", "delta": "Hello"},
        {"type": "response.output_item.added", "item": {"id": "b", "type": "message"}, "output_index": 7},
        {"type": "response.completed", "response": RESPONSE},
    ]
    stream = "".join(f"data: {json.dumps(event)}\n\n" for event in made)
    body = {"model": "gpt-4o-mini", "input": [*PICTURE, *PICTURE], "stream": True}
    path = cassette_file(tmp_path / "a.yaml", interaction(body, stream, path="/v1/responses"))
    with ReplayServer(path, strict=False) as server:
        lines = respond(server, PICTURE, stream=True).body.decode().split("\n\n")[:-1]
    numbers = ("sequence_number", "output_index", "content_index")
    values = [json.loads(line.removeprefix("data: ")) for line in lines]

    assert [tuple(value.get(name) for name in numbers) for value in values] == [
        (0, None, None),
        (1, 0, None),
        (2, 0, 0),
        (3, 7, None),
        (4, None, None),
    ]


def test_a_whole_response_may_be_that_of_a_stream(responses: ReplayServer) -> None:
    """Each stream ends with it."""
    assert respond(responses, PICTURE).json["output"] == RESPONSE["output"]


@STREAMS
@pytest.mark.parametrize("recorded", [True, False], ids=["streamed recording", "whole recording"])
def test_a_recorded_prompt_is_answered_as_recorded_whatever_else_is_asked(
    tmp_path: Path, stream: bool, recorded: bool
) -> None:
    """The usage, a sampling field, another model and the other form do not change what the prompt asks."""
    answer = events({"content": "Hello"}) if recorded else completion("Hello")
    path = cassette_file(tmp_path / "a.yaml", interaction(chat("Hi", stream=recorded), answer))
    options = {"stream_options": {"include_usage": True}} if stream else {}
    with ReplayServer(path, strict=False) as server:
        reply = ask(server, chat("Hi", "gpt-4o", stream=stream, temperature=0.2, **options))
        other = ask(server, chat("Hi there", "gpt-4o", stream=stream))

    assert reply.text == "Hello"
    assert (reply.chunks[-1] if stream else reply.json)["usage"]["completion_tokens"] == 1
    assert other.text.startswith("This is a canned answer")


@STREAMS
def test_a_recorded_input_is_answered_as_recorded_whatever_else_is_asked(tmp_path: Path, stream: bool) -> None:
    """The same holds for the Responses API, where instructions are part of what is asked."""
    body = {"model": "gpt-4o-mini", "input": "Hi", "instructions": "Be brief."}
    path = cassette_file(tmp_path / "a.yaml", interaction(body, RESPONSE, path="/v1/responses"))
    with ReplayServer(path, strict=False) as server:
        with OpenAI(base_url=server.base_url, api_key="none") as client:
            same = responded(client, stream=stream, model="gpt-4o", input="Hi", instructions="Be brief.")
        other = respond(server, "Hi", instructions="Be long.")

    assert (same.output_text, same.model) == ("Hello", "gpt-4o")
    assert "This is a canned answer" in other.body.decode()


@STREAMS
def test_a_plain_response_says_that_it_is_canned(sdk: OpenAI, stream: bool) -> None:
    """A recorded refusal, nearest by its letters, is not taken for the answer to another prompt."""
    prompt = "What is the capital of France?"
    response = responded(sdk, stream=stream, model="gpt-4o", input=prompt, instructions="Be brief.")
    text = response.output_text

    assert text.startswith(f'This is a canned answer: no model has read your message "{prompt}"')
    assert "(2 messages arrived)" in text
    assert (response.status, response.model, response.instructions) == ("completed", "gpt-4o", "Be brief.")
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens > 0


def test_the_events_of_a_made_up_response_are_those_of_the_sdk(sdk: OpenAI) -> None:
    """The SDK's own helper reads them, and each has its fields."""
    events = list(sdk.responses.create(model="gpt-4o", input="Hello", stream=True))
    with sdk.responses.stream(model="gpt-4o", input="Hello") as helper:
        final = helper.get_final_response()

    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [type(event).model_validate(event.to_dict()) for event in events] == events
    assert list(dict.fromkeys(event.type.removeprefix("response.") for event in events)) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert final.output_text.startswith("This is a canned answer")


@STREAMS
def test_a_tool_of_a_response_is_called_with_arguments_that_fit(sdk: OpenAI, stream: bool) -> None:
    """An own tool, which nobody recorded, is called; its result gets a text."""
    asked: dict[str, Any] = {"model": "gpt-4o", "tools": [RESPONSE_WEATHER]}
    (call,) = responded(sdk, stream=stream, **asked, input=[ABOUT_BERN]).output
    assert call.type == "function_call"
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny."}
    answer = responded(sdk, stream=stream, **asked, input=[ABOUT_BERN, call.to_dict(), result])

    assert (call.name, json.loads(call.arguments)["city"]) == ("get_weather", "Bern")
    assert 'no model has read the result of get_weather "Sunny."' in answer.output_text


@STREAMS
def test_a_custom_tool_of_a_response_gets_an_input(sdk: OpenAI, stream: bool) -> None:
    """The input of a custom tool is text."""
    tools = [{"type": "custom", "name": "code"}]
    (call,) = responded(sdk, stream=stream, model="gpt-4o", input="Sum 1 and 2.", tools=tools).output

    assert call.type == "custom_tool_call"
    assert (call.name, call.input) == ("code", "canned input")


def test_a_structured_response_fits_its_schema(sdk: OpenAI) -> None:
    """The SDK parses it into the model."""
    parsed = sdk.responses.parse(model="gpt-4o", input="A book.", text_format=Book)

    assert isinstance(parsed.output_parsed, Book)


@STREAMS
def test_a_made_up_response_is_cut_at_the_limit_of_tokens(sdk: OpenAI, stream: bool) -> None:
    """Its status is then incomplete, with the reason."""
    response = responded(sdk, stream=stream, model="gpt-4o", input="Hello", max_output_tokens=16)

    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.usage is not None
    assert response.usage.output_tokens == 16


@pytest.mark.parametrize(
    "asked",
    [
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}},
        {"tools": [RESPONSE_WEATHER], "tool_choice": "none"},
        {"input": [{"type": "reasoning", "id": "rs_1", "summary": []}, {"role": "user", "content": "Hello"}]},
        {"input": None, "previous_response_id": "resp_1"},
        {"input": PICTURE},
    ],
    ids=["service tool", "chosen service tool", "no tool", "reasoning", "continued", "picture"],
)
def test_any_other_response_is_a_text(server: ReplayServer, asked: dict[str, Any]) -> None:
    """The service's own tools call nothing of the program, and other items count for nothing."""
    reply = respond(server, **{"asked": "Hello", **asked})

    assert reply.status == 200
    assert [item["type"] for item in reply.json["output"]] == ["message"]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"input": 7}, "input"),
        ({"input": ["Hello"]}, "input"),
        ({"model": None}, "model"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"tools": "all"}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools.0.name"),
        ({"tool_choice": {"type": "function", "name": "other"}, "tools": [RESPONSE_WEATHER]}, "tool_choice"),
    ],
    ids=str,
)
def test_a_wrong_request_for_a_response_is_a_400(server: ReplayServer, asked: dict[str, Any], param: str) -> None:
    """It names the field, as the service does."""
    reply = respond(server, **{"asked": "Hello", **asked})

    assert reply.status == 400
    assert reply.error["param"] == param


def test_a_response_that_is_not_recorded_is_a_404_when_strict(tmp_path: Path) -> None:
    """A test must learn that nobody recorded its request."""
    with ReplayServer(cassette_file(tmp_path / "a.yaml", interaction(chat("Hi"), completion("Hello")))) as server:
        reply = respond(server, "Hello")

    assert reply.status == 404


# A fallback


@STREAMS
def test_the_fallback_answers_what_is_not_recorded(tmp_path: Path, stream: bool) -> None:
    """In the form that is asked for, also from a strict server."""
    mine = cassette_file(tmp_path / "mine.yaml", interaction(chat("Hi"), completion("Recorded")))
    other = cassette_file(tmp_path / "other.yaml", interaction(chat("Any", stream=True), events({"content": "Always"})))
    with ReplayServer(mine, fallback=other) as server:
        exact, reply = ask(server, chat("Hi")), ask(server, chat("Bye", "gpt-4o", stream=stream))

    assert exact.text == "Recorded"
    assert reply.text == "Always"
    assert {part["model"] for part in (reply.chunks if stream else [reply.json])} == {"gpt-4o"}


def test_the_fallback_of_the_same_kind_comes_first(tmp_path: Path) -> None:
    """Tools before text, where tools are asked for."""
    fallback = cassette_file(
        tmp_path / "other.yaml",
        interaction(chat("The time?"), completion("Text")),
        interaction(chat("Any", tools=[WEATHER]), completion(None, "tool_calls", tool_calls=[CALL])),
    )
    with ReplayServer(fallback=fallback) as server:
        reply = ask(server, chat("The time?", tools=[CLOCK]))

    assert calls(reply) == [("get_weather", {"city": "Bern"})]


def test_the_fallback_may_be_an_error(tmp_path: Path) -> None:
    """Then every other prompt fails."""
    fallback = cassette_file(tmp_path / "a.yaml", interaction(chat("Any"), {"error": {"code": "503"}}, status=503))
    with ReplayServer(fallback=fallback, strict=False) as server:
        reply = ask(server, chat("Another"))

    assert (reply.status, reply.error) == (503, {"code": "503"})


# In words, and on the command line


def test_a_line_names_the_source_of_each_answer(tmp_path: Path) -> None:
    """One for each request, whatever became of it."""
    path = cassette_file(
        tmp_path / "a.yaml",
        interaction(chat(), completion("Hi")),
        interaction(chat(tools=[WEATHER]), completion(None, "tool_calls", tool_calls=[CALL])),
    )
    lines: list[str] = []
    with ReplayServer(path, strict=False, report=lines.append) as server:
        for body in (chat(), chat(seed=1), chat("Bye"), chat("Bern?", tools=[WEATHER]), chat(n=0)):
            ask(server, body)
        ask(server, method="GET", path="/other")

    asked = "POST /v1/chat/completions gpt-4o-mini"
    assert lines == [
        f"{asked}: recorded in {path}",
        f"{asked}: nearest recorded, {path}: seed was sent as 1, but not recorded",
        f"{asked}: canned answer, for nothing like it is recorded",
        f'{asked}: nearest recorded, {path}: messages.0.content was sent as "Bern?", but recorded as "Hi"',
        f"{asked}: 400: n must be 1 or more, not 0",
        "GET /other: 404: nothing is recorded for GET /other, only for POST /v1/chat/completions",
    ]


def test_a_request_that_fails_inside_the_server_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The client sees a closed connection, and the log has the traceback."""

    def fail(_: str) -> None:
        raise RuntimeError("out of order")

    with ReplayServer(strict=False, report=fail) as server, pytest.raises(http.client.RemoteDisconnected):
        ask(server, chat())

    assert "the replay failed to answer a request" in caplog.text
    assert "out of order" in caplog.text


ASK = """
import os, sys, urllib.request
body = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "Bye"}]}'
request = urllib.request.Request(os.environ["TENSORLOOP_BASE_URL"] + "/chat/completions", body)
try:
    print(urllib.request.urlopen(request).read().decode())
except urllib.error.HTTPError as error:
    print(error.code)
"""


def test_the_command_line_answers_any_prompt_and_says_how(capfd: pytest.CaptureFixture[str]) -> None:
    """Without any cassette, in front of one's own program."""
    status = main(["--", sys.executable, "-c", ASK])
    output, lines = capfd.readouterr()

    assert status == 0
    assert "This is a canned answer" in output
    assert lines == "replay: POST /v1/chat/completions gpt-4o: canned answer, for nothing like it is recorded\n"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (["--strict"], [], ("404\n", "replay: 1 of 1 requests got a 404:")),
        ([], ["pytest"], ("404\n", "replay: 1 of 1 requests got a 404:")),
        (["--strict", "--quiet"], [], ("404\n", "")),
        (["--no-strict"], ["pytest"], ("This is a canned answer", "replay: POST ")),
        (["--quiet"], [], ("This is a canned answer", "")),
    ],
)
def test_the_command_line_is_strict_if_asked_to_and_for_pytest(
    tmp_path: Path, before: list[str], after: list[str], expected: tuple[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    """Then it writes at the end what it refused, and no line about each request."""
    path = cassette_file(tmp_path / "a.yaml", interaction(chat(), completion("Hi")))
    main([str(path), *before, "--", sys.executable, "-c", ASK, *after])
    output, lines = capfd.readouterr()
    said, told = expected

    assert said in output
    assert lines.startswith(told)
    assert bool(lines) == bool(told)


@pytest.mark.parametrize(
    ("command", "is_one"),
    [
        ("pytest -q", True),
        ("python -m pytest tests", True),
        ("uv run py.test", True),
        ("/opt/venv/bin/pytest", True),
        ("python pytest_your_app.py", False),
        ("python program.py", False),
    ],
)
def test_a_run_of_pytest_is_known_by_its_command(command: str, is_one: bool) -> None:
    """The command may be a program, a module, or an argument of another program."""
    assert is_test_run(command.split()) == is_one


def test_the_command_line_takes_a_fallback_and_fields_to_ignore(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A recorded answer for every prompt, and one for a prompt that differs in what does not count."""
    mine = cassette_file(tmp_path / "a.yaml", interaction(chat("Bye", model="any", seed=7), completion("Mine")))
    other = cassette_file(tmp_path / "b.yaml", interaction(chat("Any"), completion("Always")))
    for ignored in ("seed", "model"):
        main(
            [
                str(mine),
                "--ignore",
                "seed",
                "--ignore",
                ignored,
                "--fallback",
                str(other),
                "--",
                sys.executable,
                "-c",
                ASK,
            ]
        )
    first, second = capfd.readouterr().out.splitlines()

    assert json.loads(first)["choices"][0]["message"]["content"] == "Always"
    assert json.loads(second)["choices"][0]["message"]["content"] == "Mine"
