"""One choice and the completion around it, chunk by chunk: what each chunk brings, and what is known after it."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
from chunks import ENVELOPE, HELLO, accumulate, chunk, finish, message_of, text, tool, usage

from tensorloop_stream._chat.accumulator import ChatAccumulation
from tensorloop_stream._chat.choice import ChoiceState

CALL = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
PARTS = [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": "b"}]


def accumulation(*chunks: Any) -> ChatAccumulation:
    made = ChatAccumulation()
    for one in chunks:
        made.add(one)
    return made


def deltas(*chunks: Any) -> list[tuple[str, str, str]]:
    """Return what each chunk brings to choice 0: text, reasoning and refusal."""
    made, found = ChatAccumulation(), []
    for one in chunks:
        made.add(one)
        found.append((made.text_delta, made.reasoning_delta, made.refusal_delta))
    return found


def choice_of(*chunks: Any) -> dict[str, Any]:
    return accumulate(*chunks).completion.choices[0].to_dict(warnings=False)


def message(content: Any = None, *, last: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a chunk with a message in place of a delta."""
    made = chunk(None, message={"role": "assistant", **({} if content is None else {"content": content}), **more})
    del made["choices"][0]["delta"]
    made["choices"][0]["finish_reason"] = last
    return made


# What a chunk brings


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        ({"content": "a"}, ("a", "", "")),
        ({"content": PARTS}, ("a", "b", "")),
        ({"role": None, "content": "a"}, ("a", "", "")),
        ({"content": 5}, ("5", "", "")),
        ({"reasoning": "a"}, ("", "a", "")),
        ({"reasoning_content": "a"}, ("", "a", "")),
        ({"reasoning": "a", "reasoning_content": "a"}, ("", "a", "")),
        ({"reasoning": "a", "reasoning_content": "b"}, ("", "ab", "")),
        ({"reasoning": {"text": "a", "signature": "s"}}, ("", "a", "")),
        ({"reasoning": {"signature": "s"}}, ("", "", "")),
        ({"reasoning": {"text": 5}}, ("", "5", "")),
        ({"reasoning": [{"type": "summary_text", "text": "a"}]}, ("", "a", "")),
        ({"reasoning": 5}, ("", "5", "")),
        ({"reasoning": ""}, ("", "", "")),
        ({"thought": "a"}, ("", "a", "")),
        ({"thought": "a", "thinking": "b"}, ("", "a", "")),
        ({"thought": "a", "name": "b"}, ("", "a", "")),
        ({"thought": 5}, ("", "", "")),
        ({"thinking_blocks": "a"}, ("", "a", "")),
        ({"provider_specific_fields": {"tier": "a"}}, ("", "", "")),
        ({"provider_specific_fields": "a"}, ("", "", "")),
        ({"refusal": "a"}, ("", "", "a")),
        ({"refusal": 5}, ("", "", "5")),
        ({"refusal": ""}, ("", "", "")),
        ({"content": None, "role": "assistant"}, ("", "", "")),
    ],
)
def test_a_chunk_brings_text_reasoning_or_refusal(delta: Any, expected: tuple[str, str, str]) -> None:
    """The next chunk brings its own alone, and a chunk of another choice brings nothing."""
    empty = ("", "", "")

    assert deltas(chunk(delta), chunk({})) == [expected, empty]
    assert deltas(text("a", index=1), chunk(delta, index=1)) == [empty, empty]


def test_choices_of_one_index_in_a_chunk_bring_all_that_they_say() -> None:
    """A gateway may put two pieces of a choice into one chunk."""
    delta = {"content": "a", "reasoning": "b", "refusal": "c"}
    twice = {**ENVELOPE, "choices": [{"index": 0, "delta": delta}, {"index": 0, "delta": delta}]}

    assert deltas(twice) == [("aa", "bb", "cc")]


@pytest.mark.parametrize(
    ("delta", "has_token"),
    [
        ({"role": "assistant"}, False),
        ({"content": ""}, False),
        ({"tool_calls": []}, False),
        ({"name": "a"}, False),
        ({"content": "a"}, True),
        ({"content": PARTS}, True),
        ({"content": 5}, True),
        ({"content": [{"type": "image_url"}]}, True),
        ({"reasoning": "a"}, True),
        ({"thought": "a"}, True),
        ({"refusal": "a"}, True),
        ({"tool_calls": [CALL]}, True),
        ({"function_call": {"name": "f"}}, True),
        ({"audio": {"id": "a"}}, True),
    ],
)
def test_a_token_is_whatever_the_model_says(delta: Any, has_token: bool) -> None:
    """It counts for all choices, and once there is one there is one."""
    assert accumulation(chunk(delta)).has_token is has_token
    assert accumulation(chunk(delta, index=1), chunk({}, index=1), chunk({})).has_token is has_token


