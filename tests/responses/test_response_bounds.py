"""Hostile events: no exception that a reader does not expect, and time that is linear in their number."""

from __future__ import annotations

from typing import Any

import pytest
from events import added, argument, call, created, delta, done, ended, event, message
from hypothesis import HealthCheck, given, settings, strategies as st

from tensorloop_stream import ResponseAccumulator, ResponseStream
from tensorloop_stream._responses import items

JUNK: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.sampled_from(["", "a", "msg_1", "message", "output_text", "{}"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "id", "text", "content", "summary", "arguments", "status"]), inner)
    ),
    max_leaves=8,
)
FIELDS = [
    "item", "part", "delta", "text", "response", "item_id", "output_index", "content_index", "summary_index",
    "arguments", "annotation", "logprobs", "refusal", "name", "code", "input", "error", "message",
]  # fmt: skip
KINDS = [
    "created", "completed", "incomplete", "failed", "cancelled", "output_item.added", "output_item.done",
    "content_part.added", "content_part.done", "output_text.delta", "output_text.done", "refusal.delta",
    "reasoning_summary_part.added", "reasoning_summary_text.delta", "reasoning_text.done",
    "function_call_arguments.delta", "function_call_arguments.done", "code_interpreter_call_code.done",
    "output_text.annotation.added", "of_the_future",
]  # fmt: skip
EVENTS = st.builds(
    lambda kind, fields: {"type": f"response.{kind}", **fields},
    st.sampled_from(KINDS),
    st.dictionaries(st.sampled_from(FIELDS), JUNK, max_size=5),
)


@given(st.lists(EVENTS, max_size=8))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_event_is_too_odd(events: list[dict[str, Any]]) -> None:
    """A value of another type says nothing, or is kept as it is; the result can always be asked for."""
    accumulator = ResponseAccumulator()
    for one in events:
        accumulator.add(one)

    assert accumulator.snapshot.output is not None
    assert isinstance(accumulator.text + accumulator.reasoning + accumulator.refusal, str)
    assert accumulator.tool_calls is not None
    assert accumulator.unusable_tool_calls is not None
    accumulator.usage  # noqa: B018 - it must not raise


@given(st.lists(st.tuples(st.sampled_from(["Hello", "Hel", "", "Hello you"]), st.integers(0, 2)), max_size=6))
@settings(deadline=None)
def test_wholes_of_one_text_are_told_once(wholes: list[tuple[str, int]]) -> None:
    """The reader is told the longest, whatever the order of their forms."""
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    events = []
    for text, form in wholes:
        part = event("content_part.done", **place, part=message(text)["content"][0])
        events.append([event("output_text.done", **place, text=text), part, done(message(text))][form])
    stream = ResponseStream([created(), *events, ended()])
    told = "".join(stream.text_stream)

    assert told == stream.text == max((text for text, _ in wholes), key=len, default="")


def steps_of(kind: str, count: int) -> list[dict[str, Any]]:
    if kind == "calls":
        return [
            each
            for number in range(count)
            for each in (
                added(call("", number=number), number),
                argument("{}", number + 1),
                done(call("{}", number=number), number),
            )
        ]
    if kind == "parts":
        place = {"item_id": "msg_1", "output_index": 0}
        return [
            each
            for number in range(count)
            for each in (
                delta("ab", content_index=number),
                event("output_text.done", **place, content_index=number, text="ab"),
            )
        ]
    return [
        each
        for number in range(count)
        for each in (
            delta("ab", item_id=f"m{number}", output_index=number),
            done(message("ab", id=f"m{number}"), number),
        )
    ]


@pytest.mark.parametrize("kind", ["calls", "parts", "messages"])
def test_work_is_linear_in_the_number_of_items(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lookups of an item do not grow with the items before it."""
    read = 0
    of_item = items.Item.text

    def counted(self: Any, channel: str) -> str:
        nonlocal read
        read += 1 + sum(map(len, self.parts.values()))
        return of_item(self, channel)

    monkeypatch.setattr(items.Item, "text", counted)
    counts = []
    for count in (100, 400):
        read = 0
        accumulator = ResponseAccumulator()
        for one in steps_of(kind, count):
            accumulator.add(one)
        counts.append(read)

    assert counts[1] <= counts[0] * 4 + 8
