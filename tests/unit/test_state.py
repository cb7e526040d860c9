"""The state of a stream by itself: deadlines, deliveries, restarts and ends, on a clock that the test moves."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
import pytest
from callback_log import CallbackLog
from chunks import DONE, HELLO, event, finish, text

from tensorloop_stream import StreamConnectionError, StreamDecodeError, StreamTruncatedError
from tensorloop_stream._chat.dialect import CHAT
from tensorloop_stream._sse import EventSplitter
from tensorloop_stream._stream.settings import StreamSettings
from tensorloop_stream._stream.state import GRACE_SECONDS, StreamState

ROLE, HEL, LO, STOP = map(event, HELLO)
CUT = StreamConnectionError("cut", partial=None)
CREATE = "https://gateway.test/v1/chat/completions"


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def new_state(log: CallbackLog | None = None, **settings: Any) -> tuple[StreamState, Clock]:
    clock = Clock()
    callbacks = None if log is None else log.callbacks
    return StreamState(CHAT, callbacks, StreamSettings(**settings), clock=clock), clock


def feed(state: StreamState, *reads: bytes) -> list[Any]:
    """Feed reads as a stream does, make the calls of each item, and return the items."""
    items = []
    for read in reads:
        item = state.feed_one(read, "bytes", typed=False)
        while item is not None:
            items.append(item)
            call_all(state.calls(item))
            item = state.next(typed=False)
    return items


def call_all(calls: Any) -> None:
    for function, argument in calls:
        function(argument)


def response(**headers: str) -> httpx2.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(200, headers=names, request=httpx2.Request("POST", CREATE))


# Deadlines


@pytest.mark.parametrize("read", [ROLE, HEL, ROLE + HEL, event(HELLO[0])[:-2] + b"\n: ping\n\n"])
def test_an_item_resets_the_deadline(read: bytes) -> None:
    """The next item has the whole idle timeout, from the moment at which it is waited for."""
    state, clock = new_state(idle_timeout=5.0)
    feed(state, ROLE)
    assert state.wait_until() == 105.0
    clock.now = 103.0
    feed(state, read)
    clock.now = 104.0

    assert state.wait_until() == 109.0


def test_an_item_on_the_fast_path_resets_the_deadline() -> None:
    """A chunk that is like earlier ones counts as any other."""
    state, clock = new_state(idle_timeout=5.0)
    for _ in range(9):
        feed(state, HEL)
        until = state.wait_until()
        clock.now += 1.0

        assert until == clock.now - 1.0 + 5.0


@pytest.mark.parametrize("read", [b": ping\n\n", b"event: ping\ndata: {}\n\n", b"data: null\n\n", b"data", b""])
def test_keep_alives_do_not_reset_the_deadline(read: bytes) -> None:
    """The deadline is the same until an item arrives."""
    state, clock = new_state(idle_timeout=5.0, first_chunk_timeout=3.0)
    first = state.wait_until()
    clock.now = 102.0
    feed(state, read)

    assert first == state.wait_until() == 103.0


def test_the_first_item_has_a_timeout_of_its_own() -> None:
    """`first_chunk_timeout` counts until the first item, and `idle_timeout` after it."""
    state, _ = new_state(first_chunk_timeout=3.0)
    assert state.wait_until() == 103.0
    feed(state, ROLE)
    assert state.wait_until() is None

    state, _ = new_state(idle_timeout=5.0)
    assert state.wait_until() is None
    feed(state, ROLE)
    assert state.wait_until() == 105.0


def test_the_total_timeout_counts_from_the_request() -> None:
    """The earlier of two moments ends the wait, whatever arrives."""
    state, clock = new_state(idle_timeout=5.0, total_timeout=7.0)
    assert state.wait_until() == 107.0
    feed(state, ROLE)
    assert state.wait_until() == 105.0
    clock.now = 104.0
    feed(state, HEL)

    assert state.wait_until() == 107.0


@pytest.mark.parametrize(
    ("reads", "now", "expected"),
    [
        ([], 103.0, r"no first chunk within 3 s \(first_chunk_timeout\)"),
        ([ROLE], 105.0, r"no chunk for 5 s \(idle_timeout\), after 1 chunk and 0 characters"),
        ([ROLE, HEL], 106.9, r"no chunk for 5 s \(idle_timeout\), after 2 chunks and 3 characters"),
        ([ROLE, event(text("!"))], 107.0, r"within 7 s \(total_timeout\), after 2 chunks and 1 character of"),
    ],
)
def test_a_timeout_says_which_and_what_had_arrived(reads: list[bytes], now: float, expected: str) -> None:
    """The total timeout is named from its moment on."""
    state, clock = new_state(first_chunk_timeout=3.0, idle_timeout=5.0, total_timeout=7.0)
    feed(state, *reads)
    clock.now = now

    with pytest.raises(openai.APITimeoutError, match=expected):
        raise state.timed_out()


def test_heartbeats_alone_end_a_whole_stream_after_the_grace() -> None:
    """After the finish reason, more than the grace without an item is the end; before it, it is none."""
    for reads, ends in (([ROLE, STOP], True), ([ROLE, HEL], False)):
        state, clock = new_state()
        feed(state, *reads)
        clock.now += GRACE_SECONDS
        feed(state, b": ping\n\n")
        assert not state.done
        clock.now += 1.0
        feed(state, b": ping\n\n")
        assert state.done is ends
    assert GRACE_SECONDS == 5.0


# Deliveries and restarts


def test_only_a_call_counts_as_delivered() -> None:
    """An item that triggers no callback reached nobody; after one that did, nothing may be repeated."""
    state, _ = new_state(CallbackLog("on_text"), restarts=2)
    feed(state, ROLE)
    assert not state.delivered
    feed(state, HEL)
    assert state.delivered
    feed(state, STOP)

    assert state.delivered
    assert state.restart_delay(CUT) is None


def test_a_stream_restarts_as_often_as_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each restart waits for the back-off of its number."""
    monkeypatch.setattr("tensorloop_stream._stream.state.backoff", lambda number, jitter: 10.0 * number)
    state, _ = new_state(restarts=2)

    assert [state.restart_delay(CUT) for _ in range(3)] == [10.0, 20.0, None]
    assert state.restarted == 2