# Fields


@pytest.mark.parametrize(
    ("sent", "content"),
    [
        (["a", PARTS], [{"type": "text", "text": "aa"}, PARTS[1]]),
        ([PARTS, "c"], [*PARTS, {"type": "text", "text": "c"}]),
        ([PARTS, 5], [*PARTS, {"type": "text", "text": "5"}]),
        (["", PARTS], PARTS),
        ([[]], ""),
        ([0], ""),
        ([PARTS[1:]], PARTS[1:]),
    ],
)
def test_content_with_a_list_in_it_is_a_list(sent: list[Any], content: Any) -> None:
    """Text before and behind it is a part of it."""
    assert message_of_odd(*(chunk({"content": one}) for one in sent))["content"] == content


def message_of_odd(*chunks: Any) -> dict[str, Any]:
    found: dict[str, Any] = choice_of(*chunks)["message"]
    return found


def test_the_text_of_a_list_is_the_text() -> None:
    """Its thoughts are the reasoning."""
    made = accumulate(text("a"), chunk({"content": PARTS}), chunk({"content": "c"}))

    assert (made.text, made.reasoning) == ("aac", "b")


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ([{"text": "a", "signature": ""}, {"text": "b"}, {"signature": "s"}], {"text": "ab", "signature": "s"}),
        ([[{"type": "text", "text": "a"}], [{"type": "text", "text": "b"}]], [{"type": "text", "text": "ab"}]),
        (["a", "b"], "ab"),
    ],
)
def test_reasoning_keeps_its_form(sent: list[Any], field: Any) -> None:
    """It is an object, a list of parts, or a text."""
    assert message_of_odd(*(chunk({"reasoning": one}) for one in sent))["reasoning"] == field


def test_thoughts_of_fields_and_of_content_are_one_reasoning() -> None:
    """A gateway may send the first in a field, and those that follow as parts."""
    made = accumulate(chunk({"reasoning": "a"}), chunk({"content": PARTS}), chunk({"reasoning": "c"}))

    assert made.reasoning == "abc"


def test_a_template_repeats_reasoning_of_another_form_once() -> None:
    """The fast path compares as the slow one does."""
    blocks = {"thinking_blocks": [{"type": "thinking", "thinking": "abc"}]}
    made = accumulation(chunk({"role": "assistant"}), text("x"), chunk(blocks), chunk({"reasoning": "a"}))
    template: Any = SimpleNamespace(choice=0, field="reasoning", call=0)
    told = []
    for piece in ("b", "c", "d"):
        made.extend(template, piece, b"")
        told.append(made.reasoning_delta)

    assert told == ["", "", "d"]
    assert made.reasoning == "abcd"


def test_thoughts_beside_an_object_of_reasoning_do_not_count() -> None:
    """They have come under a usual name, in whatever form."""
    made = accumulate(chunk({"reasoning": {"text": "a"}}), chunk({"thought": "a"}))

    assert made.reasoning == "a"


def test_the_first_name_of_thoughts_counts() -> None:
    """A second one only repeats them, whichever comes in a chunk."""
    made = accumulate(chunk({"thought": "a"}), chunk({"thinking": "a"}), chunk({"thinking": "b", "thought": "b"}))

    assert made.reasoning == "ab"


