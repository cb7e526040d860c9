"""Invariants for any bytes, which the hypothesis tests and the fuzzer check."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import clients
import httpx2
from openai.types.chat import ChatCompletion

from tensorloop_stream import Callbacks, SSEDecoder, StreamError
from tensorloop_stream._chat.dialect import CHAT
from tensorloop_stream._stream.settings import StreamSettings
from tensorloop_stream._stream.state import StreamState

# Small, so that a fuzzer reaches it.
SMALL_EVENT = 64
# The maximum number of completions that are read between the chunks of one stream.
MAX_SNAPSHOTS = 4
# Given to errors, which would otherwise build one each.
EMPTY_COMPLETION = ChatCompletion.construct(choices=[])
REQUEST = httpx2.Request("POST", "https://gateway.test/v1/chat/completions")


def split_at(stream: bytes, places: Sequence[int]) -> list[bytes]:
    """Return the stream in reads that end at these places, each taken modulo the length."""
    ends = sorted(place % (len(stream) + 1) for place in places)
    return [stream[start:end] for start, end in zip([0, *ends], [*ends, len(stream)], strict=True)]


def split_events(stream: bytes) -> list[bytes]:
    """Return the stream as gateways send it: one event per read."""
    parts = stream.split(b"\n\n")
    return [part + b"\n\n" for part in parts[:-1]] + parts[-1:]


# Bytes to events


def check_decoder(stream: bytes, places: Sequence[int]) -> None:
    """Check that the decoder raises no error but its own, and that cuts change neither error nor events."""
    for size in (SMALL_EVENT, 1 << 26):
        whole, in_reads = decode([stream], size), decode(split_at(stream, places), size)
        assert whole == in_reads, f"events of up to {size} bytes depend on the cut: {whole} {in_reads}"


def decode(reads: Sequence[bytes], max_event_size: int) -> tuple[list[Any], str]:
    """Return the events and the error of the decoder; exceptions other than its own propagate."""
    decoder = SSEDecoder(max_event_size=max_event_size)
    found: list[Any] = []
    try:
        for read in reads:
            found += decoder.feed(read)
        decoder.finish()
    except StreamError as error:
        return found, type(error).__name__
    return found, ""


# Bytes to a completion


class StateWithoutPartials(StreamState):
    """A state whose errors have no partial completion, because building it takes most of the time."""

    @property
    def _error_context(self) -> dict[str, Any]:
        return {"partial": EMPTY_COMPLETION, "request": REQUEST}


def check_read(stream: bytes, places: Sequence[int], *, typed: bool) -> None:
    """Check that reading raises no error outside the family, and that the deltas make the text."""
    state = StateWithoutPartials(CHAT, None, StreamSettings())
    read_state(split_at(stream, places) if sum(places) % 4 == 0 else split_events(stream), state=state, typed=typed)


def check_state(stream: bytes, places: Sequence[int]) -> None:
    """Check that neither cuts nor reading the completion between chunks changes the result."""
    whole = outcome([stream])

    for reads in (split_at(stream, places), split_events(stream)):
        in_reads = outcome(reads, looks=True)
        assert whole == in_reads, f"depends on the cut: {whole} {in_reads}"


def check_typed(stream: bytes) -> None:
    """Check that building chunk objects changes nothing."""
    untyped = outcome([stream])

    for reads in ([stream], split_events(stream)):
        typed = outcome(reads, typed=True)
        assert untyped == typed, f"depends on the types: {untyped} {typed}"


def outcome(reads: Sequence[bytes], *, typed: bool = False, looks: bool = False) -> Any:
    """Feed the state, and return everything that can be observed; `looks` also reads completions between chunks."""
    read: list[tuple[ChatCompletion, str]] = []

    def look(completion: ChatCompletion) -> None:
        if len(read) < MAX_SNAPSHOTS:
            read.append((completion, dump(completion)))

    state, texts, reasoning, error = read_state(reads, typed=typed, look=look if looks else None)
    completion = state.accumulation.result if error is None else error.partial
    for earlier, then in read:
        assert dump(earlier) == then, "a completion read earlier has changed"
    check_completion(completion)
    return texts, reasoning, dump(completion), state.done, describe_error(error)


def read_state(
    reads: Sequence[bytes],
    *,
    state: StreamState | None = None,
    typed: bool = False,
    look: Callable[[ChatCompletion], None] | None = None,
) -> tuple[StreamState, list[str], list[str], StreamError | None]:
    """Feed the state as the streams do; exceptions other than a `StreamError` propagate."""
    state = state or StreamState(CHAT, None, StreamSettings())
    accumulation = state.accumulation
    texts: list[str] = []
    reasoning: list[str] = []
    error: StreamError | None = None

    try:
        for _ in chunks_of(state, reads, typed=typed):
            texts.append(accumulation.text_delta)
            reasoning.append(accumulation.reasoning_delta)
            if look is not None:
                look(accumulation.result)
    except StreamError as raised:
        error = raised
    # The stream does not deliver a partly valid chunk; the partial completion contains its valid fields.
    assert is_joined(texts, accumulation.text, whole=error is None), f"{texts} are not {accumulation.text!r}"
    assert is_joined(reasoning, accumulation.reasoning, whole=error is None), f"{reasoning}: {accumulation.reasoning!r}"
    return state, texts, reasoning, error


def chunks_of(state: StreamState, reads: Sequence[bytes], *, typed: bool, ends: bool = True) -> Iterator[Any]:
    """Yield the chunks of these reads, calling the state as the streams do."""
    for data in reads:
        if state.done:
            return
        chunk = state.feed_one(data, "bytes", typed)
        while chunk is not None:
            yield chunk
            chunk = state.next(typed)
    while ends and not state.done:
        state.receive_end()
        while (chunk := state.next(typed)) is not None:
            yield chunk


def is_joined(deltas: Sequence[str], text: str, *, whole: bool) -> bool:
    """Tell whether the deltas make the text, of which a final half character may be missing."""
    joined = "".join(deltas)
    if not text.startswith(joined):
        return False
    left = text[len(joined) :]
    return not (whole and left) or (len(left) == 1 and "\ud800" <= left <= "\udbff")


def dump(completion: ChatCompletion) -> str:
    """Return the fields of a completion as text, because NaN is not equal to itself."""
    try:
        return repr(completion.to_dict(warnings=False))
    except ValueError:
        # It is deeper than pydantic's maximum.
        return repr(completion)


def describe_error(error: StreamError | None) -> Any:
    """Return the attributes of an error; reading them raises nothing."""
    if error is None:
        return None
    return type(error).__name__, str(error), error.code, error.type, getattr(error, "status_code", None)


def check_completion(completion: ChatCompletion) -> None:
    """Check that a completion has the documented form, and can be serialized if JSON can represent it."""
    assert completion.object == "chat.completion"
    indices = [choice.index for choice in completion.choices]
    assert indices == sorted(set(indices)), indices
    for choice in completion.choices:
        # The SDK's type is narrower.
        reason: Any = choice.finish_reason
        assert reason is None or (isinstance(reason, str) and reason)
        assert choice.message.role
    try:
        completion.model_dump_json(warnings=False)
    except ValueError:
        assert not can_be_json(completion), "this is JSON, and could not be serialized"


def can_be_json(completion: ChatCompletion) -> bool:
    """Tell whether JSON in UTF-8 can represent a completion: no half characters, and not deeper than pydantic reads."""
    try:
        json.dumps(completion.to_dict(warnings=False), ensure_ascii=False).encode()
    except ValueError:
        return False
    return True


# Bytes through the clients

TERMINAL = ("on_finish", "on_error", "on_abort")


def check_clients(stream: bytes, places: Sequence[int]) -> None:
    """Check that sync and async streams give the same items, callbacks and error, with one terminal callback."""
    reads = split_at(stream, places)
    first, second = read_through("sync", reads), read_through("async", reads)

    assert first == second, f"sync and async differ: {first} {second}"


def read_through(kind: str, reads: list[bytes]) -> Any:
    """Return the items, callbacks and error of a stream, after checks on each."""
    calls, callbacks = recording_callbacks()
    seen = clients.read(kind, reads, callbacks=callbacks)
    error = seen.error
    if error is not None:
        if not isinstance(error, StreamError):
            raise error
        copied = pickle.loads(pickle.dumps(error))
        assert describe_error(copied) == describe_error(error)
    check_completion(seen.stream.completion)
    assert [name for name, _ in calls if name in TERMINAL] == ["on_finish" if error is None else "on_error"]
    assert calls[-1][0] in TERMINAL
    for name in ("text", "reasoning"):
        deltas = [argument for called, argument in calls if called == f"on_{name}"]
        assert all(deltas)
        assert is_joined(deltas, getattr(seen.stream._state.accumulation, name), whole=error is None)
    items = [repr(item) for item in seen.items]
    return (
        items,
        [(name, repr(argument)) for name, argument in calls],
        describe_error(error),
        dump(seen.stream.completion),
    )


def recording_callbacks() -> tuple[list[tuple[str, Any]], Callbacks]:
    """Return a list, and callbacks that append to it."""
    calls: list[tuple[str, Any]] = []

    def noting(name: str) -> Callable[[Any], None]:
        return lambda argument: calls.append((name, argument))

    names = ("text", "reasoning", "refusal", "tool_call", "usage", "finish", "error", "abort")
    return calls, Callbacks(**{f"on_{name}": noting(f"on_{name}") for name in names})
