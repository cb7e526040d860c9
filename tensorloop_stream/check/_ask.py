"""Ask a gateway for its models, and for a stream, with the time of every read."""

from __future__ import annotations

import time
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from openai import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    OpenAIError,
    PermissionDeniedError,
)

from tensorloop_stream._http.library import httpx, is_http_error

from ._findings import Finding, Observed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorloop_stream._client import Tensorloop

# Long enough that a buffer of a proxy fills several times.
_PROMPT = "Count from 1 to 60 in digits, with a comma and a blank between. Write nothing else."
_MAX_TOKENS = 200


def proxy_for(url: httpx.URL) -> str | None:
    """Return the proxy in the environment that requests to an address go through, without its password."""
    found = urllib.request.getproxies()
    proxy = found.get(url.scheme) or found.get("all")
    if proxy is None or urllib.request.proxy_bypass(url.host):
        return None
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else proxy


def ask_models(client: Tensorloop) -> Iterator[Finding]:
    """Ask for the models: it costs nothing, and shows whether the gateway can be reached and takes the key."""
    began = time.monotonic()
    try:
        # Raw: the SDK's own list fails where the answer is no JSON, such as the page of a web server.
        listed = client.models.with_raw_response.list().http_response
        key = _key_of(listed)
    except APIConnectionError as error:
        yield Finding("reachable", f"no: {client.base_url.host} does not answer: {_cause(error)}", is_problem=True)
        return
    except (AuthenticationError, PermissionDeniedError) as error:
        key = Finding("key", f"refused: {_in_words(error)}", is_problem=True)
    except NotFoundError:
        hint = "" if "/v1" in client.base_url.path else "; most base URLs end in /v1, and this one does not"
        key = Finding("key", f"not known yet: there is no list of models at this base URL{hint}")
    except APIStatusError as error:
        key = Finding("key", f"not known yet: the list of models is {_in_words(error)}")
    yield Finding("reachable", f"yes, it answered after {time.monotonic() - began:.2f} s")
    yield key


def ask_stream(client: Tensorloop, model: str) -> Observed:
    """Ask for a stream and read it as it comes; what goes wrong is part of the result."""
    try:
        return _read(client, model, {"stream_options": {"include_usage": True}})
    except BadRequestError as error:
        if "stream_options" not in str(error):
            return Observed(0.0, error=_in_words(error))
        return _read(client, model, {})
    except APIConnectionError as error:
        return Observed(0.0, error=f"no answer: {_cause(error)}")
    except OpenAIError as error:
        return Observed(0.0, error=_in_words(error))


def _read(client: Tensorloop, model: str, more: dict[str, object]) -> Observed:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": _PROMPT}],
        "max_tokens": _MAX_TOKENS,
        "stream": True,
        **more,
    }
    began = time.monotonic()
    reads: list[tuple[float, bytes]] = []
    cut = None
    # The SDK's way to the key, the proxies and the errors; it hands out the bytes as they come.
    create: Any = client.chat.completions.with_streaming_response.create
    with create(**body) as response:
        answer = response.http_response
        try:
            reads.extend((time.monotonic() - began, data) for data in answer.iter_bytes())
        except Exception as error:
            if not is_http_error(error):
                raise
            cut = _cause(error)
    return Observed(
        time.monotonic() - began,
        tuple(reads),
        answer.headers.get("content-type", ""),
        asked_for_usage="stream_options" in more,
        cut=cut,
    )


def _key_of(listed: httpx.Response) -> Finding:
    try:
        models = listed.json()["data"]
        return Finding("key", f"accepted, for {len(models)} model{'' if len(models) == 1 else 's'}")
    except (ValueError, KeyError, TypeError):
        return Finding("key", "not known yet: the list of models is none: is the base URL right?")


def _in_words(error: OpenAIError) -> str:
    if not isinstance(error, APIStatusError):
        return " ".join(str(error).split())
    body = error.body if isinstance(error.body, dict) else {}
    message = str(body.get("message") or error.message)
    return f"{error.status_code}: {' '.join(message.split()):.300}"


def _cause(error: BaseException) -> str:
    """Return the innermost cause of an error; the SDK's own text is no more than `Connection error`."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__
