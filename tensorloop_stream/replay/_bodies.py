"""Bodies of requests as JSON values, and when two are equal. No I/O."""

import json
from typing import Any


def read_body(data: bytes | str | None) -> Any:
    """Return the JSON value of a body, `None` if there is none; raises `ValueError` if it is not JSON."""
    try:
        # JSON has one kind of number: what Python writes as 1.0, JavaScript writes as 1.
        return json.loads(data, parse_float=_number) if data else None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _number(text: str) -> float | int:
    number = float(text)
    return int(number) if number.is_integer() else number


def canonical(value: Any) -> str:
    """Return text that is equal exactly if the JSON values are: keys have no order, `true` is not 1."""
    try:
        return json.dumps(value, sort_keys=True)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def is_streamed(body: Any) -> bool:
    """Return whether a request asks for an event stream."""
    return isinstance(body, dict) and body.get("stream") is True


Key = tuple[str, str, str]


def key_of(method: str, path: str, body: Any) -> Key:
    """Return what two equal requests have in common."""
    if isinstance(body, dict) and body.get("stream") is False:
        # The same as leaving it out.
        body = {name: value for name, value in body.items() if name != "stream"}
    return method, path, canonical(body)
