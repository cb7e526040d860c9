"""Runs recipes in this process, unedited."""

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
    """Run a recipe as if by its command, and return its names."""
    with closing_clients():
        return runpy.run_path(str(ROOT / f"recipes/{recipe}.py"), run_name=name)


@contextmanager
def closing_clients() -> Iterator[None]:
    """Close what a page leaves to the end of its process, which here goes on."""
    made = []
    begin = httpx2.Client.__init__

    def noted(client: httpx2.Client, *arguments: Any, **settings: Any) -> None:
        begin(client, *arguments, **settings)
        made.append(client)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx2.Client, "__init__", noted)
        try:
            yield
        finally:
            for client in made:
                client.close()
    with warnings.catch_warnings():
        # An async client goes with its event loop, which the page has ended.
        warnings.simplefilter("ignore", ResourceWarning)
        collect_garbage()


def shorten_timeouts(patch: pytest.MonkeyPatch, times: float) -> None:
    """Make the timeouts that pages give to streams so many times shorter."""

    def shortened(begin: Callable[..., None]) -> Callable[..., None]:
        def begun(stream: object, *arguments: Any, **settings: Any) -> None:
            for name in settings.keys() & {"first_chunk_timeout", "idle_timeout"}:
                settings[name] = settings[name] and settings[name] / times
            begin(stream, *arguments, **settings)

        return begun

    for kind in (ChatStream, AsyncChatStream):
        patch.setattr(kind, "__init__", shortened(kind.__init__))


def collect_garbage() -> None:
    """Collect garbage, and what the finalizers of that had still held."""
    while gc.collect():
        pass
