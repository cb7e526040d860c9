"""The server of `loopback.py` in its own process: a bare asyncio protocol that speaks chunked HTTP/1.1.

The two processes share a mapped file, so no byte and no wake-up is added to those of the streams. The client records
there when each chunk reached its loop, and the server waits for that: every event is then its own read on a machine
of any speed.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import re
import sys
import time
from array import array
from pathlib import Path

CAPACITY = 100_000  # chunks of all streams
SETTINGS = 5
ENVELOPE = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1795359264, "model": "gpt-4o-mini"}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WORDS = 97
NAP = 0.0005


class Board:
    """The shared state: the chunks to send, and when each was sent and received, in nanoseconds."""

    def __init__(self, path: Path) -> None:
        size = (SETTINGS + 2 * CAPACITY) * 8
        with path.open("r+b") as file:
            file.truncate(size)
            cells = memoryview(mmap.mmap(file.fileno(), size)).cast("q")
        self._settings = cells[:SETTINGS]
        self.sent = cells[SETTINGS : SETTINGS + CAPACITY]
        self.taken = cells[SETTINGS + CAPACITY :]

    def reset(self, streams: int, chunks: int) -> None:
        """Begin with this number of streams and chunks; none may be sent yet."""
        self._settings[:] = memoryview(array("q", [streams, chunks, 0, 0, 0]))
        self.sent[:] = self.taken[:] = memoryview(bytearray(8 * CAPACITY)).cast("q")

    def allow(self, chunks: int, *, burst: int = 1, rate: int = 0) -> None:
        """Allow each stream this number of chunks; one more than it has permits its end.

        A write has this many chunks, and follows as soon as the last were received. With a rate, this many chunks a
        second of all streams together are sent at even distances, received or not.
        """
        self._settings[3:] = memoryview(array("q", [burst, rate]))
        self._settings[2] = chunks

    @property
    def settings(self) -> list[int]:
        """The number of streams, the chunks of each, the allowed chunks of each, the burst, the rate."""
        return self._settings.tolist()


def word(stream: int, number: int) -> str:
    """Return the text of a chunk."""
    return f" word{(stream + number) % WORDS}"


def event(number: int, *, last: bool) -> bytes:
    """Return a chunk as LiteLLM sends it, in its own HTTP chunk."""
    choice = {"index": 0, "delta": {"content": word(0, number)}, **({"finish_reason": "stop"} if last else {})}
    return framed(b"data: " + json.dumps({**ENVELOPE, "choices": [choice]}, separators=(",", ":")).encode() + b"\n\n")


def framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


EVENTS = [event(number, last=False) for number in range(WORDS)]
LAST_EVENTS = [event(number, last=True) for number in range(WORDS)]
END = framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def part(stream: int, first: int, after: int, chunks: int) -> bytes:
    """Return these chunks of a stream as bytes, and after the last its end."""
    if first == chunks:
        return END
    if after == first + 1 < chunks:
        return EVENTS[(stream + first) % WORDS]
    events = [EVENTS[(stream + number) % WORDS] for number in range(first, min(after, chunks - 1))]
    if after == chunks:
        events.append(LAST_EVENTS[(stream + chunks - 1) % WORDS])
    return b"".join(events)


class Answer(asyncio.Protocol):
    """One connection, whose request has the number of its stream as the model."""

    def __init__(self, streams: dict[int, Answer]) -> None:
        self._streams = streams
        self._got = b""
        self.next = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, _, body = self._got.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if length is not None and len(body) == int(length[1]):
            self._got, self.next = b"", 0
            self.transport.write(HEAD)
            self._streams[int(json.loads(body)["model"])] = self


class Sender:
    """A sender of the chunks that the board allows."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.streams: dict[int, Answer] = {}

    async def run(self) -> None:
        begun, turn = 0.0, 0
        while True:
            streams, chunks, allowed, burst, rate = self._board.settings
            if not allowed:
                begun, turn, sent = time.monotonic(), 0, 0
            elif rate:
                due = min(int((time.monotonic() - begun) * rate), streams * allowed)
                sent = due - turn
                for each in range(turn, due):
                    self._send(each % streams, each // streams + 1, chunks)
                turn = due
            else:
                sent = self._send_what_is_awaited(allowed, burst, chunks)
            await asyncio.sleep(0 if sent else NAP)

    def _send_what_is_awaited(self, allowed: int, burst: int, chunks: int) -> int:
        """Send each stream its next chunks if it received the last ones."""
        taken, sent = self._board.taken, 0
        for number, answer in list(self.streams.items()):
            if answer.next < allowed and (not answer.next or taken[number * chunks + answer.next - 1]):
                self._send(number, min(answer.next + burst, chunks), chunks)
                sent += 1
        return sent

    def _send(self, number: int, after: int, chunks: int) -> None:
        answer = self.streams[number]
        first, answer.next = answer.next, after
        if first == chunks:
            del self.streams[number]
        data, now = part(number, first, after, chunks), time.monotonic_ns()
        for each in range(number * chunks + first, number * chunks + after):
            self._board.sent[each] = now
        answer.transport.write(data)


async def main() -> None:
    sender = Sender(Board(Path(sys.argv[1])))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answer(sender.streams), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    # The client holds the other end, so this process ends with it.
    loop.add_reader(sys.stdin, sys.exit)
    await sender.run()


if __name__ == "__main__":
    asyncio.run(main())
