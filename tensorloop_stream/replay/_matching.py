"""The recorded interactions, and which of them answer a request. No I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

from ._answers import Answer
from ._bodies import Key, is_streamed, key_of
from ._differences import LOG_LISTED, LOG_SHOWN, Difference, differences, in_words, likeness
from ._rules import EXACT, Rule

_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Interaction:
    """One recorded request with its answer.

    `body` is the JSON value, other text as it is, or `None`; `rule` says which other requests have the same answer.
    """

    file: str
    method: str
    path: str
    body: Any
    answer: Answer
    rule: Rule = EXACT

    def __str__(self) -> str:
        body = self.body if isinstance(self.body, dict) else {}
        status = self.answer.status
        result = f"-> {status}" if status != 200 else "-> not a stream" if self.answer.frames is None else ""
        words = [self.method, self.path, str(body.get("model") or ""), first_words(body), result]
        return "  ".join(word for word in words if word)


def first_words(body: Any) -> str:
    """Return the first words of the last message of a request, if it has any."""
    try:
        said = body["messages"] if "messages" in body else body["input"]
        content = said if isinstance(said, str) else said[-1]["content"]
        text = content if isinstance(content, str) else next(part["text"] for part in content if "text" in part)
        return shorten(text, _SHOWN, placeholder=" ...")
    except (AttributeError, KeyError, IndexError, TypeError, StopIteration):
        return ""


class Recordings:
    """All recorded interactions, found by method, path and JSON body, or by their rules."""

    def __init__(self, interactions: Iterable[Interaction] = (), doubts: Iterable[str] = ()) -> None:
        self.interactions = tuple(interactions)
        self.doubts = tuple(doubts)
        """A sentence for each part of a rule that fits no recorded request."""
        self._by_key: dict[tuple[Rule, Key], list[Interaction]] = {}
        for each in self.interactions:
            key = key_of(each.method, each.path, each.rule.counted(each.body))
            self._by_key.setdefault((Rule(each.rule.ignored), key), []).append(each)
        # The strictest first: an equal request has its own answer.
        self._ways = sorted({rule for rule, _ in self._by_key}, key=lambda rule: len(rule.ignored))
        self._loose = [each for each in self.interactions if each.rule.is_loose]

    def matching(self, method: str, path: str, body: Any) -> Sequence[Interaction]:
        """Return the interactions that answer a request, in their order: those of an equal one, else by their rules."""
        for way in self._ways:
            if found := self._by_key.get((way, key_of(method, path, way.counted(body)))):
                return found
        asked = method, path
        return [
            each for each in self._loose if (each.method, each.path) == asked and each.rule.accepts(body, each.body)
        ]

    def at(self, method: str, path: str) -> list[Interaction]:
        """Return the interactions recorded for a method and a path."""
        return [each for each in self.interactions if (each.method, each.path) == (method, path)]

    def why_none(self, method: str, path: str, body: Any) -> tuple[str, str]:
        """Return the differences between a request and the nearest interaction: for a screen, and in full for a log."""
        near = self.at(method, path)
        if not near:
            there = ", ".join(dict.fromkeys(f"{each.method} {each.path}" for each in self.interactions))
            why = f"nothing is recorded for {method} {path}{f', only for {there}' if there else ''}"
            return why, why
        nearest, found = nearest_of(near, body)
        if isinstance(nearest.body, str) and not isinstance(body, str):
            what = f"that of the nearest ({nearest.file}) is no JSON"
            screen, log = shorten(nearest.body, _SHOWN, placeholder=" ..."), nearest.body
        else:
            what = f"the nearest ({nearest.file}) differs"
            screen, log = in_words(found), in_words(found, shown=LOG_SHOWN, listed=LOG_LISTED)
        beginning = f"no recorded {method} {path} has this body; {what}: "
        return beginning + screen, beginning + log


def nearest_of(interactions: Sequence[Interaction], body: Any) -> tuple[Interaction, list[Difference]]:
    """Return the interaction whose request is most like a body, and the differences."""
    differing = [(each, _differing(each, body)) for each in interactions]
    fewest = min(len(found) for _, found in differing)
    return max((pair for pair in differing if len(pair[1]) == fewest), key=lambda pair: likeness(pair[1]))


def _differing(interaction: Interaction, body: Any) -> list[Difference]:
    """Return why an interaction does not answer a body: by its rule, if it has one for some fields alone."""
    rule, recorded = interaction.rule, interaction.body
    if not rule.is_loose or is_streamed(body) != is_streamed(recorded):
        return list(differences(rule.counted(body), rule.counted(recorded)))
    missed = rule.misses(rule.counted(body), rule.counted(recorded))
    return [Difference.of(path, values, wanted) for path, values, wanted in missed]
