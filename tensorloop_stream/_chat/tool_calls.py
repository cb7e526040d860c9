"""Pieces of tool calls to whole calls, on what gateways really send."""

from __future__ import annotations

import json
import reprlib
from typing import TYPE_CHECKING, Any

from openai.types.chat import ChatCompletionMessageCustomToolCall, ChatCompletionMessageFunctionToolCall

from .merge import TextBuffer, as_text, merge, snapshot
from .models import build_model

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageToolCallUnion

_CALL_FIELDS = frozenset({"index", "id", "type", "function", "custom"})
_FUNCTION_FIELDS = frozenset({"name", "arguments"})
_CUSTOM_FIELDS = frozenset({"name", "input"})
_INVALID = object()


class ToolCall:
    """One call as far as it has come."""

    __slots__ = ("announced", "arrival", "extra", "id", "inner_extra", "input", "name", "order", "type")

    def __init__(self, order: int, arrival: int) -> None:
        self.order = order
        self.arrival = arrival
        self.id = ""
        self.type = ""
        self.name = ""
        self.input = TextBuffer()
        self.extra: dict[str, Any] = {}
        self.inner_extra: dict[str, Any] = {}
        self.announced = False

    def add(self, piece: dict[str, Any]) -> None:
        """Take one piece; id, type and name may be repeated in every piece and count once."""
        self.id = self.id or _call_id(piece)
        self.type = self.type or piece.get("type") or ""
        for key, inner_fields, text_field in (
            ("function", _FUNCTION_FIELDS, "arguments"),
            ("custom", _CUSTOM_FIELDS, "input"),
        ):
            inner = piece.get(key)
            if not isinstance(inner, dict):
                continue
            if key == "custom":
                self.type = self.type or "custom"
            self.name = self.name or inner.get("name") or ""
            text = inner.get(text_field)
            if text is not None and text != "":
                self.input.append(as_text(text))
            for name, value in inner.items():
                if name not in inner_fields:
                    merge(self.inner_extra, name, value)
        for name, value in piece.items():
            if name not in _CALL_FIELDS:
                merge(self.extra, name, value)

    def has_input(self) -> bool:
        """Tell whether any argument text has come."""
        return bool(self.input)

    def is_complete(self) -> bool:
        """Tell whether the arguments are a whole JSON object, so that nothing can follow."""
        return self.type != "custom" and isinstance(_parsed(str(self.input)), dict)

    def is_valid(self) -> bool:
        """Tell whether the call may be executed once the stream says it has ended."""
        text = str(self.input)
        return self.type == "custom" or not text.strip() or _parsed(text) is not _INVALID

    def to_dict(self) -> dict[str, Any]:
        """Return the call as a finished message holds it: without `index`."""
        custom = self.type == "custom"
        inner = {
            "name": self.name,
            "input" if custom else "arguments": str(self.input),
            **_plain_fields(self.inner_extra),
        }
        call: dict[str, Any] = {"id": self.id} if self.id else {}
        kind = self.type or "function"
        return {**call, "type": kind, "custom" if custom else "function": inner, **_plain_fields(self.extra)}

    def to_model(self) -> ChatCompletionMessageToolCallUnion:
        """Return the call as the SDK's type."""
        if self.type == "custom":
            return build_model(ChatCompletionMessageCustomToolCall, self.to_dict())
        return build_model(ChatCompletionMessageFunctionToolCall, self.to_dict())


