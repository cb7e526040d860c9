"""What a forwarded stream means, read beside the bytes that pass, with no I/O."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import openai

from tensorloop_stream._callbacks import Callbacks
from tensorloop_stream._errors import StreamError, StreamTimeoutError
from tensorloop_stream._stream.state import StreamState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorloop_stream._callbacks import Call
    from tensorloop_stream._stream.settings import StreamSettings

SSE_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}
"""What a stream needs on its way to a browser: without them, proxies collapse it into one read (nginx)."""

# Of the gateway's headers, those for its clients. The others tell of the key, its budget and the upstream.
_PASSED_ON = ("retry-after", "x-request-id", "x-litellm-call-id", "x-litellm-model-id", "x-litellm-version")
_JSON = "application/json"
# What is shorter stands in for a key, and may be a word of the message.
_MIN_KEY = 8


def request_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body to send: the given one, streamed; raises `TypeError` if it is no mapping."""
    try:
        return {**body, "stream": True}
    except TypeError:
        raise TypeError(f"body is {type(body).__name__}: it must be the mapping to send as JSON") from None


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those of the gateway's headers that reach the browser."""
    return {name: headers[name] for name in _PASSED_ON if name in headers}


def stream_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a stream for the browser, from those of the gateway."""
    answered = headers.get("content-type", "")
    # A gateway that answers in one piece, although a stream was asked for.
    kind = {"Content-Type": answered} if answered.startswith(_JSON) else {}
    return {**SSE_HEADERS, **kind, **passed_on(headers)}


def refusal(error: openai.APIError, key: str) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and JSON body for an error before the stream.

    The gateway's own status and body where it answered, 504 for a timeout and 502 where it could not be reached. What
    the body repeats of the `key` is left out: LiteLLM names its last characters and its hash.
    """
    if isinstance(error, openai.APIStatusError):
        headers = passed_on(error.response.headers)
        content_type = error.response.headers.get("content-type", _JSON)
        return error.status_code, {"Content-Type": content_type, **headers}, _without(key, error.response.content)
    status = 504 if isinstance(error, openai.APITimeoutError) else 502
    return status, {"Content-Type": _JSON}, _error_json(error.message, status)


def _without(key: str, body: bytes) -> bytes:
    if len(key) < _MIN_KEY:
        return body
    digest = hashlib.sha256(key.encode()).hexdigest()
    # Whole, hashed, or with dots or stars in place of all but its ends.
    forms = f"{re.escape(key)}|{digest}|[\\w-]*(?:[.]{{2,}}|[*]{{2,}}|…)[\\w-]*{re.escape(key[-4:])}"
    return re.sub(forms.encode(), b"***", body)


def _error_json(message: str, status: int) -> bytes:
    kind = "timeout_error" if status == 504 else "upstream_error"
    error = {"message": message, "type": kind, "param": None, "code": str(status)}
    return json.dumps({"error": error}, ensure_ascii=False).encode()


