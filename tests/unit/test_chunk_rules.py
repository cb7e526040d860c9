"""The rules for fields, usage and form, by which chunks become one completion."""

from __future__ import annotations

from typing import Any

import pytest
from chunks import HELLO, accumulate, chunk, event, finish, message_of, sse, text, usage
from clients import CHAT, Body, read, sync_client

from tensorloop_stream import Callbacks, ChatStream
from tensorloop_stream._chat.dialect import ChatDialect

both = pytest.mark.parametrize("kind", ["sync", "async"])


# Finish reasons


@pytest.mark.parametrize("value", ["null", "NULL", "None", "none", "undefined", "", " ", " null\n"])
def test_a_finish_reason_of_null_in_words_is_none(value: str) -> None:
    """It ends no stream, and does not replace the true one (DashScope)."""
    before = accumulate(chunk({"content": "a"}, finish_reason=value))
    behind = accumulate(text("a"), finish("stop"), chunk({}, finish_reason=value))

    assert before.finish_reason is None
    assert not before.finished
    assert behind.finish_reason == "stop"


# Fields


@pytest.mark.parametrize(
    "name", ["reasoning_text", "thinking_text", "thought", "thinking", "thoughts", "reasoning_summary", "reasoningText"]
)
def test_a_text_under_another_name_is_joined_and_is_reasoning(name: str) -> None:
    """A name whose last word is text, thought or the like holds text; a repeat of all that came adds nothing."""
    made = accumulate(*(chunk({name: one}) for one in ("Let ", "me ", "see.", "Let me see.")), *HELLO)

    assert made.completion.choices[0].message.to_dict()[name] == "Let me see."
    assert made.reasoning == "Let me see."


@pytest.mark.parametrize("name", ["reasoning_opaque", "thought_signature", "content_type", "name", "status", "phase"])
def test_another_string_is_the_last_one(name: str) -> None:
    """A string whose name says nothing of text is no text in pieces."""
    made = accumulate(chunk({name: "a"}), chunk({name: "b"}), chunk({name: "b"}))

    assert made.completion.choices[0].message.to_dict()[name] == "b"
    assert made.reasoning == ""


@pytest.mark.parametrize("usual", ["reasoning", "reasoning_content"])
def test_reasoning_under_a_usual_name_counts_alone(usual: str) -> None:
    """The same thoughts under a second name are no more thoughts."""
    made = accumulate(*(chunk({"thinking": one, usual: one}) for one in ("Let ", "me")))
    later = accumulate(chunk({usual: "Let "}), chunk({"thinking": "Let "}), chunk({usual: "me"}))
    two = accumulate(*(chunk({"thinking": one, "thought": one}) for one in ("Let ", "me")))

    assert made.reasoning == later.reasoning == two.reasoning == "Let me"


@pytest.mark.parametrize(
    "delta",
    [
        lambda piece: {"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": piece}]},
        lambda piece: {"reasoning_details": [{"type": "reasoning.summary", "summary": piece}]},
        lambda piece: {"thinking_blocks": [{"type": "thinking", "thinking": piece, "signature": ""}]},
        lambda piece: {"reasoning": {"content": piece}},
        lambda piece: {"reasoning": {"summary": piece}},
        lambda piece: {"reasoning_content": {"thinking": piece, "signature": "x"}},
        lambda piece: {"thinking": {"content": piece}},
        lambda piece: {"thinking": [{"type": "thinking", "thinking": piece}]},
        lambda piece: {"reasoningContent": {"text": piece}},
        lambda piece: {"provider_specific_fields": {"reasoning_content": piece}},
        lambda piece: {"provider_specific_fields": {"thinking_blocks": [{"type": "thinking", "thinking": piece}]}},
        lambda piece: {"content": [{"type": "reasoning", "reasoning": piece}]},
        lambda piece: {"content": [{"type": "thought", "text": piece}]},
    ],
)
def test_thoughts_in_objects_and_lists_are_the_reasoning(delta: Any) -> None:
    """All pieces count, and the message has each."""
    made = accumulate(*(chunk(delta(piece)) for piece in ("Let ", "me.")), finish())

    assert made.reasoning == "Let me."
    assert made.text == ""
    message = str(made.completion.choices[0].message.to_dict(warnings=False))
    assert "Let " in message
    assert "me." in message


