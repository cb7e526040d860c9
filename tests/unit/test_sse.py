"""Server-sent events: lines, fields, cuts, bounds and encoding, by the WHATWG standard."""

from __future__ import annotations

import pytest

from tensorloop_stream import ServerSentEvent, SSEDecoder, StreamDecodeError
from tensorloop_stream._sse import MAX_EVENT_SIZE, EventSplitter, is_single_event


def decode(*reads: bytes, **settings: int) -> list[ServerSentEvent]:
    decoder = SSEDecoder(**settings)
    return [event for read in reads for event in decoder.feed(read)]


def data(*reads: bytes) -> list[str]:
    return [event.data for event in decode(*reads)]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_lines_end_with_lf_cr_or_crlf(end: str) -> None:
    """A line ends with LF, CR or CRLF (WHATWG 9.2.5)."""
    stream = f"data: a{end}{end}data: b{end}data: c{end}{end}".encode()

    assert data(stream) == ["a", "b\nc"]


def test_a_crlf_may_be_cut_between_two_reads() -> None:
    """The LF of a CRLF that spans two reads is not another line end."""
    reads = (b"data: a\r", b"\n\r", b"\ndata: b\r\n\r", b"\n")

    assert data(*reads) == ["a", "b"]


def test_every_cut_gives_the_same_events() -> None:
    """A cut changes nothing, also inside a character or a line end."""
    stream = "\ufeff: hi\r\nevent: x\rdata: é😀\n\ndata\n\nid: 7\nretry: 5\ndata: z\r\n\r\n".encode()
    whole = decode(stream)

    assert whole == [
        ServerSentEvent("é😀", "x"),
        ServerSentEvent(""),
        ServerSentEvent("z", id="7", retry=5),
    ]
    for cut in range(len(stream) + 1):
        assert decode(stream[:cut], stream[cut:]) == whole
    assert decode(*(stream[i : i + 1] for i in range(len(stream)))) == whole


def test_only_line_ends_of_the_standard_split_lines() -> None:
    """U+2028, U+2029 and U+0085 arrive unescaped inside JSON: they are text, not line ends."""
    line = "a\u2028b\u2029c\x85d\x0be"

    assert data(f"data: {line}\n\n".encode()) == [line]


def test_one_leading_byte_order_mark_is_dropped() -> None:
    """A byte order mark at the start is no part of the stream; a second one is."""
    bom = "\ufeff".encode()

    assert data(bom + b"data: a\n\n") == ["a"]
    assert data(bom[:1], bom[1:2], bom[2:] + b"data: a\n\n") == ["a"]
    assert data(bom + bom + b"data: a\n\ndata: b\n\n") == ["b"]


def test_a_colon_and_one_space_separate_name_and_value() -> None:
    """One space after the colon is dropped, further ones are data; no colon is an empty value."""
    assert data(b"data:a\n\n", b"data:  a\n\n", b"data\n\n", b"data: a: b\n\n") == ["a", " a", "", "a: b"]


def test_an_event_without_data_is_not_dispatched() -> None:
    """Comments, names and ids alone dispatch nothing, and the name does not reach the next event."""
    assert decode(b": ping\n\n", b"event: x\n\n", b"id: 1\n\n", b"data: a\n\n") == [ServerSentEvent("a", id="1")]


def test_the_last_event_id_stays_until_another_is_sent() -> None:
    """Every later event has the last id; an id with NUL is ignored."""
    events = decode(b"id: 1\ndata: a\n\ndata: b\n\nid: 2\0\ndata: c\n\nid\ndata: d\n\n")

    assert [event.id for event in events] == ["1", "1", "1", ""]


def test_retry_is_digits_only() -> None:
    """The splitter ignores a retry that is not ASCII digits, and a number with thousands of digits."""
    events = decode(
        b"retry: 10\ndata: a\n\nretry: 1.5\ndata: b\n\nretry: \xd9\xa1\ndata: c\n\nretry: %s\ndata: d\n\n"
        % (b"9" * 5000)
    )

    assert [event.retry for event in events] == [10, None, None, None]


