"""Build the SDK's models from JSON, or from values of any type.

Touches private API: the parameters of the SDK's `model_construct`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import pydantic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PARAMETERS = ("_fields_set", "_BaseModel__cls")
_ModelT = TypeVar("_ModelT", bound=pydantic.BaseModel)
_KindT = TypeVar("_KindT")


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
