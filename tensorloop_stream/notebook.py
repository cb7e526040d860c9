"""Answers that grow as Markdown in the cell of a notebook, and are saved with it.

Needs no more than the notebook's own IPython, or marimo; anywhere else the answers are printed.

    from tensorloop_stream.notebook import display_stream

    completion = display_stream(client.chat.completions.create(..., stream=True))
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ._chat.streams import AsyncChatStream, ChatStream
from ._display.answer_view import AnswerView, require_interval
from ._display.printer import aprint_stream, print_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openai.types.chat import ChatCompletion

    from ._chat.streams import AsyncOpened, Chunks

    # Takes Markdown and, of the last time, the same as plain text.
    Show = Callable[[str, str], object]

__all__ = ["adisplay_stream", "display_stream"]

# Seconds.
_TICK = 0.1


def display_stream(
    stream: Chunks | Callable[[], Chunks],
    *,
    min_interval: float = 0.1,
    footer: bool = True,
    trusted: bool = False,
) -> ChatCompletion:
    """Show an answer in the notebook while it arrives, and return the completion.

    `stream` is a `ChatStream` or what one is made of. Shown are choice 0's reasoning (folded), text and tool
    calls, and a `footer` with the figures. The cell is updated every `min_interval` seconds at most, when a chunk
    comes: the last words before a pause may be shown after it. Images are shown as links and HTML as text unless the
    model is `trusted`. On an interrupt or an error the stream is closed, what had come stays with a line that says
    so, and the exception goes on to the caller.

    Raises `TypeError` for an async stream, `ValueError` for a `min_interval` that is no number of seconds; before
    anything is read.

    A cell shows the value of its last line: write `completion = display_stream(...)`. In marimo, an answer is the
    output of its cell, so give each a cell of its own.
    """
    require_interval(min_interval)
    if (show := _front_end()) is None:
        return print_stream(stream)
    chat = stream if isinstance(stream, ChatStream) else ChatStream(stream)
    answer = AnswerView(chat, min_interval=min_interval, footer=footer, trusted=trusted)
    with _kept(answer, show), chat:
        for _ in chat:
            if (markdown := answer.update()) is not None:
                show(markdown, "")
        return chat.get_final_completion()


async def adisplay_stream(
    stream: AsyncOpened | Callable[[], AsyncOpened],
    *,
    min_interval: float = 0.1,
    footer: bool = True,
    trusted: bool = False,
) -> ChatCompletion:
    """Show an answer in the notebook while it arrives, as `display_stream` does; cells may `await`.

    Under asyncio, a pause shows all that came before it.
    """
    require_interval(min_interval)
    if (show := _front_end()) is None:
        return await aprint_stream(stream)
    chat = stream if isinstance(stream, AsyncChatStream) else AsyncChatStream(stream)
    answer = AnswerView(chat, min_interval=min_interval, footer=footer, trusted=trusted)

    def update() -> None:
        if (markdown := answer.update()) is not None:
            show(markdown, "")

    with _kept(answer, show), _ticking(update):
        async with chat:
            async for _ in chat:
                update()
            return await chat.get_final_completion()


@contextmanager
def _kept(answer: AnswerView, show: Show) -> Iterator[None]:
    """Show that something is to come, and what came, however the block ends."""
    # At once: of several streams in one cell, the first token to come would decide their order.
    show("…", "")
    try:
        yield
    except BaseException as error:
        show(*answer.last(error))
        raise
    show(*answer.last())


@contextmanager
def _ticking(tick: Callable[[], None]) -> Iterator[None]:
    """Call `tick` ten times a second while the block waits, and so let the stop button through.

    ipykernel 7 turns the signal into a callback of the event loop, and does not wake the loop for it: without a timer
    it is called when the next chunk comes.
    """
    loop = None
    with suppress(RuntimeError):  # trio
        loop = asyncio.get_running_loop()
    if loop is None:
        yield
        return
    # A timer and no task: it ends at once, and no exception of its own mixes with those of the block.
    timer: asyncio.TimerHandle

    def again() -> None:
        nonlocal timer
        timer = loop.call_later(_TICK, again)
        tick()

    timer = loop.call_later(_TICK, again)
    try:
        yield
    finally:
        timer.cancel()


def _front_end() -> Show | None:
    """Return what shows Markdown in this notebook, always in the same output; `None` outside of one."""
    marimo: Any = sys.modules.get("marimo")
    if marimo is not None and marimo.running_in_notebook():
        return lambda markdown, _: marimo.output.replace(marimo.md(markdown))
    # Where nobody imported IPython, there is no kernel.
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is None:
        return None
    handle = ipython.display.DisplayHandle()
    is_shown = False

    def show(markdown: str, text: str) -> None:
        nonlocal is_shown
        both = {"text/markdown": markdown, "text/plain": text}
        # Half of a surrogate pair cannot be sent on.
        data = {kind: value.encode("utf-8", "replace").decode() for kind, value in both.items()}
        (handle.update if is_shown else handle.display)(data, raw=True)
        is_shown = True

    return show
