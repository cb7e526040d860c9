"""Choose the stream that the SDK makes for a request, and the one that a client returns if a tool wraps it.

The SDK ends a request with `stream_cls(cast_to=, response=, client=, options=)`. The clients put a class of this module
there, so that our stream is made inside of every tool that wraps `create`, and is wrapped as the SDK's own would be. A
tool may return an object of its own in its place: then `create` returns a stream that is read through that object.
"""

from __future__ import annotations

import functools
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar

from openai.resources.chat.chat import AsyncChat, Chat
from openai.resources.chat.completions.completions import AsyncCompletions, Completions
from openai.resources.responses.responses import AsyncResponses, Responses
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent

from ._chat.streams import AsyncChatStream, ChatStream
from ._responses.streams import AsyncResponseStream, ResponseStream
from ._stream.foreign import SDK_STREAMS, replaceable_property
from ._stream.settings import StreamSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# This module is loaded at the first use, in which a test may have mocks in the place of the SDK's names: classes are
# taken from where they are defined, and methods described when they are used.
Stream, AsyncStream = SDK_STREAMS
# The SDK's mark of a request by with_raw_response or with_streaming_response.
_RAW_RESPONSE = "X-Stainless-Raw-Response"
# Tools may wrap what other tools wrapped.
_MAX_WRAPPERS = 8


class _Request:
    """One call of `create`: when it began, and the stream that the SDK made in it."""

    __slots__ = ("is_raw", "made", "started")

    def __init__(self, kwargs: Mapping[str, Any]) -> None:
        self.started = time.monotonic()
        self.made: Any = None
        # Of with_raw_response: its caller wants a response, and asks that for the stream.
        self.is_raw = _RAW_RESPONSE in (kwargs.get("extra_headers") or {})


_request: ContextVar[_Request | None] = ContextVar("_request", default=None)


@contextmanager
def _noted(kwargs: Mapping[str, Any]) -> Iterator[_Request]:
    outer, request = _request.get(), _Request(kwargs)
    token = _request.set(request)
    try:
        yield request
    finally:
        _request.reset(token)
        if outer is not None:
            # A tool's function in the place of `create` called this one.
            outer.made = request.made


def _make(kind: Any, made_of: dict[str, Any]) -> Any:
    """Return the stream that the SDK makes: ours, with the timeouts of its client."""
    request = _request.get()
    settings = StreamSettings(**made_of["client"]._stream_timeouts)  # noqa: SLF001 - of our client
    stream = kind._from_sdk(settings, time.monotonic() if request is None else request.started, **made_of)  # noqa: SLF001 - the SDK's side of our classes
    if request is not None:
        request.made = stream
    return stream


# The SDK calls these, and reads the type of the items from the first of their generic bases. A tool may make a subclass
# of them that overrides `__stream__` (Logfire): the stream is an instance of that.
class _SDKChatStream(ChatStream):
    __orig_bases__ = (Stream[ChatCompletionChunk],)

    def __new__(cls, **made_of: Any) -> Any:
        return _make(ChatStream if cls is _SDKChatStream else cls, made_of)

    def __init__(self, **made_of: Any) -> None:
        """Do nothing: `__new__` made the instance of a subclass."""


class _SDKAsyncChatStream(AsyncChatStream):
    __orig_bases__ = (AsyncStream[ChatCompletionChunk],)

    def __new__(cls, **made_of: Any) -> Any:
        return _make(AsyncChatStream if cls is _SDKAsyncChatStream else cls, made_of)

    def __init__(self, **made_of: Any) -> None:
        """Do nothing: `__new__` made the instance of a subclass."""


class _SDKResponseStream(ResponseStream):
    __orig_bases__ = (Stream[ResponseStreamEvent],)

    def __new__(cls, **made_of: Any) -> Any:
        return _make(ResponseStream if cls is _SDKResponseStream else cls, made_of)

    def __init__(self, **made_of: Any) -> None:
        """Do nothing: `__new__` made the instance of a subclass."""


class _SDKAsyncResponseStream(AsyncResponseStream):
    __orig_bases__ = (AsyncStream[ResponseStreamEvent],)

    def __new__(cls, **made_of: Any) -> Any:
        return _make(AsyncResponseStream if cls is _SDKAsyncResponseStream else cls, made_of)

    def __init__(self, **made_of: Any) -> None:
        """Do nothing: `__new__` made the instance of a subclass."""


