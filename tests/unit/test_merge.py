"""The rules by which one field of a message, a list of its parts, or a usage grows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tensorloop_stream._chat import merge as rules
from tensorloop_stream._chat.merge import is_reasoning_name, is_text_name, join_text, snapshot
from tensorloop_stream._chat.usage import add_usage, merge_usage

SIGNED = {"thinking": "a", "signature": "s"}


def merged(name: str, *values: Any) -> Any:
    """Return a field after values of several chunks."""
    message: dict[str, Any] = {}
    for value in values:
        rules.merge(message, name, value)
    return snapshot(message, 9).get(name)


def joined(*lists: list[Any]) -> Any:
    """Return a list of parts after lists of several chunks."""
    parts: list[Any] = []
    for pieces in lists:
        rules.merge_parts(parts, pieces)
    return snapshot(parts, 9)


# Names


@pytest.mark.parametrize(
    ("name", "is_text", "is_reasoning"),
    [
        ("text", True, False),
        ("content", True, False),
        ("summary", True, False),
        ("answerText", True, False),
        ("thought", True, True),
        ("thoughts", True, True),
        ("thinking", True, True),
        ("my_reasoning", True, True),
        ("thinking_summary", True, True),
        ("REASONING_TEXT", True, True),
        ("reasoning_id", False, False),
        ("text2", False, False),
        ("_", False, False),
        ("", False, False),
    ],
)
def test_the_last_word_of_a_name_says_whether_it_is_text(name: str, is_text: bool, is_reasoning: bool) -> None:
    """Any other word may say that the text is that of thoughts."""
    assert (is_text_name(name), is_reasoning_name(name)) == (is_text, is_reasoning)


# Fields


@pytest.mark.parametrize(
    ("pieces", "shown", "text"),
    [
        (["Hel", "lo"], ["Hel", "lo"], "Hello"),
        (["ab", "cd"], ["ab", "cd"], "abcd"),
        (["ab", "c", "", "abc"], ["ab", "c", "", ""], "abc"),
        (["a", "a"], ["a", "a"], "aa"),
        (["a", "a", "aa"], ["a", "a", ""], "aa"),
        ([" a", " a", "b"], [" a", " a", "b"], " a ab"),
        (["a b", "a b"], ["a b", ""], "a b"),
        (["a b", "c d"], ["a b", "c d"], "a bc d"),
        (["a", "b", "a"], ["a", "b", "a"], "aba"),
    ],
)
def test_a_text_grows_by_what_is_no_repeat_of_all_of_it(pieces: list[str], shown: list[str], text: str) -> None:
    """A piece that is as long as the text, but another one, belongs to it (litellm#35021)."""
    into: dict[str, Any] = {}

    assert [join_text(into, "text", piece) for piece in pieces] == shown
    assert str(into["text"]) == text


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("answer_text", ["a", "b"], "ab"),
        ("answer_text", ["a", 5], 5),
        ("answer_text", [5, "a"], "a"),
        ("other", [{"a": 1}, None], {"a": 1}),
        ("other", ["a", {"b": 1}], {"b": 1}),
        ("other", [{"items": [1]}, {"items": [2]}], {"items": [2]}),
        ("other", [{"citations": [1]}, {"citations": [2]}], {"citations": [1, 2]}),
        ("other", [{"answer_text": "a"}, {"answer_text": "b"}], {"answer_text": "ab"}),
        ("other", [{"answer_text": 5}, {"answer_text": 6}], {"answer_text": 6}),
        ("other", [{"name": "a"}, {"name": "b"}], {"name": "b"}),
        ("other", [{"a": 1}, [2], [3]], [2, 3]),
        ("provider_specific_fields", [{"items": [1]}, {"items": [2]}], {"items": [1, 2]}),
    ],
)
def test_a_field_grows_by_its_type(name: str, values: list[Any], expected: Any) -> None:
    """Texts are joined and lists extended; a value of another type than before replaces it."""
    assert merged(name, *values) == expected


@pytest.mark.parametrize("name", ["text", "summary", "data"])
def test_the_texts_of_a_reasoning_detail_are_joined(name: str) -> None:
    """A detail that is no object is kept as it came, and one without an index joins the one before it alone."""
    pieces = [{"type": "t", name: "a"}, {"type": "t", name: "b"}, 5, {"type": "t", name: "c"}]

    assert merged("reasoning_details", pieces[:1], pieces[1:]) == [
        {"type": "t", name: "ab"},
        5,
        {"type": "t", name: "c"},
    ]


