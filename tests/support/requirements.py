"""Programs and modules that some tests need: a test without them is skipped, or fails if everything is required."""

from __future__ import annotations

import importlib.util
import os
import shutil

import pytest

# Set by .ci/run, which installs everything: a skip would hide a test that never runs, and CI has time for more.
REQUIRE_ALL = bool(os.environ.get("TENSORLOOP_STREAM_REQUIRE_ALL"))


def scaled(number: int) -> int:
    """Return the number of examples, chunks or clients of a test: a quarter unless everything is required."""
    return number if REQUIRE_ALL else number // 4


def program(*names: str) -> str:
    """Return the path of the first of these programs that is installed; skip or fail the test without any."""
    for name in names:
        if path := shutil.which(name):
            return path
    return unmet(f"needs {' or '.join(names)}, which is not installed")


def module(name: str, extra: str) -> None:
    """Skip or fail the test if a module of an extra is not installed."""
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # of a module inside of another
        found = None
    if found is None:
        unmet(f'needs {name}: pip install "tensorloop_stream[{extra}]"')


def unmet(reason: str) -> str:
    if REQUIRE_ALL:
        pytest.fail(reason)
    pytest.skip(reason)
