"""The accumulator: chunks as gateways send them, and the completion that they make."""

from __future__ import annotations

import copy

import pytest
from chunks import ENVELOPE, HELLO, accumulate, chunk, finish, message_of, text, tool, usage
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tensorloop_stream import ChatAccumulator
from tensorloop_stream._chat.accumulator import ChatAccumulation


def test_an_empty_accumulator_has_an_empty_completion() -> None:
    """An accumulator without chunks raises nothing and invents nothing."""
    accumulator = ChatAccumulator()

    assert accumulator.completion.to_dict() == {"object": "chat.completion", "choices": []}
    assert (accumulator.text, accumulator.reasoning, accumulator.refusal) == ("", "", "")
    assert (accumulator.tool_calls, accumulator.usage, accumulator.finish_reason) == ([], None, None)
    assert not accumulator.finished


def test_chunks_make_the_completion_of_an_unstreamed_request() -> None:
    """The result has the SDK's types and the fields that `stream=False` would have returned."""
    completion = accumulate(*HELLO, usage()).completion

    assert type(completion) is ChatCompletion
    assert completion.to_dict() == {
        "id": "chatcmpl-1",
        "created": 1795359264,
        "model": "gpt-4o-mini",
        "object": "chat.completion",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    }
    ChatCompletion.model_validate(completion.to_dict())


def test_models_and_mappings_make_the_same_completion() -> None:
    """The SDK's model of a chunk and the mapping that it is made of are both accepted."""
    models = [ChatCompletionChunk.model_validate(one) for one in (*HELLO, usage())]

    assert accumulate(*models).completion == accumulate(*HELLO, usage()).completion


def test_chunks_are_never_changed() -> None:
    """The accumulator changes neither a chunk that it is given nor the values inside it."""
    chunks = [
        chunk({"content": "a", "annotations": [{"a": 1}], "provider_specific_fields": {"a": 1}}, stop_details={"x": 1}),
        chunk({"annotations": [{"b": 2}], "provider_specific_fields": {"b": 2}}, stop_details={"y": 1}),
        tool({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}, "extra_content": {"s": 1}}),
        tool({"index": 0, "function": {"arguments": "}"}, "extra_content": {"t": 1}}),
        chunk({"thinking_blocks": [{"type": "thinking", "thinking": "a"}], "reasoning_details": [{"text": "a"}]}),
        chunk({"thinking_blocks": [{"type": "thinking", "thinking": "b"}], "reasoning_details": [{"text": "b"}]}),
    ]
    before = copy.deepcopy(chunks)

    accumulate(*chunks)

    assert chunks == before


def test_a_completion_read_early_does_not_grow() -> None:
    """A completion that was read keeps its state when more chunks follow, and reading it changes nothing."""
    accumulator = accumulate(chunk({"content": "a", "annotations": [{"a": 1}]}, logprobs={"content": [{"token": "a"}]}))
    early = accumulator.completion
    before = early.to_dict()
    accumulator.add(chunk({"content": "b", "annotations": [{"b": 1}]}, logprobs={"content": [{"token": "b"}]}))

    assert early.to_dict() == before
    assert accumulator.completion.choices[0].message.content == "ab"


@pytest.mark.parametrize("value", [5, "text", None, ["a"]])
def test_add_raises_a_type_error_for_a_value_that_is_no_chunk(value: object) -> None:
    """The error names the type of the caller's value."""
    with pytest.raises(TypeError, match=f"{type(value).__name__} is not a chunk"):
        ChatAccumulator().add(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"choices": "x"}, "choices is 'x'"),
        ({"choices": [5]}, "a choice is 5"),
        (chunk("x"), "a delta is 'x'"),
        (chunk({"tool_calls": "x"}), "tool_calls is 'x'"),
        (chunk({"tool_calls": ["x"]}), "a tool call piece is 'x'"),
    ],
)
def test_add_raises_a_value_error_for_a_malformed_mapping(bad: dict[str, object], message: str) -> None:
    """The error names the malformed field and its value."""
    with pytest.raises(ValueError, match=message):
        ChatAccumulator().add(bad)


# Chunks as gateways really send them


def test_usage_of_a_last_chunk_without_choices_counts() -> None:
    """The last chunk carries the usage, as the API documents `include_usage`."""
    accumulator = accumulate(*HELLO, usage(9))

    assert accumulator.usage is not None
    assert accumulator.usage.total_tokens == 9


