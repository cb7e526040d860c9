"""Events become the response that the same request without `stream` would have returned."""

from __future__ import annotations

from typing import Any

import pytest
from events import HELLO, accumulate, added, argument, call, created, delta, done, ended, event, message
from openai.types.responses import Response, ResponseTextDeltaEvent

from tensorloop_stream import ResponseAccumulator, ResponseStream


def part_of(*events: dict[str, Any]) -> Any:
    """Return the first part of the first item."""
    item: Any = accumulate(*events).snapshot.output[0]
    return item.content[0]


def told(*events: dict[str, Any]) -> str:
    """Return the text that a reader of these events is told."""
    return "".join(ResponseStream([*events], require_finish=False).text_stream)


def test_a_whole_stream_is_its_last_response() -> None:
    """The last event holds the answer, and what came before adds nothing."""
    result = accumulate(*HELLO).snapshot

    assert isinstance(result, Response)
    assert result == Response.construct(**HELLO[-1]["response"])
    assert result.output_text == "Hello"


@pytest.mark.parametrize("output", [[], None])
@pytest.mark.parametrize("length", range(4, 8))
def test_without_an_output_at_the_end_the_result_is_what_was_streamed(output: Any, length: int) -> None:
    """A gateway may leave the last output empty, whatever wholes it sent before."""
    last = ended()
    last["response"]["output"] = output
    result = accumulate(*HELLO[:length], last).snapshot

    assert result.status == "completed"
    assert result.output_text == "Hello"[: 3 if length == 4 else 5]


def test_a_failed_response_keeps_what_was_streamed() -> None:
    """LiteLLM's last event of a broken answer has an empty output and lost most of its envelope."""
    failed = event("failed", response={"id": "resp_2", "status": "failed", "output": [], "error": {"code": "x"}})
    accumulated = accumulate(*HELLO[:5], failed)

    assert accumulated.snapshot.output_text == "Hello"
    assert (accumulated.snapshot.id, accumulated.snapshot.model, accumulated.status) == (
        "resp_2",
        "gpt-4o-mini",
        "failed",
    )
    assert not accumulated.finished


def test_an_output_under_other_ids_doubles_nothing() -> None:
    """vLLM's last output has ids of its own (vllm#38227)."""
    result = accumulate(*HELLO[:-1], ended(message("Hello", id="other"))).snapshot

    assert [item.id for item in result.output] == ["other"]
    assert told(*HELLO[:-1], ended(message("Hello", id="other"))) == "Hello"


@pytest.mark.parametrize(
    ("whole", "expected"),
    [("", "Hello"), ("Hel", "Hello"), ("Hello!", "Hello!"), ("Help", "Help")],
)
@pytest.mark.parametrize("form", ["text", "part", "item", "output"])
def test_of_two_versions_of_a_text_the_longer_is_right(whole: str, expected: str, form: str) -> None:
    """The later is, if neither is the beginning of the other."""
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    events = {
        "text": event("output_text.done", **place, text=whole),
        "part": event("content_part.done", **place, part=message(whole)["content"][0]),
        "item": done(message(whole)),
        "output": ended(message(whole)),
    }
    streamed = [*HELLO[:5], events[form]]

    assert accumulate(*streamed).text == expected
    assert told(*streamed) == ("Hello!" if whole == "Hello!" else "Hello")


def test_pieces_after_a_whole_go_on_where_it_ended() -> None:
    """A host sends the whole after the first piece (OmniRoute#13693): nothing is said twice."""
    early = event("output_text.done", item_id="msg_1", output_index=0, content_index=0, text="Hello")
    events = [*HELLO[:4], early, delta("lo"), delta(" you")]

    assert accumulate(*events).text == told(*events) == "Hello you"


