"""Warn of a Redis that evicts the streams: every key of them expires, so all policies but `noeviction` take them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

    from ._pipeline import Commands

_log = logging.getLogger("tensorloop_stream")
# Managed servers often refuse CONFIG, which says the same.
_QUESTION = ("INFO", "memory")


def warn_of_eviction(commands: Commands) -> None:
    """Ask Redis for its policy with the next commands, and log a warning where it may evict a stream."""
    commands.post((_QUESTION,)).add_done_callback(_warn)


def _warn(future: asyncio.Future[list[Any]]) -> None:
    # A Redis that refuses the question, or cannot be reached, is no reason to warn of this.
    if future.cancelled() or future.exception() is not None or not isinstance(memory := future.result()[0], dict):
        return
    policy = memory.get("maxmemory_policy", "noeviction")
    if memory.get("maxmemory") and policy != "noeviction":
        _log.warning(
            "Redis has the maxmemory-policy %s: when its memory is full, it evicts streams that are being read, and "
            "the leases of running ones, whose readers then get an error. Set noeviction, which refuses new streams",
            policy,
        )
