"""Translate the errors of the SDK, the HTTP library and the gateway into the `StreamError` family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai

from tensorloop_stream._errors import (
    StreamConnectionError,
    StreamContentError,
    StreamDecodeError,
    StreamError,
    StreamProviderError,
    StreamTimeoutError,
    error_message,
    has_partial,
)
from tensorloop_stream._http.redact import redactor_for

from .payload import parse_object

if TYPE_CHECKING:
    from collections.abc import Mapping

_SUCCESSES = frozenset({"", "0", "ok", "success", "true", "completed", "in_progress", "processing", "queued"})
# Errors of the HTTP libraries and of anyio's streams below them, by name.
_CUTS = frozenset({"TransportError", "StreamClosed", "EndOfStream", "BrokenResourceError", "ClosedResourceError"})


def is_of_sdk(error: Exception) -> bool:
    """Tell whether the SDK raised an error, also one that passes a generator of the caller's or of a tool."""
    return isinstance(error, openai.APIError)


def translate_error(error: Exception, progress: str, **context: Any) -> Exception:
    """Return the `StreamError` for an error of the SDK or the HTTP library; other errors unchanged."""
    if isinstance(error, StreamError) and has_partial(error):
        # Of a stream of this package underneath.
        return error
    if (request := context.get("request")) is not None:
        # It becomes the cause of another, and a traceback shows both.
        redactor_for(request.headers).error(error)
    if isinstance(error, StreamError):
        return type(error)(f"{error.message} (after {progress})", **context, body=error.body)
    # By name too: the SDK also runs on the older httpx, whose classes are others.
    names = {base.__name__ for base in type(error).__mro__}
    if isinstance(error, openai.APITimeoutError) or "TimeoutException" in names:
        return StreamTimeoutError(f"no byte within the client's read timeout, after {progress}", **context)
    if "DecodingError" in names:
        return StreamContentError(f"not decodable after {progress}: {error}", **context)
    if isinstance(error, (openai.APIConnectionError, OSError)) or names & _CUTS:
        return StreamConnectionError(
            f"connection cut after {progress}: {str(error) or type(error).__name__}", **context
        )
    if isinstance(error, ValueError):
        return StreamDecodeError(f"not decodable after {progress}: {error}", **context)
    if isinstance(error, openai.APIError):
        return provider_error(error.body, progress, **context)
    return error


def provider_error(body: Any, progress: str, **context: Any) -> StreamProviderError:
    """Return the error for an error object that a gateway sent inside the stream."""
    # A proxy before a proxy wraps what it got in an error of its own, with nothing else in it.
    while isinstance(body, dict) and isinstance(body.get("error"), dict) and not body.get("message"):
        body = body["error"]
    message = error_message(body) or "the gateway sent an error without a message"
    return StreamProviderError(f"{message} (in the stream, after {progress})", **context, body=body)


def is_complete_event(rest: bytes) -> bool:
    """Tell whether the last bytes are an event, although no blank line ends them.

    They may be a JSON answer in place of the events, an error object that breaks off the events (Gemini,
    bifrost#5262), or an error event that ended the stream.
    """
    return is_bare_json(rest) or rest.lstrip().startswith((b"error:", b"event: error", b'data: {"error"'))


def is_bare_json(event: bytes) -> bool:
    """Tell whether the lines of an event are an object, or an array of objects, without a field name."""
    return event.lstrip().removeprefix(b"[").lstrip().startswith(b"{")


def event_error_body(data: bytes) -> Any:
    """Return the error object of an `event: error`, whatever its data."""
    try:
        body: Any = parse_object(data)
    except StreamDecodeError:
        return data.decode("utf-8", "replace")
    return body.get("error") or body


def is_failure(code: object) -> bool:
    """Tell whether a code of whatever type is that of a failure: 0, 200 to 299 and a few words are not."""
    text = str(code).lower()
    return code is not None and text not in _SUCCESSES and not (len(text) == 3 and text[0] == "2" and text.isdigit())


def is_bare_error(mapping: Mapping[str, Any]) -> bool:
    """Tell whether an event without any part of an answer is an error by its own fields."""
    if "error" in (mapping.get("type"), mapping.get("object"), mapping.get("status")):
        return True
    if mapping.get("success") is False or mapping.get("detail"):
        return True
    if any(value and name != "error" and name.startswith("error") for name, value in mapping.items()):
        return True
    codes = (mapping.get(name) for name in ("code", "status", "status_code", "statusCode"))
    return bool(mapping.get("message") or mapping.get("msg")) and any(map(is_failure, codes))