@pytest.mark.parametrize(("total", "delay"), [(10.1, 10.0), (10.0, None), (9.0, None)])
def test_no_restart_begins_after_the_total_timeout(
    monkeypatch: pytest.MonkeyPatch, total: float, delay: float | None
) -> None:
    """A back-off that ends at the last moment, or later, is not waited for."""
    monkeypatch.setattr("tensorloop_stream._stream.state.backoff", lambda number, jitter: 10.0 * number)
    state, _ = new_state(restarts=1, total_timeout=total)

    assert state.restart_delay(CUT) == delay


def test_a_reset_forgets_what_had_arrived() -> None:
    """The items, half an event and the deadline are those of the new request; the timing runs on."""
    state, clock = new_state(first_chunk_timeout=3.0, idle_timeout=5.0)
    feed(state, ROLE, HEL[:-4])
    state.wait_until()
    clock.now = 102.0
    state.reset()

    assert not state.has_started
    assert (state.count, state.accumulation.text) == (0, "")
    assert state.wait_until() == 105.0
    assert len(feed(state, ROLE, LO)) == 2
    assert state.accumulation.text == "lo"
    assert state.timing.duration == 2.0


# The ends


@pytest.mark.parametrize("last", ["finished", "abandoned", "failed_with"])
@pytest.mark.parametrize("first", ["finished", "abandoned", "failed_with"])
def test_a_stream_ends_once(first: str, last: str) -> None:
    """No second end triggers a terminal callback."""
    log = CallbackLog()
    state, _ = new_state(log)
    feed(state, ROLE, HEL)
    arguments = {"finished": [], "abandoned": [], "failed_with": [CUT]}
    call_all(getattr(state, first)(*arguments[first]))
    assert state.ended

    call_all(getattr(state, last)(*arguments[last]))

    assert log.terminal == [{"finished": "on_finish", "abandoned": "on_abort", "failed_with": "on_error"}[first]]


