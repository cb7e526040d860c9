"""Interrupts at every position of a stream's life, in turn: python tests/stream/test_interrupts.py

A stream is begun when its `with` block is entered. Before that, its source is the caller's, and nothing is called.
From then on, whatever the position: one terminal callback, the response closed, no task left, and the caller sees the
interrupt itself.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1] / "support"), str(Path(__file__).parents[2])]

import anyio
import httpx2
import openai
import pytest
import requirements
from callback_log import NAMES, CallbackLog
from chunks import DONE, chunk, event, finish, text, usage
from clients import SETTINGS, Body
from interrupts import AfterCallsOfC, AtAwait, AtInstructions, Interrupt
from openai.types.chat import ChatCompletionChunk

from tensorloop_stream import AsyncChatStream, Callbacks, ChatStream

EVENTS = [*map(event, (chunk({"role": "assistant", "content": ""}), text("Hi"), text("!"), finish(), usage())), DONE]
CUT = httpx2.ReadError("cut")
REQUEST = httpx2.Request("POST", "https://gateway.test/v1/chat/completions")
CLIENT, ASYNC_CLIENT = openai.OpenAI(**SETTINGS), openai.AsyncOpenAI(**SETTINGS)
# The positions at which a stream cannot close itself: it stays open until its `close` is called, or it is collected.
UNPROTECTED = {
    "__enter__": "the first instruction of a function is in no `try` of the function: the stream is not begun",
    "__aenter__": "as `__enter__`",
    "__aexit__": "as `__exit__`",
    "__exit__": "the first instruction of a function is in no `try` of the function, and nobody calls it again",
}


class WaitingBody(Body):
    """A body that waits for each part, and while it closes, as that of a socket does.

    It is no asynchronous generator: one that waits is left half closed by a `GeneratorExit` before Python 3.13.
    """

    def __aiter__(self) -> Any:
        return WaitingParts(iter(self))

    async def aclose(self) -> None:
        self.closed = True
        await anyio.lowlevel.checkpoint()


class WaitingParts:
    def __init__(self, parts: Iterator[bytes]) -> None:
        self.parts = parts

    async def __anext__(self) -> bytes:
        await anyio.lowlevel.checkpoint()
        for part in self.parts:
            return part
        raise StopAsyncIteration

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()


class CallerError(Exception):
    """The exception of a caller's own code."""