def test_usage_survives_a_trailing_chunk() -> None:
    """A chunk after the usage chunk does not remove the usage, which openai-python loses."""
    accumulator = accumulate(*HELLO, usage(9), chunk({}))

    assert accumulator.usage is not None
    assert accumulator.usage.total_tokens == 9


def test_the_last_usage_that_is_not_empty_counts() -> None:
    """The last usage is the total where every chunk carries one, and an empty usage is ignored."""
    accumulator = accumulate(
        {**text("a"), "usage": usage(3)["usage"]}, usage(9), {**ENVELOPE, "choices": [], "usage": {}}
    )

    assert accumulator.usage is not None
    assert accumulator.usage.total_tokens == 9


def test_fields_of_a_leading_chunk_without_choices_are_kept() -> None:
    """Azure's filter results in a first chunk are kept (openai-python#1677, litellm#32519)."""
    filters = {**ENVELOPE, "id": "", "model": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}
    accumulator = accumulate(filters, *HELLO)

    assert accumulator.text == "Hello"
    assert accumulator.completion.to_dict()["prompt_filter_results"] == [{"prompt_index": 0}]
    assert accumulator.completion.id == "chatcmpl-1"


def test_a_role_repeated_in_every_chunk_counts_once() -> None:
    """Roles are not concatenated (openai-python#2129)."""
    message = message_of(*(chunk({"role": "assistant", "content": part}) for part in ("a", "b")))

    assert message == {"role": "assistant", "content": "ab"}


@pytest.mark.parametrize(
    "empty",
    [
        {"choices": [{"delta": None}]},
        {"choices": [{"index": 0}]},
        {**ENVELOPE, "choices": None},
        dict(ENVELOPE),
        {"choices": [None]},
    ],
)
def test_null_delta_and_null_choices_are_skipped(empty: dict[str, object]) -> None:
    """A chunk without a delta or without choices adds nothing (openai-python#1677)."""
    assert message_of(text("a"), empty, text("b"), finish())["content"] == "ab"


def test_choices_are_ordered_by_index() -> None:
    """Choice 1 may arrive first; the completion is ordered by index."""
    chunks = (text("b", index=1), text("a"), text("B", index=1), finish(), finish("length", index=1))
    completion = accumulate(*chunks).completion

    assert [(c.index, c.message.content, c.finish_reason) for c in completion.choices] == [
        (0, "a", "stop"),
        (1, "bB", "length"),
    ]


