"""A file of answers that a kill leaves whole."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from .jsonl import Answer, encoded, read_answers

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["AnswerFile"]

# A file is synced, and marked as in use, every so many seconds.
_TICK = 0.5


class AnswerFile:
    """A JSON Lines file of answers: what is in it, and what comes, in a `with` block.

    A line is with the system when `write` returns, so that a kill loses none, and on the disk half a second later.
    A line that a kill tore is cut off.

    Raises `ValueError` if the file holds something else, `BlockingIOError` if another run writes to it (not on
    Windows), and `OSError` where the disk fails, at the next `write` or at the end.
    """

    answered: set[str]
    """The ids that need not be asked again: those in the file without an error."""
    failed: int
    """How many of the answers that were written have an error."""
    idle: float
    """For how many seconds no run has used the file; infinite for a new one.

    The requests of a run that was killed less than the limit's seconds ago still count.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self.failed = self._written = self._synced = 0
        self._error: OSError | None = None

    def __enter__(self) -> Self:
        used = self._path.exists()
        self._file = self._path.open("a+b")
        try:
            _lock(self._file.fileno(), self._path)
            self.idle = max(time.time() - self._path.stat().st_mtime - 2 * _TICK, 0) if used else math.inf
            self._file.seek(0)
            self.answered, whole = read_answers(self._file)
            self._file.truncate(whole)
            self._file.seek(max(whole - 1, 0))
            if self._file.read() not in {b"\n", b""}:  # an editor's doing
                self._file.write(b"\n")
        except BaseException:
            self._file.close()
            raise
        self._closing = threading.Event()
        # Threads, because a slow disk must not hold up the streams; two, because it must not hold up the mark either.
        self._keepers = [
            threading.Thread(target=self._every_tick, args=(keep,), name="answers", daemon=True)
            for keep in (self._mark, self._sync)
        ]
        for keeper in self._keepers:
            keeper.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self._closing.set()
        for keeper in self._keepers:
            keeper.join()
        with self._file:
            self._sync()
            if self._error is not None:
                raise self._error

    def write(self, answer: Answer) -> None:
        """Append an answer; raises `OSError` where that fails, for example on a full disk."""
        if self._error is not None:
            raise self._error
        self._file.write(encoded(answer))
        self._file.flush()
        self.failed += "error" in answer
        self._written += 1

    def _every_tick(self, keep: Callable[[], None]) -> None:
        while not self._closing.wait(_TICK):
            keep()

    def _mark(self) -> None:
        with suppress(OSError):  # a mark that is too old for half a second
            os.utime(self._path)

    def _sync(self) -> None:
        written = self._written
        if written == self._synced or self._error is not None:
            return
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            # Linux tells it once: the next fsync would say that all is well.
            self._error = error
        self._synced = written


def _lock(file: int, path: Path) -> None:
    """Raise `BlockingIOError` if another process writes to the file; its lock ends with it, however it ends."""
    if sys.platform == "win32":
        return
    import fcntl  # noqa: PLC0415 - not there on Windows

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlockingIOError(f"another run writes to {path}") from None
