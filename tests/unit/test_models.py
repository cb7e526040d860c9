"""Chunk models: fast validation, the SDK's lenient construction, and chunks that are not JSON."""

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
def test_every_recorded_chunk_validates(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of a real gateway do not need the SDK's lenient construction."""
    monkeypatch.setattr(models, "construct_chunk", None)
    chunks = [one for one in recorded.chunks(name) if "error" not in one]

    assert [make(one).to_dict() for one in chunks] == chunks


def test_a_chunk_that_does_not_validate_is_constructed_as_by_the_sdk() -> None:
    """A field of an odd type keeps its value: nothing is converted, nothing refused."""
    odd = {**text("Hi"), "created": "yesterday", "choices": [{"index": "0", "delta": {"content": 5}}]}

    made = make(odd)
    assert made == construct_chunk(odd)
    assert made.to_dict(warnings=False) == odd


def test_a_number_in_quotes_is_not_converted() -> None:
    """The SDK keeps a string that pydantic would convert to a number."""
    assert make({**text("Hi"), "created": "1795359264"}).created == "1795359264"  # type: ignore[comparison-overlap]


def test_fields_set_are_the_fields_that_were_sent() -> None:
    """A null that was sent counts as set; unknown fields are extra fields."""
    made = make({**chunk({"content": None, "own": 1}), "usage": None, "own": 2})

    assert made.model_fields_set == {*ENVELOPE, "choices", "usage"}
    assert made.choices[0].delta.model_fields_set == {"content"}
    assert made.choices[0].delta.model_extra == {"own": 1}
    assert made.model_extra == {"own": 2}


@pytest.mark.parametrize(
    ("data", "message"),
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
def test_data_that_is_no_chunk_raises_a_decode_error(data: bytes, message: str) -> None:
    """The error shows the data, and at most a line of it."""
    with pytest.raises(StreamDecodeError, match=message) as raised:
        parse_object(data)
    assert len(str(raised.value)) < 250


def test_json_with_half_surrogate_pairs_or_deep_nesting_is_read() -> None:
    """The result is that of the standard library, which the SDK uses."""
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


def test_models_and_mappings_are_converted_into_each_other() -> None:
    """A model is returned as it is, and its mapping equals the JSON of the chunk."""
    mapping = {**text("Hi"), "own": 1}
    model = make(mapping)

    assert as_mapping(model) == mapping
    assert as_chunk(model) is model
    assert as_chunk(mapping) == model
