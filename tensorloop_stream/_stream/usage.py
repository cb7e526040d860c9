"""Merge the usages that one answer brings, in several events or places of an event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def merge_counts(known: dict[str, Any], usage: Mapping[str, Any], parts: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return two usages merged by field: what is null, zero or empty erases nothing (gateway#496, llmio#71).

    A total is never less than the sum of its `parts`.
    """
    known = {**known}
    for name, value in usage.items():
        old = known.get(name)
        if isinstance(value, dict):
            known[name] = merge_counts(old if isinstance(old, dict) else {}, value, parts)
        elif value or name not in known or (old is None and value is not None):
            known[name] = value
    if "total_tokens" in known:
        # The two may come in different chunks, each with a total of its own.
        counts = [count for name in parts if type(count := known.get(name)) is int]
        total = known["total_tokens"]
        if len(counts) == 2 and (total is None or type(total) is int):
            known["total_tokens"] = max(total or 0, sum(counts))
    return known
