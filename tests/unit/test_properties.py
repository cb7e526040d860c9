"""Properties of generated streams: cuts, clients and types change nothing, and the SDK's accumulator agrees."""

from __future__ import annotations

import json
from typing import Any

import pydantic
import pytest
import requirements
from chunks import DONE, ENVELOPE, accumulate, chunk, deep_state, sse, usage
from clients import read
from hypothesis import HealthCheck, given, settings, strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from tensorloop_stream import ChatAccumulator, SSEDecoder, StreamError
from tensorloop_stream._chat.dialect import CHAT
from tensorloop_stream._chat.models import construct_chunk, typed_chunk
from tensorloop_stream._stream.payload import parse_object
from tensorloop_stream._stream.settings import StreamSettings
from tensorloop_stream._stream.state import StreamState

# Characters of one to four bytes in UTF-8, and the line ends of other standards.
texts = st.text(st.sampled_from('ab {}"\\é日😀\u2028\x85\ufeff'), max_size=8)
numbers = st.integers(0, 3) | st.none()
scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | texts
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2))


def optional(**fields: Any) -> Any:
    return st.fixed_dictionaries({}, optional=fields)


call_deltas = optional(
    index=numbers,
    id=st.sampled_from(["a", "b", "", None]),
    type=st.sampled_from(["function", None]),
    function=st.none() | optional(name=st.sampled_from(["f", "g", "", None]), arguments=texts | st.none()),
)
logprobs = st.none() | optional(
    content=st.none()
    | st.lists(
        st.fixed_dictionaries(
            {"token": texts, "logprob": st.floats(-9, 0), "bytes": st.none(), "top_logprobs": st.just([])}
        ),
        max_size=2,
    ),
    refusal=st.none(),
)
deltas = st.none() | optional(
    role=st.sampled_from(["assistant", None]),
    content=texts | st.none(),
    refusal=texts | st.none(),
    reasoning_content=texts | st.none(),
    tool_calls=st.none() | st.lists(call_deltas, max_size=2),
    own=anything,
)
COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
choices = optional(
    index=numbers, delta=deltas, finish_reason=st.sampled_from([None, "stop", "length", "", "eos"]), logprobs=logprobs
)
chunks = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.just(value) | st.none() for name, value in ENVELOPE.items()},
        "choices": st.none() | st.lists(choices, max_size=2),
        "usage": st.none()
        | st.fixed_dictionaries(dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), numbers)),
        "system_fingerprint": texts | st.none(),
        "own": anything,
    },
)
BOM = "\ufeff".encode()
quick = settings(max_examples=requirements.scaled(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])


def wire(one: Any) -> bytes:
    return json.dumps(one, ensure_ascii=False).encode()


@st.composite
def streams(draw: Any) -> bytes:
    """Bytes of a stream: chunks, comments, line ends of all kinds, and perhaps an error or `[DONE]`."""
    end = draw(st.sampled_from(["\n", "\r", "\r\n"])).encode()
    frames = []
    for one in draw(st.lists(chunks, max_size=4)):
        frames.append(b"data: " + wire(one) + end * 2)
        frames.append(draw(st.sampled_from([b"", b": ping" + end * 2, b"data:" + end * 2, b"retry: 5" + end])))
    bad = [b'data: {"error": {"message": "no"}}' + end * 2, b"data: {" + end * 2, b"data: \xff\n\n"]
    frames.append(draw(st.sampled_from([b"", DONE, *bad])))
    return b"".join(frames)


@st.composite
def cut(draw: Any, stream: bytes) -> list[bytes]:
    places = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    return [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]


def outcome(reads: list[bytes], *, typed: bool) -> Any:
    """Feed the state and return everything that can be observed."""
    state = StreamState(CHAT, None, StreamSettings())
    seen: list[Any] = []
    try:
        for data in reads:
            state.receive(data, "bytes")
            while (item := state.next(typed)) is not None:
                seen.append(
                    (state.accumulation.text_delta, state.accumulation.reasoning_delta, item if typed else None)
                )
        state.receive_end()
    except StreamError as error:
        return [text for text, _, _ in seen], type(error), error.message, error.partial.to_dict()
    return [text for text, _, _ in seen], state.done, state.accumulation.result.to_dict()


@given(st.data())
@quick
def test_any_cut_of_the_bytes_gives_the_same_result(data: st.DataObject) -> None:
    """Texts, completion and error are the same for every cut."""
    stream = data.draw(streams())
    reads = data.draw(cut(stream))

    assert outcome(reads, typed=False) == outcome([stream], typed=False)


@given(streams())
@quick
def test_typed_and_untyped_reading_agree(stream: bytes) -> None:
    """Building chunk objects does not change the accumulated result."""
    assert outcome([stream], typed=True) == outcome([stream], typed=False)


