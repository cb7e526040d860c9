"""A request for a chat completion, read and checked as far as an answer depends on it. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from tensorloop_stream.replay._fields import text_of


class WrongRequestError(ValueError):
    """A request that a gateway refuses with 400; `param` names the field."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the model may call; `kind` is `function` or `custom`."""

    name: str
    kind: str
    description: str
    schema: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """The parts of a request on which its answer depends."""

    model: str
    messages: tuple[Mapping[str, Any], ...]
    stream: bool
    include_usage: bool
    n: int
    max_tokens: int | None
    stop: tuple[str, ...]
    tools: tuple[Tool, ...]
    tool_choice: str
    """`none`, `auto`, `required` or the name of a tool."""
    schema: Any
    """The JSON schema of a structured answer; `None` without one."""
    logprobs: bool
    top_logprobs: int

    @classmethod
    def read(cls, body: Any) -> Self:
        """Read the JSON value of a body; raises `WrongRequestError`."""
        if not isinstance(body, Mapping):
            raise WrongRequestError("body", "the body must be a JSON object")
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise WrongRequestError("model", "you must provide a model parameter")
        tools = tuple(_tools(body.get("tools")))
        options = body.get("stream_options")
        return cls(
            model=model,
            messages=tuple(_messages(body.get("messages"))),
            stream=body.get("stream") is True,
            include_usage=isinstance(options, Mapping) and options.get("include_usage") is True,
            n=_count(body, "n") or 1,
            max_tokens=_count(body, "max_completion_tokens") or _count(body, "max_tokens"),
            stop=_stop(body.get("stop")),
            tools=tools,
            tool_choice=_tool_choice(body.get("tool_choice"), tools),
            schema=_schema(body.get("response_format")),
            logprobs=body.get("logprobs") is True,
            top_logprobs=body["top_logprobs"] if isinstance(body.get("top_logprobs"), int) else 0,
        )

    @property
    def has_tool_results(self) -> bool:
        """Whether the last message brings the result of a tool."""
        return self.messages[-1].get("role") in {"tool", "function"}

    @property
    def wants_call(self) -> bool:
        """Whether the answer is to be a call of a tool."""
        return bool(self.tools) and self.tool_choice != "none" and not self.has_tool_results

    @property
    def prompt(self) -> str:
        """The text of the last message of the user."""
        return next((text_in(each) for each in reversed(self.messages) if each.get("role") == "user"), "")

    @property
    def attachments(self) -> tuple[str, ...]:
        """The types of what the messages bring beside text: `image_url`, `input_audio`, `file`."""
        return tuple(
            str(part.get("type"))
            for message in self.messages
            if isinstance(content := message.get("content"), list)
            for part in content
            if isinstance(part, Mapping) and part.get("type") not in {"text", "refusal"}
        )


def text_in(message: Mapping[str, Any]) -> str:
    """Return the text of a message."""
    content = message.get("content")
    if isinstance(content, list):
        content = [part for part in content if isinstance(part, Mapping) and isinstance(part.get("text"), str)]
    return text_of(content) if content else ""


def _messages(value: Any) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not value:
        raise WrongRequestError("messages", f"messages must be a list of at least one message, not {value!r:.60}")
    for index, message in enumerate(value):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise WrongRequestError(f"messages.{index}", f"messages.{index} must be an object with a role")
    return value


def _count(body: Mapping[str, Any], name: str) -> int | None:
    value = body.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise WrongRequestError(name, f"{name} must be 1 or more, not {value!r:.60}")
    return value


def _stop(value: Any) -> tuple[str, ...]:
    stop = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(stop, list) or not all(isinstance(each, str) for each in stop):
        raise WrongRequestError("stop", f"stop must be a text or a list of texts, not {value!r:.60}")
    return tuple(filter(None, stop))


def _tools(value: Any) -> list[Tool]:
    tools = []
    for index, tool in enumerate(value or []):
        kind = str(tool.get("type", "function")) if isinstance(tool, Mapping) else ""
        inner = tool.get(kind) if kind in {"function", "custom"} else None
        if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
            raise WrongRequestError(f"tools.{index}", f"tools.{index} must be a function or a custom tool with a name")
        tools.append(Tool(inner["name"], kind, str(inner.get("description", "")), inner.get("parameters")))
    return tools


def _tool_choice(value: Any, tools: tuple[Tool, ...]) -> str:
    if isinstance(value, Mapping):
        inner = value.get(str(value.get("type")))
        name = inner.get("name") if isinstance(inner, Mapping) else None
        if value.get("type") == "allowed_tools" and isinstance(inner, Mapping):
            return "required" if inner.get("mode") == "required" else "auto"
        if name not in [tool.name for tool in tools]:
            raise WrongRequestError("tool_choice", f"tool_choice names {name!r}, which is not among the tools")
        return str(name)
    if value not in {None, "none", "auto", "required"}:
        raise WrongRequestError("tool_choice", f"tool_choice must be none, auto, required or a tool, not {value!r:.60}")
    if value == "required" and not tools:
        raise WrongRequestError("tool_choice", "tool_choice is required, and there are no tools")
    return value or "auto"


def _schema(value: Any) -> Any:
    if not isinstance(value, Mapping) or value.get("type") in {None, "text"}:
        return None
    if value["type"] == "json_object":
        return {"type": "object", "properties": {"answer": {"type": "string"}}}
    outer = value.get("json_schema")
    if value["type"] != "json_schema" or not isinstance(outer, Mapping):
        raise WrongRequestError("response_format", "response_format must be text, json_object or json_schema")
    return outer.get("schema", {"type": "object"})
