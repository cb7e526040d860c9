"""Add to the SDK's error texts what a person needs to mend them: the address, and the cause. No I/O."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .redact_errors import redact_error
from .request_keys import redactor_for

if TYPE_CHECKING:
    import openai

# The SDK's own texts, which stay the beginning of longer ones.
_UNEXPLAINED, _TIMED_OUT = "Connection error.", "Request timed out."
# What did not come in time, and the timeout of the HTTP library that it has.
_LATE = {
    "ReadTimeout": ("answer from", "read"),
    "ConnectTimeout": ("connection to", "connect"),
    "PoolTimeout": ("free connection to", "pool"),
    "WriteTimeout": ("reading by", "write"),
}
# Errors of the network and of the other end, by name, since the SDK also runs on the older httpx. The texts of other
# errors may hold what was sent: that of a header which no header can be holds the key.
_EXPLAINED = frozenset({"NetworkError", "RemoteProtocolError", "ProxyError", "OSError"})
_TITLE = re.compile(r"<title[^>]*>([^<]{1,200})</title>", re.IGNORECASE)


def explain_connection_error(error: openai.APIConnectionError) -> None:
    """Name the host and the cause in the text of a connection error or a timeout, without a key.

    Class and attributes stay.
    """
    redact_error(error, redactor_for(error.request))
    origin = _origin(error.request.url)
    if error.message == _TIMED_OUT:
        text = f"{_TIMED_OUT}{_lateness(error, origin)}"
    elif error.message == _UNEXPLAINED:
        text = f"{_UNEXPLAINED} No answer from {origin}"
        if cause := _innermost(error.__cause__):
            text += f": {cause}"
    else:
        return
    error.message = text
    error.args = (text, *error.args[1:])


def unexplained(text: str) -> str:
    """Return the SDK's own text of an error, without what was added to it."""
    return next((each for each in (_UNEXPLAINED, _TIMED_OUT) if text.startswith(each)), text)


def _lateness(error: openai.APIConnectionError, origin: str) -> str:
    """Return what did not come, from where, and in how many seconds."""
    what, name = _LATE.get(type(error.__cause__).__name__, ("answer from", ""))
    seconds = (error.request.extensions.get("timeout") or {}).get(name)
    return f" No {what} {origin}" + (f" within {seconds:g} s" if isinstance(seconds, (int, float)) else " in time")


def explain_status(body: object, response: Any) -> str:
    """Return what to add to the text of an error status: nothing, if the gateway itself has said what is wrong."""
    if _has_message(body):
        return ""
    url = response.request.url
    address = f"{_origin(url)}{url.path}"
    if response.status_code == 404:
        base = re.sub(r"/(chat/completions|responses|models|completions|embeddings)(/.*)?$", "", url.path)
        text = f"{address} does not exist"
        if not re.search(r"/v\d", base):
            text += f": most base URLs end in /v1, and this one does not: try {_origin(url)}{base.rstrip('/')}/v1"
        return f" ({text})"
    if isinstance(body, str) and body.lstrip().startswith("<"):
        title = _TITLE.search(body)
        page = f"a page, {' '.join(title[1].split())!r}," if title and title[1].strip() else "a page"
        return f" ({address} answered with {page} in place of the gateway's JSON: a proxy in between made it)"
    return f" (from {address})"


def _has_message(body: object) -> bool:
    """Tell whether an error is the gateway's own, but for one that is about the address."""
    if not isinstance(body, dict):
        return False
    inner = body.get("error")
    message = (inner if isinstance(inner, dict) else body).get("message")
    return isinstance(message, str) and bool(message) and not message.lower().startswith(("invalid url", "not found"))


def _origin(url: Any) -> str:
    """Return scheme, host and port of a URL, without a name and a password."""
    return f"{url.scheme}://{url.netloc.decode('ascii', 'replace')}"


def _innermost(cause: BaseException | None) -> str:
    """Return the text of the first cause of an error, if it is one of the network."""
    text = ""
    for _ in range(10):
        if cause is None:
            break
        if _EXPLAINED & {base.__name__ for base in type(cause).__mro__}:
            text = " ".join(str(cause).split()) or type(cause).__name__
        cause = cause.__cause__ or cause.__context__
    return text
