"""Answers on a terminal, in a pipe or in a file, as they arrive."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from tensorloop_stream._chat.streams import AsyncChatStream, ChatStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai.types.chat import ChatCompletion

    from tensorloop_stream._chat.streams import AsyncOpened, Chunks

__all__ = ["aprint_stream", "print_stream"]

# A model's text is untrusted, and escape sequences set a terminal's title, its clipboard, what stands on it. So
# that they can be seen, each becomes its picture.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
_PICTURES |= {0x7F: 0x2421, **dict.fromkeys(range(0x80, 0xA0), 0xFFFD)}
# Windows says EINVAL of a pipe whose reader is gone.
_GONE = {errno.EPIPE, errno.ESHUTDOWN} | ({errno.EINVAL} if sys.platform == "win32" else set())


def print_stream(stream: Chunks | Callable[[], Chunks], file: TextIO | None = None) -> ChatCompletion:
    """Print the text of an answer, each piece as it comes, and return the completion.

    `stream` is a `ChatStream` or what one is made of; `file` is standard output if not given. Characters that
    the file cannot encode become question marks; on a terminal control characters become visible. When nobody
    reads a pipe any more (`| head -1`), the stream is closed and what had come is returned. On Ctrl-C and on
    errors it is closed, the text so far stays in `stream.completion`, and the exception goes on to the caller.
    """
    with stream if isinstance(stream, ChatStream) else ChatStream(stream) as chat:
        paper = _Paper(file)
        try:
            for text in chat.text_stream:
                paper.write(text)
                if paper.is_gone:
                    return chat.completion
        finally:
            paper.end_line()
        return chat.get_final_completion()


async def aprint_stream(stream: AsyncOpened | Callable[[], AsyncOpened], file: TextIO | None = None) -> ChatCompletion:
    """Print the text of an answer, as `print_stream` does."""
    async with stream if isinstance(stream, AsyncChatStream) else AsyncChatStream(stream) as chat:
        paper = _Paper(file)
        try:
            async for text in chat.text_stream:
                paper.write(text)
                if paper.is_gone:
                    return chat.completion
        finally:
            paper.end_line()
        return await chat.get_final_completion()


class _Paper:
    """A file that is written to while somebody may read it, or no longer."""

    def __init__(self, file: TextIO | None) -> None:
        self._file = sys.stdout if file is None else file
        self._is_terminal = self._file.isatty()
        self._in_line = False
        self.is_gone = False

    def write(self, text: str) -> None:
        if self._is_terminal:
            text = text.translate(_PICTURES)
        try:
            try:
                self._file.write(text)
            except UnicodeEncodeError:
                encoding = self._file.encoding or "ascii"
                self._file.write(text.encode(encoding, "replace").decode(encoding))
            self._file.flush()
        except OSError as error:
            if error.errno not in _GONE:
                raise
            self._let_go()
        self._in_line = not text.endswith("\n")

    def end_line(self) -> None:
        if self._in_line and not self.is_gone:
            self.write("\n")

    def _let_go(self) -> None:
        """Send what is still to be flushed nowhere: Python would complain about it when it exits."""
        self.is_gone = True
        if self._file is not sys.stdout:
            return
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._file.fileno())
            os.close(nowhere)