class ToolCalls:
    """All calls of one message, told apart by index and id."""

    __slots__ = ("_at_index", "_by_id", "_changed", "_finished", "calls")

    def __init__(self) -> None:
        self.calls: list[ToolCall] = []
        # The newest call at an index: pieces without an id go there.
        self._at_index: dict[int, ToolCall] = {}
        self._by_id: dict[str, ToolCall] = {}
        # By arrival, those that a piece has come for since it was asked whether they are whole: to ask all of
        # them each time would be quadratic.
        self._changed: dict[int, ToolCall] = {}
        self._finished = False

    def add(self, pieces: list[Any]) -> None:
        """Take the pieces of one delta; raises `ValueError` for a piece that is no object."""
        for piece in pieces:
            if piece is None:
                continue
            if not isinstance(piece, dict):
                raise ValueError(f"a tool call piece is {reprlib.repr(piece)}, which is not an object")
            call = self._call_of(piece)
            call.add(piece)
            self._changed[call.arrival] = call
            if call.id:
                self._by_id.setdefault(call.id, call)

    def continues(self, piece: Any) -> bool:
        """Tell whether a piece brings more arguments for a known call, and nothing else."""
        if type(piece) is not dict:
            return False
        index, inner = piece.get("index"), piece.get("function")
        if len(piece) > 3 or type(index) is not int or type(inner) is not dict or len(inner) != 1:
            return False
        call, text = self._at_index.get(index), inner.get("arguments")
        if call is None or type(text) is not str or not text:
            return False
        # LiteLLM repeats the type in every piece.
        return len(piece) != 3 or piece.get("type") == (call.type or "function")

    def extend(self, index: int, text: str) -> None:
        """Extend the arguments of the newest call at an index."""
        call = self._at_index[index]
        call.input.append(text)
        self._changed[call.arrival] = call

    def newly_whole(self, *, finished: bool) -> list[ToolCall]:
        """Return, once each and in order of arrival, the calls that are whole now.

        A call is whole when a later one has begun and its arguments are a complete JSON object, or when the
        message is `finished` and its arguments are valid JSON or empty.
        """
        asked = [self._changed[arrival] for arrival in sorted(self._changed)]
        if finished and not self._finished:
            asked = self.calls
        self._finished = finished
        self._changed = {}
        whole = []
        for call in asked:
            if call.announced:
                continue
            if not finished and call is self.calls[-1]:
                self._changed[call.arrival] = call
            elif call.is_valid() if finished else call.is_complete():
                call.announced = True
                whole.append(call)
        return whole

    def ordered(self) -> list[ToolCall]:
        """Return the calls by index, then by arrival."""
        return sorted(self.calls, key=lambda call: call.order)

    def _call_of(self, piece: dict[str, Any]) -> ToolCall:
        """Find the call that a piece belongs to, or open it.

        Indices may be missing, always 0 or start late (openai-python#2806, ollama#15457, litellm#21331).
        """
        index, call_id = as_index(piece.get("index")), _call_id(piece)
        if index is None:
            return self._without_index(piece, call_id)
        call = self._at_index.get(index)
        if call is None:
            return self._opened(index, index)
        if call_id and call.id and call.id != call_id:
            known = self._by_id.get(call_id)
            if known is None:
                name, text = _name_and_text(piece)
                # Poolside changes the id after the first piece (pool#9): arguments without a name open nothing.
                return self._opened(index, index) if name or not text else call
            return known
        return call

    def _without_index(self, piece: dict[str, Any], call_id: str) -> ToolCall:
        last = self.calls[-1] if self.calls else None
        if last is None:
            return self._opened(0, None)
        name, _ = _name_and_text(piece)
        if call_id:
            known = self._by_id.get(call_id)
            if known is None and not last.id and not name:
                # An id that comes late joins the call that waits for one.
                known = last
        else:
            known = None if name and (last.has_input() or last.name not in ("", name)) else last
        return self._opened(last.order, None) if known is None else known

    def _opened(self, order: int, index: int | None) -> ToolCall:
        call = ToolCall(order, len(self.calls))
        self.calls.append(call)
        if index is not None:
            self._at_index[index] = call
        return call


def as_index(value: object) -> int | None:
    """Return an index as a number, `None` if it is missing or none; some gateways send it as text."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return None


def _name_and_text(piece: dict[str, Any]) -> tuple[Any, Any]:
    inner = piece.get("function") or piece.get("custom")
    if not isinstance(inner, dict):
        return None, None
    return inner.get("name"), inner.get("arguments") or inner.get("input")


def _call_id(piece: dict[str, Any]) -> str:
    value = piece.get("id")
    return as_text(value) if value else ""


def _plain_fields(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: snapshot(value) for name, value in fields.items()}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _INVALID
