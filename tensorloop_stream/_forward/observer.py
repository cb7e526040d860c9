"""Read a forwarded stream beside the bytes that pass, with no I/O: its callbacks, its timeouts and its end."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Protocol

from tensorloop_stream._errors import (
    StreamDecodeError,
    StreamError,
    StreamProviderError,
    StreamTimeoutError,
    StreamTruncatedError,
)
from tensorloop_stream._sse import EventSplitter
from tensorloop_stream._stream.payload import is_complete_event
from tensorloop_stream._stream.state import StreamState
from tensorloop_stream._stream.translate import translate_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorloop_stream._callbacks import AnyCallbacks, Call
    from tensorloop_stream._stream.settings import StreamSettings

    from .apis import Api


class Observer(Protocol):
    """The decisions of a forwarded stream, at each of its turns."""

    broken: str
    """The reason why the stream broke after its first byte, for the log; empty if it did not."""

    def wait_until(self) -> float | None:
        """Return when the wait for the next chunk ends, on the monotonic clock; `None` for no limit."""

    def timed_out(self) -> StreamTimeoutError:
        """Return the error for a chunk that did not arrive in time."""

    def set_response(self, response: Any) -> None:
        """Note the response, for the errors."""

    def feed(self, data: bytes) -> list[Call]:
        """Observe bytes that are forwarded; return the calls to make."""

    def end(self) -> tuple[bytes, list[Call]]:
        """Observe the end of the upstream; return the bytes that make an unfinished one visible, and the calls."""

    def read_failed(self, error: Exception) -> tuple[bytes, list[Call]]:
        """Observe a failed read; return the bytes that make it visible, and the calls; raises errors of the program.

        After `[DONE]` a cut needs no mention.
        """

    def open_failed(self, error: Exception) -> list[Call]:
        """Return the calls for a stream that did not begin, or whose callback raised."""

    def abandoned(self) -> list[Call]:
        """Return the calls for a reader who left."""


def observer_of(api: Api, callbacks: AnyCallbacks[Any, Any, Any, Any] | None, settings: StreamSettings) -> Observer:
    """Return the observer for these callbacks: without any, one that looks for the end alone."""
    return EndObserver(api, settings) if callbacks is None else StreamObserver(api, callbacks, settings)


class StreamObserver:
    """Observes a stream whole, for its callbacks (`Observer`)."""

    def __init__(self, api: Api, callbacks: AnyCallbacks[Any, Any, Any, Any], settings: StreamSettings) -> None:
        self._api = api
        self._state = StreamState(api.dialect, callbacks, settings)
        self._tail = b""
        # An event may come in two reads.
        self._last_read = b""
        # The gateway's error, if it has a form that no browser looks for.
        self._unseen: StreamProviderError | None = None
        self.broken = ""

    def wait_until(self) -> float | None:
        state = self._state
        return state.wait_until() if state.has_timeout and not state.ended else None

    def timed_out(self) -> StreamTimeoutError:
        return self._state.timed_out()

    def set_response(self, response: Any) -> None:
        self._state.response = response

    def feed(self, data: bytes) -> list[Call]:
        self._tail = (self._tail + data)[-self._api.kept :]
        state = self._state
        calls: list[Call] = []
        if state.ended:
            if self._unseen is not None and self._api.is_done(data) is not None:
                self._unseen = None
            return calls
        before, self._last_read = self._last_read, data
        try:
            state.receive(data, "bytes")
            while (item := state.next(typed=False)) is not None:
                if state.has_item_callbacks:
                    calls += state.calls(item)
        except StreamError as error:
            # An error of the gateway's is on its way in these bytes; bad data is the reader's to judge.
            self.broken = str(error)
            if isinstance(error, StreamProviderError):
                self._look_for_bare_error(before + data, error)
            item = state.take_failed_item()
            if item is not None and state.has_item_callbacks:
                calls += state.calls(item)
            calls += state.failed_with(error)
        return calls

    def _look_for_bare_error(self, data: bytes, error: StreamProviderError) -> None:
        """Note an error whose form no browser looks for, unless the stream says behind it that it is complete."""
        for event in EventSplitter().feed(data):
            if self._api.bare_error(event) is not None:
                self._unseen = error
            elif self._api.is_done(event) is not None:
                self._unseen = None

    def end(self) -> tuple[bytes, list[Call]]:
        state = self._state
        if state.ended:
            return b"" if self._unseen is None else error_event(self._api, self._unseen, self._tail), []
        try:
            while not state.done:
                state.receive_end()
                state.next(typed=False)
        except StreamError as error:
            self.broken = str(error)
            return error_event(self._api, error, self._tail), state.failed_with(error)
        return b"", state.finished()

    def read_failed(self, error: Exception) -> tuple[bytes, list[Call]]:
        state = self._state
        broken = error if isinstance(error, StreamTimeoutError) else state.failed(error, "bytes")
        if not isinstance(broken, StreamError):
            raise error
        if state.done:
            return b"", state.finished()
        if broken is not error:
            broken.__cause__ = error
        self.broken = str(broken)
        return error_event(self._api, broken, self._tail), state.failed_with(broken)

    def open_failed(self, error: Exception) -> list[Call]:
        return self._state.failed_with(error)

    def abandoned(self) -> list[Call]:
        return self._state.abandoned()


class EndObserver:
    """Observes whether a stream ends whole, and nothing else: cheap, and its memory stays flat (`Observer`)."""

    def __init__(self, api: Api, settings: StreamSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._settings = settings
        self._clock = clock
        # When the answer must be complete.
        self._last_moment = None if settings.total_timeout is None else clock() + settings.total_timeout
        self._splitter = EventSplitter()
        self._response: Any = None
        self._events = 0
        self._deadline: float | None = None
        # Whether the stream said that it is complete, and whether its end may be that of a whole one.
        self._is_done = self._may_end = False
        # Whether bytes are still looked at.
        self._is_over = False
        self._tail = b""
        self.broken = ""

    def wait_until(self) -> float | None:
        timeout = self._settings.idle_timeout if self._events else self._settings.first_chunk_timeout
        last = self._last_moment
        if self._is_over:
            return None
        if timeout is None:
            return last
        if self._deadline is None:
            self._deadline = self._clock() + timeout
        return self._deadline if last is None else min(self._deadline, last)

    def timed_out(self) -> StreamTimeoutError:
        item, last = self._api.dialect.item_name, self._last_moment
        if last is not None and self._clock() >= last:
            text = f"not complete within {self._settings.total_timeout:g} s (total_timeout), after {self._progress}"
        elif self._events:
            text = f"no {item} for {self._settings.idle_timeout:g} s (idle_timeout), after {self._progress}"
        else:
            text = f"no first {item} within {self._settings.first_chunk_timeout:g} s (first_chunk_timeout)"
        return StreamTimeoutError(text, request=self._request)

    def set_response(self, response: Any) -> None:
        self._response = response

    def feed(self, data: bytes) -> list[Call]:
        self._tail = (self._tail + data)[-self._api.kept :]
        if self._is_over:
            return []
        try:
            events = self._splitter.feed(data)
        except StreamDecodeError as error:
            # The reader's to judge.
            self.broken = str(error)
            self._is_over = True
            return []
        for event in events:
            if _IS_DATA(event):
                self._events += 1
                self._deadline = None
                self._is_done = self._is_done or self._api.is_done(event) is not None
            if self._api.may_end(event) is not None:
                self._may_end = True
                is_error = self._api.is_error(event) is not None
            else:
                is_error = self._api.bare_error(event) is not None
            if is_error and not self.broken:
                self.broken = f"the gateway sent an error: {event[:_MOST_KEPT].decode(errors='replace').strip()}"
        return []

    def end(self) -> tuple[bytes, list[Call]]:
        if self._is_over or self._is_done or self._may_end or is_complete_event(self._splitter.rest):
            return b"", []
        dropped = self._splitter.pending
        rest = f"; an unfinished event of {dropped} bytes was dropped" if dropped else ""
        text = f"stream ended after {self._progress} with {self._api.dialect.unfinished}{rest}"
        self.broken = self.broken or text
        return error_event(self._api, StreamTruncatedError(text, request=self._request), self._tail), []

    def read_failed(self, error: Exception) -> tuple[bytes, list[Call]]:
        broken = error
        if not isinstance(error, StreamTimeoutError):
            broken = translate_error(error, self._progress, request=self._request)
        if not isinstance(broken, StreamError):
            raise error
        if self._is_done:
            return b"", []
        self.broken = str(broken)
        return error_event(self._api, broken, self._tail), []

    def open_failed(self, error: Exception) -> list[Call]:  # noqa: ARG002 - nobody is called
        self._is_over = True
        return []

    def abandoned(self) -> list[Call]:
        self._is_over = True
        return []

    @property
    def _progress(self) -> str:
        return f"{self._events} event{'' if self._events == 1 else 's'}"

    @property
    def _request(self) -> Any:
        return None if self._response is None else self._response.request


def error_event(api: Api, error: StreamError, tail: bytes) -> bytes:
    """Return the event that makes an error visible behind bytes that end with `tail`."""
    # Half an event must not swallow the one that explains it.
    gap = b"" if tail.endswith(b"\n\n") else b"\n\n"
    status = 504 if isinstance(error, StreamTimeoutError) else 502
    # A reader that searches the bytes for the end mark must not find it in a sentence.
    message = error.message.replace("[DONE]", "DONE")
    return gap + api.error_event(message, status, tail)


# The bytes of a gateway's error that are kept for the log.
_MOST_KEPT = 4096
_IS_DATA = re.compile(rb"^data:", re.MULTILINE).search