def test_a_reasoning_detail_with_an_index_grows_wherever_it_stands() -> None:
    """Index and type together tell the details apart."""
    one, two, other = ({"index": index, "type": kind, "text": "a"} for index, kind in ((0, "t"), (1, "t"), (0, "u")))

    assert merged("reasoning_details", [one, two, other], [one]) == [{**one, "text": "aa"}, two, other]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([{"thinking": "a"}, {"thinking": "b"}], [{"thinking": "ab"}]),
        ([{"thinking": "a"}, {"type": "thinking", "thinking": "b"}], [{"thinking": "ab", "type": "thinking"}]),
        ([SIGNED, {"thinking": "b"}], [SIGNED, {"thinking": "b"}]),
        ([5, {"thinking": "a"}], [5, {"thinking": "a"}]),
        ([{"thinking": "a"}, 5], [{"thinking": "a"}, 5]),
        ([{"thinking": "a"}, {"type": "x", "data": "b"}], [{"thinking": "a"}, {"type": "x", "data": "b"}]),
        ([{"type": "x", "data": "a"}, {"thinking": "b"}], [{"type": "x", "data": "a"}, {"thinking": "b"}]),
    ],
)
def test_a_thinking_block_grows_until_it_is_signed(pieces: list[Any], expected: list[Any]) -> None:
    """A block without a type is a thinking block; anything else is whole."""
    assert merged("thinking_blocks", *([piece] for piece in pieces)) == expected


def test_an_empty_text_erases_no_value_of_a_block() -> None:
    """A value that is empty stays only where there was none."""
    blocks = [{"thinking": "a", "id": "", "signature": ""}, {"thinking": "", "id": "1"}, {"id": "", "note": None}]

    assert merged("thinking_blocks", blocks) == [{"thinking": "a", "id": "1", "signature": ""}]


def test_a_text_of_a_block_that_is_no_string_replaces_it() -> None:
    """A gateway may send a number where text belongs."""
    assert merged("thinking_blocks", [{"thinking": "a"}, {"thinking": 5}]) == [{"thinking": 5}]


# Parts


@pytest.mark.parametrize("kind", ["text", "thinking", "reasoning", "summary_text", "reasoning_text"])
@pytest.mark.parametrize("field", ["text", "thinking", "summary", "content"])
def test_consecutive_parts_of_one_type_are_one(kind: str, field: str) -> None:
    """The text of a part may stand in any of four fields."""
    assert joined([{"type": kind, field: "a"}], [{"type": kind, field: "b"}]) == [{"type": kind, field: "ab"}]


def test_parts_of_different_types_and_other_parts_are_whole() -> None:
    """Pictures are never joined; a string is a text part, and anything else is kept as it came."""
    picture = {"type": "image", "text": "a", "content": ["b", "c"]}

    assert joined([picture, picture]) == [picture, picture]
    assert joined(["a"], ["b", 5, "c"]) == [{"type": "text", "text": "ab"}, 5, {"type": "text", "text": "c"}]
    assert joined([{"type": "thinking", "text": "a"}, {"type": "text", "text": "b"}]) == [
        {"type": "thinking", "text": "a"},
        {"type": "text", "text": "b"},
    ]


@pytest.mark.parametrize("field", ["thinking", "summary", "content"])
def test_the_parts_of_a_part_are_joined(field: str) -> None:
    """A part may hold a list of parts in place of its text; its other fields are merged as ever."""
    pieces = [{"type": "thinking", "id": "1", field: [{"type": "text", "text": text}]} for text in ("a", "b")]

    assert joined(*([piece] for piece in pieces)) == [{**pieces[0], field: [{"type": "text", "text": "ab"}]}]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "a"),
        ({"text": "a"}, "a"),
        ({"type": "text", "text": "a"}, "a"),
        ({"text": "a", "id": 5}, [{"type": "text", "text": "a", "id": 5}]),
        ({"type": "text", "text": 5}, {"type": "text", "text": 5}),
        ({"type": "image", "text": "a"}, {"type": "image", "text": "a"}),
        ({"type": "thinking", "thinking": "a"}, [{"type": "thinking", "thinking": "a"}]),
        ({"type": "thinking"}, {"type": "thinking"}),
        ({"type": "image", "thinking": "a"}, {"type": "image", "thinking": "a"}),
    ],
)
def test_content_that_is_one_part_is_its_text_or_a_list_of_it(value: Any, expected: Any) -> None:
    """Other fields of a text are kept with it, and an object that is no part stays as it came."""
    assert rules.as_content(value) == expected


@pytest.mark.parametrize("text", ["a", {"value": "a"}, {"value": "a", "annotations": []}])
def test_the_text_of_a_part_is_a_string_or_stands_in_an_object(text: Any) -> None:
    """An object of another form is no text."""
    assert rules.part_texts([{"type": "text", "text": text}]) == ("a", "")
    assert rules.part_texts([{"type": "text", "text": {"value": 5}}, {"type": "text", "text": {}}]) == ("", "")


def test_a_list_after_a_text_adds_nothing_to_it() -> None:
    """The field of a part stays what it was first."""
    assert joined([{"type": "thinking", "thinking": "a"}], [{"type": "thinking", "thinking": ["b"]}]) == [
        {"type": "thinking", "thinking": "a"}
    ]


