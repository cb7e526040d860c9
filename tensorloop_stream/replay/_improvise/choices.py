"""The choices of a chat completion: read from recorded answers, and cut to what a request allows. No I/O."""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tensorloop_stream.replay._answers import Answer, data_of

# About what the tokens of a model are: a word with the blank before it, or its punctuation.
_PIECE = re.compile(r"\s*\w{1,12}|\s*[^\w\s]{1,4}|\s+")


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool; `kind` is `function` or `custom`, whose `arguments` are its input."""

    name: str
    arguments: str
    kind: str = "function"


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice of a completion."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    finish_reason: str = "stop"
    refusal: str = ""
    reasoning: str = ""


def tokens_in(text: str) -> list[str]:
    """Split a text into parts of the size of tokens."""
    return _PIECE.findall(text)


def limited(choice: Choice, stop: tuple[str, ...], max_tokens: int | None) -> Choice:
    """Cut a choice at the first stop sequence, and at the limit of tokens."""
    starts = [start for each in stop if (start := choice.text.find(each)) >= 0]
    if starts:
        choice = dataclasses.replace(choice, text=choice.text[: min(starts)])
    if max_tokens is None:
        return choice
    left, is_cut = max_tokens, False
    texts = [choice.reasoning, choice.refusal, choice.text, *(call.arguments for call in choice.calls)]
    for number, text in enumerate(texts):
        tokens = tokens_in(text)
        is_cut |= len(tokens) > left
        texts[number] = "".join(tokens[:left])
        left -= len(tokens[:left])
    if not is_cut:
        return choice
    reasoning, refusal, text, *arguments = texts
    calls = tuple(
        dataclasses.replace(call, arguments=kept) for call, kept in zip(choice.calls, arguments, strict=True) if kept
    )
    return Choice(text, calls, "length", refusal, reasoning)


def choices_of(answer: Answer) -> list[Choice] | None:
    """Return the choices of a recorded answer, in their order; `None` if it is not a whole completion."""
    try:
        return _read(answer)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _read(answer: Answer) -> list[Choice]:
    if answer.status != 200 or answer.is_cut:
        raise ValueError("not a whole answer")
    if answer.frames is None:
        return [_whole(choice, "message") for choice in _sorted(_json(answer.body))]
    texts = [data for frame in answer.frames if (data := data_of(frame.data))]
    if not texts or texts[-1] != b"[DONE]":
        raise ValueError("not a whole stream")
    merged: dict[int, dict[str, Any]] = {}
    for text in texts[:-1]:
        for part in _sorted(_json(text)):
            _merge(merged.setdefault(part.get("index") or 0, {"delta": {}, "calls": {}}), part)
    return [_of_stream(merged[index]) for index in sorted(merged)]


def _json(text: bytes) -> Mapping[str, Any]:
    value = json.loads(text)
    if not isinstance(value, Mapping) or "error" in value or "choices" not in value:
        raise ValueError("not a completion")
    return value


def _sorted(completion: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return sorted(completion["choices"] or [], key=lambda choice: int(choice.get("index") or 0))


def _whole(choice: Mapping[str, Any], name: str) -> Choice:
    message = choice.get(name)
    if not isinstance(message, Mapping) or not isinstance(choice.get("finish_reason"), str):
        raise ValueError("not a whole choice")
    calls = tuple(_calls(message.get("tool_calls")))
    texts = [str(message.get(each) or "") for each in ("content", "refusal", "reasoning_content")]
    texts[2] = texts[2] or str(message.get("reasoning") or "")
    return Choice(texts[0], calls, choice["finish_reason"], texts[1], texts[2])


def _calls(value: Any) -> Iterator[Call]:
    for call in value or ():
        kind = str(call.get("type") or "function")
        inner = call[kind]
        yield Call(str(inner["name"]), str(inner["input" if kind == "custom" else "arguments"]), kind)


def _merge(choice: dict[str, Any], part: Mapping[str, Any]) -> None:
    """Add a chunk's part of a choice to the chunks before it."""
    choice["finish_reason"] = part.get("finish_reason") or choice.get("finish_reason")
    delta = part.get("delta") or {}
    for name in ("content", "refusal", "reasoning_content", "reasoning"):
        choice["delta"][name] = choice["delta"].get(name, "") + (delta.get(name) or "")
    for call in delta.get("tool_calls") or ():
        kind = str(call.get("type") or "function")
        known = choice["calls"].setdefault(call.get("index") or 0, {"type": kind, kind: {}})
        for name, text in (call.get(known["type"]) or {}).items():
            inner = known[known["type"]]
            inner[name] = inner.get(name, "") + (text or "")


def _of_stream(choice: dict[str, Any]) -> Choice:
    delta = {**choice["delta"], "tool_calls": [choice["calls"][index] for index in sorted(choice["calls"])]}
    return _whole({**choice, "delta": delta}, "delta")
