"""Find the tool call that each piece belongs to, on what gateways really send."""

from __future__ import annotations

import reprlib
from typing import Any

from .index import as_index
from .tool_call import ToolCall, id_of, in_function, is_empty, name_and_text_of


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
            piece = in_function(given)
            index = as_index(piece.get("index"))
            name, text = name_and_text_of(piece)
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
            elif call.is_valid() if finished else call.name and call.is_complete() and not is_empty(str(call.input)):
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
        call_id = id_of(piece)
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
        call_id = id_of(piece)
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
            if is_empty(str(known)):
                call.restart()
            else:
                following = self._opened(call.order, index)
                following.name, following.type, following.before = call.name, call.type, call
                self._changed[following.arrival] = call = following
                known = call.input
            rest = known.take(rest)