@pytest.mark.parametrize(
    "form",
    [
        lambda piece: {"type": "text", "text": piece},
        lambda piece: {"text": piece},
        lambda piece: {"type": "text", "text": piece, "annotations": [1]},
    ],
)
def test_content_that_is_one_part_is_its_text(form: Any) -> None:
    """Strings may stand between, and a part of thoughts is the reasoning; any other object is kept as JSON."""
    thoughts = [chunk({"content": {"type": "thinking", "thinking": piece}}) for piece in ("Let ", "me.")]
    pieces = [chunk({"content": content}) for content in (form("Hel"), "l", form("o"), form(""))]
    made = accumulate(*thoughts, *pieces, finish())

    assert (made.text, made.reasoning) == ("Hello", "Let me.")
    assert accumulate(*pieces).text == "Hello"
    assert accumulate(chunk({"content": {"type": "person", "name": "Ada"}})).text == '{"type": "person", "name": "Ada"}'


def test_the_text_of_a_part_may_stand_in_an_object() -> None:
    """The Assistants API sends it there."""
    pieces = [chunk({"content": [{"type": "text", "text": {"value": piece}}]}) for piece in ("Hel", "lo")]

    made = accumulate(*pieces)

    assert made.text == "Hello"
    message = made.completion.choices[0].message.to_dict(warnings=False)
    assert message["content"] == [{"type": "text", "text": "Hello"}]


def test_reasoning_that_is_encrypted_is_no_text() -> None:
    """It is kept for the next turn."""
    details = [{"type": "reasoning.encrypted", "data": "QUJD", "index": 0}, {"type": "redacted_thinking", "data": "RA"}]
    made = accumulate(chunk({"reasoning_details": details}), finish())

    assert made.reasoning == ""
    assert made.completion.choices[0].message.to_dict()["reasoning_details"] == details


THOUGHTS = ("Let ", "me ", "see.")
FORMS: list[Any] = [
    lambda piece: {"reasoning_content": piece},
    lambda piece: {"thinking": piece},
    lambda piece: {"thinking_blocks": [{"type": "thinking", "thinking": piece}]},
    lambda piece: {"reasoning_details": [{"type": "reasoning.text", "text": piece}]},
]


@pytest.mark.parametrize(("plain", "other"), [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)])
@pytest.mark.parametrize("order", ["before", "behind", "together", "reversed", "first", "all first", "at the end"])
def test_reasoning_in_two_forms_counts_once(plain: int, other: int, order: str) -> None:
    """It is told once, too, in whatever order the forms and their pieces come; both stay in the message."""
    one, two = ([FORMS[form](piece) for piece in THOUGHTS] for form in (plain, other))
    chunks: list[dict[str, Any]] = {
        "before": [each for pair in zip(two, one, strict=True) for each in pair],
        "behind": [each for pair in zip(one, two, strict=True) for each in pair],
        "together": [{**left, **right} for left, right in zip(one, two, strict=True)],
        "reversed": [{**right, **left} for left, right in zip(one, two, strict=True)],
        "first": [two[0], *one],
        "all first": [*two, *one],
        "at the end": [*one, FORMS[other]("".join(THOUGHTS))],
    }[order]
    told: list[str] = []
    with ChatStream([*map(chunk, chunks), finish()], Callbacks(on_reasoning=told.append)) as stream:
        stream.until_done()

    assert "".join(told) == stream.reasoning == "Let me see."
    message = stream.completion.choices[0].message.to_dict(warnings=False)
    assert {*FORMS[plain](""), *FORMS[other]("")} <= message.keys()


def test_reasoning_that_differs_from_that_in_blocks_is_kept_beside_it() -> None:
    """Nothing that was told is taken back, and nothing is left out."""
    blocks = [chunk(FORMS[2](piece)) for piece in ("Let ", "me.")]
    other = [chunk({"reasoning": piece}) for piece in ("Let ", "us", " see.")]

    assert accumulate(*blocks, *other, *blocks).reasoning == "Let me.Let us see."
    assert accumulate(*blocks, *(chunk({"reasoning": piece}) for piece in "No?")).reasoning == "Let me.No?"


def test_fields_of_a_provider_grow() -> None:
    """Their lists are extended and their texts joined; of other values the last stays (litellm#9103)."""
    fields: list[dict[str, Any]] = [
        {"items": [1], "reasoning_content": "Let ", "signature": "a", "citations": [{"url": "x"}]},
        {"items": [1, 2], "reasoning_content": "me", "signature": "b", "citations": [{"url": "x"}], "items2": None},
    ]
    message = message_of(*(chunk({"provider_specific_fields": one}) for one in fields))

    assert message["provider_specific_fields"] == {
        "items": [1, 1, 2],
        "reasoning_content": "Let me",
        "signature": "b",
        "citations": [{"url": "x"}],
    }


