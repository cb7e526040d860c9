"""Recognize an index of a choice that counts chunks, although one choice was asked for."""

from __future__ import annotations

import json
from typing import Any

# As many chunks must have indices that follow each other: two may be two choices of a careless host.
_ENOUGH = 3


class ChunkCounter:
    """The first chunks of a stream, as long as the index of each is one more than the last (TGI#1648).

    The indices count chunks if the request did not ask for `n` choices and three chunks in a row, or one and a bare
    finish reason, say so.
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
        if not is_alone or (chunks and (index != chunks[-1][0] + 1 or _asks_for_choices(request))):
            return False
        if chunks and (len(chunks) + 1 == _ENOUGH or _is_bare_finish(choice)):
            self.is_counting = True
        else:
            chunks.append((index, choice))
        return True


def _is_bare_finish(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta")
    says = isinstance(delta, dict) and any(delta.values())
    return bool(choice.get("finish_reason")) and not says and not choice.get("message")


def _asks_for_choices(request: Any) -> bool:
    """Tell whether a request asks for several choices, or may do so."""
    try:
        body = json.loads(request.content)
    except Exception:  # noqa: BLE001 - no request, or one whose body is not at hand
        return True
    return not isinstance(body, dict) or body.get("n") not in {None, 1}