def test_a_retry_without_data_goes_with_the_next_event() -> None:
    """A retry alone dispatches no event, and the next event has it."""
    assert decode(b"retry: 10\n\ndata: a\n\ndata: b\n\n") == [ServerSentEvent("a", retry=10), ServerSentEvent("b")]


def test_an_unterminated_event_is_dropped() -> None:
    """Without its blank line an event is incomplete (WHATWG 9.2.6)."""
    decoder = SSEDecoder()

    assert decoder.feed(b"data: a\n\ndata: b\n") == [ServerSentEvent("a")]
    decoder.finish()
    assert decoder.feed(b"\n") == []


def test_bytes_that_are_not_utf8_raise_after_the_events_before_them() -> None:
    """The decoder returns the complete events first, and replaces nothing by U+FFFD."""
    decoder = SSEDecoder()

    assert decoder.feed(b"data: a\n\ndata: \xff\n\ndata: b\n\n") == [ServerSentEvent("a")]
    with pytest.raises(StreamDecodeError, match="not UTF-8: byte 0xff at position 6"):
        decoder.feed(b"")
    with pytest.raises(StreamDecodeError, match="not UTF-8"):
        decoder.finish()


@pytest.mark.parametrize("bad", [b"\xed\xa0\x80", b"\xc3", b"\xf5\x80\x80\x80"])
def test_surrogates_and_cut_characters_are_not_utf8(bad: bytes) -> None:
    """A truncated character and an encoded surrogate are errors."""
    with pytest.raises(StreamDecodeError, match="not UTF-8"):
        SSEDecoder().feed(b"data: " + bad + b"\n\n")


@pytest.mark.parametrize("read", [b"data: " + b"x" * 200, b"data: " + b"x" * 200 + b"\n\n", b": ping\n" * 40])
def test_an_event_beyond_the_bound_raises(read: bytes) -> None:
    """An endless event must not fill the memory, whether it ever ends or not."""
    decoder = SSEDecoder(max_event_size=100)

    assert decoder.feed(b"data: a\n\n" + read) == [ServerSentEvent("a")]
    with pytest.raises(StreamDecodeError, match="where 100 are allowed"):
        decoder.feed(b"")


def test_many_small_events_are_not_one_large_one() -> None:
    """The maximum size limits one event, not one read."""
    assert len(decode(b"data: a\n\n" * 100, max_event_size=20)) == 100


def test_a_megabyte_in_small_reads_is_one_event() -> None:
    """An event in sixteen thousand reads is joined once."""
    stream = b"data: " + b"x" * 1_000_000 + b"\n\n"

    (event,) = decode(*(stream[i : i + 64] for i in range(0, len(stream), 64)))
    assert len(event.data) == 1_000_000


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9])
def test_additional_blank_lines_are_ignored(size: int) -> None:
    """A second blank line neither begins an event nor counts as a pending one, at any cut."""
    stream = b"\n\ndata: a\n\n\nerror: b\n\n\n\n\ndata: c\n\n\n"
    splitter = EventSplitter()
    reads = [stream[at : at + size] for at in range(0, len(stream), size)]

    assert [event for read in reads for event in splitter.feed(read)] == [b"data: a", b"error: b", b"data: c"]
    assert splitter.pending == 0
    assert splitter.feed(b"data: d\n\n\nerror: e\n\n\n") == [b"data: d", b"error: e"]
    assert splitter.feed(b"\nerror: f\n\n") == [b"error: f"]
    assert data(*reads, b"data: d\n\n\ndata: e\n\n") == ["a", "c", "d", "e"]


@pytest.mark.parametrize("end", [b"\n\n", b"\r\r", b"\r\n\r\n"])
def test_the_blank_line_does_not_count_towards_the_maximum_size(end: bytes) -> None:
    """An event of exactly the maximum size is accepted, also with its end byte by byte; one byte more is an error."""
    stream = b"data: 0123456789"

    assert data(stream + end, stream + end) == ["0123456789"] * 2
    for largest, passes in ((16, True), (15, False)):
        for reads in ([stream + end], [stream, *(end[at : at + 1] for at in range(len(end)))]):
            if passes:
                assert len(decode(*reads, max_event_size=largest)) == 1
            else:
                with pytest.raises(StreamDecodeError):
                    decode(*reads, max_event_size=largest)


