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
    """Yield the events of a script: its reasoning, its text or refusal, its calls."""
    for number, payload in enumerate(_payloads(script)):
        data = json.dumps({"sequence_number": number} | payload, ensure_ascii=False)
        yield f"event: {payload['type']}\ndata: {data}\n\n".encode()


def whole_response(script: Script) -> bytes:
    """Return the response of a script, as it is asked for by its id."""
    *_, last = _payloads(script)
    return json.dumps(last["response"], ensure_ascii=False).encode()


def _payloads(script: Script) -> Iterator[dict[str, Any]]:
    begun = _RESPONSE | {"status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    output: list[dict[str, Any]] = []
    for payloads in _items(script):
        *steps, item = payloads
        # The events that end an item are sent together, and not at all if the stream breaks.
        yield from (step for step in steps if script.end == "done" or not step["type"].endswith(".done"))
        output.append(item)
        if script.end == "done":
            yield {"type": "response.output_item.done", "output_index": len(output) - 1, "item": item}
    if script.end == "error event":
        broken = {"code": script.error["code"], "message": script.error["message"]}
        failed = _RESPONSE | {"status": "failed", "output": output, "error": broken, "usage": None}
        yield {"type": "response.failed", "response": failed}
    if script.end == "done":
        status = _STATUS.get(script.finish_reason, "completed")
        whole = _RESPONSE | {"status": status, "output": output, "usage": _usage(len(script.deltas))}
        if status == "incomplete":
            whole |= {"incomplete_details": {"reason": "max_output_tokens"}}
        yield {"type": f"response.{status}", "response": whole}


_STATUS = {"length": "incomplete"}


def _items(script: Script) -> Iterator[Iterator[dict[str, Any]]]:
    """Yield the events of each item, the item last."""
    index = 0
    for name, make in (("reasoning_content", _reasoning), ("content", _text), ("refusal", _refusal)):
        if pieces := [delta[name] for delta in script.deltas if delta.get(name)]:
            yield make(index, pieces, "incomplete" if script.finish_reason == "length" else "completed")
            index += 1
    calls: dict[int, list[dict[str, Any]]] = {}
    for delta in script.deltas:
        for piece in delta.get("tool_calls", ()):
            calls.setdefault(piece["index"], []).append(piece)
    for number, piece_list in calls.items():
        yield _call(index + number, piece_list)


def _text(index: int, pieces: list[str], status: str) -> Iterator[dict[str, Any]]:
    empty: dict[str, Any] = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    return _message(index, pieces, status, empty)


def _refusal(index: int, pieces: list[str], status: str) -> Iterator[dict[str, Any]]:
    return _message(index, pieces, status, {"type": "refusal", "refusal": ""})


def _message(index: int, pieces: list[str], status: str, empty: dict[str, Any]) -> Iterator[dict[str, Any]]:
    message = {"id": f"msg_scripted_{index}", "type": "message", "role": "assistant"}
    place = {"item_id": message["id"], "output_index": index, "content_index": 0}
    kind = empty["type"]
    field = "refusal" if kind == "refusal" else "text"
    more: dict[str, Any] = {} if kind == "refusal" else {"logprobs": []}
    part = empty | {field: "".join(pieces)}
    yield _added(index, message | {"content": []})
    yield {"type": "response.content_part.added", **place, "part": empty}
    for piece in pieces:
        yield {"type": f"response.{kind}.delta", **place, "delta": piece, **more}
    yield {"type": f"response.{kind}.done", **place, field: part[field], **more}
    yield {"type": "response.content_part.done", **place, "part": part}
    yield message | {"status": status, "content": [part]}


def _reasoning(index: int, pieces: list[str], _status: str) -> Iterator[dict[str, Any]]:
    item: dict[str, Any] = {"id": f"rs_scripted_{index}", "type": "reasoning"}
    place = {"item_id": item["id"], "output_index": index, "summary_index": 0}
    part = {"type": "summary_text", "text": "".join(pieces)}
    yield {"type": "response.output_item.added", "output_index": index, "item": item | {"summary": []}}
    yield {"type": "response.reasoning_summary_part.added", **place, "part": part | {"text": ""}}
    for piece in pieces:
        yield {"type": "response.reasoning_summary_text.delta", **place, "delta": piece}
    yield {"type": "response.reasoning_summary_text.done", **place, "text": part["text"]}
    yield {"type": "response.reasoning_summary_part.done", **place, "part": part}
    yield item | {"summary": [part]}


def _call(index: int, pieces: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    call = {"type": "function_call", "id": f"fc_scripted_{index}", "call_id": pieces[0]["id"]}
    call |= {"name": pieces[0]["function"]["name"]}
    place = {"item_id": call["id"], "output_index": index}
    arguments = [piece["function"]["arguments"] for piece in pieces]
    whole = {"name": call["name"], "arguments": "".join(arguments)}
    yield _added(index, call | {"arguments": ""})
    for piece in filter(None, arguments):
        yield {"type": "response.function_call_arguments.delta", **place, "delta": piece}
    yield {"type": "response.function_call_arguments.done", **place, **whole}
    yield call | whole | {"status": "completed"}


def _added(index: int, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": index, "item": item | {"status": "in_progress"}}


def _usage(output_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 20 + output_tokens,
    }
