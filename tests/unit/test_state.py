"""The state of a stream by itself: deadlines, deliveries, restarts and ends, on a clock that the test moves."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
import pytest
from callback_log import CallbackLog
from chunks import DONE, HELLO, chunk, event, finish, text, tool, usage
from openai.types.chat import ChatCompletionChunk

from tensorloop_stream import StreamConnectionError, StreamDecodeError, StreamProviderError, StreamTruncatedError
from tensorloop_stream._chat.dialect import CHAT
from tensorloop_stream._responses.dialect import RESPONSES
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


@pytest.mark.parametrize(
    "beat",
    [
        chunk({}),
        chunk({"content": ""}),
        chunk({"role": "assistant", "content": "", "tool_calls": None}),
        chunk({}, finish="stop"),
        chunk({}, finish="null"),
        {"choices": []},
        {"choices": None},
        {"type": "ping"},
        {},
        usage(),
    ],
)
@pytest.mark.parametrize("kind", ["bytes", "read at once", "items"])
def test_items_that_say_nothing_end_a_whole_stream_after_the_grace(beat: Any, kind: str) -> None:
    """The grace runs from the last item that changed the answer, and each item still resets the idle timeout."""
    state, clock = new_state(idle_timeout=3.0)
    feed(state, ROLE, HEL, STOP, event(usage()))
    ended = []
    for _ in range(6):
        clock.now += 1.0
        if kind == "items":
            state.receive(beat, "items")
            state.next(typed=False)
        elif kind == "bytes":
            state.feed_one(event(beat), "bytes", typed=False)
        else:
            feed(state, event(beat))
        ended.append(state.done)
        assert state.wait_until() == clock.now + 3.0

    assert ended == [False] * 5 + [True]
    assert state.timing.duration == 0.0


@pytest.mark.parametrize(
    "late",
    [text("lo"), chunk({"reasoning": "Hm"}), tool({"index": 0, "function": {"name": "f"}}), chunk({}, finish="length"),
     usage(10)],
)  # fmt: skip
def test_an_item_that_says_anything_begins_the_grace_anew(late: Any) -> None:
    """Also behind items that said nothing."""
    state, clock = new_state()
    feed(state, STOP, event(usage()))
    for read in (b"data: {}\n\n", event(late), b"data: {}\n\n"):
        clock.now += 3.0
        feed(state, read)
        assert not state.done
    clock.now += 3.0
    feed(state, b": ping\n\n")

    assert state.done


def test_a_finish_reason_beside_text_begins_no_grace() -> None:
    """Some gateways say stop where the reasoning ends; the text that follows must not be lost."""
    for first in (chunk({"reasoning_content": "Hm"}, finish="stop"), text("Hm", finish="stop")):
        state, clock = new_state()
        feed(state, event(first))
        for read in (b": ping\n\n", b"data: {}\n\n"):
            clock.now += 6.0
            feed(state, read)
            assert not state.done
        feed(state, event(text("Hello")), STOP)
        clock.now += 6.0
        feed(state, b": ping\n\n")

        assert state.done
        assert state.accumulation.text.endswith("Hello")


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
    assert ("no event stream" in str(raised.value)) is is_named


def test_a_stream_has_started_with_its_first_byte() -> None:
    """Half an event is a start: a source that was begun is not handed over."""
    state, _ = new_state()
    assert not state.has_started
    feed(state, b"data: ")
    assert state.has_started
    feed(state, ROLE[6:])
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


# Reads of each kind


def responses_state(*reads: bytes, typed: bool = False) -> tuple[StreamState, list[Any]]:
    state = StreamState(RESPONSES, None, StreamSettings())
    return state, [item for item in (state.feed_one(read, "bytes", typed=typed) for read in reads) if item is not None]


def test_items_on_the_fast_path_count_as_any_other() -> None:
    """They arrive one by one or several in a read, and each has its moment."""
    state, clock = new_state(idle_timeout=5.0)
    for _ in range(9):
        feed(state, HEL)
        clock.now += 1.0
    assert state._fast_path.hits
    before = state._fast_path.hits
    state.wait_until()
    clock.now += 1.0
    feed(state, HEL + HEL)

    assert state._fast_path.hits == before + 2
    assert state.count == 11
    assert state.timing.chunk_times == (*map(float, range(9)), 10.0, 10.0)
    assert state.wait_until() == clock.now + 5.0


def test_a_chunk_of_another_form_ends_the_fast_path() -> None:
    """The next chunk may look like the earlier ones, and belong to another kind of content."""
    state, _ = new_state()
    feed(state, *[HEL] * 9, event(chunk({"content": [{"type": "text", "text": "lo"}]})), HEL)

    assert state._fast_path.hits
    assert state.accumulation.text == "Hel" * 9 + "loHel"


@pytest.mark.parametrize("read", [HEL, HEL + HEL, b": ping\n" + HEL])
def test_on_chunk_is_given_the_sdks_type(read: bytes) -> None:
    """Also where the caller reads text alone."""
    log = CallbackLog("on_chunk")
    state, _ = new_state(log)
    feed(state, read, *[HEL] * 9)

    assert {type(item) for item in log.arguments("on_chunk")} == {ChatCompletionChunk}


def test_items_of_a_source_are_as_they_came_or_typed() -> None:
    """A source may yield mappings or the SDK's chunks, whatever the caller reads."""
    state, clock = new_state(idle_timeout=5.0)
    for number, typed in enumerate((False, True), start=1):
        clock.now += 1.0
        item = state.feed_one(text("a"), "items", typed=typed)
        assert isinstance(item, ChatCompletionChunk) is typed
        assert state.wait_until() == clock.now + 5.0
        assert (state.count, state.accumulation.text) == (number, "a" * number)


