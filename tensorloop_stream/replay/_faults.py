"""The faults that a request can ask for: one table for Python, the command line and model names."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Self, TypedDict, cast
from urllib.parse import parse_qsl

_YES_AND_NO = {"": True, "1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True, slots=True)
class _Kind:
    """The notation of an option's value, its parser and its check."""

    metavar: str
    wanted: str
    read: Callable[[str], Any]
    accepts: Callable[[Any], bool]


_INFINITE = float("inf")
_SECONDS = _Kind("S", "a number of seconds, 0 or more", float, lambda value: 0 <= value < _INFINITE)
_PERIOD = _Kind("S", "a number of seconds above 0", float, lambda value: 0 < value < _INFINITE)
_FACTOR = _Kind("X", "a number above 0", float, lambda value: 0 < value < _INFINITE)
_EVENTS = _Kind("N", "a number of events, 0 or more", int, lambda value: value >= 0)
_BYTES = _Kind("N", "a number of bytes, 1 or more", int, lambda value: value >= 1)
_TIMES = _Kind("N", "a number of times, 1 or more", int, lambda value: value >= 1)
_STATUS = _Kind("CODE", "an HTTP status from 400 to 599", int, lambda value: 400 <= value <= 599)
_WORD = _Kind("WORD", "a word", str, bool)
_FLAG = _Kind("", "yes or no", lambda text: _YES_AND_NO[text.lower()], lambda _: True)


def _accepted(kind: _Kind, value: Any) -> bool:
    try:
        return kind.accepts(value)
    except TypeError:  # a value of another type
        return False


def _is(kind: _Kind, help_text: str) -> Mapping[str, Any]:
    return {"kind": kind, "help": help_text}


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """The faults of one answer; those that count events do not apply to an answer without events.

    Raises `ValueError` for values and combinations without a meaning.
    """

    delay: float = field(default=0.0, metadata=_is(_SECONDS, "wait S seconds between events"))
    first_delay: float = field(
        default=0.0, metadata=_is(_SECONDS, "wait S seconds before the headers and the first event")
    )
    ping: float | None = field(
        default=None,
        metadata=_is(_PERIOD, "send a ': ping' comment after each S seconds of silence; headers go out early"),
    )
    split: int | None = field(default=None, metadata=_is(_BYTES, "write at most N bytes at a time"))
    crlf: bool = field(default=False, metadata=_is(_FLAG, "end lines with CRLF"))
    cut_after: int | None = field(
        default=None, metadata=_is(_EVENTS, "cut the connection after N events, [DONE] counted")
    )
    end_after: int | None = field(default=None, metadata=_is(_EVENTS, "end cleanly, but unfinished, after N events"))
    stall_after: int | None = field(
        default=None, metadata=_is(_EVENTS, "fall silent after N events, until the client leaves")
    )
    error_after: int | None = field(
        default=None, metadata=_is(_EVENTS, "send an in-band error after N events, and end")
    )
    linger: float = field(
        default=0.0, metadata=_is(_SECONDS, "keep the stream open for S seconds after its last event")
    )
    status: int | None = field(default=None, metadata=_is(_STATUS, "answer with this error status instead"))
    retry_after: float | None = field(
        default=None, metadata=_is(_SECONDS, "the retry-after header that goes with --status")
    )
    error_type: str | None = field(
        default=None,
        metadata=_is(_WORD, "the error.type that goes with --status or --error-after, such as budget_exceeded"),
    )
    fails: int | None = field(
        default=None,
        metadata=_is(_TIMES, "fail only the first N times that the same request comes"),
    )
    speed: float | None = field(
        default=None,
        metadata=_is(_FACTOR, "play answers with recorded times X times as fast; delay is for the others"),
    )

    def __post_init__(self) -> None:
        for option in dataclasses.fields(self):
            value, kind = getattr(self, option.name), option.metadata["kind"]
            if value is not None and not _accepted(kind, value):
                raise ValueError(f"{_written(option.name)} must be {kind.wanted}, not {value!r}")
        failures = [_written(name) for name in _FAILURES if getattr(self, name) is not None]
        if len(failures) > 1:
            raise ValueError(f"an answer fails in one way: {' and '.join(failures)} exclude each other")
        if self.fails is not None and not failures:
            raise ValueError(f"fails needs one of {', '.join(map(_written, _FAILURES))}")
        if self.status is None and self.retry_after is not None:
            raise ValueError("retry-after needs a status")
        if self.status is None and self.error_after is None and self.error_type is not None:
            raise ValueError("error-type needs a status or error-after")

    @property
    def ending(self) -> tuple[str, int | None]:
        """The fault that ends the stream early, as it is written, and the number of events before it, or `None`."""
        found = ((_written(name), n) for name in _ENDINGS if (n := getattr(self, name)) is not None)
        return next(found, ("", None))

    def changed(self, options: Mapping[str, Any]) -> Self:
        """Return a copy with other options; a new failure replaces the old one."""
        faults = self if _FAILURES.isdisjoint(options) else self.without_failure()
        if "delay" in options:  # the pace that was asked for last
            faults = dataclasses.replace(faults, speed=None)
        return dataclasses.replace(faults, **options)

    def without_failure(self) -> Self:
        """Return a copy that does not fail; the pace stays the same."""
        failure: dict[str, Any] = dict.fromkeys((*_FAILURES, "retry_after", "error_type", "fails"))
        return dataclasses.replace(self, **failure)