_OURS: dict[Any, Any] = {
    Stream[ChatCompletionChunk]: _SDKChatStream,
    AsyncStream[ChatCompletionChunk]: _SDKAsyncChatStream,
    Stream[ResponseStreamEvent]: _SDKResponseStream,
    AsyncStream[ResponseStreamEvent]: _SDKAsyncResponseStream,
}


def stream_class(asked: Any) -> Any:
    """Return the class that makes the streams of a request, where the SDK asks for this one."""
    return _OURS.get(asked, asked)


class _Resource:
    """A resource that knows its client, whatever attribute the SDK keeps it in."""

    def __init__(self, client: Any) -> None:
        super().__init__(client)  # type: ignore[call-arg] # of the SDK's resource
        self._gateway_client = client


def _described(resource: Any) -> None:
    """Give the `create` of a resource the name, the signature and the text of the SDK's, which a test may replace."""
    for kind in type(resource).__mro__:
        if kind in _CREATES:
            ours, sdk_class = _CREATES[kind]
            if ours.__wrapped__ is not sdk_class.create:
                # Not what else it holds, which may be that of a mock.
                functools.update_wrapper(ours, sdk_class.create, updated=())
            return


class CreatesStreams(_Resource):
    """A resource of the SDK whose `create(..., stream=True)` returns our stream, whatever tool is in between."""

    _kind: ClassVar[Any]

    # The SDK's overloads stay what type checkers see: ours is a Stream.
    if not TYPE_CHECKING:

        def _create(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            with _noted(kwargs) as request:
                result = function(*args, **kwargs)
            timeouts = self._gateway_client._stream_timeouts  # noqa: SLF001 - of our client
            return _returned(result, request, self._kind, timeouts)

        def __getattribute__(self, name: str) -> Any:
            if name != "create":
                return super().__getattribute__(name)
            _described(self)
            return _around(self, super().__getattribute__(name))


class AsyncCreatesStreams(_Resource):
    """A resource of the SDK whose `create(..., stream=True)` returns our stream, as `CreatesStreams`."""

    _kind: ClassVar[Any]

    if not TYPE_CHECKING:

        async def _create(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            with _noted(kwargs) as request:
                result = await function(*args, **kwargs)
            timeouts = self._gateway_client._stream_timeouts  # noqa: SLF001 - as above
            return _returned(result, request, self._kind, timeouts)

        def __getattribute__(self, name: str) -> Any:
            if name != "create":
                return super().__getattribute__(name)
            _described(self)
            return _around(self, super().__getattribute__(name))


def _returned(result: Any, request: _Request, kind: Any, timeouts: dict[str, Any]) -> Any:
    """Return what a client's `create` returns where the SDK's, or a tool in its place, returned `result`."""
    # By its true type: a mock answers for the class that it mocks.
    true_type = type(result)
    if issubclass(true_type, kind) or request.is_raw:
        return result
    if request.made is None:
        # Not made by this client's request: a test's own stream is one of ours, a mock stays what it is, and so do
        # the results of with_raw_response and with_streaming_response.
        return kind(result, **timeouts) if issubclass(true_type, (Stream, AsyncStream)) else result
    is_iterable = hasattr(true_type, "__iter__") or hasattr(true_type, "__aiter__")
    return kind._behind(result, request.made) if is_iterable else result  # noqa: SLF001 - as above


def _wraps_create(function: Any) -> bool:
    """Tell whether an object that takes the place of `create` wraps the one that was there (LangSmith, Braintrust)."""
    for _ in range(_MAX_WRAPPERS):
        function = getattr(function, "__wrapped__", None)
        if isinstance(getattr(function, "__self__", None), (CreatesStreams, AsyncCreatesStreams)):
            return True
    return False


def _around(completions: Any, create: Any, *, is_known: bool = False) -> Any:
    """Return ours around a `create` that a tool put in its place; the same one if it is not known to be a tool's."""
    if not (is_known or _wraps_create(create)):
        return create
    # Found at each look-up, so that the tool finds its own where it put it.
    return functools.wraps(create)(functools.partial(completions._create, create))  # noqa: SLF001 - of this module


class _OuterChat:
    """The `chat` that a tool's client class puts in place of ours, with our `create` around the tool's (PostHog)."""

    def __init__(self, theirs: Any, ours: Any) -> None:
        self._theirs = theirs
        self._ours = ours

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._theirs, name)
        return _OuterResource(value, self._ours.completions) if name == "completions" else value


class _OuterResource:
    """The completions of an `_OuterChat`, or the responses that a tool's client class puts in place of ours."""

    def __init__(self, theirs: Any, ours: Any) -> None:
        self._theirs = theirs
        self._ours = ours

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._theirs, name)
        return _around(self._ours, value, is_known=True) if name == "create" else value