def test_what_lies_deeper_than_the_parts_of_a_part_is_kept_as_it_came() -> None:
    """A hostile part may be deep without end."""
    deep: Any = []
    for _ in range(10_000):
        deep = [{"type": "text", "content": deep}]
    parts: list[Any] = []
    rules.merge_parts(parts, [{"type": "thinking", "thinking": deep}])

    assert parts[0]["thinking"][0]["content"] is deep[0]["content"]


@pytest.mark.parametrize(
    ("pieces", "text", "thoughts"),
    [
        (["a", {"type": "text", "text": "b"}, {"text": "c"}], "abc", ""),
        ([{"type": "text", "text": 5}, {"type": "image"}, 5, None], "", ""),
        ([{"type": "thinking", "text": "a"}, {"type": "reasoning", "summary": "b"}], "", "ab"),
        ([{"type": "other", "thinking": "a"}, {"type": "other", "thinking": ""}], "", "a"),
        ([{"type": "summary_text", "text": "a"}, {"type": "reasoning_text", "text": "b"}], "", "ab"),
        ([{"type": "thinking", "content": "b", "text": "a"}], "", "ab"),
        ([{"type": "thinking", "thinking": ["a", {"text": "b"}, 5, [{"content": "c"}]]}], "", "abc"),
    ],
)
def test_the_text_of_parts_is_told_from_their_thoughts(pieces: list[Any], text: str, thoughts: str) -> None:
    """A part is a thought by its type, or by a field `thinking`."""
    assert rules.part_texts(pieces) == (text, thoughts)


# Usage


@pytest.mark.parametrize(
    ("known", "later", "expected"),
    [
        ({}, {"a": None}, {"a": None}),
        ({}, {"a": 0}, {"a": 0}),
        ({"a": None}, {"a": 0}, {"a": 0}),
        ({"a": 5}, {"a": 0}, {"a": 5}),
        ({"a": 5}, {"a": None}, {"a": 5}),
        ({"a": 5}, {"a": 6}, {"a": 6}),
        ({"a": 5}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}),
    ],
)
def test_a_usage_is_merged_by_field(known: Any, later: Any, expected: Any) -> None:
    """Null and zero erase nothing, and zero says more than null."""
    assert merge_usage(copy.deepcopy(known), later) == expected


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((7, 2, None), 9),
        ((0, 0, None), 0),
        ((7, 2, 5), 9),
        ((7, 2, 12), 12),
        ((7, 2, "9"), "9"),
        ((7, None, None), None),
        ((7, None, 5), 5),
        ((7, 2.0, 5), 5),
    ],
)
def test_a_total_is_at_least_its_two_parts(counts: Any, expected: Any) -> None:
    """Only numbers are added, and only two."""
    usage = dict(zip(("prompt_tokens", "completion_tokens", "total_tokens"), counts, strict=True))

    assert merge_usage({}, usage)["total_tokens"] == expected
    assert "total_tokens" not in merge_usage({}, {"prompt_tokens": 7, "completion_tokens": 2})


@pytest.mark.parametrize(
    ("before", "later", "expected"),
    [
        (None, None, None),
        (None, {"a": 1}, {"a": 1}),
        ({"a": 1}, None, {"a": 1}),
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1, "b": 2}, {"b": 3, "c": 4}, {"a": 1, "b": 5, "c": 4}),
        ({"a": 1.5}, {"a": 2}, {"a": 3.5}),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, {"a": {"b": 3}}),
        ({"a": {"b": 1}}, {"a": 5}, {"a": 5}),
        ({"a": 5}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": 1}, {"a": None}, {"a": 1}),
        ({"a": True}, {"a": 2}, {"a": 2}),
        ({"a": 2}, {"a": True}, {"a": True}),
        ({"a": "x"}, {"a": "y"}, {"a": "y"}),
    ],
)
def test_usages_of_two_requests_are_added(before: Any, later: Any, expected: Any) -> None:
    """Counters are added; of other values the later one stays, unless it is null."""
    assert add_usage(before, later) == expected


# Snapshots


def test_a_snapshot_does_not_grow() -> None:
    """Texts are joined, and lists and objects are copied as deep as anything grows."""
    fields: dict[str, Any] = {}
    rules.merge(fields, "reasoning_details", [{"type": "t", "text": "a"}])
    early = snapshot(fields)
    rules.merge(fields, "reasoning_details", [{"type": "t", "text": "b"}, 5])

    assert early == {"reasoning_details": [{"type": "t", "text": "a"}]}


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"a": value}], ids=["list", "object"])
def test_what_lies_too_deep_to_grow_is_not_copied(wrap: Callable[[Any], Any]) -> None:
    """A copy of what a hostile gateway nests without end would not end."""
    deep: Any = []
    for _ in range(10_000):
        deep = wrap(deep)
    copied = snapshot(wrap(wrap(wrap(deep))))
    for _ in range(3):
        (copied,) = copied.values() if isinstance(copied, dict) else copied

    assert copied is deep