@given(
    st.lists(st.binary(max_size=12) | st.sampled_from([b"data: x\n\n", b"\r", b"\n", "\ufeff".encode()]), max_size=8)
)
@quick
def test_any_bytes_decode_or_raise_one_error(reads: list[bytes]) -> None:
    """The decoder raises nothing but its own error, and cuts do not change its events."""

    def events(parts: list[bytes]) -> Any:
        decoder = SSEDecoder(max_event_size=64)
        found: list[Any] = []
        try:
            for part in parts:
                found += decoder.feed(part)
            decoder.finish()
        except StreamError as error:
            return found, type(error)
        return found, None

    whole = b"".join(reads)

    assert events(reads)[0] == events([whole[i : i + 1] for i in range(len(whole))])[0]


@given(chunks)
@quick
def test_validation_and_construction_build_the_same_chunk(one: Any) -> None:
    """Both ways give a valid chunk the same fields, types, extras and fields set."""
    data = wire(one)
    fast, slow = typed_chunk(data, parse_object(data)), construct_chunk(json.loads(data))

    assert deep_state(fast) == deep_state(slow)


@given(st.lists(chunks, max_size=5), st.data())
@quick
def test_reading_the_completion_between_chunks_changes_nothing(sequence: list[Any], data: st.DataObject) -> None:
    """Models and mappings in any mixture make the same completion."""
    watched, unwatched = ChatAccumulator(), accumulate(*sequence)
    for one in sequence:
        watched.add(construct_chunk(one) if data.draw(st.booleans()) else one)
        assert watched.completion.to_dict() is not None

    assert watched.completion.to_dict() == unwatched.completion.to_dict()


@given(streams(), st.data())
@settings(max_examples=requirements.scaled(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_sync_and_async_agree(stream: bytes, data: st.DataObject) -> None:
    """Both clients give the same items, error and completion for reads of any size."""
    reads = data.draw(cut(stream))
    first, second = (read(kind, reads, "chunks") for kind in ("sync", "async"))

    assert first.items == second.items
    assert type(first.error) is type(second.error)
    assert str(first.error) == str(second.error)
    assert first.stream.completion == second.stream.completion


# Against the SDK's own accumulator, on streams as OpenAI sends them


@st.composite
def well_formed(draw: Any) -> list[Any]:
    """Chunks as the API documents them: text, refusal or calls, in several deltas, for one choice or two."""
    sequence: list[Any] = []
    for index in range(draw(st.integers(1, 2))):
        kind = draw(st.sampled_from(["content", "refusal", "tool_calls"]))
        pieces = draw(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=4))
        deltas: list[Any] = [{"role": "assistant", "content": "" if kind == "content" else None}]
        if kind == "tool_calls":
            for number in range(draw(st.integers(1, 2))):
                function = {"name": f"f{number}", "arguments": ""}
                calls = [{"index": number, "id": f"call_{number}", "type": "function", "function": function}]
                calls += [{"index": number, "function": {"arguments": piece}} for piece in pieces]
                deltas += [{"tool_calls": [call]} for call in calls]
        else:
            deltas += [{kind: piece} for piece in pieces]
        sequence += [chunk(delta, index=index) for delta in deltas]
        sequence.append(chunk({}, index=index, finish="tool_calls" if kind == "tool_calls" else "stop"))
    return [*sequence, usage()] if draw(st.booleans()) else sequence


@given(well_formed())
@quick
def test_the_accumulator_agrees_with_the_sdks_on_well_formed_streams(sequence: list[Any]) -> None:
    """The completion equals that of the SDK's helper."""
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for one in sequence:
        state.handle_chunk(ChatCompletionChunk.model_validate(one))

    assert plain_values(accumulate(*sequence).completion) == plain_values(state.current_completion_snapshot)


def plain_values(completion: pydantic.BaseModel) -> Any:
    """Return the values of a completion, without nulls and the SDK helper's own fields."""

    def of(value: Any) -> Any:
        if isinstance(value, dict):
            # The helper leaves the index of a delta in the call.
            own = {"parsed", "parsed_arguments"} | ({"index"} if "function" in value else set())
            return {name: of(item) for name, item in value.items() if item is not None and name not in own}
        return [of(item) for item in value] if isinstance(value, list) else value

    return of(completion.model_dump(warnings=False))


HOSTILE = ("choices", "delta", "usage", "error", "_fields_set", "self", "cls", "_BaseModel__cls")


@pytest.mark.parametrize("name", HOSTILE)
@given(value=anything)
@settings(max_examples=requirements.scaled(30), deadline=None)
def test_hostile_fields_raise_nothing_but_the_family(name: str, value: Any) -> None:
    """A stream with any value in any field ends with a completion or with an error of the family."""
    stream = sse({**ENVELOPE, name: value}, {**ENVELOPE, "choices": [{name: value}]}, chunk({name: value}))

    assert outcome([stream], typed=True)