def test_annotations_that_are_repeated_are_there_once_and_equal_images_twice() -> None:
    """An annotation says where it belongs, a picture does not."""
    note, other, picture = {"url": "x", "start": 0}, {"url": "x", "start": 9}, {"image_url": {"url": "data:,"}}
    chunks = [chunk({"annotations": notes, "images": [picture]}) for notes in ([note], [note, other])]
    message = message_of(*chunks)

    assert message["annotations"] == [note, other]
    assert message["images"] == [picture, picture]


def summary(value: str, **more: Any) -> list[dict[str, Any]]:
    return [{"type": "reasoning", "summary": [{"type": "summary_text", "text": value, **more}]}]


@pytest.mark.parametrize("name", ["content", "reasoning", "reasoning_content"])
def test_parts_of_reasoning_are_joined(name: str) -> None:
    """Databricks sends a summary in pieces, in a list, with a signature in the last."""
    parts = (summary("Let ", signature=""), summary("me"), summary("", signature="c"))
    made = accumulate(*(chunk({name: one}) for one in parts))

    assert made.completion.choices[0].message.to_dict(warnings=False)[name] == summary("Let me", signature="c")
    assert made.reasoning == "Let me"
    assert made.text == ""


# Usage


COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


def used(*values: Any) -> Any:
    made = accumulate(*HELLO, *({**usage(), "usage": value} for value in values))
    found = made.completion.to_dict().get("usage")
    assert (made.usage.to_dict() if made.usage else None) == found
    return found