@pytest.mark.parametrize(
    ("name", "sent", "field"),
    [
        ("audio", ["x", {"id": "a"}], {"id": "a"}),
        ("audio", [{"id": "a", "data": "x"}, {"id": "", "data": "y"}], {"id": "a", "data": "xy"}),
        ("audio", [{"transcript": "x"}, {"transcript": "y"}], {"transcript": "xy"}),
        ("audio", [{"name": "a"}, {"name": "b"}], {"name": "b"}),
        ("function_call", [{"name": "f"}, {"arguments": "{"}, {"arguments": "}"}], {"name": "f", "arguments": "{}"}),
        ("function_call", [{"name": "f", "arguments": "{}"}, {"name": "g"}], {"name": "g", "arguments": "{}"}),
        ("function_call", [{"name": "f"}, {"name": ""}, {"name": None}], {"name": "f"}),
        ("function_call", [{"arguments": ""}, {"name": "f"}, {"name": "g"}], {"name": "fg", "arguments": ""}),
        ("other", [{"data": "x"}, {"data": "y"}], {"data": "y"}),
    ],
)
def test_a_growing_object_is_appended(name: str, sent: list[Any], field: Any) -> None:
    """The texts of a voice and the arguments of a legacy call grow, and its name until they begin."""
    assert message_of_odd(*(chunk({name: one}) for one in sent))[name] == field


@pytest.mark.parametrize("more", [{"tool_calls": [CALL]}, {"function_call": {"name": "f"}}, {"refusal": "no"}])
def test_empty_content_beside_another_answer_is_null(more: Any) -> None:
    """Content that is there stays there."""
    assert message_of_odd(chunk({"content": "", **more}))["content"] is None
    assert message_of_odd(chunk({"content": "a", **more}))["content"] == "a"
    assert message_of_odd(chunk({"content": ""}))["content"] == ""


def test_a_message_has_nothing_that_did_not_come() -> None:
    """A role is the assistant's, and padding is dropped."""
    assert choice_of(chunk({"obfuscation": "x"})) == {
        "index": 0,
        "finish_reason": None,
        "message": {"role": "assistant", "content": None},
    }
    assert message_of_odd(chunk({"role": ""}), chunk({"role": "tool"}), chunk({"role": "user"}))["role"] == "tool"
    assert "tool_calls" not in message_of_odd(chunk({"tool_calls": []}), chunk({"tool_calls": [None]}))


def test_a_call_without_a_list_around_it_is_a_call() -> None:
    """Text Generation Inference sends it so (TGI#2949)."""
    assert message_of_odd(chunk({"tool_calls": CALL}))["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ]


# Fields of a choice


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"finish_reason": 5}, {"finish_reason": "5"}),
        ({"logprobs": "x"}, {}),
        ({"logprobs": {"content": []}}, {"logprobs": {"content": []}}),
        ({"message": None}, {}),
        ({"message": ""}, {}),
        ({"text": 5}, {"text": 5}),
        ({"usage": {"total_tokens": 5}}, {}),
        ({"usage": 5}, {"usage": 5}),
        ({"note": 5}, {"note": 5}),
        ({"note": None}, {}),
    ],
)
def test_a_field_of_a_choice_has_its_rule(more: Any, expected: Any) -> None:
    """A field without one is merged, and null says nothing."""
    assert choice_of(text("a", **more)) == {
        "index": 0,
        "message": {"role": "assistant", "content": "a"},
        "finish_reason": None,
        **expected,
    }


@pytest.mark.parametrize("bad", [{"message": "x"}, {"message": {"tool_calls": ["x"]}}])
def test_a_message_that_is_no_object_is_bad_data(bad: Any) -> None:
    """A call in it must be one, too."""
    with pytest.raises(ValueError, match="'x', which is not an object"):
        accumulate({"choices": [{"index": 0, **bad}]})


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (["ha", "ha", "haha"], "hahahaha"),
        (["He", "Hello", "Hello", "Hello!"], "Hello!"),
        (["He", "Hello", "!"], "Hello!"),
        (["He", "llo", "Hello"], "HelloHello"),
        (["He", "", "Hello"], "Hello"),
        (["ha", "ha", "hahaha"], "hahahahaha"),
        (["He", "Hello", "!", "Hello!?"], "Hello!?"),
        (["", "a"], "a"),
        (["a", ""], "a"),
        (["a", None], "a"),
        ([5, 6], "56"),
    ],
)
def test_messages_are_deltas_or_grow(contents: list[Any], expected: str) -> None:
    """The second one decides; an equal one is a delta, unless it is the last or others grew."""
    chunks = [message(content) for content in contents]

    assert accumulate(*chunks).text == expected


