"""Rules that let a recorded interaction answer more requests than the recorded one. No I/O."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from ._bodies import canonical, is_streamed
from ._fields import Path, path_of, text_of, values_at, without
from ._spelling import misspelt_path

Match = Iterable[str] | Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule for the comparison of a request with a recorded one; by default, everything counts."""

    ignored: tuple[Path, ...] = ()
    """Fields that do not count."""
    fields: tuple[Path, ...] = ()
    """If there are any, only these fields count, and the patterns."""
    patterns: tuple[tuple[Path, re.Pattern[str]], ...] = ()
    """Regular expressions, each to be found in the text of a field."""

    @classmethod
    def read(cls, match: object = (), ignore: object = ()) -> Self:
        """Check and read what a person wrote; raises `ValueError` that names the wrong part."""
        ignored = tuple(map(path_of, _names(ignore, "ignore")))
        if isinstance(match, Mapping):
            patterns = tuple((path_of(_name(path, "match")), _pattern(path, text)) for path, text in match.items())
            return cls(ignored, (), patterns)
        return cls(ignored, tuple(map(path_of, _names(match, "match"))))

    @property
    def is_loose(self) -> bool:
        """Whether other requests than an equal one may match."""
        return bool(self.fields or self.patterns)

    def require_fields(self, bodies: Iterable[Any]) -> None:
        """Raise `ValueError` for a path that leads to nothing in all of these requests.

        A `match` for it cannot fit. An `ignore` for it is refused only if it looks misspelt: other requests may have
        the field.
        """
        recorded = list(bodies)
        where = "the recorded request" if len(recorded) == 1 else "any recorded request"
        for path in (*self.fields, *(path for path, _ in self.patterns)):
            if not any(True for body in recorded for _ in values_at(body, path)):
                right = misspelt_path(path, recorded)
                meant = f": did you mean {right}?" if right else ""
                raise ValueError(f"match names {'.'.join(path)}, which is not in {where}{meant}")
        for path in self.ignored:
            if (right := misspelt_path(path, recorded)) is not None:
                raise ValueError(f"ignore names {'.'.join(path)}, which is not in {where}: did you mean {right}?")

    def idle_patterns(self, bodies: Iterable[Any]) -> Iterator[str]:
        """Yield a sentence for each pattern that none of these requests fits."""
        recorded = [self.counted(body) for body in bodies]
        for path, pattern in self.patterns:
            values = [text_of(value) for body in recorded for value in values_at(body, path)]
            if not any(map(pattern.search, values)):
                where = f"the recorded request, {values[0]!r:.60}" if len(values) == 1 else "any recorded request"
                rule = f"match.{'.'.join(path)} is /{pattern.pattern:.60}/"
                yield f"{rule}, which is not found in {where}: mend one of them"

    def for_recorded(self, body: Any) -> "Rule":
        """Return this general rule as it holds for a recorded request: one that a pattern does not fit is not meant."""
        counted = self.counted(body)
        is_meant = all(
            any(pattern.search(text_of(value)) for value in values_at(counted, path)) for path, pattern in self.patterns
        )
        return self if is_meant else Rule(self.ignored)

    def counted(self, body: Any) -> Any:
        """Return the part of a body that counts."""
        for path in self.ignored:
            body = without(body, path)
        return body

    def accepts(self, sent: Any, recorded: Any) -> bool:
        """Return whether a request fits the fields and patterns of a loose rule; `stream` always counts."""
        sent, recorded = self.counted(sent), self.counted(recorded)
        return is_streamed(sent) == is_streamed(recorded) and next(self.misses(sent, recorded), None) is None

    def misses(self, sent: Any, recorded: Any) -> Iterator[tuple[str, Any, str]]:
        """Yield the path of each field that does not fit a loose rule, what was sent there, and what fits."""
        for path in self.fields:
            values, wanted = list(values_at(sent, path)), list(values_at(recorded, path))
            if [canonical(value) for value in values] != [canonical(value) for value in wanted]:
                yield ".".join(path), values, json.dumps(wanted[0] if len(wanted) == 1 else wanted, ensure_ascii=False)
        for path, pattern in self.patterns:
            values = list(values_at(sent, path))
            if not any(pattern.search(text_of(value)) for value in values):
                yield ".".join(path), values, f"/{pattern.pattern}/"

    def over(self, general: "Rule") -> "Rule":
        """Return this rule completed by a more general one: its ignored fields, and its match where there is none."""
        own = self if self.is_loose else general
        return Rule((*self.ignored, *general.ignored), own.fields, own.patterns)


EXACT = Rule()


def _names(value: object, where: str) -> list[str]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, Iterable):
        raise ValueError(f"{where} must be a list of paths such as messages.0, not {value!r}")
    return [_name(each, where) for each in value]


def _name(value: object, where: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"{where} must name fields by paths such as messages.0, not {value!r}")
    return value


def _pattern(path: object, text: object) -> re.Pattern[str]:
    if not isinstance(text, str):
        raise ValueError(f"match.{path} must be a regular expression, not {text!r}")
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"match.{path} is no regular expression: {error}: {text!r}") from None
