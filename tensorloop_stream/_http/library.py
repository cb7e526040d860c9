"""The HTTP library of the SDK: httpx2 with openai 3, httpx with openai 2.

A program may give the SDK a client of the other one, so that errors are known by the names of their classes, which both
libraries have.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import openai

if TYPE_CHECKING:
    import httpx2 as httpx
else:
    # By the class that its own client is made of: `openai.Timeout` and others name the SDK as their module.
    _CLIENT = next(kind for kind in openai.DefaultHttpxClient.__mro__ if kind.__name__ == "Client")
    httpx = importlib.import_module(_CLIENT.__module__.partition(".")[0])

__all__ = ["httpx", "is_http_error", "is_timeout"]


def is_timeout(error: BaseException) -> bool:
    """Tell whether an HTTP library raised an error because a limit of time passed."""
    return _is_a(error, "TimeoutException")


def is_http_error(error: BaseException) -> bool:
    """Tell whether an error is one that an HTTP library raises for a request."""
    return _is_a(error, "HTTPError")


def _is_a(error: BaseException, name: str) -> bool:
    return any(
        kind.__name__ == name and kind.__module__.partition(".")[0] in {"httpx", "httpx2"}
        for kind in type(error).__mro__
    )
