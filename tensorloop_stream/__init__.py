"""Stream answers with the OpenAI SDK: right on every stream, never silently wrong, and fast.

A map of the package, from the edge to the core:

- `_client`: the SDK's clients for Tensorloop; `_credentials`: their key and base URL; `_resources/`: their `chat` and
  `responses`; `_stream_classes`: their streams
- `_responses/`: the Responses API: events to a `Response`
- `_chat/`: chat completions: chunks to a `ChatCompletion`; `_chat/fast_path/`: the same without parsing
- `_stream/`: the engine: one stream from opening to closing; `state` decides, `sync_reader` and `async_reader` wait
- `_sse`, `_errors`, `_callbacks`, `_timing`: server-sent events, the errors, the callbacks, the arrival times
- `_retry`: which errors merit another request, and when; `_http/`: the HTTP library, errors, keys in answers
- `_transport/`: the bodies of streams, read directly from their sockets
- `_forward/`: to a browser; `_display/`, `notebook`: to terminals and notebooks
- `prompts/`, `prompts_dask`: many prompts under one limit; `resumable/`: streams in Redis
- `replay/`: recorded streams; `check/`: what a gateway makes of a stream; `recipes/`: pages to copy
"""

from ._callbacks import Callbacks, ResponseCallbacks, UnusableToolCall
from ._chat.accumulator import ChatAccumulator
from ._chat.streams import AsyncChatStream, ChatStream
from ._client import AsyncTensorloop, Tensorloop
from ._display.printer import print_stream
from ._errors import (
    StreamConnectionError,
    StreamDecodeError,
    StreamError,
    StreamProviderError,
    StreamTimeoutError,
    StreamTruncatedError,
)
from ._forward.asgi import ForwardApp
from ._forward.headers import SSE_HEADERS
from ._forward.responses import aforward_chat, aforward_response, forward_chat, forward_response
from ._responses.accumulator import ResponseAccumulator
from ._responses.streams import AsyncResponseStream, ResponseStream
from ._sse import ServerSentEvent, SSEDecoder
from ._timing import StreamTiming
from ._transport.http_clients import AsyncStreamHttpxClient, StreamHttpxClient

__all__ = [
    "SSE_HEADERS",
    "AsyncChatStream",
    "AsyncResponseStream",
    "AsyncStreamHttpxClient",
    "AsyncTensorloop",
    "Callbacks",
    "ChatAccumulator",
    "ChatStream",
    "ForwardApp",
    "ResponseAccumulator",
    "ResponseCallbacks",
    "ResponseStream",
    "SSEDecoder",
    "ServerSentEvent",
    "StreamConnectionError",
    "StreamDecodeError",
    "StreamError",
    "StreamHttpxClient",
    "StreamProviderError",
    "StreamTimeoutError",
    "StreamTiming",
    "StreamTruncatedError",
    "Tensorloop",
    "UnusableToolCall",
    "aforward_chat",
    "aforward_response",
    "forward_chat",
    "forward_response",
    "print_stream",
]
