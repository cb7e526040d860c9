"""Refuse to send a request on to another host, to which a gateway, or a page before it, redirects it.

The HTTP library sends the body of a 307 and a 308 anywhere, without the key. The body is the prompt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai

from .error_body import aread_error, read_error
from .request_keys import redactor_for

if TYPE_CHECKING:
    import httpx2

# They send nothing but the address.
_WITHOUT_BODY = frozenset({"GET", "HEAD"})


def guard(pool: Any, *, is_async: bool) -> None:
    """Let an HTTP client raise `openai.APIStatusError` in place of a redirect to another host."""
    hooks = pool.event_hooks["response"]
    hook: Any = _arefuse if is_async else _refuse
    if hook not in hooks:
        hooks.append(hook)


def _refuse(response: httpx2.Response) -> None:
    if text := _refusal(response):
        raise openai.APIStatusError(text, response=read_error(response), body=None)


async def _arefuse(response: httpx2.Response) -> None:
    if text := _refusal(response):
        raise openai.APIStatusError(text, response=await aread_error(response), body=None)


def _refusal(response: httpx2.Response) -> str:
    """Return why a redirect is not followed: another host, or no encryption any more; empty for any other response."""
    request = response.request
    if not response.has_redirect_location or request.method in _WITHOUT_BODY:
        return ""
    here = request.url
    try:
        there = here.join(response.headers["location"])
    except Exception:  # noqa: BLE001 - the library has an error of its own for what is no address
        return ""
    is_downgrade = (here.scheme, there.scheme) == ("https", "http")
    if there.host in {"", here.host} and not is_downgrade:
        return ""
    text = (
        f"{_origin(here)} redirects this request ({response.status_code}) to {_origin(there)}, and what it says is not "
        "sent there. If that is the gateway, make it the base_url; to follow every redirect, pass an http_client= of "
        "your own, such as openai.DefaultHttpxClient() or openai.DefaultAsyncHttpxClient()"
    )
    return redactor_for(request).text(text)


def _origin(url: Any) -> str:
    # Without a name and a password.
    return f"{url.scheme}://{url.netloc.decode('ascii', 'replace')}"
