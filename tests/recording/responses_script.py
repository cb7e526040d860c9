"""A script's answer as OpenAI's Responses API streams it; LiteLLM forwards it."""

import json
from collections.abc import Iterator
from typing import Any

from script import Script

_RESPONSE: dict[str, Any] = {
    "id": "resp_scripted",
    "object": "response",
    "created_at": 1795305600,
    "model": "gpt-4o-mini",
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
}


def response_events(script: Script) -> Iterator[bytes]:
    """Yield the events of a script that sends one text or calls one function."""
    for number, payload in enumerate(_payloads(script)):
        data = json.dumps({"sequence_number": number} | payload, ensure_ascii=False)
        yield f"event: {payload['type']}\ndata: {data}\n\n".encode()


def _payloads(script: Script) -> Iterator[dict[str, Any]]:
    begun = _RESPONSE | {"status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    calls = [call for delta in script.deltas for call in delta.get("tool_calls", ())]
    said = _call(*calls) if calls else _text(*(delta["content"] for delta in script.deltas))
    *payloads, item = said
    # The events that end an item are sent together, and not at all if the stream is cut.
    yield from (payload for payload in payloads if script.end == "done" or not payload["type"].endswith(".done"))
    if script.end == "done":
        yield {"type": "response.output_item.done", "output_index": 0, "item": item}
        whole = _RESPONSE | {"status": "completed", "output": [item], "usage": _usage(len(script.deltas))}
        yield {"type": "response.completed", "response": whole}


def _text(*pieces: str) -> Iterator[dict[str, Any]]:
    message = {"id": "msg_scripted", "type": "message", "role": "assistant"}
    place = {"item_id": message["id"], "output_index": 0, "content_index": 0}
    empty: dict[str, Any] = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    part = empty | {"text": "".join(pieces)}
    yield _added(message | {"content": []})
    yield {"type": "response.content_part.added", **place, "part": empty}
    for piece in filter(None, pieces):
        yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **place, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **place, "part": part}
    yield message | {"status": "completed", "content": [part]}


def _call(*pieces: dict[str, Any]) -> Iterator[dict[str, Any]]:
    call = {"type": "function_call", "id": "fc_scripted", "call_id": pieces[0]["id"]}
    call |= {"name": pieces[0]["function"]["name"]}
    place = {"item_id": call["id"], "output_index": 0}
    arguments = [piece["function"]["arguments"] for piece in pieces]
    whole = {"name": call["name"], "arguments": "".join(arguments)}
    yield _added(call | {"arguments": ""})
    for piece in filter(None, arguments):
        yield {"type": "response.function_call_arguments.delta", **place, "delta": piece}
    yield {"type": "response.function_call_arguments.done", **place, **whole}
    yield call | whole | {"status": "completed"}


def _added(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": 0, "item": item | {"status": "in_progress"}}


def _usage(output_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 20 + output_tokens,
    }
