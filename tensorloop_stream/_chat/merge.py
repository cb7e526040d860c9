"""Merge one field of a message: append text, extend lists, merge objects, replace the rest."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tensorloop_stream._stream.text import TextBuffer

from .vocabulary import JOINED_PARTS, PART_LISTS, PART_TEXTS, REASONING_PARTS

if TYPE_CHECKING:
    from collections.abc import Callable

# Joined by index and type, the named fields appended (OpenRouter's reasoning_details).
_DETAIL_TEXTS = ("text", "summary", "data")
# Of the list, a part, its thoughts, one of these, its text.
PARTS_DEPTH = 5
# The last word of a name that says that the field is text, and the words that say what text.
_TEXT_WORDS = frozenset({"text", "thought", "thoughts", "thinking", "reasoning", "content", "summary"})
_REASONING_WORDS = frozenset({"thought", "thoughts", "thinking", "reasoning"})
_WORD = re.compile("[A-Z]?[a-z]+|[A-Z]+|[0-9]+")


@lru_cache(maxsize=256)
def _words(name: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _WORD.findall(name))


def is_text_name(name: str) -> bool:
    """Tell whether the name of a field says that it is text: `reasoning_text`, but not `reasoning_opaque`."""
    words = _words(name)
    return bool(words) and words[-1] in _TEXT_WORDS


def is_reasoning_name(name: str) -> bool:
    """Tell whether the name of a field says that it is the text of thoughts."""
    return is_text_name(name) and not _REASONING_WORDS.isdisjoint(_words(name))


class _GrowingText(TextBuffer):
    """Text in pieces that knows its size, and whether it can be told from a token that comes twice."""

    __slots__ = ("is_long", "size")

    def __init__(self) -> None:
        super().__init__()
        self.size = 0
        self.is_long = False


def join_text(into: dict[str, Any], name: str, piece: str) -> str:
    """Join a piece to a text, and return what it adds: nothing if it repeats all that came (litellm#35021).

    The second of two equal pieces repeats the first only if that has several words: one word may be a token, and come
    twice.
    """
    text = into.get(name)
    if not isinstance(text, _GrowingText):
        text = into[name] = _GrowingText()
    if not piece or (text.is_long and len(piece) == text.size and piece == str(text)):
        return ""
    text.is_long = text.size > 0 or len(piece.split()) > 1
    text.size += len(piece)
    return text.append(piece)


def merge(into: dict[str, Any], name: str, value: Any) -> None:
    """Merge an unknown field: texts joined, lists extended, objects key by key, the rest replaced, null ignored.

    Lists in an object are replaced, but for those of `provider_specific_fields` and those that have a rule.
    """
    old = into.get(name)
    if value is None:
        return
    if isinstance(value, list):
        _merge_list(into, name, value)
    elif isinstance(value, dict):
        if not isinstance(old, dict):
            old = into[name] = {}
        for key, item in value.items():
            if isinstance(item, list) and (key in _LIST_RULES or name == "provider_specific_fields"):
                # LiteLLM puts pieces among the provider's own fields, also those that it knows (litellm#9103).
                _merge_list(old, key, item)
            elif isinstance(item, str) and is_text_name(key):
                join_text(old, key, item)
            elif item is not None:
                old[key] = item
    elif isinstance(value, str) and is_text_name(name):
        join_text(into, name, value)
    else:
        into[name] = value


def _merge_list(into: dict[str, Any], name: str, pieces: list[Any]) -> None:
    old = into.get(name)
    if not isinstance(old, list):
        old = into[name] = _LISTS.get(name, list)()
    _LIST_RULES.get(name, list.extend)(old, pieces)


def append_texts(into: dict[str, Any], piece: dict[str, Any], texts: tuple[str, ...]) -> dict[str, Any]:
    """Merge a piece of an object: the fields named in `texts` are appended, of the rest the last not empty stays."""
    for key, value in piece.items():
        if key in texts and isinstance(value, str):
            old = into.get(key)
            if not isinstance(old, TextBuffer):
                old = into[key] = TextBuffer()
            if value:
                old.append(value)
        elif value is not None and (value != "" or not into.get(key)):
            into[key] = value
    return into


def merge_thinking_blocks(blocks: list[Any], pieces: list[Any]) -> None:
    """Join pieces of a thinking block until its signature has come; other blocks are whole.

    So that a block can be sent back in the next turn (litellm#29428).
    """
    for piece in pieces:
        last = blocks[-1] if blocks else None
        if not (isinstance(piece, dict) and piece.get("type", "thinking") == "thinking"):
            blocks.append(piece)
        elif isinstance(last, dict) and last.get("type", "thinking") == "thinking" and not last.get("signature"):
            append_texts(last, piece, ("thinking",))
        else:
            blocks.append(append_texts({}, piece, ("thinking",)))


def merge_parts(parts: list[Any], pieces: list[Any], *, nested: bool = False) -> None:
    """Join the parts of a list: consecutive texts, or thoughts, are one; others are whole (Mistral, Databricks)."""
    for piece in pieces:
        part: Any = {"type": "text", "text": piece} if isinstance(piece, str) else piece
        if not isinstance(part, dict):
            parts.append(part)
            continue
        if isinstance(value := _part_text(part), str):
            part = {**part, "text": value}
        kind, last = part.get("type"), parts[-1] if parts else None
        if kind not in JOINED_PARTS or not isinstance(last, dict) or last.get("type") != kind:
            last = {}
            parts.append(last)
        if kind in JOINED_PARTS and not nested:
            lists = {name: part[name] for name in PART_LISTS if isinstance(part.get(name), list)}
            for name, inner in lists.items():
                known = last.setdefault(name, [])
                if isinstance(known, list):
                    merge_parts(known, inner, nested=True)
            part = {name: value for name, value in part.items() if name not in lists} if lists else part
        append_texts(last, part, PART_TEXTS if kind in JOINED_PARTS else ())


def as_content(value: Any) -> Any:
    """Return content in the form of text, or of a list of parts, where it came as one part: an object with a text."""
    if not isinstance(value, dict):
        return value
    kind, text = value.get("type", "text"), value.get("text")
    if kind == "text" and isinstance(text, str):
        return text if value.keys() <= {"type", "text"} else [{"type": kind, **value}]
    return [value] if kind in REASONING_PARTS and thought_text(value) else value


def part_texts(pieces: list[Any]) -> tuple[str, str]:
    """Return the text of a content list, and what was thought."""
    thoughts = [piece for piece in pieces if _is_thought(piece)]
    texts = (_part_text(piece) if isinstance(piece, dict) else piece for piece in pieces if not _is_thought(piece))
    return "".join(text for text in texts if isinstance(text, str)), thought_text(thoughts)


def _part_text(part: dict[str, Any]) -> Any:
    """Return the text of a part, which may stand in an object, as in the Assistants API."""
    text = part.get("text")
    return text["value"] if isinstance(text, dict) and isinstance(text.get("value"), str) else text


def _is_thought(piece: Any) -> bool:
    return isinstance(piece, dict) and (piece.get("type") in REASONING_PARTS or bool(piece.get("thinking")))


def thought_text(value: Any) -> str:
    """Return the text of thoughts in any form: a string, a part, or a list of both."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(thought_text, value))
    if isinstance(value, dict):
        return "".join(thought_text(value[name]) for name in PART_TEXTS if name in value)
    return ""


class _Details(list[Any]):
    """A list of details that finds the last one of an index and type without a look at all of them."""

    __slots__ = ("known",)

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, dict[str, Any]] = {}


def merge_reasoning_details(details: _Details, pieces: list[Any]) -> None:
    """Join details by index and type; without an index, consecutive ones of one type (OpenRouter)."""
    for piece in pieces:
        if not isinstance(piece, dict):
            details.append(piece)
            continue
        # As text, because either may be of a type that is no key.
        key = repr((piece.get("index"), piece.get("type")))
        known = details.known.get(key)
        if known is None or (piece.get("index") is None and known is not details[-1]):
            known = details.known[key] = {}
            details.append(known)
        append_texts(known, piece, _DETAIL_TEXTS)


class _Unique(list[Any]):
    """A list that holds equal items once."""

    __slots__ = ("known",)

    def __init__(self) -> None:
        super().__init__()
        self.known: set[str] = set()


def merge_unique(items: _Unique, pieces: list[Any]) -> None:
    """Extend a list by what it does not hold yet: some hosts repeat all annotations in every chunk."""
    for piece in pieces:
        key = repr(piece)
        if key not in items.known:
            items.known.add(key)
            items.append(piece)


_LISTS: dict[str, Callable[[], list[Any]]] = {
    "reasoning_details": _Details,
    "annotations": _Unique,
    "citations": _Unique,
}
_LIST_RULES: dict[str, Callable[[Any, list[Any]], None]] = {
    "thinking_blocks": merge_thinking_blocks,
    "reasoning_details": merge_reasoning_details,
    "annotations": merge_unique,
    "citations": merge_unique,
}


def snapshot(value: Any, depth: int = 3) -> Any:
    """Return a growing field as it stands: a copy whose lists and objects nobody else grows.

    Only so deep as anything grows, a field of a block of a list: what lies deeper may be deep without end.
    """
    if isinstance(value, TextBuffer):
        return str(value)
    if depth and isinstance(value, dict):
        return {key: snapshot(item, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, list):
        return [snapshot(item, depth - 1) for item in value]
    return value
