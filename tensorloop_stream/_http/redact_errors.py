"""Remove keys from an exception, and from those behind it: a traceback shows the whole chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .redact import Redactor

_CLEANED = (str, bytes, list, dict, tuple)


def redact_error(error: BaseException, redactor: Redactor) -> None:
    """Remove the keys from an error that will be the cause of another, and from the whole chain behind it."""
    if not redactor.is_active:
        return
    left, seen = [error], {id(error)}
    while left:
        each = left.pop()
        _clean(each, redactor)
        for link in ("__cause__", "__context__"):
            linked = getattr(each, link)
            if linked is None or id(linked) in seen:
                continue
            seen.add(id(linked))
            _clean(linked, redactor)
            shown = _text_of(linked)
            if (text := redactor.text(shown)) != shown:
                # Its text is made of what nobody can change.
                is_suppressed = each.__suppress_context__
                setattr(each, link, Exception(f"{type(linked).__name__}: {text}"))
                each.__suppress_context__ = is_suppressed
            else:
                left.append(linked)
        left += [member for member in getattr(each, "exceptions", ()) if isinstance(member, BaseException)]


def _clean(error: BaseException, redactor: Redactor) -> None:
    """Remove the keys from the arguments and the attributes of an error, of which its notes are one."""
    error.args = tuple(redactor.value([*error.args]))
    own = getattr(error, "__dict__", {})
    own.update({name: redactor.value(item) for name, item in own.items() if isinstance(item, _CLEANED)})
    if isinstance(error, OSError):
        for name in ("strerror", "filename", "filename2"):
            if isinstance(item := getattr(error, name), (str, bytes)):
                setattr(error, name, redactor.value(item))
    elif isinstance(error, UnicodeDecodeError):
        # As long as before: the error shows a byte of it by its number.
        error.object = redactor.masked(error.object)
    elif isinstance(error, UnicodeEncodeError):
        error.object = redactor.masked(error.object)


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - of a program's own class
        return ""
