"""The callbacks of a stream, and the decision which of them each item and the end of the stream trigger."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Generic, TypeAlias

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageToolCallUnion
from openai.types.responses import (
    Response,
    ResponseCustomToolCall,
    ResponseFunctionToolCall,
    ResponseStreamEvent,
    ResponseUsage,
)
from typing_extensions import TypeVar  # that of typing has no defaults before Python 3.13

if TYPE_CHECKING:
    from ._stream.dialect import Accumulation

__all__ = ["Callbacks", "ResponseCallbacks", "UnusableToolCall"]

Call = tuple[Callable[[Any], object], Any]
# A chunk or an event, a tool call, the usage, and the result.
ItemT = TypeVar("ItemT")
UsageT = TypeVar("UsageT")
ResultT = TypeVar("ResultT")
CallT = TypeVar("CallT", default=ChatCompletionMessageToolCallUnion)


@dataclass(frozen=True, slots=True)
class UnusableToolCall(Generic[CallT]):
    """A tool call of a stream that ended, which must not be run.

    For example:

        def explain(call: UnusableToolCall) -> None:
            print(f"not run: {call.reason}")

        callbacks = Callbacks(on_tool_call=print, on_unusable_tool_call=explain)
        ChatStream(client.chat.completions.create(**request, stream=True), callbacks).until_done()
    """

    tool_call: CallT
    """The call as it arrived."""
    reason: str
    """The reason in words: arguments that are no JSON, or a finish reason that no whole answer has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyCallbacks(Generic[ItemT, UsageT, ResultT, CallT]):
    """The callbacks of a stream, with the types of its API."""

    on_chunk: Callable[[ItemT], object] | None = None
    """Called with every chunk, or event, before its other callbacks."""
    on_text: Callable[[str], object] | None = None
    """Called with every text delta that is not empty."""
    on_reasoning: Callable[[str], object] | None = None
    """Called with every reasoning delta, whichever field the gateway sends it in."""
    on_refusal: Callable[[str], object] | None = None
    """Called with every refusal delta."""
    on_tool_call: Callable[[CallT], object] | None = None
    """Called once with each tool call, when the call is complete; never with a truncated call (vllm#53269).

    A call may be run after the finish reasons `stop`, `tool_calls`, `function_call`, `eos`, `end_turn` and `tool_use`,
    in upper or lower case, and after no other. The arguments of a call without any are `{}`.
    """
    on_unusable_tool_call: Callable[[UnusableToolCall[CallT]], object] | None = None
    """Called once with each tool call that is left at the end and must not be run, before `on_usage`."""
    on_usage: Callable[[UsageT], object] | None = None
    """Called once with the last usage of the stream, right before the terminal callback."""
    on_finish: Callable[[ResultT], object] | None = None
    """Called with the completion when the stream ended complete, or was left after its finish reason."""
    on_error: Callable[[Exception], object] | None = None
    """Called with the error when the stream broke or could not be opened, or when a callback raised."""
    on_abort: Callable[[ResultT], object] | None = None
    """Called with the partial completion when the caller left before the end."""

    def __post_init__(self) -> None:
        for field in fields(self):
            callback = getattr(self, field.name)
            if callback is not None and not callable(callback):
                raise TypeError(f"{field.name} is {callback!r}: it must be a function, or None")


class Callbacks(AnyCallbacks[ChatCompletionChunk, CompletionUsage, ChatCompletion, ChatCompletionMessageToolCallUnion]):
    """Functions to call while a stream is read; under an async stream each may be `async def`.

    Exactly one of `on_finish`, `on_error` and `on_abort` is called, last. A callback that raises closes the
    stream. The exception goes to `on_error`, unless one of these three raised it, and reaches the caller unchanged.
    `on_text`, `on_reasoning`, `on_refusal` and the callbacks for tool calls get the deltas and calls of choice 0.

    Raises `TypeError` for a value that cannot be called.

    For example:

        callbacks = Callbacks(
            on_text=lambda delta: print(delta, end=""),
            on_finish=lambda completion: print("whole:", completion.choices[0].finish_reason),
            on_error=lambda error: print("broken:", error),
            on_abort=lambda completion: print("left early"),
        )
        ChatStream(client.chat.completions.create(**request, stream=True), callbacks).until_done()
    """

    __slots__ = ()


ResponseCalls: TypeAlias = ResponseFunctionToolCall | ResponseCustomToolCall


class ResponseCallbacks(AnyCallbacks[ResponseStreamEvent, ResponseUsage, Response, ResponseCalls]):
    """`Callbacks` with the types of the Responses API, for type checkers; a stream of either API takes both.

    For example:

        callbacks = ResponseCallbacks(on_finish=lambda response: print(response.status, response.output_text))
        answer = client.responses.create(model="gpt-4o-mini", input="Stream a haiku about caching.", stream=True)
        ResponseStream(answer, callbacks).until_done()
    """

    __slots__ = ()


