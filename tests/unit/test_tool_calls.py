from __future__ import annotations

from typing import Any

import pytest
from chunks import HELLO, accumulate, chunk, finish, message_of, tool
from openai.types.chat import ChatCompletionMessageCustomToolCall, ChatCompletionMessageFunctionToolCall


def piece(arguments: Any = None, *, name: str | None = None, **more: Any) -> dict[str, Any]:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**more, "function": function}


def calls(*pieces: Any) -> list[tuple[Any, str, str]]:
    """Return id, name and arguments of each call that the pieces make, one piece a chunk."""
    made = accumulate(*(tool(one) for one in pieces), finish("tool_calls")).tool_calls
    return [(call.to_dict().get("id"), call.function.name, call.function.arguments) for call in made]  # type: ignore[union-attr]


PARIS = '{"city":"Paris"}'


def test_one_call_in_pieces() -> None:
    """The result has the SDK's types, a type where none came, no index, and null content."""
    chunks = (
        chunk({"role": "assistant", "content": ""}),
        tool(piece("", index=0, id="a", name="f")),
        tool(piece('{"city":', index=0)),
        tool(piece('"Paris"}', index=0)),
        finish("tool_calls"),
    )

    assert message_of(*chunks) == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": PARIS}}],
    }
    assert isinstance(accumulate(*chunks).tool_calls[0], ChatCompletionMessageFunctionToolCall)


def test_parallel_calls_interleaved() -> None:
    """Pieces of several calls are told apart by their index."""
    pieces = (
        piece(index=0, id="a", name="f"),
        piece(index=1, id="b", name="g"),
        piece("{", index=0),
        piece("[", index=1),
        piece("}", index=0),
        piece("]", index=1),
    )

    assert calls(*pieces) == [("a", "f", "{}"), ("b", "g", "[]")]


def test_pieces_without_an_index() -> None:
    """One call is one call although no piece has an index (ollama#15457)."""
    assert calls(piece("", id="a", name="f"), piece("{"), piece("}")) == [("a", "f", "{}")]


def test_two_calls_without_an_index() -> None:
    """Without an index, a new id opens a call, and a known one continues it (openai-python#2806)."""
    pieces = (piece("{", id="a", name="f"), piece("}", id="a"), piece("{", id="b", name="g"), piece("}"))

    assert calls(*pieces) == [("a", "f", "{}"), ("b", "g", "{}")]


def test_two_calls_without_index_and_id() -> None:
    """Without both, a name opens a call once the last one has arguments."""
    assert calls(piece(name="f"), piece("{}"), piece("{}", name="g")) == [(None, "f", "{}"), (None, "g", "{}")]


def test_two_calls_both_with_index_0() -> None:
    """Another id at the same index is another call (litellm#21331); pieces without id go to the newest."""
    pieces = (
        piece("{", index=0, id="a", name="f"),
        piece("}", index=0),
        piece("[", index=0, id="b", name="g"),
        piece("]", index=0),
    )

    assert calls(*pieces) == [("a", "f", "{}"), ("b", "g", "[]")]


def test_ids_that_alternate_at_one_index() -> None:
    """A known id continues its call, also where two share an index."""
    pieces = (
        piece("{", index=0, id="a", name="f"),
        piece("[", index=0, id="b", name="g"),
        piece("}", index=0, id="a"),
        piece("]", index=0, id="b"),
    )

    assert calls(*pieces) == [("a", "f", "{}"), ("b", "g", "[]")]


def test_id_and_name_repeated_in_every_piece() -> None:
    """Repeated ids and names count once."""
    assert calls(piece("{", index=0, id="a", name="f"), piece("}", index=0, id="a", name="f")) == [("a", "f", "{}")]


def test_indices_that_start_late_and_have_gaps() -> None:
    """The order is by index; what they are does not matter (pipecat#5342)."""
    assert calls(piece("{}", index=5, id="b", name="g"), piece("{}", index=1, id="a", name="f")) == [
        ("a", "f", "{}"),
        ("b", "g", "{}"),
    ]


def test_an_index_in_quotes() -> None:
    """An index may come as text."""
    assert calls(piece("{", index="0", id="a", name="f"), piece("}", index=0)) == [("a", "f", "{}")]


def test_an_id_that_comes_late() -> None:
    """The call at its index waits for it, and so does the last one without an index."""
    assert calls(piece(index=0, name="f"), piece("{}", index=0, id="a")) == [("a", "f", "{}")]
    assert calls(piece(name="f"), piece("{}", id="a")) == [("a", "f", "{}")]


@pytest.mark.parametrize(
    ("arguments", "as_text"),
    [({"city": "Zürich"}, '{"city": "Zürich"}'), ([1], "[1]"), (5, "5"), (False, "false")],
)
def test_arguments_that_are_no_string(arguments: Any, as_text: str) -> None:
    """An object, a list or a number is kept as its JSON text."""
    assert calls(piece(arguments, index=0, id="a", name="f")) == [("a", "f", as_text)]


def test_a_continuation_without_function() -> None:
    """`function: null` and no function at all continue with nothing."""
    assert calls(piece("{}", index=0, id="a", name="f"), {"index": 0, "function": None}, {"index": 0}) == [
        ("a", "f", "{}")
    ]


def test_a_custom_call() -> None:
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
    """Gemini's thought signatures must go back in the next turn."""
    signature = {"google": {"thought_signature": "x"}}
    (call,) = accumulate(tool(piece("{}", index=0, id="a", name="f", extra_content=signature))).tool_calls

    assert call.to_dict()["extra_content"] == signature


def test_a_whole_call_and_the_finish_in_one_chunk() -> None:
    """Nothing needs a second chunk."""
    accumulator = accumulate(tool(piece(PARIS, index=0, id="a", name="f"), finish="tool_calls"))

    assert accumulator.finish_reason == "tool_calls"
    assert len(accumulator.tool_calls) == 1


def test_calls_of_each_choice_are_its_own() -> None:
    """The same index in two choices is two calls."""
    chunks = (tool(piece("{}", index=0, id=name, name=name), index=number) for number, name in enumerate("ab"))
    completion = accumulate(*chunks).completion

    assert [choice.to_dict()["message"]["tool_calls"][0]["id"] for choice in completion.choices] == ["a", "b"]  # type: ignore[index]


def test_an_empty_list_of_calls_is_no_call() -> None:
    """Some gateways send `tool_calls: []` with every delta."""
    message = message_of(*(chunk({"content": part, "tool_calls": []}) for part in "ab"), *HELLO[3:])

    assert message == {"role": "assistant", "content": "ab"}
