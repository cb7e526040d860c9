"""The log of a resumable stream as a reader interprets it, without Redis."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

import tensorloop_stream
from tensorloop_stream import SSE_HEADERS, SSEDecoder

FOLDER = Path(tensorloop_stream.__file__).parent / "resumable"

if TYPE_CHECKING:
    from tensorloop_stream.resumable import _log_format
else:
    # Without importing the package, which needs redis-py.
    spec = importlib.util.spec_from_file_location("_log_format", FOLDER / "_log_format.py")
    _log_format = sys.modules["_log_format"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(_log_format)

MS = 1795359264000
EVENTS = [
    b'data: {"n": 1}',
    b": ping",
    b"event: error\ndata: x",
    "data: Größe\nid: 7\nretry: 5".encode(),
    b"data: [DONE]",
]
HEAD = _log_format.Head(200, dict(SSE_HEADERS))


def log(*events: bytes, head: Any = HEAD, end: bytes | None = b"") -> list[Any]:
    """Return the entries of a stream in the form that redis-py returns."""
    found = [(0, b"c", b"process:1")]
    if head is not None:
        found.append((1, b"h", head.encode()))
    found += [(number, b"e", event) for number, event in enumerate(events, 2)]
    if end is not None:
        found.append((_log_format.LAST, b"x", end))
    return [(b"%d-%d" % (MS, number), {kind: value}) for number, kind, value in found]


def sent(cursor: Any, *batches: list[Any]) -> bytes:
    return b"".join(cursor.feed(batch) for batch in batches)


def code_of(error: bytes) -> str:
    return str(json.loads(error)["error"]["code"])


@pytest.mark.parametrize("name", ["a", "0", "-", "_", "A" * 128, "1cb5c3a0-62f0-4b0f-8b0e-2f8f6c1d9e57"])
def test_an_id_has_letters_digits_hyphens_and_underscores(name: str) -> None:
    """An id of up to 128 such characters is accepted."""
    assert _log_format.require_id(name) == name


@pytest.mark.parametrize(
    "name", ["", "A" * 129, "a b", "a:b", "a/b", "..", "a\n", "ä", "\u0661", "a*", "{a}", b"a", None, 7]
)
def test_other_ids_are_refused(name: Any) -> None:
    """The error is one sentence that shows the id, shortened if it is long."""
    with pytest.raises(ValueError, match=r"^id is .{1,61}: it must be 1 to 128 letters, digits, - and _"):
        _log_format.require_id(name)


@pytest.mark.parametrize("value", ["0-0", "1795359264000-17", "18446744073709551615-18446744073709551615"])
def test_an_event_id_is_two_numbers(value: str) -> None:
    """Both numbers have 64 bits."""
    assert "{}-{}".format(*_log_format.require_event_id(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        *("", "-1", "$", "+", "-", "(", "*", ">", "0", "1-", "1-2-3", "01-1", "1-01", "1-2 ", " 1-2", "1-2\n", "(1-2"),
        *("\u0661-1", "1--1", "1-+1", "1-1.0", "1e3-1", "0x1-1", "18446744073709551616-0", "1-18446744073709551616"),
        "9" * 5000,
    ],
    ids=lambda value: repr(value)[:25],
)
def test_other_event_ids_are_refused(value: str) -> None:
    """A browser cannot send an event id that Redis would read as another position or as a range."""
    with pytest.raises(
        _log_format.RefusedError, match=r"^last event id is .{1,61}: it must be the id of an event"
    ) as refused:
        _log_format.require_event_id(value)

    assert code_of(refused.value.error) == "400"


def test_events_keep_their_data_and_get_the_id_of_the_log() -> None:
    """The browser receives the gateway's event with the id of the log, which replaces an id of the event."""
    decoder = SSEDecoder()
    events = decoder.feed(sent(_log_format.LogCursor(MS), log(*EVENTS)))

    assert [(event.data, event.event, event.id) for event in events] == [
        ('{"n": 1}', "message", f"{MS}-2"),
        ("x", "error", f"{MS}-4"),
        ("Größe", "message", f"{MS}-5"),
        ("[DONE]", "message", f"{MS}-6"),
    ]


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7))))
def test_every_entry_counts_once(steps: list[tuple[int, int]]) -> None:
    """Batches of any size and repeated entries produce each event once."""
    entries = log(*EVENTS)
    cursor = _log_format.LogCursor(MS)
    got, at = b"", 0
    for back, forward in [*steps, (0, len(entries))]:
        got += cursor.feed(entries[max(at - back, 0) : at + forward])
        at += forward

    assert cursor.ended
    assert got == sent(_log_format.LogCursor(MS), entries)


@pytest.mark.parametrize("reached", range(len(EVENTS)))
def test_a_reader_resumes_after_any_event(reached: int) -> None:
    """The reader receives exactly the missing events."""
    entries = log(*EVENTS)
    whole = sent(_log_format.LogCursor(MS), entries)
    before = sent(_log_format.LogCursor(MS), entries[: reached + 3])
    cursor = _log_format.LogCursor(MS, reached + 2, HEAD)

    assert before + sent(cursor, entries[reached + 3 :]) == whole
    assert cursor.ended


@pytest.mark.parametrize(
    "entries",
    [
        log(*EVENTS)[:3] + log(*EVENTS)[4:],
        [*log(*EVENTS, end=None), (b"%d-0" % (MS + 1), {b"c": b"process:2"})],
        log(*EVENTS)[2:],
    ],
    ids=["trimmed", "second producer", "lost its head"],
)
def test_a_gap_in_the_log_is_an_error(entries: list[Any]) -> None:
    """The reader never receives a text with a hole."""
    cursor = _log_format.LogCursor(MS, *(() if entries[0][1].keys() == {b"c"} else (0, HEAD)))
    last = SSEDecoder().feed(sent(cursor, entries))[-1]

    assert cursor.ended
    assert last.data.encode() == _log_format.GONE