def test_a_text_that_is_no_string_is_a_field() -> None:
    """It is no answer, in the choice or in the message."""
    made = choice_of(
        {"choices": [{"index": 0, "text": 5, "delta": {"thought": 5}}]}, {"choices": [{"index": 0, "text": 5}]}
    )

    assert message_of_odd({"choices": [{"index": 0, "note": "x", "message": None}]})["content"] is None
    assert made["text"] == 5
    assert made["message"] == {"role": "assistant", "content": None, "thought": 5}


def test_the_last_message_may_repeat_all() -> None:
    """An equal message is a repeat where it brings the finish reason."""
    assert accumulate(message("ha"), message("ha", last="stop")).text == "ha"
    assert accumulate(message("ha"), message("ho", last="stop")).text == "haho"


@pytest.mark.parametrize("name", ["refusal", "reasoning", "reasoning_content"])
def test_every_text_of_a_message_may_grow(name: str) -> None:
    """The rule is not that of the content alone."""
    made = message_of(*(message(**{name: one}) for one in ("I", "I can", "I can't")))

    assert made[name] == "I can't"


def test_a_call_of_a_message_may_have_an_index() -> None:
    """Its own counts; without one it is the place in the list."""
    first = message(tool_calls=[CALL, {**CALL, "index": 2, "id": "c"}, {**CALL, "index": 1, "id": "b"}])

    assert [call["id"] for call in message_of(first)["tool_calls"]] == ["a", "b", "c"]
    assert message_of(message(tool_calls=[{"function": {"name": "f"}}, {"function": {"name": "f"}}]))["tool_calls"] == [
        {"type": "function", "function": {"name": "f", "arguments": ""}}
    ] * 2  # fmt: skip


@pytest.mark.parametrize(
    ("delta", "content"),
    [
        (None, "b"),
        ({}, "b"),
        ({"role": "assistant"}, "b"),
        ({"content": "", "role": "assistant"}, "b"),
        ({"content": "a"}, "a"),
        ({"name": "a"}, None),
    ],
)
@pytest.mark.parametrize("beside", [{"message": {"content": "b"}}, {"text": "b"}])
def test_a_field_beside_a_delta_that_says_nothing_is_the_answer(delta: Any, content: Any, beside: Any) -> None:
    """A role says nothing, and after deltas the field only repeats them."""
    made = message_of({"choices": [{"index": 0, "delta": delta, **beside}]})

    assert made["content"] == content
    assert message_of(text("a"), {"choices": [{"index": 0, "delta": delta, **beside}]})["content"] in {"a", "aa"}
    assert message_of(text("a"), {"choices": [{"index": 0, **beside}]})["content"] == "a"


@pytest.mark.parametrize("empty", [None, {}, "", [], False])
def test_an_empty_message_beside_a_delta_says_nothing(empty: Any) -> None:
    """Some hosts fill all fields, in every chunk."""
    assert message_of(chunk({}, message=empty), text("a", message=empty))["content"] == "a"


# The fast path


