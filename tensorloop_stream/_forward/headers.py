"""The request body and the headers of a forwarded stream, and the answer for an error before it."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import openai

if TYPE_CHECKING:
    from collections.abc import Mapping

SSE_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}
"""The headers of a stream on its way to a browser: without them, proxies collapse it into one read (nginx)."""

# Of the gateway's headers, those for its clients. The others tell of the key, its budget and the upstream.
_FORWARDED = ("retry-after", "x-request-id", "x-litellm-call-id", "x-litellm-model-id", "x-litellm-version")
_JSON = "application/json"
# A shorter key is a stand-in, and may be a word of the message.
_MIN_KEY = 8


def request_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body to send: the given one, streamed; raises `TypeError` if it is no mapping."""
    try:
        return {**body, "stream": True}
    except TypeError:
        raise TypeError(f"body is {type(body).__name__}: it must be the mapping to send as JSON") from None


def forwarded_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those of the gateway's headers that reach the browser."""
    return {name: headers[name] for name in _FORWARDED if name in headers}


def stream_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a stream for the browser, from those of the gateway."""
    answered = headers.get("content-type", "")
    # A gateway that answers in one piece, although a stream was asked for.
    kind = {"Content-Type": answered} if answered.startswith(_JSON) else {}
    return {**SSE_HEADERS, **kind, **forwarded_headers(headers)}


def error_answer(error: openai.APIError, key: str) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and JSON body for an error before the stream.

    The gateway's own status and body where it answered, 504 for a timeout and 502 where it could not be reached. The
    body never repeats the `key`: LiteLLM names its last characters and its hash.
    """
    if isinstance(error, openai.APIStatusError):
        headers = forwarded_headers(error.response.headers)
        content_type = error.response.headers.get("content-type", _JSON)
        return error.status_code, {"Content-Type": content_type, **headers}, _without(key, error.response.content)
    status = 504 if isinstance(error, openai.APITimeoutError) else 502
    return status, {"Content-Type": _JSON}, error_json(error.message, status)


def error_json(message: str, status: int) -> bytes:
    """Return an error in the JSON form of the API."""
    kind = "timeout_error" if status == 504 else "upstream_error"
    error = {"message": message, "type": kind, "param": None, "code": str(status)}
    return json.dumps({"error": error}, ensure_ascii=False).encode()


def _without(key: str, body: bytes) -> bytes:
    if len(key) < _MIN_KEY:
        return body
    digest = hashlib.sha256(key.encode()).hexdigest()
    # Whole, hashed, or with dots or stars in place of all but its ends.
    forms = f"{re.escape(key)}|{digest}|[\\w-]*(?:[.]{{2,}}|[*]{{2,}}|…)[\\w-]*{re.escape(key[-4:])}"
    return re.sub(forms.encode(), b"***", body)
