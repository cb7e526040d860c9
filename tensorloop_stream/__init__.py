"""Stream chat completions with the OpenAI SDK: right on every stream, never silently wrong, and fast."""

from ._callbacks import Callbacks
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
from ._forward.responses import aforward_chat, forward_chat
from ._sse import ServerSentEvent, SSEDecoder
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
