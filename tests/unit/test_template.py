"""The fast path for chunks that differ in one string: equal to parsing, and really used."""

from __future__ import annotations

import json
from typing import Any

import pydantic
import pytest
import recorded
from chunks import ENVELOPE, chunk, deep_state, event
from hypothesis import example, given, settings, strategies as st

from tensorloop_stream._chat.accumulator import ChatAccumulation
from tensorloop_stream._chat.dialect import CHAT
from tensorloop_stream._chat.fast_path.template import build_template
from tensorloop_stream._chat.models import typed_chunk
from tensorloop_stream._chat.vocabulary import REASONING_FIELDS
from tensorloop_stream._stream.settings import StreamSettings
from tensorloop_stream._stream.state import StreamState

# The JSON between two quotes: escapes, half a pair, quotes that end the string, line ends that JSON forbids.
TEXTS = ["a", " b", "", "\\n", '\\"', "\\\\", "é", "😀", "\\ud83d", "\\ude00"]
BAD = ['","role":"x', '"', "\n", "\\", "\r", "\x00"]
texts = st.one_of(*[st.sampled_from(TEXTS)] * 15, st.sampled_from(BAD))
LOGPROB = {"token": "x", "logprob": -1.0, "bytes": [1], "top_logprobs": []}
SHAPES = [
    {"index": 0, "delta": {"content": "?"}},
    {"index": 0, "delta": {"content": "?"}, "finish_reason": None, "logprobs": None},
    {"index": 0, "delta": {"reasoning_content": "?"}},
    {"index": 0, "delta": {"reasoning": "?"}},
    {"index": 1, "delta": {"content": "?"}},
    {"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "?"}}]}},
    {"index": 0, "delta": {"tool_calls": [{"index": 1, "function": {"arguments": "?"}, "type": "function"}]}},
    {"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "b", "function": {"name": "g", "arguments": "?"}}]}},
    {"index": 0, "delta": {"refusal": "?"}},
    {"index": 0, "delta": {"content": [{"type": "text", "text": "?"}]}},
    {"index": 0, "delta": {"content": "?"}, "own": {"content": "x"}},
    {"index": 0, "delta": {"content": "?"}, "finish_reason": "stop"},
    {"index": 0, "delta": {"content": "?"}, "logprobs": {"content": [{"token": "content", "logprob": -1.0}]}},
    {"index": 0, "delta": {"content": "?"}, "logprobs": {"content": [LOGPROB], "refusal": None}},
    {"index": 0, "delta": {"content": "?"}, "logprobs": {"content": [LOGPROB], "own": 1}},
    {"index": 0, "logprobs": {"content": [LOGPROB]}, "delta": {"content": "?"}},
    {"index": 0, "delta": {"content": "?"}, "own": 1},
    {"index": 0, "delta": {"role": "assistant", "content": "?", "refusal": None}},
    {"index": 0, "delta": {"content": "?", "audio": {"id": "a"}}},
    {"index": 0, "delta": {"content": None, "role": None, "reasoning_content": "?"}},
    {"index": 1, "delta": {"role": "assistant", "content": "?"}},
    {"index": 0, "delta": {"reasoning": "?"}, "own": [1]},
]
ENVELOPES = [
    ENVELOPE,
    {**ENVELOPE, "system_fingerprint": "one"},
    {**ENVELOPE, "system_fingerprint": "two", "content": "x"},
    {**ENVELOPE, "usage": {"completion_tokens": 1}},
    {**ENVELOPE, "created": 9},
    {**ENVELOPE, "obfuscation": "!"},
    {**ENVELOPE, "moderation": {"flagged": False}},
    {**ENVELOPE, "system_fingerprint": "two", "obfuscation": "!"},
]
CALLS = [{"index": number, "id": name, "function": {"name": "f"}} for number, name in enumerate("ab")]
HEAD = {"index": 0, "delta": {"role": "assistant", "content": "x", "tool_calls": CALLS}}
# A stream repeats a few kinds of chunks.
kinds = st.tuples(st.sampled_from(SHAPES), st.sampled_from(ENVELOPES), st.booleans())
runs = st.lists(kinds, min_size=1, max_size=3).flatmap(
    lambda few: st.lists(
        st.tuples(st.sampled_from(few), texts, st.sampled_from([False, False, True, True])), max_size=20
    )
)


class Slow(ChatAccumulation):
    """An accumulation that parses every chunk."""

    def add_plain_mapping(self, chunk: Any, data: bytes | None = None) -> bool:
        return False


def payload(choice: Any, envelope: Any, *, spaced: bool, text: str) -> bytes:
    separators = (", ", ": ") if spaced else (",", ":")
    sent = {**envelope, "choices": [choice]}
    if sent.pop("obfuscation", None):
        sent["obfuscation"] = "aB3dE5"[: len(text) * 5 % 7]
    whole = json.dumps(sent, separators=separators).encode()
    return whole.replace(b"?", text.encode(), 1)


def new_state() -> StreamState:
    return StreamState(CHAT, None, StreamSettings())


TEXT, PARTS = (SHAPES[0], ENVELOPE, False), (SHAPES[9], ENVELOPE, False)
ONE, TWO = (SHAPES[0], ENVELOPES[1], False), (SHAPES[0], ENVELOPES[2], False)


@settings(max_examples=300, deadline=None)
@given(runs)
@example([(kind, "a", False) for kind in (TEXT, TEXT, PARTS, TEXT)])
@example([(kind, "a", False) for kind in (ONE, TWO, ONE, TWO, ONE)])
def test_the_fast_path_and_parsing_agree(runs: list[Any]) -> None:
    """Typed and untyped chunks give the same deltas one by one, and the same completion or error at the end."""
    state, slow = new_state(), Slow()
    state.feed_one(b": hello\n\n", "bytes", typed=False)
    sent = [(json.dumps({**ENVELOPE, "choices": [HEAD]}).encode(), False)]
    sent += [(payload(one, on, spaced=spaced, text=text), typed) for (one, on, spaced), text, typed in runs]
    for data, typed in sent:
        try:
            read = state.feed_one(b"data: " + data + b"\n\n", "bytes", typed)
        except ValueError:
            break
        # The standard library reads half a pair, which jiter refuses.
        slow.add(json.loads(data))
        if typed:
            assert deep_state(read) == deep_state(typed_chunk(data, json.loads(data)))

        for name in ("text_delta", "reasoning_delta", "refusal_delta"):
            assert getattr(state.accumulation, name) == getattr(slow, name)

    assert state.accumulation.result == slow.result
    assert state.accumulation.result.model_extra == slow.result.model_extra


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("chat/long", 360),
        ("chat/haiku", 20),
        ("chat/logprobs", 2),
        ("chat/two_choices", 20),
        ("tools/forced_call", 4),
        ("reasoning/reasoning_content", 4),
    ],
)
def test_recorded_chunks_match_a_template(name: str, least: int, typed: bool) -> None:
    """The fast path matches nearly every chunk of a gateway, and its chunks equal the SDK's."""
    state = new_state()
    state.feed_one(b": hello\n\n", "bytes", typed)
    for one in recorded.chunks(name):
        read = state.feed_one(event(one), "bytes", typed)

        assert not typed or deep_state(read) == deep_state(typed_chunk(json.dumps(one).encode(), one))

    assert state._fast_path.hits >= least


