"""The state of one stream: every decision that sync and async code share, with no I/O.

Theory of operation. The edge (`sync_reader`, `async_reader`) reads from a source and hands each read to `receive` or
`feed_one`; at the end of the source it calls `receive_end`. `next` and `feed_one` return the items that the reads
complete. An item is accumulated before it is returned. After each item the edge makes the calls that `calls` returns.

    waiting for data --item--> delivered to the caller --read on--> waiting for data
        |-- `[DONE]`, or the end after a finish reason --> done  -> `finished`:    on_finish
                 unless nothing of a result came: that is a stream that was cut
        |-- the caller closes the stream               --> ended -> `abandoned`:   on_abort (on_finish if it is whole)
        |-- a cut, a timeout, bad data, an error event --> ended -> `failed_with`: on_error
                 unless nothing was delivered and restarts are left: `restart_delay`, `reset`, back to the start

Rules:
- One terminal callback, whatever happens, and nothing is read, called or raised after it.
- Every error carries the result so far.
- Nothing that was delivered is delivered again: a restart needs `delivered` to be false.
- Timeouts count items, not bytes: only an item resets the deadline, and the caller's own time does not count.

The dialect (`dialect.Dialect`) knows what an item is and what ends a stream; this module does not.
"""

from __future__ import annotations

import time
from array import array
from collections import deque
from random import random
from typing import TYPE_CHECKING, Any

from tensorloop_stream._callbacks import CallbackPlan, Callbacks, require_callbacks
from tensorloop_stream._errors import (
    StreamDecodeError,
    StreamError,
    StreamProviderError,
    StreamTimeoutError,
    StreamTruncatedError,
)
from tensorloop_stream._http.redact_errors import redact_error
from tensorloop_stream._http.request_keys import redactor_for
from tensorloop_stream._retry import backoff, may_restart
from tensorloop_stream._sse import MAX_EVENT_SIZE, EventParser, EventSplitter, is_single_event
from tensorloop_stream._timing import StreamTiming

from .continuation import Continuation
from .error_events import event_error_body
from .payload import is_bare_json, is_complete_event, is_done_marker, parse_object
from .translate import is_of_sdk, provider_error, translate_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx2

    from tensorloop_stream._callbacks import AnyCallbacks, Call

    from .dialect import Dialect
    from .settings import StreamSettings
    from .sources import Kind


# How long a gateway may send nothing but heartbeats after the finish reason: usage follows within moments.
GRACE_SECONDS = 5.0
# A proxy that joins answers may leave it before any event.
_BOM = b"\xef\xbb\xbf"