@pytest.mark.parametrize(("reads", "terminal"), [([ROLE, HEL], "on_abort"), ([ROLE, STOP], "on_finish")])
def test_a_stream_that_is_left_is_finished_if_it_is_whole(reads: list[bytes], terminal: str) -> None:
    """After the finish reason the answer is complete, although its stream is not."""
    log = CallbackLog()
    state, _ = new_state(log)
    feed(state, *reads)
    call_all(state.abandoned())

    assert log.terminal == [terminal]
    state.interrupted()
    assert (state.error is None) is (terminal == "on_finish")


def test_the_end_without_a_finish_reason_is_a_cut() -> None:
    """The error says how much arrived, and how much of an event was dropped."""
    state, _ = new_state()
    feed(state, ROLE, HEL, b"data: {")

    with pytest.raises(StreamTruncatedError, match="an unfinished event of 7 bytes was dropped") as raised:
        state.receive_end()
    assert raised.value.text == "Hel"
    assert not state.done


def test_the_end_may_lack_what_nobody_requires() -> None:
    """Without `require_finish` a stream ends where its bytes do, and `[DONE]` may come first."""
    state, _ = new_state(require_finish=False)
    feed(state, ROLE, HEL)
    state.receive_end()
    assert state.done

    state, _ = new_state(require_finish=False)
    feed(state, DONE)
    assert state.done


def test_done_without_a_result_is_a_cut() -> None:
    """A stream that says no more than `[DONE]` brought no answer."""
    state, _ = new_state()

    with pytest.raises(StreamTruncatedError):
        feed(state, DONE)


def test_nothing_is_read_after_done() -> None:
    """An event after `[DONE]` in the same read is no item, and `[DONE]` stops the clock of the timing."""
    state, clock = new_state()
    clock.now = 101.0
    items = feed(state, ROLE, HEL)
    clock.now = 103.0
    items += feed(state, STOP + DONE + LO)
    clock.now = 109.0
    state.finished()

    assert len(items) == 3
    assert state.done
    assert state.accumulation.text == "Hel"
    assert state.timing.duration == 3.0
    assert state.timing.time_to_first_token == 1.0


# What is known of the request


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x_request_id": "1", "x_litellm_call_id": "2"}, "1"),
        ({"x_litellm_call_id": "2"}, "2"),
        ({}, None),
    ],
)
def test_the_id_of_the_request_is_that_of_the_gateway(headers: dict[str, str], expected: str | None) -> None:
    """`x-request-id` comes first; without a response there is none."""
    state, _ = new_state()
    assert state.request_id is None
    state.response = response(**headers)

    assert state.request_id == expected


@pytest.mark.parametrize(
    ("kind", "is_named"), [("text/html; charset=utf-8", True), ("text/event-stream", False), ("", False)]
)
def test_a_cut_names_the_type_of_what_is_no_event_stream(kind: str, is_named: bool) -> None:
    """A page in place of events is told by its type."""
    state, _ = new_state()
    state.response = response(content_type=kind) if kind else response()

    with pytest.raises(StreamTruncatedError) as raised:
        state.receive_end()
    assert ("it is text/html and no event stream" in str(raised.value)) is is_named


def test_a_stream_has_started_with_its_first_byte() -> None:
    """Half an event is a start: a source that was begun is not handed over."""
    state, _ = new_state()
    assert not state.has_started
    feed(state, b"data: ")
    assert state.has_started

    state, _ = new_state()
    state.receive(finish(), "items")
    assert state.has_started


def test_the_end_raises_the_error_that_the_last_read_put_off() -> None:
    """The events before an oversized one are read first; then the end of the source is no end of the answer."""
    state = StreamState(CHAT, None, StreamSettings(), new_splitter=lambda: EventSplitter(64))
    feed(state, b": ping\n\n: " + b"x" * 100)

    with pytest.raises(StreamDecodeError, match="too many bytes in one event"):
        state.receive_end()


def test_a_failed_continuation_ends_with_the_break_that_it_was_for() -> None:
    """The error of the new request is the cause; once an item has arrived, a later error stands for itself."""
    state, _ = new_state()
    cut, refused = StreamConnectionError("cut", partial=None), ConnectionError("refused")
    state.broken = cut

    assert state.final_error(refused) is cut
    assert cut.__cause__ is refused
    feed(state, ROLE)
    assert state.final_error(refused) is refused
