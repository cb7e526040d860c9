"""Build the SDK's events and responses: from JSON, or from values of any type."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args

import pydantic
from openai.types.responses import Response, ResponseStreamEvent

from tensorloop_stream._errors import StreamDecodeError
from tensorloop_stream._stream.models import build_model

if TYPE_CHECKING:
    from collections.abc import Callable

# The events that end a stream, and those of them that end an answer which failed.
TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
FAILED = frozenset({"response.failed", "response.cancelled"})
# The statuses of such an answer, whatever the event.
FAILED_STATUSES = frozenset({"failed", "cancelled"})


@cache
def _kinds() -> dict[str, type[pydantic.BaseModel]]:
    """Return the SDK's class of each type of events; the first is that of a type which the SDK does not know."""
    union, *_ = get_args(ResponseStreamEvent)
    return {get_args(kind.model_fields["type"].annotation)[0]: kind for kind in get_args(union)}


@cache
def _validators() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return what builds events from JSON, and from values.

    One schema for all types, which the type tells apart: the SDK's own tries each of them in turn. It takes a tenth of
    a second to make, once a process.
    """
    event: Any = Annotated[Union[tuple(_kinds().values())], pydantic.Field(discriminator="type")]  # noqa: UP007 - of a tuple
    adapter: Any = pydantic.TypeAdapter(event)
    return adapter.validator.validate_json, adapter.validator.validate_python


def typed_event(payload: bytes, mapping: Mapping[str, Any]) -> Any:
    """Build the event that the SDK would build from the JSON of an event, of which `mapping` is the parsed form.

    Raises `StreamDecodeError` if the SDK cannot build one.
    """
    if payload:
        try:
            return _validators()[0](payload)
        except ValueError:
            pass
    return construct_event(mapping)


def construct_event(mapping: Mapping[str, Any]) -> Any:
    """Build an event the SDK's way, from values: of the class of its type, else of the first."""
    try:
        return _validators()[1](mapping)
    except ValueError:
        pass
    kinds = _kinds()
    kind = mapping.get("type")
    found = kinds.get(kind) if isinstance(kind, str) else None
    try:
        return build_model(found or next(iter(kinds.values())), mapping)
    except (TypeError, AttributeError, ValueError, RecursionError) as error:
        raise StreamDecodeError(f"not an event ({error}): {reprlib.repr(mapping)}") from error


def built_response(values: Mapping[str, Any]) -> Response:
    """Build a response from values of any type; by validation where that is possible, which is faster."""
    try:
        event = _validators()[1]({"type": "response.completed", "sequence_number": 0, "response": values})
    except ValueError:
        return build_model(Response, values)
    response: Response = event.response
    return response


def as_mapping(event: Any) -> Mapping[str, Any]:
    """Return an event of any origin as the mapping that came over the wire; raises `TypeError`."""
    if isinstance(event, Mapping):
        return event
    if isinstance(event, pydantic.BaseModel) and hasattr(event, "type"):
        # What a lenient construction let in would make warnings.
        return event.model_dump(exclude_unset=True, by_alias=True, warnings=False)
    raise TypeError(
        f"{type(event).__name__} is not an event of the Responses API: give what responses.create(..., stream=True) "
        "returns, or its events as mappings"
    )


def as_event(event: Any) -> Any:
    """Return what a caller is given for an event of any origin: models as they are, mappings built."""
    return construct_event(event) if isinstance(event, Mapping) else event
