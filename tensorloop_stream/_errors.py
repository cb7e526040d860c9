"""The errors of a stream: one family, each with the part of the answer that had arrived."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
from openai.types.chat import ChatCompletion

from ._http.error_object import error_code
from ._http.library import httpx
from ._http.request_keys import redactor_for, without_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai.types.responses import Response

__all__ = [
    "StreamConnectionError",
    "StreamDecodeError",
    "StreamError",
    "StreamProviderError",
    "StreamTimeoutError",
    "StreamTruncatedError",
]


# Frames of libraries say nothing to the reader of a notebook.
_LIBRARIES = (str(Path(__file__).parent), *{sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
_MOST_FRAMES = 5


class StreamError(openai.APIError):
    """A stream broke; `partial` holds the part of the answer that had arrived, `request` the request.

    Message and body are the gateway's words without the key; the headers of `request` hold it.

    `request` is a placeholder with the address `about:blank` where the chunks did not come from a request.

    For example:

        try:
            ChatStream(client.chat.completions.create(**request, stream=True)).until_done()
        except StreamError as error:
            print(f"{error}, request {error.request_id}; what had arrived: {error.text}")
    """

    request_id: str | None
    """The gateway's id of the request, for its support; `None` if it sent none."""

    def __init__(
        self,
        message: str,
        *,
        partial: Any | Callable[[], Any] = None,
        request: httpx.Request | None = None,
        request_id: str | None = None,
        body: object = None,
    ) -> None:
        if request is not None:
            redactor = redactor_for(request)
            message, body = redactor.text(message), redactor.value(body)
        # No super(): the next class in line may be the SDK's connection error, which takes other arguments.
        openai.APIError.__init__(self, message, request or httpx.Request("POST", "about:blank"), body=body)
        # openai before 3.14 leaves a number as it is.
        self.code: str | None = None if self.code is None else str(self.code)
        self.request_id = request_id
        self._partial = partial

    @property
    def partial(self) -> ChatCompletion:
        """The completion as far as it had arrived; built when it is first asked for.

        Of a `ResponseStream` it is a `Response`, which `partial_response` returns in its own type.
        """
        if self._partial is None:
            self._partial = ChatCompletion.construct(choices=[])
        elif callable(self._partial):
            self._partial = self._partial()
        partial: ChatCompletion = self._partial
        return partial

    @property
    def partial_response(self) -> Response | None:
        """The response of a `ResponseStream` as far as it had arrived; `None` for a chat completion."""
        partial: Any = self.partial
        return partial if hasattr(partial, "output") else None

    @property
    def text(self) -> str:
        """The text that had arrived: of choice 0, or of all messages of a response."""
        if (response := self.partial_response) is not None:
            return _output_text(response.output)
        choices = self.partial.choices
        content: Any = choices[0].message.content if choices else None
        if isinstance(content, list):
            # Of parts, as Mistral sends it.
            return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
        return content or ""

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows: the caller's own frames, and the sentence last.

        The frames of the HTTP library and the chain of its errors fill several screens; `error.__cause__` has
        them.
        """
        frames = traceback.extract_tb(self.__traceback__)
        own = [frame for frame in frames if _is_of_caller(frame.filename)][-_MOST_FRAMES:]
        head = ["Traceback (most recent call last):"] if own else []
        frame_lines = [line.rstrip("\n") for line in traceback.format_list(own)]
        return [*head, *frame_lines, f"{type(self).__name__}: {' '.join(str(self).split())}"]

    def __reduce__(self) -> tuple[Any, ...]:
        # The SDK's errors cannot be pickled (keyword-only arguments). A request holds the key in its
        # headers, or in its URL, and a pickled error travels: to another process, a queue, a log.
        request = httpx.Request(self.request.method, without_key(self.request.url))
        context = {"partial": self.partial, "request": request, "request_id": self.request_id, "body": self.body}
        return _rebuild, (type(self), self.message, context)


def _output_text(output: Any) -> str:
    """Return the text of a response; unlike the SDK's property, of one with anything in it."""
    messages = [item for item in output or () if getattr(item, "type", None) == "message"]
    parts = [part for message in messages for part in getattr(message, "content", None) or ()]
    texts = (part.text for part in parts if getattr(part, "type", None) == "output_text")
    return "".join(text for text in texts if isinstance(text, str))


def _is_of_caller(filename: str) -> bool:
    return not filename.startswith((*_LIBRARIES, "<frozen"))


def has_partial(error: StreamError) -> bool:
    """Tell whether an error has the partial answer of a stream already."""
    return error._partial is not None  # noqa: SLF001 - of this module


def _rebuild(kind: type[StreamError], message: str, context: dict[str, Any]) -> StreamError:
    return kind(message, **context)


class StreamTruncatedError(StreamError):
    """The stream ended cleanly but unfinished: no finish reason and no `[DONE]`, or no choice at all.

    For example:

        try:
            ChatStream(client.chat.completions.create(**request, stream=True)).until_done()
        except StreamTruncatedError as error:
            print(f"the end is missing: {error.text} ...")
    """


class StreamConnectionError(StreamError, openai.APIConnectionError):
    """The connection was cut before the end of the stream.

    For example:

        stream = ChatStream(lambda: client.chat.completions.create(**request, stream=True), restarts=2)
        try:
            stream.until_done()
        except StreamConnectionError as error:
            print(f"cut three times, the last time after {len(error.text)} characters")
    """


class StreamTimeoutError(StreamError, openai.APITimeoutError):
    """No chunk arrived in time: `first_chunk_timeout`, `idle_timeout` or the client's read timeout expired.

    For example:

        try:
            ChatStream(client.chat.completions.create(**request, stream=True), idle_timeout=30).until_done()
        except StreamTimeoutError as error:
            print(f"silent for too long: {error.text} ...")
    """


class StreamDecodeError(StreamError, ValueError):
    """The data are not JSON, not UTF-8, not a chunk, or an event beyond the size bound.

    Where the compression of the response is broken, it is an `openai.APIConnectionError`, too, as with the SDK.

    For example:

        try:
            ChatStream(client.chat.completions.create(**request, stream=True)).until_done()
        except StreamDecodeError as error:
            print(f"something in between is broken: {error}, caused by {error.__cause__!r}")
    """


class StreamContentError(StreamDecodeError, StreamConnectionError):
    """The compression of the response is broken: a decode error that the SDK's users catch as a connection error."""


class StreamProviderError(StreamError):
    """The gateway sent an error inside the stream.

    `body` is the inner error object; `code` and `type` are its fields, also where a service calls the code
    `status_code` or `error_code`. `status_code` is the code, if the code is an HTTP status (LiteLLM sends it as a
    string).

    For example:

        try:
            ChatStream(client.chat.completions.create(**request, stream=True)).until_done()
        except StreamProviderError as error:
            print("wait" if error.status_code == 429 else f"the gateway gave up: {error.body}")
    """

    def __init__(self, message: str, **context: Any) -> None:
        super().__init__(message, **context)
        self.code: str | None = self.code or error_code(self.body) or self.code

    @property
    def status_code(self) -> int | None:
        """The HTTP status in the gateway's `code`; `None` if the code is not an HTTP status."""
        code = self.code or ""
        return int(code) if len(code) == 3 and code.isascii() and code.isdigit() else None
