"""One run of `loopback.py`: its phases, and their cost to this process."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loopback_server import Board, word

# The first chunks, whose age counts, arrive so slowly that the slowest way has time for them. The others, whose cost
# counts, arrive as fast as they are read.
SLOW_CHUNKS, RATE = 100, 500

# Each may be measured several times.
Figures = dict[str, list[float]]


@dataclass
class Run:
    """A run with this number of streams, and its cost."""

    board: Board
    port: int
    streams: int
    chunks: int
    burst: int = 1
    # CPU seconds of this process to open and end all streams and to read the fast chunks, and the bytes of its
    # memory that they hold while they are open.
    requests: float = 0.0
    reading: float = 0.0
    memory: int = 0

    def begin(self) -> None:
        """Start the phase in which streams are opened."""
        self.board.reset(self.streams, self.chunks)
        gc.collect()
        self._bytes, self._seconds = resident(), time.process_time()

    def steps(self) -> Iterator[None]:
        """Continue when all streams are open, and wait a moment at each yield."""
        self.requests = self._spent()
        self.board.allow(self.slow, rate=RATE)
        while not self._all_have(self.slow):
            yield
        self.memory = resident() - self._bytes
        self._spent()
        self.board.allow(self.chunks, burst=self.burst)
        while not self._all_have(self.chunks):
            yield
        self.reading = self._spent()
        self.board.allow(self.chunks + 1)

    def end(self, texts: list[str]) -> None:
        """Finish the run; raise `AssertionError` if a stream lost anything."""
        self.requests += self._spent()
        for number, text in enumerate(texts):
            expected = "".join(word(number, chunk) for chunk in range(self.chunks))
            assert text == expected, f"stream {number} is not what was sent: {len(text)} of {len(expected)} characters"
        assert len(texts) == self.streams

    def _spent(self) -> float:
        before, self._seconds = self._seconds, time.process_time()
        return self._seconds - before

    def _all_have(self, chunks: int) -> bool:
        return all(self.board.taken[chunks - 1 : self.streams * self.chunks : self.chunks])

    @property
    def slow(self) -> int:
        """Return how many chunks of each stream arrive slowly."""
        return -(-SLOW_CHUNKS // self.streams)

    @property
    def figures(self) -> Figures:
        """Return microseconds per chunk, milliseconds per request, kilobytes per stream, and the chunks' ages."""
        ages = []
        for first in range(0, self.streams * self.chunks, self.chunks):
            places = slice(first, first + self.slow)
            pairs = zip(self.board.sent[places], self.board.taken[places], strict=True)
            ages += [(taken - sent) / 1e6 for sent, taken in pairs]
        return {
            "chunk": [self.reading / (self.streams * (self.chunks - self.slow)) * 1e6],
            "request": [self.requests / self.streams * 1e3],
            "memory": [self.memory / self.streams / 1024],
            "age": ages,
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


def resident() -> int:
    """Return the bytes of memory that this process uses; 0 if the system does not report it."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * 4096 if path.exists() else 0
