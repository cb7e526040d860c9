"""The page of the rules by which chunks become one completion: each rule names a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / ".docs/chunks.rst").read_text("utf-8")


def test_every_rule_names_a_test_that_exists() -> None:
    """A rule without a test is a wish."""
    rules = re.findall(r"(?m)^   \* - ", PAGE)
    named = re.findall(r"(?m)^     - ``([\w/]+\.py)::(test_\w+)``$", PAGE)
    missing = [f"{file}::{test}" for file, test in named if f"def {test}(" not in (TESTS / file).read_text("utf-8")]

    assert len(rules) == len(named) > 30
    assert missing == []


def test_every_rule_is_one_sentence() -> None:
    """A rule ends with its only full stop."""
    rules = re.findall(r"(?ms)^   \* - (.*?)^     - ``", PAGE)

    assert [rule for rule in rules if not rule.rstrip().endswith(".") or re.search(r"\. ", rule)] == []
