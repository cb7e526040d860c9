"""Kinds of requests for a chat completion, and whether a recorded answer serves a request. No I/O."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from tensorloop_stream.replay._schemas.check import fits

from .chat_request import ChatRequest
from .choices import Choice, limited


class Kind(NamedTuple):
    """The part of a request that decides the shape of its answer."""

    stream: bool
    n: int
    wants_call: bool
    is_structured: bool
    has_attachments: bool
    logprobs: bool

    @property
    def is_plain(self) -> bool:
        """Whether any text is an answer."""
        return self == Kind(self.stream, 1, False, False, False, False)


def kind_of(request: ChatRequest) -> Kind:
    """Return the kind of a request."""
    return Kind(
        request.stream,
        request.n,
        request.wants_call,
        request.schema is not None and not request.wants_call,
        bool(request.attachments),
        request.logprobs,
    )


def serves(choices: Sequence[Choice], request: ChatRequest) -> bool:
    """Return whether recorded choices are what a request may be answered with."""
    return len(choices) == request.n and all(_serves(choice, request) for choice in choices)


def _serves(choice: Choice, request: ChatRequest) -> bool:
    if (
        choice.finish_reason not in {"stop", "tool_calls"}
        or limited(choice, request.stop, request.max_tokens) != choice
    ):
        return False
    if request.wants_call:
        allowed = {tool.name: tool for tool in request.tools if request.tool_choice in {tool.name, "auto", "required"}}
        return bool(choice.calls) and all(
            call.name in allowed and (call.kind == "custom" or _is_json_for(allowed[call.name].schema, call.arguments))
            for call in choice.calls
        )
    if choice.calls:
        return False
    return request.schema is None or _is_json_for(request.schema, choice.text)


def _is_json_for(schema: object, text: str) -> bool:
    try:
        return fits({} if schema is None else schema, json.loads(text))
    except ValueError:
        return False
