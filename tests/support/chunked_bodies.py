"""Bodies in the chunked coding, right and wrong, read by h11 and by the decoder."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import h11

from tensorloop_stream._transport.chunked import ChunkedDecoder

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
EXTENSIONS = (b";a=b", b";", b"; a = \xff", b";\r", b";\n", b" ;x", b"  ", b"\t", b" x", b"\x00", b"\x0b", b",")
TRAILERS = (
    b"x-trailer: 1\r\n",
    b"a:b\r\nc: d \r\n",
    b"a: b\r\n folded\r\n",
    b" folded: first\r\n",
    b"no colon\r\n",
    b"blank : before\r\n",
    b"a: \x00\r\n",
    b"bare: feed\n",
    b"\n",
    b"\r",
    b"transfer-encoding: gzip\r\n",
    b"content-length: 5\r\ncontent-length: 6\r\n",
    b": no name\r\n",
)
SPLICES = (b"\r\n", b"\n", b"\r", b"0\r\n\r\n", b"0\r\n", b"5", b"g", b"-1\r\n", b"0x5\r\n", b"+5\r\n", b" ")


class Outcome(NamedTuple):
    """The payload of a body, and whether it is whole."""

    payload: bytes
    is_whole: bool


def _client() -> h11.Connection:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=100 * 1024)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "gateway.test")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(HEAD)
    assert isinstance(connection.next_event(), h11.Response)
    return connection


def by_h11(reads: Sequence[bytes]) -> Outcome:
    """Return the outcome by h11; the connection ends after the last read."""
    connection = _client()
    payload = b""
    try:
        for read in (*reads, b""):
            connection.receive_data(read)
            while (event := connection.next_event()) is not h11.NEED_DATA:
                if not isinstance(event, h11.Data):
                    return Outcome(payload, True)
                payload += event.data
    except h11.RemoteProtocolError:
        pass
    return Outcome(payload, False)


def by_decoder(reads: Sequence[bytes]) -> Outcome:
    """Return the outcome by the decoder; its end is given to h11, as the transport does."""
    decoder = ChunkedDecoder()
    payload = b""
    for read in reads:
        payload += decoder.feed(read)
        if decoder.done:
            break
    is_whole = decoder.done and decoder.error is None and by_h11([decoder.ending]).is_whole
    return Outcome(payload, is_whole)


def make_body(rng: random.Random) -> bytes:
    """Return a body in the chunked coding, which one in two times is wrong somewhere."""
    body = b""
    for _ in range(rng.randrange(4)):
        size = rng.choice((1, 2, 5, 15, 16, 17, 300))
        line = b"%x" % size if rng.random() < 0.8 else b"%X" % size
        if rng.random() < 0.2:
            line = line.rjust(rng.choice((2, 16, 17, 20, 21)), b"0")
        if rng.random() < 0.2:
            line += rng.choice(EXTENSIONS)
        payload = rng.choice((b"x" * size, b"\r\n" * size, b"0\r\n\r\n" * size))[:size]
        body += line + b"\r\n" + payload + b"\r\n"
    body += b"0" * rng.choice((1, 1, 1, 3, 20, 21)) + (rng.choice(EXTENSIONS) if rng.random() < 0.1 else b"") + b"\r\n"
    if rng.random() < 0.3:
        body += b"".join(rng.choice(TRAILERS) for _ in range(rng.randrange(1, 3)))
    body += b"\r\n"
    if rng.random() < 0.1:
        body += b"HTTP/1.1 200 OK\r\n\r\n"
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
        at = rng.randrange(len(body) + 1)
        body = rng.choice(
            (
                body[:at],
                body[:at] + rng.choice(SPLICES) + body[at:],
                body[:at] + body[at + rng.randrange(1, 4) :],
                body[:at] + bytes([rng.randrange(256)]) + body[at + 1 :],
            )
        )
    return body


def cut(body: bytes, rng: random.Random) -> list[bytes]:
    """Return a body as reads of random lengths."""
    most = rng.choice((1, 3, 30, 1000))
    reads = []
    while body:
        length = rng.randrange(1, most + 1)
        reads.append(body[:length])
        body = body[length:]
    return reads
