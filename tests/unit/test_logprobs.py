"""Log probabilities: kept unchanged, and equal however and whenever they are read."""

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


def with_logprobs(*entries: Any, **more: Any) -> dict[str, Any]:
    return text("x", logprobs={"content": list(entries), "refusal": None, **more})


def read(chunks: list[Any], *, typed: bool) -> ChatAccumulation:
    """Read the chunks one event at a time, as a gateway sends them."""
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
        pytest.param(
            [*HELLO[:2], with_logprobs(entry("a"), entry("b", own=1)), with_logprobs(entry("c")), finish()],
            id="extra fields",
        ),
        pytest.param(
            [
                *HELLO[:2],
                with_logprobs(entry("a")),
                with_logprobs({"token": 5}),
                with_logprobs("b"),
                with_logprobs(entry("c")),
            ],
            id="of any type",
        ),
        pytest.param(
            [
                *HELLO[:2],
                with_logprobs(entry("a")),
                with_logprobs(own=[1]),
                with_logprobs(entry("b")),
                with_logprobs(own=[2]),
            ],
            id="other lists",
        ),
        pytest.param(
            [*HELLO[:2], with_logprobs(entry("a")), with_logprobs(entry("\ud83d")), with_logprobs(entry("b"))],
            id="half a pair",
        ),
        pytest.param(
            [
                *HELLO[:2],
                chunk({"refusal": "no"}, logprobs={"content": None, "refusal": [entry("no")]}),
                with_logprobs(entry("a")),
            ],
            id="of a refusal",
        ),
    ],
)
def test_logprobs_are_equal_from_bytes_and_from_mappings(chunks: list[Any], typed: bool) -> None:
    """Entries kept as bytes and entries built at once give the same completion."""
    by_bytes, by_hand = read(chunks, typed=typed).result, accumulate(*chunks).completion

    assert by_bytes == by_hand
    assert repr(by_bytes) == repr(by_hand)


@pytest.mark.parametrize("typed", [False, True])
def test_reading_the_completion_after_every_chunk_changes_nothing(typed: bool) -> None:
    """The final completion is the same, and a completion that was read does not grow."""
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


def test_logprobs_are_built_when_they_are_read() -> None:
    """A program that reads only the text keeps bytes and builds no objects."""
    accumulation = read(recorded.chunks("chat/logprobs"), typed=True)
    logprobs = accumulation._choices[0]._logprobs

    assert logprobs is not None
    assert all(isinstance(one, bytes) for one in logprobs._untyped)
    assert len(logprobs._untyped) >= 11