@pytest.mark.parametrize(
    "form",
    [
        lambda piece: {"text": piece},
        lambda piece: {"type": "text_delta", "text": piece},
        lambda piece: {"content": piece},
        lambda piece: [{"type": "output_text", "text": piece}],
        lambda piece: [piece[:1], {"text": {"value": piece[1:]}}],
    ],
)
@pytest.mark.parametrize("kind", ["output_text", "refusal", "reasoning_text", "reasoning_summary_text"])
def test_a_delta_that_is_an_object_is_its_text(form: Any, kind: str) -> None:
    """A list of such objects is their texts; a string may follow, and the whole may be one, too."""
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "summary_index": 0}
    whole = event(f"{kind}.done", **place, **{"refusal" if kind == "refusal" else "text": form("Hello")})
    events = [delta(form("Hel"), kind), delta("l", kind), delta(form("o"), kind), delta({}, kind), delta([], kind)]
    made = [accumulate(created(), *events), accumulate(created(), *events, whole), accumulate(created(), whole)]

    assert {each.text + each.refusal + each.reasoning for each in made} == {"Hello"}
    assert told(*events, whole) == ("Hello" if kind == "output_text" else "")


@pytest.mark.parametrize("name", ["arguments", "text", "partial_json"])
def test_a_delta_of_arguments_that_is_an_object_is_its_piece(name: str) -> None:
    """One without such a field, or whose field is no JSON, is the arguments themselves."""
    place = {"item_id": "fc_1", "output_index": 0}
    pieces = [event("function_call_arguments.delta", **place, delta={name: one}) for one in ('{"a"', ":1", "}")]
    whole = [event("function_call_arguments.delta", **place, delta={each: "now"}) for each in ("city", name)]
    made = [accumulate(created(), added(call("")), *events).tool_calls for events in (pieces, whole[:1], whole[1:])]

    assert [one.to_dict()["arguments"] for (one,) in made] == ['{"a":1}', '{"city": "now"}', f'{{"{name}": "now"}}']


@pytest.mark.parametrize(
    "content",
    [
        "Hello",
        ["Hel", {"text": "lo"}],
        {"type": "output_text", "text": "Hello"},
        [{"text": "Hello"}],
        [{"type": "text", "text": "Hello"}],
        [{"type": "output_text", "text": {"value": "Hello", "annotations": []}}],
    ],
)
@pytest.mark.parametrize("is_streamed", [False, True])
def test_content_in_any_form_is_its_parts(content: Any, is_streamed: bool) -> None:
    """In an item and in the last output, which begins with the text that was streamed or brings all of it."""
    whole = {**message(), "content": content}
    before = HELLO[:4] if is_streamed else HELLO[:1]

    for last in (done(whole), ended(whole)):
        assert accumulate(*before, last).text == accumulate(*before, last).snapshot.output_text == "Hello"
        assert told(*before, last) == "Hello"


@pytest.mark.parametrize(
    ("other", "usual", "channel"),
    [
        ("text", "output_text", "text"),
        ("reasoning", "reasoning_text", "reasoning"),
        ("reasoning_summary", "reasoning_summary_text", "reasoning"),
    ],
)
def test_an_event_under_an_earlier_name_is_the_same(other: str, usual: str, channel: str) -> None:
    """The text under a second name only repeats the first."""
    place = {"item_id": "i", "output_index": 0}
    pieces = [event(f"{other}.delta", **place, delta={"text": piece}) for piece in ("Let ", "me.")]
    again = [event(f"{usual}.delta", **place, delta=piece) for piece in ("Let ", "me.")]
    whole = event(f"{other}.done", **place, text="Let me.")

    for events in (pieces, [*pieces, whole], [whole], [*pieces, *again], [*again, *pieces]):
        assert getattr(accumulate(created(), *events), channel) == "Let me."


@pytest.mark.parametrize("kind", ["output_text", "refusal"])
def test_the_text_of_an_event_may_have_the_name_of_another_field(kind: str) -> None:
    """A delta may come as the text, and a whole as the delta or under the name of the other kind."""
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    pieces = [event(f"{kind}.delta", **place, text=piece) for piece in ("Hel", "lo")]
    wholes = [event(f"{kind}.done", **place, **{name: "Hello"}) for name in ("text", "refusal", "delta")]

    for events in (pieces, *([whole] for whole in wholes)):
        accumulated = accumulate(created(), *events)
        assert accumulated.text + accumulated.refusal == "Hello"


def test_a_last_event_may_be_its_own_response() -> None:
    """Its fields are those of the response; one without an output may have the text alone."""
    whole = {**ended(message("Hello"))["response"], "type": "response.completed", "sequence_number": 9}
    bare = event("completed", response={"status": "completed", "output": [], "output_text": "Hello"})

    for last in (whole, bare):
        accumulated = accumulate(created(), last)
        assert (accumulated.text, accumulated.status, accumulated.finished) == ("Hello", "completed", True)
        assert accumulated.snapshot.output_text == told(last) == "Hello"
        assert accumulated.snapshot.to_dict(warnings=False).get("type") is None


