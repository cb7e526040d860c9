"""Translate the errors of the SDK, the HTTP library and the gateway into the `StreamError` family."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import openai

from tensorloop_stream._errors import (
    StreamConnectionError,
    StreamContentError,
    StreamDecodeError,
    StreamError,
    StreamProviderError,
    StreamTimeoutError,
    error_code,
    error_message,
    has_partial,
)
from tensorloop_stream._http.redact_errors import redact_error
from tensorloop_stream._http.request_keys import redactor_for

from .payload import parse_object

if TYPE_CHECKING:
    from collections.abc import Mapping

# Codes and states that are none of a failure.
_SUCCESSES = frozenset({"", "0", "00000", "ok", "success", "succeeded", "true", "completed", "done", "finished"})
_SUCCESSES |= {"in_progress", "processing", "queued", "pending", "running", "loading", "started", "thinking", "ready"}
_CODES = ("code", "status", "statuscode", "errorcode", "errcode", "errno")
_CODE_NAMES = ("code", "status_code", "statusCode", "status")
_NOT_A_LETTER = re.compile(r"[^a-z]")
_MOST_WRAPPERS = 5
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
        redact_error(error, redactor_for(request))
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
    body = _innermost(body)
    message = error_message(body) or "the gateway sent an error without a message"
    return StreamProviderError(f"{message} (in the stream, after {progress})", **context, body=body)


def _innermost(body: Any) -> Any:
    """Return the error object itself: a proxy wraps what it got in an error, an array or a text of its own."""
    for _ in range(_MOST_WRAPPERS):
        inner = body
        if isinstance(body, list) and body:
            inner = body[0]
        elif isinstance(body, str) and body.lstrip().startswith("{"):
            try:
                inner = json.loads(body)
            except (ValueError, RecursionError):
                return body
        elif isinstance(body, dict) and not body.get("message"):
            inner = next((body[name] for name in ("error", "detail") if isinstance(body.get(name), dict)), body)
        if inner is body:
            return body
        body = inner
    return body


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


def with_code(error: Any, mapping: Mapping[str, Any]) -> Any:
    """Return an error with the code, and the message, that stand beside it in its event, where it has none."""
    if isinstance(error, dict) and (error_code(error) or isinstance(error.get("error"), dict)):
        return error
    code = next((mapping[name] for name in _CODE_NAMES if is_failure(mapping.get(name))), None)
    if isinstance(error, (bool, int, float)):
        code = error if code is None and not isinstance(error, bool) else code
        return {"message": error_message({**mapping, "error": None}), "code": code}
    if code is None or isinstance(code, dict):
        return error
    return {**error, "code": code} if isinstance(error, dict) else {"message": error_message(error), "code": code}


def is_bare_error(mapping: Mapping[str, Any]) -> bool:
    """Tell whether an event without any part of an answer is an error by its own fields, but for `error` itself.

    Their names are compared without case and separators, and a code of success beside them decides.
    """
    if "error" in (mapping.get("type"), mapping.get("object"), mapping.get("status"), mapping.get("event")):
        return True
    if any(str(mapping.get(name)).lower() == "false" for name in ("success", "ok")) or mapping.get("detail"):
        return True
    fields = {_NOT_A_LETTER.sub("", name.lower()): value for name, value in mapping.items() if name != "error"}
    codes = [fields[name] for name in _CODES if fields.get(name) is not None]
    if codes and not any(map(is_failure, codes)):
        return False
    if any(value and _names_error(name) for name, value in fields.items()) or _names_error(str(fields.get("type", ""))):
        return True
    inner = [value for value in mapping.values() if isinstance(value, dict)]
    if any(value and name.lower() == "error" for each in inner for name, value in each.items()):
        return True
    status = mapping.get("status")
    if isinstance(status, dict) and is_bare_error(status):
        return True
    is_told = bool(mapping.get("message") or mapping.get("msg") or mapping.get("title"))
    return is_told and any(is_failure(code) for code in codes if not isinstance(code, dict))


def _names_error(name: str) -> bool:
    """Tell whether a name without separators is that of an error: `Error`, `errmsg`, `throttlingException`, `fault`."""
    return name.startswith(("err", "fault")) or name.endswith(("error", "exception"))
