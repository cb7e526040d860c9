"""The key `replay` of a cassette, which vcrpy ignores. No I/O.

At the top of a file it holds for all its interactions, in an interaction for that one:

    replay:
      ignore: [messages.0, temperature]                  # fields that do not count
      match: [model, messages.-1.content]                # only these count,
      match: {messages.-1.content: "(?i)weather"}        # or: a regular expression for each of these fields
      times: [0.41, 0.52, 0.55]                          # in seconds since the request: the headers, then each event
      cut: true                                          # the connection was cut after the last event
      path: /v1/chat/completions                         # where it is served, if that is not the path of its uri

`ignore` and `match` are for people to write; the recorder writes the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ._rules import EXACT, Rule

_OF_FILES = ("ignore", "match")
_OF_INTERACTIONS = (*_OF_FILES, "times", "cut", "path")


@dataclass(frozen=True, slots=True)
class ReplayKey:
    """The settings under the key `replay`."""

    rule: Rule = EXACT
    times: tuple[float, ...] | None = None
    cut: bool = False
    path: str | None = None


def read_replay_key(value: object, *, of_file: bool = False) -> ReplayKey:
    """Check and read the value of the key; raises `ValueError` that names the wrong part."""
    if value is None:
        return ReplayKey()
    known = _OF_FILES if of_file else _OF_INTERACTIONS
    if not isinstance(value, Mapping):
        raise ValueError(f"replay must have {', '.join(known)}, and is {value!r:.60}")
    for name in value:
        if name not in known:
            raise ValueError(f"replay.{name} is unknown: there are {', '.join(known)}")
    try:
        rule = Rule.read(value.get("match", ()), value.get("ignore", ()))
    except ValueError as error:
        raise ValueError(f"replay: {error}") from None
    if "match" in value and not rule.is_loose:
        raise ValueError("replay.match names no field: name one, or leave match out for all to count")
    cut = value.get("cut", False)
    if not isinstance(cut, bool):
        raise ValueError(f"replay.cut must be true or false, not {cut!r}")
    path = value.get("path")
    if path is not None and not (isinstance(path, str) and path.startswith("/")):
        raise ValueError(f"replay.path must be a path such as /v1/chat/completions, not {path!r}")
    return ReplayKey(rule, _times(value.get("times")), cut, path)


def _times(value: Any) -> tuple[float, ...] | None:
    if value is None:
        return None
    wanted = "replay.times must be a list of ascending numbers of seconds"
    if not isinstance(value, list) or not all(isinstance(each, int | float) and each >= 0 for each in value):
        raise ValueError(f"{wanted}, not {value!r:.60}")
    if any(later < earlier for earlier, later in pairwise(value)):
        raise ValueError(f"{wanted}, and one is before its predecessor")
    return tuple(map(float, value))
