"""Who is told what: the calls that a chunk and the end of a stream ask for."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from openai.types.chat import ChatCompletionMessageCustomToolCall, ChatCompletionMessageFunctionToolCall

from ._chat.models import build_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageToolCallUnion

    from ._callbacks import Call, Callbacks
    from ._chat.accumulation import Accumulation
    from ._chat.tool_calls import ToolCall


class CallbackPlan:
    """The callbacks of one stream, and what they were told already, in `before` too."""

    def __init__(self, callbacks: Callbacks, before: CallbackPlan | None = None) -> None:
        self.callbacks = callbacks
        # Whether anybody is told of chunks, and whether of anything that a chunk brings.
        self.wants_items = callbacks.on_chunk is not None
        self.has_chunk_callbacks = any((
            callbacks.on_chunk,
            callbacks.on_text,
            callbacks.on_reasoning,
            callbacks.on_refusal,
            callbacks.on_tool_call,
        ))  # fmt: skip
        self._called: set[str] = set() if before is None else before._called  # noqa: SLF001 - of the same class

    @property
    def is_finished(self) -> bool:
        """Whether the terminal call was made."""
        return "terminal" in self._called

    def for_chunk(self, chunk: ChatCompletionChunk | Mapping[str, Any], accumulation: Accumulation) -> list[Call]:
        """Return the calls that the chunk just accumulated asks for, in order."""
        callbacks = self.callbacks
        calls: list[Call] = []
        if callbacks.on_chunk:
            calls.append((callbacks.on_chunk, chunk))
        if callbacks.on_reasoning and accumulation.reasoning_delta:
            calls.append((callbacks.on_reasoning, accumulation.reasoning_delta))
        if callbacks.on_text and accumulation.text_delta:
            calls.append((callbacks.on_text, accumulation.text_delta))
        if callbacks.on_refusal and accumulation.refusal_delta:
            calls.append((callbacks.on_refusal, accumulation.refusal_delta))
        return calls + self.for_tool_calls(accumulation, ended=False)

    def for_tool_calls(self, accumulation: Accumulation, *, ended: bool) -> list[Call]:
        """Return a call for each tool call that became whole; `ended` when no chunk can follow."""
        on_tool_call = self.callbacks.on_tool_call
        if not on_tool_call:
            return []
        return [(on_tool_call, _typed(call)) for call in accumulation.newly_whole_calls(ended=ended)]

    def for_end(self, accumulation: Accumulation, terminal: Any, argument: Any = None) -> list[Call]:
        """Return the last calls: of the usage, and the `terminal` one, with the completion unless told otherwise."""
        calls: list[Call] = []
        usage, on_usage = accumulation.usage, self.callbacks.on_usage
        if on_usage and usage is not None and "usage" not in self._called:
            calls.append((functools.partial(self._call, "usage", on_usage), usage))
        if terminal:
            argument = accumulation.completion if argument is None else argument
            calls.append((functools.partial(self._call, "terminal", terminal), argument))
        return calls

    def _call(self, what: str, callback: Any, argument: Any) -> object:
        # Noted when it is called, not when it is planned: a callback before it may raise.
        self._called.add(what)
        return callback(argument)


def _typed(call: ToolCall) -> ChatCompletionMessageToolCallUnion:
    if call.type == "custom":
        return build_model(ChatCompletionMessageCustomToolCall, call.to_dict())
    return build_model(ChatCompletionMessageFunctionToolCall, call.to_dict())
