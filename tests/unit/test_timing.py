"""Timing: first chunk, first token, rate and gaps, by a clock that the tests set."""

from __future__ import annotations

import pickle

import pytest
from chunks import HELLO, chunk, finish, text, tool, usage

from tensorloop_stream import ChatStream, StreamTiming
from tensorloop_stream._stream.state import StreamState


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test sets, in its only element."""
    now = [100.0]
    monkeypatch.setitem(StreamState.__init__.__kwdefaults__ or {}, "clock", lambda: now[0])
    return now


def timed(clock: list[float], *chunks: object) -> ChatStream:
    """Return a stream whose chunks arrived half a second apart, read to its end."""

    def source() -> object:
        for one in chunks:
            clock[0] += 0.5
            yield one

    return ChatStream(source()).until_done()  # type: ignore[arg-type]


def test_an_unused_stream_has_no_times(clock: list[float]) -> None:
    """A stream without a chunk has no times, and its duration grows."""
    stream = ChatStream(list(HELLO))
    clock[0] += 2

    assert stream.timing == StreamTiming(duration=2)
    assert stream.timing.time_to_first_chunk is None
    assert stream.timing.gap(0.5) is None
    assert stream.timing.tokens_per_second is None


def test_times_are_seconds_since_the_stream_was_created(clock: list[float]) -> None:
    """The first chunk is the role, the first token the first text; the end stops the clock."""
    timing = timed(clock, *HELLO).timing
    clock[0] += 10

    assert timing.chunk_times == (0.5, 1.0, 1.5, 2.0)
    assert (timing.time_to_first_chunk, timing.time_to_first_token, timing.duration) == (0.5, 1.0, 2.0)


@pytest.mark.parametrize(
    "first",
    [
        text("a"),
        chunk({"reasoning_content": "a"}),
        chunk({"refusal": "a"}),
        tool({"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}),
        text("b", index=1),
    ],
)
def test_the_first_token_is_the_first_of_any_kind(first: object, clock: list[float]) -> None:
    """Text, reasoning, a refusal or a tool call of any choice is a token."""
    assert timed(clock, HELLO[0], first, finish()).timing.time_to_first_token == 1.0


def test_tokens_per_second_come_from_usage(clock: list[float]) -> None:
    """The rate needs usage, because chunks are not tokens; it counts from the first token to the last chunk."""
    assert timed(clock, *HELLO).timing.tokens_per_second is None
    assert timed(clock, *HELLO, usage()).timing.tokens_per_second == 2 / 1.5


def test_one_chunk_has_no_rate(clock: list[float]) -> None:
    """No time passes between a token and itself."""
    assert timed(clock, {**text("a", finish="stop"), "usage": usage()["usage"]}).timing.tokens_per_second is None


def test_gap_is_a_quantile_of_the_times_between_chunks() -> None:
    """The quantile is that of the nearest rank."""
    timing = StreamTiming(chunk_times=(0, 1, 3, 6))

    assert [timing.gap(quantile) for quantile in (0, 0.5, 0.99, 1)] == [1, 2, 3, 3]
    with pytest.raises(ValueError, match="quantile is 50: it must be between 0 and 1"):
        timing.gap(50)


def test_a_timing_of_a_stream_stays_as_it_was() -> None:
    """The times are built when they are asked for, and a timing that was taken early holds the early ones."""
    arrivals = [2.0, 3.0]
    timing = StreamTiming._of(arrivals, 1.0, time_to_first_token=None, duration=3.0, completion_tokens=None)
    arrivals.append(9.0)

    assert "chunk_times" not in vars(timing)
    assert (timing.time_to_first_chunk, timing.tokens_per_second) == (1.0, None)
    assert timing == pickle.loads(pickle.dumps(timing)) == StreamTiming((1.0, 2.0), duration=3.0)
    assert timing.chunk_times == (1.0, 2.0)


def test_a_timing_of_an_empty_stream_has_no_first_chunk() -> None:
    """No chunk has no time."""
    timing = StreamTiming._of([], 1.0, time_to_first_token=None, duration=3.0, completion_tokens=None)

    assert (timing.time_to_first_chunk, timing.chunk_times) == (None, ())
