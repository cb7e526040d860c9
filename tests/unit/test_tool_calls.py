"""Tool calls: deltas with and without index, id, name and type."""

from __future__ import annotations

import json
from typing import Any

import pytest
from chunks import HELLO, accumulate, chunk, finish, message_of, tool
from openai.types.chat import ChatCompletionMessageCustomToolCall, ChatCompletionMessageFunctionToolCall

from tensorloop_stream._chat import tool_call, tool_calls
from tensorloop_stream._chat.accumulator import ChatAccumulation
from tensorloop_stream._chat.index import as_index
from tensorloop_stream._chat.tool_call import ToolCall, in_function, joined_name, name_and_text_of


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


ROME = '{"city":"Rome"}'


@pytest.mark.parametrize("index", [0, None])
@pytest.mark.parametrize("call_id", ["a", "", None])
def test_a_name_in_fragments_is_joined(index: int | None, call_id: str | None) -> None:
    """The fragments are joined while the arguments are not whole (openclaw#127603, continue#5849)."""
    more: dict[str, Any] = {key: value for key, value in (("index", index), ("id", call_id)) if value is not None}
    late = (call_delta('{"city":', name="get_", **more), call_delta('"Paris"}', name="weather", **more))
    early = (call_delta("", name="get_", **more), call_delta(name="weather", **more), call_delta(PARIS, **more))

    assert calls(*late) == [(call_id or None, "get_weather", PARIS)]
    if index == 0 or call_id:
        assert calls(*early) == [(call_id or None, "get_weather", PARIS)]


def test_a_name_that_grows_is_its_last_form() -> None:
    """A name that begins with all that came of it replaces it, and a repeated one counts once (hermes-agent#8259)."""
    deltas = [call_delta("", index=0, name=name) for name in ("get", "get_wea", "get_weather", "get_weather")]

    assert calls(*deltas, call_delta(PARIS, index=0, name="get_weather")) == [(None, "get_weather", PARIS)]


@pytest.mark.parametrize("index", [0, None])
def test_an_object_behind_a_whole_one_begins_another_call(index: int | None) -> None:
    """It has the name of the last call, unless it brings one, wherever the bytes were cut (unsloth#9807)."""
    more: dict[str, Any] = {} if index is None else {"index": index}
    glued = PARIS + ROME + PARIS
    expected = [(None, "f", PARIS), (None, "f", ROME), (None, "f", PARIS)]

    for cut in range(1, len(glued)):
        assert calls(call_delta(glued[:cut], name="f", **more), call_delta(glued[cut:], **more)) == expected
    assert calls(call_delta("", name="f", **more), *(call_delta(one, **more) for one in glued)) == expected
    assert calls(*(call_delta(one, name="f", **more) for one in (PARIS, ROME, PARIS))) == expected


def test_braces_in_a_string_begin_no_call() -> None:
    """The rule looks at objects, not at braces."""
    arguments = json.dumps({"tex": r"\\frac{a}{b}", "code": '}{"', "inner": {"a": [{}, {"b": "\\"}]}})
    deltas = [call_delta(one, index=0) for one in arguments]

    assert calls(call_delta("", index=0, id="a", name="f"), *deltas) == [("a", "f", arguments)]


@pytest.mark.parametrize("call_id", ["a", None])
@pytest.mark.parametrize(
    "pieces",
    [
        ("{}", PARIS),
        (PARIS, "{}"),
        ("{}", "{", '"city":', '"Paris"}'),
        (PARIS, "{", "}"),
        ("{}" + PARIS,),
        (PARIS + "{}",),
        (PARIS, PARIS),
        (PARIS[:8], PARIS[8:], PARIS),
        (PARIS, PARIS[:8], PARIS[8:]),
    ],
)
def test_a_lone_or_repeated_object_is_no_call(pieces: tuple[str, ...], call_id: str | None) -> None:
    """`{}` beside the arguments, and the arguments again, add nothing (openai-agents-js#712, opencodex#361)."""
    more = {"index": 0, **({"id": call_id} if call_id else {})}

    assert calls(*(call_delta(one, name="f", **more) for one in pieces)) == [(call_id, "f", PARIS)]
    assert calls(call_delta("", name="f", **more), *(call_delta(one, index=0) for one in pieces)) == [
        (call_id, "f", PARIS)
    ]