def test_an_index_may_be_a_string() -> None:
    """It is that number; one that is no number is none."""
    pieces = [
        event("function_call_arguments.delta", output_index=str(index), delta=f'{{"n":{index}}}') for index in (0, 1)
    ]
    calls = [event("output_item.added", item=call("", number=index), output_index=str(index)) for index in (0, 1)]
    accumulated = accumulate(created(), *calls, *pieces, ended())

    assert [one.to_dict()["arguments"] for one in accumulated.tool_calls] == ['{"n":0}', '{"n":1}']
    assert accumulate(delta("Hello", output_index="x", content_index="9" * 5000)).text == "Hello"


def test_a_part_of_an_unknown_type_keeps_its_text() -> None:
    """It is no text of the answer."""
    part = {"type": "of_the_future", "text": "x", "content": ["y"]}
    item = {"type": "of_the_future", "content": ["a", {"b": 1}]}
    accumulated = accumulate(created(), done({**message(), "content": [part]}), done(item, 1))

    assert accumulated.text == ""
    assert [each.to_dict(warnings=False)["content"] for each in accumulated.snapshot.output] == [
        [part],
        item["content"],
    ]


def test_text_that_no_piece_brought_is_told_by_the_whole() -> None:
    """Hosts send an answer in its last events alone (pipecat#5309, litellm#9545)."""
    assert told(created(), done(message("Hello"))) == "Hello"
    assert told(created(), ended(message("Hel", "lo"), message(" you", id="msg_2"))) == "Hello you"


def test_the_rest_of_another_text_is_not_told() -> None:
    """A text that no longer begins with what was told is not gone on with; the result has it."""
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    pieces = [delta("Hel"), event("output_text.done", **place, text="Hello!"), delta("p"), delta(" me"), delta(".")]
    wholes = [delta("Hello"), *(event("output_text.done", **place, text=text) for text in ("Help", "Help me"))]

    assert (told(*pieces), accumulate(*pieces).text) == ("Hello!", "Help me.")
    assert (told(*wholes, done(message("Help me."))), accumulate(*wholes).text) == ("Hello", "Help me")


def test_an_item_before_those_that_were_streamed_takes_no_place_of_theirs() -> None:
    """Items of the last output that are known by their ids are themselves, wherever they stand."""
    last = ended(message("Intro. ", id="msg_0"), message("Hello"))
    accumulated = accumulate(*HELLO[:-1], last)

    assert [item.id for item in accumulated.snapshot.output] == ["msg_0", "msg_1"]
    assert accumulated.text == "Intro. Hello"
    assert told(*HELLO[:-1], last) == "Hello"


def test_what_belongs_before_text_that_was_told_comes_too_late() -> None:
    """Told text is never taken back, nor told out of order; the result has it all."""
    late = [delta("B", item_id="msg_2", output_index=1), done(message("A"), 0)]

    assert told(*late) == "B"
    assert accumulate(*late).text == "AB"


def test_the_envelope_is_of_each_field_the_last_value_that_says_anything() -> None:
    """An id may change (Copilot); null and empty values erase nothing."""
    events = [created(id="a", metadata={"k": "v"}, user=None), ended(id="b", metadata={}, model=None, tools=[])]
    result = accumulate(*events).snapshot

    assert (result.id, result.metadata, result.model, result.tools, result.user) == (
        "b",
        {"k": "v"},
        "gpt-4o-mini",
        [],
        None,
    )


COUNTS = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}


@pytest.mark.parametrize("last", [None, {}, dict.fromkeys(COUNTS, 0), dict.fromkeys(COUNTS), "missing"])
def test_a_later_usage_erases_nothing(last: Any) -> None:
    """Usage counts in whatever response it comes, or beside it, and the end may have zeros or none."""
    end = ended() if last == "missing" else ended(usage=last)
    if last == "missing":
        del end["response"]["usage"]
    inside = accumulate(created(), event("in_progress", response={"usage": COUNTS}), end)
    beside = accumulate(created(), {**end, "usage": COUNTS})
    alone = accumulate(created(), event("usage", usage=COUNTS), end)
    parts = accumulate(created(usage={"input_tokens": 3, "output_tokens": 0, "total_tokens": 3}), ended(usage=COUNTS))

    for each in (inside, beside, alone, parts):
        assert each.usage is not None
        assert each.usage.to_dict() == each.snapshot.to_dict(warnings=False)["usage"] == COUNTS


