"""Await with a deadline, or without waiting at all."""

from __future__ import annotations

import time
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx2

    from .settings import StreamSettings

_T = TypeVar("_T")


async def in_time(waiting: Awaitable[_T], until: float, timed_out: Callable[[], Exception]) -> _T:
    """Return the result of `waiting` before this moment of the monotonic clock, else raise what `timed_out` returns."""
    with anyio.move_on_after(max(until - time.monotonic(), 0)):
        return await waiting
    raise timed_out()


# When the wait for a request ends, on the monotonic clock: a client does not wait beyond it for another try.
deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
# The settings of the stream that waits for its request, which come before those of the client.
waiting_with: ContextVar[StreamSettings | None] = ContextVar("waiting_with", default=None)


async def opened_in_time(opening: Awaitable[_T], until: float | None, timed_out: Callable[[], Exception]) -> _T:
    """Return what a request returns, as `in_time` does; inside of it, `deadline` is the earliest of all."""
    if until is None:
        return await opening
    outer = deadline.get()
    token = deadline.set(until if outer is None else min(outer, until))
    try:
        return await in_time(opening, until, timed_out)
    finally:
        with suppress(ValueError):  # a coroutine that is dropped is closed in whatever context
            deadline.reset(token)


async def in_time_or_closed(
    waiting: Awaitable[_T], until: float, response: httpx2.Response, timed_out: Callable[[], Exception]
) -> _T:
    """Return the result of `waiting` before this moment, as `in_time` does; else close the response and raise.

    The tool that watches the stream sees a connection that breaks, and records an error. A cancellation would be none.
    """
    is_late = False
    done: list[_T] = []
    failed: list[Exception] = []

    async def close_when_late() -> None:
        nonlocal is_late
        await anyio.sleep(max(until - time.monotonic(), 0))
        is_late = True
        await response.aclose()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(close_when_late)
        try:
            done.append(await waiting)
        except Exception as error:  # noqa: BLE001 - raised below, not in a group
            failed.append(error)
        tasks.cancel_scope.cancel()
    if is_late:
        raise timed_out()
    if failed:
        raise failed[0]
    return done[0]


def run_at_once(waiting: Awaitable[Any]) -> None:
    """Run an awaitable until it waits, and end it there."""
    steps = waiting.__await__()
    with suppress(StopIteration):
        next(steps)
        if (close := getattr(steps, "close", None)) is not None:
            close()