def test_arguments_that_grow_are_their_last_form() -> None:
    """Some hosts send all that has come in each piece; equal fragments are no such thing (hermes-agent#35592)."""
    snapshots = [call_delta(PARIS[:end], index=0, id="a", name="f") for end in (1, 1, 5, 9, 9, 16)]
    fragments = [call_delta(one, index=0) for one in ('{"a":"', "x", "x", '"}')]

    assert calls(*snapshots) == [("a", "f", PARIS)]
    assert calls(call_delta("", index=0, id="a", name="f"), *fragments) == [("a", "f", '{"a":"xx"}')]


def test_calls_at_an_index_that_is_taken_again_are_separate() -> None:
    """A call that came between changes nothing (unsloth#9817)."""
    deltas = (
        call_delta(PARIS, index=0, name="f"),
        call_delta("{}", index=1, name="g"),
        call_delta(ROME, index=0, name="h"),
    )

    assert calls(*deltas) == [(None, "f", PARIS), (None, "h", ROME), (None, "g", "{}")]


@pytest.mark.parametrize("more", [{}, {"index": 0}])
def test_a_blank_id_is_none(more: dict[str, Any]) -> None:
    """A gateway may send a blank id in the pieces that follow the first (vercel/ai#18440)."""
    assert calls(call_delta("{", id="a", name="f", **more), call_delta("}", id=" ", **more)) == [("a", "f", "{}")]


def test_two_names_with_a_type_and_without_ids_are_two_calls() -> None:
    """A call without arguments is whole with its name, where no host gave an id; with one, the rest is of its name."""
    first, second = (
        call_delta("", index=0, name="f", type="function"),
        call_delta(PARIS, index=0, name="g", type="function"),
    )

    assert calls(first, second) == [(None, "f", ""), (None, "g", PARIS)]
    assert calls({**first, "id": "a"}, second) == [("a", "fg", PARIS)]


@pytest.mark.parametrize("start", ["", '{"a":', "{"])
def test_the_rest_of_a_call_may_have_another_index(start: str) -> None:
    """A piece with neither id nor name opens no call beside one that is not whole (agno#8880)."""
    rest = '{"a":1}'.removeprefix(start)
    pieces = [
        call_delta(PARIS, index=0, id="a", name="f"),
        call_delta(start, index=0, id="b", name="g"),
        call_delta("", index=1, id="", type="function"),
        *(call_delta(one, index=1) for one in rest),
        call_delta("{}", index=1, id="c", name="h"),
    ]

    assert calls(*pieces) == [("a", "f", PARIS), ("b", "g", '{"a":1}'), ("c", "h", "{}")]


def test_arguments_before_their_name_at_a_new_index_open_a_call() -> None:
    """Behind a whole call nothing else can take them."""
    pieces = (call_delta(PARIS, index=0, name="f"), call_delta("{}", index=1), call_delta(index=1, name="g"))

    assert calls(*pieces) == [(None, "f", PARIS), (None, "g", "{}")]


@pytest.mark.parametrize("index", [None, 0])
@pytest.mark.parametrize("more", [{}, {"type": "function"}])
@pytest.mark.parametrize("first", ["{}", PARIS])
def test_a_longer_name_behind_whole_arguments_is_another_call(
    first: str, more: dict[str, Any], index: int | None
) -> None:
    """A tool's name may begin with that of another; with the id of the call, it is the rest of its name."""
    place = {} if index is None else {"index": index}
    two = calls(call_delta(first, name="get", **more, **place), call_delta('{"a":1}', name="get_all", **more, **place))
    one = calls(call_delta(first, name="get", id="a", **place), call_delta("", name="get_all", id="a", **place))

    assert two == [(None, "get", first), (None, "get_all", '{"a":1}')]
    assert one == [("a", "get_all", first)]


