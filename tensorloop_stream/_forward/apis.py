"""The APIs that are forwarded, as far as they differ: the path, the end of a stream, the form of an error in it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tensorloop_stream._chat.dialect import CHAT
from tensorloop_stream._responses.dialect import RESPONSES
from tensorloop_stream._stream.error_events import bare_error

from .headers import error_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tensorloop_stream._stream.dialect import Dialect

# A body with one of these, and without messages, is for the Responses API.
_OF_RESPONSES = ("input", "prompt", "previous_response_id", "conversation")
# Inside a string of JSON the quotes would be escaped: no text of a model looks like these.
_CHAT_DONE = rb"^data:\s*\[DONE\]"
_RESPONSE_DONE = rb'"type"\s*:\s*"response\.(?:completed|incomplete|failed|cancelled)"'
_ERROR = rb'"error"\s*:\s*["{]|^event:\s*error'
_RESPONSE_FAILED = rb'"type"\s*:\s*"response\.failed"'
_NUMBER = re.compile(rb'"sequence_number"\s*:\s*(\d{1,15})')


@dataclass(frozen=True, slots=True)
class Api:
    """One API, as far as forwarding differs."""

    path: str
    dialect: Dialect
    is_done: Callable[[bytes], Any]
    """Searches an event for the mark that the stream is complete."""
    may_end: Callable[[bytes], Any]
    """Searches an event for what lets a stream end after it: the mark, a finish reason, or an error."""
    is_error: Callable[[bytes], Any]
    """Searches an event for an error of the gateway, in the form that browsers look for."""
    bare_error: Callable[[bytes], Any]
    """Returns the error in an event that has another form; `None` if it is none."""
    kept: int
    """The number of bytes behind which an error is put."""
    error_event: Callable[[str, int, bytes], bytes]
    """Returns the event of an error, from its message, its HTTP status and the last bytes before it."""


def api_of(body: Mapping[str, Any]) -> Api:
    """Return the API that a body is for: chat completions, unless it has no messages but an input."""
    return RESPONSES_API if "messages" not in body and any(name in body for name in _OF_RESPONSES) else CHAT_API


def _chat_error(message: str, status: int, _: bytes) -> bytes:
    return b"data: " + error_json(message, status) + b"\n\n"


def _response_error(message: str, _: int, before: bytes) -> bytes:
    """Return the event with the number after the last one, as OpenAI sends it."""
    numbers = _NUMBER.findall(before)
    number = int(numbers[-1]) + 1 if numbers else 0
    error = {"type": "error", "code": "server_error", "message": message, "param": None, "sequence_number": number}
    return b"event: error\ndata: " + json.dumps(error, ensure_ascii=False).encode() + b"\n\n"


def _bare_error(event: bytes) -> Any:
    """Return the error in an event without choices, by fields other than `error`; `None` if it is none."""
    if b'"choices"' in event:
        return None
    try:
        value = json.loads(b"\n".join(line[5:] for line in event.splitlines() if line.startswith(b"data:")))
    except (ValueError, RecursionError):
        return None
    return bare_error(value) if isinstance(value, dict) else None


def _searches(pattern: bytes) -> Callable[[bytes], Any]:
    return re.compile(pattern, re.MULTILINE).search


CHAT_API = Api(
    path="/chat/completions",
    dialect=CHAT,
    is_done=_searches(_CHAT_DONE),
    may_end=_searches(rb'"finish_reason"\s*:\s*"|' + _CHAT_DONE + b"|" + _ERROR),
    is_error=_searches(_ERROR),
    bare_error=_bare_error,
    kept=2,
    error_event=_chat_error,
)
RESPONSES_API = Api(
    path="/responses",
    dialect=RESPONSES,
    is_done=_searches(_RESPONSE_DONE),
    may_end=_searches(_RESPONSE_DONE + b"|" + _ERROR),
    is_error=_searches(_RESPONSE_FAILED + b"|" + _ERROR),
    bare_error=lambda _: None,
    # The number of the last event stands there.
    kept=4096,
    error_event=_response_error,
)
