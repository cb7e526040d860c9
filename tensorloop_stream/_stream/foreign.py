"""Recognize what tracing tools and other libraries put around a stream of the SDK, or into its class; and close it.

Touches private API: the SDK's `Stream._iterator`, `_iter_events` and `_make_sse_decoder`, httpx's
`is_stream_consumed`, and `gi_code` of generators.
"""

from __future__ import annotations

import functools
import inspect
from contextlib import suppress
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

from openai import AsyncStream, Stream

if TYPE_CHECKING:
    import httpx2


def _file_of(function: object) -> str:
    """Return the file of the code of a function; empty if it has none."""
    file: str = getattr(getattr(function, "__code__", None), "co_filename", "")
    return file


# As they were when this package was loaded: a test may have mocks in their place later.
SDK_STREAMS: tuple[Any, Any] = (Stream, AsyncStream)
# The methods of the SDK's class that yield what its stream decodes.
EVENT_METHODS = ("__stream__", "_iter_events")
_READ_METHODS = ("__iter__", "__next__", *EVENT_METHODS)
_ASYNC_READ_METHODS = ("__aiter__", "__anext__", *EVENT_METHODS)
# Those of its life.
LIFE_METHODS = ("__enter__", "__exit__", "__aenter__", "__aexit__", "close")
# The file of most of its methods: a tool may have replaced some before this module was loaded.
_FILES = [file for each in vars(Stream).values() if (file := _file_of(each))]
_SDK_FILE = max(_FILES, key=_FILES.count)
_SDK_FOLDER = str(Path(_SDK_FILE).parent)
# Where wrappers of tracing tools keep the stream that they wrap.
_WRAPPED_IN = ("__wrapped__", "_stream", "stream", "_wrapped", "wrapped", "_raw_stream", "_response", "_iterator")
# A tool may wrap the wrapper of another.
_MAX_WRAPPERS = 4


def response_of(source: object) -> httpx2.Response | None:
    """Return the HTTP response of a stream or of an object that wraps one; `None` if it has none."""
    for each in (source, wrapped_stream(source)):
        response = getattr(each, "response", None)
        if hasattr(response, "is_stream_consumed") and hasattr(response, "extensions"):
            return cast("httpx2.Response", response)
    return None


def complete(stream: Any, *, cast_to: Any, client: Any, options: Any = None, **_: Any) -> None:
    """Give a stream what the SDK's constructor keeps: tools look at it, and the SDK's own methods need it."""
    stream._cast_to, stream._client, stream._options = cast_to, client, options  # noqa: SLF001 - of one of our streams
    if (make_decoder := getattr(client, "_make_sse_decoder", None)) is not None:
        stream._decoder = make_decoder()  # noqa: SLF001 - as the SDK does


def gives(stream: object, items: Any) -> bool:
    """Tell whether a stream of the SDK gives items of this type."""
    return isinstance(stream, (Stream, AsyncStream)) and getattr(stream, "_cast_to", None) == items


def is_fresh(stream: Stream[Any] | AsyncStream[Any]) -> bool:
    """Tell whether a stream is the SDK's own, unread and unwatched, so that its bytes can be read past it."""
    kind = type(stream)
    if kind is not Stream and kind is not AsyncStream:
        # A subclass or a wrapper of another library may do something of its own when it is iterated.
        return False
    if is_patched(kind) or stream.response.is_stream_consumed or stream.response.is_closed:
        return False
    iterator: Any = getattr(stream, "_iterator", None)  # tracing tools replace it
    code = getattr(iterator, "gi_code", None) or getattr(iterator, "ag_code", None)
    return code is not None and code is getattr(getattr(kind, "__stream__", None), "__code__", None)


