"""The `create` of a resource, which returns our stream whatever tool is around it.

A tool may return an object of its own in place of the stream: then `create` returns a stream that is read through that
object.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ClassVar

from tensorloop_stream._stream.foreign import SDK_STREAMS
from tensorloop_stream._stream_classes import noted

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorloop_stream._stream_classes import StreamRequest

# Tools may wrap what other tools wrapped.
_MAX_WRAPPERS = 8


class Resource:
    """A resource that knows its client, whatever attribute the SDK keeps it in."""

    def __init__(self, client: Any) -> None:
        super().__init__(client)  # type: ignore[call-arg] # of the SDK's resource
        self._gateway_client = client


def _described(resource: Any) -> None:
    """Give the `create` of a resource the name, the signature and the text of the SDK's, which a test may replace."""
    ours = next((kind.__dict__["create"] for kind in type(resource).__mro__ if "_sdk_class" in kind.__dict__), None)
    if ours is not None and ours.__wrapped__ is not resource._sdk_class.create:  # noqa: SLF001 - of this module
        # Not what else it holds, which may be that of a mock.
        functools.update_wrapper(ours, resource._sdk_class.create, updated=())  # noqa: SLF001 - of this module


class _Creating(Resource):
    """A resource whose `create` is found around that of a tool."""

    # The class of the streams, and the SDK's class of the resource.
    _kind: ClassVar[Any]
    _sdk_class: ClassVar[Any]

    if not TYPE_CHECKING:

        def __getattribute__(self, name: str) -> Any:
            if name != "create":
                return super().__getattribute__(name)
            _described(self)
            return around(self, super().__getattribute__(name))


class CreatesStreams(_Creating):
    """A resource of the SDK whose `create(..., stream=True)` returns our stream, whatever tool is in between."""

    # The SDK's overloads stay what type checkers see: ours is a Stream.
    if not TYPE_CHECKING:

        def _create(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            with noted(kwargs) as request:
                result = function(*args, **kwargs)
            timeouts = self._gateway_client._stream_timeouts  # noqa: SLF001 - of our client
            return _returned(result, request, self._kind, timeouts)


class AsyncCreatesStreams(_Creating):
    """A resource of the SDK whose `create(..., stream=True)` returns our stream, as `CreatesStreams`."""

    if not TYPE_CHECKING:

        async def _create(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            with noted(kwargs) as request:
                result = await function(*args, **kwargs)
            timeouts = self._gateway_client._stream_timeouts  # noqa: SLF001 - as above
            return _returned(result, request, self._kind, timeouts)


def _returned(result: Any, request: StreamRequest, kind: Any, timeouts: dict[str, Any]) -> Any:
    """Return what a client's `create` returns where the SDK's, or a tool in its place, returned `result`."""
    # By its true type: a mock answers for the class that it mocks.
    true_type = type(result)
    if issubclass(true_type, kind) or request.is_raw:
        return result
    if request.made is None:
        # Not made by this client's request: a test's own stream is one of ours, a mock stays what it is, and so do
        # the results of with_raw_response and with_streaming_response.
        return kind(result, **timeouts) if issubclass(true_type, SDK_STREAMS) else result
    is_iterable = hasattr(true_type, "__iter__") or hasattr(true_type, "__aiter__")
    return kind._behind(result, request.made) if is_iterable else result  # noqa: SLF001 - as above


def _wraps_create(function: Any) -> bool:
    """Tell whether an object that takes the place of `create` wraps the one that was there (LangSmith, Braintrust)."""
    for _ in range(_MAX_WRAPPERS):
        function = getattr(function, "__wrapped__", None)
        if isinstance(getattr(function, "__self__", None), (CreatesStreams, AsyncCreatesStreams)):
            return True
    return False


def around(completions: Any, create: Any, *, is_known: bool = False) -> Any:
    """Return ours around a `create` that a tool put in its place; the same one if it is not known to be a tool's."""
    if not (is_known or _wraps_create(create)):
        return create
    # Found at each look-up, so that the tool finds its own where it put it.
    return functools.wraps(create)(functools.partial(completions._create, create))  # noqa: SLF001 - of this module


class OuterResource:
    """A resource that a tool's client class puts in place of ours, with our `create` around the tool's (PostHog)."""

    def __init__(self, theirs: Any, ours: Any) -> None:
        self._theirs = theirs
        self._ours = ours

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._theirs, name)
        return around(self._ours, value, is_known=True) if name == "create" else value


def held_by(outer: Any, kinds: tuple[type, ...]) -> Any:
    """Return the object of these kinds that a tool's object holds; `None` without one, and for a mock."""
    if hasattr(outer, "assert_called"):
        return None
    return next((each for each in getattr(outer, "__dict__", {}).values() if isinstance(each, kinds)), None)