BEGUN = (chunk({"role": "assistant"}), text("a"), tool(CALL))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"delta": {"content": "x"}}, True),
        ({"delta": {"reasoning": "x"}}, True),
        ({"delta": {"reasoning_content": "x"}}, True),
        ({"delta": {"content": "x", "role": "assistant"}}, True),
        ({"delta": {"content": "x", "refusal": None, "tool_calls": None}}, True),
        ({"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "x"}}]}}, True),
        ({"delta": {"content": "x"}, "finish_reason": None, "logprobs": None}, True),
        ({"delta": {"content": "x"}, "logprobs": {"content": [], "refusal": None}}, True),
        ({"delta": {"content": "x"}, "logprobs": {"tokens": ["x"]}}, False),
        ({"delta": {"content": "x"}, "logprobs": None, "finish_reason": "stop"}, False),
        ({"delta": {"content": "x"}, "note": "y"}, False),
        ({"delta": {"content": "x"}, "note": {"content": [], "refusal": None}}, False),
        ({"delta": {"content": "x", "reasoning": "y"}}, False),
        ({"delta": {"content": ""}}, False),
        ({"delta": {"content": 5}}, False),
        ({"delta": {"content": None}}, False),
        ({"delta": {"refusal": "x"}}, False),
        ({"delta": {"role": "x"}}, False),
        ({"delta": {}}, False),
        ({"delta": None}, False),
        ({"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "x"}}] * 2}}, False),
        ({"delta": {"tool_calls": {"function": {"arguments": "x"}}}}, False),
        ({"delta": {"tool_calls": [{"index": 1, "function": {"arguments": "x"}}]}}, False),
    ],
)
def test_a_chunk_of_nothing_but_more_text_continues_a_choice(choice: Any, expected: bool) -> None:
    """The fast path takes no other chunk."""
    made = accumulation(*BEGUN)

    assert made.continues({**ENVELOPE, "choices": [{"index": 0, **choice}]}) is expected
    assert made.continues({**ENVELOPE, "choices": [{"index": 1, **choice}]}) is False


@pytest.mark.parametrize("choices", [None, [], {}, [None], [HELLO[1]["choices"][0]] * 2, [{"delta": {"content": "x"}}]])
def test_a_chunk_of_other_than_one_choice_continues_none(choices: Any) -> None:
    """Neither does one whose choice has no index."""
    assert accumulation(*BEGUN).continues({**ENVELOPE, "choices": choices}) is False
    assert (
        accumulation(*BEGUN).continues({**ENVELOPE, "choices": [{"index": False, "delta": {"content": "x"}}]}) is False
    )


def test_a_choice_is_continued_once_all_is_known() -> None:
    """The envelope must have a name, a time and a model, and the choice a token; a role comes before its repeats."""
    nameless = [{key: value for key, value in one.items() if key != "model"} for one in BEGUN]
    repeated = chunk({"role": "assistant", "content": "x"})

    assert not accumulation(*nameless).continues(text("x"))
    assert not accumulation(BEGUN[0]).continues(text("x"))
    assert not accumulation(text("a")).continues(repeated)
    assert accumulation(text("a"), BEGUN[0]).continues(repeated)
    assert not accumulation(*BEGUN[:2]).continues(tool({"index": 0, "function": {"arguments": "x"}}))


def test_a_list_of_content_ends_the_fast_path() -> None:
    """Its parts are merged one by one."""
    made = accumulation(*BEGUN)
    made.add(chunk({"content": PARTS}))

    assert not made.continues(text("x"))


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(
    ("field", "text_delta", "reasoning_delta"),
    [("content", "x", ""), ("reasoning", "", "x"), ("arguments", "", "")],
)
def test_a_template_extends_its_field(index: int, field: str, text_delta: str, reasoning_delta: str) -> None:
    """The text is told of choice 0 alone, and log probabilities are kept."""
    made = accumulation(chunk({"refusal": "r"}), *(tool(CALL, index=index) for _ in range(2)), text("a", index=index))
    template: Any = SimpleNamespace(choice=index, field=field, call=0)
    made.refusal_delta = made.text_delta = made.reasoning_delta = "old"
    made.extend(template, "x", b"")
    without = made.result.choices[index].logprobs
    made.extend(template, "x", b'{"content":[{"token":"x","logprob":0,"top_logprobs":[]}]}')
    choice = made.result.choices[index].to_dict()
    got: Any = choice["message"]

    assert (made.text_delta, made.reasoning_delta, made.refusal_delta) == (
        ("", "", "") if index else (text_delta, reasoning_delta, "")
    )
    assert (without, len(choice["logprobs"]["content"])) == (None, 1)  # type: ignore[index]
    assert got["content"] == ("axx" if field == "content" else "a")
    assert got.get("reasoning", "") == ("xx" if field == "reasoning" else "")
    assert got["tool_calls"][0]["function"]["arguments"] == ("{}xx" if field == "arguments" else "{}")


# Calls of a choice


def state_with(reason: str | None, *pieces: Any) -> ChoiceState:
    state = ChoiceState(0)
    state.add({"index": 0, "delta": {"tool_calls": list(pieces)}, "finish_reason": reason})
    return state


BROKEN = {"index": 1, "id": "b", "function": {"name": "g", "arguments": "{"}}


@pytest.mark.parametrize(
    ("reason", "ended", "whole", "unusable"),
    [
        ("stop", False, ["f"], [("g", "the arguments are not valid JSON")]),
        ("Tool_Calls", False, ["f"], [("g", "the arguments are not valid JSON")]),
        ("function_call", True, ["f"], [("g", "the arguments are not valid JSON")]),
        (None, True, ["f"], [("g", "the arguments are not valid JSON")]),
        (None, False, ["f"], []),
        ("length", False, ["f"], [("g", "the finish reason is 'length'")]),
        ("length", True, ["f"], [("g", "the finish reason is 'length'")]),
    ],
)
def test_the_end_says_which_calls_may_be_run(reason: str | None, ended: bool, whole: Any, unusable: Any) -> None:
    """Before it, a call is whole when the next one begins, and none is unusable."""
    first = {**CALL, "function": {"name": "f", "arguments": '{"a":1}'}}
    state = state_with(reason, first, BROKEN)

    assert [call.name for call in state.newly_whole_calls(ended=ended)] == whole
    found = state.unusable_calls(ended=ended)
    assert [(one.tool_call.to_dict()["function"]["name"], one.reason) for one in found] == unusable  # type: ignore[index]
    assert state.newly_whole_calls(ended=ended) == []


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "function_call", "eos", "end_turn", "tool_use"])
def test_a_call_may_be_run_after_the_end_of_a_whole_answer(reason: str) -> None:
    """Hosts have several names for it, in upper or lower case."""
    for spelled in (reason, reason.upper(), f" {reason} "):
        assert len(state_with(spelled, CALL).newly_whole_calls(ended=False)) == 1
    assert state_with(reason + "ped", CALL).newly_whole_calls(ended=True) == []


