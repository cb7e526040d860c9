"""The request body and the headers of a forwarded stream, and the answer for an error before it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import openai

from tensorloop_stream._http.error_texts import unexplained
from tensorloop_stream._retry import is_budget_spent

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2

    from tensorloop_stream._http.redact import Redactor

SSE_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}
"""The headers of a stream on its way to a browser: without them, proxies collapse it into one read (nginx)."""

# Of the gateway's headers, those for its clients. The others tell of the key, its budget and the upstream.
_FORWARDED = ("retry-after", "x-request-id", "x-litellm-call-id", "x-litellm-model-id", "x-litellm-version")
_JSON = "application/json"
_JSON_SUFFIX = re.compile(r"application/[a-z0-9.!#$&^_-]+\+json")
_LONGEST_KIND = 100
# The words of an upstream must never be a page of the app.
_ERROR_HEADERS = {"Content-Type": _JSON, "X-Content-Type-Options": "nosniff"}
UNAVAILABLE = "the service is not available: its operator can see the reason in the log"


def request_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body to send: the given one, streamed; raises `TypeError` if it is no mapping."""
    try:
        return {**body, "stream": True}
    except TypeError:
        raise TypeError(f"body is {type(body).__name__}: it must be the mapping to send as JSON") from None


def forwarded_headers(headers: httpx2.Headers, redactor: Redactor) -> dict[str, str]:
    """Return those of the gateway's headers that reach the browser, without the key.

    Each character stands for one byte, as WSGI and ASGI servers send it: the bytes are the gateway's.
    """
    sent = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in reversed(headers.raw)}
    return {name: redactor.text(sent[name]) for name in _FORWARDED if name in sent}


def as_latin_1(value: str) -> str:
    """Return a header value in which each character stands for one byte, those of its UTF-8."""
    return value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("latin-1")


def media_type(headers: httpx2.Headers) -> str:
    """Return the media type of an answer in lower case, without its parameters; JSON if it names none."""
    named: str = headers.get("content-type", _JSON)
    return named.partition(";")[0].strip().lower()


def is_json(kind: str) -> bool:
    """Tell whether a media type is that of JSON (RFC 6839): what a browser would show must not look like it."""
    return kind == _JSON or bool(_JSON_SUFFIX.fullmatch(kind))


def stream_headers(headers: httpx2.Headers, redactor: Redactor) -> dict[str, str]:
    """Return the headers of a stream for the browser, from those of the gateway."""
    # A gateway that answers in one piece, although a stream was asked for.
    kind = {"Content-Type": _JSON} if "content-type" in headers and is_json(media_type(headers)) else {}
    return {**SSE_HEADERS, **kind, **forwarded_headers(headers, redactor)}


def error_answer(error: openai.APIError, redactor: Redactor) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and JSON body for an error before the stream.

    The gateway's own status and body where it answered in JSON, 504 for a timeout and 502 where it could not be
    reached. The body never repeats the key.
    """
    headers = dict(_ERROR_HEADERS)
    if not isinstance(error, openai.APIStatusError):
        status = 504 if isinstance(error, openai.APITimeoutError) else 502
        # A browser need not know the address of the gateway, which the clients of this package add.
        return status, headers, error_json(redactor.text(unexplained(error.message)), status)
    status, response = error.status_code, error.response
    if status < 400:
        # A redirect that the client did not follow, which names a host that the browser need not know.
        return 502, headers, error_json("the gateway sent no stream, but a redirect", 502)
    headers |= forwarded_headers(response.headers, redactor)
    kind = media_type(response.headers)
    if is_json(kind):
        return status, headers, redactor.data(response.content)
    # A proxy's page of HTML, for example.
    text = f"the gateway answered {status} with {redactor.text(kind)[:_LONGEST_KIND]}, which is no JSON"
    return status, headers, error_json(text, status)


def is_refusal_of_server(error: openai.APIError) -> bool:
    """Tell whether the gateway refused the server, and not the browser: its key, or the budget of the key."""
    return isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError)) or is_budget_spent(error)


def unavailable_answer() -> tuple[int, dict[str, str], bytes]:
    """Return the answer that hides why the gateway refused the server: a 401 would log a page's user out."""
    return 502, dict(_ERROR_HEADERS), error_json(UNAVAILABLE, 502)


def error_json(message: str, status: int) -> bytes:
    """Return an error in the JSON form of the API."""
    kind = "timeout_error" if status == 504 else "upstream_error"
    error = {"message": message, "type": kind, "param": None, "code": str(status)}
    return json.dumps({"error": error}, ensure_ascii=False).encode()
