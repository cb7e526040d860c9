"""Events of the Responses API by hand, and streams of them."""

from __future__ import annotations

import json
from typing import Any

from tensorloop_stream import ResponseAccumulator

ENVELOPE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1795359264,
    "model": "gpt-4o-mini",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
USAGE = {
    "input_tokens": 3,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 2,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 5,
}


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **fields}


def created(**fields: Any) -> dict[str, Any]:
    return event("created", response={**ENVELOPE, "status": "in_progress", **fields})


def ended(*output: Any, status: str = "completed", **fields: Any) -> dict[str, Any]:
    """Return the last event of a stream; without items its response has an empty output."""
    return event(status, response={**ENVELOPE, "status": status, "usage": USAGE, "output": [*output], **fields})


def message(*texts: str, id: str | None = "msg_1", status: str = "completed") -> dict[str, Any]:  # noqa: A002 - the wire's name
    parts = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"type": "message", "role": "assistant", "status": status, "content": parts} | ({"id": id} if id else {})


def call(arguments: str, *, number: int = 1, **fields: Any) -> dict[str, Any]:
    ids = {"id": f"fc_{number}", "call_id": f"call_{number}"}
    return {"type": "function_call", **ids, "name": "get_weather", "arguments": arguments, **fields}


def added(item: Any, index: int | None = 0) -> dict[str, Any]:
    return event("output_item.added", item=item, **_index(index))


def done(item: Any, index: int | None = 0) -> dict[str, Any]:
    return event("output_item.done", item=item, **_index(index))


def delta(text: Any, kind: str = "output_text", **fields: Any) -> dict[str, Any]:
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    return event(f"{kind}.delta", **{**place, "delta": text, **fields})


def argument(text: str, number: int = 1) -> dict[str, Any]:
    return event("function_call_arguments.delta", item_id=f"fc_{number}", output_index=number - 1, delta=text)


def _index(index: int | None) -> dict[str, Any]:
    return {} if index is None else {"output_index": index}


def line(value: dict[str, Any], *, name: bool = True) -> bytes:
    """Return an event as OpenAI sends it, with its name in a line of its own unless told otherwise."""
    data = b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
    return f"event: {value['type']}\n".encode() + data if name else data


def stream(*events: dict[str, Any], name: bool = True) -> bytes:
    numbered = ({**value, "sequence_number": number} for number, value in enumerate(events))
    return b"".join(line(value, name=name) for value in numbered)


def accumulate(*events: dict[str, Any]) -> ResponseAccumulator:
    accumulator = ResponseAccumulator()
    for one in events:
        accumulator.add(one)
    return accumulator


HELLO = (
    created(),
    added(message(status="in_progress")),
    event("content_part.added", item_id="msg_1", output_index=0, content_index=0, part=message("")["content"][0]),
    delta("Hel"),
    delta("lo"),
    event("output_text.done", item_id="msg_1", output_index=0, content_index=0, text="Hello"),
    done(message("Hello")),
    ended(message("Hello")),
)
