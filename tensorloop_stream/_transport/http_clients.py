"""HTTP clients for the SDK that read streams directly: the SDK's own defaults, with another transport.

Touches private API: httpx's `_init_transport` and `_init_proxy_transport`, where a client makes its transports.
Without them a client is the SDK's.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import openai

from .ssl_context import with_context

if TYPE_CHECKING:
    from openai import DefaultAsyncHttpxClient, DefaultHttpxClient
else:
    DefaultHttpxClient, DefaultAsyncHttpxClient = openai.DefaultHttpxClient, openai.DefaultAsyncHttpxClient

__all__ = ["SWITCH", "AsyncStreamHttpxClient", "StreamHttpxClient", "reads_directly"]

SWITCH = "TENSORLOOP_DIRECT_READS"
_OFF = {"0", "false", "no", "off"}


def reads_directly() -> bool:
    """Tell whether the environment leaves direct reads on."""
    return os.environ.get(SWITCH, "").strip().lower() not in _OFF


class StreamHttpxClient(DefaultHttpxClient):
    """`openai.DefaultHttpxClient`, which reads streams directly from the socket: `OpenAI(http_client=...)`.

    It takes the arguments of `httpx2.Client` (of `httpx.Client` with openai 2). HTTP/2, proxies, compressed bodies, and
    responses that are not chunked are read by the HTTP library, as are all with `TENSORLOOP_DIRECT_READS=0`.

    For example:

        client = OpenAI(http_client=StreamHttpxClient())
        stream = ChatStream(client.chat.completions.create(**request, stream=True))
        print(stream.get_final_text())
    """

    if not TYPE_CHECKING:  # the arguments are the library's, and may change with it

        def _init_transport(self, transport: Any = None, **settings: Any) -> Any:
            if not _is_direct(transport, settings):
                return super()._init_transport(transport=transport, **with_context(settings))
            from .sync_transport import StreamTransport  # noqa: PLC0415 - the library loads its own as late

            return StreamTransport(**with_context(settings, is_needed=True))

        def _init_proxy_transport(self, proxy: Any, **settings: Any) -> Any:
            return super()._init_proxy_transport(proxy, **with_context(settings))


class AsyncStreamHttpxClient(DefaultAsyncHttpxClient):
    """`openai.DefaultAsyncHttpxClient`, which reads streams directly: `AsyncOpenAI(http_client=...)`.

    It is `StreamHttpxClient` for asyncio. Under trio all is read by the HTTP library.

    For example:

        async with AsyncOpenAI(http_client=AsyncStreamHttpxClient()) as client:
            print(await AsyncChatStream(client.chat.completions.create(**request, stream=True)).get_final_text())
    """

    if not TYPE_CHECKING:  # as above

        def _init_transport(self, transport: Any = None, **settings: Any) -> Any:
            if not _is_direct(transport, settings):
                return super()._init_transport(transport=transport, **with_context(settings))
            from .async_transport import AsyncStreamTransport  # noqa: PLC0415 - as above

            return AsyncStreamTransport(**with_context(settings, is_needed=True))

        def _init_proxy_transport(self, proxy: Any, **settings: Any) -> Any:
            return super()._init_proxy_transport(proxy, **with_context(settings))


def _is_direct(transport: Any, settings: dict[str, Any]) -> bool:
    """Tell whether a client reads directly: it has no transport of the caller's, and nothing but HTTP/1.1."""
    is_other = transport is not None or settings.get("http2") or settings.get("cert") or not settings.get("http1", True)
    return not is_other and reads_directly()
