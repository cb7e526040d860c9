"""Stream chat completions with the OpenAI SDK: right on every stream, never silently wrong, and fast."""

from ._accumulator import ChatAccumulator
from ._async_stream import AsyncChatStream
from ._callbacks import Callbacks
from ._client import AsyncTensorloop, Tensorloop
from ._errors import (
    StreamConnectionError,
    StreamDecodeError,
    StreamError,
    StreamProviderError,
    StreamTimeoutError,
    StreamTruncatedError,
)
from ._forward import aforward_chat, forward_chat
from ._forward_app import ForwardApp
from ._passage import SSE_HEADERS
from ._printer import print_stream
from ._sse import ServerSentEvent, SSEDecoder
from ._stream import ChatStream
from ._timing import StreamTiming

__all__ = [
    "SSE_HEADERS",
    "AsyncChatStream",
    "AsyncTensorloop",
    "Callbacks",
    "ChatAccumulator",
    "ChatStream",
    "ForwardApp",
    "SSEDecoder",
    "ServerSentEvent",
    "StreamConnectionError",
    "StreamDecodeError",
    "StreamError",
    "StreamProviderError",
    "StreamTimeoutError",
    "StreamTiming",
    "StreamTruncatedError",
    "Tensorloop",
    "aforward_chat",
    "forward_chat",
    "print_stream",
]
