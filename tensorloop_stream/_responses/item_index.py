"""Find the output item that an event, or a complete item, speaks of: by type and id, call id or index."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from .items import Item

if TYPE_CHECKING:
    from collections.abc import Mapping

# No index is longer; Python refuses to read numbers of thousands.
_MAX_DIGITS = 10


class ItemIndex:
    """The items of one response, by the names under which events speak of them."""

    __slots__ = ("_found", "_open", "items")

    def __init__(self) -> None:
        self.items: list[Item] = []
        # The items by type and id, call id or index, the last of each; and those that may not be done, by type.
        self._found: dict[tuple[str, str, Any], Item] = {}
        self._open: dict[str, list[Item]] = {}

    def items_of(self, values: list[dict[str, Any]]) -> list[Item]:
        """Return the items of an output: by their ids, else at their places, else the next of their types, else new."""
        # By ids first: no other may take the place of one that is known.
        found: list[Item | None] = []
        taken: set[int] = set()
        for value in values:
            same = self._same_item(value, kind_of(value))
            found.append(same if same is not None and id(same) not in taken else None)
            taken.add(id(same))
        left: dict[str, deque[Item]] = {}
        for item in self.items:
            left.setdefault(item.kind, deque()).append(item)
        items = []
        for index, value in enumerate(values):
            kind, one = kind_of(value), found[index]
            if one is None:
                one, same_kind = self._found.get((kind, "index", index)), left.get(kind)
                while (one is None or id(one) in taken) and same_kind:
                    one = same_kind.popleft()
                if one is None or id(one) in taken:
                    one = self.new_item(kind, index)
                taken.add(id(one))
            items.append(one)
        return items

    def item_of(self, event: Mapping[str, Any], kind: str) -> Item:
        """Return the item that an event extends: of this type, by its id, else its index, else the last not done.

        Its id may be that of the call (opencodex#1361).
        """
        item_id, call_id, index = event.get("item_id"), event.get("call_id"), index_of(event.get("output_index"))
        found = None
        for name, wanted in (("id", item_id), ("call_id", item_id), ("call_id", call_id)):
            if found is None and isinstance(wanted, str) and wanted:
                found = self._found.get((kind, name, wanted))
        if found is None:
            found = self._last_open(kind) if index is None else self._found.get((kind, "index", index))
        if found is None:
            found = self.new_item(kind, index)
            if item_id or call_id:
                found.fields |= {name: value for name, value in (("id", item_id), ("call_id", call_id)) if value}
                self.note(found)
        return found

    def known_item(self, value: Mapping[str, Any], kind: str, index: int | None, *, is_done: bool) -> Item | None:
        """Return the item that has come before: of the same type and id, call id, or index if it is not done."""
        if (same := self._same_item(value, kind)) is not None:
            return same
        found = self._found.get((kind, "index", index)) if index is not None else None
        if index is None and is_done:
            found = self._last_open(kind)
        if found is None or found.is_done:
            return None
        call_id = value.get("call_id")
        return None if call_id and found.call_id and found.call_id != call_id else found

    def new_item(self, kind: str, index: int | None) -> Item:
        """Add an item of this type at this index of the output, or behind the last item."""
        items = self.items
        place = index if index is not None else items[-1].order[0] if items else 0
        item = Item(kind, index, (place, len(items)))
        items.append(item)
        self._open.setdefault(kind, []).append(item)
        if index is not None:
            self._found[kind, "index", index] = item
        return item

    def note(self, item: Item) -> None:
        """Note the names by which an item is found."""
        for name, value in (("id", item.id), ("call_id", item.call_id)):
            if isinstance(value, str) and value:
                self._found[item.kind, name, value] = item

    def ordered(self) -> list[Item]:
        """Return the items by index, then by arrival; one without an index stands behind the one before it."""
        return sorted(self.items, key=lambda item: item.order)

    def _same_item(self, value: Mapping[str, Any], kind: str) -> Item | None:
        for name in ("id", "call_id"):
            wanted = value.get(name)
            if isinstance(wanted, str) and wanted and (found := self._found.get((kind, name, wanted))) is not None:
                return found
        return None

    def _last_open(self, kind: str) -> Item | None:
        """Return the last item of a type that is not done."""
        items = self._open.get(kind, [])
        while items and items[-1].is_done:
            items.pop()
        return items[-1] if items else None


def index_of(value: object) -> int | None:
    """Return an index of the wire, which may be a string; `None` for anything but a number from 0 on."""
    if type(value) is str and value.isdecimal() and len(value) < _MAX_DIGITS:
        return int(value)
    return value if type(value) is int and value >= 0 else None


def kind_of(item: Mapping[str, Any]) -> str:
    """Return the type of an item in its wire form; one that names none is a call or a message."""
    kind = item.get("type")
    if isinstance(kind, str) and kind:
        return kind
    return "function_call" if "arguments" in item else "message"