class StreamState:
    """The state of one stream: fed with bytes or items, it returns items, calls to make and errors."""

    def __init__(
        self,
        dialect: Dialect,
        callbacks: AnyCallbacks[Any, Any, Any, Any] | None,
        settings: StreamSettings,
        *,
        clock: Callable[[], float] | None = None,
        new_splitter: Callable[[], EventSplitter] = EventSplitter,
    ) -> None:
        require_callbacks(callbacks)
        self.dialect = dialect
        self._is_named = dialect.is_named
        self._clock = clock or time.monotonic
        self._new_splitter = new_splitter
        self._plan = CallbackPlan(callbacks or Callbacks())
        self.configure(None, settings)
        self._response: httpx2.Response | None = None
        self.error: Exception | None = None
        # Whether the stream has ended, in one of the three ways.
        self.ended = False
        # Whether the caller closed it before its end.
        self.is_left = False
        # The objects of tools around it that were closed or left.
        self._ended_tools: list[Any] = []
        # Whether an item, a text or a callback's argument reached the caller: then nothing may be repeated.
        self.delivered = False
        self.restarted = 0
        self.continued = 0
        # The error of the break that is being continued.
        self.broken: Exception | None = None
        # The zero of the timing; earlier than now where the moment of the request is known.
        self.started = self._clock()
        self._stopped: float | None
        self.reset()

    def configure(self, callbacks: AnyCallbacks[Any, Any, Any, Any] | None, settings: StreamSettings) -> None:
        """Replace the callbacks, unless `None` is given, and the settings."""
        if callbacks is not None:
            self._plan = CallbackPlan(callbacks, self._plan)
        self.has_item_callbacks = self._plan.has_item_callbacks
        self.settings = settings
        self._idle_timeout = settings.idle_timeout
        self._first_chunk_timeout = settings.first_chunk_timeout
        self._total_timeout = settings.total_timeout
        # Whether `wait_until` can return anything but `None`.
        self.has_timeout = settings.has_timeout

    @property
    def _request(self) -> Any:
        try:
            return None if self._response is None else self._response.request
        except RuntimeError:  # a response made by hand, which has none
            return None

    @property
    def response(self) -> httpx2.Response | None:
        """The HTTP response, `None` if there is none or the stream is not open."""
        return self._response

    @response.setter
    def response(self, response: httpx2.Response | None) -> None:
        self._response = response
        self.accumulation.request = self._request

    def reset(self) -> None:
        """Return to the state before the first byte; the clock of the timing runs on."""
        self.accumulation = self.dialect.new_accumulation()
        self.accumulation.request = self._request
        self._fast_path = self.dialect.new_fast_path(self.accumulation)
        # The item that says that the answer failed, until the caller has it: its error is raised at the next read.
        self._failed_item: Any = None
        # Whether the stream said that it is complete: `[DONE]`, or its end after a finish reason.
        self.done = False
        self._splitter = self._new_splitter()
        self._parser = EventParser()
        self.pending: deque[Any] = deque()
        # Eight bytes each, where a float object takes 24 more.
        self._arrivals = array("d")
        self._arrival = 0.0
        self._first_token: float | None = None
        self._deadline: float | None = None
        # When the last item came that brought anything; `None` if it is the last one of all.
        self._last_change: float | None = None
        self._stopped = None
        # The items of the requests before this one.
        self._items_before = 0
        # While the first events of a continuation may repeat what had arrived.
        self._continuation: Continuation | None = None

    # From the edge

    def receive(self, data: Any, kind: Kind) -> None:
        """Take one read: bytes or, from a source of items, an item.

        Raises `StreamDecodeError` for an event beyond the size bound.
        """
        self._arrival = self._clock()
        if kind == "bytes":
            try:
                self.pending.extend(self._splitter.feed(data))
            except StreamDecodeError as error:
                raise self.failed(error, kind) from None
        else:
            self.pending.append(data)

    def receive_end(self) -> None:
        """Take the end of the source; raises `StreamTruncatedError` if the stream is not complete."""
        if self._continuation is not None:
            self._release(self._continuation.end())
            if self.pending:
                return
        if not self.done:
            dropped, left = self._splitter.pending, self._splitter.rest
            try:
                # Raises the error that the last read put off.
                self._splitter.finish()
            except StreamDecodeError as error:
                raise self.failed(error, "bytes") from None
            if is_complete_event(left):
                self.pending.append(left)
                return
            if self.settings.require_finish and not self.accumulation.may_end:
                rest = f"; an unfinished event of {dropped} bytes was dropped" if dropped else ""
                raise self._truncated(f"{self.dialect.unfinished}{rest}{self._foreign_type}")
        self.done = True

    # To the edge

    def feed_one(self, data: Any, kind: Kind, typed: bool) -> Any:
        """Take one read and return the first item that it completes: `receive` and `next` in one.

        Nearly every read of a gateway is one whole event, which needs no queue; the result is the same. Raises as
        both do.
        """
        if kind != "bytes" or not self._splitter.is_plain or len(data) > MAX_EVENT_SIZE:
            self.receive(data, kind)
            return self.next(typed)
        typed = typed or self._plan.wants_items
        self._arrival = arrival = self._clock()
        item = self._fast_path.match(data, typed)
        if item is not None:
            self._arrivals.append(arrival)
            self._deadline = None
            return item
        if not is_single_event(data):
            self.receive(data, kind)
            return self.next(typed)
        try:
            item = self._parse_event(data[:-2], typed)
        except (ValueError, RecursionError) as error:
            raise self._bad_item(error) from error.__cause__ or error
        if item is None:
            self._end_after_grace()
        return item

    def next(self, typed: bool) -> Any:
        """Return the next item that is there, accumulated; `None` when more must be read, or `done`.

        The item is in the SDK's type if `typed`, else a mapping. Raises `StreamProviderError` and `StreamDecodeError`.
        """
        typed = typed or self._plan.wants_items
        while self.pending and not self.done:
            received = self.pending.popleft()
            try:
                if type(received) is bytes:
                    item = self._fast_path.match(received + b"\n\n", typed)
                    if item is not None:
                        self._arrivals.append(self._arrival)
                        self._deadline = None
                    else:
                        item = self._parse_event(received, typed)
                        if item is None:
                            continue
                    return item
                mapping = self.dialect.as_mapping(received)
                if self._continuation is not None:
                    item = self._join(mapping, self._continuation, typed)
                    if item is None:
                        continue
                    return item
                self._add(mapping)
                return self.dialect.as_item(received) if typed else mapping
            except (ValueError, RecursionError) as error:
                raise self._bad_item(error) from error.__cause__ or error
        self._end_after_grace()
        return None

    def _end_after_grace(self) -> None:
        """End a whole stream that sends nothing but heartbeats, in comments or items (bifrost#6784, cohere-python#756).

        After the finish reason only usage and the end can follow, unless it came beside text.
        """
        if not self._arrivals:
            return
        last = self._arrivals[-1] if self._last_change is None else self._last_change
        if self._arrival - last > GRACE_SECONDS and self.accumulation.is_settled:
            self.done = True
            self._stopped = last

    def _parse_event(self, event: bytes, typed: bool) -> Any:
        """Accumulate an event, without its blank line, and return its item; `None` for one that brings none."""
        name = ""
        if event.startswith(b"data: {") and b"\n" not in event:
            payload = event[6:]
        else:
            name, payload = self._name_and_payload(event)
        if not payload:
            return None
        if not payload.startswith(b"{") and is_done_marker(payload):
            if self._continuation is not None:
                self.pending.appendleft(event)
                self._release(self._continuation.end())
                return self.next(typed)
            if self.settings.require_finish and not self.accumulation.has_result:
                raise self._truncated(self.dialect.unfinished_result)
            self.done = True
            self._stopped = self._arrival
            return None
        mapping: Mapping[str, Any] = parse_object(payload)
        if self._is_named:
            named = self.dialect.named(mapping, name)
            if named is not mapping:
                # What is built is the whole event.
                mapping, payload = named, b""
        if self._continuation is not None:
            return self._join(mapping, self._continuation, typed)
        fast_path = self._fast_path
        is_active = fast_path.is_active
        continues = is_active and fast_path.continues(event, mapping)
        self._add(mapping)
        item = self._build(payload, mapping) if typed else None
        if continues:
            fast_path.learn(event, mapping, item)
        elif is_active:
            fast_path.reset()
        return item if typed else mapping

    def _build(self, payload: bytes, mapping: Mapping[str, Any]) -> Any:
        """Return the item of an event that was accumulated; the first may be the whole answer, in another form."""
        if len(self._arrivals) > 1:
            return self.dialect.build(payload, mapping)
        first = self.dialect.as_first(mapping)
        return self.dialect.build(payload if first is mapping else b"", first)

    def _join(self, mapping: Mapping[str, Any], continuation: Continuation, typed: bool) -> Any:
        """Return the first item of a continuation; `None` while its events may repeat what had arrived."""
        self._deadline = None
        # Events before an error repeat what had arrived, so far.
        is_error = self.dialect.error_of(mapping) is not None
        events = [mapping] if is_error else continuation.add(mapping)
        if events is None:
            return None
        self._release(events)
        return self.next(typed)

    def _release(self, events: list[Mapping[str, Any]]) -> None:
        self._continuation = None
        self.pending.extendleft(reversed(events))

    def _name_and_payload(self, event: bytes) -> tuple[str, bytes]:
        """Return the name of an event and its data, which are empty for one that brings none."""
        # A blank line too many between two events must not hide what the second one is.
        event = event.lstrip(b"\n").removeprefix(_BOM)
        if event.startswith(b"error:"):
            # A field of llama.cpp's own, until late 2025 (coddy-agent#106).
            raise self._provider_error(event_error_body(event[6:].strip()))
        if is_bare_json(event):
            return "", event
        if self._is_named and event.startswith(b"event: ") and event.count(b"\n") == 1:
            # The usual form of such an event, past the parser.
            line, _, data = event[7:].partition(b"\ndata: ")
            if data.startswith(b"{") and line.isascii():
                return line.decode(), data
        parsed = self._parser.parse(event)
        if parsed is None or (parsed.event == "ping" and not self._is_named):
            return "", b""
        data = parsed.data.strip().encode()
        if parsed.event == "error" and not (self._is_named and data.startswith(b"{")):
            raise self._provider_error(event_error_body(data))
        # AgentRouter sends `null` between reasoning and text (kilocode#3083).
        return parsed.event, data if data != b"null" else b""

    def _add(self, mapping: Mapping[str, Any]) -> None:
        error = self.dialect.error_of(mapping)
        if error is not None and not self.dialect.is_item(mapping):
            raise self._provider_error(error)
        accumulation = self.accumulation
        accumulation.add(mapping)
        if self._is_named and self.dialect.is_heartbeat(mapping):
            return
        if not accumulation.is_idle:
            self._last_change = None
        elif self._last_change is None:
            # The fast path forgets its templates at such an item, so that text behind it comes here.
            self._last_change = self._arrivals[-1] if self._arrivals else self._arrival
        self._arrivals.append(self._arrival)
        self._deadline = None
        if error is not None:
            if not mapping.get("error"):
                # The SDK hands such an event to its loop; of one that has a field `error` it raises at once.
                self._failed_item = self.dialect.as_item(mapping)
            raise self._provider_error(error)
        if self._first_token is None and accumulation.has_token:
            self._first_token = self._arrival
        if accumulation.ends:
            self.done = True
            self._stopped = self._arrival
        elif accumulation.is_idle:
            self._end_after_grace()

    def _bad_item(self, error: Exception) -> Exception:
        # A StreamDecodeError is a ValueError too.
        if isinstance(error, StreamDecodeError):
            return self.failed(error, "bytes")
        if self.response is not None:
            redact_error(error, redactor_for(self.response.request))
        article = "an" if self.dialect.item_name[0] in "aeiou" else "a"
        return StreamDecodeError(
            f"not {article} {self.dialect.item_name} after {self._progress}: {error}", **self._error_context
        )

    def wait_until(self) -> float | None:
        """Return when the wait for the next item ends, on the monotonic clock; `None` for no limit.

        The moment is the same until an item arrives: keep-alive comments do not count. The time that the caller takes
        between two items does not count either.
        """
        has_begun = self._continuation or len(self._arrivals) > self._items_before
        timeout = self._idle_timeout if has_begun else self._first_chunk_timeout
        if timeout is None:
            return self._last_moment
        if self._deadline is None:
            self._deadline = self._clock() + timeout
        last = self._last_moment
        return self._deadline if last is None else min(self._deadline, last)

    @property
    def _last_moment(self) -> float | None:
        """The moment at which `total_timeout` ends the stream, restarts and all."""
        return None if self._total_timeout is None else self.started + self._total_timeout

    def calls(self, item: Any) -> list[Call]:
        """Return the calls that the item just returned triggers, in order."""
        calls = self._plan.for_item(item, self.accumulation)
        self.delivered = self.delivered or bool(calls)
        return calls

    # The end, in one of three ways, once

    def finished(self) -> list[Call]:
        """Return the last calls of a stream that ended whole."""
        if self.ended:
            return []
        plan, accumulation = self._plan, self.accumulation
        calls = plan.for_tool_calls(accumulation, ended=True) + plan.for_unusable_calls(accumulation, ended=True)
        return calls + self._last(plan.callbacks.on_finish)

    def abandoned(self) -> list[Call]:
        """Return the last calls of a stream that the caller closed: finished if its finish reason had arrived.

        If the calls of an earlier end were interrupted, the terminal one is among them.
        """
        if self._plan.is_finished:
            return []
        plan = self._plan
        if not self.is_whole:
            self.is_left = True
            return self._last(plan.callbacks.on_abort)
        return plan.for_unusable_calls(self.accumulation, ended=True) + self._last(plan.callbacks.on_finish)

    def failed_with(self, error: Exception) -> list[Call]:
        """Return the last calls of a stream that broke."""
        if self._plan.is_finished:
            return []
        self.error = error
        return self._last(self._plan.callbacks.on_error, error)

    def is_first_end(self, tool: Any) -> bool:
        """Tell whether an object of a tool is still to be closed or left, which happens once; it is noted."""
        if tool is None or any(tool is ended for ended in self._ended_tools):
            return False
        self._ended_tools.append(tool)
        return True

    @property
    def has_failed_item(self) -> bool:
        """Whether the last item said that the answer failed, and was not taken yet."""
        return self._failed_item is not None

    def take_failed_item(self) -> Any:
        """Return the item that says that the answer failed, once; `None` if there is none."""
        item, self._failed_item = self._failed_item, None
        return item

    def _last(self, terminal: Any, argument: Any = None) -> list[Call]:
        # Noted when the calls exist: an interrupt while the result is built must not lose the terminal one.
        calls = self._plan.for_end(self.accumulation, terminal, argument)
        self.ended = True
        self._stopped = self._stopped or self._clock()
        return calls

    @property
    def count(self) -> int:
        """The number of items so far."""
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
        return self.done or self.accumulation.is_whole

    def interrupted(self) -> None:
        """Note that a read ended with its stream: reading on must not look like the end of a whole answer."""
        if not self.is_whole:
            self.error = self.unfinished()

    # Errors

    def failed(self, error: Exception, kind: Kind, *, timed_out: bool = False) -> Exception:
        """Return the `StreamError` for an error of a read; `error` itself if it is the caller's own."""
        if timed_out:
            return self.timed_out()
        if kind == "items" and not is_of_sdk(error):
            return error
        return translate_error(error, self._progress, **self._error_context)

    def timed_out(self) -> StreamTimeoutError:
        """Return the error for an item that did not arrive in time."""
        settings, item = self.settings, self.dialect.item_name
        last = self._last_moment
        if last is not None and self._clock() >= last:
            text = f"not complete within {settings.total_timeout:g} s (total_timeout), after {self._progress}"
        elif self._arrivals:
            text = f"no {item} for {settings.idle_timeout:g} s (idle_timeout), after {self._progress}"
        else:
            text = f"no first {item} within {settings.first_chunk_timeout:g} s (first_chunk_timeout)"
        return StreamTimeoutError(text, **self._error_context)

    def _truncated(self, lack: str) -> StreamTruncatedError:
        return StreamTruncatedError(f"stream ended after {self._progress} with {lack}", **self._error_context)

    def unfinished(self) -> StreamTruncatedError:
        """Return the error for asking the final result of a stream that the caller closed early."""
        return StreamTruncatedError(
            f"the stream was closed early, after {self._progress}; "
            f"the partial answer is in .{self.dialect.result_name}",
            **self._error_context,
        )

    def without(self, part: str) -> StreamTruncatedError:
        """Return the error for asking a part that the final result lacks."""
        return StreamTruncatedError(f"the stream ended after {self._progress} without {part}", **self._error_context)

    def _provider_error(self, body: Any) -> StreamProviderError:
        return provider_error(body, self._progress, **self._error_context)

    @property
    def _progress(self) -> str:
        items, text, name = self.count, len(self.accumulation.text), self.dialect.item_name
        return f"{items} {name}{'' if items == 1 else 's'} and {text} character{'' if text == 1 else 's'} of text"

    @property
    def _foreign_type(self) -> str:
        kind = "" if self.response is None else self.response.headers.get("content-type", "")
        if not kind or kind.startswith("text/event-stream"):
            return ""
        return f"; it is {kind.partition(';')[0]} and no event stream: is the base URL right?"

    @property
    def _error_context(self) -> dict[str, Any]:
        accumulation = self.accumulation
        return {"partial": lambda: accumulation.result, "request": self._request, "request_id": self.request_id}

    # Restarts

    def restart_delay(self, error: Exception) -> float | None:
        """Return the seconds to wait before the stream is opened again, `None` if it must not be.

        An answer whose finish reason has come is not asked for, and billed, again: only its end is missing.
        """
        settings, codes = self.settings, self.dialect.retried_codes
        if self.delivered or self.is_whole or self.restarted >= settings.restarts or not may_restart(error, codes):
            return None
        self.restarted += 1
        delay = backoff(self.restarted, jitter=random())  # noqa: S311 - spreads restarts, guards nothing
        last = self._last_moment
        return delay if last is None or self._clock() + delay < last else None

    def continue_delay(self, error: Exception, body: Any) -> tuple[float, Any] | None:
        """Return the seconds to wait before an answer that broke is continued, and the body of that request.

        `body` is that of the first request. `None` if the answer must not be continued, or cannot be.
        """
        if self.continued >= self.settings.continue_broken or not may_restart(error, self.dialect.retried_codes):
            return None
        continuing = self.dialect.continuation_of(body, self.accumulation)
        if continuing is None:
            return None
        self.continued += 1
        delay = backoff(self.continued, jitter=random())  # noqa: S311 - as above
        last = self._last_moment
        if last is not None and self._clock() + delay >= last:
            return None
        self.broken = error
        return delay, continuing

    def final_error(self, error: Exception) -> Exception:
        """Return the error that ends the stream: that of the break, if the request to continue the answer failed.

        A note tells how often the request was made, if more than once.
        """
        if requests := self.restarted + self.continued:
            error.add_note(f"The request was made {requests + 1} times.")
        has_gone_on = len(self._arrivals) > self._items_before
        if self.broken is None or has_gone_on or isinstance(error, StreamError):
            return error
        self.broken.__cause__ = error
        return self.broken

    def begin_continuation(self) -> None:
        """Expect the first byte of a request that continues the answer."""
        self._continuation = Continuation(self.dialect, self.accumulation.text)
        self._splitter, self._parser = self._new_splitter(), EventParser()
        self.pending.clear()
        self.accumulation.begin_continuation()
        self._fast_path = self.dialect.new_fast_path(self.accumulation)
        self._items_before = len(self._arrivals)
        self._deadline = self._last_change = None

    @property
    def timing(self) -> StreamTiming:
        """The timing so far."""
        return StreamTiming._of(  # noqa: SLF001 - for streams alone
            self._arrivals,
            self.started,
            time_to_first_token=None if self._first_token is None else self._first_token - self.started,
            duration=(self._stopped or self._clock()) - self.started,
            completion_tokens=self.accumulation.output_tokens,
        )
