"""One tool call as far as it has come: what it is called with, and whether it may be run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from openai.types.chat import ChatCompletionMessageCustomToolCall, ChatCompletionMessageFunctionToolCall

from tensorloop_stream._stream.models import build_model
from tensorloop_stream._stream.text import as_text

from .json_object import ObjectText
from .merge import merge, snapshot

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageToolCallUnion

_CALL_FIELDS = frozenset({"index", "id", "type", "function", "custom"})
_FUNCTION_FIELDS = frozenset({"name", "arguments"})
_CUSTOM_FIELDS = frozenset({"name", "input"})
_INVALID = object()


class ToolCall:
    """One call as far as it has come."""

    __slots__ = (
        "_is_object", "announced", "arrival", "before", "extra", "has_arguments", "id", "inner_extra",
        "input", "name", "order", "type",
    )  # fmt: skip

    def __init__(self, order: int, arrival: int) -> None:
        self.order = order
        self.arrival = arrival
        self.id = ""
        self.type = ""
        self.name = ""
        self.input = ObjectText()
        self.extra: dict[str, Any] = {}
        self.inner_extra: dict[str, Any] = {}
        self.announced = False
        # Whether the gateway sent any arguments, were they empty.
        self.has_arguments = False
        # The call whose arguments ended where these begin, if nothing else tells the two apart.
        self.before: ToolCall | None = None
        self._is_object: bool | None = None

    def add(self, piece: dict[str, Any]) -> None:
        """Take all of a piece but its arguments; id, type and name may be repeated in every piece and count once."""
        self.id = self.id or id_of(piece)
        self.type = self.type or piece.get("type") or ("custom" if isinstance(piece.get("custom"), dict) else "")
        for key, inner_fields in (("function", _FUNCTION_FIELDS), ("custom", _CUSTOM_FIELDS)):
            inner = piece.get(key)
            if not isinstance(inner, dict):
                continue
            self.name = joined_name(self.name, inner.get("name") or "")
            self.has_arguments = self.has_arguments or inner.get("arguments") is not None
            for name, value in inner.items():
                if name not in inner_fields:
                    merge(self.inner_extra, name, value)
        for name, value in piece.items():
            if name not in _CALL_FIELDS:
                merge(self.extra, name, value)

    def is_none(self) -> bool:
        """Tell whether the call is none: neither a name nor an id nor arguments have come."""
        return not (self.name or self.id or self.input)

    def has_input(self) -> bool:
        """Tell whether any argument text has come."""
        return bool(self.input)

    def is_whole(self) -> bool:
        """Tell whether the arguments end with a closed object, which need not be valid."""
        self.input.look()
        return self.input.state == "whole" and self.type != "custom"

    def is_complete(self) -> bool:
        """Tell whether the arguments are a whole JSON object, so that nothing can follow."""
        if not self.is_whole():
            return False
        if self._is_object is None:
            # Once: what is closed cannot change but by blanks.
            self._is_object = isinstance(_parsed(str(self.input)), dict)
        return self._is_object

    def is_valid(self) -> bool:
        """Tell whether the call may be executed once the stream says it has ended."""
        if not self.name:
            return False
        if self.type == "custom" or self.is_complete():
            return True
        text = str(self.input)
        return not text.strip() or (self.input.state != "whole" and _parsed(text) is not _INVALID)

    def restart(self) -> None:
        """Forget the arguments that came."""
        self.input.clear()
        self._is_object = None

    def is_repeat(self) -> bool:
        """Tell whether the call is none: the arguments of the one before again, or `{}` behind them."""
        return self.before is not None and self.before.is_followed_by(str(self.input))

    def is_followed_by(self, text: str) -> bool:
        """Tell whether a whole object behind these arguments adds nothing to them."""
        return text.strip() == str(self.input).strip() or is_empty(text)

    def to_dict(self, *, runnable: bool = False) -> dict[str, Any]:
        """Return the call as a finished message holds it: without `index`.

        With `runnable`, a call of which no arguments were sent has those of an answer with `stream=False`.
        """
        custom = self.type == "custom"
        text = str(self.input)
        if runnable and not custom and not (text or self.has_arguments):
            text = "{}"
        inner = {
            "name": self.name,
            "input" if custom else "arguments": text,
            **_plain_fields(self.inner_extra),
        }
        call: dict[str, Any] = {"id": self.id} if self.id else {}
        kind = self.type or "function"
        return {**call, "type": kind, "custom" if custom else "function": inner, **_plain_fields(self.extra)}

    def to_model(self, *, runnable: bool = False) -> ChatCompletionMessageToolCallUnion:
        """Return the call as the SDK's type."""
        kind: Any = ChatCompletionMessageFunctionToolCall
        if self.type == "custom":
            kind = ChatCompletionMessageCustomToolCall
        call: ChatCompletionMessageToolCallUnion = build_model(kind, self.to_dict(runnable=runnable))
        return call


def joined_name(known: Any, name: Any) -> Any:
    """Join a name that comes in pieces; a name that is repeated, or sent so far as it has come, counts once."""
    if not isinstance(name, str) or not isinstance(known, str):
        return known or name
    return name if name.startswith(known) else known + name


def id_of(piece: dict[str, Any]) -> str:
    """Return the id in a piece of a call; empty if it has none."""
    value = piece.get("id")
    # Some gateways send a blank in the pieces that follow the first (vercel/ai#18440).
    return as_text(value) if value and not (isinstance(value, str) and value.isspace()) else ""


def in_function(piece: dict[str, Any]) -> dict[str, Any]:
    """Return a piece of a call with its name and its arguments in `function`, where they stand beside its id."""
    if piece.get("function") or piece.get("custom") or piece.keys().isdisjoint(_FUNCTION_FIELDS):
        return piece
    inner = {name: piece[name] for name in _FUNCTION_FIELDS if piece.get(name) is not None}
    return {**{name: value for name, value in piece.items() if name not in _FUNCTION_FIELDS}, "function": inner}


def name_and_text_of(piece: dict[str, Any]) -> tuple[str, str]:
    """Return the name in a piece of a call, and its arguments or input as text; empty for what is missing."""
    for key, text_field in (("function", "arguments"), ("custom", "input")):
        inner = piece.get(key)
        if isinstance(inner, dict) and inner:
            name, text = inner.get("name"), inner.get(text_field)
            return name if isinstance(name, str) else "", "" if text is None else as_text(text)
    return "", ""


def is_empty(text: str) -> bool:
    """Tell whether arguments are an object without fields."""
    return "".join(text.split()) == "{}"


def _plain_fields(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: snapshot(value) for name, value in fields.items()}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _INVALID
