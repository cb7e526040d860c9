"""What went wrong, told in this package's errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai

from tensorloop_stream._chat.models import parse_object
from tensorloop_stream._errors import (
    StreamConnectionError,
    StreamDecodeError,
    StreamError,
    StreamProviderError,
    StreamTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


def translated(error: Exception, so_far: str, **facts: Any) -> Exception:
    """Return the error of this family for what the SDK or the HTTP library raised; others as they are."""
    if isinstance(error, StreamError):
        return type(error)(f"{error.message} (after {so_far})", **facts, body=error.body)
    # By name too: the SDK also runs on the older httpx, whose classes are others.
    names = {base.__name__ for base in type(error).__mro__}
    if isinstance(error, openai.APITimeoutError) or "TimeoutException" in names:
        return StreamTimeoutError(f"no byte within the client's read timeout, after {so_far}", **facts)
    if isinstance(error, (openai.APIConnectionError, OSError)) or names & {"TransportError", "StreamClosed"}:
        return StreamConnectionError(f"connection cut after {so_far}: {str(error) or type(error).__name__}", **facts)
    if isinstance(error, ValueError) or "DecodingError" in names:
        return StreamDecodeError(f"not decodable after {so_far}: {error}", **facts)
    if isinstance(error, openai.APIError):
        return provider_error(error.body, so_far, **facts)
    return error


def provider_error(body: Any, so_far: str, **facts: Any) -> StreamProviderError:
    """Return the error for an error object that a gateway sent inside the stream."""
    # A proxy before a proxy wraps what it got in an error of its own, with nothing else in it.
    while isinstance(body, dict) and isinstance(body.get("error"), dict) and not body.get("message"):
        body = body["error"]
    message = body.get("message") or body.get("text") if isinstance(body, dict) else body
    if not message or not isinstance(message, str):
        message = "the gateway sent an error without a message"
    return StreamProviderError(f"{message} (in the stream, after {so_far})", **facts, body=body)


def is_bare_error(chunk: Mapping[str, Any]) -> bool:
    """Tell whether an object without choices is an error without an envelope: older vLLM's form, and FastChat's."""
    return chunk.get("object") == "error" or bool(chunk.get("error_code"))


def speaks_for_itself(rest: bytes) -> bool:
    """Tell whether what is left at the end, although no blank line ends it, says something.

    A JSON answer in place of the events, an error object that breaks off the events (Gemini, bifrost#5262), or
    an error event that was the last thing sent.
    """
    return rest.lstrip().startswith((b"{", b"error:", b"event: error", b'data: {"error"'))


def error_body(data: bytes) -> Any:
    """Return the error that an `event: error` brings, whatever its data."""
    try:
        body: Any = parse_object(data)
    except StreamDecodeError:
        return data.decode("utf-8", "replace")
    return body.get("error") or body
