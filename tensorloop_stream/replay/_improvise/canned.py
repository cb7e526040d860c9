"""Made-up answers: plainly canned texts, calls that fit a tool, JSON that fits a schema. No I/O."""

import json
from collections import Counter
from collections.abc import Iterator
from textwrap import shorten

from tensorloop_stream.replay._schemas.example import example_of

from .chat_request import ChatRequest, Tool, text_in
from .choices import Call, Choice, limited

_SHOWN = 60
_HOW = "For a real answer, set TENSORLOOP_KEY, or the key of your service, and run the program without the replay."
_ATTACHMENTS = {"image_url": "image", "input_audio": "recording"}


def canned(request: ChatRequest) -> list[Choice]:
    """Return made-up choices, as many as are asked for, within the limits that the request sets.

    Raises `NoExampleError` where no value was found for a schema.
    """
    return [limited(each, request.stop, request.max_tokens) for each in _choices(request)]


def _choices(request: ChatRequest) -> Iterator[Choice]:
    for number in range(request.n):
        if request.wants_call:
            yield Choice(calls=(_call(_tool(request), _hint(request.prompt)),), finish_reason="tool_calls")
        elif request.schema is not None:
            yield Choice(json.dumps(example_of(request.schema), ensure_ascii=False))
        else:
            yield Choice(_text(request, number))


def _text(request: ChatRequest, number: int) -> str:
    """Return a text that says that it is canned, what was asked, and how to get a real one."""
    which = "" if request.n == 1 else f", choice {number + 1} of {request.n}"
    last = request.messages[-1]
    said = shorten(text_in(last), _SHOWN, placeholder=" ...")
    quoted = f' "{said}"' if said else ""
    what = f"the result of {_called(request)}" if request.has_tool_results else "your message"
    count = len(request.messages)
    messages = f"{count} message{'s' if count > 1 else ''}{_attachments(request)}"
    return f"This is a canned answer{which}: no model has read {what}{quoted} ({messages} arrived). {_HOW}"


def _attachments(request: ChatRequest) -> str:
    counts = Counter(_ATTACHMENTS.get(kind, "file") for kind in request.attachments)
    return "".join(f" and {count} {kind}{'s' if count > 1 else ''}" for kind, count in counts.items())


def _called(request: ChatRequest) -> str:
    """Return the name of the tool that gave the last result."""
    asked = request.messages[-1].get("tool_call_id")
    for message in request.messages:
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            inner = call.get(call.get("type") or "function") if isinstance(call, dict) else None
            if isinstance(inner, dict) and call.get("id") == asked:
                return str(inner.get("name"))
    return str(request.messages[-1].get("name") or "the tool")


def _tool(request: ChatRequest) -> Tool:
    """Return the tool that is asked for, else the one whose description has most words of the prompt."""
    for tool in request.tools:
        if tool.name == request.tool_choice:
            return tool
    asked = set(_words(request.prompt))
    return max(request.tools, key=lambda tool: len(asked.intersection(_words(f"{tool.name} {tool.description}"))))


def _words(text: str) -> list[str]:
    # Short words, such as "the", say nothing.
    return [word for word in "".join(each if each.isalnum() else " " for each in text.lower()).split() if len(word) > 3]


def _call(tool: Tool, hint: str) -> Call:
    if tool.kind == "custom":
        return Call(tool.name, "canned input", "custom")
    arguments = example_of(tool.schema, hint) if tool.schema else {}
    return Call(tool.name, json.dumps(arguments, ensure_ascii=False))


def _hint(prompt: str) -> str:
    """Return the last name in a prompt, such as the city whose weather is asked for."""
    words = [word.strip(".,;:!?\"'()") for word in prompt.split()[1:]]
    names = [word for word in words if word[:1].isupper() and len(word) > 1 and word.isalpha()]
    return names[-1] if names else ""