@pytest.mark.parametrize(
    ("read", "is_single"),
    [
        (b"data: a\n\n", True),
        (b"a\n\n", True),
        (b"data: a\ndata: b\n\n", True),
        (b"a", False),
        (b"\n\n", False),
        (b"data: a\n", False),
        (b"data: a\n\ndata: b\n\n", False),
        (b"data: a\n\ndata: b", False),
        (b"data: a\rdata: b\n\n", False),
    ],
)
def test_a_read_is_a_single_event_if_it_holds_one_whole_event_with_lf(read: bytes, is_single: bool) -> None:
    """Anything else needs the splitter."""
    assert is_single_event(read) is is_single


def test_the_default_bound_is_64_mib() -> None:
    """The decoder and the splitter have the same bound."""
    decoder = SSEDecoder()

    assert MAX_EVENT_SIZE == 67_108_864
    assert decoder._splitter._max == EventSplitter()._max == MAX_EVENT_SIZE


def test_a_retry_has_at_most_18_digits_and_no_other_name() -> None:
    """A longer wait is no wait, and digits of another field are none."""
    events = decode(
        b"retry: " + b"9" * 18 + b"\ndata: a\n\n", b"retry: " + b"9" * 19 + b"\ndata: b\n\nx: 5\ndata: c\n\n"
    )

    assert [event.retry for event in events] == [10**18 - 1, None, None]


def after_a_plain_event(*reads: bytes, size: int = MAX_EVENT_SIZE) -> list[bytes]:
    """Return the events of reads that follow a whole event, with which the fast path begins."""
    splitter = EventSplitter(size)
    assert splitter.feed(b"data: 0\n\n") == [b"data: 0"]
    assert splitter.is_plain
    return [event for read in reads for event in splitter.feed(read)]


def test_a_cr_ends_a_line_also_in_a_read_that_looks_whole() -> None:
    """A read that ends in a blank line may hold other line ends before it."""
    assert after_a_plain_event(b"data: a\rdata: b\n\n", b"data: c\r\rdata: d\n\n") == [
        b"data: a\ndata: b",
        b"data: c",
        b"data: d",
    ]


def test_the_bound_holds_for_a_read_that_is_a_whole_event() -> None:
    """An event beyond the bound is an error, however it arrives."""
    with pytest.raises(StreamDecodeError):
        after_a_plain_event(b"data: 0123456789\n\n", size=8)


def test_the_lf_of_a_crlf_is_no_line_end_after_an_empty_read() -> None:
    """An empty read between CR and LF changes nothing, and an event goes on after the cut."""
    assert after_a_plain_event(b"data: a\r", b"", b"\ndata: b\r\n\r\n") == [b"data: a\ndata: b"]


def test_an_empty_read_does_not_hide_a_byte_order_mark() -> None:
    """The mark is dropped where the bytes begin, not where the reads do."""
    assert data(b"", b"\xef\xbb\xbfdata: a\n\n") == ["a"]


def test_nothing_is_split_after_an_oversized_event() -> None:
    """The events before it are returned; the next read raises, whatever it holds, and so does the end."""
    splitter = EventSplitter(12)
    splitter.feed(b"data: 0\n\n")

    assert splitter.feed(b"data: 1\n\ndata: 0123456789\n\n") == [b"data: 1"]
    for _ in range(2):
        with pytest.raises(StreamDecodeError):
            splitter.feed(b"data: 2\n\n")
    with pytest.raises(StreamDecodeError):
        splitter.finish()


def test_an_oversized_event_is_an_error_at_each_later_read() -> None:
    """The bytes of the event are freed, and a whole event after it is none."""
    splitter = EventSplitter(12)
    splitter.feed(b"data: 0\n\n")

    for read in (b"data: 0123456789", b"data: 1\n\n", b"data: 2\n\n"):
        with pytest.raises(StreamDecodeError):
            splitter.feed(read)
        assert splitter.pending == 0


def test_a_name_that_begins_with_another_character_is_another_field() -> None:
    """No character but LF is dropped before an event."""
    assert data(b"?data: a\n\n?data: b\n\ndata: c\n\n") == ["c"]
