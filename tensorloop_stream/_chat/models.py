"""Build the SDK's models: a chunk from the JSON of an event, and any model from values of any type.

Touches private API: which fields a pydantic model notes as set, and the parameters of the SDK's `model_construct`.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import pydantic
from openai.types.chat import ChatCompletionChunk
from openai.types.chat.chat_completion_chunk import ChoiceLogprobs

from tensorloop_stream._errors import StreamDecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

_PARAMETERS = ("_fields_set", "_BaseModel__cls")
_ModelT = TypeVar("_ModelT", bound=pydantic.BaseModel)
_KindT = TypeVar("_KindT")


def typed_chunk(data: bytes, value: Mapping[str, Any]) -> ChatCompletionChunk:
    """Build the chunk that the SDK would build from `data`, of which `value` is the parsed form.

    Raises `StreamDecodeError` if the SDK cannot build one.
    """
    return valid_chunk(data) or construct_chunk(value)


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


def build_model(kind: type[_ModelT], values: Mapping[str, Any]) -> _ModelT:
    """Build a model the SDK's way, which takes fields of any type, whatever they are called."""
    # The SDK's constructor would take these for its own parameters.
    taken = {name: values[name] for name in _PARAMETERS if name in values}
    rest = {name: value for name, value in values.items() if name not in taken}
    if _hold_parameters(rest):
        # So it does in the objects inside, where nothing can be put back.
        rest = _without_parameters(rest)
    model = kind.model_construct(**rest)
    if taken and model.model_extra is not None:
        model.model_extra.update(taken)
    return model


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
        "and its Responses API yield events of other kinds: give what chat.completions.create(..., stream=True) returns"
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


def json_validator(kind: type[_KindT]) -> Callable[..., _KindT]:
    """Return what builds such objects of JSON, in Rust; to be kept, since it takes some milliseconds to make."""
    adapter = pydantic.TypeAdapter(kind)
    if hasattr(adapter, "rebuild"):  # since pydantic 2.10, as is the need for it
        adapter.rebuild(force=True)
    return adapter.validator.validate_json


def _hold_parameters(values: Mapping[str, Any]) -> bool:
    # Not recursive, since a completion never raises, however deep it is.
    left = [*values.values()]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if not value.keys().isdisjoint(_PARAMETERS):
                return True
            left += value.values()
        elif isinstance(value, list):
            left += value
    return False


def _without_parameters(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_parameters(item) for name, item in value.items() if name not in _PARAMETERS}
    return [_without_parameters(item) for item in value] if isinstance(value, list) else value