def test_a_choice_without_calls_has_none_to_run() -> None:
    """Its end changes nothing."""
    state = ChoiceState(0)
    state.add(finish()["choices"][0])

    assert state.newly_whole_calls(ended=True) == []
    assert state.unusable_calls(ended=True) == []
    assert accumulate(*HELLO).tool_calls == []
    assert accumulation(text("a", index=1)).newly_whole_calls(ended=True) == []
    assert accumulation(text("a", index=1)).unusable_calls(ended=True) == []


def test_an_unusable_call_has_the_arguments_that_came() -> None:
    """None are invented for it, as they are for one that may be run."""
    bare = {"index": 0, "id": "a", "function": {"name": "f"}}
    (unusable,) = accumulation(tool(bare, finish="length")).unusable_calls(ended=True)
    (whole,) = accumulation(tool(bare, finish="stop")).newly_whole_calls(ended=True)

    public = accumulate(tool(bare))
    assert public.unusable_tool_calls == []
    public.add(finish("length"))
    assert len(public.unusable_tool_calls) == 1
    assert unusable.tool_call.to_dict()["function"] == {"name": "f", "arguments": ""}
    assert whole.to_dict()["function"] == {"name": "f", "arguments": "{}"}


# The envelope


def test_padding_and_the_type_of_a_chunk_are_dropped() -> None:
    """The completion has a type of its own."""
    made = accumulate({**text("a"), "obfuscation": "x", "note": 5}, {**text("b"), "obfuscation": "y"})

    assert made.completion.to_dict() == {
        "id": "chatcmpl-1",
        "created": 1795359264,
        "model": "gpt-4o-mini",
        "object": "chat.completion",
        "note": 5,
        "choices": [{"index": 0, "finish_reason": None, "message": {"role": "assistant", "content": "ab"}}],
    }


def test_the_first_values_of_an_envelope_count_one_by_one() -> None:
    """An empty one waits for another."""
    made = accumulate({**text("a"), "id": "", "model": "one"}, {**text("b"), "id": "x", "model": "two"}, text("c"))

    assert (made.completion.id, made.completion.model) == ("x", "one")


def test_fields_of_an_envelope_keep_their_order() -> None:
    """That of the chunk which brings them."""
    for count in (2, 3, 4):
        for names in itertools.permutations("wxyz", count):
            made = accumulate(text("a"), {**text("a"), **dict.fromkeys(names, 1)}).completion.to_dict()
            assert [name for name in made if len(name) == 1] == [*names]


def test_a_stream_of_plain_chunks_changes_nothing() -> None:
    """Names, choices and the type of a chunk are no changes, and before the first chunk nothing has come."""
    nameless = [{key: value for key, value in one.items() if key != "model"} for one in HELLO]
    new = ChatAccumulation()

    assert accumulation(*HELLO).changes == accumulation(*nameless).changes == new.changes == 0
    assert (new.text_delta, new.reasoning_delta, new.refusal_delta) == ("", "", "")


