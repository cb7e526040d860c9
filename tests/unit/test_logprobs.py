"""Log probabilities: kept as they came, the same however and whenever they are asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest
import recorded
from chunks import HELLO, accumulate, chunk, event, finish, text

from tensorloop_stream._chat.accumulator import ChatAccumulation
from tensorloop_stream._chat.dialect import CHAT
from tensorloop_stream._stream.settings import StreamSettings
from tensorloop_stream._stream.state import StreamState


def entry(token: str, **more: Any) -> dict[str, Any]:
    return {
        "token": token,
        "logprob": -0.5,
        "bytes": list(token.encode("utf-8", "surrogatepass")),
        "top_logprobs": [],
        **more,
    }


def said(*entries: Any, **more: Any) -> dict[str, Any]:
    return text("x", logprobs={"content": list(entries), "refusal": None, **more})


def read(chunks: list[Any], *, typed: bool) -> ChatAccumulation:
    """Read the chunks one event at a time, as they come from a gateway."""
    state = StreamState(CHAT, None, StreamSettings())
    state.feed_one(b": hello\n\n", "bytes", typed=False)
    for one in chunks:
        # In ASCII: half a pair has no UTF-8.
        state.feed_one(b"data: " + json.dumps(one).encode() + b"\n\n", "bytes", typed)
    assert isinstance(state.accumulation, ChatAccumulation)
    return state.accumulation


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param(recorded.chunks("chat/logprobs"), id="recorded"),
        pytest.param([*HELLO[:2], said(entry("a"), entry("b", own=1)), said(entry("c")), finish()], id="extra fields"),
        pytest.param([*HELLO[:2], said(entry("a")), said({"token": 5}), said("b"), said(entry("c"))], id="of any type"),
        pytest.param([*HELLO[:2], said(entry("a")), said(own=[1]), said(entry("b")), said(own=[2])], id="other lists"),
        pytest.param([*HELLO[:2], said(entry("a")), said(entry("\ud83d")), said(entry("b"))], id="half a pair"),
        pytest.param(
            [
                *HELLO[:2],
                chunk({"refusal": "no"}, logprobs={"content": None, "refusal": [entry("no")]}),
                said(entry("a")),
            ],
            id="of a refusal",
        ),
    ],
)
def test_however_they_are_read_they_are_the_same(chunks: list[Any], typed: bool) -> None:
    """Kept as bytes or as objects, built at once or one by one."""
    by_bytes, by_hand = read(chunks, typed=typed).result, accumulate(*chunks).completion

    assert by_bytes == by_hand
    assert repr(by_bytes) == repr(by_hand)


@pytest.mark.parametrize("typed", [False, True])
def test_reading_the_completion_after_every_chunk(typed: bool) -> None:
    """A look at what has come changes nothing that comes, and what was shown does not grow."""
    chunks = recorded.chunks("chat/logprobs")
    state = StreamState(CHAT, None, StreamSettings())
    state.feed_one(b": hello\n\n", "bytes", typed=False)
    shown = []
    for one in chunks:
        state.feed_one(event(one), "bytes", typed)
        logprobs = state.accumulation.result.choices[0].logprobs
        shown.append((logprobs, len(logprobs.content or []) if logprobs else 0))

    assert state.accumulation.result == accumulate(*chunks).completion
    assert [number for _, number in shown] == sorted(number for _, number in shown)
    assert all(logprobs is None or len(logprobs.content or []) == number for logprobs, number in shown)


def test_they_are_not_built_before_they_are_asked_for() -> None:
    """Who only reads the text keeps bytes, no objects."""
    accumulation = read(recorded.chunks("chat/logprobs"), typed=True)
    logprobs = accumulation._choices[0]._logprobs

    assert logprobs is not None
    assert all(isinstance(one, bytes) for one in logprobs._untyped)
    assert len(logprobs._untyped) >= 11