def test_a_read_behind_half_a_line_belongs_to_it() -> None:
    """A whole event at the end of a comment is a part of the comment."""
    state, _ = new_state()
    feed(state, HEL, HEL, b": ping ")

    assert feed(state, HEL) == []
    assert len(feed(state, HEL)) == 1


def test_an_event_beyond_the_bound_is_bad_data() -> None:
    """The error has what had arrived, in whatever read the event comes."""
    for reads in ([b"data: " + b"x" * 700, b"x"], [b": ping\n\ndata: " + b"x" * 700 + b"\n\n", b""]):
        state = StreamState(CHAT, None, StreamSettings(), new_splitter=lambda: EventSplitter(600))
        feed(state, HEL)
        with pytest.raises(StreamDecodeError, match="too many bytes in one event") as raised:
            feed(state, *reads)
        assert raised.value.text == "Hel"


def test_a_read_beyond_the_bound_is_no_single_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shortcut for a read of one event looks at the bound too."""
    monkeypatch.setattr("tensorloop_stream._stream.state.MAX_EVENT_SIZE", 600)
    state = StreamState(CHAT, None, StreamSettings(), new_splitter=lambda: EventSplitter(600))
    feed(state, HEL)

    with pytest.raises(StreamDecodeError, match="too many bytes in one event"):
        feed(state, event(text("x" * 600)))


@pytest.mark.parametrize("reads", [[b": ping\n\n"], [b": pi", b"ng\n\n"], [b": ping\n"]])
def test_heartbeats_of_any_form_end_a_whole_stream(reads: list[bytes]) -> None:
    """Its time is that of the last item."""
    state, clock = new_state()
    feed(state, ROLE)
    clock.now += 1.0
    feed(state, STOP)
    clock.now += 9.0
    feed(state, *reads)
    clock.now += 9.0
    state.finished()

    assert state.done
    assert state.timing.duration == 1.0


def test_a_read_of_no_item_does_not_end_a_stream_within_the_grace() -> None:
    """The grace counts from the last item, and without one there is none."""
    state, clock = new_state()
    clock.now += 99.0
    feed(state, b": ping\n\n")
    assert not state.done
    feed(state, STOP)
    feed(state, b": ping\n\n")
    assert not state.done


# Names of events


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("first", [b"", b"id: 12345678\n", b"event: response.in_progress\n", b": x\n", b"retry: 1\n"])
def test_the_name_of_an_event_is_its_type_where_its_data_has_none(first: bytes, typed: bool) -> None:
    """An event without a name and a type has none, whatever its other lines are."""
    data = b'data: {"response":{"id":"resp_1","status":"in_progress"}}\n\n'
    _, items = responses_state(first + data, typed=typed)
    expected = "response.in_progress" if first.startswith(b"event") else None

    assert [(item.to_dict() if typed else item).get("type") for item in items] == [expected]


@pytest.mark.parametrize(
    "name", ["event: response.created", "event:response.created", "event: response.created\nid: 1"]
)
def test_an_event_of_any_form_has_its_name(name: str) -> None:
    """The usual form, which is read without the parser, is one of several."""
    _, items = responses_state(f'{name}\ndata: {{"response": {{"id": "resp_1"}}}}\n\n'.encode())

    assert [item["type"] for item in items] == ["response.created"]


@pytest.mark.parametrize("form", ["event: error\ndata: {}\n\n", "event: error\nid: 1\ndata: {}\n\n"])
def test_an_error_by_name_is_an_event_of_the_dialect_or_an_error(form: str) -> None:
    """The Responses API has such an event, which its caller gets first; without an object it is none."""
    read = form.replace("{}", '{"message": "no", "code": "x"}').encode()
    state = StreamState(RESPONSES, None, StreamSettings())
    with pytest.raises(StreamProviderError, match="no"):
        state.feed_one(read, "bytes", typed=False)
    item = state.take_failed_item()
    assert (item.type, item.message) == ("error", "no")
    assert state.take_failed_item() is None

    for dialect, bad in ((CHAT, read), (RESPONSES, form.replace("{}", "no").encode())):
        other = StreamState(dialect, None, StreamSettings())
        with pytest.raises(StreamProviderError, match="no"):
            other.feed_one(bad, "bytes", typed=False)
        assert (other.count, other.take_failed_item()) == (0, None)


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES])
@pytest.mark.parametrize(
    "read", [event({"error": {"message": "no"}}), event({"type": "error", "error": {"message": "no"}})]
)
def test_an_event_with_a_field_of_an_error_is_raised_at_once(dialect: Any, read: bytes) -> None:
    """The SDK raises it too, so nobody gets it as an item."""
    state = StreamState(dialect, None, StreamSettings())

    with pytest.raises(StreamProviderError, match=r"^no \(in the stream, after [01]"):
        state.feed_one(read, "bytes", typed=False)
    assert state.take_failed_item() is None
    assert state.count == (dialect is RESPONSES and b"type" in read)


def test_an_error_by_name_needs_no_words_of_an_error() -> None:
    """The name of the event says it."""
    state, _ = new_state()

    with pytest.raises(StreamProviderError, match="after 0 chunks"):
        feed(state, b'event: error\ndata: {"note": 1}\n\n')


@pytest.mark.parametrize("last", [b"", b"\n\n"])
def test_an_answer_in_place_of_events_is_read_whole(last: bytes) -> None:
    """A gateway that does not stream sends JSON, which has no name."""
    answer = b'{"object": "response", "id": "resp_1", "status": "completed", "output": []}'
    state, items = responses_state(answer + last)
    if not last:
        state.receive_end()
        items.append(state.next(typed=False))

    assert [item["type"] for item in items] == ["response.completed"]


@pytest.mark.parametrize("read", [b"event: ping\ndata: {}\n\n", b"event: ping\nid: 1\ndata: {}\n\n"])
def test_a_ping_is_an_item_of_no_chat(read: bytes) -> None:
    """The Responses API may have an event of that name, which counts as no item's arrival."""
    state, _ = new_state()
    other, items = responses_state(read)

    assert (feed(state, read), state.count) == ([], 0)
    assert (items, other.count) == ([{"type": "ping"}], 0)