def test_the_total_of_a_usage_in_two_parts_is_their_sum() -> None:
    """A bridge of Anthropic tells the input at the beginning, and the output at the end."""
    first = {"input_tokens": 3, "output_tokens": 0, "total_tokens": 3}
    accumulated = accumulate(created(usage=first), ended(usage={"input_tokens": 0, "output_tokens": 2}))

    assert accumulated.usage is not None
    assert accumulated.usage.to_dict() == COUNTS


@pytest.mark.parametrize("place", ["all", "no index", "no id", "neither"])
def test_a_delta_finds_its_item(place: str) -> None:
    """By id, else by index, else the last that is not done; never one of another type."""
    lacking = {"all": (), "no index": ("output_index",), "no id": ("item_id",), "neither": ("output_index", "item_id")}
    piece = {name: value for name, value in argument('{"a":1}').items() if name not in lacking[place]}
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    accumulated = accumulate(created(), added(call(""), 0), added(thought, 0), piece)

    assert [(item.type, item.id) for item in accumulated.snapshot.output] == [
        ("function_call", "fc_1"),
        ("reasoning", "rs_1"),
    ]
    assert accumulated.tool_calls[0].arguments == '{"a":1}'  # type: ignore[union-attr]


def test_text_at_the_place_of_reasoning_is_a_message() -> None:
    """Gateways send text at the index of reasoning (litellm#41185)."""
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    accumulated = accumulate(created(), added(thought, 0), delta("Hello", item_id="rs_1"))

    assert [item.type for item in accumulated.snapshot.output] == ["reasoning", "message"]
    assert (accumulated.text, accumulated.reasoning) == ("Hello", "")


def test_items_stand_in_the_order_of_their_indices() -> None:
    """Items whose indices are all 0 keep the order of their arrival."""
    two = accumulate(created(), added(call("", number=2), 1), added(call("", number=1), 0))
    same = accumulate(created(), added(call("", number=2), 0), added(call("", number=1), 0))

    assert [item.id for item in two.snapshot.output] == ["fc_1", "fc_2"]
    assert [item.id for item in same.snapshot.output] == ["fc_2", "fc_1"]


def test_parallel_calls_may_be_interleaved() -> None:
    """Each piece goes to the call of its id."""
    pieces = [argument('{"a"'), argument('{"b"', 2), argument(":1}"), argument(":2}", 2)]
    accumulated = accumulate(created(), added(call("")), added(call("", number=2), 1), *pieces)

    assert [one.arguments for one in accumulated.tool_calls] == ['{"a":1}', '{"b":2}']  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("whole", "after", "expected"),
    [
        ("", "", '{"a":1}'),
        ('{"b":2}', "", '{"b":2}'),
        ('{"b":2}', '{"c":3}', '{"b":2}'),
        ({"b": 2}, "", '{"b": 2}'),
        (None, "", '{"a":1}'),
    ],
)
def test_a_whole_input_replaces_its_pieces(whole: Any, after: str, expected: str) -> None:
    """An empty one says nothing, one that is no text is JSON, and pieces after it count no more (pydantic-ai#5757)."""
    finished = event("function_call_arguments.done", item_id="fc_1", output_index=0, arguments=whole)
    events = [added(call("")), argument('{"a":1}'), finished, *([argument(after)] if after else [])]

    assert accumulate(created(), *events).tool_calls[0].arguments == expected  # type: ignore[union-attr]


def test_the_name_of_a_call_may_come_with_its_arguments() -> None:
    """`function_call_arguments.done` brings one where the item was never added."""
    finished = event("function_call_arguments.done", item_id="fc_9", output_index=0, arguments="{}", name="now")
    (one,) = accumulate(created(), finished).tool_calls

    assert (one.name, one.id) == ("now", "fc_9")


