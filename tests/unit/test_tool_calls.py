"""Tool calls: deltas with and without index, id, name and type."""

from __future__ import annotations

from typing import Any

import pytest
from chunks import HELLO, accumulate, chunk, finish, message_of, tool
from openai.types.chat import ChatCompletionMessageCustomToolCall, ChatCompletionMessageFunctionToolCall


def call_delta(arguments: Any = None, *, name: str | None = None, **more: Any) -> dict[str, Any]:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**more, "function": function}


def calls(*deltas: Any) -> list[tuple[Any, str, str]]:
    """Return id, name and arguments of each call that the deltas make, one delta a chunk."""
    made = accumulate(*(tool(one) for one in deltas), finish("tool_calls")).tool_calls
    return [(call.to_dict().get("id"), call.function.name, call.function.arguments) for call in made]  # type: ignore[union-attr]


PARIS = '{"city":"Paris"}'


def test_one_call_is_assembled() -> None:
    """The call has the SDK's type, a default `type` and no index, and the content is null."""
    chunks = (
        chunk({"role": "assistant", "content": ""}),
        tool(call_delta("", index=0, id="a", name="f")),
        tool(call_delta('{"city":', index=0)),
        tool(call_delta('"Paris"}', index=0)),
        finish("tool_calls"),
    )

    assert message_of(*chunks) == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": PARIS}}],
    }
    assert isinstance(accumulate(*chunks).tool_calls[0], ChatCompletionMessageFunctionToolCall)


def test_interleaved_calls_are_separated_by_index() -> None:
    """The index tells the calls apart."""
    deltas = (
        call_delta(index=0, id="a", name="f"),
        call_delta(index=1, id="b", name="g"),
        call_delta("{", index=0),
        call_delta("[", index=1),
        call_delta("}", index=0),
        call_delta("]", index=1),
    )

    assert calls(*deltas) == [("a", "f", "{}"), ("b", "g", "[]")]


def test_deltas_without_an_index_make_one_call() -> None:
    """One call is one call although no delta has an index (ollama#15457)."""
    assert calls(call_delta("", id="a", name="f"), call_delta("{"), call_delta("}")) == [("a", "f", "{}")]


def test_a_new_id_opens_a_call_without_an_index() -> None:
    """A known id continues its call (openai-python#2806)."""
    deltas = (
        call_delta("{", id="a", name="f"),
        call_delta("}", id="a"),
        call_delta("{", id="b", name="g"),
        call_delta("}"),
    )

    assert calls(*deltas) == [("a", "f", "{}"), ("b", "g", "{}")]


def test_a_name_opens_a_call_without_index_and_id() -> None:
    """The name opens one only if the last call has arguments."""
    assert calls(call_delta(name="f"), call_delta("{}"), call_delta("{}", name="g")) == [
        (None, "f", "{}"),
        (None, "g", "{}"),
    ]


def test_another_id_at_the_same_index_opens_a_call() -> None:
    """Deltas without an id belong to the newest call (litellm#21331)."""
    deltas = (
        call_delta("{", index=0, id="a", name="f"),
        call_delta("}", index=0),
        call_delta("[", index=0, id="b", name="g"),
        call_delta("]", index=0),
    )

    assert calls(*deltas) == [("a", "f", "{}"), ("b", "g", "[]")]


def test_a_known_id_continues_its_call_at_a_shared_index() -> None:
    """Two calls that share an index are told apart by their ids."""
    deltas = (
        call_delta("{", index=0, id="a", name="f"),
        call_delta("[", index=0, id="b", name="g"),
        call_delta("}", index=0, id="a"),
        call_delta("]", index=0, id="b"),
    )

    assert calls(*deltas) == [("a", "f", "{}"), ("b", "g", "[]")]


def test_id_and_name_repeated_in_every_delta_count_once() -> None:
    """Ids and names are not concatenated."""
    assert calls(call_delta("{", index=0, id="a", name="f"), call_delta("}", index=0, id="a", name="f")) == [
        ("a", "f", "{}")
    ]


def test_calls_are_ordered_by_index() -> None:
    """Indices may start late and have gaps (pipecat#5342)."""
    assert calls(call_delta("{}", index=5, id="b", name="g"), call_delta("{}", index=1, id="a", name="f")) == [
        ("a", "f", "{}"),
        ("b", "g", "{}"),
    ]


def test_an_index_in_quotes_is_its_number() -> None:
    """A gateway may send the index as text."""
    assert calls(call_delta("{", index="0", id="a", name="f"), call_delta("}", index=0)) == [("a", "f", "{}")]


def test_a_late_id_belongs_to_the_call_at_its_index() -> None:
    """Without an index, the id belongs to the last call."""
    assert calls(call_delta(index=0, name="f"), call_delta("{}", index=0, id="a")) == [("a", "f", "{}")]
    assert calls(call_delta(name="f"), call_delta("{}", id="a")) == [("a", "f", "{}")]


@pytest.mark.parametrize(
    ("arguments", "as_text"),
    [({"city": "Zürich"}, '{"city": "Zürich"}'), ([1], "[1]"), (5, "5"), (False, "false")],
)
def test_arguments_that_are_no_string_become_json(arguments: Any, as_text: str) -> None:
    """An object, a list or a number is kept as its JSON text."""
    assert calls(call_delta(arguments, index=0, id="a", name="f")) == [("a", "f", as_text)]


def test_a_delta_without_a_function_adds_nothing() -> None:
    """`function: null` and no function at all are accepted."""
    assert calls(call_delta("{}", index=0, id="a", name="f"), {"index": 0, "function": None}, {"index": 0}) == [
        ("a", "f", "{}")
    ]


def test_a_custom_call_is_assembled() -> None:
    """Custom tools have a name and free input."""
    chunks = (
        tool({"index": 0, "id": "a", "type": "custom", "custom": {"name": "sql", "input": "SELECT "}}),
        tool({"index": 0, "custom": {"input": "1"}}),
        finish("tool_calls"),
    )
    (call,) = accumulate(*chunks).tool_calls

    assert isinstance(call, ChatCompletionMessageCustomToolCall)
    assert call.to_dict() == {"id": "a", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}


def test_unknown_fields_of_a_call_are_kept() -> None:
    """Gemini's thought signatures must be sent back in the next turn."""
    signature = {"google": {"thought_signature": "x"}}
    (call,) = accumulate(tool(call_delta("{}", index=0, id="a", name="f", extra_content=signature))).tool_calls

    assert call.to_dict()["extra_content"] == signature


def test_a_whole_call_and_its_finish_reason_may_share_a_chunk() -> None:
    """One chunk is enough for a call."""
    accumulator = accumulate(tool(call_delta(PARIS, index=0, id="a", name="f"), finish="tool_calls"))

    assert accumulator.finish_reason == "tool_calls"
    assert len(accumulator.tool_calls) == 1


def test_calls_of_different_choices_are_separate() -> None:
    """The same index in two choices is two calls."""
    chunks = (tool(call_delta("{}", index=0, id=name, name=name), index=number) for number, name in enumerate("ab"))
    completion = accumulate(*chunks).completion

    assert [choice.to_dict()["message"]["tool_calls"][0]["id"] for choice in completion.choices] == ["a", "b"]  # type: ignore[index]


def test_an_empty_list_of_calls_is_no_call() -> None:
    """Some gateways send `tool_calls: []` with every delta."""
    message = message_of(*(chunk({"content": part, "tool_calls": []}) for part in "ab"), *HELLO[3:])

    assert message == {"role": "assistant", "content": "ab"}