def test_choices_may_share_a_chunk() -> None:
    """Several choices may share a chunk, and `.text` is the text of choice 0."""
    both = {**ENVELOPE, "choices": [{"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}]}
    accumulator = accumulate(both, both)

    assert accumulator.text == "aa"
    assert not accumulator.finished


@pytest.mark.parametrize("index", [None, "0", 0.0, True])
def test_a_choice_index_that_is_no_integer_is_converted(index: object) -> None:
    """A missing choice index is 0, and an index in quotes is its number."""
    accumulator = accumulate({"choices": [{"index": index, "delta": {"content": "a"}}]})

    assert accumulator.text == "a"


def test_the_last_finish_reason_that_is_not_empty_counts() -> None:
    """The accumulator keeps a finish reason that the SDK does not know, and null does not remove it."""
    chunks = (text("a", finish=""), finish("tool_calls"), finish("eos"), chunk({}, finish_reason=None))

    assert accumulate(*chunks).finish_reason == "eos"
    assert accumulate(*chunks).finished


def test_finished_is_false_until_every_choice_has_a_finish_reason() -> None:
    """LiteLLM may finish only one of several choices."""
    accumulator = accumulate(text("a"), text("b", index=1), finish())

    assert not accumulator.finished
    assert [choice.finish_reason for choice in accumulator.completion.choices] == ["stop", None]


def test_the_first_id_and_the_last_fingerprint_count() -> None:
    """Id, model and time are the first values; fingerprint and tier are the last values that are not null."""
    first = {**text("a"), "id": "one", "system_fingerprint": "fp_1", "service_tier": None}
    last = {**text("b"), "id": "two", "system_fingerprint": None, "service_tier": "default", "created": 5}
    completion = accumulate(first, last).completion

    assert (completion.id, completion.created) == ("one", 1795359264)
    assert (completion.system_fingerprint, completion.service_tier) == ("fp_1", "default")


def test_reasoning_under_two_names_in_one_chunk_counts_once() -> None:
    """`reasoning_content` and `reasoning` both stay in the message, and count once (claude-code-router#1205)."""
    both = accumulate(chunk({"reasoning": "a", "reasoning_content": "a"}), chunk({"reasoning": "b"}), text("c"))

    assert both.reasoning == "ab"
    assert message_of(chunk({"reasoning_content": "a"}), chunk({"reasoning_content": "b"}), text("c")) == {
        "role": "assistant",
        "content": "c",
        "reasoning_content": "ab",
    }


def test_thinking_blocks_are_joined_until_their_signature() -> None:
    """Deltas of one block are joined up to its signature; redacted blocks stay separate (litellm#29428)."""
    blocks = [
        {"type": "thinking", "thinking": "a", "signature": ""},
        {"type": "thinking", "thinking": "b", "signature": None},
        {"type": "thinking", "thinking": "", "signature": "sig1"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "redacted_thinking", "data": "y"},
        {"type": "thinking", "thinking": "c"},
        {"type": "thinking", "signature": "sig2"},
    ]
    message = message_of(*(chunk({"thinking_blocks": [block]}) for block in blocks))

    assert message["thinking_blocks"] == [
        {"type": "thinking", "thinking": "ab", "signature": "sig1"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "redacted_thinking", "data": "y"},
        {"type": "thinking", "thinking": "c", "signature": "sig2"},
    ]


def test_reasoning_details_are_joined_by_index_and_type() -> None:
    """OpenRouter's text, summary and data are appended; of other fields the last value that is not null counts."""
    details = [
        {"type": "reasoning.text", "index": 0, "text": "a", "format": None},
        {"type": "reasoning.summary", "index": 1, "summary": "s"},
        {"type": "reasoning.text", "index": 0, "text": "b", "format": "v1"},
        {"type": "reasoning.encrypted", "index": 0, "data": "x"},
        {"type": "reasoning.encrypted", "index": 0, "data": "y"},
    ]
    message = message_of(*(chunk({"reasoning_details": [detail]}) for detail in details))

    assert message["reasoning_details"] == [
        {"type": "reasoning.text", "index": 0, "text": "ab", "format": "v1"},
        {"type": "reasoning.summary", "index": 1, "summary": "s"},
        {"type": "reasoning.encrypted", "index": 0, "data": "xy"},
    ]


def test_consecutive_reasoning_details_of_one_type_are_joined_without_an_index() -> None:
    """Details without an index belong together only if they follow each other and have one type."""
    details = [
        {"type": "a", "text": "1"},
        {"type": "a", "text": "2"},
        {"type": "b", "text": "3"},
        {"type": "a", "text": "4"},
    ]
    message = message_of(*(chunk({"reasoning_details": [detail]}) for detail in details))

    assert [detail["text"] for detail in message["reasoning_details"]] == ["12", "3", "4"]


def test_lists_in_a_delta_are_extended() -> None:
    """Annotations from two chunks form one list."""
    message = message_of(chunk({"annotations": [{"type": "a"}]}), chunk({"annotations": [{"type": "b"}]}))

    assert message["annotations"] == [{"type": "a"}, {"type": "b"}]


def test_unknown_scalars_are_neither_added_nor_appended() -> None:
    """The last value of an unknown scalar that is not null counts."""
    message = message_of(
        chunk({"token_id": 5, "tag": "x"}), chunk({"token_id": 7, "tag": "y"}), chunk({"token_id": None})
    )

    assert (message["token_id"], message["tag"]) == (7, "y")


def test_objects_are_merged_key_by_key() -> None:
    """Null overwrites no value of an object, and padding is dropped."""
    message = message_of(
        chunk({"provider_specific_fields": {"a": 1, "b": 2}, "obfuscation": "xyz"}),
        chunk({"provider_specific_fields": {"a": None, "b": 3}}),
    )

    assert message["provider_specific_fields"] == {"a": 1, "b": 3}
    assert "obfuscation" not in message


def test_unknown_fields_of_a_choice_are_merged() -> None:
    """Azure's filter results arrive beside the delta, spread over several chunks."""
    choice = (
        accumulate(
            text("a", content_filter_results={"hate": {"filtered": False}}, stop_reason=None),
            text("b", content_filter_results={"violence": {"filtered": False}}, stop_reason=7),
        )
        .completion.choices[0]
        .to_dict()
    )

    assert choice["content_filter_results"] == {"hate": {"filtered": False}, "violence": {"filtered": False}}
    assert choice["stop_reason"] == 7


def test_logprobs_are_extended() -> None:
    """The log probabilities of content and of the refusal are two lists, of the SDK's type."""

    def probability(token: str) -> dict[str, object]:
        return {"token": token, "logprob": -1, "bytes": None, "top_logprobs": []}

    chunks = (text(part, logprobs={"content": [probability(part)], "refusal": None}) for part in ("a", "b"))
    logprobs = accumulate(*chunks).completion.choices[0].logprobs

    assert logprobs is not None
    assert logprobs.content is not None
    assert [entry.token for entry in logprobs.content] == ["a", "b"]
    assert logprobs.refusal is None


def test_a_refusal_is_not_the_content() -> None:
    """Refusal deltas are appended, and empty content beside them is null."""
    message = message_of(chunk({"content": "", "refusal": "I "}), chunk({"refusal": "can't."}), finish())

    assert message == {"role": "assistant", "content": None, "refusal": "I can't."}


def test_empty_content_stays_empty_without_a_call() -> None:
    """An empty answer is an empty string, as without streaming; a message without any content has null."""
    assert message_of(chunk({"content": ""}), finish())["content"] == ""
    assert message_of(chunk({}), finish())["content"] is None


def test_a_legacy_function_call_is_assembled() -> None:
    """Arguments of a `function_call` are appended, the last name that is not empty counts, and content is null."""
    message = message_of(
        chunk({"content": "", "function_call": {"name": "f", "arguments": '{"a"'}}),
        chunk({"function_call": {"name": "", "arguments": ":1}"}}),
        finish("function_call"),
    )

    assert message == {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}}


def test_audio_data_and_transcript_are_appended() -> None:
    """The last value of the id and of the expiry counts."""
    message = message_of(
        chunk({"audio": {"id": "a1", "transcript": "He"}}),
        chunk({"audio": {"data": "QUJD", "transcript": "y"}}),
        chunk({"audio": {"data": "REVG", "expires_at": 7}}),
    )

    assert message["audio"] == {"id": "a1", "transcript": "Hey", "data": "QUJDREVG", "expires_at": 7}


def test_half_a_surrogate_pair_waits_for_the_other_half() -> None:
    """The delta with half a character ends before it, and the next delta begins with the whole character."""
    accumulation = ChatAccumulation()
    accumulation.add(text("a\ud83d"))
    first = accumulation.text_delta
    accumulation.add(text("\ude00b"))

    assert (first, accumulation.text_delta) == ("a", "😀b")
    assert accumulation.text == "a😀b"


def test_half_a_surrogate_pair_without_the_other_half_is_kept() -> None:
    """The text contains the half character."""
    assert accumulate(text("a\ud83d")).text == "a\ud83d"
    assert accumulate(text("a\ud83d"), text("b")).text == "a\ud83db"


def test_a_whole_message_is_accepted_and_counts_once() -> None:
    """A gateway that does not stream sends the whole message; beside deltas it adds nothing."""
    whole = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}]}

    assert accumulate(whole).text == "Hello"
    assert accumulate(*HELLO, whole).text == "Hello"


def test_content_that_is_no_string_is_kept_as_json() -> None:
    """A number or an object in `content` becomes its JSON text."""
    assert accumulate(chunk({"content": 5}), chunk({"content": {"a": 1}})).text == '5{"a": 1}'


def test_a_chunk_behind_the_finish_reason_is_idle_if_it_brings_nothing() -> None:
    """Usage that changes is news, and before the finish reason every chunk is."""
    accumulation = ChatAccumulation()
    found = [accumulation.is_idle]
    for one in (chunk({}), text("a"), finish(), chunk({}), usage(9), usage(9), text("b")):
        accumulation.add(one)
        found.append(accumulation.is_idle)

    assert found == [False, False, False, False, True, False, True, False]
