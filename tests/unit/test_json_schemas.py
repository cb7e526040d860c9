"""JSON schemas: whether a value fits one, and a value that does; pydantic is the judge."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from tensorloop_stream.replay._schemas.check import fits
from tensorloop_stream.replay._schemas.example import NoExampleError, example_of
from tensorloop_stream.replay._schemas.patterns import text_for


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Step(BaseModel, extra="forbid"):
    explanation: str
    output: str


class Solution(BaseModel, extra="forbid"):
    steps: list[Step]
    final_answer: str
    confidence: float = Field(ge=0, le=1)


class Node(BaseModel):
    name: str
    children: list[Node]


class Chain(BaseModel):
    value: int
    rest: Chain | None


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=2, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str = Field(min_length=12)


class Everything(BaseModel):
    """One field of each sort."""

    colour: Colour
    pet: Annotated[Dog | Cat, Field(discriminator="kind")]
    day: dt.date
    moment: dt.datetime
    id: uuid.UUID
    code: str = Field(pattern=r"^[A-Z]{2}-\d{3,5}$")
    handle: str = Field(pattern=r"^@[a-zA-Z0-9_]+$", max_length=8)
    short: str = Field(max_length=3)
    pair: tuple[int, str]
    unique: set[int] = Field(min_length=3)
    table: dict[str, float]
    above: float = Field(gt=10, lt=10.5)
    below: int = Field(lt=-3)
    even: int = Field(multiple_of=4, ge=5)
    flag: bool
    nothing: None
    maybe: Step | None
    several: list[Cat] = Field(min_length=3, max_length=3)
    default: str = "kept"


@pytest.mark.parametrize("model", [Step, Solution, Node, Chain, Everything, list[Cat], int | None, dict[str, Step]])
def test_an_example_is_valid_for_its_model(model: Any) -> None:
    """A program can parse the example with pydantic."""
    adapter = TypeAdapter(model)
    schema = adapter.json_schema()
    value = example_of(schema)

    adapter.validate_json(adapter.dump_json(adapter.validate_python(value)))
    assert fits(schema, value)


def test_a_hint_is_the_first_free_text() -> None:
    """A call about the city that the prompt names."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "city": {"type": "string"}, "of": {}}}

    assert example_of(schema, "Bern") == {"n": 1, "city": "Bern", "of": "canned of"}


def test_what_a_schema_suggests_is_taken() -> None:
    """An example or a default, if it fits."""
    suggestions = {
        "a": {"type": "string", "examples": [7, "first"]},
        "b": {"type": "integer", "default": 8},
        "c": {"type": "integer", "default": "wrong"},
    }

    assert example_of({"type": "object", "properties": suggestions}) == {"a": "first", "b": 8, "c": 1}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": 2, "maximum": 1},
        {"type": "string", "pattern": "(?!)"},
        {
            "$ref": "#/$defs/a",
            "$defs": {"a": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"]}},
        },
        {"not": {}, "enum": ["x"], "type": "integer"},
    ],
    ids=["empty range", "no match", "infinite", "no type"],
)
def test_a_schema_without_a_value_is_an_error(schema: dict[str, Any]) -> None:
    """Never a value that does not fit."""
    with pytest.raises(NoExampleError):
        example_of(schema)


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"type": "integer"}, [1, 2.0], [1.5, True, "1", None]),
        ({"type": "number"}, [1, 1.5], [False, "1"]),
        ({"type": ["string", "null"]}, ["", None], [1]),
        ({"type": "string", "nullable": True}, [None], [1]),
        ({"const": 1}, [1], [True, 2]),
        ({"enum": ["a", 1]}, ["a", 1], ["b", True]),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab"], ["a", "abcd"]),
        ({"pattern": "^a"}, ["ab", 7], ["ba"]),
        ({"pattern": "("}, ["any"], []),
        ({"minimum": 1, "exclusiveMaximum": 2}, [1, 1.5], [0, 2]),
        ({"multipleOf": 0.1}, [0.3, 7], [0.35]),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1}, [["a"]], [[], [1]]),
        ({"type": "array", "uniqueItems": True}, [[1, "1"]], [[1, 1]]),
        ({"prefixItems": [{"type": "string"}], "items": False}, [["a"], []], [["a", "b"], [1]]),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            [{"a": "", "b": 1}],
            [{}, {"a": 1}],
        ),
        ({"properties": {"a": {}}, "additionalProperties": False}, [{"a": 1}], [{"b": 1}]),
        ({"additionalProperties": {"type": "integer"}}, [{"b": 1}], [{"b": "1"}]),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, ["", None], [1]),
        ({"oneOf": [{"minimum": 1}, {"minimum": 2}]}, [1], [0, 2]),
        ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, [1, 2], [0, 3]),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "null"}}}, [None], [1]),
        ({"$ref": "#"}, [1], []),
        ({"$ref": "https://example.com/schema"}, [1], []),
        (True, [1, None], []),
        (False, [], [1, None]),
    ],
)
def test_values_are_told_apart(schema: Any, right: list[Any], wrong: list[Any]) -> None:
    """Keywords that are not known allow everything."""
    assert [fits(schema, value) for value in right] == [True] * len(right)
    assert [fits(schema, value) for value in wrong] == [False] * len(wrong)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^#[0-9a-fA-F]{6}$",
        r"^\+?[1-9]\d{1,14}$",
        r"^(yes|no)$",
        r"[^a-zA-Z]\s\w+?",
        r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$",
        r"^(?:19|20)\d\d-(0[1-9]|1[0-2])$",
        r".",
        r"^[^a]$",
    ],
)
def test_a_text_for_a_pattern_matches_it(pattern: str) -> None:
    """The patterns that people write into schemas."""
    assert re.search(pattern, text_for(pattern))


@pytest.mark.parametrize("pattern", ["(", r"(a)\1(?<=b)c"])
def test_a_pattern_that_is_beyond_it_gets_no_text(pattern: str) -> None:
    """Rather than a wrong one."""
    assert text_for(pattern) == ""
