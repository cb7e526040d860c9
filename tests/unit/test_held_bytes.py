"""The bytes that the HTTP library gets: heads alone, and a body only if nobody reads it past the library."""

from __future__ import annotations

import pytest

from tensorloop_stream._transport.held_bytes import HeldBytes

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n"


def begun() -> HeldBytes:
    held = HeldBytes()
    held.begin()
    return held


def passed(held: HeldBytes, *reads: bytes) -> list[bytes]:
    """Return what the library gets for these reads of the socket, until the final head is whole."""
    left, found = list(reads), []
    while not held.has_whole_body and (held.bytes or left):
        found.append(held.pass_on(held.take(65536) or left.pop(0)))
    held.bytes += b"".join(left)
    return found


@pytest.mark.parametrize("at", range(1, len(HEAD + b"5\r\n")))
def test_a_head_is_passed_on_and_the_body_is_held(at: int) -> None:
    """The read may end at any byte."""
    held = begun()
    data = HEAD + b"5\r\nhello"

    assert b"".join(passed(held, data[:at], data[at:])) == HEAD
    assert held.has_whole_body
    assert held.take_body() == b"5\r\nhello"


def test_each_interim_head_is_passed_on_alone() -> None:
    """The body is that of the final response."""
    held = begun()

    assert passed(held, EARLY + EARLY + HEAD + b"5\r\n") == [EARLY, EARLY, HEAD]
    assert held.take_body() == b"5\r\n"


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\n\n", b"HTTP/1.1 200 OK\n\r\n", b"HTTP/1.1 200 OK\r\n\n"])
def test_a_head_ends_where_the_library_sees_its_end(head: bytes) -> None:
    """h11 takes a bare LF for the end of a line."""
    held = begun()

    assert passed(held, head + b"5\r\nhello\r\n\r\n") == [head]


def test_a_body_of_which_the_library_got_a_part_is_its_own() -> None:
    """The library reads on, and gets the rest."""
    held = begun()
    passed(held, HEAD + b"5\r\nhello")

    assert held.pass_on(held.take(65536)) == b"5\r\nhello"
    assert not held.has_whole_body
    assert held.pass_on(b"\r\n0\r\n\r\n") == b"\r\n0\r\n\r\n"


def test_a_switch_of_protocols_is_no_body() -> None:
    """The bytes after it belong to another protocol."""
    held = begun()

    assert passed(held, b"HTTP/1.1 101 Switching Protocols\r\n\r\n") == [b"HTTP/1.1 101 Switching Protocols\r\n\r\n"]
    assert held.pass_on(b"a\n\nb\n\n") == b"a\n\nb\n\n"


def test_an_endless_head_is_passed_on() -> None:
    """The library refuses it; nothing is kept of what it got."""
    held = begun()
    for _ in range(200):
        assert held.pass_on(b"x" * 1000) == b"x" * 1000

    assert held.pass_on(b"\r\n\r\nbody") == b"\r\n\r\nbody"
    assert not held.has_whole_body


def test_the_end_of_the_connection_is_passed_on() -> None:
    """The library sees a server that closes without an answer."""
    held = begun()

    assert held.pass_on(b"") == b""
    assert not held.has_whole_body