@pytest.mark.parametrize(
    ("kind", "field", "item"),
    [
        ("custom_tool_call_input", "input", {"type": "custom_tool_call", "id": "i", "call_id": "c", "name": "n"}),
        ("mcp_call_arguments", "arguments", {"type": "mcp_call", "id": "i", "name": "n", "server_label": "s"}),
        ("code_interpreter_call_code", "code", {"type": "code_interpreter_call", "id": "i", "container_id": "c"}),
    ],
)
def test_every_kind_of_input_is_joined(kind: str, field: str, item: Any) -> None:
    """Inputs of tools, arguments of servers, and code."""
    pieces = [event(f"{kind}.delta", item_id="i", output_index=0, delta=piece) for piece in ("pri", "nt")]
    (one,) = accumulate(created(), added(item), *pieces).snapshot.output

    assert getattr(one, field) == "print"


@pytest.mark.parametrize("kind", ["reasoning_summary_text", "reasoning_text"])
def test_reasoning_is_a_summary_or_the_thoughts(kind: str) -> None:
    """Both are told, whatever of their places is missing."""
    pieces = [event(f"{kind}.delta", item_id="rs_1", delta=piece) for piece in ("Think", " first.")]
    accumulated = accumulate(created(), added({"type": "reasoning", "id": "rs_1"}), *pieces)

    assert accumulated.reasoning == "Think first."
    assert accumulated.text == ""


def test_reasoning_may_end_as_the_content_of_a_message() -> None:
    """LiteLLM's bridge does so: it is told once, and is no text of the answer."""
    content = [{"type": "output_text", "text": "Think first.", "annotations": []}]
    piece = event("reasoning_summary_text.delta", item_id="rs_1", output_index=0, delta="Think first.")
    last = ended({"type": "reasoning", "id": "rs_2", "role": "assistant", "content": content}, message("Yes."))
    accumulated = accumulate(created(), piece, last)

    assert (accumulated.reasoning, accumulated.text) == ("Think first.", "Yes.")
    assert accumulated.snapshot.output == Response.construct(**last["response"]).output


def test_a_refusal_is_told_as_one() -> None:
    """It is a part of the message beside its text."""
    pieces = [delta("I can", "refusal"), delta("not.", "refusal")]
    accumulated = accumulate(created(), *pieces)

    assert (accumulated.refusal, accumulated.text) == ("I cannot.", "")
    assert part_of(created(), *pieces).refusal == "I cannot."


def test_annotations_are_kept_where_a_whole_has_none() -> None:
    """LiteLLM's bridge ends a part with an empty object in their place."""
    citation = {"type": "url_citation", "start_index": 0, "end_index": 5, "title": "t", "url": "https://example.com"}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    cited = event("output_text.annotation.added", **place, annotation_index=0, annotation=citation)
    part = {"type": "output_text", "text": "Hello", "annotations": [{}]}
    found = part_of(*HELLO[:5], cited, event("content_part.done", **place, part=part)).annotations

    assert [one.to_dict() for one in found] == [citation]


def test_log_probabilities_are_joined() -> None:
    """Each delta brings its own."""
    entries: list[dict[str, Any]] = [{"token": token, "logprob": -0.5, "top_logprobs": []} for token in ("Hel", "lo")]
    pieces = [delta(entry["token"], logprobs=[entry]) for entry in entries]

    assert [entry.token for entry in part_of(created(), *pieces).logprobs] == ["Hel", "lo"]


def test_items_that_come_whole_are_whole() -> None:
    """Searches, images and the like have no deltas."""
    items: list[dict[str, Any]] = [
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
        {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "aGVsbG8="},
        {"type": "of_the_future", "id": "x_1", "anything": [1, {"deep": True}]},
    ]
    steps = [
        each
        for number, item in enumerate(items)
        for each in (added({**item, "status": "in_progress"}, number), done(item, number))
    ]
    result = accumulate(created(), *steps).snapshot

    assert [item.to_dict() for item in result.output] == items


@pytest.mark.parametrize(
    "nothing",
    [
        delta(None),
        delta(""),
        event("output_text.delta"),
        event("output_item.added", item=None, output_index=0),
        event("in_progress"),
        event("of_the_future", anything=1),
        {"type": "keepalive", "sequence_number": 3},
        event("image_generation_call.partial_image", partial_image_b64="aGU=", output_index=0),
    ],
)
def test_an_event_without_content_adds_nothing(nothing: Any) -> None:
    """Neither to the result nor to the text."""
    assert accumulate(*HELLO[:5], nothing, *HELLO[5:]).snapshot == accumulate(*HELLO).snapshot