def outer_chat(chat: Any) -> Any:
    """Return what a client keeps as `chat` where somebody sets it to this.

    An object that holds our `chat` is a tool's around it; a mock that does is left alone.
    """
    ours = _held(chat, (TensorloopChat, AsyncTensorloopChat))
    return chat if ours is None or isinstance(chat, (Chat, AsyncChat)) else _OuterChat(chat, ours)


def outer_responses(responses: Any) -> Any:
    """Return what a client keeps as `responses` where somebody sets it to this, as `outer_chat` does."""
    if isinstance(responses, (CreatesStreams, AsyncCreatesStreams)):
        return responses
    ours = _held(responses, (CreatesStreams, AsyncCreatesStreams))
    return responses if ours is None else _OuterResource(responses, ours)


def _held(outer: Any, kinds: tuple[type, ...]) -> Any:
    """Return the object of these kinds that a tool's object holds; `None` without one, and for a mock."""
    if hasattr(outer, "assert_called"):
        return None
    return next((each for each in getattr(outer, "__dict__", {}).values() if isinstance(each, kinds)), None)


class TensorloopCompletions(CreatesStreams, Completions):
    """`create(..., stream=True)` returns a `ChatStream`, whatever tool is in between; all else is the SDK's."""

    _kind = ChatStream

    if not TYPE_CHECKING:

        @functools.wraps(Completions.create, updated=())
        def create(self, *args: Any, **kwargs: Any) -> Any:
            return self._create(super().create, *args, **kwargs)


class AsyncTensorloopCompletions(AsyncCreatesStreams, AsyncCompletions):
    """`create(..., stream=True)` returns an `AsyncChatStream`, whatever tool is in between; all else is the SDK's."""

    _kind = AsyncChatStream

    if not TYPE_CHECKING:

        @functools.wraps(AsyncCompletions.create, updated=())
        async def create(self, *args: Any, **kwargs: Any) -> Any:
            return await self._create(super().create, *args, **kwargs)


class TensorloopChat(_Resource, Chat):
    """The SDK's `chat`, with these completions."""

    @replaceable_property
    def completions(self) -> Completions:
        """Chat completions, streamed as `ChatStream`."""
        return TensorloopCompletions(self._gateway_client)


class AsyncTensorloopChat(_Resource, AsyncChat):
    """The SDK's `chat`, with these completions."""

    @replaceable_property
    def completions(self) -> AsyncCompletions:
        """Chat completions, streamed as `AsyncChatStream`."""
        return AsyncTensorloopCompletions(self._gateway_client)


class TensorloopResponses(CreatesStreams, Responses):
    """`create(..., stream=True)` returns a `ResponseStream`, whatever tool is in between; all else is the SDK's."""

    _kind = ResponseStream

    if not TYPE_CHECKING:

        @functools.wraps(Responses.create, updated=())
        def create(self, *args: Any, **kwargs: Any) -> Any:
            return self._create(super().create, *args, **kwargs)


class AsyncTensorloopResponses(AsyncCreatesStreams, AsyncResponses):
    """`create(..., stream=True)` returns an `AsyncResponseStream`; all else is the SDK's."""

    _kind = AsyncResponseStream

    if not TYPE_CHECKING:

        @functools.wraps(AsyncResponses.create, updated=())
        async def create(self, *args: Any, **kwargs: Any) -> Any:
            return await self._create(super().create, *args, **kwargs)


# The methods of our resources, and the classes whose methods they stand for.
_CREATES: dict[type, tuple[Any, Any]] = {
    TensorloopCompletions: (TensorloopCompletions.create, Completions),
    AsyncTensorloopCompletions: (AsyncTensorloopCompletions.create, AsyncCompletions),
    TensorloopResponses: (TensorloopResponses.create, Responses),
    AsyncTensorloopResponses: (AsyncTensorloopResponses.create, AsyncResponses),
}