class StreamObserver:
    """Told of the bytes that pass, it makes the calls they ask for, and writes an end where the upstream had none."""

    def __init__(self, callbacks: Callbacks, settings: StreamSettings) -> None:
        self._state = StreamState(callbacks, settings)
        self._end_of_data = b""

    def wait_until(self) -> float | None:
        """Return when the wait for the next chunk ends, on the monotonic clock; `None` for no limit."""
        state = self._state
        return state.wait_until() if state.has_timeout and not state.ended else None

    def timed_out(self) -> StreamTimeoutError:
        """Return the error for a chunk that did not come in time."""
        return self._state.timed_out()

    def set_response(self, response: Any) -> None:
        """Note the response, for the errors."""
        self._state.response = response

    def feed(self, data: bytes) -> list[Call]:
        """Take bytes that are passed on; return the calls to make."""
        self._end_of_data = (self._end_of_data + data)[-2:]
        return [] if self._state.ended else self._look_at(data)

    def _look_at(self, data: bytes) -> list[Call]:
        state = self._state
        calls: list[Call] = []
        try:
            state.receive(data, "bytes")
            while (chunk := state.next(typed=False)) is not None:
                if state.has_chunk_callbacks:
                    calls += state.calls(chunk)
        except StreamError as error:
            # An error of the gateway's is on its way in these bytes; what cannot be read is the reader's to judge.
            calls += state.failed_with(error)
        return calls

    def end(self) -> tuple[bytes, list[Call]]:
        """Take the end of the upstream; return the bytes that make an unfinished one visible, and the calls."""
        state = self._state
        if state.ended:
            return b"", []
        try:
            while not state.done:
                state.receive_end()
                state.next(typed=False)
        except StreamError as error:
            return self._visible(error), state.failed_with(error)
        return b"", state.finished()

    def read_failed(self, error: Exception) -> tuple[bytes, list[Call]]:
        """Take what a read raised; return the bytes that make it visible, and the calls; raises what is no cut.

        After `[DONE]` a cut is nothing to be seen.
        """
        broke = error if isinstance(error, StreamTimeoutError) else self._state.failed(error, "bytes")
        if not isinstance(broke, StreamError):
            raise error
        if self._state.done:
            return b"", self._state.finished()
        if broke is not error:
            broke.__cause__ = error
        return self._visible(broke), self._state.failed_with(broke)

    def open_failed(self, error: Exception) -> list[Call]:
        """Return the calls for a stream that did not begin, or whose callback raised."""
        return self._state.failed_with(error)

    def abandoned(self) -> list[Call]:
        """Return the calls for a reader who left."""
        return self._state.abandoned()

    def _visible(self, error: StreamError) -> bytes:
        # Half an event must not swallow the one that explains it.
        gap = b"" if self._end_of_data == b"\n\n" else b"\n\n"
        status = 504 if isinstance(error, StreamTimeoutError) else 502
        # A reader that searches the bytes for the end mark must not find it in a sentence.
        message = error.message.replace("[DONE]", "DONE")
        return gap + b"data: " + _error_json(message, status) + b"\n\n"


class EndObserver(StreamObserver):
    """A passage nobody is told of: looks for the end alone, so that it is cheap and its memory flat."""

    def __init__(self, settings: StreamSettings) -> None:
        super().__init__(Callbacks(), settings)
        self._state: _Unread = _Unread(None, settings)

    def _look_at(self, data: bytes) -> list[Call]:
        try:
            self._state.pass_by(data)
        except StreamError:
            return self._state.abandoned()
        return []


class _Unread(StreamState):
    """The state of a stream whose chunks nobody reads, but the last if it comes without its blank line."""

    _passed = 0
    _has_end = False

    def pass_by(self, data: bytes) -> None:
        """Count the events that are no comments, and note an end among them; raises `StreamDecodeError`."""
        for event in self._splitter.feed(data):
            if _IS_DATA(event):
                self._passed += 1
                self._deadline = None
                self.done = self.done or _IS_DONE(event) is not None
            self._has_end = self._has_end or _ENDS(event) is not None

    def receive_end(self) -> None:
        """Take the end of the source; raises `StreamTruncatedError` if nothing said that it would come."""
        if self._has_end:
            self.done = True
        super().receive_end()

    @property
    def chunks(self) -> int:
        """How many events passed."""
        return self._passed

    @property
    def _progress(self) -> str:
        return f"{self._passed} event{'' if self._passed == 1 else 's'}"


_IS_DATA = re.compile(rb"^data:", re.MULTILINE).search
_IS_DONE = re.compile(rb"^data:\s*\[DONE\]", re.MULTILINE).search
# Inside a string of JSON the quotes would be escaped, so that no text of a model looks like this.
_ENDS = re.compile(
    rb'"finish_reason"\s*:\s*"|^data:\s*\[DONE\]|"error"\s*:\s*["{]|^event:\s*error', re.MULTILINE
).search
