from __future__ import annotations

import copy

import pytest
from chunks import ENVELOPE, HELLO, accumulate, chunk, finish, message_of, text, tool, usage
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tensorloop_stream import ChatAccumulator
from tensorloop_stream._chat.accumulator import ChatAccumulation


def test_an_empty_accumulator_has_an_empty_completion() -> None:
    """Reading never raises, not even with nothing added, and nothing is invented."""
    accumulator = ChatAccumulator()

    assert accumulator.completion.to_dict() == {"object": "chat.completion", "choices": []}
    assert (accumulator.text, accumulator.reasoning, accumulator.refusal) == ("", "", "")
    assert (accumulator.tool_calls, accumulator.usage, accumulator.finish_reason) == ([], None, None)
    assert not accumulator.finished


def test_chunks_become_the_completion_that_was_not_streamed() -> None:
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


def test_models_and_mappings_are_the_same() -> None:
    """A chunk may come as the SDK's model or as the mapping that it is made of."""
    models = [ChatCompletionChunk.model_validate(one) for one in (*HELLO, usage())]

    assert accumulate(*models).completion == accumulate(*HELLO, usage()).completion


def test_chunks_are_never_changed() -> None:
    """What a caller hands in stays as it is, and so do the values inside it."""
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
    """What was read stays as it was when more comes, and reading in between changes nothing."""
    accumulator = accumulate(chunk({"content": "a", "annotations": [{"a": 1}]}, logprobs={"content": [{"token": "a"}]}))
    early = accumulator.completion
    before = early.to_dict()
    accumulator.add(chunk({"content": "b", "annotations": [{"b": 1}]}, logprobs={"content": [{"token": "b"}]}))

    assert early.to_dict() == before
    assert accumulator.completion.choices[0].message.content == "ab"


@pytest.mark.parametrize("value", [5, "text", None, ["a"]])
def test_what_is_no_chunk_is_a_type_error(value: object) -> None:
    """A value of another type is the caller's mistake, and named."""
    with pytest.raises(TypeError, match=f"{type(value).__name__} is not a chunk"):
        ChatAccumulator().add(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"choices": "x"}, "choices is 'x'"),
        ({"choices": [5]}, "a choice is 5"),
        (chunk("x"), "a delta is 'x'"),
        (chunk({"tool_calls": "x"}), "tool_calls is 'x'"),
        (chunk({"tool_calls": ["x"]}), "a tool call piece is 'x'"),
    ],
)
def test_a_mapping_that_is_no_chunk_is_a_value_error(bad: dict[str, object], named: str) -> None:
    """What came over the wire in another shape is named."""
    with pytest.raises(ValueError, match=named):
        ChatAccumulator().add(bad)


# The table: what gateways really send


def test_usage_in_a_last_chunk_without_choices() -> None:
    """The standard form of `include_usage`."""
    accumulator = accumulate(*HELLO, usage(9))

    assert accumulator.usage is not None
    assert accumulator.usage.total_tokens == 9


def test_usage_survives_a_trailing_chunk() -> None:
    """Some gateways send one more chunk after the usage chunk (openai-python loses it)."""
    accumulator = accumulate(*HELLO, usage(9), chunk({}))

    assert accumulator.usage is not None
    assert accumulator.usage.total_tokens == 9


def test_the_last_usage_counts() -> None:
    """Usage with every chunk grows: the last one is the truth; an empty one is none."""
    accumulator = accumulate(
        {**text("a"), "usage": usage(3)["usage"]}, usage(9), {**ENVELOPE, "choices": [], "usage": {}}
    )

    assert accumulator.usage is not None
    assert accumulator.usage.total_tokens == 9


def test_a_leading_chunk_without_choices() -> None:
    """Azure sends its filter results first (openai-python#1677, litellm#32519)."""
    filters = {**ENVELOPE, "id": "", "model": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}
    accumulator = accumulate(filters, *HELLO)

    assert accumulator.text == "Hello"
    assert accumulator.completion.to_dict()["prompt_filter_results"] == [{"prompt_index": 0}]
    assert accumulator.completion.id == "chatcmpl-1"


