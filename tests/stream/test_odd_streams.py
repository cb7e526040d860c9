"""Odd but real streams, read in every mode by both clients."""

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
    """Return the same bytes, one per read."""
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
    if mode == "chunks" and not odd.needs_request:
        # The yielded chunks make the same completion and reasoning.
        accumulator = accumulate(*outcome.items)
        assert accumulator.completion == outcome.stream.completion
        assert accumulator.reasoning == odd.reasoning


def test_odd_streams_have_names_and_sources() -> None:
    """Names are unique, every stream says where it was seen, and there are at least a hundred."""
    assert len({odd.name for odd in ODD_STREAMS}) == len(ODD_STREAMS) >= 100
    assert all(odd.seen for odd in ODD_STREAMS)


@both
@pytest.mark.parametrize("odd", quiet)
def test_an_odd_stream_gives_the_expected_result(odd: OddStream, kind: str) -> None:
    """Every mode gives the completion, or the error and the partial completion."""
    for mode in MODES:
        assert_expected(odd, read(kind, odd.reads, mode), mode)


@both
@pytest.mark.parametrize("odd", quiet)
def test_an_odd_stream_gives_the_expected_result_byte_by_byte(odd: OddStream, kind: str) -> None:
    """Reads of one byte change nothing."""
    outcome = read(kind, one_by_one(odd.reads))

    assert_expected(odd, outcome)


@pytest.mark.parametrize("odd", silent)
def test_a_silent_stream_gives_the_expected_result_on_a_socket(odd: OddStream) -> None:
    """Silence before `[DONE]` raises a timeout, and silence after it is not waited for."""
    with OddServer([odd]) as server:

        def check(way: tuple[str, Mode]) -> None:
            kind, mode = way
            outcome = sockets.read(kind, server.url(0), CHAT, mode=mode, idle_timeout=odd.idle_timeout)

            assert_expected(odd, outcome, mode)
            assert outcome.stream.timing.duration < 2

        sockets.run_in_threads(check, [(kind, mode) for kind in ("sync", "async") for mode in MODES])


@pytest.mark.parametrize("reason", ["length", "content_filter", "error", "abort"])
def test_on_tool_call_is_not_called_for_a_truncated_answer(reason: str) -> None:
    """Truncated arguments may be valid JSON by chance; OpenRouter sends `error`, SGLang `abort` (houston#1211)."""
    calls: list[Any] = []
    chunks = (tool({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}), finish(reason))

    outcome = read("sync", [sse(*chunks)], callbacks=Callbacks(on_tool_call=calls.append))

    assert outcome.error is None
    assert calls == []