@pytest.mark.parametrize("more", [{}, {"index": 0}, {"index": 0, "type": "function"}])
@pytest.mark.parametrize("arguments", [PARIS, "{}"])
def test_two_equal_calls_in_one_list_are_two(arguments: str, more: dict[str, Any]) -> None:
    """The same again in a later list, or with the same id, is a repeat."""
    one = call_delta(arguments, name="f", **more)
    twice = ChatAccumulation()
    for each in (tool(one, one), tool(one, one), finish("tool_calls")):
        twice.add(each)

    assert [call.function.arguments for call in twice.newly_whole_calls(ended=True)] == [arguments] * 2  # type: ignore[union-attr]
    assert len(twice.tool_calls) == 2
    assert calls(one, one) == [(None, "f", arguments)]
    assert len(accumulate(tool({**one, "id": "a"}, {**one, "id": "a"})).tool_calls) == 1


@pytest.mark.parametrize("kind", [{}, {"type": "function"}, {"function": None}])
def test_a_name_and_arguments_beside_the_id_are_the_calls(kind: Any) -> None:
    """Some hosts send a call of the Responses API."""
    pieces: list[Any] = [
        {"id": "a", "name": "f", "arguments": '{"a"'},
        {"arguments": ":1"},
        {"function": {"arguments": "}"}},
    ]
    made = accumulate(*(tool({"index": 0} | kind | piece) for piece in pieces), finish("tool_calls"))

    assert [call.to_dict() for call in made.tool_calls] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    ]


def test_a_call_without_a_name_is_unusable() -> None:
    """It stays in the message, and its reason says what is missing; a name may come late."""
    made = accumulate(tool(call_delta(PARIS, index=0, id="a")), finish("tool_calls"))
    late = accumulate(
        tool(call_delta(PARIS, index=0, id="a")), tool(call_delta(index=0, name="f")), finish("tool_calls")
    )

    assert [one.reason for one in made.unusable_tool_calls] == ["the call has no name"]
    assert len(made.tool_calls) == 1
    assert not late.unusable_tool_calls


@pytest.mark.parametrize("last", ["tool_calls", "length"])
@pytest.mark.parametrize(
    "value",
    [
        [{"index": 1, "id": "", "type": "function", "function": {"name": "", "arguments": ""}}],
        [{"index": 1, "function": None}],
        [{}],
        [""],
        {},
        "",
        False,
    ],
)
def test_a_call_without_anything_is_none(value: Any, last: str) -> None:
    """It is neither in the message nor told, alone or beside another call."""
    alone = accumulate(chunk({"content": "a", "tool_calls": value}), finish(last))
    beside = ChatAccumulation()
    for one in (tool(F), chunk({"tool_calls": value}), finish("tool_calls")):
        beside.add(one)

    assert alone.completion.choices[0].message.tool_calls is None
    assert not alone.unusable_tool_calls
    assert [call.function.name for call in beside.newly_whole_calls(ended=True)] == ["f"]  # type: ignore[union-attr]
    assert not beside.unusable_calls(ended=True)


def test_a_legacy_name_in_fragments_is_joined() -> None:
    """The rule for names holds for the legacy function call too."""
    parts = ({"name": "get_"}, {"name": "weather"}, {"name": "get_weather"}, {"arguments": PARIS})
    message = message_of(*(chunk({"function_call": one}) for one in parts))

    assert message["function_call"] == {"name": "get_weather", "arguments": PARIS}


