"""The stream that synchronous callers hold: it waits, calls back and closes; what to do is decided in `_state`."""

from __future__ import annotations

import inspect
import time
import warnings
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from openai import Stream
from openai.types.chat import ChatCompletionChunk

from tensorloop_stream._callbacks import require_sync
from tensorloop_stream._errors import StreamError

from .base import UNCLOSED, StreamView
from .settings import StreamSettings
from .sources import DRAIN_SECONDS, END, Source, alarm_of, can_drain, no_source, open_source
from .state import StreamState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from openai.types.chat import ChatCompletion, ChatCompletionMessage

    from tensorloop_stream._callbacks import Call, Callbacks

    from .watchdog import Alarm

    Chunks: TypeAlias = Iterable[ChatCompletionChunk] | Iterable[Mapping[str, Any]]

__all__ = ["ChatStream"]


class ChatStream(StreamView, Stream[ChatCompletionChunk]):  # type: ignore[misc] # not every source has a response
    """A streamed chat completion, for synchronous code.

    `source` is what `create(..., stream=True)` returned, an iterable of chunks, or a function that opens
    either. `first_chunk_timeout` and `idle_timeout` are in seconds and count chunks, not bytes: keep-alive
    comments do not reset them. `restarts` says how often to open the stream anew when it breaks before
    anything reached the caller. With `require_finish=False` a stream may end without a finish reason.

    Raises `TypeError` for a source of the wrong kind or an async callback, `ValueError` for `restarts`
    without a function and for timeouts on a source without a connection; while read, the `StreamError`s.
    """

    def __init__(
        self,
        source: Chunks | Callable[[], Chunks],
        callbacks: Callbacks | None = None,
        *,
        first_chunk_timeout: float | None = None,
        idle_timeout: float | None = None,
        require_finish: bool = True,
        restarts: int = 0,
    ) -> None:
        settings = StreamSettings(first_chunk_timeout, idle_timeout, require_finish, restarts)
        self._state = StreamState(callbacks, settings)
        require_sync(callbacks)
        self._source: Source | None = None
        self._alarm: Alarm | None = None
        self._opens: Callable[[], Chunks] | None = None
        if isinstance(source, ChatStream):
            taken = self._take_over(source, callbacks, settings)
            if taken is not None:
                self._begin(taken)
            return
        opened = open_source(source)
        settings.require_function(opens=opened is None)
        if opened is not None:
            self._begin(opened)
        elif callable(source):
            self._opens = source
        else:
            raise no_source(source)

    # Reading

    def __iter__(self) -> Iterator[ChatCompletionChunk]:
        return self

    def __next__(self) -> ChatCompletionChunk:
        chunk = self._advance(True)
        if chunk is None:
            raise StopIteration
        self._state.delivered = True
        return chunk  # type: ignore[return-value] # typed=True

    @property
    def text_stream(self) -> Iterator[str]:
        """The text deltas of choice 0 that are not empty; may be left and taken up again."""
        while self._advance(False) is not None:
            text = self._state.accumulation.text_delta
            if text:
                self._state.delivered = True
                yield text

    def until_done(self) -> Self:
        """Read to the end; raises the `StreamError` of a stream that breaks."""
        while self._advance(False) is not None:
            pass
        return self

    def get_final_completion(self) -> ChatCompletion:
        """Read to the end and return the completion; raises `StreamTruncatedError` after an early close."""
        self.until_done()
        return self._final()

    def get_final_message(self) -> ChatCompletionMessage:
        """Read to the end and return the message of choice 0; raises as `get_final_completion` does."""
        self.until_done()
        return self._final_message()

    def get_final_text(self) -> str:
        """Read to the end and return the text of choice 0; raises as `get_final_completion` does."""
        self.until_done()
        self._final()
        return self.text

    # The life of the connection

    def close(self) -> None:
        """Close the connection now; a stream left before its end calls `on_abort`."""
        calls = self._state.abandoned()
        self._close_source()
        self._run(calls)

    def __enter__(self) -> Self:
        while self._source is None and not self._state.ended:
            try:
                self._open()
            except Exception as error:
                if self._state.ended:
                    raise
                self._recover(error)
            except BaseException:
                self.close()
                raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        source = getattr(self, "_source", None)
        if source is not None and source.response is not None:
            warnings.warn(UNCLOSED.format(self), ResourceWarning, stacklevel=1, source=self)
            self._close_source()

    def _advance(self, typed: bool) -> ChatCompletionChunk | Mapping[str, Any] | None:
        """Return the next chunk, waiting for it; `None` at the end."""
        state = self._state
        while not state.ended:
            try:
                chunk = state.next(typed) if state.pending else None
                while chunk is None and not state.done:
                    chunk = self._read(typed)
                if chunk is None:
                    self._drain()
            except Exception as error:  # noqa: BLE001 - raised again, if the stream is not opened anew
                if state.ended:
                    # Closed under the read, by another thread.
                    state.interrupted()
                    break
                self._recover(error)
                continue
            except BaseException:
                # Ctrl-C while waiting: the connection must not stay open until the garbage is collected.
                self.close()
                state.interrupted()
                raise
            if chunk is None:
                self._close_source()
                self._run(state.finished())
                break
            if state.has_chunk_callbacks:
                self._run(state.calls(chunk))
            return chunk
        if state.error is not None:
            raise state.error
        return None

    def _read(self, typed: bool) -> ChatCompletionChunk | Mapping[str, Any] | None:
        """Bring the state the next read, whenever it comes, and return the chunk that it completes."""
        state, source = self._state, self._source or self._open()
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
            broke = state.failed(error, source.kind, timed_out=rang)
            if broke is error:
                raise
            # The end of the connection that the alarm has shut is no cause.
            raise broke from (None if rang else error)
        if data is not END:
            return state.feed_one(data, source.kind, typed)
        if rang:
            raise state.failed(EOFError(), source.kind, timed_out=True)
        state.receive_end()
        return state.next(typed)

    def _open(self) -> Source:
        if self._opens is None:
            raise RuntimeError("the stream is closed")
        opened = self._opens()
        source = None
        if isinstance(opened, ChatStream):
            source = opened._hand_over()  # noqa: SLF001 - of the same class
        source = source or open_source(opened)
        if source is None:
            raise no_source(opened)
        self._begin(source)
        if self._state.ended:
            # Closed meanwhile, by another thread, which had nothing to close yet.
            self._close_source()
            raise self._state.unfinished()
        return source

    def _begin(self, source: Source) -> Source:
        self._source = source
        self._state.response = source.response
        try:
            self._alarm = alarm_of(source, is_needed=self._state.has_timeout)
        except ValueError:
            self._close_source()
            raise
        return source

    def _drain(self) -> None:
        """Read the end of the response, so that the connection can be used again (openai-python#3440)."""
        source, alarm = self._source, self._alarm
        if source is None or alarm is None or not can_drain(source):
            return
        alarm.set(time.monotonic() + DRAIN_SECONDS)
        try:
            for _ in source.reads:
                pass
        except Exception as error:
            # The answer is whole; only its connection is lost.
            if not isinstance(self._state.failed(error, source.kind), StreamError):
                raise
        finally:
            alarm.clear()

    def _recover(self, error: Exception) -> None:
        """Return if the stream is to be opened anew, else end it with `error`."""
        self._close_source()
        state = self._state
        delay = state.restart_delay(error)
        if delay is None or self._opens is None:
            self._run(state.failed_with(error))
            raise error
        try:
            time.sleep(delay)
        except BaseException:
            self.close()
            raise
        state.reset()

    def _run(self, calls: list[Call]) -> None:
        for function, argument in calls:
            try:
                _require_done(function(argument))
            except Exception as error:
                self._close_source()
                self._run(self._state.failed_with(error))
                raise
            except BaseException:
                self.close()
                raise

    def _close_source(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            if self._alarm is not None:
                self._alarm.drop()
            source.close()


def _require_done(result: object) -> None:
    # An async callback that did not look like one when the stream was made.
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError(f"the callback {result.__qualname__} is async: use AsyncChatStream, or a plain function")
