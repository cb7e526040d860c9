"""Read one stream in asynchronous code, from its opening to its closing; `StreamState` decides.

`sync_reader` is the same without `await`; a test compares the two.
"""

from __future__ import annotations

import asyncio
import inspect
import warnings
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio
from openai import AsyncStream

from tensorloop_stream._errors import StreamError, StreamTimeoutError

from .base import UNCLOSED, ItemT, describe, is_of_ours
from .foreign import aclose_foreign
from .sources import (
    DRAIN_SECONDS,
    END,
    AsyncSource,
    BeingReadError,
    Request,
    can_drain,
    is_in_use,
    no_source,
    open_async_source,
)
from .waiting import in_time, in_time_or_closed, opened_in_time, run_at_once, waiting_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tensorloop_stream._callbacks import Call

    from .state import StreamState

_T = TypeVar("_T")
_IS_READ = "this stream is being read by another task: give each its own stream, or read it in one"


class AsyncReader(Generic[ItemT]):
    """Reads one stream, from its opening to its closing; what the SDK keeps in `AsyncStream._iterator`."""

    def __init__(self, state: StreamState, name: str) -> None:
        self.state = state
        self.name = name
        # `None` before the stream is open and after it is closed.
        self.source: AsyncSource | None = None
        # The first request of it that is known.
        self._request: Request | None = None
        # The function that opens it, or the awaitable that does.
        self.opens: Callable[[], Any] | None = None
        self.opening: Awaitable[Any] | None = None
        self._opening_scope: anyio.CancelScope | None = None
        # The task that closed it before its end.
        self._closed_by: int | None = None
        # The task that closes the source.
        self._closing_in: int | None = None
        self._is_opening = False

    def __aiter__(self) -> AsyncIterator[ItemT]:
        return self

    async def __anext__(self) -> ItemT:
        item: ItemT | None = await self.advance(True)
        if item is None:
            raise StopAsyncIteration
        self.state.delivered = True
        return item

    async def advance(self, typed: bool) -> Any:
        """Return the next item, waiting for it; `None` at the end."""
        state = self.state
        while not state.ended:
            try:
                try:
                    item = state.next(typed) if state.pending else None
                    while item is None and not state.done:
                        item = await self._read(typed)
                    if item is None:
                        await self._drain()
                except BeingReadError:
                    raise
                except Exception as error:  # noqa: BLE001 - raised again, if the stream is not opened again
                    if state.ended:
                        # Closed under the read, by another task.
                        state.interrupted()
                        break
                    item = await self._recover(error, typed=typed)
                    if item is None:
                        continue
                    return item
                if item is None:
                    await self._end()
                    break
                if state.has_item_callbacks:
                    await self._run(state.calls(item))
            except Exception:
                raise
            except BaseException as interrupt:
                # A cancelled task: the connection must not stay open until the garbage is collected.
                await self._leave(interrupt)
                state.interrupted()
                raise
            return item
        if self._closed_by not in {None, _current_task()}:
            # Its reader must not take this for the end of the answer, wherever it is.
            state.interrupted()
        if state.error is not None:
            raise state.error
        return None

    async def _end(self) -> None:
        """End a stream that was read to its end."""
        await self._close_source()
        await self._run(self.state.finished())

    async def finish(self, item: Any = None) -> Any:
        """Return `item`; if it is `None`, read on to the end of the stream, which a tool may hide in part."""
        if item is None:
            while await self.advance(False) is not None:
                pass
        return item

    async def _read(self, typed: bool) -> Any:
        """Hand the state the next read, whenever it arrives, and return the item that it completes."""
        state, source = self.state, self.source or await self.open()
        until = state.wait_until() if state.has_timeout and source.waits else None
        try:
            if not source.waits:
                data = next(source.reads, END)
            elif until is None:
                data = await anext(source.reads, END)
            elif source.kind == "sdk" and source.response is not None:
                data = await in_time_or_closed(anext(source.reads, END), until, source.response, state.timed_out)
            else:
                data = await in_time(anext(source.reads, END), until, state.timed_out)
        except StreamTimeoutError:
            raise
        except Exception as error:
            if is_in_use(error):
                raise BeingReadError(_IS_READ) from error
            broken = state.failed(error, source.kind)
            if broken is error:
                raise
            raise broken from error
        if data is not END:
            return state.feed_one(data, source.kind, typed)
        source.is_exhausted = True
        state.receive_end()
        return state.next(typed)

    async def open(self) -> AsyncSource:
        """Open the stream."""
        if self._is_opening:
            raise BeingReadError(_IS_READ)
        self._is_opening = True
        opened: Any = None
        source = None
        try:
            opened = self.opens() if self.opens is not None else self.opening
            self.opening = None
            if inspect.isawaitable(opened):
                opened = await self._opened(opened)
            self.state.has_timeout = self.state.settings.has_timeout
            if is_of_ours(opened, AsyncStream):
                source = opened._hand_over()
                # The timeouts of its client hold, too.
                self.state.configure(None, self.state.settings.over(opened._state.settings))
                if source is None:
                    # A tool watches it, and must see the error of a timeout.
                    opened._set_timeouts(self.state.settings)
                    self.state.has_timeout = False
            source = source or open_async_source(opened, self.state.dialect)
            if source is not None:
                self.begin(source)
        except Exception:
            raise
        except BaseException:
            # Nobody else knows of what was opened.
            await (source.close() if source is not None else aclose_foreign(opened))
            raise
        finally:
            self._is_opening = False
        if source is None:
            raise no_source(opened, self.state.dialect)
        return source

    async def _opened(self, opening: Awaitable[_T]) -> _T:
        """Wait for what opens the stream, until another task closes it."""
        until = self.state.wait_until()
        token = waiting_with.set(self.state.settings)
        try:
            with anyio.CancelScope() as self._opening_scope:
                return await opened_in_time(opening, until, self.state.timed_out)
        finally:
            with suppress(ValueError):  # a coroutine that is dropped is closed in whatever context
                waiting_with.reset(token)
        raise self.state.unfinished()

    def begin(self, source: AsyncSource) -> None:
        """Read from this source."""
        self.source = source
        self.state.response = source.response
        self._request = self._request or source.request

    async def close(self) -> None:
        """Close the connection now; a stream closed before its end calls `on_abort`."""
        try:
            await self._close()
        except Exception:
            raise
        except BaseException as interrupt:
            # An interrupt while it closes: the connection and the terminal callback come first.
            await self._leave(interrupt)
            raise

    async def aclose(self) -> None:
        """Close the connection now: the method of an async generator, which the SDK has in this place."""
        await self.close()

    async def _close(self) -> None:
        if self._closing_in == _current_task():
            # A tool closes the stream when its response closes (OpenTelemetry): the stream ends as it was to end.
            return
        state = self.state
        if not state.ended:
            self._closed_by = _current_task()
        # Shielded, because a cancelled task must still close and call back.
        with anyio.CancelScope(shield=True):
            try:
                calls = state.abandoned()
            finally:
                await self._close_source()
            await self._run(calls)

    async def _leave(self, interrupt: BaseException) -> None:
        """Close the stream after an interrupt, without waiting where the coroutine itself is closed."""
        if not isinstance(interrupt, GeneratorExit):
            await self._close()
            return
        # Python lets a coroutine that is closed not wait: the connection closes, and plain callbacks are called.
        try:
            calls = self.state.abandoned()
        finally:
            source, self.source = self.source, None
            if source is not None:
                source.close_at_once()
        for function, argument in calls:
            result = function(argument)
            if inspect.isawaitable(result):
                run_at_once(result)

    async def _drain(self) -> None:
        """Read past the last item to the end: a connection can be used again, and a tool that watches ends its record.

        The SDK's loop reads on, too, after the last event of the Responses API (openai-python#3440 for the connection).
        """
        source = self.source
        if source is None or not (can_drain(source) or source.is_watched):
            return
        try:
            with anyio.move_on_after(DRAIN_SECONDS):
                while await anext(source.reads, END) is not END:
                    pass
                source.is_exhausted = True
        except Exception as error:
            # The answer is whole; only its connection is lost.
            if not isinstance(self.state.failed(error, source.kind), StreamError):
                raise

    async def _recover(self, error: Exception, *, typed: bool) -> Any:
        """Return `None` if the stream is to be opened again, else end it with `error`.

        If `typed`, an item that says that the answer failed is returned before the error is raised.
        """
        state, request = self.state, self._request
        if state.has_failed_item and self.source is not None and self.source.is_watched:
            with suppress(Exception):  # the error of the answer counts
                await self._drain()
        await self._close_source()
        delay, opens, continuing = state.restart_delay(error), self.opens, None
        if delay is None and request is not None:
            continuing = state.continue_delay(error, request.body)
            if continuing is not None:
                delay, opens = continuing[0], partial(request.again, continuing[1])
        if delay is None or opens is None:
            error, item = state.final_error(error), state.take_failed_item()
            if item is not None and state.has_item_callbacks:
                await self._run(state.calls(item))
            await self._run(state.failed_with(error))
            if item is not None and typed:
                return item
            raise error
        await anyio.sleep(delay)
        self.opens = opens
        if continuing is None:
            state.reset()
        else:
            state.begin_continuation()
        return None

    async def enter(self) -> None:
        """Open the stream, unless it is open or closed."""
        while self.source is None and not self.state.ended:
            try:
                await self.open()
            except Exception as error:
                if self.state.ended:
                    raise
                await self._recover(error, typed=False)

    async def _run(self, calls: list[Call]) -> None:
        for function, argument in calls:
            try:
                result = function(argument)
                if inspect.isawaitable(result):
                    await result
            except Exception as error:
                await self._close_source()
                await self._run(self.state.failed_with(error))
                raise

    async def _close_source(self) -> None:
        if self._opening_scope is not None:
            self._opening_scope.cancel()
        if inspect.iscoroutine(self.opening):
            self.opening.close()
        self.opening = None
        source, self.source = self.source, None
        if source is None:
            return
        try:
            self._closing_in = _current_task()
            with anyio.CancelScope(shield=True):
                await source.close()
        except Exception:
            raise
        except GeneratorExit:
            source.close_at_once()
            raise
        except BaseException:
            # An interrupt while it closes.
            with anyio.CancelScope(shield=True):
                await source.close()
            raise
        finally:
            self._closing_in = None

    def __repr__(self) -> str:
        return describe(self.name, self.state)

    def __del__(self) -> None:
        source = getattr(self, "source", None)
        if source is not None and source.is_open:
            warnings.warn(UNCLOSED.format(self), ResourceWarning, stacklevel=1, source=self)


def _current_task() -> int:
    try:
        return id(asyncio.current_task())
    except RuntimeError:  # trio
        return anyio.get_current_task().id
