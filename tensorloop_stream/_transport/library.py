"""The library below the HTTP library of the SDK: httpcore2 below httpx2, httpcore below httpx."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from tensorloop_stream._http.library import httpx

if TYPE_CHECKING:
    import httpcore2 as httpcore
else:
    httpcore = importlib.import_module("httpcore2" if httpx.__name__ == "httpx2" else "httpcore")

__all__ = ["CUT", "STREAM_MODULE", "httpcore"]

# The module that defines the library's own class of response bodies.
STREAM_MODULE = f"{httpx.__name__}._transports.default"
# The words of h11 for a body that ends early.
CUT = "peer closed connection without sending complete message body (incomplete chunked read)"
