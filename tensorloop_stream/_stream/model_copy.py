"""Copy a model of the SDK with other values in a few fields, which costs less than to build one.

Touches private API: the four slots that a pydantic model consists of.
"""

from __future__ import annotations

from typing import Any

import pydantic

# What a caller cannot change in all chunks by changing it in one.
_IMMUTABLE = (str, int, float, type(None))
_new = object.__new__
# All that a model consists of. Its own `__setattr__` looks at every value, and its `__copy__` takes twice as long.
_SLOTS = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
# Another pydantic may have other ones: then nothing is copied.
_setters: list[Any] = [getattr(vars(pydantic.BaseModel).get(name), "__set__", None) for name in _SLOTS]
_set_values, _set_fields_set, _set_extra, _set_private = _setters


class ModelCopy:
    """A model, and what of it every copy gets a copy of.

    Raises `TypeError` for a model whose copies would share a value that can be changed, and if pydantic keeps models in
    other slots than this module knows.
    """

    __slots__ = ("_extra", "_fields_set", "_kind", "_values")

    def __init__(self, model: Any, *own: str) -> None:
        if None in _setters:
            raise TypeError("pydantic keeps a model in other slots")
        self._kind = type(model)
        self._values = {name: None if name in own else value for name, value in vars(model).items()}
        self._fields_set = set(model.__pydantic_fields_set__)
        self._extra = dict(model.__pydantic_extra__)
        for value in (*self._values.values(), *self._extra.values()):
            if not isinstance(value, _IMMUTABLE):
                raise TypeError(f"{type(value).__name__} would be shared")

    def knows(self, name: str) -> bool:
        """Tell whether a field is one of the model's own."""
        return name in self._values

    def copied(self, values: dict[str, Any], extra: dict[str, Any]) -> Any:
        """Return a copy with other values in some fields of its own, and in some that the model does not know."""
        model = _new(self._kind)
        _set_values(model, self._values | values)
        _set_fields_set(model, self._fields_set.copy())
        _set_extra(model, self._extra | extra)
        _set_private(model, None)
        return model

    def copy_with(self, name: str, value: Any) -> Any:
        """Return a copy with another value in one field."""
        model, values = _new(self._kind), self._values.copy()
        values[name] = value
        _set_values(model, values)
        _set_fields_set(model, self._fields_set.copy())
        _set_extra(model, self._extra.copy())
        _set_private(model, None)
        return model

    def copy_with_extra(self, name: str, value: Any) -> Any:
        """Return a copy with another value in one field that the model does not know."""
        model, extra = _new(self._kind), self._extra.copy()
        extra[name] = value
        _set_values(model, self._values.copy())
        _set_fields_set(model, self._fields_set.copy())
        _set_extra(model, extra)
        _set_private(model, None)
        return model
