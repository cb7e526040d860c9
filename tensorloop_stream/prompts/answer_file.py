"""Write answers to a file that stays valid when the process is killed."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from .jsonl import Answer, encode_answer, read_answers

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["AnswerFile"]

# Seconds between two syncs of a file, and between two updates of its modification time.
_INTERVAL = 0.5


class AnswerFile:
    """A JSON Lines file of answers, opened by a `with` block: those of earlier runs, and those that this run writes.

    The operating system has a line when `write` returns, so that a killed process loses none. The disk has the line
    half a second later. Opening the file removes an incomplete last line.

    `answered` has the ids that needed no other request when the file was opened. `failed` counts the answers with an
    error that this run wrote. `idle` is the seconds since a run last used the file.

    Raises `ValueError` if the file holds something else, and `BlockingIOError` if another run writes to it (not on
    Windows). Raises `OSError` when the disk fails, at the next `write` or at the end of the block.

    For example:

        prompts = read_prompts(["Stream a haiku about caching."], model="gpt-4o-mini")
        with AnswerFile("answers.jsonl") as answers:
            missing = [prompt for prompt in prompts if prompt.id not in answers.answered]
            await ask_all(async_client, missing, LearningLimit(), answers.write)
            print(answers.failed)
    """

    answered: set[str]
    """The ids of the answers without an error, which need no other request."""
    failed: int
    """The number of answers with an error that this run wrote."""
    idle: float
    """The seconds since a run last used the file; infinite for a new file.

    After a run was killed, its last requests count against the limit until the limit's window has passed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._file: BinaryIO | None = None
        self.failed = self._written = self._synced = 0
        self._error: OSError | None = None

    def __enter__(self) -> Self:
        used = self._path.exists()
        self._file = file = self._path.open("a+b")
        try:
            _lock(file.fileno(), self._path)
            self.idle = max(time.time() - self._path.stat().st_mtime - 2 * _INTERVAL, 0) if used else math.inf
            file.seek(0)
            self.answered, size = read_answers(file)
            file.truncate(size)
            file.seek(max(size - 1, 0))
            if file.read() not in {b"\n", b""}:  # an editor removed the last line end
                file.write(b"\n")
        except BaseException:
            file.close()
            raise
        self._closing = threading.Event()
        # A slow disk delays its own thread alone: neither the streams nor the updates of the modification time.
        self._threads = [
            threading.Thread(target=self._repeat, args=(task,), name="answers", daemon=True)
            for task in (self._touch, self._sync)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()
        with self._opened():
            self._sync()
            if self._error is not None:
                raise self._error

    def write(self, answer: Answer) -> None:
        """Append an answer; raises `OSError` if the file cannot be written, for example on a full disk.

        Raises `ValueError` outside of the `with` block.
        """
        if self._error is not None:
            raise self._error
        file = self._opened()
        file.write(encode_answer(answer))
        file.flush()
        self.failed += "error" in answer
        self._written += 1

    def _opened(self) -> BinaryIO:
        if self._file is None or self._file.closed:
            raise ValueError(
                f"{self._path} is not open: write its answers inside of `with AnswerFile(...) as answers:`"
            )
        return self._file

    def _repeat(self, task: Callable[[], None]) -> None:
        while not self._closing.wait(_INTERVAL):
            task()

    def _touch(self) -> None:
        with suppress(OSError):  # the next update is half a second away
            os.utime(self._path)

    def _sync(self) -> None:
        written = self._written
        if written == self._synced or self._error is not None:
            return
        try:
            os.fsync(self._opened().fileno())
        except OSError as error:
            # Linux reports it once: the next fsync would succeed.
            self._error = error
        self._synced = written


def require_open(write: object) -> None:
    """Raise `ValueError` if this is the `write` of an `AnswerFile` outside of its `with` block."""
    file = getattr(write, "__self__", None)
    if isinstance(file, AnswerFile):
        file._opened()  # noqa: SLF001 - of this module


def _lock(file: int, path: Path) -> None:
    """Lock the file; raises `BlockingIOError` if another process holds the lock, which ends with its process."""
    if sys.platform == "win32":
        return
    import fcntl  # noqa: PLC0415 - Windows has no such module

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlockingIOError(f"another run writes to {path}: wait for its end, or name another file") from None