def require_callbacks(callbacks: object) -> None:
    """Raise `TypeError` unless the callbacks are a `Callbacks` object or `None`."""
    if callbacks is not None and not isinstance(callbacks, AnyCallbacks):
        raise TypeError(f"callbacks is {type(callbacks).__name__}: give Callbacks(on_text=..., on_finish=...)")


def require_sync(callbacks: AnyCallbacks[Any, Any, Any, Any] | None) -> None:
    """Raise `TypeError` for an `async def`, which nobody would await."""
    for field in fields(callbacks) if callbacks is not None else ():
        if is_async(getattr(callbacks, field.name)):
            raise TypeError(f"{field.name} is an async function: use AsyncChatStream, or a plain function")


def is_async(function: object) -> bool:
    """Tell whether a call of `function` returns an awaitable."""
    while isinstance(function, functools.partial):
        function = function.func
    # An object may have an async __call__, which Python looks up on its type.
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


class CallbackPlan:
    """Decide which callbacks each item, and the end of the stream, triggers; each terminal one once.

    A plan that replaces another one, as `before`, repeats nothing that it called.
    """

    __slots__ = ("_called", "callbacks", "has_item_callbacks", "wants_items")

    def __init__(self, callbacks: AnyCallbacks[Any, Any, Any, Any], before: CallbackPlan | None = None) -> None:
        self.callbacks = callbacks
        self.wants_items = callbacks.on_chunk is not None
        # Whether an item can trigger any callback at all.
        self.has_item_callbacks = any((
            callbacks.on_chunk,
            callbacks.on_text,
            callbacks.on_reasoning,
            callbacks.on_refusal,
            callbacks.on_tool_call,
        ))  # fmt: skip
        # The calls that are made once, and were made.
        self._called: dict[str, bool] = {} if before is None else before._called  # noqa: SLF001 - of the same class

    @property
    def is_finished(self) -> bool:
        """Whether the terminal callback was called."""
        return "terminal" in self._called

    def for_item(self, item: Any, accumulation: Accumulation) -> list[Call]:
        """Return the calls that the item just accumulated triggers, in order."""
        callbacks = self.callbacks
        calls: list[Call] = []
        if callbacks.on_chunk:
            calls.append((callbacks.on_chunk, item))
        if callbacks.on_reasoning and accumulation.reasoning_delta:
            calls.append((callbacks.on_reasoning, accumulation.reasoning_delta))
        if callbacks.on_text and accumulation.text_delta:
            calls.append((callbacks.on_text, accumulation.text_delta))
        if callbacks.on_refusal and accumulation.refusal_delta:
            calls.append((callbacks.on_refusal, accumulation.refusal_delta))
        return calls + self.for_tool_calls(accumulation, ended=False)

    def for_tool_calls(self, accumulation: Accumulation, *, ended: bool) -> list[Call]:
        """Return a call for each tool call that became whole; `ended` when no item can follow."""
        on_tool_call = self.callbacks.on_tool_call
        if not on_tool_call:
            return []
        return [(on_tool_call, call) for call in accumulation.newly_whole_calls(ended=ended)]

    def for_unusable_calls(self, accumulation: Accumulation, *, ended: bool) -> list[Call]:
        """Return a call for each tool call that must not be run, once; `ended` when the stream said so."""
        on_unusable = self.callbacks.on_unusable_tool_call
        if not on_unusable or "unusable" in self._called:
            return []
        self._called["unusable"] = True
        return [(on_unusable, call) for call in accumulation.unusable_calls(ended=ended)]

    def for_end(self, accumulation: Accumulation, terminal: Any, argument: Any = None) -> list[Call]:
        """Return the last calls: `on_usage` and `terminal`, which gets the result if `argument` is `None`."""
        calls: list[Call] = []
        usage, on_usage = accumulation.usage, self.callbacks.on_usage
        if on_usage and usage is not None and "usage" not in self._called:
            calls.append((functools.partial(self._call, "usage", on_usage), usage))
        if terminal is None:
            # Nobody to call: a later end of the same stream is none.
            self._called["terminal"] = True
        elif not self.is_finished:
            argument = accumulation.result if argument is None else argument
            calls.append((functools.partial(self._call, "terminal", terminal), argument))
        return calls

    def _call(self, kind: str, callback: Any, argument: Any) -> object:
        # Noted when it is called, not when it is planned: a callback before it may raise. And noted without a call:
        # CPython raises the exception of a signal at a call, which would lose the callback.
        if kind in self._called:
            return None
        self._called[kind] = True
        return callback(argument)