@pytest.mark.parametrize("name", REASONING_FIELDS)
def test_reasoning_matches_a_template_under_each_of_its_names(name: str) -> None:
    """A name that the fast path did not know would be parsed in every chunk."""
    state = new_state()
    for _ in range(50):
        state.feed_one(event(chunk({name: "x"})), "bytes", typed=False)

    assert state._fast_path.hits >= 47
    assert state.accumulation.reasoning == "x" * 50


@pytest.mark.parametrize("typed", [False, True])
def test_alternating_choices_match_their_templates(typed: bool) -> None:
    """The fast path expects each of several choices in turn."""
    state = new_state()
    state.feed_one(b": hello\n\n", "bytes", typed)
    for number in range(200):
        state.feed_one(event(chunk({"content": "x"}, index=number % 4)), "bytes", typed)

    assert state._fast_path.templates_built == 4
    assert state._fast_path.hits > 180
    assert [choice.message.content for choice in state.accumulation.result.choices] == ["x" * 50] * 4


@pytest.mark.parametrize("typed", [False, True])
def test_padded_chunks_match_a_template(typed: bool) -> None:
    """OpenAI's padding has another length in every chunk, and LiteLLM forwards it, also after log probabilities."""
    state = new_state()
    state.feed_one(b": hello\n\n", "bytes", typed)
    state.feed_one(event(chunk({"role": "assistant", "content": "x"})), "bytes", typed)
    for number in range(50):
        plain = chunk({"content": "x"}, logprobs={"content": [LOGPROB]}) if number < 25 else chunk({"content": "x"})
        one = {**plain, "obfuscation": "aB3dE5gH"[: number % 9]}
        read = state.feed_one(event(one), "bytes", typed)
        assert not typed or deep_state(read) == deep_state(typed_chunk(json.dumps(one).encode(), one))

    assert state._fast_path.hits == 48


