"""What a stream has seen and what follows from it: every decision that sync and async share, with no I/O."""

from __future__ import annotations

import time
from collections import deque
from random import random
from typing import TYPE_CHECKING, Any

from tensorloop_stream._callbacks import Callbacks, require_callbacks
from tensorloop_stream._chat.accumulation import Accumulation
from tensorloop_stream._chat.fast_path.matcher import FastPath
from tensorloop_stream._chat.models import as_chunk, as_mapping, construct_chunk, parse_object, typed_chunk, valid_chunk
from tensorloop_stream._errors import StreamDecodeError, StreamProviderError, StreamTimeoutError, StreamTruncatedError
from tensorloop_stream._retry import backoff, may_restart
from tensorloop_stream._sse import MAX_EVENT_SIZE, EventParser, EventSplitter
from tensorloop_stream._telling import CallbackPlan
from tensorloop_stream._timing import StreamTiming

from .translate import error_body, is_bare_error, provider_error, speaks_for_itself, translated

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2
    from openai.types.chat import ChatCompletionChunk

    from tensorloop_stream._callbacks import Call

    from .settings import StreamSettings
    from .sources import Kind


class StreamState:
    """The state of one stream: fed with bytes or chunks, it hands out chunks, calls to make and errors."""

    def __init__(self, callbacks: Callbacks | None, settings: StreamSettings) -> None:
        require_callbacks(callbacks)
        self._plan = CallbackPlan(callbacks or Callbacks())
        self.configure(None, settings)
        self.response: httpx2.Response | None = None
        self.error: Exception | None = None
        # Whether the terminal call was made: nothing more is read, called or raised after it.
        self.ended = False
        # Whether a chunk, a text or a callback's argument reached the caller: then nothing may be repeated.
        self.delivered = False
        self.restarted = 0
        # The clock of the timing; earlier than now where it is known when the request was sent.
        self.started = time.monotonic()
        self._stopped: float | None
        self.reset()

    def configure(self, callbacks: Callbacks | None, settings: StreamSettings) -> None:
        """Set who is told of what comes, unless it is to be as before, and the limits."""
        if callbacks is not None:
            self._plan = CallbackPlan(callbacks, self._plan)
        # Whether a chunk has anybody to be told to.
        self.has_chunk_callbacks = self._plan.has_chunk_callbacks
        self.settings = settings
        self._idle_timeout = settings.idle_timeout
        self._first_chunk_timeout = settings.first_chunk_timeout
        # Whether there is any use in asking `wait_until`.
        self.has_timeout = settings.has_timeout

    def reset(self) -> None:
        """Begin anew, as before the first byte; the clock runs on."""
        self.accumulation = Accumulation()
        self._fast_path = FastPath(self.accumulation)
        # Whether the stream said that it is complete: `[DONE]`, or its end after a finish reason.
        self.done = False
        self._splitter = EventSplitter()
        self._parser = EventParser()
        self.pending: deque[bytes | ChatCompletionChunk | Mapping[str, Any]] = deque()
        self._arrivals: list[float] = []
        self._arrival = 0.0
        self._first_token: float | None = None
        self._deadline: float | None = None
        self._stopped = None

    # What the edge brings

    def receive(self, data: Any, kind: Kind) -> None:
        """Take one read: bytes or, of a source that has them, a chunk.

        Raises `StreamDecodeError` for an event beyond the size bound.
        """
        self._arrival = time.monotonic()
        if kind == "bytes":
            try:
                self.pending.extend(self._splitter.feed(data))
            except StreamDecodeError as error:
                raise self.failed(error, kind) from None
        else:
            self.pending.append(data)

    def receive_end(self) -> None:
        """Take the end of the source; raises `StreamTruncatedError` if nothing says that it is complete."""
        if not self.done:
            dropped, left = self._splitter.pending, self._splitter.rest
            try:
                # Raises what the last read put off.
                self._splitter.finish()
            except StreamDecodeError as error:
                raise self.failed(error, "bytes") from None
            if dropped and speaks_for_itself(left):
                self.pending.append(left)
                return
            if self.settings.require_finish and not self.accumulation.any_finished:
                rest = f"; an unfinished event of {dropped} bytes was dropped" if dropped else ""
                rest += self._of_another_kind
                raise StreamTruncatedError(
                    f"stream ended after {self._progress} with no finish_reason and no [DONE]{rest}",
                    **self._error_context,
                )
        self.done = True

    # What the edge gets

    def feed_one(self, data: Any, kind: Kind, typed: bool) -> ChatCompletionChunk | Mapping[str, Any] | None:
        """Take one read and return the first chunk that it completes: `receive` and `next` in one.

        Nearly every read of a gateway is one whole event of one line, which goes a short way; the result is the
        same. Raises as both do.
        """
        if (
            kind != "bytes"
            or not self._splitter.is_plain
            or data.find(b"\n") != len(data) - 2
            or len(data) >= MAX_EVENT_SIZE
        ):
            self.receive(data, kind)
            return self.next(typed)
        typed = typed or self._plan.wants_items
        self._arrival = time.monotonic()
        alike = self._fast_path.match(data, typed)
        if alike is not None:
            self._arrivals.append(self._arrival)
            self._deadline = None
            return alike
        if not data.startswith(b"data: {") or not data.endswith(b"\n\n") or b"\r" in data:
            self.receive(data, kind)
            return self.next(typed)
        try:
            return self._take_line(data[:-2], typed)
        except (ValueError, RecursionError) as error:
            raise self._bad_chunk(error) from error.__cause__ or error

    def _take_line(self, line: bytes, typed: bool) -> ChatCompletionChunk | Mapping[str, Any]:
        """Take an event of one line, which begins with `data: {`."""
        accumulation, data = self.accumulation, line[6:]
        mapping: Mapping[str, Any] | None = None
        chunk = valid_chunk(data) if typed else None
        if chunk is None or not accumulation.add_plain_chunk(chunk, data):
            mapping = parse_object(data)
            if typed or not accumulation.add_plain_mapping(mapping, data):
                self._accept(mapping)
                return (chunk or construct_chunk(mapping)) if typed else mapping
        self._arrivals.append(self._arrival)
        self._deadline = None
        self._fast_path.learn(data, mapping, chunk)
        return chunk or mapping  # type: ignore[return-value] # one of them there is

    def next(self, typed: bool) -> ChatCompletionChunk | Mapping[str, Any] | None:
        """Return the next chunk that is there, accumulated; `None` when more must be read, or `done`.

        Raises `StreamProviderError` and `StreamDecodeError`.
        """
        typed = typed or self._plan.wants_items
        while self.pending and not self.done:
            item = self.pending.popleft()
            try:
                if type(item) is not bytes:
                    mapping = as_mapping(item)  # type: ignore[arg-type] # mypy does not narrow by `type() is not`
                    self._accept(mapping)
                    return as_chunk(item) if typed else mapping  # type: ignore[arg-type] # as above
                if item.startswith(b"data: {") and b"\n" not in item:
                    # Nearly all events are one line; only the others need the whole grammar.
                    alike = self._fast_path.match(item + b"\n\n", typed)
                    if alike is None:
                        return self._take_line(item, typed)
                    self._arrivals.append(self._arrival)
                    self._deadline = None
                    return alike
                data = self._data_of(item)
                if not data:
                    continue
                if data.startswith(b"[DONE]"):
                    self.done = True
                    self._stopped = self._arrival
                    break
                mapping = parse_object(data)
                self._accept(mapping)
                return typed_chunk(data, mapping) if typed else mapping
            except (ValueError, RecursionError) as error:
                raise self._bad_chunk(error) from error.__cause__ or error
        return None

    def _bad_chunk(self, error: Exception) -> Exception:
        # A StreamDecodeError is a ValueError too.
        if isinstance(error, StreamDecodeError):
            return self.failed(error, "bytes")
        return StreamDecodeError(f"not a chunk after {self._progress}: {error}", **self._error_context)

    def _data_of(self, event: bytes) -> bytes:
        # A blank line too many between two events must not hide what the second one is.
        event = event.lstrip(b"\n")
        if event.startswith(b"error:"):
            # A field of llama.cpp's own, until late 2025 (coddy-agent#106).
            raise self._provider_error(error_body(event[6:].strip()))
        if event.lstrip().startswith(b"{"):
            return event
        parsed = self._parser.parse(event)
        if parsed is None or parsed.event == "ping":
            return b""
        data = parsed.data.strip().encode()
        if parsed.event == "error":
            raise self._provider_error(error_body(data))
        # AgentRouter sends `null` between reasoning and text (kilocode#3083).
        return data if data != b"null" else b""

    def _accept(self, chunk: Mapping[str, Any]) -> None:
        if chunk.get("error"):
            raise self._provider_error(chunk["error"])
        if "choices" not in chunk:
            if is_bare_error(chunk):
                raise self._provider_error(dict(chunk))
            if str(chunk.get("type")).startswith("response."):
                raise StreamDecodeError(
                    f"{chunk['type']} is an event of the Responses API, and this reads chat completions: iterate what "
                    "responses.create(..., stream=True) returned as it is",
                    **self._error_context,
                )
        accumulation = self.accumulation
        self._fast_path.reset()
        accumulation.add(chunk)
        self._arrivals.append(self._arrival)
        self._deadline = None
        if self._first_token is None and accumulation.has_token:
            self._first_token = self._arrival

    def wait_until(self) -> float | None:
        """Return when the wait for the next chunk ends, on the monotonic clock; `None` for no limit.

        The same moment until a chunk comes: keep-alive comments do not count. The time that the caller takes
        between two chunks does not count either.
        """
        timeout = self._idle_timeout if self.chunks else self._first_chunk_timeout
        if timeout is None:
            return None
        if self._deadline is None:
            self._deadline = time.monotonic() + timeout
        return self._deadline

    def calls(self, chunk: ChatCompletionChunk | Mapping[str, Any]) -> list[Call]:
        """Return the calls that the chunk just taken asks for, in order."""
        calls = self._plan.for_chunk(chunk, self.accumulation)
        self.delivered = self.delivered or bool(calls)
        return calls

    # The end, in one of three ways, once

    def finished(self) -> list[Call]:
        """Return the last calls of a stream that ended whole."""
        if self.ended:
            return []
        calls = self._plan.for_tool_calls(self.accumulation, ended=True)
        return calls + self._last(self._plan.callbacks.on_finish)

    def abandoned(self) -> list[Call]:
        """Return the last calls of a stream that the caller left: finished if its finish reason had come."""
        if self.ended:
            return []
        return self._last(self._plan.callbacks.on_finish if self.is_whole else self._plan.callbacks.on_abort)

    def failed_with(self, error: Exception) -> list[Call]:
        """Return the last calls of a stream that broke."""
        if self._plan.is_finished:
            return []
        self.error = error
        return self._last(self._plan.callbacks.on_error, error)

    def _last(self, terminal: Any, argument: Any = None) -> list[Call]:
        self.ended = True
        self._stopped = self._stopped or time.monotonic()
        return self._plan.for_end(self.accumulation, terminal, argument)

    @property
    def chunks(self) -> int:
        """How many chunks came."""
        return len(self._arrivals)

    @property
    def request_id(self) -> str | None:
        """The gateway's id of the request: `x-request-id`, else `x-litellm-call-id`."""
        headers: Mapping[str, str] = {} if self.response is None else self.response.headers
        return headers.get("x-request-id") or headers.get("x-litellm-call-id")

    @property
    def has_started(self) -> bool:
        """Whether anything was read."""
        return bool(self._arrivals or self.pending or self._splitter.pending)

    @property
    def is_whole(self) -> bool:
        """Whether the answer is complete, although its stream may not be."""
        return self.done or self.accumulation.finished

    def interrupted(self) -> None:
        """Note that a read ended with its stream: reading on must not look like the end of a whole answer."""
        if not self.is_whole:
            self.error = self.unfinished()

    # Errors

    def failed(self, error: Exception, kind: Kind, *, timed_out: bool = False) -> Exception:
        """Return the error of this family for what a read raised; `error` itself if it is the caller's own."""
        if timed_out:
            return self.timed_out()
        return error if kind == "chunks" else translated(error, self._progress, **self._error_context)

    def timed_out(self) -> StreamTimeoutError:
        """Return the error for a chunk that did not come in time."""
        settings = self.settings
        if self.chunks:
            text = f"no chunk for {settings.idle_timeout:g} s (idle_timeout), after {self._progress}"
        else:
            text = f"no first chunk within {settings.first_chunk_timeout:g} s (first_chunk_timeout)"
        return StreamTimeoutError(text, **self._error_context)

    def unfinished(self) -> StreamTruncatedError:
        """Return the error for asking the final answer of a stream that was left."""
        return StreamTruncatedError(
            f"the stream was closed after {self._progress}, before its end: what came is in .completion",
            **self._error_context,
        )

    def no_choice(self) -> StreamTruncatedError:
        """Return the error for asking the message of a completion that has none."""
        return StreamTruncatedError(f"the stream ended after {self._progress} without a choice", **self._error_context)

    def _provider_error(self, body: Any) -> StreamProviderError:
        return provider_error(body, self._progress, **self._error_context)

    @property
    def _progress(self) -> str:
        chunks, text = self.chunks, len(self.accumulation.text)
        return f"{chunks} chunk{'' if chunks == 1 else 's'} and {text} character{'' if text == 1 else 's'} of text"

    @property
    def _of_another_kind(self) -> str:
        kind = "" if self.response is None else self.response.headers.get("content-type", "")
        if not kind or kind.startswith("text/event-stream"):
            return ""
        return f"; it is {kind.partition(';')[0]} and no event stream: is the base URL right?"

    @property
    def _error_context(self) -> dict[str, Any]:
        request = None if self.response is None else self.response.request
        return {"partial": self.accumulation.completion, "request": request, "request_id": self.request_id}

    # Restarts

    def restart_delay(self, error: Exception) -> float | None:
        """Return the seconds to wait before the stream is opened anew, `None` if it must not be."""
        if self.delivered or self.restarted >= self.settings.restarts or not may_restart(error):
            return None
        self.restarted += 1
        return backoff(self.restarted, jitter=random())  # noqa: S311 - spreads restarts, guards nothing

    # What there is to see

    @property
    def timing(self) -> StreamTiming:
        """The timing so far."""
        usage = self.accumulation.usage
        tokens = usage.completion_tokens if usage is not None else None
        return StreamTiming(
            chunk_times=tuple(arrival - self.started for arrival in self._arrivals),
            time_to_first_token=None if self._first_token is None else self._first_token - self.started,
            duration=(self._stopped or time.monotonic()) - self.started,
            completion_tokens=tokens if isinstance(tokens, int) else None,
        )
