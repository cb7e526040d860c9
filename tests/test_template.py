"""The short way of chunks that differ in one string: the same as the long one, and really taken."""

from __future__ import annotations

import json
from typing import Any

import pytest
import recorded
from hypothesis import example, given, settings, strategies as st
from streams import ENVELOPE, chunk, event

from tensorloop_stream import ChatAccumulator
from tensorloop_stream._core import StreamCore
from tensorloop_stream._settings import StreamSettings
from tensorloop_stream._template import template_of

# As JSON, between its quotes: escapes, half a pair, quotes that end the string, line ends that JSON forbids.
PIECES = ["a", " b", "", "\\n", '\\"', "\\\\", "é", "😀", "\\ud83d", "\\ude00"]
BAD = ['","role":"x', '"', "\n", "\\", "\r", "\x00"]
pieces = st.one_of(*[st.sampled_from(PIECES)] * 15, st.sampled_from(BAD))
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
]
ENVELOPES = [
    ENVELOPE,
    {**ENVELOPE, "system_fingerprint": "one"},
    {**ENVELOPE, "system_fingerprint": "two", "content": "x"},
    {**ENVELOPE, "usage": {"completion_tokens": 1}},
    {**ENVELOPE, "created": 9},
]
CALLS = [{"index": number, "id": name, "function": {"name": "f"}} for number, name in enumerate("ab")]
HEAD = {"index": 0, "delta": {"role": "assistant", "content": "x", "tool_calls": CALLS}}
# A stream is made of few kinds of chunks, that come again.
kinds = st.tuples(st.sampled_from(SHAPES), st.sampled_from(ENVELOPES), st.booleans())
runs = st.lists(kinds, min_size=1, max_size=3).flatmap(
    lambda few: st.lists(
        st.tuples(st.sampled_from(few), pieces, st.sampled_from([False, False, False, True])), max_size=20
    )
)


class Slow(ChatAccumulator):
    """What takes the long way always."""

    def add_plain_mapping(self, chunk: Any, data: bytes | None = None) -> bool:
        return False


def payload(choice: Any, envelope: Any, *, spaced: bool, piece: str) -> bytes:
    separators = (", ", ": ") if spaced else (",", ":")
    whole = json.dumps({**envelope, "choices": [choice]}, separators=separators).encode()
    return whole.replace(b"?", piece.encode(), 1)


def new_core() -> StreamCore:
    return StreamCore(None, StreamSettings())


TEXT, PARTS = (SHAPES[0], ENVELOPE, False), (SHAPES[9], ENVELOPE, False)
ONE, TWO = (SHAPES[0], ENVELOPES[1], False), (SHAPES[0], ENVELOPES[2], False)


@settings(max_examples=300, deadline=None)
@given(runs)
@example([(kind, "a", False) for kind in (TEXT, TEXT, PARTS, TEXT)])
@example([(kind, "a", False) for kind in (ONE, TWO, ONE, TWO, ONE)])
def test_the_short_way_and_the_long_way_agree(runs: list[Any]) -> None:
    """Whatever follows, as models or not: the same pieces one by one, the same completion or error at the end."""
    core, slow = new_core(), Slow()
    core.take(b": hello\n\n", "bytes", typed=False)
    said = [(json.dumps({**ENVELOPE, "choices": [HEAD]}).encode(), False)]
    said += [(payload(one, on, spaced=spaced, piece=piece), typed) for (one, on, spaced), piece, typed in runs]
    for data, typed in said:
        try:
            core.take(b"data: " + data + b"\n\n", "bytes", typed)
        except ValueError:
            break
        # What jiter refuses, half a pair, the standard library reads.
        slow.add(json.loads(data))

        for name in ("text_delta", "reasoning_delta", "refusal_delta"):
            assert getattr(core.accumulator, name) == getattr(slow, name)

    assert core.accumulator.completion == slow.completion
    assert core.accumulator.completion.model_extra == slow.completion.model_extra


@pytest.mark.parametrize(
    ("name", "least"),
    [("chat/long", 360), ("chat/haiku", 20), ("tools/forced_call", 4), ("reasoning/reasoning_content", 4)],
)
def test_recorded_chunks_are_alike(name: str, least: int) -> None:
    """Of what the gateway sends nearly every chunk is taken by its piece alone."""
    core = new_core()
    core.take(b": hello\n\n", "bytes", typed=False)
    for one in recorded.chunks(name):
        core.take(event(one), "bytes", typed=False)

    assert core._alike >= least


def test_choices_in_turn_do_not_cost_a_template_each() -> None:
    """Templates that are never of use are no longer made."""
    core = new_core()
    core.take(b": hello\n\n", "bytes", typed=False)
    for number in range(200):
        core.take(event(chunk({"content": "x"}, index=number % 4)), "bytes", typed=False)

    assert core._alike == 0
    assert core._templates == 3


@pytest.mark.parametrize(
    "choice",
    [
        pytest.param({"index": 0, "delta": {"content": "a"}, "logprobs": {"content": []}}, id="log probabilities"),
        pytest.param({"index": 0, "delta": {"refusal": "a"}}, id="another field"),
        pytest.param({"index": 0, "delta": {"content": "a"}, "own": {"content": "a"}}, id="the same name elsewhere"),
    ],
)
def test_what_has_no_template(choice: Any) -> None:
    """Where more than the piece matters, or it cannot be told where it stands."""
    one = {**ENVELOPE, "choices": [choice]}

    assert template_of(json.dumps(one).encode(), one) is None
