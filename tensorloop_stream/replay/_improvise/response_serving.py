"""Whether a recorded answer of the Responses API serves a request, and the whole response in it. No I/O."""

import json
from collections.abc import Mapping
from typing import Any

from tensorloop_stream.replay._answers import Answer, data_of
from tensorloop_stream.replay._schemas.check import fits

from .chat_request import ChatRequest

_CALLS = {"function_call": "function", "custom_tool_call": "custom"}


def response_serves(answer: Answer, request: ChatRequest) -> bool:
    """Return whether a recorded answer is what a request, read as one for a chat completion, may be answered with."""
    try:
        response = whole_response(answer)
    except ValueError:
        return False
    if answer.status != 200 or answer.is_cut or response.get("status") != "completed":
        return False
    items = [item for item in _list(response.get("output")) if isinstance(item, Mapping)]
    calls = [item for item in items if item.get("type") in _CALLS]
    if request.wants_call:
        return bool(calls) and all(_fits_a_tool(call, request) for call in calls)
    return not calls and (request.schema is None or _is_json_for(request.schema, _text_of(items)))


def whole_response(answer: Answer) -> Mapping[str, Any]:
    """Return the whole response of an answer; raises `ValueError` if there is none."""
    if answer.frames is None:
        value = json.loads(answer.body)
    else:
        texts = [text for frame in answer.frames if b'"response"' in (text := data_of(frame.data))]
        value = json.loads(texts[-1] if texts else b"").get("response")
    if not isinstance(value, Mapping):
        raise ValueError("not a response")
    return value


def _fits_a_tool(call: Mapping[str, Any], request: ChatRequest) -> bool:
    name, kind = call.get("name"), _CALLS[call["type"]]
    tool = next((tool for tool in request.tools if (tool.name, tool.kind) == (name, kind)), None)
    if tool is None or request.tool_choice not in {"auto", "required", name}:
        return False
    return kind == "custom" or _is_json_for(tool.schema, call.get("arguments"))


def _text_of(items: list[Mapping[str, Any]]) -> str:
    parts = [part for item in items for part in _list(item.get("content")) if isinstance(part, Mapping)]
    return "".join(str(part.get("text", "")) for part in parts if part.get("type") == "output_text")


def _is_json_for(schema: Any, text: Any) -> bool:
    try:
        return fits({} if schema is None else schema, json.loads(str(text)))
    except ValueError:
        return False


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