@pytest.mark.parametrize("later", [{}, None, dict.fromkeys(COUNTS, 0), {"prompt_tokens": None, "total_tokens": 0}])
def test_a_later_usage_erases_nothing(later: Any) -> None:
    """A value that is null, absent or zero leaves the one before (gateway#496)."""
    whole = {
        "prompt_tokens": 7,
        "completion_tokens": 2,
        "total_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 3},
    }

    assert used(whole, later) == whole
    assert used(whole, {"prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0}}) == {
        **whole,
        "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 0},
    }


def test_the_total_of_a_usage_in_two_parts_is_their_sum() -> None:
    """Each may have a total of its own; a larger total is kept, since thoughts may be in it (llmio#71)."""
    parts = (
        {"prompt_tokens": 7, "completion_tokens": 0, "total_tokens": 7},
        {"prompt_tokens": 0, "completion_tokens": 2, "total_tokens": 2},
    )

    assert used(*parts) == {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    assert used({"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 99})["total_tokens"] == 99


def test_usage_of_groq_counts_where_there_is_no_other() -> None:
    """Groq puts the usage into `x_groq` (langchain#30379)."""
    nine, other = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}, usage(5)
    last = {**finish(), "x_groq": {"id": "r", "usage": nine}}
    made = accumulate({**text("a"), "x_groq": {"id": "r"}}, last, {**finish(), "x_groq": {"id": "r"}})
    beside = accumulate(text("a"), last, other)

    assert made.usage is not None
    assert made.usage.to_dict() == made.completion.to_dict()["usage"] == nine
    assert beside.usage is not None
    assert beside.usage.total_tokens == 5


# Form


ZERO = dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), 0)
NINE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
PART = {"prompt_tokens": 7, "total_tokens": 7}


@pytest.mark.parametrize("top", [None, {}, ZERO, dict.fromkeys(ZERO), PART, NINE])
@pytest.mark.parametrize("choice", [None, {}, ZERO, dict.fromkeys(ZERO), PART, NINE])
def test_usages_in_several_places_are_merged(top: Any, choice: Any) -> None:
    """A zero or a null in the chunk's own usage hides nothing in that of a choice or of Groq."""
    made = accumulate(
        chunk({"content": "a"}, usage=choice) | {"usage": top}, {"choices": [], "x_groq": {"usage": NINE}}
    )
    beside = accumulate(chunk({"content": "a"}, usage=NINE) | {"usage": top}, finish())

    assert made.completion.usage is not None
    assert made.completion.usage.to_dict() == NINE
    assert beside.usage is not None
    assert beside.usage.to_dict() == NINE


@pytest.mark.parametrize(
    "error",
    [
        {"code": 0, "message": "success"},
        {"code": "0", "message": ""},
        {"code": "success", "message": None},
        {"code": 200, "message": "OK", "type": ""},
        {"code": 0},
        {"message": "", "code": None},
        {},
    ],
)
def test_an_error_of_a_success_is_none(error: Any) -> None:
    """Some hosts send it in every chunk, beside an answer or in a choice."""
    for one in ({**chunk(), "error": error}, chunk({}, error=error), {"error": error}):
        assert ChatDialect.error_of(one) is None


@pytest.mark.parametrize(
    "error",
    [
        {"code": 0, "message": "rate limit"},
        {"code": "", "message": "rate limit"},
        {"code": None, "message": "success"},
        {"code": 0, "type": "server_error"},
        {"code": 500},
        "rate limit",
        True,
    ],
)
def test_an_error_with_any_sign_of_failure_is_one(error: Any) -> None:
    """A message, a type or a code other than of a success is such a sign, and so is a lack of a code."""
    for one in ({**chunk(), "error": error}, chunk({}, error=error)):
        assert ChatDialect.error_of(one) == error


@pytest.mark.parametrize("empty", [[], {}, "", False, 0])
def test_an_empty_value_of_another_type_is_null(empty: Any) -> None:
    """PHP hosts send an empty list in the place of an empty object."""
    chunks = [text("Hello"), chunk(), chunk(message=empty), finish(), usage() | {"choices": empty}]
    chunks[1]["choices"] = [{"index": 0, "delta": empty}, empty or None]
    made = accumulate(*chunks)

    assert made.text == "Hello"
    assert made.finish_reason == "stop"
    assert made.usage is not None


def messages(*contents: str, last: str | None = "stop", **more: Any) -> list[dict[str, Any]]:
    made = [chunk(None, message={"role": "assistant", "content": content, **more}) for content in contents]
    for one in made:
        del one["choices"][0]["delta"]
    made[-1]["choices"][0]["finish_reason"] = last
    return made


@both
@pytest.mark.parametrize(
    "contents",
    [
        ("Hel", "lo", " world"),
        ("Hel", "Hello", "Hello world"),
        ("Hel", "Hello world", "Hello world"),
        ("", "Hello world"),
    ],
)
def test_messages_in_place_of_deltas_are_joined(kind: str, contents: tuple[str, ...]) -> None:
    """Each is a delta, or the message so far if it begins with all that came (WebAI-to-API#55)."""
    outcome = read(kind, [event(one) for one in messages(*contents)], "text")

    assert "".join(outcome.items) == outcome.stream.text == "Hello world"
    assert outcome.stream.completion.choices[0].finish_reason == "stop"


def test_a_message_so_far_repeats_its_tool_calls() -> None:
    """The calls of a message have no index: their places tell them apart."""
    first = {"type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    second = {"type": "function", "function": {"name": "f", "arguments": '{"a":2}'}}
    chunks = [messages("Hi", last=None, tool_calls=calls)[0] for calls in ([first], [first, second], [first, second])]

    assert message_of(*chunks, finish())["tool_calls"] == [first, second]


def test_a_message_beside_deltas_only_repeats_them() -> None:
    """Once deltas have come, a message is ignored, also at the end."""
    end = finish(message={"role": "assistant", "content": "hello, corrected"})

    assert message_of(*HELLO[:3], end)["content"] == "Hello"


def test_texts_in_place_of_deltas_are_joined() -> None:
    """The legacy completions have a `text` in the choice; beside a delta it is a field of the choice."""
    chunks = [chunk(None, text=one) for one in ("Hel", "lo")]
    for one in chunks:
        del one["choices"][0]["delta"]

    assert message_of(*chunks, finish(text="")) == {"role": "assistant", "content": "Hello"}
    assert message_of(text("Hello", text="x"))["content"] == "Hello"


@both
@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("contents", [["Hello world"], ["Hel", "lo", " world"], [*"Hello world"]])
def test_an_index_that_counts_chunks_is_one_choice(kind: str, start: int, contents: list[str]) -> None:
    """One choice was asked for, and the index of each chunk is one more than the last (TGI#1648)."""
    deltas = [{"role": "assistant", "content": one} for one in contents] + [{}]
    chunks = [chunk(delta, index=number) for number, delta in enumerate(deltas, start)]
    chunks[-1]["choices"][0]["finish_reason"] = "stop"
    outcome = read(kind, [event(one) for one in chunks], "text")

    assert "".join(outcome.items) == "Hello world"
    assert outcome.stream.completion.to_dict()["choices"] == [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello world"}}
    ]


def test_an_index_counts_nothing_if_several_choices_were_asked_for() -> None:
    """The request says so; without a request, or with an index that comes again, an index is one of a choice."""
    counted = [chunk({"content": "a"}, index=number) for number in range(9)]
    source = sync_client(Body([sse(*counted)])).chat.completions.create(**{**CHAT, "n": 9})
    again = sse(*counted[:4], *counted[:4], finish(), finish(index=1))
    two = sse(*counted[:2], finish(), finish(index=1))

    assert len(ChatStream(source).get_final_completion().choices) == 9
    assert len(accumulate(*counted).completion.choices) == 9
    assert len(read("sync", [again]).stream.completion.choices) == 4
    assert len(read("sync", [two]).stream.completion.choices) == 2
