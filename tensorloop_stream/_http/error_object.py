"""Read an error object of any service: its message, its code, and whether a code is that of a failure. No I/O."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# The names that services give to the message of an error, in small letters and without separators.
_MESSAGES = (
    "errormessage",
    "message",
    "statusmsg",
    "statusmessage",
    "errormsg",
    "msg",
    "text",
    "detail",
    "errors",
    "error",
    "baseresp",
    "errmsg",
    "title",
)
# And to its code.
_CODES = ("code", "statuscode", "errorcode", "status", "errcode", "errno")
_NOT_A_LETTER = re.compile(r"[^a-z]")
# Codes and states that are none of a failure.
_SUCCESSES = frozenset({"", "0", "00000", "ok", "success", "succeeded", "true", "completed", "done", "finished"})
_SUCCESSES |= {"in_progress", "processing", "queued", "pending", "running", "loading", "started", "thinking", "ready"}


def error_message(body: object) -> str:
    """Return the message in an error object of any service; empty if it has none."""
    if isinstance(body, str):
        return body
    if isinstance(body, list):
        return error_message(body[0]) if body else ""
    if isinstance(body, dict):
        for value in _named(body, _MESSAGES):
            if message := error_message(value):
                return message
        # An object of another name, such as Bedrock's `throttlingException`.
        return next(
            (message for value in body.values() if isinstance(value, dict) and (message := error_message(value))), ""
        )
    return ""


def error_code(body: object) -> str | None:
    """Return the code in an error object, whatever its name; `None` if it has none."""
    if isinstance(body, dict):
        for code in codes_of(body):
            if isinstance(code, (int, str)) and code:
                return str(code)
        errors = body.get("errors")
        if isinstance(errors, list) and errors and isinstance(errors[0], dict):
            return error_code(errors[0])
    return None


def codes_of(mapping: Mapping[str, Any]) -> list[Any]:
    """Return the codes in an object under any of their names, the surest first."""
    return _named(mapping, _CODES)


def plain_name(name: object) -> str:
    """Return a name in small letters and without separators: services write `statusCode` and `status_code`."""
    return _NOT_A_LETTER.sub("", str(name).lower())


def _named(mapping: Mapping[str, Any], names: tuple[str, ...]) -> list[Any]:
    """Return the values of an object under these plain names, in the order of the names."""
    fields = [(plain_name(name), value) for name, value in mapping.items() if value is not None]
    return [value for name in names for each, value in fields if each == name]


def is_failure(code: object) -> bool:
    """Tell whether a code of whatever type is that of a failure: 0, 200 to 299 and a few words are not."""
    text = str(code).lower()
    return code is not None and text not in _SUCCESSES and not (len(text) == 3 and text[0] == "2" and text.isdigit())
