"""Compare what a tool recorded of this package's streams with what it recorded of the SDK's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gateway import BREAKS_AFTER, LEAVES_AFTER, WORDS

# The parts of the table, and the ways of reading chat completions in them: the client, how its stream was opened, how
# it was read.
COLUMNS = {
    "loop": [("Tensorloop", "direct", "loop")],
    "text_stream": [("Tensorloop", "direct", "text_stream")],
    "get_final_completion": [("Tensorloop", "direct", "final")],
    "SDK's .stream()": [("Tensorloop", "helper", "loop")],
    "with_raw_response": [("Tensorloop", "raw", "loop")],
    "ChatStream(OpenAI's)": [
        ("OpenAI", "wrapped", "loop"),
        ("OpenAI", "wrapped", "text_stream"),
        ("OpenAI", "wrapped", "final"),
        ("OpenAI", "function", "final"),
    ],
    "ChatStream(ours)": [("Tensorloop", "wrapped", "text_stream")],
}
# The part of all ways of reading responses.
RESPONSES = "responses"
_REFERENCES = ("direct", "helper", "raw")
_WHOLE, _LEFT, _BROKEN = ("".join(WORDS[:number]) for number in (len(WORDS), LEAVES_AFTER, BREAKS_AFTER))
_BREAKS = ("truncated", "cut", "error", "stall")


@dataclass(frozen=True)
class Fault:
    """One action whose record, or whose outcome for the caller, is not what it should be."""

    reading: str
    ending: str
    what: str

    def __str__(self) -> str:
        return f"{self.reading}, {self.ending}: {self.what}"


@dataclass
class Cell:
    """The number of right actions in a column."""

    right: int = 0
    tried: int = 0

    def count(self, *, right: bool) -> None:
        self.tried += 1
        self.right += right

    def __str__(self) -> str:
        return f"{self.right} of {self.tried}" if self.right < self.tried else "same" if self.tried else ""


@dataclass
class Comparison:
    """The results of all actions with one tool."""

    # By API.
    recorded: dict[str, str]
    streams: list[str]
    records: dict[str, Cell]
    caller: Cell = field(default_factory=Cell)
    faults: list[Fault] = field(default_factory=list)
    # Microseconds of CPU for a chunk, where that was asked for.
    cost: list[float] = field(default_factory=list)

    def count(self, column: str, action: dict[str, Any], expected: list[list[dict[str, Any]]]) -> None:
        """Count an action, whose records are to be as good as one of those with the SDK."""
        ending = action["ending"]
        in_records = min((_record_fault(records, action["records"], ending) for records in expected), key=bool)
        for_caller = _caller_fault(action["seen"], ending)
        # Where the SDK's own stream leaves no trace, there is nothing to be the same as.
        if in_records is not None or any(record["ended"] for records in expected for record in records):
            self.records[column].count(right=in_records is None)
        self.caller.count(right=for_caller is None)
        found = [what for what in (in_records, for_caller) if what is not None]
        self.faults += [Fault(_name(action["reading"]), ending, what) for what in found]


def compare(actions: list[dict[str, Any]], *, recorded: Iterable[str] = ("chat",)) -> Comparison:
    """Compare each action of this package with the SDK's plain loop, or with its helper or raw response.

    A tool that has no text of the SDK's whole stream, of an API that it is known to record, was not switched on, which
    is a fault too.
    """
    references = {_place(action["reading"], action["ending"]): action for action in actions if _is_reference(action)}
    apis = sorted({api for api, *_ in references})
    sums = {api: _recorded(references, api) for api in apis}
    comparison = Comparison(sums, _streams(actions), {column: Cell() for column in (*COLUMNS, RESPONSES)})
    for api in recorded:
        if not any(record["text"] for record in references[api, "direct", False, "whole"]["records"]):
            name = ", ".join(["OpenAI", *(["responses"] if api == RESPONSES else []), "loop"])
            comparison.faults.append(Fault(name, "whole", "the tool has no text of the SDK's stream"))
    for action in actions:
        reading = action["reading"]
        column = None if _is_reference(action) else _column(reading)
        # To the SDK a truncated stream is whole, and `response.failed` an event; to this package they are errors, which
        # a tool may record as such.
        errors = {"truncated", "error"} if reading["api"] == RESPONSES else {"truncated"}
        endings = [action["ending"], *(["cut"] if action["ending"] in errors else [])]
        expected = [references[_place(reading, ending)] for ending in endings]
        if column is not None and not any(map(_fails_with_the_sdk, expected)):
            comparison.count(column, action, [reference["records"] for reference in expected])
    return comparison


def _is_reference(action: dict[str, Any]) -> bool:
    return action["reading"]["client"] == "OpenAI" and action["reading"]["way"] in _REFERENCES


def _place(reading: dict[str, Any], ending: str) -> tuple[str, str, bool, str]:
    """Return what an action has in common with the one of the SDK that it is compared with."""
    way = reading["way"] if reading["way"] in _REFERENCES else "direct"
    return reading["api"], way, reading["is_async"], ending


def _column(reading: dict[str, Any]) -> str | None:
    if reading["api"] == RESPONSES:
        return RESPONSES
    return next((name for name, readings in COLUMNS.items() if _key(reading) in readings), None)


def _key(reading: dict[str, Any]) -> tuple[str, str, str]:
    return reading["client"], reading["way"], reading["how"]


def _streams(actions: list[dict[str, Any]]) -> list[str]:
    """Return the types of what `create` of a Tensorloop client returns."""
    ours = [action for action in actions if _key(action["reading"])[:2] == ("Tensorloop", "direct")]
    return sorted({action["seen"]["stream"] or "an error" for action in ours})


def _name(reading: dict[str, Any]) -> str:
    client = f"{'Async' if reading['is_async'] else ''}{reading['client']}"
    ours, api = ("ResponseStream", RESPONSES) if reading["api"] == RESPONSES else ("ChatStream", None)
    opened = {"wrapped": ours, "function": f"{ours}(function)", "helper": ".stream()", "raw": "raw"}
    return ", ".join(part for part in (client, api, opened.get(reading["way"]), reading["how"]) if part)


def _fails_with_the_sdk(reference: dict[str, Any]) -> bool:
    """Tell whether the tool breaks the SDK itself here, in an error that is none of the gateway's."""
    return ":" in (reference["seen"]["error"] or "")


