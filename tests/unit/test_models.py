from __future__ import annotations

import json
from typing import Any

import cassette
import pytest
import recorded
from chunks import ENVELOPE, chunk, text
from openai.types.chat import ChatCompletionChunk

from tensorloop_stream import StreamDecodeError
from tensorloop_stream._chat import models
from tensorloop_stream._chat.models import as_chunk, as_mapping, construct_chunk, typed_chunk
from tensorloop_stream._stream.payload import parse_object

RECORDED = sorted(
    path.relative_to(cassette.FOLDER).with_suffix("").as_posix()
    for path in cassette.FOLDER.rglob("*.yaml")
    if path.parent.name != "responses"
)


def make(value: Any) -> ChatCompletionChunk:
    data = json.dumps(value).encode()
    return typed_chunk(data, parse_object(data))


@pytest.mark.parametrize("name", RECORDED)
def test_every_recorded_chunk_takes_the_fast_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a real gateway sends validates; none of it needs the SDK's lenient construction."""
    monkeypatch.setattr(models, "construct_chunk", None)
    chunks = [one for one in recorded.chunks(name) if "error" not in one]

    assert [make(one).to_dict() for one in chunks] == chunks


def test_what_does_not_validate_is_built_as_the_sdk_does() -> None:
    """A gateway's odd field stays as it came: nothing is converted, nothing refused."""
    odd = {**text("Hi"), "created": "yesterday", "choices": [{"index": "0", "delta": {"content": 5}}]}

    made = make(odd)
    assert made == construct_chunk(odd)
    assert made.to_dict(warnings=False) == odd


def test_numbers_are_not_converted() -> None:
    """Where pydantic would make a number of a string, the SDK keeps the string."""
    assert make({**text("Hi"), "created": "1795359264"}).created == "1795359264"  # type: ignore[comparison-overlap]


def test_fields_that_were_set() -> None:
    """What was sent, also as null, is told apart from what was not; unknown fields are not among the fields."""
    made = make({**chunk({"content": None, "own": 1}), "usage": None, "own": 2})

    assert made.model_fields_set == {*ENVELOPE, "choices", "usage"}
    assert made.choices[0].delta.model_fields_set == {"content"}
    assert made.choices[0].delta.model_extra == {"own": 1}
    assert made.model_extra == {"own": 2}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"{", r"not JSON .*: '\{'"),
        (b"", "not JSON"),
        (b"nonsense", "not JSON .*'nonsense'"),
        (b"[1]", r"not a JSON object: '\[1\]'"),
        (b"null", "not a JSON object"),
        (b'{"a":"\xff"}', "not UTF-8: byte 0xff at position 6 of 9 bytes"),
        (b'{"a": ' + b"x" * 200 + b"}", r"not JSON .*x'\.\.\."),
    ],
)
def test_what_is_no_chunk_is_named(data: bytes, says: str) -> None:
    """The error shows what came, and not more than a line of it."""
    with pytest.raises(StreamDecodeError, match=says) as raised:
        parse_object(data)
    assert len(str(raised.value)) < 250


def test_json_that_only_the_standard_library_reads() -> None:
    """Half a surrogate pair and deep nesting are read as the SDK reads them."""
    deep = b'{"a":' + b"[" * 300 + b"]" * 300 + b"}"

    assert parse_object(b'{"a":"\\ud83d"}') == {"a": "\ud83d"}
    assert parse_object(deep) == json.loads(deep)


def test_infinite_numbers_are_read() -> None:
    """Log probabilities may be minus infinity, which Python's JSON and the SDK accept (vLLM)."""
    logprob = {"token": "a", "logprob": float("-inf"), "bytes": None, "top_logprobs": []}
    made = make(text("a", logprobs={"content": [logprob], "refusal": None}))

    assert made.choices[0].logprobs is not None
    assert made.choices[0].logprobs.content is not None
    assert made.choices[0].logprobs.content[0].logprob == float("-inf")


def test_chunks_of_any_origin() -> None:
    """Models are handed on as they are and read as what came over the wire."""
    mapping = {**text("Hi"), "own": 1}
    model = make(mapping)

    assert as_mapping(model) == mapping
    assert as_chunk(model) is model
    assert as_chunk(mapping) == model
