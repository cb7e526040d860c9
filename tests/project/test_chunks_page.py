"""The page of the rules by which chunks become one completion: each rule names a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

from tensorloop_stream._chat.vocabulary import COMPLETE

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


def test_the_reasons_of_a_whole_answer_are_named_wherever_a_reader_looks() -> None:
    """The list of the package, the docstring of the callback and the page are one."""
    source = (TESTS.parent / "tensorloop_stream/_callbacks.py").read_text("utf-8")
    told = re.search(r"may be run after the finish reasons (.*?),\n? *in upper", source, re.DOTALL)
    row = re.search(r"At the end, a call may be run after (.*?),\s+in upper", PAGE, re.DOTALL)

    assert told is not None
    assert row is not None
    assert set(re.findall(r"`(\w+)`", told[1])) == set(re.findall(r"``(\w+)``", row[1])) == COMPLETE
