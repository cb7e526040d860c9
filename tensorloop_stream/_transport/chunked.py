"""Decode the chunked transfer coding (RFC 9112, section 7.1) by the grammar of h11, which the HTTP library uses.

`ChunkedDecoder` returns the payload of all that one read holds. The trailer section is left to h11, which gets it when
the body is over. A property test and `tests/fuzz/fuzz_chunked.py` compare both.
"""

from __future__ import annotations

import re

__all__ = ["ChunkedDecoder"]

# At most 20 digits, an extension that nobody reads, blanks that some servers send.
_HEADER = re.compile(rb"([0-9A-Fa-f]{1,20})(?:;.*)?[ \t]*")
_BLANK_LINE = re.compile(rb"\n\r?\n")
_LONGEST_LINE = 100 * 1024
# The sizes by their lines: servers repeat them, and looking up is cheaper than parsing.
_sizes: dict[bytes, int] = {}
_MOST_SIZES = 4096
_LONGEST_KNOWN = 8


class ChunkedDecoder:
    """Decodes one body; `feed` it what arrives until it is `done`."""

    __slots__ = ("_footer", "_in_trailers", "_left", "_line", "_searched", "done", "ending", "error", "rest")

    def __init__(self) -> None:
        self.done = False
        """Whether the body is over, or broken."""
        self.error: str | None = None
        """The reason why the body is broken, after the payload before it was returned."""
        self.ending = b""
        """The last chunk and the trailer section, as they arrived."""
        self.rest = b""
        """Bytes after the end: nobody asked for them."""
        self._left = 0
        # What of the line end after a chunk's payload has not come.
        self._footer = b""
        self._in_trailers = False
        # An incomplete line, or trailer section, and where the search for its end goes on.
        self._line = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> bytes:
        """Return the payload in these bytes."""
        if not (self._left or self._footer or self._line or self._in_trailers):
            # Nearly always one whole chunk, whose size came before.
            end = data.find(b"\r\n")
            size = _sizes.get(data[:end])
            if size is not None and len(data) == end + size + 4 and data.endswith(b"\r\n"):
                return data[end + 2 : -2]
        return self._feed(data)

    def _feed(self, data: bytes) -> bytes:
        payload: list[bytes] = []
        position = 0
        if self._line:
            self._line += data
            data, position = self._completed(), 0
        while position < len(data) and not self.done:
            if self._left:
                part = data[position : position + self._left]
                payload.append(part)
                self._left -= len(part)
                position += len(part)
                if not self._left:
                    self._footer = b"\r\n"
            elif self._footer:
                part = data[position : position + len(self._footer)]
                if not self._footer.startswith(part):
                    self._break(f"malformed chunk footer: {part!r}")
                self._footer = self._footer[len(part) :]
                position += len(part)
            elif self._in_trailers:
                position = self._take_trailers(data, position)
            else:
                position = self._take_header(data, position)
        return payload[0] if len(payload) == 1 else b"".join(payload)

    def _take_header(self, data: bytes, position: int) -> int:
        """Take the size of the next chunk; return where the next part begins."""
        end = data.find(b"\r\n", position)
        if end < 0:
            return self._keep(data, position)
        line = data[position:end]
        size = _sizes.get(line)
        if size is None:
            found = _HEADER.fullmatch(line)
            if found is None:
                self._break(f"illegal chunk header: {line[:40]!r}")
                return end
            size = int(found[1], 16)
            if size and len(line) <= _LONGEST_KNOWN and len(_sizes) < _MOST_SIZES:
                _sizes[line] = size
        self._left = size
        self._in_trailers = not size
        return end + 2

    def _take_trailers(self, data: bytes, position: int) -> int:
        end = _end_of_trailers(data, position, position)
        if end < 0:
            return self._keep(data, position)
        self.done = True
        self.ending = b"0\r\n" + data[position:end]
        self.rest = data[end:]
        return end

    def _keep(self, data: bytes, position: int) -> int:
        """Keep what is incomplete until more arrives."""
        self._line += data[position:]
        self._check_length()
        return len(data)

    def _completed(self) -> bytes:
        """Return what was kept if its end has come, else nothing."""
        line, start = self._line, max(0, self._searched - 2)
        end = _end_of_trailers(line, 0, start) if self._in_trailers else line.find(b"\r\n", start)
        if end < 0:
            self._check_length()
            return b""
        data = bytes(line)
        line.clear()
        self._searched = 0
        return data

    def _check_length(self) -> None:
        self._searched = len(self._line)
        if len(self._line) > _LONGEST_LINE:
            self._break("a chunk header or a trailer section of more than 100 kB")

    def _break(self, error: str) -> None:
        self.error = error
        self.done = True


def _end_of_trailers(data: bytes | bytearray, begin: int, start: int) -> int:
    """Return the end of the trailer section that begins at `begin`, -1 if it has not come; the search begins later."""
    if data[begin : begin + 1] == b"\n":
        return begin + 1
    if data[begin : begin + 2] == b"\r\n":
        return begin + 2
    found = _BLANK_LINE.search(data, start)
    return -1 if found is None else found.end()
