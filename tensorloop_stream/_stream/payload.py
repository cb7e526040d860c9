"""The data of one event: its JSON as an object, also where no field name or no blank line marks it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jiter

from tensorloop_stream._errors import StreamDecodeError

if TYPE_CHECKING:
    from collections.abc import Iterable

# How much of the data an error message shows.
_SHOWN = 80
# Far more than any gateway sends, and so few that no function runs out of stack.
_MAX_DEPTH = 500


def is_done_marker(payload: bytes) -> bool:
    """Tell whether the data of an event are `[DONE]`, which some hosts quote, or write in another case."""
    return payload.startswith(b"[DONE]") or (len(payload) < 12 and payload.strip(b'" []').upper() == b"DONE")


def parse_object(data: bytes) -> dict[str, Any]:
    """Return the object in the data of an event, also in an array; raises `StreamDecodeError`.

    It is raised for what is not UTF-8, not JSON or not an object.
    """
    try:
        value = jiter.from_json(data)
    except ValueError:
        value = _parse_leniently(data)
    if type(value) is list:
        value = _object_in(value)
    if type(value) is not dict:
        raise StreamDecodeError(f"not a JSON object: {_shown(data)}")
    return value


def is_bare_json(event: bytes) -> bool:
    """Tell whether the lines of an event are an object, or an array of objects, without a field name."""
    return event.lstrip().removeprefix(b"[").lstrip().startswith(b"{")


def is_complete_event(rest: bytes) -> bool:
    """Tell whether the last bytes are an event, although no blank line ends them.

    They may be a JSON answer in place of the events, an error object that breaks off the events (Gemini,
    bifrost#5262), or an error event that ended the stream.
    """
    return is_bare_json(rest) or rest.lstrip().startswith((b"error:", b"event: error", b'data: {"error"'))


def _object_in(array: list[Any]) -> Any:
    """Return the error in an array, else its only item: Google sends an array around an error (magentic#382)."""
    errors = (item for item in array if isinstance(item, dict) and item.get("error"))
    return next(errors, array[0] if len(array) == 1 else array)


def _parse_leniently(data: bytes) -> Any:
    # The standard library reads what jiter refuses and the SDK accepts: half a surrogate pair, deep nesting.
    try:
        value = json.loads(str(data, "utf-8"))
    except UnicodeDecodeError as error:
        raise StreamDecodeError(
            f"not UTF-8: byte 0x{data[error.start]:02x} at position {error.start} of {len(data)} bytes"
        ) from error
    except (ValueError, RecursionError) as error:
        raise StreamDecodeError(f"not JSON ({error}): {_shown(data)}") from error
    if _is_deep(value):
        raise StreamDecodeError(f"nested deeper than {_MAX_DEPTH} levels: {_shown(data)}")
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [item for one in level for item in _items(one)]
        if not level:
            return False
    return True


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _shown(data: bytes) -> str:
    text = data[:_SHOWN].decode("utf-8", "replace")
    return f"{text!r}..." if len(data) > _SHOWN else repr(text)
