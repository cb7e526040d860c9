"""Check values against JSON schemas, as far as APIs of language models use schemas. No I/O."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tensorloop_stream.replay._bodies import canonical

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "number": (int, float),
    "integer": int,
}
_LIMITS: Mapping[str, Callable[[float, float], bool]] = {
    "minimum": lambda value, limit: value >= limit,
    "maximum": lambda value, limit: value <= limit,
    "exclusiveMinimum": lambda value, limit: value > limit,
    "exclusiveMaximum": lambda value, limit: value < limit,
    "multipleOf": lambda value, step: abs(value / step - round(value / step)) < 1e-9,
}
# How many of the options must fit, of how many.
_COUNTS: Mapping[str, Callable[[int, int], bool]] = {
    "allOf": lambda fit, every: fit == every,
    "anyOf": lambda fit, _: fit >= 1,
    "oneOf": lambda fit, _: fit == 1,
}
_SIZES = {"string": ("minLength", "maxLength"), "array": ("minItems", "maxItems"), "object": ("minProperties", "")}
_DEEPEST = 100


def resolve(schema: Any, root: Any) -> Any:
    """Follow the references of a schema, within its document; what cannot be found allows everything."""
    seen = set()
    while isinstance(schema, Mapping) and isinstance(where := schema.get("$ref"), str) and where not in seen:
        seen.add(where)
        found: Any = root if where.startswith("#") else {}
        for name in where.lstrip("#").strip("/").split("/") if where.strip("#/") else ():
            key = name.replace("~1", "/").replace("~0", "~")
            found = found.get(key, {}) if isinstance(found, Mapping) else {}
        others = {name: value for name, value in schema.items() if name != "$ref"}
        schema = {**found, **others} if isinstance(found, Mapping) and others else found
    return schema


def is_type(value: Any, name: str) -> bool:
    """Return whether a value has a type of JSON Schema."""
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(name, ()))


def fits(schema: Any, value: Any) -> bool:
    """Return whether a value fits a schema; keywords that are not known here allow everything."""
    return _fits(schema, value, schema, 0)


def _fits(schema: Any, value: Any, root: Any, depth: int) -> bool:
    schema = resolve(schema, root)
    if not isinstance(schema, Mapping):
        return schema is not False
    if depth > _DEEPEST:
        return True
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(is_type(value, name) for name in types) and not (schema.get("nullable") and value is None):
        return False
    if "const" in schema and canonical(value) != canonical(schema["const"]):
        return False
    if "enum" in schema and canonical(value) not in map(canonical, schema["enum"]):
        return False
    for name, is_enough in _COUNTS.items():
        if options := schema.get(name):
            fit = sum(_fits(option, value, root, depth + 1) for option in options)
            if not is_enough(fit, len(options)):
                return False
    if not _has_size(schema, value):
        return False
    return all(_fits(inner, each, root, depth + 1) for inner, each in _inner(schema, value))


def _has_size(schema: Mapping[str, Any], value: Any) -> bool:
    """Check what a schema says of one value, without what is inside it."""
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, int | float):
        return all(
            test(value, limit) for name, test in _LIMITS.items() if isinstance(limit := schema.get(name), int | float)
        )
    kind = next(name for name in _SIZES if is_type(value, name))
    least, most = (schema.get(name) for name in _SIZES[kind])
    if (least is not None and len(value) < least) or (most is not None and len(value) > most):
        return False
    if isinstance(value, str) and isinstance(pattern := schema.get("pattern"), str):
        try:
            return re.search(pattern, value) is not None
        except re.error:
            return True
    if isinstance(value, list) and schema.get("uniqueItems"):
        return len(set(map(canonical, value))) == len(value)
    return not isinstance(value, dict) or all(name in value for name in schema.get("required", ()))


def _inner(schema: Mapping[str, Any], value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the values inside a value, each with its schema."""
    if isinstance(value, list):
        first = schema.get("prefixItems") or []
        yield from zip(first, value, strict=False)
        for each in value[len(first) :]:
            yield schema.get("items", True), each
    elif isinstance(value, dict):
        properties = schema.get("properties") or {}
        for name, each in value.items():
            yield properties[name] if name in properties else schema.get("additionalProperties", True), each
