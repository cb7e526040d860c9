"""Chunks and events by hand, and the accumulated result of chunks."""

from __future__ import annotations

import json
from typing import Any

import pydantic

from tensorloop_stream import ChatAccumulator

ENVELOPE = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1795359264, "model": "gpt-4o-mini"}
DONE = b"data: [DONE]\n\n"


def chunk(delta: Any = None, *, index: int | None = 0, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a chunk with one choice; `more` goes into the choice."""
    choice: dict[str, Any] = {"index": index, "delta": {} if delta is None else delta, **more}
    if finish is not None:
        choice["finish_reason"] = finish
    return {**ENVELOPE, "choices": [choice]}


def text(content: str, **more: Any) -> dict[str, Any]:
    return chunk({"content": content}, **more)


def tool(*deltas: Any, **more: Any) -> dict[str, Any]:
    return chunk({"tool_calls": list(deltas)}, **more)


def finish(reason: str = "stop", **more: Any) -> dict[str, Any]:
    return chunk({}, finish=reason, **more)


def usage(total: int = 9, **more: Any) -> dict[str, Any]:
    counts = {"prompt_tokens": total - 2, "completion_tokens": 2, "total_tokens": total}
    return {**ENVELOPE, "choices": [], "usage": counts, **more}


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def sse(*chunks: Any, done: bool = True) -> bytes:
    return b"".join(map(event, chunks)) + (DONE if done else b"")


HELLO = (chunk({"role": "assistant", "content": ""}), text("Hel"), text("lo"), finish())


def accumulate(*chunks: Any) -> ChatAccumulator:
    accumulator = ChatAccumulator()
    for one in chunks:
        accumulator.add(one)
    return accumulator


def message_of(*chunks: Any) -> dict[str, Any]:
    """Return the message that the chunks make, as a dictionary."""
    return accumulate(*chunks).completion.choices[0].message.to_dict()


def deep_state(value: Any) -> Any:
    """Return everything in a model that a caller could observe."""
    if isinstance(value, pydantic.BaseModel):
        fields = {name: deep_state(item) for name, item in value.__dict__.items()}
        return type(value), fields, deep_state(value.model_extra), value.model_fields_set, value.__pydantic_private__
    if isinstance(value, dict):
        return {name: deep_state(item) for name, item in value.items()}
    if isinstance(value, list):
        return [deep_state(item) for item in value]
    return type(value), value
