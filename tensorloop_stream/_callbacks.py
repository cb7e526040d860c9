"""What a program wants to be told while a stream runs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageToolCallUnion

__all__ = ["Callbacks"]

Call = tuple[Callable[[Any], object], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Callbacks:
    """Functions to call while a stream is read; under `AsyncChatStream` each may be `async def`.

    Exactly one of `on_finish`, `on_error` and `on_abort` is called, last. A callback that raises closes the
    stream. The exception goes to `on_error`, unless one of these three raised it, and reaches the caller unchanged.
    `on_text`, `on_reasoning`, `on_refusal` and `on_tool_call` get the deltas and calls of choice 0.

    Raises `TypeError` for a value that cannot be called.
    """

    on_chunk: Callable[[ChatCompletionChunk], object] | None = None
    """Called with every chunk, before the other callbacks of the chunk."""
    on_text: Callable[[str], object] | None = None
    """Called with every text delta that is not empty."""
    on_reasoning: Callable[[str], object] | None = None
    """Called with every reasoning delta, whichever field the gateway sends it in."""
    on_refusal: Callable[[str], object] | None = None
    """Called with every refusal delta."""
    on_tool_call: Callable[[ChatCompletionMessageToolCallUnion], object] | None = None
    """Called once with each tool call, when the call is complete; never with a truncated call (vllm#53269)."""
    on_usage: Callable[[CompletionUsage], object] | None = None
    """Called once with the last usage of the stream, right before the terminal callback."""
    on_finish: Callable[[ChatCompletion], object] | None = None
    """Called with the completion when the stream ended complete, or was left after its finish reason."""
    on_error: Callable[[Exception], object] | None = None
    """Called with the error when the stream broke or could not be opened, or when a callback raised."""
    on_abort: Callable[[ChatCompletion], object] | None = None
    """Called with the partial completion when the caller left before the end."""

    def __post_init__(self) -> None:
        for field in fields(self):
            callback = getattr(self, field.name)
            if callback is not None and not callable(callback):
                raise TypeError(f"{field.name} is {callback!r}: it must be a function, or None")

    def require_sync(self) -> None:
        """Raise `TypeError` for an `async def`, which nobody would await."""
        for field in fields(self):
            if is_async(getattr(self, field.name)):
                raise TypeError(f"{field.name} is an async function: use AsyncChatStream, or a plain function")


def require_callbacks(callbacks: object) -> None:
    """Raise `TypeError` unless the callbacks are a `Callbacks` object or `None`."""
    if callbacks is not None and not isinstance(callbacks, Callbacks):
        raise TypeError(f"callbacks is {type(callbacks).__name__}: give Callbacks(on_text=..., on_finish=...)")


def is_async(function: object) -> bool:
    """Tell whether a call of `function` returns an awaitable."""
    while isinstance(function, functools.partial):
        function = function.func
    # An object may have an async __call__, which Python looks up on its type.
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