# Dictionary keys are sets with an order: error messages list the options in it.
_ENDINGS = dict.fromkeys(("cut_after", "end_after", "stall_after", "error_after")).keys()
_FAILURES = dict.fromkeys(("status", *_ENDINGS)).keys()


class FaultOptions(TypedDict, total=False):
    """The keyword arguments of `Faults`."""

    delay: float
    first_delay: float
    ping: float | None
    split: int | None
    crlf: bool
    cut_after: int | None
    end_after: int | None
    stall_after: int | None
    error_after: int | None
    linger: float
    status: int | None
    retry_after: float | None
    error_type: str | None
    fails: int | None
    speed: float | None


@dataclass(frozen=True, slots=True)
class Option:
    """An option of the command line: `cut-after`, `N`, and its description; a flag has an empty `metavar`."""

    name: str
    metavar: str
    help: str


def _written(name: str) -> str:
    return name.replace("_", "-")


_FIELDS = {_written(option.name): option for option in dataclasses.fields(Faults)}

OPTIONS = tuple(
    Option(name, option.metadata["kind"].metavar, option.metadata["help"]) for name, option in _FIELDS.items()
)


def read_options(written: Iterable[tuple[str, str]]) -> FaultOptions:
    """Parse options from their names and texts; raises `ValueError` that names the wrong option."""
    options: dict[str, Any] = {}
    for name, text in written:
        option = _FIELDS.get(_written(name))
        if option is None:
            raise ValueError(f"unknown option {name!r}: there are {', '.join(_FIELDS)}")
        if option.name in options:
            raise ValueError(f"{name} is given twice")
        kind: _Kind = option.metadata["kind"]
        try:
            options[option.name] = kind.read(text)
        except (ValueError, KeyError):
            raise ValueError(f"{name} must be {kind.wanted}, not {text!r}") from None
    return cast("FaultOptions", options)


# The arguments of a server that are no faults.
_OTHER_ARGUMENTS = ("port", "cors", "strict", "fallback", "ignore", "match", "report")


def faults_of(options: Mapping[str, Any]) -> Faults:
    """Return the faults that keyword arguments ask for; raises `TypeError` that names an unknown option."""
    known = [option.name for option in _FIELDS.values()]
    for name in options:
        if name not in known:
            every = (*known, *_OTHER_ARGUMENTS)
            near = get_close_matches(name, every, n=1, cutoff=0.75)
            doubt = f"; did you mean {near[0]}?" if near else ""
            raise TypeError(f"unknown option {name!r}: there are {', '.join(every)}{doubt}")
    return Faults(**options)


def split_model(model: str) -> tuple[str, FaultOptions]:
    """Split `gpt-4o-mini?cut-after=7&crlf` into the model and its options; raises `ValueError`."""
    name, _, query = model.partition("?")
    return name, read_options(parse_qsl(query, keep_blank_values=True))
