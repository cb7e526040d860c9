"""Direct reads in clients that are not of this package."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tensorloop_stream._transport import async_transport, http_clients, sync_transport
from tensorloop_stream._transport.ssl_context import with_context


def read_directly(patch: pytest.MonkeyPatch) -> None:
    """Give the transport of this package to every HTTP client that makes its own."""
    for kind, transport in (
        (httpx2.Client, sync_transport.StreamTransport),
        (httpx2.AsyncClient, async_transport.AsyncStreamTransport),
    ):
        patch.setattr(kind, "_init_transport", _making(transport, kind._init_transport))


def _making(made: Any, otherwise: Any) -> Any:
    def _init_transport(self: Any, transport: Any = None, **settings: Any) -> Any:
        if http_clients._is_direct(transport, settings):
            return made(**with_context(settings, is_needed=True))
        return otherwise(self, transport=transport, **settings)

    return _init_transport


def is_direct(response: httpx2.Response) -> bool:
    """Tell whether the body of a response is read directly."""
    body = getattr(response.stream, "_stream", None)
    return isinstance(body, (sync_transport._Body, async_transport._Body))
