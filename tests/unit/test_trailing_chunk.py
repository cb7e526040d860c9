"""Chunks behind the finish reason: those that say something, and those that do not."""

from __future__ import annotations

from typing import Any

import pytest

from tensorloop_stream._chat.choice import ChoiceState
from tensorloop_stream._chat.trailing_chunk import says_nothing


def known(*reasons: str) -> dict[int, ChoiceState]:
    """Return the choices of an answer by their index, each with its finish reason."""
    choices = {}
    for index, reason in enumerate(reasons):
        choices[index] = ChoiceState(index)
        choices[index].add({"index": index, "delta": {"content": "a"}, "finish_reason": reason})
    return choices


@pytest.mark.parametrize(
    "choices",
    [
        None,
        [],
        {},
        [None],
        [{}],
        [{"index": 0, "delta": {}}],
        [{"index": 0, "delta": None, "finish_reason": None}],
        [{"index": 0, "delta": {"role": "assistant", "content": ""}}],
        [{"index": 0, "delta": {"content": None}, "text": "", "message": {}}],
        [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        [{"delta": {}, "finish_reason": "stop"}],
        [{"index": "1", "delta": {}, "finish_reason": "length"}],
        [{"index": 0, "delta": {}, "finish_reason": "null"}],
    ],
    ids=str,
)
def test_a_chunk_that_repeats_what_is_known_says_nothing(choices: Any) -> None:
    """Empty fields, the role and the finish reason of the choice are no news."""
    assert says_nothing(choices, known("stop", "length")) is True


@pytest.mark.parametrize(
    "choice",
    [
        {"index": 0, "delta": {"content": "b"}},
        {"index": 0, "delta": {"tool_calls": [{"index": 0}]}},
        {"index": 0, "text": "b"},
        {"index": 0, "message": {"content": "b"}},
        {"index": 0, "delta": {}, "finish_reason": "length"},
        {"index": 1, "delta": {}, "finish_reason": "stop"},
        {"index": 2, "delta": {}, "finish_reason": "stop"},
    ],
    ids=str,
)
@pytest.mark.parametrize("before", [[], [None], [{"index": 0, "delta": {}}]], ids=str)
def test_a_chunk_with_anything_of_an_answer_says_something(choice: Any, before: list[Any]) -> None:
    """A finish reason is news if it is another one, or that of another choice."""
    assert says_nothing([*before, choice], known("stop", "length")) is False