def test_a_growing_call_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that grows while others open is not looked at from its start each time."""
    parsed: list[int] = []
    plain = tool_call._parsed

    def counting(text: str) -> Any:
        parsed.append(len(text))
        return plain(text)

    monkeypatch.setattr(tool_call, "_parsed", counting)
    accumulation = ChatAccumulation()
    accumulation.add(tool(call_delta('{"a":"', index=0, id="c0", name="f")))
    for number in range(1, 50):
        accumulation.add(tool(call_delta("{}", index=number, id=f"c{number}", name="f")))
        accumulation.add(tool(call_delta("x" * 100, index=0)))
        accumulation.newly_whole_calls(ended=False)
    accumulation.add(tool(call_delta('"}', index=0), finish="tool_calls"))

    assert len(accumulation.newly_whole_calls(ended=False)) == 50
    assert sum(parsed) < 2 * 49 * 100


def test_a_second_call_at_one_index_is_handed_over_with_its_arguments() -> None:
    """It has no chunk of its own that named its arguments first."""
    accumulator = accumulate(
        tool(call_delta('{"a":1}', index=0, name="f")),
        tool(call_delta('{"a":2}', index=0, name="f")),
        finish("tool_calls"),
    )
    handed_over: list[Any] = accumulator._accumulation.newly_whole_calls(ended=True)

    assert [call.function.arguments for call in handed_over] == ['{"a":1}', '{"a":2}']


# Which call a piece belongs to

F = call_delta("{}", index=0, id="a", name="f")
OPEN = call_delta('{"a":', index=0, id="a", name="f")


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        # By another id at the index.
        ([OPEN, call_delta("1}", index=0, id="b")], [("a", "f", '{"a":1}')]),
        ([F, call_delta(index=0, id="b")], [("a", "f", "{}"), ("b", "", "")]),
        ([F, call_delta("{}", index=0, id="b", name="f")], [("a", "f", "{}"), ("b", "f", "{}")]),
        ([call_delta("{", index=0, name="f"), call_delta("}", index=0, id="b")], [("b", "f", "{}")]),
        # By another name behind arguments.
        ([F, call_delta(index=0, name="g")], [("a", "f", "{}"), (None, "g", "")]),
        ([F, call_delta("x", index=0, name="g")], [("a", "f", "{}"), (None, "g", "x")]),
        ([F, call_delta(index=0, id="a", name="g")], [("a", "fg", "{}")]),
        ([F, call_delta(" {}", index=0, id="a", name="g")], [("a", "f", "{}"), ("a", "g", " {}")]),
        ([OPEN, call_delta(index=0, name="g")], [("a", "f", '{"a":'), (None, "g", "")]),
        ([OPEN, call_delta("1}", index=0, name="g")], [("a", "fg", '{"a":1}')]),
        ([OPEN, call_delta(" {}", index=0, name="g")], [("a", "f", '{"a":'), (None, "g", " {}")]),
        ([OPEN, call_delta('{"a":1}', index=0, name="g")], [("a", "fg", '{"a":1}')]),
        ([call_delta("{}", index=0, name="f"), call_delta(index=0, name="g")], [(None, "f", "{}"), (None, "g", "")]),
        (
            [call_delta("{}", index=0, name="f"), call_delta(index=0, id="b", name="g")],
            [(None, "f", "{}"), ("b", "g", "")],
        ),
        # By another name without arguments.
        ([call_delta(index=0, name="f"), call_delta(index=0, name="g")], [(None, "fg", "")]),
        (
            [call_delta(index=0, name="f"), call_delta(index=0, name="g", type="function", id="b")],
            [("b", "fg", "")],
        ),
        # Without an index.
        ([call_delta(name="f"), call_delta(name="g")], [(None, "f", ""), (None, "g", "")]),
        ([call_delta(name="f"), call_delta(name="f")], [(None, "f", "")]),
        ([call_delta(), call_delta(name="f")], [(None, "f", "")]),
        ([call_delta("{}"), call_delta("")], [(None, "", "{}")]),
        ([call_delta(name="f"), call_delta("{}", id="b", name="g")], [(None, "f", ""), ("b", "g", "{}")]),
        ([call_delta("{}", id="a", name="f"), call_delta("{}", id="b")], [("a", "f", "{}"), ("b", "", "{}")]),
        (
            [call_delta('{"a":', id="a", name="f"), call_delta("{}", name="g"), call_delta("1}", id="a")],
            [("a", "f", '{"a":1}'), (None, "g", "{}")],
        ),
        # By nothing.
        ([F, {"index": 0, "function": "x"}, {"index": 0, "function": [1]}], [("a", "f", "{}")]),
        ([call_delta("5", index=0), call_delta("56", index=0)], [(None, "", "556")]),
    ],
)
def test_a_piece_finds_its_call(deltas: list[Any], expected: list[Any]) -> None:
    """An id, a name or the end of the arguments begins another call; all else goes on with the one that is there."""
    assert calls(*deltas) == expected


@pytest.mark.parametrize(
    ("indices", "expected"), [((None, 0), "ab"), ((5, None, 4), "cab"), ((5, None, 6), "abc"), ((1, 0), "ba")]
)
def test_a_call_without_an_index_stands_behind_the_one_before_it(indices: tuple[Any, ...], expected: str) -> None:
    """The first one has the index 0."""
    deltas = [call_delta("{}", index=index, id=name, name=name) for index, name in zip(indices, "abc", strict=False)]

    assert [name for _, name, _ in calls(*deltas)] == [*expected]


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_an_object_that_grows_behind_a_blank_replaces_itself(blank: str) -> None:
    """A blank before the brace changes nothing."""
    deltas = [call_delta(blank + PARIS[:end], index=0, name="f") for end in (5, 9, 16)]

    assert calls(*deltas) == [(None, "f", blank + PARIS)]


def test_a_call_that_begins_in_another_ones_arguments_has_its_place_and_type() -> None:
    """The index goes on with the new call, and nothing else is known of it."""
    made = accumulate(
        tool(call_delta(PARIS + ROME[:5], index=1, id="a", name="f", type="kind")),
        tool(call_delta("{}", index=2, id="b", name="g")),
        tool(call_delta(ROME[5:], index=1)),
    )
    functions = [{"name": "f", "arguments": PARIS}, {"name": "f", "arguments": ROME}, {"name": "g", "arguments": "{}"}]

    assert [call.to_dict(warnings=False) for call in made.tool_calls] == [
        {"id": "a", "type": "kind", "function": functions[0]},
        {"type": "kind", "function": functions[1]},
        {"id": "b", "type": "function", "function": functions[2]},
    ]


@pytest.mark.parametrize(
    ("value", "index"),
    [
        (0, 0), (7, 7), (2.0, 2), (2.5, None), ("3", 3), ("123456789", 123456789), ("1234567890", None),
        ("\u00b2", None), ("\u0663", None), ("x", None), ("", None), (True, None), (None, None), ([1], None),
    ],
)  # fmt: skip
def test_an_index_is_a_number_or_its_digits(value: object, index: int | None) -> None:
    """Anything else is no index, and so is a number that no list is as long as."""
    found = as_index(value)

    assert (found, type(found)) == (index, type(index))


@pytest.mark.parametrize(
    ("known", "name", "joined"),
    [
        ("", "f", "f"), ("f", "", "f"), ("get", "get_a", "get_a"), ("get_", "a", "get_a"),
        ("f", 5, "f"), ("", 5, 5), (5, "f", 5),
    ],
)  # fmt: skip
def test_a_name_that_is_no_string_is_kept(known: Any, name: Any, joined: Any) -> None:
    """Nothing can be joined to it."""
    assert joined_name(known, name) == joined


def test_null_among_the_pieces_is_skipped() -> None:
    """A gateway may send `null` where a piece would be."""
    made = accumulate(tool(None, F, None)).tool_calls

    assert [call.to_dict()["id"] for call in made] == ["a"]


# What is known of a call


def test_an_id_that_is_no_string_is_its_json() -> None:
    """A number tells calls apart as any id does."""
    assert calls(call_delta("{", id=5, name="f"), call_delta("}", id=5), call_delta("{}", id=6, name="g")) == [
        ("5", "f", "{}"),
        ("6", "g", "{}"),
    ]


def test_the_first_type_counts() -> None:
    """A later one is dropped, and a call without one is a function."""
    (made,) = accumulate(tool({**F, "type": "function"}), tool({"index": 0, "type": "other"})).tool_calls

    assert made.to_dict() == {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_unknown_fields_of_a_function_are_kept_in_it() -> None:
    """They are merged as the fields of a message are."""
    pieces = [{"index": 0, "function": {"name": "f", "arguments": one, "note_text": one}} for one in "{}"]
    (made,) = accumulate(*(tool(piece) for piece in pieces)).tool_calls

    assert made.to_dict() == {"type": "function", "function": {"name": "f", "arguments": "{}", "note_text": "{}"}}


def test_a_custom_call_needs_no_type() -> None:
    """The name in pieces is joined, and input that looks like objects is not looked at."""
    pieces: list[dict[str, Any]] = [{"name": "sq", "input": "{}"}, {"name": "l"}, {"input": "{}"}, {"input": " {"}]
    (made,) = accumulate(*(tool({"index": 0, "custom": piece}) for piece in pieces)).tool_calls

    assert made.to_dict() == {"type": "custom", "custom": {"name": "sql", "input": "{}{} {"}}


def test_an_empty_function_beside_a_custom_call_is_none() -> None:
    """A host may send both fields, one of them empty."""
    pieces = [{"index": 0, "function": {}, "custom": {"name": "sql", "input": one}} for one in "ab"]
    (made,) = accumulate(*(tool(piece) for piece in pieces)).tool_calls

    assert made.to_dict() == {"type": "custom", "custom": {"name": "sql", "input": "ab"}}


def test_a_name_that_is_no_string_begins_no_call() -> None:
    """It is kept as it came."""
    (made,) = accumulate(tool({"index": 0, "function": {"name": 5, "arguments": "{}"}})).tool_calls

    assert made.to_dict(warnings=False)["function"] == {"name": 5, "arguments": "{}"}


# What is whole


def made_calls(*deltas: Any) -> tool_calls.ToolCalls:
    made = tool_calls.ToolCalls()
    for delta in deltas:
        made.add([delta])
    return made


def names(found: list[ToolCall]) -> list[str]:
    return [call.name for call in found]


G = call_delta('{"b":2}', index=1, id="b", name="g")


@pytest.mark.parametrize(
    ("arguments", "is_whole", "is_complete", "is_valid"),
    [
        (None, False, False, True),
        ("", False, False, True),
        (" ", False, False, True),
        ("{}", True, True, True),
        (" {} ", True, True, True),
        ('{"a":', False, False, False),
        ('{"a" 1}', True, False, False),
        ("5", False, False, True),
        ("[1", False, False, False),
        ("[" * 100_000, False, False, False),
        ('{"a":' + "[" * 100_000 + "}", True, False, False),
    ],
)
def test_the_arguments_say_whether_a_call_may_be_run(
    arguments: str | None, is_whole: bool, is_complete: bool, is_valid: bool
) -> None:
    """A closed object that is no JSON is whole, but nobody may run it."""
    (call,) = made_calls(call_delta(arguments, index=0, name="f")).calls

    assert (call.is_whole(), call.is_complete(), call.is_valid()) == (is_whole, is_complete, is_valid)


def test_a_custom_call_may_be_run_at_the_end_alone() -> None:
    """Its input has no end that could be seen."""
    made = made_calls({"index": 0, "custom": {"name": "sql", "input": '{"a":1}'}}, G)
    again = made_calls({"index": 0, "custom": {"name": "sql", "input": "{"}})

    assert names(made.newly_whole(finished=False)) == []
    assert names(made.newly_whole(finished=True)) == ["sql", "g"]
    assert names(again.newly_whole(finished=True)) == ["sql"]
    assert made.calls[0].is_whole() is False


def test_a_call_is_handed_over_once() -> None:
    """The last one waits for the end, also if no piece comes any more."""
    made = made_calls(call_delta('{"a":1}', index=0, name="f"), G)

    assert names(made.newly_whole(finished=False)) == ["f"]
    assert names(made.newly_whole(finished=False)) == []
    made.add([call_delta("{}", index=2, name="h")])
    assert names(made.newly_whole(finished=False)) == ["g"]
    assert names(made.newly_whole(finished=True)) == ["h"]
    assert names(made.newly_whole(finished=True)) == []


def test_calls_are_handed_over_as_they_arrived() -> None:
    """The order of their indices is that of the message."""
    made = made_calls(call_delta("{}", index=1, name="g"), call_delta('{"a":', index=0, name="f"))
    made.add([call_delta("1}", index=0), call_delta("{}", index=2, name="h"), call_delta(" ", index=1)])

    assert names(made.newly_whole(finished=True)) == ["g", "f", "h"]
    assert names(made.ordered()) == ["f", "g", "h"]


def test_arguments_that_end_behind_the_next_call_are_whole_then() -> None:
    """A piece changes a call that was asked before."""
    made = made_calls(call_delta('{"a":', index=0, name="f"), G)
    assert names(made.newly_whole(finished=False)) == []
    made.add([call_delta("1}", index=0)])

    assert names(made.newly_whole(finished=False)) == ["f"]


def test_an_empty_object_is_whole_at_the_end_alone() -> None:
    """Arguments may follow, which must be valid by themselves."""
    made = made_calls(call_delta("{ }", index=0, name="f"), G)
    replaced = made_calls(F, G)

    assert names(made.newly_whole(finished=False)) == []
    assert names(made.newly_whole(finished=True)) == ["f", "g"]
    assert names(replaced.newly_whole(finished=False)) == []
    replaced.add([call_delta('{"a" 1}', index=0)])
    assert names(replaced.newly_whole(finished=True)) == ["g"]


def test_a_repeat_is_not_handed_over() -> None:
    """Neither before the end nor at it."""
    made = made_calls(call_delta(PARIS + PARIS, index=0, name="f"), G)

    assert names(made.newly_whole(finished=False)) == ["f"]
    assert names(made.newly_whole(finished=True)) == ["g"]
    assert len(made.calls) == 3


@pytest.mark.parametrize(("finished", "expected"), [(False, ["f", "h"]), (True, ["f"])])
def test_an_unusable_call_is_one_that_is_never_handed_over(finished: bool, expected: list[str]) -> None:
    """After a cut the last call is unusable, even if its arguments look whole."""
    made = made_calls(call_delta('{"a":', index=0, name="f"), G, call_delta("{}", index=2, name="h"))

    assert names(made.unusable(finished=finished)) == expected
    made.newly_whole(finished=finished)
    assert names(made.unusable(finished=finished)) == expected
    assert made_calls().unusable(finished=finished) == []


def test_a_call_that_was_handed_over_is_not_unusable() -> None:
    """Whatever follows its arguments."""
    made = made_calls(call_delta('{"a":1}', index=0, name="f"), G)
    made.newly_whole(finished=True)
    made.add([call_delta("x", index=0)])

    assert made.unusable(finished=True) == made.unusable(finished=False) == []


@pytest.mark.parametrize(
    ("sent", "runnable", "expected"),
    [
        ([call_delta(index=0, name="f")], True, "{}"),
        ([call_delta(index=0, name="f")], False, ""),
        ([call_delta("", index=0, name="f"), call_delta(index=0)], True, ""),
        ([call_delta("5", index=0, name="f")], True, "5"),
    ],
)
def test_a_call_to_run_has_arguments(sent: list[Any], runnable: bool, expected: str) -> None:
    """Those of an answer with `stream=False` are `{}`, where the gateway sent none; an empty string is one."""
    (call,) = made_calls(*sent).calls
    custom = made_calls({"index": 0, "custom": {"name": "sql"}}).calls[0]

    assert call.to_model(runnable=runnable).function.arguments == expected  # type: ignore[union-attr]
    assert custom.to_dict(runnable=runnable)["custom"]["input"] == ""
    assert isinstance(custom.to_model(), ChatCompletionMessageCustomToolCall)
    assert call.to_dict() == call.to_dict(runnable=False) == call.to_model().to_dict()


# Arguments alone


@pytest.mark.parametrize(
    ("piece", "expected"),
    [
        ({"index": 0, "function": {"arguments": "x"}}, True),
        ({"index": 0, "type": "function", "function": {"arguments": "x"}}, True),
        ({"index": 0, "type": "custom", "function": {"arguments": "x"}}, False),
        ({"index": 0, "id": "a", "function": {"arguments": "x"}}, False),
        ({"index": 0, "id": None, "type": "function", "function": {"arguments": "x"}}, False),
        ({"index": 0, "function": {"arguments": "x", "name": None}}, False),
        ({"index": 0, "function": {"arguments": ""}}, False),
        ({"index": 0, "function": {"arguments": 5}}, False),
        ({"index": 0, "function": {"name": "x"}}, False),
        ({"index": 0, "function": None}, False),
        ({"index": "0", "function": {"arguments": "x"}}, False),
        ({"index": False, "function": {"arguments": "x"}}, False),
        ({"index": 9, "function": {"arguments": "x"}}, False),
        ([], False),
    ],
)
def test_a_piece_of_nothing_but_arguments_continues_a_call(piece: Any, expected: bool) -> None:
    """The fast path takes no other piece."""
    assert made_calls(F).continues(piece) is expected


def test_a_type_that_was_sent_is_the_one_that_continues() -> None:
    """LiteLLM repeats it in every piece."""
    made = made_calls({**F, "type": "kind"})

    assert made.continues({"index": 0, "type": "kind", "function": {"arguments": "x"}})
    assert not made.continues({"index": 0, "type": "function", "function": {"arguments": "x"}})


def test_arguments_alone_may_end_an_object_and_begin_another() -> None:
    """The fast path appends text as a piece would."""
    made = made_calls(call_delta('{"a":', index=0, name="f"), G)
    made.newly_whole(finished=False)
    made.extend(0, "1")
    made.extend(0, "}")
    whole = names(made.newly_whole(finished=False))
    made.extend(0, '{"a":2}')

    assert whole == ["f"]
    assert [str(call.input) for call in made.ordered()] == ['{"a":1}', '{"a":2}', '{"b":2}']


@pytest.mark.parametrize(
    ("piece", "expected"),
    [
        ({"id": "a"}, {"id": "a"}),
        ({"id": "a", "name": "f"}, {"id": "a", "function": {"name": "f"}}),
        ({"id": "a", "name": "f", "arguments": None}, {"id": "a", "function": {"name": "f"}}),
        ({"name": "f", "function": {}}, {"function": {"name": "f"}}),
        ({"name": "x", "function": {"name": "f"}}, {"name": "x", "function": {"name": "f"}}),
        ({"name": "x", "custom": {"name": "f"}}, {"name": "x", "custom": {"name": "f"}}),
    ],
)
def test_a_name_beside_the_id_of_a_call_stands_for_its_function(piece: Any, expected: Any) -> None:
    """It is another field where the call has a function."""
    assert in_function(piece) == expected


def test_a_piece_of_a_call_without_a_function_has_no_name_and_no_text() -> None:
    """A name that is no string is none."""
    assert name_and_text_of({"id": "a"}) == ("", "")
    assert name_and_text_of({"function": {"name": 5}}) == ("", "")
    assert name_and_text_of({"custom": {"name": "f", "input": "a"}}) == ("f", "a")