def test_a_field_that_nobody_knows_is_no_item() -> None:
    """Its name may end with that of another, and JSON without a field has no name."""
    state, _ = new_state()
    _, items = responses_state(b'{"note": 1}\n\n')

    assert feed(state, b"?" + HEL) == []
    assert items == [{"note": 1}]


def test_the_last_event_of_a_response_ends_its_stream() -> None:
    """The clock of the timing stops there."""
    clock = Clock()
    state = StreamState(RESPONSES, None, StreamSettings(), clock=clock)
    clock.now += 3.0
    state.feed_one(event({"type": "response.completed", "response": {"id": "resp_1"}}), "bytes", typed=False)
    clock.now += 9.0
    state.finished()

    assert state.done
    assert state.timing.duration == 3.0


@pytest.mark.parametrize(
    "read", [b'error: {"message": "no"}\n\n', b'\nerror: {"message": "no"}\n\n', b"error: no\n\n"]
)  # fmt: skip
def test_a_field_of_an_error_is_an_error(read: bytes) -> None:
    """An old llama.cpp has such a field."""
    state, _ = new_state()
    feed(state, b": ping\n\n")

    with pytest.raises(StreamProviderError, match=r"^no \(in the stream, after 0 chunks"):
        feed(state, read)


# Errors


def test_an_error_of_a_read_is_the_callers_own_or_the_sdks() -> None:
    """An exception of a foreign source passes unchanged, and a timeout is one of ours."""
    state, _ = new_state(idle_timeout=5.0)
    feed(state, ROLE)
    mine, theirs = ValueError("mine"), openai.APIConnectionError(request=httpx2.Request("POST", CREATE))

    assert state.failed(mine, "items") is mine
    assert type(state.failed(mine, "bytes")) is StreamDecodeError
    assert type(state.failed(theirs, "items")) is StreamConnectionError
    assert "idle_timeout" in str(state.failed(mine, "items", timed_out=True))


