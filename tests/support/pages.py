"""Recipes that run unedited in this process."""

from __future__ import annotations

import gc
import runpy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tensorloop_stream import AsyncChatStream, ChatStream

ROOT = Path(__file__).parents[2]


def run_recipe(recipe: str, name: str = "__main__") -> dict[str, Any]:
    """Run a recipe as by its command, and return its names."""
    with closing_clients():
        return runpy.run_path(str(ROOT / f"recipes/{recipe}.py"), run_name=name)


@contextmanager
def closing_clients() -> Iterator[None]:
    """Close the clients that a recipe leaves to the end of its process, which continues here."""
    made = []
    original = httpx2.Client.__init__

    def recording_init(client: httpx2.Client, *arguments: Any, **settings: Any) -> None:
        original(client, *arguments, **settings)
        made.append(client)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx2.Client, "__init__", recording_init)
        try:
            yield
        finally:
            for client in made:
                client.close()
    with warnings.catch_warnings():
        # An async client cannot outlive its event loop, which the recipe has ended.
        warnings.simplefilter("ignore", ResourceWarning)
        collect_garbage()


def shorten_timeouts(patch: pytest.MonkeyPatch, times: float) -> None:
    """Divide the timeouts that recipes give to streams by this number."""

    def shortened(original: Callable[..., None]) -> Callable[..., None]:
        def init(stream: object, *arguments: Any, **settings: Any) -> None:
            for name in settings.keys() & {"first_chunk_timeout", "idle_timeout"}:
                settings[name] = settings[name] and settings[name] / times
            original(stream, *arguments, **settings)

        return init

    for kind in (ChatStream, AsyncChatStream):
        patch.setattr(kind, "__init__", shortened(kind.__init__))


def collect_garbage() -> None:
    """Collect garbage until finalizers leave no more."""
    while gc.collect():
        pass
