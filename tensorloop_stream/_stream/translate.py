"""Translate the errors of the SDK, the HTTP library and the gateway into the `StreamError` family."""

from __future__ import annotations

from typing import Any

import openai

from tensorloop_stream._errors import (
    StreamConnectionError,
    StreamContentError,
    StreamDecodeError,
    StreamError,
    StreamProviderError,
    StreamTimeoutError,
    has_partial,
)
from tensorloop_stream._http.error_object import error_message
from tensorloop_stream._http.redact_errors import redact_error
from tensorloop_stream._http.request_keys import redactor_for

from .error_events import innermost_error

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
    body = innermost_error(body)
    message = error_message(body) or "the gateway sent an error without a message"
    return StreamProviderError(f"{message} (in the stream, after {progress})", **context, body=body)
