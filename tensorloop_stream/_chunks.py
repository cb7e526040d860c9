"""The data of an event to a chunk: as a plain mapping and as the SDK's `ChatCompletionChunk`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import jiter
import pydantic
from openai.types.chat import ChatCompletionChunk

from ._errors import StreamDecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

# How much of the data an error message shows.
_SHOWN = 80
_PARAMETERS = ("_fields_set", "_BaseModel__cls")
_ModelT = TypeVar("_ModelT", bound=pydantic.BaseModel)


def parse_object(data: bytes) -> dict[str, Any]:
    """Parse the data of an event; raises `StreamDecodeError` if it is not UTF-8, not JSON or not an object."""
    try:
        value = jiter.from_json(data)
    except ValueError:
        value = _parse_leniently(data)
    if type(value) is not dict:
        raise StreamDecodeError(f"not a chunk, which is a JSON object: {_shown(data)}")
    return value


def typed_chunk(data: bytes, value: dict[str, Any]) -> ChatCompletionChunk:
    """Build the chunk that the SDK would build from `data`, of which `value` is the parsed form.

    Raises `StreamDecodeError` if the SDK cannot build one.
    """
    try:
        chunk = _validate_json()(data, strict=True)
    except ValueError:
        return lenient_chunk(value)
    _set_only_fields(chunk)
    for choice in chunk.choices:
        _set_only_fields(choice)
        _set_only_fields(choice.delta)
    return chunk


def built(kind: type[_ModelT], values: Mapping[str, Any]) -> _ModelT:
    """Build a model the SDK's way, which takes fields of any type, whatever they are called."""
    # The SDK's constructor would take these for its own parameters.
    taken = {name: values[name] for name in _PARAMETERS if name in values}
    model = kind.model_construct(**{name: value for name, value in values.items() if name not in taken})
    if taken and model.model_extra is not None:
        model.model_extra.update(taken)
    return model


def lenient_chunk(value: Mapping[str, Any]) -> ChatCompletionChunk:
    """Build a chunk the SDK's way; slower than by validation by a factor of twenty."""
    try:
        return built(ChatCompletionChunk, value)
    except (TypeError, AttributeError, ValueError, RecursionError) as error:
        raise StreamDecodeError(f"not a chunk ({error}): {_shown(repr(value).encode())}") from error


def as_mapping(chunk: ChatCompletionChunk | Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a chunk of any origin as the mapping that came over the wire; raises `TypeError`."""
    if isinstance(chunk, Mapping):
        return chunk
    if isinstance(chunk, pydantic.BaseModel):
        # What a lenient construction let in would make warnings.
        return chunk.model_dump(exclude_unset=True, by_alias=True, warnings=False)
    raise TypeError(f"{type(chunk).__name__} is not a chunk: a ChatCompletionChunk or its mapping is")


def as_chunk(chunk: ChatCompletionChunk | Mapping[str, Any]) -> ChatCompletionChunk:
    """Return what a caller is given for a chunk of any origin: models as they are, mappings built."""
    return lenient_chunk(chunk) if isinstance(chunk, Mapping) else chunk


def _set_only_fields(model: pydantic.BaseModel) -> None:
    # Validation counts unknown fields among those that were set; where the SDK constructs, it does not.
    if model.__pydantic_extra__:
        model.__pydantic_fields_set__.difference_update(model.__pydantic_extra__)


@cache
def _validate_json() -> Callable[..., ChatCompletionChunk]:
    # Strict, because the SDK converts nothing: a string in a number field stays a string there.
    # Built at the first use, since it takes some milliseconds.
    adapter = pydantic.TypeAdapter(ChatCompletionChunk)
    adapter.rebuild(force=True)
    return adapter.validator.validate_json


def _parse_leniently(data: bytes) -> Any:
    # The standard library reads what jiter refuses and the SDK accepts: half a surrogate pair, deep nesting.
    try:
        return json.loads(str(data, "utf-8"))
    except UnicodeDecodeError as error:
        raise StreamDecodeError(
            f"not UTF-8: byte 0x{data[error.start]:02x} at position {error.start} of {len(data)} bytes"
        ) from error
    except (ValueError, RecursionError) as error:
        raise StreamDecodeError(f"not JSON ({error}): {_shown(data)}") from error


def _shown(data: bytes) -> str:
    text = data[:_SHOWN].decode("utf-8", "replace")
    return f"{text!r}..." if len(data) > _SHOWN else repr(text)
