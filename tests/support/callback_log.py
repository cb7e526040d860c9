"""Callbacks that record their calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from tensorloop_stream import Callbacks

NAMES = list(Callbacks.__dataclass_fields__)


class CallbackLog:
    """Callbacks that record their names and arguments."""

    def __init__(self, *names: str, raising: str = "", is_async: bool = False) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.raising = raising
        chosen = names or NAMES
        self.callbacks = Callbacks(**{name: self._callback(name, is_async) for name in chosen})

    def _callback(self, name: str, is_async: bool) -> Callable[[Any], Any]:
        def called(argument: Any) -> None:
            self.calls.append((name, argument))
            if name == self.raising:
                raise LookupError(name)

        async def awaited(argument: Any) -> None:
            await anyio.lowlevel.checkpoint()
            called(argument)

        return awaited if is_async else called

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    @property
    def terminal(self) -> list[str]:
        return [name for name in self.names if name in ("on_finish", "on_error", "on_abort")]

    def arguments(self, name: str) -> list[Any]:
        return [argument for called, argument in self.calls if called == name]
