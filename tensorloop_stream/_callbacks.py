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
    """Functions called while a stream is read; under `AsyncChatStream` each may be `async def`.

    Exactly one of `on_finish`, `on_error` and `on_abort` is called, last. A callback that raises closes the
    stream, `on_error` gets the exception (unless it is of one of these three), and it reaches the caller unchanged.
    `on_text`, `on_reasoning`, `on_refusal` and `on_tool_call` speak of choice 0.

    Raises `TypeError` for what cannot be called.
    """

    on_chunk: Callable[[ChatCompletionChunk], object] | None = None
    """Every chunk, before the other callbacks of the chunk."""
    on_text: Callable[[str], object] | None = None
    """Every piece of text that is not empty."""
    on_reasoning: Callable[[str], object] | None = None
    """Every piece of reasoning, whatever name the gateway gives it."""
    on_refusal: Callable[[str], object] | None = None
    """Every piece of a refusal."""
    on_tool_call: Callable[[ChatCompletionMessageToolCallUnion], object] | None = None
    """Each tool call once, when it is whole; never one that was cut (vllm#53269)."""
    on_usage: Callable[[CompletionUsage], object] | None = None
    """The last usage that came, once, right before the terminal call."""
    on_finish: Callable[[ChatCompletion], object] | None = None
    """The stream ended whole; also when it was left after its finish reason had come."""
    on_error: Callable[[Exception], object] | None = None
    """The stream broke, could not be opened, or a callback raised."""
    on_abort: Callable[[ChatCompletion], object] | None = None
    """The caller left before the end; with what had come."""

    def __post_init__(self) -> None:
        for field in fields(self):
            callback = getattr(self, field.name)
            if callback is not None and not callable(callback):
                raise TypeError(f"{field.name} is {callback!r}: it must be a function, or None")


def require_callbacks(callbacks: object) -> None:
    """Raise `TypeError` for callbacks of another kind."""
    if callbacks is not None and not isinstance(callbacks, Callbacks):
        raise TypeError(f"callbacks is {type(callbacks).__name__}: give Callbacks(on_text=..., on_finish=...)")


def require_sync(callbacks: Callbacks | None) -> None:
    """Raise `TypeError` for an `async def`, which nobody would await."""
    for field in fields(callbacks) if callbacks is not None else ():
        if is_async(getattr(callbacks, field.name)):
            raise TypeError(f"{field.name} is an async function: use AsyncChatStream, or a plain function")


def is_async(function: object) -> bool:
    """Tell whether calling `function` gives something to await."""
    while isinstance(function, functools.partial):
        function = function.func
    # Of its type: an object may have an async __call__.
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
