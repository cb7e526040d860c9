"""Make up a value that fits a JSON schema. No I/O."""

from collections.abc import Iterator, Mapping
from typing import Any

from .check import fits, resolve
from .patterns import text_for

_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
# Beyond this depth only what is required is filled.
_DEEP = 4
_DEEPEST = 40


class NoExampleError(ValueError):
    """No value was found that fits the schema."""


def example_of(schema: Any, hint: str = "") -> Any:
    """Return a value that fits a schema; a hint becomes its first free text. Raises `NoExampleError`."""
    maker = _Maker(schema, hint)
    try:
        value = maker.make(schema, "value", 0, 0)
    except RecursionError:
        raise NoExampleError("the schema is nested too deeply") from None
    if not fits(schema, value):
        raise NoExampleError("no value was found that fits the schema")
    return value


class _Maker:
    """Makes values for the parts of one schema."""

    def __init__(self, root: Any, hint: str) -> None:
        self._root = root
        self._hint = hint

    def make(self, schema: Any, name: str, depth: int, number: int) -> Any:
        """Return a value for a part: its name colours texts, and its number sets it apart from its neighbours."""
        if depth > _DEEPEST:
            raise NoExampleError("the schema has no finite value")
        schema = resolve(schema, self._root)
        if not isinstance(schema, Mapping):
            return self._text({}, name, number)
        if "const" in schema:
            return schema["const"]
        if values := schema.get("enum"):
            return values[number % len(values)]
        if not isinstance(schema.get("pattern"), str):
            for given in (*schema.get("examples", ()), schema.get("default")):
                if number == 0 and given is not None and fits({**schema, "$defs": self._definitions()}, given):
                    return given
        if parts := schema.get("allOf"):
            schema = self._joined(schema, parts)
        if options := schema.get("anyOf") or schema.get("oneOf"):
            return self._first(schema, options, name, depth, number)
        return self._of_type(_type_of(schema, depth), schema, name, depth, number)

    def _definitions(self) -> Any:
        return self._root.get("$defs", {}) if isinstance(self._root, Mapping) else {}

    def _joined(self, schema: Mapping[str, Any], parts: Any) -> Mapping[str, Any]:
        joined: dict[str, Any] = {name: value for name, value in schema.items() if name != "allOf"}
        for each in parts:
            part = resolve(each, self._root)
            for name, value in part.items() if isinstance(part, Mapping) else ():
                if name == "properties":
                    joined[name] = {**joined.get(name, {}), **value}
                elif name == "required":
                    joined[name] = [*joined.get(name, []), *value]
                else:
                    joined.setdefault(name, value)
        return joined

    def _first(self, schema: Mapping[str, Any], options: Any, name: str, depth: int, number: int) -> Any:
        """Return a value for the first option that has one: null last, but first where it is deep."""
        common = {name: value for name, value in schema.items() if name not in {"anyOf", "oneOf"}}
        ordered = sorted(options, key=lambda option: _is_null(option) != (depth > _DEEP))
        for option in ordered:
            try:
                value = self.make(self._joined(common, [option]) if common else option, name, depth + 1, number)
            except NoExampleError:
                continue
            return value
        raise NoExampleError("no option of the schema has a finite value")

    def _of_type(self, kind: str, schema: Mapping[str, Any], name: str, depth: int, number: int) -> Any:
        match kind:
            case "object":
                return dict(self._properties(schema, depth))
            case "array":
                return list(self._items(schema, name, depth))
            case "integer" | "number":
                return _number(schema, whole=kind == "integer", number=number)
            case "boolean":
                return number % 2 == 0
            case "null":
                return None
        return self._text(schema, name, number)

    def _properties(self, schema: Mapping[str, Any], depth: int) -> Iterator[tuple[str, Any]]:
        required = schema.get("required") or ()
        properties = schema.get("properties") or {}
        for name in dict.fromkeys([*properties, *required]):
            if name in required:
                yield name, self.make(properties.get(name, {}), name, depth + 1, 0)
            elif depth < _DEEP:
                try:
                    yield name, self.make(properties[name], name, depth + 1, 0)
                except NoExampleError:
                    continue
        missing = (schema.get("minProperties") or 0) - len(properties)
        more = schema.get("additionalProperties", True)
        if not properties and isinstance(more, Mapping) and depth < _DEEP:
            missing = max(missing, 1)
        for number in range(missing):
            yield f"key_{number + 1}", self.make(more, "value", depth + 1, number)

    def _items(self, schema: Mapping[str, Any], name: str, depth: int) -> Iterator[Any]:
        first = schema.get("prefixItems") or []
        least, most = schema.get("minItems") or 0, schema.get("maxItems", len(first) + 2)
        wanted = max(least, len(first)) if depth > _DEEP else max(least, len(first), 2)
        for number in range(min(wanted, max(most, least))):
            inner = first[number] if number < len(first) else schema.get("items", {})
            if inner is False:
                return
            yield self.make(inner, name.removesuffix("s"), depth + 1, number)

    def _text(self, schema: Mapping[str, Any], name: str, number: int) -> str:
        if text := _FORMATS.get(str(schema.get("format"))):
            return text
        if isinstance(pattern := schema.get("pattern"), str):
            return text_for(pattern)
        text, self._hint = self._hint or f"canned {name.replace('_', ' ')}", ""
        text += f" {number + 1}" if number else ""
        least, most = schema.get("minLength") or 0, schema.get("maxLength")
        return text.ljust(least, ".")[:most]


def _type_of(schema: Mapping[str, Any], depth: int) -> str:
    types = schema.get("type")
    if isinstance(types, str):
        return types
    if isinstance(types, list) and types:
        if "null" in types and depth > _DEEP:
            return "null"
        return next((str(each) for each in types if each != "null"), "null")
    for name, kind in (("properties", "object"), ("items", "array"), ("minimum", "number")):
        if name in schema:
            return kind
    return "string"


def _is_null(option: Any) -> bool:
    return isinstance(option, Mapping) and option.get("type") == "null"


def _number(schema: Mapping[str, Any], *, whole: bool, number: int) -> float:
    """Return a number within its bounds: 1 and upwards where that is possible."""
    step = schema.get("multipleOf") or 1
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    grain = step if whole or "multipleOf" in schema else 0.001
    if above is not None:
        low = max(low if low is not None else above, above + grain)
    if below is not None:
        high = min(high if high is not None else below, below - grain)
    value = 1.0 if low is None else max(low, min(1.0, high if high is not None else 1.0))
    if high is not None:
        value = min(value, high)
    if whole or "multipleOf" in schema:
        # The first multiple at or above it; without room there, the last below.
        steps = -(-value // step)
        value = steps * step
        if high is not None and value > high:
            value -= step
    later = value + number * (step if whole or "multipleOf" in schema else 1)
    value = later if high is None or later <= high else value
    return int(value) if whole or float(value).is_integer() else value
