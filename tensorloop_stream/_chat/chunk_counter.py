"""Recognize an index of a choice that counts chunks, although one choice was asked for."""

from __future__ import annotations

import json
from typing import Any

from .vocabulary import is_reason

# Nobody gets so many choices unasked; a few may be those of a request whose `n` a proxy added.
_ENOUGH = 8
# As many chunks are enough if the last one has a finish reason, and no earlier one.
_ENOUGH_AT_END = 3


class ChunkCounter:
    """The first chunks of a stream, as long as the index of each is one more than the last (TGI#1648).

    The indices count chunks if the request did not ask for `n` choices, no index came again, and the finish reason has
    come: alone, or behind two chunks. Where more chunks come, eight are enough.
    """

    __slots__ = ("chunks", "is_counting")

    def __init__(self) -> None:
        self.chunks: list[tuple[int, dict[str, Any]]] = []
        self.is_counting = False

    def add(self, choice: dict[str, Any], index: int, request: Any, *, is_alone: bool) -> bool:
        """Take the choice of a chunk; return whether to go on, `False` once the indices are those of choices."""
        if self.is_counting:
            return True
        chunks = self.chunks
        if not is_alone or (chunks and index != chunks[-1][0] + 1):
            return False
        ends = is_reason(choice.get("finish_reason"))
        count = len(chunks) + 1
        is_enough = count == _ENOUGH or (ends and (count >= _ENOUGH_AT_END or not _says_anything(choice)))
        if chunks and is_enough:
            self.is_counting = not _asks_for_choices(request)
            return self.is_counting
        chunks.append((index, choice))
        return not ends


def _says_anything(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta")
    return bool(choice.get("message")) or (isinstance(delta, dict) and any(delta.values()))


def _asks_for_choices(request: Any) -> bool:
    """Tell whether a request asks for several choices, or may do so."""
    try:
        body = json.loads(request.content)
    except Exception:  # noqa: BLE001 - no request, or one whose body is not at hand
        return True
    return not isinstance(body, dict) or body.get("n") not in {None, 1}
