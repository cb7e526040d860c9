"""Print the text of an answer to a terminal, a pipe or a file while it arrives."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO, overload

from .finish_notes import finish_note
from .opening import as_async_stream, as_stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai import Stream
    from openai.types.chat import ChatCompletion
    from openai.types.responses import Response, ResponseStreamEvent

    from tensorloop_stream._chat.streams import AsyncOpened, Chunks
    from tensorloop_stream._stream.base import StreamView

    from .opening import AsyncResponseOpened

__all__ = ["aprint_stream", "print_stream"]

# A model's text is untrusted, and escape sequences change the terminal's title, its clipboard and its screen. Each
# control character becomes a visible symbol instead (Unicode's Control Pictures, or U+FFFD).
_VISIBLE_CONTROLS: dict[int, int | str] = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
_VISIBLE_CONTROLS |= {0x7F: 0x2421, **dict.fromkeys(range(0x80, 0xA0), 0xFFFD)}
# What reorders the text around it (CVE-2021-42574), and tags, which hide a text from its reader: shown by their number.
_BIDI = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_VISIBLE_CONTROLS |= {code: f"<U+{code:04X}>" for code in (*_BIDI, *range(0xE0000, 0xE0080))}
# Windows reports EINVAL for a pipe without a reader.
_NO_READER_ERRORS = {errno.EPIPE, errno.ESHUTDOWN} | ({errno.EINVAL} if sys.platform == "win32" else set())


@overload
def print_stream(
    stream: Stream[ResponseStreamEvent] | Callable[[], Stream[ResponseStreamEvent]], file: TextIO | None = None
) -> Response: ...


@overload
def print_stream(stream: Chunks | Callable[[], Chunks], file: TextIO | None = None) -> ChatCompletion: ...


def print_stream(stream: Any, file: TextIO | None = None) -> Any:
    """Print each text delta of an answer as it arrives, and return the completion or the response.

    `stream` is a `ChatStream`, a `ResponseStream`, or anything that `ChatStream` accepts; `file` defaults to standard
    output. Characters that the file cannot encode become question marks; on a terminal, control characters become
    visible. An answer that was cut at the limit of tokens or by the content filter ends with a line on standard error
    that says so. If the reader of a pipe exits (`| head -1`), the stream is closed and the partial answer is returned.
    On Ctrl-C and on errors the stream is closed, which keeps the partial answer, and the exception is raised.
    """
    with as_stream(stream) as opened:
        output = _Output(file)
        try:
            for text in opened.text_stream:
                output.write(text)
                if output.has_no_reader:
                    return _so_far(opened)
        finally:
            output.end_line()
        return _with_note(opened.until_done()._final())  # noqa: SLF001 - of this package


@overload
async def aprint_stream(
    stream: AsyncResponseOpened | Callable[[], AsyncResponseOpened], file: TextIO | None = None
) -> Response: ...


@overload
async def aprint_stream(
    stream: AsyncOpened | Callable[[], AsyncOpened], file: TextIO | None = None
) -> ChatCompletion: ...


async def aprint_stream(stream: Any, file: TextIO | None = None) -> Any:
    """Print each text delta of an answer as it arrives, and return the answer, as `print_stream` does."""
    async with await as_async_stream(stream) as opened:
        output = _Output(file)
        try:
            async for text in opened.text_stream:
                output.write(text)
                if output.has_no_reader:
                    return _so_far(opened)
        finally:
            output.end_line()
        await opened.until_done()
        return _with_note(opened._final())  # noqa: SLF001 - as above


def _so_far(stream: StreamView[Any]) -> Any:
    return stream._state.accumulation.result  # noqa: SLF001 - as above


def _with_note(result: Any) -> Any:
    """Say on standard error if the answer was cut: a file or a pipe holds the answer alone."""
    if (note := finish_note(result)) and sys.stderr is not None:  # pythonw has no standard error
        print(f"({note})", file=sys.stderr, flush=True)  # noqa: T201 - what this module is for
    return result


class _Output:
    """A text file, whose reader may exit before the answer ends if it is a pipe."""

    def __init__(self, file: TextIO | None) -> None:
        self._file = sys.stdout if file is None else file
        self._is_terminal = self._file.isatty()
        self._in_line = False
        self.has_no_reader = False

    def write(self, text: str) -> None:
        """Write and flush a text; note if the pipe has no reader any more."""
        if self._is_terminal:
            text = text.translate(_VISIBLE_CONTROLS)
        try:
            try:
                self._file.write(text)
            except UnicodeEncodeError:
                encoding = self._file.encoding or "ascii"
                self._file.write(text.encode(encoding, "replace").decode(encoding))
            self._file.flush()
        except OSError as error:
            if error.errno not in _NO_READER_ERRORS:
                raise
            self._discard_output()
        self._in_line = not text.endswith("\n")

    def end_line(self) -> None:
        """End the last line, if it has text and a reader."""
        if self._in_line and not self.has_no_reader:
            self.write("\n")

    def _discard_output(self) -> None:
        """Redirect standard output to the null device: at exit, Python would fail to flush it and report that."""
        self.has_no_reader = True
        if self._file is not sys.stdout:
            return
        with suppress(OSError, ValueError):
            null_device = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null_device, self._file.fileno())
            os.close(null_device)
