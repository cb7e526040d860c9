"""The checker of histories: it refuses each kind of bad history that was made by hand, and accepts good ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from stream_history import Answer, Connection, Event, Failure, History, faults_of

DATA = [b'data: {"n": 1}', b'data: {"n": 2}', b'data: {"n": 3}', b"data: [DONE]"]
ERROR = b'data: {"error": {}}'


def event(number: int, data: bytes | None = None, stream: int = 7) -> Event:
    return Event(f"{stream}-{number + 1}", DATA[number - 1] if data is None else data)


def connection(*items: Any, after: str | None = None, **fields: Any) -> Connection:
    return Connection(after, 200, tuple(event(each) if isinstance(each, int) else each for each in items), **fields)


def faults(*connections: Connection, ending: str = "done", **fields: Any) -> list[str]:
    answers: Sequence[Answer] = fields.pop("answers", [Answer(tuple(DATA), ending)])
    return faults_of(History(answers, {"reader": connections, **fields.pop("others_read", {})}, **fields))


STOPPED, UNAVAILABLE = Failure("producer_stopped"), Failure("stream_unavailable")
WHOLE = connection(1, 2, 3, 4)


@pytest.mark.parametrize(
    "connections",
    [
        [WHOLE],
        [connection(1, 2, ended=False), connection(3, 4, after="7-3")],
        [connection(1, UNAVAILABLE), connection(2, 3, 4, after="7-2")],
        [connection(1, 2, STOPPED)],
        [connection(1, 2, 3, 4, ended=False), Connection("7-5", 204)],
        [Connection(None, 502, error="producer_stopped")],
        [connection(3, 4, after="7-3")],
    ],
    ids=["whole", "resumed", "resumed after an error", "stopped", "204 at the end", "502", "resumed from before"],
)
def test_a_good_history_is_accepted(connections: list[Connection]) -> None:
    """A reader may leave and resume, and ends with the end or with one error."""
    assert faults(*connections) == []


@pytest.mark.parametrize(
    ("connections", "fault"),
    [
        ([connection(1, 2, 4)], "a gap: event 7-5 follows 3"),
        ([connection(2, 3, 4)], "a gap: event 7-3 follows 1"),
        ([connection(1, 2, 2, 3, 4)], "event 7-3 is repeated, or out of order"),
        ([connection(1, 2, ended=False), connection(2, 3, 4, after="7-3")], "event 7-3 is repeated, or out of order"),
        ([connection(1, 3, 2, 4)], "a gap: event 7-4 follows 2"),
        ([connection(1, event(2, DATA[2]), event(3, DATA[1]), 4)], "event 7-3 is not what the gateway sent there"),
        ([connection(1, event(2, stream=8), 3, 4)], "event 8-3 is of another stream than 7"),
        ([connection(1, STOPPED, 2)], "follows an error in the same connection"),
        ([connection(1, STOPPED, STOPPED)], "follows an error in the same connection"),
        ([connection(1, 2, 3)], "it ended in silence (status 200) after event 4"),
        ([connection()], "it ended in silence (status 200) after event 1"),
        ([connection(1, ended=False), Connection("7-2", 204)], "it ended in silence (status 204) after event 2"),
        ([connection(1, 2, 3, 4, event(5, b"data: {}"))], "event 7-6 is not what the gateway sent there"),
        ([connection(1, 2, ended=False)], "it never ended"),
        ([], "it never ended"),
        ([connection(1, Failure("ValueError()"))], "it ended with ValueError(), which is no documented error"),
        ([connection(1, Failure("stream_gone"))], "it ended with stream_gone, and nothing was lost"),
        ([Connection(None, 404, error="invalid_request_error")], "it was refused with 404"),
        ([connection(1, ended=False), Connection("7-2", 502, error="producer_stopped")], "is the complete answer"),
    ],
)
def test_a_bad_history_is_refused(connections: list[Connection], fault: str) -> None:
    """The fault names the event, or how the reader ended."""
    assert any(fault in each for each in faults(*connections))


def test_readers_agree_on_the_end() -> None:
    """A stream that ended for one reader has the same end for another one, and so has a cancelled stream."""
    stopped, early = connection(1, 2, STOPPED), connection(1, STOPPED)

    assert any("do not agree" in each for each in faults(WHOLE, others_read={"other": [stopped]}))
    assert any("do not agree" in each for each in faults(stopped, others_read={"other": [early]}))
    assert any("do not agree" in each for each in faults(WHOLE, is_cancelled=True))
    assert faults(stopped, others_read={"other": [stopped]}) == []


def test_an_answer_that_was_cut_ends_with_its_error_event() -> None:
    """The error event of the forwarder has an id, and without it the end is silent."""
    cut = connection(1, 2, 3, 4, event(5, ERROR))

    assert faults(cut, ending="cut") == []
    assert any("in silence" in each for each in faults(WHOLE, ending="cut"))
    assert faults(cut) != []


def test_an_answer_that_is_not_complete_has_no_end() -> None:
    """A producer that was ended has sent no end, whatever of its answer was read."""
    assert any("in silence" in each for each in faults(WHOLE, ending="running"))


def test_the_gateway_is_asked_once() -> None:
    """A second answer is a fault, unless Redis lost the first."""
    answers = [Answer(tuple(DATA)), Answer(tuple(DATA))]

    assert faults(WHOLE, answers=answers) == ["the gateway was asked 2 times"]
    assert faults(WHOLE, answers=answers, may_lose=True) == []


def test_an_error_is_a_fault_where_nothing_happened() -> None:
    """A reset connection and a short pause must end no answer."""
    stopped = connection(1, 2, STOPPED)

    assert any("nothing happened" in each for each in faults(stopped, must_finish=True))
    assert faults(connection(1, UNAVAILABLE), connection(2, 3, 4, after="7-2"), must_finish=True) == []


def test_what_was_seen_beside_the_readers_is_a_fault() -> None:
    """A task that is left, or a cancel that reached nobody, is told by the caller."""
    assert faults(WHOLE, others=["a task is left"]) == ["a task is left"]
