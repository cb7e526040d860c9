"""Endless and large input: errors or constant memory, and work that is linear in the bytes.

No test here reads a clock: memory is what `tracemalloc` counts, work is the number of lines and calls.
"""

from __future__ import annotations

import gc
import itertools
import json
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requirements
from chunks import DONE, ENVELOPE, HELLO, accumulate, chunk, event, finish, sse, text, tool
from clients import Body, read, sync_client

from tensorloop_stream import (
    Callbacks,
    ChatAccumulator,
    ChatStream,
    SSEDecoder,
    StreamDecodeError,
    StreamError,
    _sse,
)
from tensorloop_stream._chat.accumulator import ChatAccumulation
from tensorloop_stream._chat.dialect import CHAT
from tensorloop_stream._stream.payload import parse_object
from tensorloop_stream._stream.settings import StreamSettings
from tensorloop_stream._stream.state import StreamState
from tensorloop_stream._stream.text import TextBuffer

KIB = 1024
MIB = 1024 * KIB


def grown(work: Callable[[], Any]) -> int:
    """Return by how many bytes the peak memory exceeds the memory before `work`."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def steps_of(work: Callable[[], Any]) -> int:
    """Return the steps of `work`: lines of the package, and calls of functions of any kind."""
    steps = 0

    def trace(frame: Any, kind: str, argument: Any) -> Any:
        nonlocal steps
        steps += 1
        return trace if "tensorloop_stream" in frame.f_code.co_filename else None

    def note(frame: Any, kind: str, argument: Any) -> None:
        nonlocal steps
        steps += kind in ("call", "c_call")

    before = sys.gettrace()
    sys.settrace(trace)
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        sys.settrace(before)
    return steps


def is_linear(work: Callable[[int], Any], size: int) -> bool:
    """Tell whether four times the size takes at most about four times the steps; quadratic work would take sixteen."""
    work(size // 4)  # what is built once and cached
    return steps_of(lambda: work(size)) < 4.1 * steps_of(lambda: work(size // 4))


def feed_each(decoder: SSEDecoder, reads: Iterator[bytes]) -> None:
    for one in reads:
        decoder.feed(one)


# Events without end


def test_an_endless_event_raises_at_the_maximum_size() -> None:
    """The decoder raises as soon as an event is larger than allowed, and holds little more than that size."""
    decoder, reads = SSEDecoder(max_event_size=MIB), iter([b"data: " + b"x" * 44] * (2 * MIB // 50))

    def feed_until_it_raises() -> None:
        with pytest.raises(StreamDecodeError, match="where 1048576 are allowed"):
            feed_each(decoder, reads)

    assert grown(feed_until_it_raises) < 2 * MIB
    assert len(list(reads)) == 2 * MIB // 50 - MIB // 50 - 1


@pytest.mark.parametrize("read", [b"x", b": ping\n", b"data: x\r\n", b"data\r"])
def test_an_endless_event_in_small_reads_costs_only_its_bytes(read: bytes) -> None:
    """The decoder keeps nothing per read, and nothing after the error."""
    decoder, more = SSEDecoder(max_event_size=16 * KIB), b"x" * MIB

    def feed_until_it_raises() -> None:
        with pytest.raises(StreamDecodeError):
            feed_each(decoder, itertools.repeat(read))

    def feed_more() -> None:
        with pytest.raises(StreamDecodeError):
            decoder.feed(more)

    assert grown(feed_until_it_raises) < 48 * KIB
    assert grown(feed_more) < 16 * KIB


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_endless_event_breaks_the_stream(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that sends one event for ever is closed at the maximum size, and keeps the partial completion."""
    monkeypatch.setitem(StreamState.__init__.__kwdefaults__ or {}, "new_splitter", lambda: _sse.EventSplitter(MIB))
    parts = itertools.chain([sse(*HELLO[:3], done=False)], itertools.repeat(b"data: " + b"x" * 4090))
    outcome = read_endless(kind, parts)

    assert isinstance(outcome.error, StreamDecodeError)
    assert "where 1048576 are allowed" in str(outcome.error)
    assert "after 3 chunks and 5 characters" in str(outcome.error)
    assert outcome.error.partial.choices[0].message.content == "Hello"