@pytest.mark.parametrize("typed", [False, True])
def test_no_more_templates_are_built_when_none_matches(typed: bool) -> None:
    """A field that differs in every chunk makes every template useless."""
    state = new_state()
    state.feed_one(b": hello\n\n", "bytes", typed)
    for number in range(200):
        state.feed_one(event({**chunk({"content": "x"}), "own": number}), "bytes", typed)

    assert state._fast_path.hits == 0
    assert state._fast_path.templates_built == 3


SHARED = [
    chunk({"content": "x"}),
    chunk({"reasoning": "x"}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": "x"}}]}),
    chunk({"content": "x"}, logprobs={"content": [LOGPROB]}),
    {**chunk({"content": "x"}), "obfuscation": "aB3"},
]


def containers(value: Any) -> list[int]:
    """Return the ids of a model's mutable parts: its dictionaries and sets, its lists, and those inside."""
    if isinstance(value, pydantic.BaseModel):
        parts = [value.__dict__, value.__pydantic_fields_set__, value.__pydantic_extra__]
        return [id(value), *map(id, parts), *(one for item in value.__dict__.values() for one in containers(item))]
    return [id(value), *(one for item in value for one in containers(item))] if isinstance(value, list) else []


@pytest.mark.parametrize("one", SHARED, ids=["content", "reasoning", "arguments", "logprobs", "padding"])
def test_chunks_from_a_template_share_no_container(one: Any) -> None:
    """A caller who changes a chunk changes no other chunk and no accumulated value."""
    state = new_state()
    state.feed_one(b": hello\n\n", "bytes", typed=True)
    head = chunk({"role": "assistant", "content": "x", "tool_calls": CALLS})
    read = [state.feed_one(event(each), "bytes", typed=True) for each in (head, one, one, one)]

    assert state._fast_path.hits == 2
    parts = [part for each in read for part in containers(each)]
    assert len(parts) == len(set(parts))


@pytest.mark.parametrize(
    "one",
    [
        {**chunk({"content": "x"}), "own": {"a": 1}},
        chunk({"content": "x"}, own=[1]),
        {**chunk({"content": "x"}), "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}},
    ],
    ids=["of the chunk", "of the choice", "usage"],
)
def test_chunks_with_unknown_objects_match_no_template(one: Any) -> None:
    """Copies of such a chunk would share its objects."""
    state = new_state()
    state.feed_one(b": hello\n\n", "bytes", typed=True)
    for _ in range(4):
        read = state.feed_one(event(one), "bytes", typed=True)
        assert deep_state(read) == deep_state(typed_chunk(json.dumps(one).encode(), one))

    assert state._fast_path.hits == 0


@pytest.mark.parametrize(
    "choice",
    [
        pytest.param(
            {"index": 0, "logprobs": {"content": []}, "delta": {"content": "a"}}, id="log probabilities first"
        ),
        pytest.param({"index": 0, "delta": {"refusal": "a"}}, id="another field"),
        pytest.param({"index": 0, "delta": {"content": "a"}, "own": {"content": "a"}}, id="the same name elsewhere"),
    ],
)
def test_no_template_is_built_when_more_than_the_text_matters(choice: Any) -> None:
    """The same holds when the position of the text is ambiguous."""
    one = {**ENVELOPE, "choices": [choice]}

    assert build_template(json.dumps(one).encode(), one) is None
