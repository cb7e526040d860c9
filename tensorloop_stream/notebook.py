"""Show answers as growing Markdown in the cells of a notebook, which saves them.

The module needs only the notebook's own IPython, or marimo. Anywhere else it prints the answers.

    from tensorloop_stream.notebook import display_stream

    completion = display_stream(client.chat.completions.create(..., stream=True))
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, overload

from ._display.answer_view import AnswerView, not_opened, require_interval, side_by_side
from ._display.opening import as_async_stream, as_stream
from ._display.printer import aprint_stream, print_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openai import Stream
    from openai.types.chat import ChatCompletion
    from openai.types.responses import Response, ResponseStreamEvent

    from ._chat.streams import AsyncOpened, Chunks
    from ._display.opening import AsyncResponseOpened
    from ._stream.base import StreamView

    # Takes the Markdown and, with the last view, the same as plain text.
    Show = Callable[[str, str], object]

__all__ = ["adisplay_side_by_side", "adisplay_stream", "display_stream"]

# Seconds between two calls of the timer.
_TICK = 0.1


@overload
def display_stream(
    stream: Stream[ResponseStreamEvent] | Callable[[], Stream[ResponseStreamEvent]],
    *,
    min_interval: float = ...,
    footer: bool = ...,
    trusted: bool = ...,
) -> Response: ...


@overload
def display_stream(
    stream: Chunks | Callable[[], Chunks],
    *,
    min_interval: float = ...,
    footer: bool = ...,
    trusted: bool = ...,
) -> ChatCompletion: ...


def display_stream(
    stream: Any,
    *,
    min_interval: float = 0.1,
    footer: bool = True,
    trusted: bool = False,
) -> Any:
    """Show an answer in the notebook while it arrives, and return the completion or the response.

    `stream` is a `ChatStream`, a `ResponseStream`, or anything that `ChatStream` accepts. The cell shows the
    reasoning (folded), the text and the tool calls of choice 0, and a `footer` with the figures. It updates when a
    chunk arrives, at most every `min_interval` seconds: the last words before a pause may appear after it. Images
    become links and HTML becomes text unless the model is `trusted`. On an interrupt or an error the stream is
    closed, the partial answer stays with a note, and the exception is raised.

    Raises `TypeError` for an async stream, and `ValueError` for a `min_interval` that is not a number of seconds;
    both before anything is read.

    A cell shows the value of its last line: write `completion = display_stream(...)`. In marimo an answer is the
    output of its cell: give each answer a cell of its own.
    """
    require_interval(min_interval)
    if (show := _front_end()) is None:
        return print_stream(stream)
    with _show_opening(show):
        opened = as_stream(stream)
    answer = AnswerView(opened, min_interval=min_interval, footer=footer, trusted=trusted)
    with _show_outcome(answer, show), opened:
        # Not a loop over the items: until something of it is shown, a stream with `restarts` may begin again.
        advance = opened._advancing()  # noqa: SLF001 - of this package
        while advance(False) is not None:
            _show_new(answer, opened, show)
        return opened._final()  # noqa: SLF001 - of this package


@overload
async def adisplay_stream(
    stream: AsyncResponseOpened | Callable[[], AsyncResponseOpened],
    *,
    min_interval: float = ...,
    footer: bool = ...,
    trusted: bool = ...,
) -> Response: ...


@overload
async def adisplay_stream(
    stream: AsyncOpened | Callable[[], AsyncOpened],
    *,
    min_interval: float = ...,
    footer: bool = ...,
    trusted: bool = ...,
) -> ChatCompletion: ...


async def adisplay_stream(
    stream: Any,
    *,
    min_interval: float = 0.1,
    footer: bool = True,
    trusted: bool = False,
) -> Any:
    """Show an answer in the notebook while it arrives, as `display_stream` does; cells may `await`.

    Under asyncio, the cell also updates in a pause: it shows all that has arrived.
    """
    require_interval(min_interval)
    if (show := _front_end()) is None:
        return await aprint_stream(stream)
    return await _adisplay(stream, show, min_interval=min_interval, footer=footer, trusted=trusted)


@overload
async def adisplay_side_by_side(
    *streams: AsyncOpened | Callable[[], AsyncOpened],
    min_interval: float = ...,
    footer: bool = ...,
    trusted: bool = ...,
) -> list[ChatCompletion]: ...


@overload
async def adisplay_side_by_side(
    *streams: AsyncOpened | AsyncResponseOpened | Callable[[], AsyncOpened] | Callable[[], AsyncResponseOpened],
    min_interval: float = ...,
    footer: bool = ...,
    trusted: bool = ...,
) -> list[ChatCompletion | Response]: ...


async def adisplay_side_by_side(
    *streams: Any,
    min_interval: float = 0.1,
    footer: bool = True,
    trusted: bool = False,
) -> Any:
    """Show several answers beside each other while they arrive, and return their completions.

    Each has a column of one output, as `adisplay_stream` would show it. All are read to their ends; then the first
    error among them is raised. Outside of a notebook they are printed one after the other.

    Raises `TypeError` for a sync stream, which would let the others wait, and `ValueError` for a `min_interval` that is
    not a number of seconds.
    """
    require_interval(min_interval)
    if (show := _front_end()) is None:
        return [await aprint_stream(stream) for stream in streams]
    columns = [("…", "")] * len(streams)

    def show_column(number: int) -> Show:
        def show_all(markdown: str, text: str) -> None:
            columns[number] = (markdown, text)
            show(*side_by_side(columns))

        return show_all

    outcomes = await asyncio.gather(
        *(
            _adisplay(stream, show_column(number), min_interval=min_interval, footer=footer, trusted=trusted)
            for number, stream in enumerate(streams)
        ),
        return_exceptions=True,
    )
    completions = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        completions.append(outcome)
    return completions


async def _adisplay(stream: Any, show: Show, *, min_interval: float, footer: bool, trusted: bool) -> Any:
    with _show_opening(show), _ticking(lambda: None):
        opened = await as_async_stream(stream)
    answer = AnswerView(opened, min_interval=min_interval, footer=footer, trusted=trusted)

    def update() -> None:
        _show_new(answer, opened, show)

    with _show_outcome(answer, show), _ticking(update):
        async with opened:
            advance = opened._advancing()  # noqa: SLF001 - of this package
            while await advance(False) is not None:
                update()
            return opened._final()  # noqa: SLF001 - of this package


def _show_new(answer: AnswerView, stream: StreamView[Any], show: Show) -> None:
    """Show what is new of an answer, if it is time; a restart cannot take it back."""
    if (markdown := answer.update()) is not None:
        stream._state.delivered = True  # noqa: SLF001 - of this package
        show(markdown, "")


@contextmanager
def _show_opening(show: Show) -> Iterator[None]:
    """Show a placeholder while the block opens the stream, and why it cannot if it raises."""
    # The placeholder fixes the order of several streams in one cell: their first tokens would decide it otherwise.
    show("…", "")
    try:
        yield
    except BaseException as error:
        show(*not_opened(error))
        raise


@contextmanager
def _show_outcome(answer: AnswerView, show: Show) -> Iterator[None]:
    """Show the last view when the block ends, also by an exception."""
    try:
        yield
    except BaseException as error:
        show(*answer.last(error))
        raise
    show(*answer.last())


@contextmanager
def _ticking(tick: Callable[[], None]) -> Iterator[None]:
    """Call `tick` ten times a second while the block waits; the stop button depends on it.

    ipykernel 7 turns the signal into a callback of the event loop, but does not wake the loop. Without a timer, the
    callback runs only when the next chunk arrives.
    """
    loop = None
    with suppress(RuntimeError):  # trio
        loop = asyncio.get_running_loop()
    if loop is None:
        yield
        return
    # A timer, unlike a task, ends at once, and adds no exception to those of the block.
    timer: asyncio.TimerHandle

    def tick_and_repeat() -> None:
        nonlocal timer
        timer = loop.call_later(_TICK, tick_and_repeat)
        tick()

    timer = loop.call_later(_TICK, tick_and_repeat)
    try:
        yield
    finally:
        timer.cancel()


def _front_end() -> Show | None:
    """Return a function that shows Markdown in one output of this notebook; `None` outside of a notebook."""
    marimo: Any = sys.modules.get("marimo")
    if marimo is not None and marimo.running_in_notebook():
        return lambda markdown, _: marimo.output.replace(marimo.md(markdown))
    # Without an import of IPython there is no kernel.
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is None:
        return None
    handle = ipython.display.DisplayHandle()
    is_shown = False

    def show(markdown: str, text: str) -> None:
        nonlocal is_shown
        formats = {"text/markdown": markdown, "text/plain": text}
        # The kernel cannot send half of a surrogate pair: replace it.
        data = {mime_type: value.encode("utf-8", "replace").decode() for mime_type, value in formats.items()}
        (handle.update if is_shown else handle.display)(data, raw=True)
        is_shown = True

    return show