def test_the_default_maximum_size_is_64_mib() -> None:
    """The decoder holds an event of this size in one buffer, which grows in steps."""
    decoder, part = SSEDecoder(), b"x" * MIB

    def feed_until_it_raises() -> None:
        with pytest.raises(StreamDecodeError, match="where 67108864 are allowed"):
            feed_each(decoder, itertools.repeat(part))

    assert grown(feed_until_it_raises) < 160 * MIB


def test_an_oversized_event_is_an_error_also_when_the_stream_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error waits for the events before it, and is raised although nothing more is read."""
    monkeypatch.setitem(StreamState.__init__.__kwdefaults__ or {}, "new_splitter", lambda: _sse.EventSplitter(KIB))
    outcome = read("sync", [sse(*HELLO, done=False) + b"data: " + b"x" * 2 * KIB])

    assert isinstance(outcome.error, StreamDecodeError)


def read_endless(kind: str, parts: Iterator[bytes]) -> Any:
    # A list by its type, because `read` copies others, and endless.
    class Endless(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            return parts

    return read(kind, Endless())


@pytest.mark.parametrize(
    "frame",
    [b": ping\n\n", b"\n", b"\r\n", b"data:\n\n", b"retry: 5\n\n", b"event: ping\ndata: {}\n\n", b"data: null\n\n"],
)
def test_events_without_content_take_no_memory(frame: bytes) -> None:
    """A gateway may keep a connection alive for hours."""
    state, decoder = StreamState(CHAT, None, StreamSettings()), SSEDecoder()

    def keep_alive() -> None:
        for _ in range(600):
            decoder.feed(frame)
            state.receive(frame, "bytes")
            assert state.next(typed=False) is None

    keep_alive()

    # A pointer per event would take more.
    assert grown(keep_alive) < 4 * KIB


def test_a_decoder_keeps_nothing_of_a_complete_event() -> None:
    """The memory of a large event is free as soon as the event was returned."""
    decoder = SSEDecoder()
    stream = b"data: " + b"x" * MIB + b"\n\n"

    def feed() -> None:
        for start in range(0, len(stream), 64 * KIB):
            decoder.feed(stream[start : start + 64 * KIB])

    feed()
    gc.collect()
    tracemalloc.start()
    feed()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert kept < 4 * KIB
    assert sys.getsizeof(decoder._splitter._rest) < 100


def test_read_chunks_are_not_kept() -> None:
    """The state keeps only the text and the time of a chunk."""
    state = StreamState(CHAT, None, StreamSettings())
    one = event(text("x", own="y" * KIB, logprobs=None))

    def stream() -> None:
        for _ in range(2_000):
            state.receive(one, "bytes")
            assert state.next(typed=False) is not None

    assert grown(stream) < 500 * KIB


# Large and many


@pytest.mark.parametrize(("size", "length"), [(64, requirements.scaled(MIB)), (64 * KIB, MIB)])
def test_the_work_of_an_event_in_small_reads_is_linear(size: int, length: int) -> None:
    """A large event is joined once, for reads of any size."""

    def decode(length: int) -> None:
        decoder = SSEDecoder()
        stream = b"data: " + b"x" * length + b"\n\n"
        events = [one for at in range(0, len(stream), size) for one in decoder.feed(stream[at : at + size])]
        assert [len(one.data) for one in events] == [length]

    assert is_linear(decode, length)


def test_a_megabyte_of_text_in_one_chunk_is_copied_a_few_times() -> None:
    """The chunk is parsed once."""
    stream = sse(text("x" * MIB), finish())

    assert grown(lambda: read("sync", [stream], "final")) < 12 * MIB
    assert read("sync", [stream]).stream.text == "x" * MIB


def chunks_of(kind: str, size: int) -> Iterator[dict[str, Any]]:
    """Yield a stream of `size` chunks of one kind."""
    for number in range(size):
        if kind == "choices":
            yield text("x", index=number)
        elif kind == "calls":
            yield tool({"index": number, "id": f"call_{number}", "function": {"name": "f", "arguments": "{}"}})
        elif kind == "cut calls":
            yield tool({"index": number, "id": f"call_{number}", "function": {"name": "f", "arguments": "{"}})
        elif kind == "one call":
            yield tool({"index": 0, "id": "call_0", "function": {"name": "f", "arguments": "1"}})
        elif kind == "after the finish":
            yield tool({"index": 0, "function": {"arguments": "{"}}, finish="stop")
        elif kind == "details":
            yield chunk({"reasoning_details": [{"type": "t", "index": number, "text": "x"}]})
        elif kind == "blocks":
            yield chunk({"thinking_blocks": [{"type": "thinking", "thinking": "x", "signature": "s"}]})
        elif kind == "parts":
            yield chunk({"content": [{"type": "text", "text": "x"}, {"type": "image"}]})
        elif kind == "logprobs":
            yield text("x", logprobs={"content": [{"token": "x", "logprob": 0.0, "bytes": None, "top_logprobs": []}]})
        else:
            yield text("x")


KINDS = ("text", "choices", "calls", "cut calls", "one call", "after the finish", "details", "blocks", "parts")


@pytest.mark.parametrize("kind", [*KINDS, "logprobs"])
def test_the_work_is_linear_in_the_number_of_chunks(kind: str) -> None:
    """A delta of any kind finds its place without a search through earlier ones, with all callbacks set."""
    listening = Callbacks(on_text=len, on_reasoning=len, on_refusal=len, on_tool_call=repr)

    def run(size: int) -> None:
        state = StreamState(CHAT, listening, StreamSettings())
        for one in chunks_of(kind, size):
            state.receive(one, "items")
            read = state.next(typed=False)
            assert read is not None
            state.calls(read)
        assert state.accumulation.result.choices

    assert is_linear(run, requirements.scaled(600))


def test_thousands_of_tool_calls_are_reported_once() -> None:
    """Each call is complete once, in order, and all are in the completion."""
    accumulation, count = ChatAccumulation(), requirements.scaled(10_000)
    whole: list[str] = []
    for one in (*chunks_of("calls", count), finish("tool_calls")):
        accumulation.add(one)
        whole += [call.id for call in accumulation.newly_whole_calls(ended=False)]

    expected = [f"call_{number}" for number in range(count)]
    assert whole == expected
    assert [call.id for call in accumulation.tool_calls] == expected


@pytest.mark.parametrize("kind", ["text", "one call", "logprobs"])
def test_reading_the_completion_after_every_chunk_is_linear(kind: str) -> None:
    """Reading costs the same after any number of chunks, apart from copying the text."""

    def run(size: int) -> None:
        accumulator = ChatAccumulator()
        for one in chunks_of(kind, size):
            accumulator.add(one)
            assert accumulator.completion.choices
            assert accumulator.text or kind == "one call"

    assert is_linear(run, requirements.scaled(600))


def test_text_read_after_every_chunk_is_joined_from_two_parts() -> None:
    """5,000 reads join 10,000 parts, not the square of 5,000."""
    joined = 0

    class Counted(TextBuffer):
        __slots__ = ()

        def __str__(self) -> str:
            nonlocal joined
            joined += len(self._parts)
            return super().__str__()

    content = Counted()
    for number in range(5_000):
        content.append("x")
        assert len(str(content)) == number + 1

    assert joined < 2 * 5_000


# Deep

DEPTHS = [100, 300, 1_000, 100_000]
PLACES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "own field": lambda deep: {**ENVELOPE, "choices": [], "own": deep},
    "choices": lambda deep: {**ENVELOPE, "choices": deep},
    "choice": lambda deep: chunk({"content": "x"}, own=deep),
    "delta": chunk,
    "delta field": lambda deep: chunk({"own": deep}),
    "content": lambda deep: chunk({"content": deep}),
    "role": lambda deep: chunk({"role": deep}),
    "refusal": lambda deep: chunk({"refusal": deep}),
    "reasoning": lambda deep: chunk({"reasoning": deep}),
    "arguments": lambda deep: tool({"index": 0, "id": "a", "function": {"name": "f", "arguments": deep}}),
    "call id": lambda deep: tool({"index": 0, "id": deep}),
    "call": tool,
    "details": lambda deep: chunk({"reasoning_details": [{"type": deep, "text": "x"}, {"type": deep, "text": "x"}]}),
    "blocks": lambda deep: chunk({"thinking_blocks": [{"thinking": "x", "own": deep}]}),
    "usage": lambda deep: {**ENVELOPE, "choices": [], "usage": {"total_tokens": deep}},
    "logprobs": lambda deep: chunk({}, logprobs={"content": deep}),
    "finish reason": lambda deep: chunk({}, finish_reason=deep),
    "error": lambda deep: {"error": {"message": deep, "code": deep}},
}


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("place", PLACES)
def test_deep_json_is_read_or_an_error_of_the_family(place: str, depth: int, opening: str) -> None:
    """JSON of any depth in any field raises no `RecursionError`, neither while reading nor in the completion."""
    body = json.dumps(PLACES[place]("DEEP"))
    nested = opening * depth + "1" + {"[": "]", '{"a":': "}"}[opening] * depth
    outcome = read("sync", [b"data: " + body.replace('"DEEP"', nested).encode() + b"\n\n", DONE])

    assert outcome.error is None or isinstance(outcome.error, StreamError)
    assert isinstance(outcome.error, StreamError) or depth < 1_000
    assert repr(outcome.error)
    assert repr(outcome.stream.completion)
    if depth <= 100:
        assert outcome.stream.completion.to_dict(warnings=False)


def test_the_maximum_depth_does_not_depend_on_the_callers_stack() -> None:
    """JSON of 500 levels is read from any depth of the stack, and deeper JSON is refused."""

    def nested(levels: int) -> bytes:
        return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"

    assert parse_object(nested(500))
    for levels in (501, 800, 100_000):
        with pytest.raises(StreamDecodeError):
            parse_object(nested(levels))


@pytest.mark.parametrize("make", [list, dict])
def test_deep_mappings_of_a_caller_raise_a_decode_error(make: type) -> None:
    """No parser has limited the depth of such a mapping."""
    deep: Any = make()
    for _ in range(100_000):
        deep = [deep] if make is list else {"a": deep}
    stream = ChatStream([chunk({"refusal": deep})])

    with pytest.raises(StreamDecodeError, match="recursion"):
        stream.until_done()
    assert stream.completion.choices[0].message.role == "assistant"


def test_an_error_shows_at_most_a_line_of_the_data() -> None:
    """A megabyte in the wrong field is not a megabyte in the log."""
    for wrong in (
        {**ENVELOPE, "choices": "x" * MIB},
        {**ENVELOPE, "choices": ["x" * MIB]},
        chunk("x" * MIB),
        tool("x" * MIB),
        chunk({"tool_calls": "x" * MIB}),
    ):
        outcome = read("sync", [sse(wrong)])

        assert isinstance(outcome.error, StreamDecodeError)
        assert len(str(outcome.error)) < 400


def test_a_finished_stream_keeps_no_bytes() -> None:
    """A stream that is kept after its end keeps the completion alone."""
    stream = ChatStream(
        sync_client(Body([sse(*HELLO[:2], done=False), DONE])).chat.completions.create(
            model="m", messages=[], stream=True
        )
    )
    stream.until_done()

    assert not stream._state.pending
    assert stream._state._splitter.pending == 0
    assert accumulate(*HELLO[:2]).text == stream.text
