"""Interrupts at a chosen moment of a program: where CPython raises what a signal handler raises, or at an await.

CPython looks for signals at the first instruction of a function, at a jump backward, and at a call: while the function
waits, and after it returned. Nowhere else can a `KeyboardInterrupt` come between two instructions.
"""

from __future__ import annotations

import asyncio
import dis
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, TypeVar

import tensorloop_stream

_T = TypeVar("_T")
Position = tuple[int, int]
_PACKAGE = str(Path(tensorloop_stream.__file__).parent)
# CPython prints an exception of a finalizer, and raises it to nobody.
_FINALIZERS = {"__del__"}
# No call of a finalizer is deeper; looking through the whole stack, at each call, takes most of the time.
_MAX_DEPTH = 12


class Interrupt:
    """An exception that is raised once, at one position of a run; then it knows where that was."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.was_raised = False
        # The function and the line of the position, and whether it is the first instruction of the function.
        self.function, self.line, self.is_first = "", 0, False

    def raise_in(self, frame: FrameType | None) -> None:
        self.was_raised = True
        if frame is not None:
            self.function, self.line = frame.f_code.co_qualname, frame.f_lineno
            self.is_first = frame.f_lasti <= _first_instruction(frame.f_code)
        raise self.error

    def __str__(self) -> str:
        return f"{type(self.error).__name__} in {self.function}, line {self.line}"


@cache
def _signal_offsets(code: CodeType) -> frozenset[int]:
    """Return the instructions at which CPython looks for signals; that of a call stands for the wait in the call."""
    return frozenset(
        each.offset
        for each in dis.get_instructions(code)
        if each.opname in {"RESUME", "JUMP_BACKWARD", "FOR_ITER", "SEND", "CALL", "CALL_KW", "CALL_FUNCTION_EX"}
        or each.opname.startswith("POP_JUMP_BACKWARD")
    )


@cache
def _first_instruction(code: CodeType) -> int:
    return next(each.offset for each in dis.get_instructions(code) if each.opname == "RESUME")


def _is_ours(frame: FrameType | None) -> bool:
    if frame is None or not frame.f_code.co_filename.startswith(_PACKAGE):
        return False
    for _ in range(_MAX_DEPTH):
        if frame is None:
            break
        if frame.f_code.co_name in _FINALIZERS:
            return False
        frame = frame.f_back
    return True


class AtInstructions:
    """The instructions of this package: those at which CPython looks for signals, or every one."""

    def __init__(self, *, every: bool = False) -> None:
        self.every = every

    def positions(self, run: Callable[[], object]) -> list[Position]:
        """Return each position of a run: the number of a call or resumption, and that of an instruction in it.

        The first, at zero, is the begin of the call, which has no event of its own. A generator expression has none:
        CPython prints an exception that comes while it closes one that `any` left, and raises it to nobody.
        """
        counts: list[int] = []
        begins: list[int] = []

        def on_call(frame: FrameType, _: str, __: Any) -> Any:
            if not _is_ours(frame):
                return None
            number = len(counts)
            counts.append(0)
            begins.append(frame.f_code.co_name == "<genexpr>")

            def in_frame(frame: FrameType, event: str, _: Any) -> Any:
                counts[number] += self._counts(frame, event)
                return in_frame

            return _traced(frame, in_frame)

        with _set_for_a_while(sys.settrace, sys.gettrace(), on_call):
            run()
        return [(call, place) for call, count in enumerate(counts) for place in range(begins[call], count + 1)]

    def raising(self, interrupt: Interrupt, position: Position) -> AbstractContextManager[None]:
        """Raise the interrupt at this position, before the instruction."""
        calls, places = position

        def in_frame(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal places
            places -= self._counts(frame, event)
            if places == 0:
                interrupt.raise_in(frame)
            return in_frame

        def on_call(frame: FrameType, _: str, __: Any) -> Any:
            nonlocal calls
            if not _is_ours(frame):
                return None
            calls -= 1
            if calls != -1:
                # Tracing the one call alone makes a run several times as fast.
                return None
            if places == 0:
                interrupt.raise_in(frame)
            return _traced(frame, in_frame)

        return _set_for_a_while(sys.settrace, sys.gettrace(), on_call)

    def _counts(self, frame: FrameType, event: str) -> bool:
        return event == "opcode" and (self.every or frame.f_lasti in _signal_offsets(frame.f_code))


def _traced(frame: FrameType, in_frame: Any) -> Any:
    frame.f_trace_opcodes, frame.f_trace_lines = True, False
    return in_frame


class AfterCallsOfC:
    """The returns of functions of C that this package calls: an interrupt there loses the result."""

    def positions(self, run: Callable[[], object]) -> list[Position]:
        """Return each position of a run."""
        count = 0

        def on_event(frame: FrameType, event: str, _: Any) -> None:
            nonlocal count
            count += event == "c_return" and _is_ours(frame)

        with _set_for_a_while(sys.setprofile, sys.getprofile(), on_event):
            run()
        return [(0, place) for place in range(1, count + 1)]

    def raising(self, interrupt: Interrupt, position: Position) -> AbstractContextManager[None]:
        """Raise the interrupt at this position."""
        left = position[1]

        def on_event(frame: FrameType, event: str, _: Any) -> None:
            nonlocal left
            left -= event == "c_return" and _is_ours(frame)
            if left == 0:
                interrupt.raise_in(frame)

        return _set_for_a_while(sys.setprofile, sys.getprofile(), on_event)


@contextmanager
def _set_for_a_while(setting: Callable[[Any], None], before: Any, now: Any) -> Iterator[None]:
    setting(now)
    try:
        yield
    finally:
        setting(before)


class AtAwait(Awaitable[_T]):
    """Await an awaitable, and throw the interrupt into it at one of the moments at which it waits.

    A coroutine that waits after a `GeneratorExit` gets a `RuntimeError`, as from its `close`.
    """

    def __init__(self, waiting: Awaitable[_T], interrupt: Interrupt, position: int) -> None:
        self._waiting = waiting
        self._interrupt = interrupt
        self.left = position

    def __await__(self) -> Generator[Any, Any, _T]:
        steps = self._waiting.__await__()
        error: BaseException | None = None
        while True:
            try:
                waits_for = next(steps) if error is None else steps.throw(error)
            except StopIteration as stopped:
                result: _T = stopped.value
                return result
            if isinstance(error, GeneratorExit):
                raise RuntimeError("coroutine ignored GeneratorExit")
            error = None
            self.left -= 1
            if self.left == 0:
                if waits_for is not None:
                    waits_for._asyncio_future_blocking = False
                self._interrupt.was_raised = True
                error = self._interrupt.error
                continue
            try:
                yield waits_for
            except BaseException as raised:  # noqa: BLE001 - thrown in
                error = raised


class CancelledAtAwait(Awaitable[_T]):
    """Await an awaitable, and cancel the task at one of the moments at which it waits, as `Task.cancel` does."""

    def __init__(self, waiting: Awaitable[_T], position: int) -> None:
        self._waiting = waiting
        self.left = position

    def __await__(self) -> Generator[Any, Any, _T]:
        steps = self._waiting.__await__()
        error: BaseException | None = None
        while True:
            try:
                waits_for = next(steps) if error is None else steps.throw(error)
            except StopIteration as stopped:
                result: _T = stopped.value
                return result
            error = None
            self.left -= 1
            if self.left == 0:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                yield waits_for
            except BaseException as raised:  # noqa: BLE001 - thrown in
                error = raised


def send_ctrl_c(seconds: float = 0.05) -> None:
    """Send Ctrl-C a little later; the signal reaches a main thread that is blocked in the kernel."""
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(seconds, signal.pthread_kill, (main, signal.SIGINT)).start()