def test_an_error_carries_the_request_and_its_id() -> None:
    """Also after a restart, and a response that was made by hand has none."""
    state, _ = new_state()
    state.response = response(x_request_id="1")
    error: Any = state.unfinished()
    assert (str(error.request.url), error.request_id) == (CREATE, "1")
    assert state.accumulation.request is state.response.request
    state.reset()
    assert state.accumulation.request is state.response.request
    state.response = httpx2.Response(200)
    assert state.accumulation.request is None


def test_the_texts_of_errors_count_what_had_arrived() -> None:
    """One of each is no plural."""
    state, _ = new_state()
    feed(state, event(text("a")))

    assert state.unfinished().message == (
        "the stream was closed early, after 1 chunk and 1 character of text; the partial answer is in .completion"
    )
    assert (
        state.without("a choice").message == "the stream ended after 1 chunk and 1 character of text without a choice"
    )
    with pytest.raises(StreamTruncatedError) as raised:
        state.receive_end()
    assert raised.value.message == (
        "stream ended after 1 chunk and 1 character of text with no finish_reason and no [DONE]"
    )


@pytest.mark.parametrize(
    ("dialect", "expected"), [(CHAT, "not a chunk after 0 chunks"), (RESPONSES, "not an event after 0 events")]
)
def test_bad_data_is_named_by_what_it_is_not(dialect: Any, expected: str) -> None:
    """No key of the request is repeated."""
    state = StreamState(dialect, None, StreamSettings())
    request = httpx2.Request("POST", CREATE, headers={"authorization": "Bearer sk-verysecretkey12345"})
    state.response = httpx2.Response(200, request=request)

    cause = ValueError("it has sk-verysecretkey12345")
    error = state._bad_item(cause)

    assert str(error).startswith(expected)
    assert "verysecret" not in f"{error} {cause}"


# Restarts and continuations


def test_only_some_errors_restart() -> None:
    """Those of the caller's own code do not, and each allowance is counted."""
    state, _ = new_state(restarts=1)

    assert state.restart_delay(ValueError("mine")) is None
    assert state.restarted == 0
    assert state.restart_delay(CUT) is not None


ANSWER = "The answer to all of this is long. "
BODY = {"messages": [{"role": "user", "content": "?"}]}


def continued(*, idle_timeout: float | None = None, first: bool = True) -> tuple[StreamState, Clock]:
    state, clock = new_state(idle_timeout=idle_timeout, first_chunk_timeout=3.0, continue_broken=2)
    if first:
        feed(state, ROLE, event(text(ANSWER)))
        clock.now += 1.0
        state.begin_continuation()
    return state, clock


