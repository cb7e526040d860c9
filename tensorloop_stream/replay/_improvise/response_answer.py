"""A choice to the bytes of an answer of the Responses API, streamed or whole. No I/O."""

import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from tensorloop_stream.replay._answers import Answer, Frame, json_answer

from .chat_answer import frame_of, usage_of
from .chat_request import ChatRequest
from .choices import Call, Choice, tokens_in

# The events of what a call is called with, and the field of the item that holds it.
_INPUTS = {
    "function_call": ("response.function_call_arguments", "arguments"),
    "custom_tool_call": ("response.custom_tool_call_input", "input"),
}
_STREAM_HEADERS = (("content-type", "text/event-stream; charset=utf-8"),)


def response_answer(request: ChatRequest, body: Mapping[str, Any], choice: Choice) -> Answer:
    """Return the answer to `body`, read as `request`, that consists of this choice."""
    items = [*_messages(choice), *map(_call, choice.calls)]
    response = _response(request, body, choice, items)
    return streamed_response(response) if request.stream else json_answer(200, response)


def streamed_response(response: Mapping[str, Any]) -> Answer:
    """Return a whole response as the event stream that ends with it."""
    frames = [
        Frame(f"event: {event['type']}\n".encode() + frame_of({**event, "sequence_number": number}).data, is_event=True)
        for number, event in enumerate(_events(response))
    ]
    return Answer(200, "OK", _STREAM_HEADERS, frames=tuple(frames))


def _response(
    request: ChatRequest, body: Mapping[str, Any], choice: Choice, items: list[dict[str, Any]]
) -> dict[str, Any]:
    usage = usage_of(request, [choice])
    is_cut = choice.finish_reason == "length"
    return {
        "id": f"resp_replay_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "model": request.model,
        "status": "incomplete" if is_cut else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "instructions": body.get("instructions"),
        "metadata": body.get("metadata") or {},
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "output": items,
        "usage": {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage["total_tokens"],
        },
    }


def _messages(choice: Choice) -> Iterator[dict[str, Any]]:
    if choice.text or not choice.calls:
        part = {"type": "output_text", "text": choice.text, "annotations": [], "logprobs": []}
        yield {"id": _id("msg"), "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def _call(call: Call) -> dict[str, Any]:
    kind, field = ("custom_tool_call", "input") if call.kind == "custom" else ("function_call", "arguments")
    item = {"id": _id("ctc" if call.kind == "custom" else "fc"), "type": kind, "call_id": _id("call")}
    return {**item, "name": call.name, field: call.arguments, "status": "completed"}


def _events(response: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    begun = {**response, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(response["output"]):
        yield from _of_item(index, item)
    yield {"type": f"response.{response['status']}", "response": response}


def _of_item(index: int, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    kind, place = item.get("type"), {"item_id": item.get("id"), "output_index": index}
    empty: dict[str, Any] = {"content": []} if kind == "message" else {}
    growing = _INPUTS.get(str(kind))
    if growing is not None:
        empty[growing[1]] = ""
    begun = {**item, "status": "in_progress", **empty}
    yield {"type": "response.output_item.added", "output_index": index, "item": begun}
    if kind == "message":
        for number, part in enumerate(item.get("content") or ()):
            yield from _of_part({**place, "content_index": number}, part)
    elif growing is not None:
        yield from _of_input(place, *growing, item)
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _of_part(place: dict[str, Any], part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    field = "refusal" if part.get("type") == "refusal" else "text"
    kind = "response.refusal" if field == "refusal" else "response.output_text"
    more: dict[str, Any] = {} if field == "refusal" else {"logprobs": []}
    text = str(part.get(field) or "")
    yield {"type": "response.content_part.added", **place, "part": {**part, field: ""}}
    for token in tokens_in(text):
        yield {"type": f"{kind}.delta", **place, "delta": token, **more}
    yield {"type": f"{kind}.done", **place, field: text, **more}
    yield {"type": "response.content_part.done", **place, "part": part}


def _of_input(place: dict[str, Any], kind: str, field: str, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    named = {"name": item["name"]} if field == "arguments" else {}
    for token in tokens_in(item[field]):
        yield {"type": f"{kind}.delta", **place, "delta": token}
    yield {"type": f"{kind}.done", **place, **named, field: item[field]}


def _id(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex[:24]}"
