"""Find the tests that run each line of some modules, and the time that each test takes."""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

import pytest


class TestMap:
    """The tests that touch a line, known after one run of all of them."""

    __test__ = False

    def __init__(self, paths: Iterable[str]) -> None:
        self.seconds: dict[pytest.Item, float] = {}
        self._items: dict[tuple[str, int], set[pytest.Item]] = defaultdict(set)
        self._paths = frozenset(paths)

    def run(self, items: list[pytest.Item]) -> None:
        """Run the tests, each with a note of its lines."""
        for item, following in zip(items, [*items[1:], None], strict=True):
            lines: set[tuple[str, int]] = set()
            began = time.monotonic()
            trace = self._tracer(lines)
            threading.settrace(trace)
            sys.settrace(trace)
            try:
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            finally:
                sys.settrace(None)
                threading.settrace(None)
            self.seconds[item] = time.monotonic() - began
            for line in lines:
                self._items[line].add(item)

    def tests_of(self, path: str, lines: range) -> set[pytest.Item]:
        """Return the tests that run any of the lines of a file."""
        return set().union(*(self._items[path, line] for line in lines))

    def _tracer(self, lines: set[tuple[str, int]]) -> Callable[..., Any]:
        def of_line(frame: FrameType, event: str, argument: Any) -> Any:
            lines.add((frame.f_code.co_filename, frame.f_lineno))
            return of_line

        def of_call(frame: FrameType, event: str, argument: Any) -> Any:
            return of_line(frame, event, argument) if frame.f_code.co_filename in self._paths else None

        return of_call