@pytest.mark.parametrize("kind", ["bytes", "items"])
@pytest.mark.parametrize(
    "pieces", [["And more."], [ANSWER, "And more."], [ANSWER[:9], ANSWER[9:] + "And more."], [" ", "And more."]]
)
def test_a_continuation_goes_on_without_what_it_repeats(kind: Any, pieces: list[str]) -> None:
    """Its first events wait until that is known, and none of them is lost."""
    state, _ = continued()
    items = []
    for one in pieces:
        item = state.feed_one(event(text(one)) if kind == "bytes" else text(one), kind, typed=False)
        while item is not None:
            items.append(item)
            item = state.next(typed=False)
    if kind == "bytes":
        items += feed(state, STOP + DONE)

    assert state.accumulation.text.split() == (ANSWER + "And more.").split()
    assert len(items) == len(pieces) + (kind == "bytes")
    assert state.done is (kind == "bytes")


def test_items_that_wait_behind_a_held_one_are_read() -> None:
    """A source may have several at once."""
    state, _ = continued()
    for one in (ANSWER[:9], ANSWER[9:], "And more."):
        state.receive(text(one), "items")

    assert [state.next(typed=False) is not None for _ in range(4)] == [True, True, True, False]
    assert state.accumulation.text == ANSWER + "And more."


@pytest.mark.parametrize("end", [DONE, None])
def test_a_continuation_that_ends_early_gives_what_it_held(end: bytes | None) -> None:
    """Its stream may say no more than a part of the repeat, and an error is not held back."""
    state, _ = continued()
    assert feed(state, event(text("The answer", finish="stop"))) == []
    if end:
        items = feed(state, end)
    else:
        state.receive_end()
        assert not state.done
        items = [state.next(typed=False)]
        state.receive_end()

    assert len(items) == 1
    assert state.done
    assert state.accumulation.text == ANSWER + "The answer"


def test_an_error_in_a_continuation_is_raised_at_once() -> None:
    """Nothing waits for what may repeat."""
    state, _ = continued()
    assert feed(state, event(text("The answer"))) == []

    with pytest.raises(StreamProviderError, match="no"):
        feed(state, event({"error": {"message": "no"}}))


def test_the_deadline_of_a_continuation_is_that_of_a_stream() -> None:
    """The first item has its own timeout, one that is held resets it."""
    state, clock = continued(idle_timeout=5.0, first=False)
    feed(state, ROLE, event(text(ANSWER)))
    state.wait_until()
    clock.now += 1.0
    state.begin_continuation()
    assert state.wait_until() == clock.now + 3.0
    clock.now += 2.0
    feed(state, event(text("The answer")))
    assert state.wait_until() == clock.now + 5.0
    clock.now += 1.0
    feed(state, event(text(" is no longer the same.")))
    assert state.wait_until() == clock.now + 5.0