def _record_fault(expected: list[dict[str, Any]], found: list[dict[str, Any]], ending: str) -> str | None:
    """Return what is missing of the SDK's records, or too many; more in a record is no fault."""
    if not len(expected) <= len(found) <= max(len(expected), 1):
        return f"{len(found)} records, not {len(expected)}"
    for one, other in zip(expected, found, strict=False):
        for name, value in one.items():
            if name == "ended":
                wrong = value and not other[name]
            elif name == "error":
                # Left early it is a matter of taste; a break that a tool did not note before may be noted now.
                wrong = value != other[name] if ending == "whole" else ending in _BREAKS and value > other[name]
            else:
                wrong = value is not None and value != other[name]
            if wrong:
                return f"{name} is {other[name]!r}, not {value!r}"
    return None


def _caller_fault(seen: dict[str, Any], ending: str) -> str | None:
    """Return in what the caller's outcome differs from what this package promises."""
    if ending in {"whole", "left", "dropped"}:
        expected = _WHOLE if ending == "whole" else _LEFT
        if seen["error"] is not None:
            return f"raises {seen['error']}"
        return None if seen["text"] == expected else f"the text is {seen['text']!r}"
    if seen["error"] is None:
        return "raises nothing"
    if not seen["is_stream_error"]:
        return f"raises {seen['error']}, which is no StreamError"
    expected_kind = (ending in {"cut", "stall"}, ending == "stall")
    if (seen["is_connection_error"], seen["is_timeout_error"]) != expected_kind:
        return f"raises {seen['error']}"
    return None if seen["partial"] == _BROKEN else f".partial has {seen['partial']!r}"


def _recorded(references: dict[Any, dict[str, Any]], api: str) -> str:
    """Sum up what the tool records of the SDK's plain loop."""
    whole = references[api, "direct", False, "whole"]["records"]
    if not whole:
        return "nothing"
    parts = [
        name.replace("_", " ")
        for name in ("text", "usage", "finish_reason")
        if any(record[name] is not None for record in whole)
    ]
    for ending in ("left", "cut"):
        records = references[api, "direct", False, ending]["records"]
        if not records or not all(record["ended"] for record in records):
            state = "never ends"
        elif any(record["error"] for record in records):
            state = "error"
        else:
            state = "ends"
        parts.append(f"{ending}: {state}")
    return ", ".join(parts)