@pytest.mark.parametrize(
    ("later", "grows"),
    [
        ({}, False),
        ({"tag": "a"}, False),
        ({"tag": "b"}, True),
        ({"flag": 1}, False),
        ({"flag": True}, True),
        ({"flag": None}, False),
        ({"list": [1]}, True),
        ({"usage": {"total_tokens": 1}}, True),
        ({"usage": {}}, False),
        ({"usage": None}, False),
        ({"usage": 5}, False),
        ({"id": "other"}, False),
    ],
)
def test_changes_of_the_envelope_are_counted(later: Any, grows: bool) -> None:
    """A template takes the envelope for granted, and 1 is not `true`."""
    made = accumulation({**text("a"), "tag": "a", "flag": 1, "list": [1]})
    before = made.changes
    made.add({**text("a"), **later})

    assert made.changes - before == int(grows)
    assert made.result.to_dict()["tag"] == later.get("tag", "a")
    assert type(made.result.to_dict()["flag"]) is (bool if later.get("flag") is True else int)


def test_the_text_is_that_of_choice_0() -> None:
    """Another choice has one of its own."""
    made = accumulate(chunk({"content": "a", "reasoning": "b", "refusal": "c", "tool_calls": [CALL]}, index=1))

    assert (made.text, made.reasoning, made.refusal, made.tool_calls, made.finish_reason) == ("", "", "", [], None)
    made.add(chunk({"content": "d", "reasoning": "e", "refusal": "f", "tool_calls": [CALL]}, finish="stop"))
    assert (made.text, made.reasoning, made.refusal, made.finish_reason) == ("d", "e", "f", "stop")
    assert len(made.tool_calls) == 1


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([], ""),
        ([text("a"), chunk({"reasoning": "b"})], "a"),
        ([text("a"), finish()], ""),
        ([text("a"), tool(CALL)], ""),
        ([text("a"), chunk({"name": "b"})], ""),
        ([text("a"), chunk({"content": PARTS})], ""),
        ([text("a"), chunk({"refusal": "b"})], ""),
        ([text("a"), text("b", index=1)], ""),
        ([text("b", index=1)], ""),
    ],
)
def test_nothing_but_the_text_of_one_choice_can_be_continued(chunks: list[Any], expected: str) -> None:
    """Reasoning is no part of the answer."""
    assert accumulation(*chunks).plain_text == expected


# Indices


@pytest.mark.parametrize(("index", "expected"), [("1", 1), (1.0, 1), ("x", 0), (None, 0)])
def test_the_index_of_a_choice_is_a_number_or_its_digits(index: Any, expected: int) -> None:
    """Any other is 0, and null in place of a choice is skipped."""
    made = accumulate({"choices": [None, {"index": index, "delta": {"content": "a"}}]})

    assert [choice.index for choice in made.completion.choices] == [expected]


def asked(body: bytes, *chunks: Any) -> ChatAccumulation:
    """Return the answer to a request with this body."""
    made = ChatAccumulation()
    made.request = SimpleNamespace(content=body)
    for one in chunks:
        made.add(one)
    return made


@pytest.mark.parametrize(
    ("first", "last"), [([finish()], [finish(index=1)]), ([text("a"), text("b", index=2)], [finish(index=3)])]
)
def test_an_index_that_cannot_count_chunks_never_does(first: list[Any], last: list[Any]) -> None:
    """A finish reason or a gap says so, whatever follows."""
    assert len(asked(b"{}", *first, *last).result.choices) == len(first) + 1


def test_indices_that_count_chunks_are_forgotten() -> None:
    """All is said of choice 0, before and after that is known."""
    made = asked(b"{}", *(text(one, index=number) for number, one in enumerate("abcdefghi")))

    assert (made.text, len(made.result.choices), made.text_delta) == ("abcdefghi", 1, "i")
    assert made.continues(text("j"))
    assert not any(made.continues(text("j", index=number)) for number in range(1, 10))
    made.add(text("j", index=9))
    assert made.text == "abcdefghij"


# Usage


def test_the_usage_of_a_choice_counts_where_there_is_no_other() -> None:
    """Moonshot sends it inside the choice (pi#2017), and it comes before that of Groq."""
    mine, groq = {"total_tokens": 5}, {"x_groq": {"usage": {"total_tokens": 6}}}
    in_choice = {**chunk({}, usage=mine), **groq}

    assert accumulation(text("a"), in_choice).result.to_dict()["usage"] == mine
    assert accumulation(text("a", index=1), chunk({}, index=1, usage=mine)).result.to_dict()["usage"] == mine
    assert accumulation(in_choice, usage()).result.to_dict()["usage"] == usage()["usage"]
    assert accumulation(chunk({}, usage={})).usage is None
    parts = [chunk({}, usage=one) for one in ({"prompt_tokens": 7}, {"completion_tokens": 2})]
    assert accumulation(*parts).result.to_dict()["usage"] == {"prompt_tokens": 7, "completion_tokens": 2}


