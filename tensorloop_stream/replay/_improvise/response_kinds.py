"""Kinds of requests of the Responses API, and whether a recorded answer serves a request. No I/O."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from tensorloop_stream.replay._answers import Answer, data_of
from tensorloop_stream.replay._bodies import is_streamed
from tensorloop_stream.replay._schemas.check import fits


class ResponseKind(NamedTuple):
    """The part of a request that decides the shape of its answer."""

    stream: bool
    wants_call: bool
    is_structured: bool
    has_attachments: bool

    @property
    def is_plain(self) -> bool:
        """Whether any text is an answer."""
        return not (self.wants_call or self.is_structured or self.has_attachments)


def response_kind_of(body: Any) -> ResponseKind:
    """Return the kind of a request; its parts may be anything."""
    body = body if isinstance(body, Mapping) else {}
    items = [item for item in _list(body.get("input")) if isinstance(item, Mapping)]
    has_result = bool(items) and items[-1].get("type") in {"function_call_output", "custom_tool_call_output"}
    parts = [part for item in items for part in _list(item.get("content")) if isinstance(part, Mapping)]
    return ResponseKind(
        is_streamed(body),
        bool(body.get("tools")) and body.get("tool_choice") != "none" and not has_result,
        _schema_in(body) is not None,
        any(part.get("type") in {"input_image", "input_file", "input_audio"} for part in parts),
    )


def response_serves(answer: Answer, body: Mapping[str, Any]) -> bool:
    """Return whether a recorded answer is what a request may be answered with."""
    try:
        response = whole_response(answer)
    except ValueError:
        return False
    if answer.status != 200 or answer.is_cut or response.get("status") != "completed":
        return False
    items = [item for item in _list(response.get("output")) if isinstance(item, Mapping)]
    calls = [item for item in items if item.get("type") == "function_call"]
    if response_kind_of(body).wants_call:
        tools = {
            tool["name"]: tool for tool in _list(body.get("tools")) if isinstance(tool, Mapping) and "name" in tool
        }
        choice = body.get("tool_choice")
        wanted = choice.get("name") if isinstance(choice, Mapping) else None
        return bool(calls) and all(
            call.get("name") in tools
            and wanted in {None, call["name"]}
            and _is_json_for(tools[call["name"]].get("parameters"), call.get("arguments"))
            for call in calls
        )
    schema = _schema_in(body)
    return not calls and (schema is None or _is_json_for(schema, _text_of(items)))


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


def _schema_in(body: Mapping[str, Any]) -> Any:
    text = body.get("text")
    form = text.get("format") if isinstance(text, Mapping) else None
    kind = form.get("type") if isinstance(form, Mapping) else None
    return {"json_schema": form.get("schema", {}), "json_object": {"type": "object"}}.get(str(kind)) if form else None


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
