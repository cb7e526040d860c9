"""Bodies of requests as JSON values, and when two are equal. No I/O."""

import json
from typing import Any


def read_body(data: bytes | str | None) -> Any:
    """Return the JSON value of a body, `None` if there is none; raises `ValueError` if it is not JSON."""
    try:
        # JSON has one kind of number: Python writes 1.0 where JavaScript writes 1.
        return json.loads(data, parse_float=_number) if data else None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _number(text: str) -> float | int:
    number = float(text)
    return int(number) if number.is_integer() else number


def canonical(value: Any) -> str:
    """Return a text that is equal for equal JSON values only: keys have no order, and `true` is not 1."""
    try:
        return json.dumps(value, sort_keys=True)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def is_streamed(body: Any) -> bool:
    """Return whether a request asks for an event stream."""
    return isinstance(body, dict) and body.get("stream") is True


Key = tuple[str, str, str]


def key_of(method: str, path: str, body: Any) -> Key:
    """Return the key of a request; equal requests have equal keys."""
    if isinstance(body, dict) and body.get("stream") is False:
        # `stream: false` means the same as no `stream`.
        body = {name: value for name, value in body.items() if name != "stream"}
    return method, path, canonical(body)
