"""The page of security: each promise stands beside tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_each_promise_names_its_tests() -> None:
    """A promise without a test is none."""
    page = (TESTS.parent / ".docs/security.rst").read_text("utf-8")
    rows = re.findall(r"^   \* - (.*?)\n     - (.*?)(?=^   \* -|^\S)", page, re.MULTILINE | re.DOTALL)
    named = [re.findall(r"``([a-z]+/test_\w+\.py)``", tests) for promise, tests in rows if promise != "Promise"]

    assert len(named) >= 10
    assert all(named)
    assert [name for names in named for name in names if not (TESTS / name).is_file()] == []