@pytest.mark.parametrize("events", [[], EVENTS[:2]], ids=["before the first event", "in the middle"])
def test_an_error_in_the_stream_has_no_id(events: list[bytes]) -> None:
    """A reader that resumes from its last event receives the error again."""
    cursor = _log_format.LogCursor(MS)
    entries = log(*events, end=_log_format.STOPPED)
    got = sent(cursor, entries)

    assert got.endswith(b"data: " + _log_format.STOPPED + b"\n\n")
    assert got.count(b"id: ") == len(events)
    assert cursor.ended


@pytest.mark.parametrize("error", [_log_format.STOPPED, _log_format.FAILED, _log_format.CANCELLED, _log_format.GONE])
def test_an_error_before_the_stream_is_a_json_response(error: bytes) -> None:
    """The response has the status of the error, and the same JSON."""
    cursor = _log_format.LogCursor(MS)

    assert sent(cursor, log(head=None, end=error)) == error
    assert cursor.head is not None
    assert str(cursor.head.status) == code_of(error)
    assert cursor.head.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("event", "is_comment"),
    [
        (b": ping", True),
        (b":", True),
        (b": a\n: b", True),
        (b": a\ndata: b", False),
        (b"data: :", False),
        (b"x:", False),
    ],
)
def test_comments_are_no_events(event: bytes, is_comment: bool) -> None:
    """A comment in front of an event's lines is a part of the event."""
    assert _log_format.is_comment(event) == is_comment


def test_a_ping_is_sent_only_in_a_running_stream() -> None:
    """Nothing is sent before the status is known, in a JSON error, or after the end."""
    refused = _log_format.Head(429, {"Content-Type": "application/json"})
    running, ended = _log_format.LogCursor(MS, 2, HEAD), _log_format.LogCursor(MS, 2, HEAD, ended=True)
    cursors = [running, ended, _log_format.LogCursor(MS), _log_format.LogCursor(MS, 1, refused)]

    assert [cursor.ping() for cursor in cursors] == [b": ping\n\n", b"", b"", b""]


def test_a_refusal_of_the_gateway_is_sent_without_an_id() -> None:
    """The JSON of the refusal is sent unchanged."""
    cursor = _log_format.LogCursor(MS)
    head = _log_format.Head(429, {"Content-Type": "application/json", "retry-after": "60"})

    assert sent(cursor, log(b'{"error": {}}', head=head)) == b'{"error": {}}'
    assert cursor.head == head


def test_a_refusal_without_a_body_is_sent_as_the_error_of_the_producer() -> None:
    """The producer may stop between the status and the body."""
    head = _log_format.Head(429, {"Content-Type": "application/json"})

    assert sent(_log_format.LogCursor(MS), log(head=head, end=_log_format.STOPPED)) == _log_format.STOPPED
    assert sent(_log_format.LogCursor(MS), log(b"{}", head=head, end=_log_format.STOPPED)) == b"{}"


def test_errors_have_the_envelope_of_the_gateway() -> None:
    """Errors have message, type, param and code; the code is a string, the message one line."""
    errors = [_log_format.STOPPED, _log_format.FAILED, _log_format.CANCELLED, _log_format.GONE, _log_format.UNAVAILABLE]
    bodies = [
        json.loads(error)["error"] for error in [*errors, _log_format.too_large(7), _log_format.unknown_stream().error]
    ]

    assert all(list(body) == ["message", "type", "param", "code"] for body in bodies)
    assert all(body["code"].isdigit() and "\n" not in body["message"] for body in bodies)
    assert not [error for error in errors if b"[DONE]" in error]


def test_what_a_later_release_adds_is_ignored() -> None:
    """Further fields of an entry and further parts of a head change nothing."""
    entries = [(entry_id, {**fields, b"later": b"1"}) for entry_id, fields in log(*EVENTS)]
    entries[1][1][b"h"] = json.dumps([*json.loads(HEAD.encode()), {"later": 1}]).encode()
    one, other = _log_format.LogCursor(MS), _log_format.LogCursor(MS)

    assert sent(one, entries) == sent(other, log(*EVENTS))
    assert one.ended
    assert one.head == HEAD


def test_an_unknown_entry_ends_the_answer_with_an_error() -> None:
    """Its text would be missing; a reader may resume at it, in a process of the release that wrote it."""
    entries = log(*EVENTS)
    entries[3] = (entries[3][0], {b"later": b"data: x"})
    cursor = _log_format.LogCursor(MS)
    found = SSEDecoder().feed(sent(cursor, entries))

    assert code_of(found[-1].data.encode()) == "503"
    assert len(found) == 2
    assert (cursor.ended, cursor.number) == (True, 2)


@pytest.mark.parametrize("count", [len(EVENTS) + 1, len(EVENTS), len(EVENTS) + 2, None])
def test_an_end_says_how_much_is_before_it(count: int | None) -> None:
    """An end after lost events is not that of a complete answer; an older release does not say."""
    entries = log(*EVENTS)
    if count is not None:
        entries[-1][1][b"n"] = b"%d" % count
    cursor = _log_format.LogCursor(MS)
    rest = sent(cursor, entries).removeprefix(sent(_log_format.LogCursor(MS), log(*EVENTS)))

    assert cursor.ended
    assert (b"stream_gone" in rest) == (count not in {None, len(EVENTS) + 1})