def test_a_role_repeated_in_every_chunk() -> None:
    """The role is taken once (openai-python#2129)."""
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
    """`delta: null` and `choices: null` say nothing (openai-python#1677)."""
    assert message_of(text("a"), empty, text("b"), finish())["content"] == "ab"


def test_two_choices_in_any_order() -> None:
    """With `n=2` choice 1 may come first; the result is ordered by index."""
    chunks = (text("b", index=1), text("a"), text("B", index=1), finish(), finish("length", index=1))
    completion = accumulate(*chunks).completion

    assert [(c.index, c.message.content, c.finish_reason) for c in completion.choices] == [
        (0, "a", "stop"),
        (1, "bB", "length"),
    ]


def test_two_choices_in_one_chunk() -> None:
    """Several choices may share a chunk, and the text of choice 0 is `.text`."""
    both = {**ENVELOPE, "choices": [{"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}]}
    accumulator = accumulate(both, both)

    assert accumulator.text == "aa"
    assert not accumulator.finished


@pytest.mark.parametrize("index", [None, "0", 0.0, True])
def test_an_index_that_is_no_number_is_read_as_one(index: object) -> None:
    """A missing choice index is 0, and one in quotes is what it says."""
    accumulator = accumulate({"choices": [{"index": index, "delta": {"content": "a"}}]})

    assert accumulator.text == "a"


def test_finish_reasons() -> None:
    """The last that is neither null nor empty, also one that the SDK does not know; null never takes it back."""
    chunks = (text("a", finish=""), finish("tool_calls"), finish("eos"), chunk({}, finish_reason=None))

    assert accumulate(*chunks).finish_reason == "eos"
    assert accumulate(*chunks).finished


def test_finished_means_every_choice() -> None:
    """LiteLLM may finish only one of several choices."""
    accumulator = accumulate(text("a"), text("b", index=1), finish())

    assert not accumulator.finished
    assert [choice.finish_reason for choice in accumulator.completion.choices] == ["stop", None]


def test_first_id_and_last_fingerprint() -> None:
    """Id, model and time are the first that came; fingerprint and tier the last that is not null."""
    first = {**text("a"), "id": "one", "system_fingerprint": "fp_1", "service_tier": None}
    last = {**text("b"), "id": "two", "system_fingerprint": None, "service_tier": "default", "created": 5}
    completion = accumulate(first, last).completion

    assert (completion.id, completion.created) == ("one", 1795359264)
    assert (completion.system_fingerprint, completion.service_tier) == ("fp_1", "default")


def test_reasoning_under_both_names() -> None:
    """`reasoning_content` and `reasoning` are kept as they came, and count once (claude-code-router#1205)."""
    both = accumulate(chunk({"reasoning": "a", "reasoning_content": "a"}), chunk({"reasoning": "b"}), text("c"))

    assert both.reasoning == "ab"
    assert message_of(chunk({"reasoning_content": "a"}), chunk({"reasoning_content": "b"}), text("c")) == {
        "role": "assistant",
        "content": "c",
        "reasoning_content": "ab",
    }


def test_thinking_blocks_can_be_sent_back() -> None:
    """Pieces of a block are joined until its signature has come; redacted ones are whole (litellm#29428)."""
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
    """OpenRouter's details: text, summary and data grow, the rest is the last that is not null."""
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


def test_reasoning_details_without_an_index() -> None:
    """Without an index, only consecutive details of one type belong together."""
    details = [
        {"type": "a", "text": "1"},
        {"type": "a", "text": "2"},
        {"type": "b", "text": "3"},
        {"type": "a", "text": "4"},
    ]
    message = message_of(*(chunk({"reasoning_details": [detail]}) for detail in details))

    assert [detail["text"] for detail in message["reasoning_details"]] == ["12", "3", "4"]


def test_annotations_in_two_chunks() -> None:
    """Lists in a delta are extended."""
    message = message_of(chunk({"annotations": [{"type": "a"}]}), chunk({"annotations": [{"type": "b"}]}))

    assert message["annotations"] == [{"type": "a"}, {"type": "b"}]


def test_numbers_are_not_summed_and_strings_not_glued() -> None:
    """An unknown scalar is the last that is not null."""
    message = message_of(
        chunk({"token_id": 5, "tag": "x"}), chunk({"token_id": 7, "tag": "y"}), chunk({"token_id": None})
    )

    assert (message["token_id"], message["tag"]) == (7, "y")


def test_objects_are_merged_key_by_key() -> None:
    """Null never overwrites; padding is dropped."""
    message = message_of(
        chunk({"provider_specific_fields": {"a": 1, "b": 2}, "obfuscation": "xyz"}),
        chunk({"provider_specific_fields": {"a": None, "b": 3}}),
    )

    assert message["provider_specific_fields"] == {"a": 1, "b": 3}
    assert "obfuscation" not in message


def test_unknown_fields_of_a_choice_follow_the_same_rules() -> None:
    """Azure's filter results come beside the delta, in pieces."""
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
    """Content and refusal logprobs are two lists of their own, of the SDK's type."""

    def probability(token: str) -> dict[str, object]:
        return {"token": token, "logprob": -1, "bytes": None, "top_logprobs": []}

    chunks = (text(part, logprobs={"content": [probability(part)], "refusal": None}) for part in ("a", "b"))
    logprobs = accumulate(*chunks).completion.choices[0].logprobs

    assert logprobs is not None
    assert logprobs.content is not None
    assert [entry.token for entry in logprobs.content] == ["a", "b"]
    assert logprobs.refusal is None


def test_a_refusal_is_not_the_content() -> None:
    """Refusal pieces are appended, and empty content beside them is null."""
    message = message_of(chunk({"content": "", "refusal": "I "}), chunk({"refusal": "can't."}), finish())

    assert message == {"role": "assistant", "content": None, "refusal": "I can't."}


def test_empty_content_stays_empty_without_a_call() -> None:
    """An empty answer is an empty string, as without streaming; a message without any content has none."""
    assert message_of(chunk({"content": ""}), finish())["content"] == ""
    assert message_of(chunk({}), finish())["content"] is None


def test_legacy_function_call() -> None:
    """The deprecated form: the last name that is not empty, arguments appended, content null."""
    message = message_of(
        chunk({"content": "", "function_call": {"name": "f", "arguments": '{"a"'}}),
        chunk({"function_call": {"name": "", "arguments": ":1}"}}),
        finish("function_call"),
    )

    assert message == {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}}


def test_audio() -> None:
    """Voice and transcript are appended, id and expiry are the last that came."""
    message = message_of(
        chunk({"audio": {"id": "a1", "transcript": "He"}}),
        chunk({"audio": {"data": "QUJD", "transcript": "y"}}),
        chunk({"audio": {"data": "REVG", "expires_at": 7}}),
    )

    assert message["audio"] == {"id": "a1", "transcript": "Hey", "data": "QUJDREVG", "expires_at": 7}


def test_a_character_cut_in_two_pieces() -> None:
    """Half a surrogate pair is held back until the other half has come."""
    accumulation = ChatAccumulation()
    accumulation.add(text("a\ud83d"))
    first = accumulation.text_delta
    accumulation.add(text("\ude00b"))

    assert (first, accumulation.text_delta) == ("a", "😀b")
    assert accumulation.text == "a😀b"


def test_a_half_character_that_stays_alone_is_not_lost() -> None:
    """What came is in the text, although no other half follows."""
    assert accumulate(text("a\ud83d")).text == "a\ud83d"
    assert accumulate(text("a\ud83d"), text("b")).text == "a\ud83db"


def test_an_answer_in_one_piece() -> None:
    """A gateway that does not stream sends the whole message; repeated beside deltas it counts once."""
    whole = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}]}

    assert accumulate(whole).text == "Hello"
    assert accumulate(*HELLO, whole).text == "Hello"


def test_content_that_is_no_string_is_kept_as_json() -> None:
    """A number in place of text is not lost."""
    assert accumulate(chunk({"content": 5}), chunk({"content": {"a": 1}})).text == '5{"a": 1}'
