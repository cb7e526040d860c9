"""Pieces of tool calls to whole calls, on what gateways really send."""

from __future__ import annotations

import json
import reprlib
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
        self.id = self.id or _call_id(piece)
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
        return text.strip() == str(self.input).strip() or _is_lone(text)

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


class ToolCalls:
    """All calls of one message, told apart by index, id, and where the arguments of one end.

    - A piece belongs to the call of its index, without index to that of its id, else to the last one.
    - A piece at an unknown index that has neither id nor name belongs to the newest call that is not whole.
    - Another id begins another call.
    - The start of an object behind a whole one begins another call of the same name (hermes-agent#62937).
    - Another name, be it a longer one, begins another call if the arguments of the last one are whole, else it is the
      rest of the name.
    - A name and arguments that stand beside the id are those of the function.
    - A call without a name is told as unusable, and one without anything is none.
    - The same whole object again, or `{}` before or behind another object, is no call (openai-agents-js#712), but two
      equal calls in one list are two.
    - Arguments that begin with all that came before replace them (hermes-agent#35592).
    """

    __slots__ = ("_at_index", "_by_id", "_changed", "_finished", "_known", "calls")

    def __init__(self) -> None:
        self.calls: list[ToolCall] = []
        # The newest call at an index: pieces without an id go there.
        self._at_index: dict[int, ToolCall] = {}
        self._by_id: dict[str, ToolCall] = {}
        # By arrival, those that a piece has come for since it was asked whether they are whole: to ask all of
        # them each time would be quadratic.
        self._changed: dict[int, ToolCall] = {}
        self._finished = False
        # How many calls there were before the list at hand.
        self._known = 0

    def add(self, pieces: list[Any]) -> None:
        """Take the pieces of one delta; raises `ValueError` for a piece that is no object."""
        self._known = len(self.calls)
        for given in pieces:
            if given is None or given == "":
                continue
            if not isinstance(given, dict):
                raise ValueError(f"a tool call piece is {reprlib.repr(given)}, which is not an object")
            piece = _in_function(given)
            index = as_index(piece.get("index"))
            name, text = _name_and_text(piece)
            call = self._call_of(piece, index, name, text)
            call.add(piece)
            if call.id:
                self._by_id[call.id] = call
            self._changed[call.arrival] = call
            if text:
                self._take_text(call, text, index)

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
        self._changed[call.arrival] = call
        if "{" in text:
            self._take_text(call, text, index)
        else:
            call.input.append(text)

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
            elif call.is_valid() if finished else call.name and call.is_complete() and not _is_lone(str(call.input)):
                # Arguments may follow those that are empty: before the end, such a call is not whole.
                if call.is_repeat():
                    continue
                call.announced = True
                whole.append(call)
        return whole

    def unusable(self, *, finished: bool) -> list[ToolCall]:
        """Return the calls that `newly_whole` never returns; `finished` if the message ended as a whole one."""
        last = self.calls[-1] if self.calls else None
        return [
            call
            for call in self.ordered()
            if not (
                call.announced
                or (call.is_valid() if finished else call.name and call is not last and call.is_complete())
            )
        ]

    def ordered(self) -> list[ToolCall]:
        """Return the calls by index, then by arrival."""
        return sorted(
            (call for call in self.calls if not (call.is_repeat() or call.is_none())), key=lambda call: call.order
        )

    def _call_of(self, piece: dict[str, Any], index: int | None, name: str, text: str) -> ToolCall:
        """Find the call that a piece belongs to, or open it.

        Indices may be missing, always 0 or start late (openai-python#2806, ollama#15457, litellm#21331).
        """
        call_id = _call_id(piece)
        call = self._without_index(call_id, name) if index is None else self._at_index.get(index)
        if call is None and not (call_id or name) and (unfinished := self._unfinished()):
            return unfinished
        if call is None:
            last = self.calls[-1] if self.calls else None
            return self._opened(index if index is not None else last.order if last else 0, index)
        if index is not None and call_id and call.id and call.id != call_id:
            known = self._by_id.get(call_id)
            if known is not None:
                return known
            # Poolside changes the id after the first piece (pool#9): arguments without a name open nothing.
            return self._opened(index, index) if name or not text else call
        if self._begins(call, piece, name, text) or self._is_twin(call, call_id, name, text):
            return self._opened(call.order, index)
        return call

    def _begins(self, call: ToolCall, piece: dict[str, Any], name: str, text: str) -> bool:
        """Tell whether the name of a piece, which has no other id than a call, begins another one."""
        if not name or name == call.name or not call.name or call.type == "custom":
            return False
        call_id = _call_id(piece)
        if name.startswith(call.name):
            # A name that grows, unless the arguments have come: `get_all` behind `get` is another tool.
            return call.is_whole() and not (call_id and call_id == call.id)
        if not call.has_input():
            # The rest of a name, unless all looks like the beginning of a call, on a host without ids.
            return bool(piece.get("type")) and not call.id and not call_id
        if text.lstrip().startswith("{"):
            return call.is_whole() or not call.input.begins(text)
        # Behind an object that is not closed, arguments go on, and so does the name.
        return (not call_id or call_id != call.id) and (call.is_whole() or not text)

    def _unfinished(self) -> ToolCall | None:
        """Return the newest call whose arguments are not whole (agno#8880)."""
        return next((call for call in reversed(self.calls) if not call.is_whole()), None)

    def _is_twin(self, call: ToolCall, call_id: str, name: str, text: str) -> bool:
        """Tell whether a whole call equals one that began in the same list, which is no repeat of it."""
        if call.arrival < self._known or not name or name != call.name or (call_id and call_id == call.id):
            return False
        return call.is_whole() and text.strip() == str(call.input).strip()

    def _without_index(self, call_id: str, name: str) -> ToolCall | None:
        last = self.calls[-1] if self.calls else None
        if last is None:
            return None
        if call_id:
            known = self._by_id.get(call_id)
            # An id that comes late joins the call that waits for one.
            return last if known is None and not last.id and not name else known
        return None if not last.has_input() and last.name not in ("", name) and name else last

    def _opened(self, order: int, index: int | None) -> ToolCall:
        call = ToolCall(order, len(self.calls))
        self.calls.append(call)
        if index is not None:
            self._at_index[index] = call
        return call

    def _take_text(self, call: ToolCall, text: str, index: int | None) -> None:
        """Take arguments into a call, and into others that begin in the midst of them."""
        known = call.input
        if call.type == "custom":
            known.append(text)
            return
        if text.lstrip().startswith("{") and known.begins(text):
            # A snapshot: all that has come, and more of it.
            call.restart()
        rest = known.take(text)
        while rest:
            if _is_lone(str(known)):
                call.restart()
            else:
                following = self._opened(call.order, index)
                following.name, following.type, following.before = call.name, call.type, call
                self._changed[following.arrival] = call = following
                known = call.input
            rest = known.take(rest)


