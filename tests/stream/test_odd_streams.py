from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

import pytest
import sockets
from chunks import accumulate, finish, sse, tool
from clients import CHAT, Mode, Outcome, Part, read
from odd_server import OddServer
from odd_streams import ODD_STREAMS, OddStream

import tensorloop_stream
from tensorloop_stream import Callbacks, StreamError, StreamProviderError

quiet = [pytest.param(odd, id=odd.name) for odd in ODD_STREAMS if not odd.is_silent]
silent = [pytest.param(odd, id=odd.name) for odd in ODD_STREAMS if odd.is_silent]
both = pytest.mark.parametrize("kind", ["sync", "async"])
MODES: tuple[Mode, ...] = get_args(Mode)


def one_by_one(parts: Iterable[Any]) -> list[Part]:
    """Return the same bytes, one a read."""
    return [byte for part in parts for byte in (_bytes(part) if isinstance(part, bytes) else [part])]


def _bytes(part: bytes) -> list[bytes]:
    return [part[at : at + 1] for at in range(len(part))]


def assert_expected(odd: OddStream, outcome: Outcome, mode: Mode = "chunks") -> None:
    if odd.error:
        error = outcome.error
        assert type(error) is getattr(tensorloop_stream, odd.error), repr(error)
        assert isinstance(error, StreamError)
        assert error.partial == outcome.stream.completion
        if isinstance(error, StreamProviderError):
            assert error.code == odd.code
    else:
        assert outcome.error is None
    # Without warnings: a list of content is more than the SDK's model foresees, streamed or not.
    whole = outcome.stream.completion.to_dict(warnings=False)
    assert {**whole, **odd.expected} == whole
    assert whole.get("usage") == odd.expected.get("usage")
    assert outcome.stream.text == odd.text
    if mode == "text":
        assert "".join(outcome.items) == odd.text
    if mode == "chunks":
        # What was yielded makes the same completion again, with the reasoning.
        accumulator = accumulate(*outcome.items)
        assert accumulator.completion == outcome.stream.completion
        assert accumulator.reasoning == odd.reasoning


def test_the_catalogue_is_one() -> None:
    """Each stream has a name of its own, says where it was seen, and there are plenty of them."""
    assert len({odd.name for odd in ODD_STREAMS}) == len(ODD_STREAMS) >= 100
    assert all(odd.seen for odd in ODD_STREAMS)


@both
@pytest.mark.parametrize("odd", quiet)
def test_an_odd_stream_is_right(odd: OddStream, kind: str) -> None:
    """The completion, or the error and what had arrived before it, in every way of reading."""
    for mode in MODES:
        assert_expected(odd, read(kind, odd.reads, mode), mode)


@both
@pytest.mark.parametrize("odd", quiet)
def test_an_odd_stream_is_right_byte_by_byte(odd: OddStream, kind: str) -> None:
    """Where the reads were cut changes nothing."""
    outcome = read(kind, one_by_one(odd.reads))

    assert_expected(odd, outcome)


@pytest.mark.parametrize("odd", silent)
def test_an_odd_stream_is_right_on_a_connection(odd: OddStream) -> None:
    """Silence ends with a timeout before `[DONE]`, and is not waited for after it."""
    with OddServer([odd]) as server:

        def right(way: tuple[str, Mode]) -> None:
            kind, mode = way
            outcome = sockets.read(kind, server.url(0), CHAT, mode=mode, idle_timeout=odd.idle_timeout)

            assert_expected(odd, outcome, mode)
            assert outcome.stream.timing.duration < 2

        sockets.run_in_threads(right, [(kind, mode) for kind in ("sync", "async") for mode in MODES])


@pytest.mark.parametrize("reason", ["length", "content_filter", "error", "abort"])
def test_a_call_in_an_answer_that_was_cut_is_not_told(reason: str) -> None:
    """Its arguments may be valid JSON by chance; OpenRouter says `error`, SGLang `abort` (houston#1211)."""
    told: list[Any] = []
    chunks = (tool({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}), finish(reason))

    outcome = read("sync", [sse(*chunks)], callbacks=Callbacks(on_tool_call=told.append))

    assert outcome.error is None
    assert told == []
