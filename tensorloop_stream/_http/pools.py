"""The home of an HTTP client: the process and the event loop that its connections belong to.

Several clients of the SDK may hold one HTTP client, here a pool: copies of a client do, and `http_client=` gives it to
others. The home is therefore noted on the pool, at its first request. A pool that is left is not closed either.
"""

from __future__ import annotations

import asyncio
import functools
import os
import weakref
from typing import Any, NamedTuple

__all__ = ["is_at_home", "successor_of"]

_HOME, _SUCCESSOR = "_tensorloop_home", "_tensorloop_successor"


class _Home(NamedTuple):
    process: int
    # Weak, since a client must not keep the loop of a program's past alive; `None` outside of asyncio.
    loop: weakref.ref[asyncio.AbstractEventLoop] | None


def is_at_home(pool: object, *, is_async: bool, is_request: bool) -> bool:
    """Tell whether the connections of a pool may be used here; a request notes the home of a pool without one.

    Where nothing is sent, code outside of an event loop tells nothing of the loop to come.
    """
    here = _Home(os.getpid(), _running_loop() if is_async else None)
    if is_request:
        # In one step: two threads may send the first requests.
        return bool(vars(pool).setdefault(_HOME, here) == here)
    home = vars(pool).get(_HOME, here)
    return bool(home == here or (here.loop is None and home.process == here.process))


def successor_of(pool: Any, *, is_async: bool, is_request: bool) -> Any:
    """Return the pool to use here in place of one from elsewhere, the same for all clients that hold the old one.

    The old pool stays as it is, since another thread, the parent process or another client may use it.
    """
    known = vars(pool).get(_SUCCESSOR, lambda: None)()
    if known is None or known.is_closed or not is_at_home(known, is_async=is_async, is_request=is_request):
        known = _own_class(type(pool))(base_url=pool.base_url, timeout=pool.timeout)
        is_at_home(known, is_async=is_async, is_request=is_request)
        vars(pool)[_SUCCESSOR] = weakref.ref(known)
    # The finalizer of the SDK would close connections that another process or loop may still read.
    pool.__class__ = _unfinalized(_own_class(type(pool)))
    return known


class _Unfinalized:
    """A pool that was left: it is freed without closing its connections."""

    def __del__(self) -> None:
        pass


@functools.cache
def _unfinalized(kind: type) -> type:
    return type(kind.__name__, (_Unfinalized, kind), {"__module__": kind.__module__})


def _own_class(kind: type) -> type:
    return kind.__bases__[1] if issubclass(kind, _Unfinalized) else kind


def _running_loop() -> weakref.ref[asyncio.AbstractEventLoop] | None:
    try:
        return weakref.ref(asyncio.get_running_loop())
    except RuntimeError:  # trio, whose connections belong to no loop
        return None
