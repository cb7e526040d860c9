"""The answers of a replay: recorded responses and artificial errors. No I/O."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ._http import reason_of

# LiteLLM 1.106.2 sends exactly these bytes when its upstream fails in mid-stream; no [DONE] follows.
_IN_BAND_ERROR = (
    'data: {"error": {"message": "litellm.APIConnectionError: APIConnectionError: OpenAIException - %s", '
    '"type": %s, "param": null, "code": %s}}\n\n'
)
_FAILED = (
    '{"type":"response.failed","response":{"error":{"code":%s,"message":"%s"},"object":"response","output":[],'
    '"status":"failed"},"sequence_number":%d}'
)
_SERVER_ERROR = "The server had an error while processing your request"
PING = b": ping\n\n"


def in_band_error(path: str, number: int, word: str | None = None) -> bytes:
    """Return the event by which LiteLLM tells of a failed upstream, as the event of this number of a stream.

    A word is its type and its code, in place of a null and 500.
    """
    kind = json.dumps(word)
    message = _SERVER_ERROR if word is None else f"{kind[1:-1]}, as the replay was asked to send"
    if not path.endswith("/responses"):
        return (_IN_BAND_ERROR % (message, kind, '"500"' if word is None else kind)).encode()
    failed = _FAILED % ('"server_error"' if word is None else kind, message, number)
    return f"event: response.failed\ndata: {failed}\n\n".encode()


_LINE_END = re.compile(rb"\r\n|\r|\n")
# The group is atomic: one CRLF never counts as two line ends.
_BLANK_LINE = re.compile(rb"(?>\r\n|\r|\n){2,}")
_DATA_LINE = re.compile(rb"(?:\A|[\r\n])data(?:[:\r\n]|\Z)")

# Eight lines of a terminal.
_LONGEST_MESSAGE = 640

_ERROR_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


@dataclass(frozen=True, slots=True)
class Frame:
    """A part of an event stream that ends with a blank line: an event, or only a comment."""

    data: bytes
    is_event: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response; an event stream has `frames` instead of a `body`."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    frames: tuple[Frame, ...] | None = None
    times: tuple[float, ...] | None = None
    """The recorded times of the headers and of each frame, in seconds since the request."""
    is_cut: bool = False
    """Whether the connection was cut after the last frame."""

    @property
    def events(self) -> int:
        """The number of events, `[DONE]` counted."""
        return sum(frame.is_event for frame in self.frames or ())

    @property
    def ends_with_done(self) -> bool:
        """Whether the last event is `[DONE]`."""
        last = next((frame for frame in reversed(self.frames or ()) if frame.is_event), None)
        return last is not None and data_of(last.data).strip() == b"[DONE]"


def frames_of(body: bytes) -> Iterable[Frame]:
    """Split a recorded event stream after its blank lines; the bytes stay the same."""
    start = 0
    for end in [match.end() for match in _BLANK_LINE.finditer(body)] + [len(body)]:
        if data := body[start:end]:
            yield Frame(data, is_event=_DATA_LINE.search(data) is not None)
        start = end


def data_of(frame: bytes) -> bytes:
    """Return the data of an event, its lines joined; empty for a comment."""
    lines = [line[5:].removeprefix(b" ") for line in _LINE_END.split(frame) if line.startswith(b"data:")]
    return b"\n".join(lines)


def with_crlf(data: bytes) -> bytes:
    """End each line with CRLF."""
    return _LINE_END.sub(b"\r\n", data)


def json_answer(status: int, value: object, headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """Return an answer whose body is one JSON value."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    return Answer(status, reason_of(status), (("content-type", "application/json"), *headers), body)


def error_answer(
    status: int,
    message: str,
    *,
    error_type: str | None = None,
    param: str | None = None,
    retry_after: float | None = None,
) -> Answer:
    """Return an error in the shape of OpenAI's, with the code as a string, as LiteLLM sends it.

    A message that would not fit on a screen is shortened.
    """
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[: _LONGEST_MESSAGE - 1]}…"
    if error_type is None:
        error_type = _ERROR_TYPES.get(status, "internal_server_error" if status >= 500 else "invalid_request_error")
    error = {"message": message, "type": error_type, "param": param, "code": str(status)}
    headers = [] if retry_after is None else [("retry-after", f"{retry_after:.3f}".rstrip("0").rstrip("."))]
    return json_answer(status, {"error": error}, headers)
