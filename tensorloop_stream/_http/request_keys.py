"""Find the keys that a request holds: in its headers, in its cookies and in the query of its URL."""

from __future__ import annotations

import base64
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from .redact import STARS, redactor_of

if TYPE_CHECKING:
    from .library import httpx
    from .redact import Redactor

# Not of an author, a monkey or a number of tokens.
_IS_SECRET = re.compile(
    r"auth(?!ors?(?![a-z]))|(?<![a-z])(api|access|subscription)?_?keys?(?![a-z])|token(?!s)|secret|cookie",
    re.IGNORECASE,
).search
_SCHEMES = {"bearer", "basic", "digest", "token", "key", "apikey"}


def redactor_for(request: httpx.Request) -> Redactor:
    """Return the redactor of the keys that a request holds, in its headers and in the query of its URL."""
    found: set[str] = set()
    for name, value in request.headers.items():
        if holds_key(name):
            found.update(_cookies(value) if "cookie" in name.lower() else _credentials(value))
    if (params := getattr(getattr(request, "url", None), "params", None)) is not None:
        found.update(value for name, value in params.multi_items() if _IS_SECRET(name))
    return redactor_of(*sorted(found))


def holds_key(name: str) -> bool:
    """Tell whether the value of a header is a key, by the header's name."""
    # The SDK makes an idempotency key for each request.
    return bool(_IS_SECRET(name)) and name.lower() != "idempotency-key"


def without_key(url: httpx.URL) -> httpx.URL:
    """Return a URL with stars for the keys in its query."""
    for name in filter(_IS_SECRET, url.params):
        url = url.copy_set_param(name, STARS)
    return url


def _credentials(value: str) -> list[str]:
    """Return what may be a key in the value of a header: with its scheme, unless that is well known, and without."""
    scheme, _, rest = value.partition(" ")
    if scheme.lower() not in _SCHEMES:
        return [value, rest]
    if scheme.lower() == "basic":
        with suppress(ValueError):
            return [rest, base64.b64decode(rest).decode().partition(":")[2]]
    return [rest]


def _cookies(value: str) -> list[str]:
    return [cookie.partition("=")[2].strip() for cookie in value.split(";")]
