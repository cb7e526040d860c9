"""Read one stream in synchronous code, from its opening to its closing; `StreamState` decides.

`async_reader` is the same with `await` where this one blocks; a test compares the two.
"""

from __future__ import annotations

import inspect
import time
import warnings
from contextlib import suppress
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic

from openai import Stream

from tensorloop_stream._errors import StreamError

from .base import UNCLOSED, ItemT, describe, is_of_ours
from .foreign import close_foreign
from .sources import (
    DRAIN_SECONDS,
    END,
    BeingReadError,
    Request,
    Source,
    alarm_of,
    can_drain,
    is_in_use,
    no_source,
    open_source,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tensorloop_stream._callbacks import Call

    from .dialect import Dialect
    from .state import StreamState
    from .watchdog import Alarm

_IS_READ = "this stream is being read by another thread: give each its own stream, or read it in one"


class SyncReader(Generic[ItemT]):
    """Reads one stream, from its opening to its closing; what the SDK keeps in `Stream._iterator`."""

    def __init__(self, state: StreamState, name: str) -> None:
        self.state = state
        self.name = name
        # `None` before the stream is open and after it is closed.
        self.source: Source | None = None
        # The first request of it that is known.
        self._request: Request | None = None
        # The function that opens it.
        self.opens: Callable[[], Any] | None = None
        self._alarm: Alarm | None = None
        # The thread that closed it before its end.
        self._closed_by: int | None = None
        # The thread that closes the source.
        self._closing_in: int | None = None

    def __iter__(self) -> Iterator[ItemT]:
        return self

    def __next__(self) -> ItemT:
        item: ItemT | None = self.advance(True)
        if item is None:
            raise StopIteration
        self.state.delivered = True
        return item

    def advance(self, typed: bool) -> Any:
        """Return the next item, waiting for it; `None` at the end."""
        state = self.state
        while not state.ended:
            try:
                try:
                    item = state.next(typed) if state.pending else None
                    while item is None and not state.done:
                        item = self._read(typed)
                    if item is None:
                        self._drain()
                except BeingReadError:
                    raise
                except Exception as error:  # noqa: BLE001 - raised again, if the stream is not opened again
                    if state.ended:
                        # Closed under the read, by another thread.
                        state.interrupted()
                        break
                    item = self._recover(error, typed=typed)
                    if item is None:
                        continue
                    return item
                if item is None:
                    self._end()
                    break
                if state.has_item_callbacks:
                    self._run(state.calls(item))
            except Exception:
                raise
            except BaseException as interrupt:
                # Ctrl-C while waiting: the connection must not stay open until the garbage is collected.
                self._leave(interrupt)
                state.interrupted()
                raise
            return item
        if self._closed_by not in {None, get_ident()}:
            # Its reader must not take this for the end of the answer, wherever it is.
            state.interrupted()
        if state.error is not None:
            raise state.error
        return None

    def _end(self) -> None:
        """End a stream that was read to its end."""
        self._close_source()
        self._run(self.state.finished())

    def finish(self, item: Any = None) -> Any:
        """Return `item`; if it is `None`, read on to the end of the stream, which a tool may hide in part."""
        if item is None:
            while self.advance(False) is not None:
                pass
        return item

    def _read(self, typed: bool) -> Any:
        """Hand the state the next read, whenever it arrives, and return the item that it completes."""
        state, source = self.state, self.source or self.open()
        until = state.wait_until() if state.has_timeout else None
        alarm = None if until is None else self._alarm
        rang = False
        try:
            if until is None or alarm is None:
                data = next(source.reads, END)
            else:
                alarm.set(until)
                try:
                    data = next(source.reads, END)
                finally:
                    rang = alarm.clear()
        except Exception as error:
            if is_in_use(error):
                raise BeingReadError(_IS_READ) from error
            broken = state.failed(error, source.kind, timed_out=rang)
            if broken is error:
                raise
            raise broken from error
        if rang and data is END:
            raise state.timed_out()
        if data is not END:
            return state.feed_one(data, source.kind, typed)
        source.is_exhausted = True
        state.receive_end()
        return state.next(typed)

    def open(self) -> Source:
        """Open the stream."""
        if self.opens is None:
            raise RuntimeError("the stream is closed")
        opened = self.opens()
        source = None
        try:
            # A continuation may be what the first source was: without a socket.
            needs_alarm = self.state.settings.has_timeout and not self.state.continued
            self.state.has_timeout = self.state.settings.has_timeout
            if is_of_ours(opened, Stream):
                source = opened._hand_over()
                # The timeouts of its client hold, too.
                self.state.configure(None, self.state.settings.over(opened._state.settings))
                if source is None:
                    # A tool watches it, and must see the error of a timeout.
                    opened._set_timeouts(self.state.settings, needs_alarm=needs_alarm)
                    self.state.has_timeout = False
            source = source or open_source(opened, self.state.dialect)
            if source is not None:
                self.begin(source, needs_alarm=needs_alarm)
        except Exception:
            raise
        except BaseException:
            # Nobody else knows of what was opened.
            if source is not None:
                source.close()
            else:
                close_foreign(opened)
            raise
        if source is None:
            raise no_source(opened, self.state.dialect)
        if self.state.ended:
            # Closed meanwhile, by another thread, which had nothing to close yet.
            self._close_source()
            raise self.state.unfinished()
        return source

    def begin(self, source: Source, *, needs_alarm: bool = True) -> None:
        """Read from this source; raises `ValueError` for timeouts on one whose reads cannot be woken."""
        self.source = source
        self.state.response = source.response
        self._request = self._request or source.request
        try:
            self._alarm = alarm_of(source, is_needed=needs_alarm and self.state.has_timeout)
        except ValueError:
            self._close_source()
            raise

    def close(self) -> None:
        """Close the connection now; a stream closed before its end calls `on_abort`."""
        try:
            self._close()
        except Exception:
            raise
        except BaseException as interrupt:
            # An interrupt while it closes: the connection and the terminal callback come first.
            self._leave(interrupt)
            raise

    def _close(self) -> None:
        if self._closing_in == get_ident():
            # A tool closes the stream when its response closes (OpenTelemetry): the stream ends as it was to end.
            return
        state = self.state
        if not state.ended:
            self._closed_by = get_ident()
        try:
            calls = state.abandoned()
        finally:
            self._close_source()
        self._run(calls)

    def _leave(self, _: BaseException) -> None:
        """Close the stream after an interrupt."""
        self._close()

    def _drain(self) -> None:
        """Read past the last item to the end: a connection can be used again, and a tool that watches ends its record.

        The SDK's loop reads on, too, after the last event of the Responses API (openai-python#3440 for the connection).
        """
        source, alarm = self.source, self._alarm
        if source is None or not (can_drain(source) or source.is_watched):
            return
        if alarm is None and not (source.is_watched and source.is_in_memory):
            return
        if alarm is not None:
            alarm.set(time.monotonic() + DRAIN_SECONDS)
        try:
            for _ in source.reads:
                pass
            source.is_exhausted = True
        except Exception as error:
            # The answer is whole; only its connection is lost.
            if not isinstance(self.state.failed(error, source.kind), StreamError):
                raise
        finally:
            if alarm is not None:
                alarm.clear()

    def _recover(self, error: Exception, *, typed: bool) -> Any:
        """Return `None` if the stream is to be opened again, else end it with `error`.

        If `typed`, an item that says that the answer failed is returned before the error is raised.
        """
        state, request = self.state, self._request
        if state.has_failed_item and self.source is not None and self.source.is_watched:
            with suppress(Exception):  # the error of the answer counts
                self._drain()
        self._close_source()
        delay, opens, continuing = state.restart_delay(error), self.opens, None
        if delay is None and request is not None:
            continuing = state.continue_delay(error, request.body)
            if continuing is not None:
                delay, opens = continuing[0], partial(request.again, continuing[1])
        if delay is None or opens is None:
            error, item = state.final_error(error), state.take_failed_item()
            if item is not None and state.has_item_callbacks:
                self._run(state.calls(item))
            self._run(state.failed_with(error))
            if item is not None and typed:
                return item
            raise error
        time.sleep(delay)
        self.opens = opens
        if continuing is None:
            state.reset()
        else:
            state.begin_continuation()
        return None

    def enter(self) -> None:
        """Open the stream, unless it is open or closed."""
        while self.source is None and not self.state.ended:
            try:
                self.open()
            except Exception as error:
                if self.state.ended:
                    raise
                self._recover(error, typed=False)

    def _run(self, calls: list[Call]) -> None:
        for function, argument in calls:
            try:
                _require_done(function(argument), self.state.dialect)
            except Exception as error:
                self._close_source()
                self._run(self.state.failed_with(error))
                raise

    def _close_source(self) -> None:
        source, self.source = self.source, None
        if source is None:
            return
        try:
            self._closing_in = get_ident()
            if self._alarm is not None:
                self._alarm.drop()
            source.close()
        except Exception:
            raise
        except BaseException:
            # An interrupt while it closes.
            source.close()
            raise
        finally:
            self._closing_in = None

    def __repr__(self) -> str:
        return describe(self.name, self.state)

    def __del__(self) -> None:
        source = getattr(self, "source", None)
        if source is not None and source.is_open:
            warnings.warn(UNCLOSED.format(self), ResourceWarning, stacklevel=1, source=self)
            self._close_source()


def _require_done(result: object, dialect: Dialect) -> None:
    # An async callback that did not look like one when the stream was made.
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError(
            f"the callback {result.__qualname__} is async: use Async{dialect.stream_name}, or a plain function"
        )