def is_patched(kind: type[Stream[Any] | AsyncStream[Any]], *names: str) -> bool:
    """Tell whether somebody replaced a method of the SDK's class: all that read, or those named."""
    every = names or (_READ_METHODS if kind is Stream else _ASYNC_READ_METHODS)
    # An SDK that has no such method has none that could be replaced.
    methods = (vars(kind)[name] for name in every if name in vars(kind))
    # By the file of the code: `functools.wraps` and wrapt copy names and signatures.
    return any(type(method) is not FunctionType or method.__code__.co_filename != _SDK_FILE for method in methods)


if TYPE_CHECKING:
    replaceable_property = functools.cached_property
else:

    class replaceable_property(functools.cached_property):  # noqa: N801 - as the one that it extends
        """A cached property in place of the SDK's of that name; where a test replaced that one, it is what counts."""

        def __set_name__(self, owner: type, name: str) -> None:
            super().__set_name__(owner, name)
            self._owner = owner

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is not None and self._is_replaced():
                return getattr(super(self._owner, instance), self.attrname)
            return super().__get__(instance, owner)

        def _is_replaced(self) -> bool:
            bases = (vars(base) for base in self._owner.__mro__[1:])
            theirs = next((names[self.attrname] for names in bases if self.attrname in names), self)
            function = getattr(theirs, "func", None) or getattr(theirs, "fget", None)
            # By the file of the code, as above.
            return theirs is not self and not _file_of(function).startswith(_SDK_FOLDER)


def is_made_by_sdk(stream: object) -> bool:
    """Tell whether the SDK made one of our streams, so that a tool's method of the SDK's class is to be called with it.

    Another may have no response, or is about a stream of the SDK, which is closed by that method.
    """
    return "_cast_to" in vars(stream)


def is_wrapper(source: object) -> bool:
    """Tell whether an object wraps a stream of the SDK, as tracing tools do."""
    return wrapped_stream(source) is not None


def wrapped_stream(source: object) -> Stream[Any] | AsyncStream[Any] | None:
    """Return the stream that an object of another library wraps, `None` if there is none to be seen."""
    for _ in range(_MAX_WRAPPERS):
        attributes = [_attribute(source, name) for name in _WRAPPED_IN]
        for each in [*attributes, *_values(source)]:
            # By its true type: a mock answers for the class that it mocks.
            if issubclass(type(each), (Stream, AsyncStream)):
                return cast("Stream[Any] | AsyncStream[Any]", each)
        source = next((each for each in attributes if each is not None), None)
        if source is None:
            return None
    return None


def _values(source: object) -> list[Any]:
    """Return what an object holds in attributes of its own, whatever their names."""
    try:
        return [*object.__getattribute__(source, "__dict__").values()]
    except (AttributeError, TypeError):  # without attributes of its own; and wrapt's proxies have another layout
        return []


def _attribute(source: object, name: str) -> Any:
    with suppress(Exception):  # an attribute of another library may do anything
        return getattr(source, name, None)
    return None


def close_foreign(stream: Any, *, is_left: bool = True) -> None:
    """Close an iterable, or an object of another library around one, by the method that its class has for that.

    A tool's object may end its span only where its `with` block is left (AgentOps). `close` may be that of the stream
    inside, which the object passes on.
    """
    if is_left and _own(stream, "close") is None and _own(stream, "__exit__") is not None and is_wrapper(stream):
        stream.__exit__(None, None, None)
    if callable(close := getattr(stream, "close", None)):
        close()


async def aclose_foreign(stream: Any) -> None:
    """Close an async generator, or an object of another library, as `close_foreign` does."""
    close = _own(stream, "aclose") or _own(stream, "close")
    if _own(stream, "__aexit__") is not None and not inspect.iscoroutinefunction(close):
        # OpenTelemetry's `close` calls that of the stream inside, and does not await it.
        await stream.__aexit__(None, None, None)
        return
    close = getattr(stream, "aclose", None) or getattr(stream, "close", None)
    if callable(close):
        closing = close()
        if inspect.isawaitable(closing):
            await closing


def _own(stream: Any, name: str) -> Any:
    """Return a method of an object's class, and not of what the object wraps; `None` if there is none."""
    return getattr(type(stream), name, None)
