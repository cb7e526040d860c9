"""Decide which events are errors, by the fields that any service gives to one, and find the error object in them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tensorloop_stream._errors import StreamDecodeError
from tensorloop_stream._http.error_object import codes_of, error_code, error_message, is_failure, plain_name

from .payload import parse_object

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_WRAPPERS = 5


def is_bare_error(mapping: Mapping[str, Any]) -> bool:
    """Tell whether an event without any part of an answer is an error by its own fields, but for `error` itself.

    Their names are compared without case and separators, and a code of success beside them decides.
    """
    if "error" in (mapping.get("type"), mapping.get("object"), mapping.get("status"), mapping.get("event")):
        return True
    if any(str(mapping.get(name)).lower() == "false" for name in ("success", "ok")) or mapping.get("detail"):
        return True
    fields = {plain_name(name): value for name, value in mapping.items() if name != "error"}
    codes = codes_of(mapping)
    if codes and not any(map(is_failure, codes)):
        return False
    if any(value and _names_error(name) for name, value in fields.items()) or _names_error(str(fields.get("type", ""))):
        return True
    inner = [value for value in mapping.values() if isinstance(value, dict)]
    if any(value and name.lower() == "error" for each in inner for name, value in each.items()):
        return True
    status = mapping.get("status")
    if isinstance(status, dict) and is_bare_error(status):
        return True
    is_told = bool(mapping.get("message") or mapping.get("msg") or mapping.get("title"))
    return is_told and any(is_failure(code) for code in codes if not isinstance(code, dict))


def with_code(error: Any, mapping: Mapping[str, Any]) -> Any:
    """Return an error with the code, and the message, that stand beside it in its event, where it has none."""
    if isinstance(error, dict) and (error_code(error) or isinstance(error.get("error"), dict)):
        return error
    code = next(filter(is_failure, codes_of(mapping)), None)
    if isinstance(error, (bool, int, float)):
        code = error if code is None and not isinstance(error, bool) else code
        return {"message": error_message({**mapping, "error": None}), "code": code}
    if code is None or isinstance(code, dict):
        return error
    return {**error, "code": code} if isinstance(error, dict) else {"message": error_message(error), "code": code}


def event_error_body(data: bytes) -> Any:
    """Return the error object of an `event: error`, whatever its data."""
    try:
        body: Any = parse_object(data)
    except StreamDecodeError:
        return data.decode("utf-8", "replace")
    return body.get("error") or body


def innermost_error(body: Any) -> Any:
    """Return the error object itself: a proxy wraps what it got in an error, an array or a text of its own."""
    for _ in range(_MOST_WRAPPERS):
        inner = body
        if isinstance(body, list) and body:
            inner = body[0]
        elif isinstance(body, str) and body.lstrip().startswith("{"):
            try:
                inner = json.loads(body)
            except (ValueError, RecursionError):
                return body
        elif isinstance(body, dict) and not body.get("message"):
            inner = next((body[name] for name in ("error", "detail") if isinstance(body.get(name), dict)), body)
        if inner is body:
            return body
        body = inner
    return body


def _names_error(name: str) -> bool:
    """Tell whether a name without separators is that of an error: `Error`, `errmsg`, `throttlingException`, `fault`."""
    return name.startswith(("err", "fault")) or name.endswith(("error", "exception"))
