"""The decoder of the chunked coding: what h11 reads, in fewer steps."""

from __future__ import annotations

import random

import pytest
from chunked_bodies import by_decoder, by_h11, cut, make_body

from tensorloop_stream._transport.chunked import ChunkedDecoder

WHOLE = b"5\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize("seed", range(20))
def test_the_decoder_agrees_with_h11(seed: int) -> None:
    """Both return the same payload, and refuse the same bodies, wherever the reads are cut."""
    rng = random.Random(seed)
    inputs = [cut(make_body(rng), rng) for _ in range(100)]

    assert [reads for reads in inputs if by_decoder(reads) != by_h11(reads)] == []


def test_the_inputs_are_of_both_kinds() -> None:
    """The comparison would hold for a decoder that refuses everything, if all inputs were wrong."""
    rng = random.Random(1)
    whole = [by_h11([make_body(rng)]).is_whole for _ in range(300)]

    assert 60 < sum(whole) < 240


@pytest.mark.parametrize(
    "body",
    [
        b"5;a=b\r\nhello\r\n0;c\r\n\r\n",
        b"5 \t\r\nhello\r\n0\r\n\r\n",
        b"00000000000000005\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nx-trailer: 1\r\n\r\n",
        b"5\r\nhello\r\n0\r\na: b\r\n folded\r\n\r\n",
        b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ],
    ids=["extensions", "blanks", "17 digits", "trailers", "obs-fold", "two chunks"],
)
def test_legal_bodies_are_read(body: bytes) -> None:
    """A body that the grammar allows is read, in one read and byte by byte."""
    for reads in ([body], [bytes([byte]) for byte in body]):
        assert by_decoder(reads) == by_h11(reads) == (b"hello", True)


@pytest.mark.parametrize(
    "body",
    [
        b"5\nhello\n0\n\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"5_0\r\nhello\r\n0\r\n\r\n",
        b"5,5\r\nhello\r\n0\r\n\r\n",
        b"\r\nhello\r\n0\r\n\r\n",
        b"000000000000000000005\r\nhello\r\n0\r\n\r\n",
        b"5;a=b\nc\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n folded\r\n\r\n",
        b"5\r\nhello\r\n0\r\ntransfer-encoding: gzip\r\n\r\n",
        b"5\r\nhello\r\n",
        b"5\r\nhel",
    ],
)
def test_illegal_bodies_are_refused(body: bytes) -> None:
    """A body that two programs could read in two ways is an error, after the payload before the fault."""
    for reads in ([body], [bytes([byte]) for byte in body]):
        found = by_decoder(reads)

        assert not found.is_whole
        assert found == by_h11(reads)


def test_the_payload_before_a_fault_is_returned() -> None:
    """A read may hold a chunk and a fault."""
    decoder = ChunkedDecoder()

    assert decoder.feed(b"5\r\nhello\r\nxyz\r\n") == b"hello"
    assert decoder.done
    assert decoder.error == "illegal chunk header: b'xyz'"


def test_bytes_after_the_end_are_no_payload() -> None:
    """Nobody asked for them, and the connection must not be used again."""
    decoder = ChunkedDecoder()

    assert decoder.feed(WHOLE + b"HTTP/1.1 200 OK\r\n\r\n") == b"hello"
    assert decoder.done
    assert decoder.rest == b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize("begin", [b"5;", b"5\r\nhello\r\n0\r\nx: "], ids=["chunk header", "trailers"])
def test_an_endless_line_is_refused(begin: bytes) -> None:
    """A line of more than 100 kB is an error, and no memory is spent on its rest."""
    decoder = ChunkedDecoder()
    decoder.feed(begin)
    fed = 0
    while not decoder.done:
        decoder.feed(b"x" * 1000)
        fed += 1000

    assert fed < 110_000
    assert "more than 100 kB" in str(decoder.error)


def test_a_line_in_many_reads_takes_linear_time() -> None:
    """The search for the end of a line goes on where it stopped."""
    decoder = ChunkedDecoder()
    for _ in range(100_000):
        decoder.feed(b"0")

    assert decoder._searched == 100_000
    assert not decoder.done
