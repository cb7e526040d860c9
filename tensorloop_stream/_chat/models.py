"""Build chunks: from the JSON of an event, or from values of any type.

Touches private API: which fields a pydantic model notes as set.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import pydantic
from openai.types.chat import ChatCompletionChunk
from openai.types.chat.chat_completion_chunk import ChoiceLogprobs

from tensorloop_stream._errors import StreamDecodeError
from tensorloop_stream._stream.models import build_model, json_validator

from .index import with_indices

if TYPE_CHECKING:
    from collections.abc import Callable


def typed_chunk(data: bytes, value: Mapping[str, Any]) -> ChatCompletionChunk:
    """Build the chunk that the SDK would build from `data`, of which `value` is the parsed form.

    Raises `StreamDecodeError` if the SDK cannot build one.
    """
    return valid_chunk(data) or construct_chunk(value)


def chunk_of_completion(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a whole completion as the chunk that says the same, because loops look at `delta`; others unchanged."""
    choices = value.get("choices")
    if value.get("object") != "chat.completion" or not isinstance(choices, list):
        return value
    return {**value, "object": "chat.completion.chunk", "choices": [*map(_with_delta, choices)]}


def _with_delta(choice: Any) -> Any:
    if not isinstance(choice, dict) or choice.get("delta") or not isinstance(message := choice.get("message"), dict):
        return choice
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        message = {**message, "tool_calls": with_indices(calls)}
    return {**{name: field for name, field in choice.items() if name != "message"}, "delta": message}


def valid_chunk(data: bytes) -> ChatCompletionChunk | None:
    """Build the chunk by validation, in Rust; `None` if it does not validate."""
    try:
        # Strict, because the SDK converts nothing: a string in a number field stays a string there.
        chunk = _validate_json()(data, strict=True)
    except ValueError:
        return None
    # Validation counts unknown fields among those that were set; where the SDK constructs, it does not.
    if chunk.__pydantic_extra__:
        chunk.__pydantic_fields_set__.difference_update(chunk.__pydantic_extra__)
    for choice in chunk.choices:
        delta = choice.delta
        if choice.__pydantic_extra__:
            choice.__pydantic_fields_set__.difference_update(choice.__pydantic_extra__)
        if delta.__pydantic_extra__:
            delta.__pydantic_fields_set__.difference_update(delta.__pydantic_extra__)
    return chunk


def valid_logprobs(data: bytes) -> ChoiceLogprobs | None:
    """Build the log probabilities of a choice as `valid_chunk` does; `None` also if there are fields of other names."""
    try:
        logprobs = _validate_logprobs()(data, strict=True)
    except ValueError:
        return None
    return None if logprobs.__pydantic_extra__ else logprobs


def construct_chunk(value: Mapping[str, Any]) -> ChatCompletionChunk:
    """Build a chunk the SDK's way; slower than by validation by a factor of twenty."""
    try:
        return build_model(ChatCompletionChunk, value)
    except (TypeError, AttributeError, ValueError, RecursionError) as error:
        raise StreamDecodeError(f"not a chunk ({error}): {reprlib.repr(value)}") from error


def as_mapping(chunk: ChatCompletionChunk | Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a chunk of any origin as the mapping that came over the wire; raises `TypeError`."""
    if isinstance(chunk, Mapping):
        return chunk
    if isinstance(chunk, pydantic.BaseModel):
        # What a lenient construction let in would make warnings.
        mapping = chunk.model_dump(exclude_unset=True, by_alias=True, warnings=False)
        if isinstance(chunk, ChatCompletionChunk) or mapping.keys() & {"choices", "error"}:
            return mapping
    raise TypeError(
        f"{type(chunk).__name__} is not a chunk: a ChatCompletionChunk or its mapping is. The SDK's .stream() helper "
        "yields events of another kind: give what chat.completions.create(..., stream=True) returns, and the events "
        "of the Responses API to ResponseStream"
    )


def as_chunk(chunk: ChatCompletionChunk | Mapping[str, Any]) -> ChatCompletionChunk:
    """Return what a caller is given for a chunk of any origin: models as they are, mappings built."""
    return construct_chunk(chunk) if isinstance(chunk, Mapping) else chunk


@cache
def _validate_json() -> Callable[..., ChatCompletionChunk]:
    return json_validator(ChatCompletionChunk)


@cache
def _validate_logprobs() -> Callable[..., ChoiceLogprobs]:
    return json_validator(ChoiceLogprobs)