def test_usage_of_groq_is_merged() -> None:
    """A value that is no usage adds nothing, and no other field has one."""
    parts = [{"usage": {"prompt_tokens": 7}}, {"usage": {"completion_tokens": 2}}, {"usage": 5}, {"id": "x"}, "x"]
    made = accumulation(*({**text("a"), "x_groq": part} for part in parts))

    assert made.result.to_dict()["usage"] == {"prompt_tokens": 7, "completion_tokens": 2}
    assert made.result.to_dict()["x_groq"] == "x"
    assert accumulation({**text("a"), "other": {"usage": {"prompt_tokens": 7}}}).usage is None


@pytest.mark.parametrize(("tokens", "expected"), [(2, 2), ("2", None), (None, None), (2.5, None)])
def test_the_number_of_tokens_is_a_number(tokens: Any, expected: int | None) -> None:
    """A gateway may send anything."""
    made = accumulation(text("a"), {**ENVELOPE, "choices": [], "usage": {"completion_tokens": tokens}})

    assert made.output_tokens == expected
    assert accumulation(text("a")).output_tokens is None


def test_a_continuation_adds_its_usage_to_that_before_it() -> None:
    """Each request has its own, wherever it came."""
    made = accumulation(text("a"), usage(9))
    changes = made.changes
    made.begin_continuation()

    assert (made.changes - changes, made.has_result) == (1, False)
    assert made.result.to_dict()["usage"] == usage(9)["usage"]
    made.add(text("b", usage=usage(4)["usage"]))
    assert made.has_result
    assert made.usage is not None
    assert made.usage.total_tokens == 13
    made.begin_continuation()
    made.add({**text("c"), "x_groq": {"usage": usage(5)["usage"]}})
    assert made.usage.total_tokens == 18
    assert made.output_tokens == 6
    made.begin_continuation()
    assert made.output_tokens == 6


# Ends


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([], False),
        ([text("a")], False),
        ([text("a"), finish()], True),
        ([text("a"), finish(), chunk({}, seed=5)], True),
        ([text("a", finish="stop")], False),
        ([chunk({"reasoning": "a"}, finish="stop")], False),
        ([chunk({"refusal": "a"}, finish="stop")], False),
        ([text("a", finish="stop"), finish()], True),
        ([finish(), text("a", index=1)], False),
        ([finish(), text("a", index=1, finish="stop")], False),
        ([finish(), finish(index=1)], True),
    ],
)
def test_an_answer_is_settled_by_finish_reasons_without_text(chunks: list[Any], expected: bool) -> None:
    """A gateway that says stop where the reasoning ends says it in a chunk with text."""
    assert accumulation(*chunks).is_settled is expected


def test_there_is_a_finish_reason_once_some_choice_has_one() -> None:
    """A later chunk without one does not take it back."""
    made = accumulation(text("a"), text("b", index=1))
    before = made.has_finish
    made.add(finish(index=1))
    at_it = made.has_finish
    made.add(text("c"))

    assert (before, at_it, made.has_finish) == (False, True, True)


def test_calls_are_unusable_at_the_finish_reason() -> None:
    """Until then, their arguments may go on."""
    made = accumulate(tool({**CALL, "function": {"name": "f", "arguments": "{"}}))
    before = made.unusable_tool_calls
    made.add(finish())

    assert before == []
    assert [each.reason for each in made.unusable_tool_calls] == ["the arguments are not valid JSON"]


def test_a_stream_may_end_when_some_choice_has() -> None:
    """It is whole when all have, and no usage ends it."""
    none, some, all_ = accumulation(), accumulation(text("a"), finish(index=1)), accumulation(finish(), finish(index=1))

    assert [made.may_end for made in (none, some, all_)] == [False, True, True]
    assert [made.is_whole for made in (none, some, all_)] == [False, False, True]
    assert [made.has_result for made in (none, some, all_)] == [False, True, True]
    assert not all_.ends