def test_an_answer_is_continued_as_often_as_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request waits for the back-off of its number, and says what had arrived."""
    monkeypatch.setattr("tensorloop_stream._stream.state.backoff", lambda number, jitter: 10.0 * number)
    state, _ = continued()
    assert state.continue_delay(ValueError("mine"), BODY) is None
    assert state.continue_delay(CUT, None) is None
    assert (state.continued, state.broken) == (0, None)
    made = [state.continue_delay(CUT, BODY) for _ in range(3)]

    messages = [*BODY["messages"], {"role": "assistant", "content": ANSWER.rstrip()}]
    assert made == [(10.0, {"messages": messages}), (20.0, {"messages": messages}), None]
    assert (state.continued, state.broken) == (2, CUT)


@pytest.mark.parametrize(("total", "continues"), [(10.1, True), (10.0, False), (9.0, False)])
def test_no_continuation_begins_after_the_total_timeout(
    monkeypatch: pytest.MonkeyPatch, total: float, continues: bool
) -> None:
    """The back-off must end before the last moment."""
    monkeypatch.setattr("tensorloop_stream._stream.state.backoff", lambda number, jitter: 10.0 * number)
    state, _ = new_state(continue_broken=1, total_timeout=total)
    feed(state, ROLE, HEL)

    assert (state.continue_delay(CUT, BODY) is not None) is continues
    assert (state.broken is CUT) is continues


def test_a_continuation_is_a_new_stream_of_the_same_answer() -> None:
    """Half an event of the old one is forgotten, and the usage is added up."""
    state, _ = continued(first=False)
    feed(state, ROLE, event(text("Hel")), event(usage(9)), b'data: {"id": ')
    state.receive(text("lost"), "items")
    state.begin_continuation()
    feed(state, event(text("lo", finish="stop")), event(usage(4)), DONE)

    assert state.accumulation.text == "Hello"
    assert state.accumulation.usage is not None
    assert state.accumulation.usage.total_tokens == 13
    assert state.count == 5


def test_the_error_of_a_failed_continuation_is_that_of_the_stream_if_it_is_one() -> None:
    """An answer that has gone on is broken by the second error, and so is one by a `StreamError`."""
    state, _ = continued()
    refused = ConnectionError("refused")
    assert state.final_error(refused) is refused
    state.broken = StreamConnectionError("first", partial=None)

    assert state.final_error(CUT) is CUT
    assert state.final_error(refused) is state.broken
    feed(state, event(text("!")))
    assert state.final_error(refused) is refused


# Settings and callbacks


def test_settings_and_callbacks_can_be_replaced() -> None:
    """The settings count from now on, and `None` leaves the callbacks that are there."""
    first, second = CallbackLog(), CallbackLog("on_text")
    state, _ = new_state(first)
    assert (state.has_timeout, state.has_item_callbacks) == (False, True)
    state.configure(second.callbacks, StreamSettings(idle_timeout=5.0, first_chunk_timeout=3.0, total_timeout=9.0))
    feed(state, HEL)
    assert (state.has_timeout, state.wait_until()) == (True, 105.0)
    state.configure(None, StreamSettings())
    feed(state, LO)

    assert (state.has_timeout, state.wait_until()) == (False, None)
    assert (first.names, second.arguments("on_text")) == ([], ["Hel", "lo"])


def test_callbacks_of_a_wrong_kind_are_refused() -> None:
    """A function is none."""
    with pytest.raises(TypeError):
        StreamState(CHAT, print, StreamSettings())  # type: ignore[arg-type]


def test_the_last_calls_have_the_calls_that_wait_for_the_end() -> None:
    """Tool calls, those that must not be run, and the usage come before the terminal call."""
    pieces = [{"index": number, "id": str(number), "function": {"name": "f", "arguments": text}} for number, text in
              enumerate(('{"a":1}', "{"))]  # fmt: skip
    for end, names in (
        ("finished", ["on_tool_call", "on_unusable_tool_call", "on_usage", "on_finish"]),
        ("abandoned", ["on_unusable_tool_call", "on_usage", "on_finish"]),
    ):
        log = CallbackLog("on_tool_call", "on_unusable_tool_call", "on_usage", "on_finish", "on_abort")
        state, _ = new_state(log)
        for read in (event(tool(*pieces)), event(usage()), DONE):
            state.feed_one(read, "bytes", typed=False)
        call_all(getattr(state, end)())
        assert log.names == names


def test_a_stream_that_broke_keeps_its_error() -> None:
    """A second one changes nothing, and the clock stands still from the end on."""
    state, clock = new_state()
    clock.now = 103.0
    call_all(state.failed_with(CUT))
    clock.now = 109.0
    call_all(state.failed_with(StreamConnectionError("second", partial=None)))

    assert state.error is CUT
    assert state.timing.duration == 3.0
    assert state.timing.time_to_first_token is None


def test_the_first_token_has_its_time() -> None:
    """A later one does not change it."""
    state, clock = new_state()
    for read in (ROLE, HEL, LO):
        clock.now += 1.0
        feed(state, read)

    assert state.timing.time_to_first_token == 2.0
    assert state.timing.time_to_first_chunk == 1.0
