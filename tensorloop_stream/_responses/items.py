"""One item of an output, as far as it has arrived; no I/O."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from .texts import Input, Text, piece_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# The fields of an item that hold parts, and the field of an item that is its input, by type.
_LISTS = ("summary", "content")
_WITH_PARTS = frozenset({"message", "reasoning"})
INPUTS = {
    "function_call": "arguments",
    "mcp_call": "arguments",
    "custom_tool_call": "input",
    "code_interpreter_call": "code",
}
# The field of a part that is its text.
_TEXT_FIELDS = {"refusal": "refusal"}


class Part:
    """One part of a message, or of the reasoning."""

    __slots__ = ("fields", "index", "kind", "lists", "text")

    def __init__(self, kind: str, index: int) -> None:
        self.kind = kind
        self.index = index
        self.text = Text()
        # What the gateway sent beside the text.
        self.fields: dict[str, Any] = {}
        # Those that grow: annotations, log probabilities.
        self.lists: dict[str, list[Any]] = {}

    @property
    def text_field(self) -> str:
        """The name of the field that is the text."""
        return _TEXT_FIELDS.get(self.kind, "text")

    def replace(self, part: Mapping[str, Any], *, is_last: bool = False) -> None:
        """Take a whole part: its text as a whole text, its lists unless they are empty, or hold empty objects.

        Of the last of all wholes, what it lacks is dropped.
        """
        if is_last:
            self.fields = {}
            self.lists = {name: values for name, values in self.lists.items() if values}
        for name, value in part.items():
            if name == self.text_field and self.kind in _TEXT_KINDS:
                self.text.replace(piece_text(value))
            elif name in {"annotations", "logprobs"} and isinstance(value, list):
                if value and all(value):
                    self.lists[name] = [*value]
                else:
                    self.lists.setdefault(name, [])
            elif value is not None or name not in self.fields:
                self.fields[name] = value

    def extend(self, name: str, values: Any) -> None:
        """Extend a list of the part."""
        if isinstance(values, list):
            self.lists.setdefault(name, []).extend(values)

    def to_dict(self) -> dict[str, Any]:
        """Return the part as an item holds it."""
        text = {self.text_field: str(self.text)} if self.kind in _TEXT_KINDS else {}
        lists = {name: [*values] for name, values in self.lists.items()}
        return {"type": self.kind, **self.fields, **lists, **text}


def part_of(value: Any, kind: str) -> dict[str, Any] | None:
    """Return a part in whatever form it came, of this type if it names none; `None` if it is no part.

    A text alone is one, and `text` is the name of `output_text` in other APIs.
    """
    if isinstance(value, str):
        return {"type": kind, "text": value}
    if not isinstance(value, dict):
        return None
    own = value.get("type")
    if isinstance(own, str) and own and not (own == "text" and kind == "output_text"):
        return value
    return {**value, "type": "refusal" if "refusal" in value and "text" not in value else kind}


_TEXT_KINDS = frozenset({"output_text", "refusal", "summary_text", "reasoning_text", "text"})
# The parts whose text is text, a refusal or reasoning, by the type of their item.
_CHANNELS = {
    ("message", "output_text"): "text",
    ("message", "refusal"): "refusal",
    ("reasoning", "summary_text"): "reasoning",
    ("reasoning", "reasoning_text"): "reasoning",
    # LiteLLM's bridge sends reasoning as the content of a message at the end.
    ("reasoning", "output_text"): "reasoning",
    ("reasoning", "text"): "reasoning",
}


class Item:
    """One item of the output: a message, reasoning, a call, or anything else."""

    __slots__ = ("_part_at", "fields", "index", "input", "is_announced", "is_done", "kind", "order", "parts")

    def __init__(self, kind: str, index: int | None, order: tuple[int, int]) -> None:
        self.kind = kind
        self.index = index
        # Its index, or that of the item before it, then its arrival.
        self.order = order
        # What the gateway sent beside parts and input.
        self.fields: dict[str, Any] = {}
        self.parts: dict[str, list[Part]] = {}
        self._part_at: dict[tuple[str, str, int], Part] = {}
        self.input = Input() if kind in INPUTS else None
        # Whether a whole of it came, and whether its call was handed to the caller.
        self.is_done = self.is_announced = False

    @property
    def id(self) -> Any:
        """Its id, `None` without one."""
        return self.fields.get("id")

    @property
    def call_id(self) -> Any:
        """The id of its call, `None` without one."""
        return self.fields.get("call_id")

    def add(self, item: Mapping[str, Any], *, is_last: bool = False) -> None:
        """Take an item as it began, or as it is whole; the last of all replaces what came before.

        If it holds any part, its parts are those of the item. Parts that were streamed stay where it holds none.
        """
        has_parts = self.has_parts(item)
        input_field = INPUTS.get(self.kind)
        fields = {}
        for name, value in item.items():
            is_parts = name in _LISTS and self.kind in _WITH_PARTS
            if is_parts and (isinstance(value, list) or (value is None and name in self.parts)):
                self._add_parts(name, value or [], has_parts=has_parts, is_last=is_last)
            elif name == input_field and self.input is not None and value is not None:
                self.input.replace(value)
            else:
                fields[name] = value
        if has_parts and is_last:
            self.parts = {name: parts for name, parts in self.parts.items() if name in item}
        if is_last:
            self.fields = fields
        else:
            self.fields |= {
                name: value for name, value in fields.items() if value is not None or name not in self.fields
            }

    def with_parts(self, item: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a whole of this item whose content and summary are lists of parts, in whatever form they came."""
        own = {"content": "output_text" if self.kind == "message" else "reasoning_text", "summary": "summary_text"}
        forms = {name: item[name] for name in own if item.get(name)} if self.kind in _WITH_PARTS else {}
        if not forms:
            return item
        lists = {name: value if isinstance(value, list) else [value] for name, value in forms.items()}
        parts = {name: [part_of(each, own[name]) for each in values] for name, values in lists.items()}
        return {**item, **{name: [part for part in values if part is not None] for name, values in parts.items()}}

    @staticmethod
    def has_parts(item: Mapping[str, Any]) -> bool:
        """Tell whether an item holds any part."""
        return any(isinstance(item.get(name), list) and item[name] for name in _LISTS)

    def _add_parts(self, name: str, values: list[Any], *, has_parts: bool, is_last: bool) -> None:
        known = self.parts.setdefault(name, [])
        if not has_parts:
            return
        parts: list[Part] = []
        left = {kind: deque(part for part in known if part.kind == kind) for kind in {part.kind for part in known}}
        for index, value in enumerate(values):
            if not isinstance(value, dict):
                continue
            kind = str(value.get("type", ""))
            part = self._part_at.pop((name, kind, index), None)
            if part is None and (same := left.get(kind)):
                part = same.popleft()
            elif part is not None and part in (same := left[kind]):
                same.remove(part)
            if part is None:
                part = Part(kind, index)
            part.index = index
            part.replace(value, is_last=is_last)
            parts.append(part)
        self.parts[name] = parts
        self._part_at = {at: part for at, part in self._part_at.items() if at[0] != name}
        self._part_at |= {(name, part.kind, part.index): part for part in parts}

    def part(self, name: str, kind: str, index: int | None) -> Part:
        """Return the part of this kind at an index, without an index the last; a new one if there is none."""
        parts = self.parts.setdefault(name, [])
        if index is None:
            found = next((part for part in reversed(parts) if part.kind == kind), None)
        else:
            found = self._part_at.get((name, kind, index))
        if found is not None:
            return found
        found = Part(kind, (parts[-1].index + 1 if parts else 0) if index is None else index)
        if kind == "output_text":
            # Of a part that no whole announced; programs go through it.
            found.lists["annotations"] = []
        is_behind = not parts or parts[-1].index <= found.index
        parts.append(found)
        if not is_behind:
            parts.sort(key=lambda part: part.index)
        self._part_at[name, kind, found.index] = found
        return found

    def text(self, channel: str) -> str:
        """Return what of the item is text, a refusal or reasoning."""
        return "".join(str(part.text) for part in self._all_parts() if _CHANNELS.get((self.kind, part.kind)) == channel)

    def is_told(self) -> bool:
        """Tell whether all of its texts begin with what came of them before."""
        return all(part.text.is_told for part in self._all_parts())

    def channel(self, kind: str) -> str:
        """Return the channel of a kind of parts; empty for one that is none of the text."""
        return _CHANNELS.get((self.kind, kind), "")

    def _all_parts(self) -> Iterator[Part]:
        for name in _LISTS:
            yield from self.parts.get(name, ())

    @property
    def is_call(self) -> bool:
        """Whether the caller is to run it."""
        return self.kind in {"function_call", "custom_tool_call"}

    @property
    def has_name(self) -> bool:
        """Whether the call says what is to be called."""
        return bool(self.fields.get("name"))

    @property
    def is_incomplete(self) -> bool:
        """Whether the gateway said that it was cut."""
        return self.fields.get("status") == "incomplete"

    def is_usable(self) -> bool:
        """Tell whether a call may be run: it has a name and was not cut, and the arguments of a function are JSON."""
        if self.is_incomplete or not self.has_name:
            return False
        return self.kind != "function_call" or self.input is None or self.input.is_valid()

    def to_dict(self) -> dict[str, Any]:
        """Return the item as an output holds it."""
        item: dict[str, Any] = {"type": self.kind} if "type" not in self.fields else {}
        item |= self.fields
        if self.input is not None and self.input.has_come:
            item[INPUTS[self.kind]] = str(self.input)
        for name, parts in self.parts.items():
            item[name] = [part.to_dict() for part in parts]
        return item
