"""What can go wrong inside a stream: one family, each carrying what had arrived."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
from openai.types.chat import ChatCompletion

__all__ = [
    "StreamConnectionError",
    "StreamDecodeError",
    "StreamError",
    "StreamProviderError",
    "StreamTimeoutError",
    "StreamTruncatedError",
]


class StreamError(openai.APIError):
    """A stream broke; what had arrived is in `partial`, what was asked in `request`.

    `request` is a placeholder with the address `about:blank` where the chunks did not come from a request.
    """

    partial: ChatCompletion
    """The completion as far as it had arrived."""
    request_id: str | None
    """The gateway's id of the request, to be told to those who look after it; `None` if it gave none."""

    def __init__(
        self,
        message: str,
        *,
        partial: ChatCompletion | None = None,
        request: httpx2.Request | None = None,
        request_id: str | None = None,
        body: object = None,
    ) -> None:
        # No super(): the next class in line may be the SDK's connection error, which takes other arguments.
        openai.APIError.__init__(self, message, request or httpx2.Request("POST", "about:blank"), body=body)
        # openai before 3.14 leaves a number as it is.
        self.code: str | None = None if self.code is None else str(self.code)
        self.request_id = request_id
        self.partial = ChatCompletion.construct(choices=[]) if partial is None else partial

    def __reduce__(self) -> tuple[Any, ...]:
        # The SDK's errors cannot be pickled (keyword-only arguments). A request holds the key in its
        # headers, and a pickled error travels: to another process, a queue, a log.
        request = httpx2.Request(self.request.method, self.request.url)
        facts = {"partial": self.partial, "request": request, "request_id": self.request_id, "body": self.body}
        return _rebuilt, (type(self), self.message, facts)


def _rebuilt(kind: type[StreamError], message: str, facts: dict[str, Any]) -> StreamError:
    return kind(message, **facts)


class StreamTruncatedError(StreamError):
    """The stream ended cleanly but unfinished: no finish reason and no `[DONE]`."""


class StreamConnectionError(StreamError, openai.APIConnectionError):
    """The connection was cut before the end of the stream."""


class StreamTimeoutError(StreamError, openai.APITimeoutError):
    """No chunk arrived in time: `first_chunk_timeout`, `idle_timeout` or the client's read timeout expired."""


class StreamDecodeError(StreamError, ValueError):
    """What came is not JSON, not UTF-8, not a chunk, or an event beyond the size bound."""


class StreamProviderError(StreamError):
    """The gateway sent an error inside the stream.

    `body` is the inner error object; `code` and `type` are its fields. `status_code` is the code, if the code is an
    HTTP status (LiteLLM sends it as a string).
    """

    @property
    def status_code(self) -> int | None:
        """The HTTP status in the gateway's `code`; `None` if the code is not an HTTP status."""
        code = self.code or ""
        return int(code) if len(code) == 3 and code.isascii() and code.isdigit() else None