def waiting(callback: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return an asynchronous callback that waits after it was called."""

    async def called(argument: Any) -> None:
        callback(argument)
        await anyio.lowlevel.checkpoint()

    return called


class Life:
    """The life of one stream: of which source, left how, and what was called."""

    def __init__(self, name: str, *, is_async: bool = False, awaits_callbacks: bool = False) -> None:
        self.name = name
        raising = "on_text" if name == "callback raises" else ""
        self.log = CallbackLog(raising=raising)
        self.callbacks = Callbacks(
            **{
                name: waiting(getattr(self.log.callbacks, name))
                if awaits_callbacks
                else getattr(self.log.callbacks, name)
                for name in NAMES
            }
        )
        self.is_async = is_async
        self.bodies: list[WaitingBody] = []
        self.stream: Any = None

    def source(self) -> Any:
        whole: list[Any] = [*EVENTS[:3], CUT] if self.name == "cut" else list(EVENTS)
        parts = [CUT] if self.name == "restart" and not self.bodies else whole
        body = WaitingBody(parts)
        self.bodies.append(body)
        response = httpx2.Response(200, stream=body, request=REQUEST)
        if self.is_async:
            return openai.AsyncStream(cast_to=ChatCompletionChunk, response=response, client=ASYNC_CLIENT)
        return openai.Stream(cast_to=ChatCompletionChunk, response=response, client=CLIENT)

    def settings(self) -> dict[str, Any]:
        return {"restarts": 1} if self.name == "restart" else {}

    def live(self) -> None:
        source = self.source if self.name in {"restart", "function"} else self.source()
        self.stream = ChatStream(source, self.callbacks, **self.settings())
        with self.stream as stream:
            if self.name == "final":
                stream.get_final_completion()
            for _ in stream.text_stream if self.name == "text" else stream:
                if self.name == "left":
                    break
                if self.name == "exception":
                    raise CallerError

    async def live_async(self) -> None:
        source: Any = self.source if self.name in {"restart", "function"} else self.source()
        self.stream = AsyncChatStream(source, self.callbacks, **self.settings())
        async with self.stream as stream:
            if self.name == "final":
                await stream.get_final_completion()
            async for _ in stream.text_stream if self.name == "text" else stream:
                if self.name == "left":
                    break
                if self.name == "exception":
                    raise CallerError

    def faults(self, seen: BaseException | None, interrupt: Interrupt) -> list[str]:
        """Return what is wrong after an interrupt, in words."""
        if self.stream is None:
            return [f"called before it is begun: {self.log.names}"] if self.log.calls else []
        owner, _, name = interrupt.function.rpartition(".")
        if interrupt.is_first and owner in {"SyncStream", "AsyncStreamBase"} and name in UNPROTECTED:
            if self.is_async:
                LOOP.run_until_complete(self.stream.close())
            else:
                self.stream.close()
        found = [] if seen is interrupt.error else [f"the caller sees {seen!r}"]
        if interrupt.function == "AsyncReader._close_source" and "cancel scope" in str(seen):
            # anyio's scope is left open by an interrupt at the first instruction of its `__exit__`.
            return []
        # The callback is called, and interrupted before its first line.
        is_in_callback = interrupt.function == "CallbackPlan._call" and self.stream._state._plan.is_finished
        if len(self.log.terminal) != 1 and not (is_in_callback and not self.log.terminal):
            found.append(f"terminal callbacks: {self.log.terminal}")
        if not all(body.closed for body in self.bodies):
            found.append("a response is open")
        return found


LOOP = asyncio.new_event_loop()
LIVES = ["iterate", "text", "final", "left", "exception", "cut", "restart", "function", "callback raises"]


@contextmanager
def without_backoff() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tensorloop_stream._stream.state.backoff", lambda *_, **__: 0.0)
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    # The collector would end generators of earlier runs in the midst of one.
    gc.disable()
    try:
        with warnings.catch_warnings():
            # A stream whose constructor was interrupted, and a coroutine that was made and not yet awaited.
            warnings.simplefilter("ignore", ResourceWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            yield
    finally:
        gc.enable()


async def error_of(waiting: Awaitable[None]) -> BaseException | None:
    try:
        await waiting
    except BaseException as error:  # noqa: BLE001 - it is what the sweep looks at
        return error.with_traceback(None)
    return None


def sweep(name: str, places: AtInstructions | AfterCallsOfC, *, is_async: bool = False) -> tuple[int, list[str]]:
    """Return the count of the positions of a stream's life, and the faults found."""
    found: list[str] = []

    def live(life: Life) -> BaseException | None:
        if is_async:
            return LOOP.run_until_complete(error_of(life.live_async()))
        try:
            life.live()
        except BaseException as error:  # noqa: BLE001 - it is what the sweep looks at
            return error.with_traceback(None)
        return None

    with without_backoff(), undisturbed():
        for _ in range(3):  # what is made once is made before
            live(Life(name, is_async=is_async))
        life = Life(name, is_async=is_async)
        positions = places.positions(lambda: live(life))
        for position in positions:
            interrupt, life = Interrupt(KeyboardInterrupt()), Life(name, is_async=is_async)
            with places.raising(interrupt, position):
                seen = live(life)
            assert interrupt.was_raised, f"{position} was not reached: the run is not the same each time"
            found += [f"{interrupt}: {fault}" for fault in life.faults(seen, interrupt)]
    return len(positions), found


def sweep_awaits(name: str, kind: type[BaseException]) -> tuple[int, list[str]]:
    """Return the count of the moments at which a stream waits, and the faults found."""
    with without_backoff():
        return LOOP.run_until_complete(_sweep_awaits(name, kind))


async def _sweep_awaits(name: str, kind: type[BaseException]) -> tuple[int, list[str]]:
    found: list[str] = []
    position = 0
    while True:
        interrupt, life = Interrupt(kind()), Life(name, is_async=True, awaits_callbacks=True)
        seen: BaseException | None = None
        try:
            await AtAwait(life.live_async(), interrupt, position + 1)
        except BaseException as error:  # noqa: BLE001 - it is what the sweep looks at
            seen = error
        if not interrupt.was_raised:
            return position, found
        position += 1
        found += [f"{kind.__name__} at await {position}: {fault}" for fault in life.faults(seen, interrupt)]
        if len(asyncio.all_tasks()) > 1:
            found.append(f"{kind.__name__} at await {position}: a task is left")


ALL_SIGNALS, AFTER_CALLS = AtInstructions(), AfterCallsOfC()
# From 3.13 a frame is traced only from its next instruction with an event on: the positions are not the same each time.
can_trace = pytest.mark.skipif(sys.version_info >= (3, 13), reason="sys.settrace skips instructions")
SWEPT = [(name, is_async) for name in LIVES for is_async in (False, True)]
IN_SHORT = [("iterate", False), ("left", False), ("cut", False), ("left", True), ("function", True)]


@pytest.mark.parametrize(("name", "is_async"), SWEPT if requirements.REQUIRE_ALL else IN_SHORT)
@pytest.mark.parametrize(
    "places", [pytest.param(ALL_SIGNALS, id="at signals", marks=can_trace), pytest.param(AFTER_CALLS, id="after calls")]
)
def test_an_interrupt_at_any_signal_ends_the_stream_once(places: Any, name: str, is_async: bool) -> None:
    """Wherever CPython raises a `KeyboardInterrupt`: one terminal callback, nothing open, and the interrupt is seen."""
    count, faults = sweep(name, places, is_async=is_async)

    assert faults == []
    assert count > 100


@pytest.mark.parametrize("name", LIVES)
@pytest.mark.parametrize("kind", [asyncio.CancelledError, GeneratorExit])
def test_an_interrupt_at_any_await_ends_the_stream_once(kind: type[BaseException], name: str) -> None:
    """Wherever a stream waits for a part, a close or a callback: one terminal callback, and nothing is left."""
    count, faults = sweep_awaits(name, kind)

    assert faults == []
    assert count > 3


def report() -> None:
    """Print the count of positions and faults of each life."""
    total = 0
    for name in LIVES:
        for kind in (asyncio.CancelledError, GeneratorExit):
            count, faults = sweep_awaits(name, kind)
            total += count
            print(f"{count:6,} awaits        {kind.__name__:17} async {name}: {len(faults)} faults")
        for is_async in (False, True):
            for places, what in ((ALL_SIGNALS, "signals"), (AFTER_CALLS, "calls of C")):
                count, faults = sweep(name, places, is_async=is_async)
                total += count
                kind_of = "async" if is_async else "sync "
                print(f"{count:6,} {what:13} KeyboardInterrupt {kind_of} {name}: {len(faults)} faults", *faults[:5])
    print(f"{total:,} positions")


if __name__ == "__main__":
    report()
