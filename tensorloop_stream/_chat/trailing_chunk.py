"""Tell whether a chunk behind the finish reason says anything: some gateways send empty chunks as heartbeats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .index import as_index
from .vocabulary import is_reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .choice import ChoiceState


def says_nothing(choices: Any, known: Mapping[int, ChoiceState]) -> bool:
    """Tell whether the choices of a chunk bring nothing of an answer that is not known."""
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            continue
        delta, reason = choice.get("delta"), choice.get("finish_reason")
        if choice.get("message") or choice.get("text"):
            return False
        if isinstance(delta, dict) and any(value for name, value in delta.items() if name != "role"):
            return False
        state = known.get(as_index(choice.get("index")) or 0)
        if is_reason(reason) and (state is None or state.finish_reason != reason):
            return False
    return True
