"""The index of a choice or of a tool call, as gateways send it."""

from __future__ import annotations

from typing import Any


def with_indices(calls: list[Any]) -> list[Any]:
    """Return the calls of a message, which have no index, as those of a delta: with their places in the list."""
    return [{"index": number, **call} if isinstance(call, dict) else call for number, call in enumerate(calls)]


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
