"""The index of a choice or of a tool call, as gateways send it."""

from __future__ import annotations


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
