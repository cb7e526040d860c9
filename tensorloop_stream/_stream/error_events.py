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
# The plain names of a message, without which a code says nothing of a failure.
_TOLD = frozenset({"message", "msg", "statusmsg", "statusmessage"})
# Another number in a field `status` than three digits from here on may be a state of the service's own.
_FIRST_ERROR_STATUS = "400"


def bare_error(event: Mapping[str, Any]) -> Any:
    """Return the error in an event without any part of an answer, by fields other than `error`; `None` if it is none.

    It is the event, or an object in it that has a message and a number of failure; MiniMax's `base_resp` needs no
    message. Names are compared without case and separators, and a code of success beside them decides.
    """
    if "error" in (event.get("type"), event.get("object"), event.get("status"), event.get("event")):
        return dict(event)
    if any(str(event.get(name)).lower() == "false" for name in ("success", "ok")) or event.get("detail"):
        return dict(event)
    codes = codes_of(event)
    if codes and not any(map(is_failure, codes)):
        return None
    inner = [value for value in event.values() if isinstance(value, dict)]
    is_told = _is_told(event) or bool(event.get("title"))
    if (
        _has_error_name(event)
        or any(value and name.lower() == "error" for each in inner for name, value in each.items())
        or (is_told and any(is_failure(code) for code in codes if not isinstance(code, dict)))
        or (_has_failing_number(event) and any(map(_is_told, inner)))
    ):
        return dict(event)
    if isinstance(status := event.get("status"), dict) and (error := bare_error(status)):
        return error
    told = [each for each in inner if _is_told(each) or each is event.get("base_resp")]
    return next(filter(_has_failing_number, told), None)


def with_code(error: Any, mapping: Mapping[str, Any]) -> Any:
    """Return an error with the code, and the message, that stand beside it in its event, where it has none."""
    if isinstance(error, dict) and error_code(error):
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
    return with_code(body["error"], body) if body.get("error") else body


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
            wrapped = next((body[name] for name in ("error", "detail") if isinstance(body.get(name), dict)), None)
            inner = body if wrapped is None else with_code(wrapped, body)
        if inner is body:
            return body
        body = inner
    return body


def _is_told(mapping: Mapping[str, Any]) -> bool:
    return any(value and plain_name(name) in _TOLD for name, value in mapping.items())


def _has_failing_number(mapping: Mapping[str, Any]) -> bool:
    """Tell whether a code of an object is a number other than that of a success."""
    status = mapping.get("status")
    if str(status) < _FIRST_ERROR_STATUS or len(str(status)) != len(_FIRST_ERROR_STATUS):
        mapping = {**mapping, "status": None}
    return any(is_failure(code) and str(code).removeprefix("-").isdecimal() for code in codes_of(mapping))


def _has_error_name(mapping: Mapping[str, Any]) -> bool:
    """Tell whether a field that is not empty, or the type, has the name of an error."""
    names = [plain_name(name) for name, value in mapping.items() if value and name != "error"]
    kind = mapping.get("type")
    return any(map(_names_error, [*names, kind if isinstance(kind, str) else ""]))


def _names_error(name: str) -> bool:
    """Tell whether a name without separators is that of an error: `Error`, `errmsg`, `throttlingException`, `fault`."""
    return name.startswith(("err", "fault")) or name.endswith(("error", "exception"))
