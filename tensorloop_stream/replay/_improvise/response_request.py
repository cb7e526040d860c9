"""A request of the Responses API, read as the chat completion that asks for the same. No I/O."""

from collections.abc import Iterator, Mapping
from typing import Any

from .chat_request import ChatRequest, WrongRequestError

# Tools that the service itself runs, such as `web_search`, lead to no call in an answer.
_CALLABLE = {"function", "custom"}
_RESULTS = {"function_call_output", "custom_tool_call_output"}
_CALLS = {"function_call": "function", "custom_tool_call": "custom"}
_PARTS = {"input_image": "image_url", "input_audio": "input_audio", "input_file": "file"}


def as_chat(body: Mapping[str, Any]) -> ChatRequest:
    """Return the request for a chat completion that asks for the same; raises `WrongRequestError`."""
    text = body.get("text")
    messages = [*_instructions(body.get("instructions")), *_messages(body.get("input"))]
    return ChatRequest.read(
        {
            "model": body.get("model"),
            "messages": messages,
            "stream": body.get("stream"),
            "max_tokens": _limit(body.get("max_output_tokens")),
            "tools": list(_tools(body.get("tools"))),
            "tool_choice": _tool_choice(body.get("tool_choice"), body.get("tools")),
            "response_format": _format(text.get("format") if isinstance(text, Mapping) else None),
        }
    )


def _instructions(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, str):
        yield {"role": "system", "content": value}


def _messages(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if value is None or value == []:  # a stored prompt, or the response before, may have all that is asked
        return [{"role": "user", "content": ""}]
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise WrongRequestError("input", f"input must be a text or a list of items, not {value!r:.60}")
    return [message for item in value if (message := _message(item)) is not None] or _messages(None)


def _message(item: Mapping[str, Any]) -> dict[str, Any] | None:
    kind = item.get("type") or "message"
    if kind == "message":
        return {"role": str(item.get("role")), "content": _content(item.get("content"))}
    if kind in _CALLS:
        inner = {"name": item.get("name"), "arguments": item.get("arguments")}
        call = {"id": item.get("call_id"), "type": _CALLS[kind], _CALLS[kind]: inner}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    if kind in _RESULTS:
        output = item.get("output")
        return {"role": "tool", "content": _content(output), "tool_call_id": item.get("call_id")}
    return None  # reasoning, references to items, and what the service's own tools did


def _content(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    parts = [part for part in value if isinstance(part, Mapping)]
    return [{**part, "type": _PARTS.get(str(part.get("type")), "text")} for part in parts]


def _limit(value: Any) -> Any:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise WrongRequestError("max_output_tokens", f"max_output_tokens must be 1 or more, not {value!r:.60}")
    return value


def _tools(value: Any) -> Iterator[dict[str, Any]]:
    if value is not None and not isinstance(value, list):
        raise WrongRequestError("tools", f"tools must be a list, not {value!r:.60}")
    for index, tool in enumerate(value or ()):
        if not isinstance(tool, Mapping) or not isinstance(tool.get("type"), str):
            raise WrongRequestError(f"tools.{index}", f"tools.{index} must be an object with a type")
        if tool["type"] in _CALLABLE:
            if not isinstance(tool.get("name"), str):
                raise WrongRequestError(f"tools.{index}.name", f"tools.{index} must have a name beside its type")
            yield {"type": tool["type"], tool["type"]: tool}


def _tool_choice(value: Any, tools: Any) -> Any:
    has_callable = any(tool.get("type") in _CALLABLE for tool in tools or ())
    if not isinstance(value, Mapping):
        return value if has_callable or value != "required" else "none"
    if value.get("type") in _CALLABLE:
        return {"type": value["type"], value["type"]: value}
    mode = value.get("mode")  # of `allowed_tools`; a choice of one of the service's own tools has none
    return "required" if mode == "required" and has_callable else "auto" if has_callable else "none"


def _format(value: Any) -> Any:
    if isinstance(value, Mapping) and value.get("type") == "json_schema":
        return {"type": "json_schema", "json_schema": value}
    return value