def test_numbers_of_events_mean_nothing() -> None:
    """LiteLLM repeats 0 and 1, and llama.cpp has none."""
    events = [{**each, "sequence_number": number % 2} for number, each in enumerate(HELLO)]

    assert accumulate(*events).snapshot == accumulate(*HELLO).snapshot


def test_models_count_as_their_events() -> None:
    """Events that `responses.create` returned may be given as they are."""
    typed = ResponseTextDeltaEvent.construct(**delta("Hello", sequence_number=1, logprobs=[]))
    accumulator = ResponseAccumulator()
    accumulator.add(typed)

    assert accumulator.text == "Hello"


@pytest.mark.parametrize(
    ("value", "error"), [({"choices": []}, ValueError), (1, TypeError), (Response.construct(), TypeError)]
)
def test_a_value_that_is_no_event_is_refused(value: Any, error: type[Exception]) -> None:
    """A sentence names what it is."""
    with pytest.raises(error, match=r"Responses API|chunk of chat completions"):
        ResponseAccumulator().add(value)


def test_nothing_is_invented() -> None:
    """Without events there is no id, status, usage or text."""
    accumulated = ResponseAccumulator()

    assert (accumulated.text, accumulated.status, accumulated.usage, accumulated.finished) == ("", None, None, False)
    assert accumulated.snapshot.output == []
    assert accumulated.snapshot.to_dict(exclude_none=True) == {"output": []}


def test_a_call_may_be_run_when_it_is_whole() -> None:
    """One whose arguments are no JSON, or that was cut, must not be."""
    calls = [call('{"a":1}'), call("{", number=2), call("{}", number=3, status="incomplete")]
    events = [
        each
        for number, one in enumerate(calls)
        for each in (added(call("", number=number + 1), number), done(one, number))
    ]
    accumulated = accumulate(created(), *events, ended(*calls, status="incomplete"))

    assert [one.tool_call.id for one in accumulated.unusable_tool_calls] == ["fc_2", "fc_3"]
    assert [one.reason for one in accumulated.unusable_tool_calls] == [
        "the arguments are not valid JSON",
        "the call is incomplete",
    ]


@pytest.mark.parametrize("whole", ["{}", "{ }"])
@pytest.mark.parametrize("is_last", [False, True])
def test_an_empty_object_is_the_weakest_input(whole: str, is_last: bool) -> None:
    """It neither ends the pieces nor replaces them, wherever it comes; alone it is the input."""
    begun, pieces = added(call(whole)), [argument('{"a":'), argument("1}")]
    ends = [done(call(whole))] if is_last else []
    streamed = accumulate(created(), begun, *pieces, *ends, ended())
    alone = accumulate(created(), begun, done(call(whole)), ended())

    assert [one.to_dict()["arguments"] for one in streamed.tool_calls] == ['{"a":1}']
    assert [one.to_dict()["arguments"] for one in alone.tool_calls] == ["{}"]


@pytest.mark.parametrize(
    "names", [{"item_id": "call_{}"}, {"call_id": "call_{}"}, {"item_id": "x", "call_id": "call_{}"}]
)
def test_pieces_may_name_the_call_by_its_call_id(names: dict[str, str]) -> None:
    """DeepSeek's bridge does so, with an index of 0 for all (opencodex#1361)."""
    pieces = [
        event(
            "function_call_arguments.delta",
            delta=f'{{"n":{number}}}',
            output_index=0,
            **{name: value.format(number) for name, value in names.items()},
        )
        for number in (1, 2)
    ]
    calls = [added(call("", number=number), number - 1) for number in (1, 2)]
    accumulated = accumulate(created(), *calls, *pieces, ended())

    assert [one.to_dict()["arguments"] for one in accumulated.tool_calls] == ['{"n":1}', '{"n":2}']


def test_a_call_without_a_name_is_not_usable() -> None:
    """Nobody knows what it calls."""
    accumulated = accumulate(created(), added(call("", name="")), done(call("{}", name="")), ended())

    assert [unusable.reason for unusable in accumulated.unusable_tool_calls] == ["the call has no name"]