def joined_name(known: Any, name: Any) -> Any:
    """Join a name that comes in pieces; a name that is repeated, or sent so far as it has come, counts once."""
    if not isinstance(name, str) or not isinstance(known, str):
        return known or name
    return name if name.startswith(known) else known + name


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


def _in_function(piece: dict[str, Any]) -> dict[str, Any]:
    """Return a piece of a call with its name and its arguments in `function`, where they stand beside its id."""
    if piece.get("function") or piece.get("custom") or piece.keys().isdisjoint(_FUNCTION_FIELDS):
        return piece
    inner = {name: piece[name] for name in _FUNCTION_FIELDS if piece.get(name) is not None}
    return {**{name: value for name, value in piece.items() if name not in _FUNCTION_FIELDS}, "function": inner}


def _name_and_text(piece: dict[str, Any]) -> tuple[str, str]:
    """Return the name in a piece of a call, and its arguments or input as text; empty for what is missing."""
    for key, text_field in (("function", "arguments"), ("custom", "input")):
        inner = piece.get(key)
        if isinstance(inner, dict) and inner:
            name, text = inner.get("name"), inner.get(text_field)
            return name if isinstance(name, str) else "", "" if text is None else as_text(text)
    return "", ""


def _is_lone(text: str) -> bool:
    return "".join(text.split()) == "{}"


def _call_id(piece: dict[str, Any]) -> str:
    value = piece.get("id")
    # Some gateways send a blank in the pieces that follow the first (vercel/ai#18440).
    return as_text(value) if value and not (isinstance(value, str) and value.isspace()) else ""


def _plain_fields(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: snapshot(value) for name, value in fields.items()}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _INVALID
