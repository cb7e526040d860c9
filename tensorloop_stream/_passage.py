"""What a forwarded stream means, read beside the bytes that pass, with no I/O."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import openai

from ._callbacks import Callbacks
from ._core import StreamCore
from ._errors import StreamError, StreamTimeoutError
from ._settings import StreamSettings
from ._sse import EventSplitter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._callbacks import Call

SSE_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}
"""What a stream needs on its way to a browser: without them, proxies collapse it into one read (nginx)."""

# Of the gateway's headers, those for its clients. The others tell of the key, its budget and the upstream.
_PASSED_ON = ("retry-after", "x-request-id", "x-litellm-call-id", "x-litellm-model-id", "x-litellm-version")
_JSON = "application/json"


def request_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body to send: the given one, streamed; raises `TypeError` if it is no mapping."""
    try:
        return {**body, "stream": True}
    except TypeError:
        raise TypeError(f"body is {type(body).__name__}: it must be the mapping to send as JSON") from None


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those of the gateway's headers that reach the browser."""
    return {name: headers[name] for name in _PASSED_ON if name in headers}


def refusal(error: openai.APIError) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and JSON body for an error before the stream.

    The gateway's own status and body where it answered, 504 for a timeout and 502 where it could not be reached.
    """
    if isinstance(error, openai.APIStatusError):
        headers = passed_on(error.response.headers)
        content_type = error.response.headers.get("content-type", _JSON)
        return error.status_code, {"Content-Type": content_type, **headers}, error.response.content
    status = 504 if isinstance(error, openai.APITimeoutError) else 502
    return status, {"Content-Type": _JSON}, _error_json(error.message, status)


def _error_json(message: str, status: int) -> bytes:
    kind = "timeout_error" if status == 504 else "upstream_error"
    error = {"message": message, "type": kind, "param": None, "code": str(status)}
    return json.dumps({"error": error}, ensure_ascii=False).encode()


class Passage:
    """Told of the bytes that pass, it makes the calls they ask for, and writes an end where the upstream had none."""

    def __init__(self, callbacks: Callbacks) -> None:
        self._core = StreamCore(callbacks, StreamSettings())
        self._end_of_data = b""

    def sent_to(self, response: Any) -> None:
        """Note the response, for the errors."""
        self._core.request = response.request

    def pass_on(self, data: bytes) -> list[Call]:
        """Take bytes that are passed on; return the calls to make."""
        self._end_of_data = (self._end_of_data + data)[-2:]
        return [] if self._core.ended else self._look_at(data)

    def _look_at(self, data: bytes) -> list[Call]:
        core = self._core
        calls: list[Call] = []
        try:
            core.receive(data, "bytes")
            while (chunk := core.next(typed=False)) is not None:
                if core.tells:
                    calls += core.calls(chunk)
        except StreamError as error:
            # An error of the gateway's is on its way in these bytes; what cannot be read is the reader's to judge.
            calls += core.broken(error)
        return calls

    def end(self) -> tuple[bytes, list[Call]]:
        """Take the end of the upstream; return the bytes that make an unfinished one visible, and the calls."""
        core = self._core
        if core.ended:
            return b"", []
        try:
            while not core.done:
                core.receive_end()
                core.next(typed=False)
        except StreamError as error:
            return self._visible(error), core.broken(error)
        return b"", core.finished()

    def cut(self, error: Exception) -> tuple[bytes, list[Call]]:
        """Take what a read raised; return the bytes that make it visible, and the calls; raises what is no cut."""
        broke = self._core.failed(error, "bytes")
        if not isinstance(broke, StreamError):
            raise error
        broke.__cause__ = error
        return self._visible(broke), self._core.broken(broke)

    def refused(self, error: Exception) -> list[Call]:
        """Return the calls for a stream that did not begin, or whose callback raised."""
        return self._core.broken(error)

    def left(self) -> list[Call]:
        """Return the calls for a reader who left."""
        return self._core.left()

    def _visible(self, error: StreamError) -> bytes:
        # Half an event must not swallow the one that explains it.
        gap = b"" if self._end_of_data == b"\n\n" else b"\n\n"
        status = 504 if isinstance(error, StreamTimeoutError) else 502
        # A reader that searches the bytes for the end mark must not find it in a sentence.
        message = error.message.replace("[DONE]", "DONE")
        return gap + b"data: " + _error_json(message, status) + b"\n\n"


class SilentPassage(Passage):
    """A passage nobody is told of: looks for the end alone, so that it is cheap and its memory flat."""

    def __init__(self) -> None:
        super().__init__(Callbacks())
        self._splitter = EventSplitter()

    def _look_at(self, data: bytes) -> list[Call]:
        try:
            events = self._splitter.feed(data)
        except StreamError:
            return self._core.left()
        if any(_ENDS.search(event) for event in events):
            self._core.done = True
        return []


# Inside a string of JSON the quotes would be escaped, so that no text of a model looks like this.
_ENDS = re.compile(rb'"finish_reason"\s*:\s*"|^data:\s*\[DONE\]|"error"\s*:\s*["{]|^event:\s*error', re.MULTILINE)
