"""What the chunks of one stream add up to, and what the last of them brought."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion

from .choice import ChoiceState
from .merge import snapshot
from .models import build_model
from .tool_calls import as_index

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageToolCallUnion

    from .fast_path.template import EventTemplate
    from .tool_calls import ToolCall

_FIRST = frozenset({"id", "created", "model"})
# The result has its own `object`; `obfuscation` is padding against traffic analysis.
_DROPPED = frozenset({"object", "obfuscation"})
# Of the typed chunk; what the SDK may learn beside these goes the long way.
_FIELDS = _FIRST | _DROPPED | {"choices", "service_tier", "system_fingerprint", "usage"}
_REPEATED = _FIRST | _DROPPED | {"choices"}


class Accumulation:
    """All that has come of one stream, chunk by chunk; what a caller sees of it is in `ChatAccumulator`."""

    __slots__ = (
        "_choices",
        "_envelope",
        "_is_named",
        "_talking",
        "_usage",
        "changes",
        "has_token",
        "reasoning_delta",
        "refusal_delta",
        "text_delta",
    )

    def __init__(self) -> None:
        self._envelope: dict[str, Any] = {}
        self._usage: dict[str, Any] | None = None
        self._choices: dict[int, ChoiceState] = {}
        self._is_named = False
        # How often the envelope or the usage became another.
        self.changes = 0
        # The choices that have begun to speak, in text.
        self._talking: dict[int, ChoiceState] = {}
        # What the last chunk brought to choice 0, for the callbacks and `text_stream`.
        self.text_delta: str = ""
        self.reasoning_delta: str = ""
        self.refusal_delta: str = ""
        self.has_token: bool = False

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Take one chunk in its wire form."""
        if self.add_plain_mapping(chunk):
            return
        self.text_delta = self.reasoning_delta = self.refusal_delta = ""
        choices = chunk.get("choices")
        if choices is not None:
            self._add_choices(choices)
        # Most chunks repeat the envelope of the first and say nothing else in it.
        if not (self._is_named and chunk.keys() <= _REPEATED):
            self._add_envelope(chunk)

    def add_plain_mapping(self, chunk: Mapping[str, Any], data: bytes | None = None) -> bool:
        """Take the commonest chunks the short way, and tell whether it was one: what goes on with one choice.

        `data` is the JSON of the chunk, if it is at hand.
        """
        choices = chunk.get("choices")
        if not self._is_named or type(choices) is not list or len(choices) != 1 or chunk.get("error"):
            return False
        choice = choices[0]
        if type(choice) is not dict:
            return False
        index = choice.get("index")
        state = self._talking.get(index) if type(index) is int else None
        if state is None or not state.add_plain(choice, data):
            return False
        self._show(state)
        if not chunk.keys() <= _REPEATED:
            self._add_envelope(chunk)
        return True

    def add_plain_chunk(self, chunk: ChatCompletionChunk, data: bytes) -> bool:
        """Take a chunk that has been validated, as `add_plain_mapping` does."""
        choices = chunk.choices
        if (
            not self._is_named
            or len(choices) != 1
            or chunk.usage is not None
            or not chunk.__pydantic_fields_set__ <= _FIELDS
        ):
            return False
        extra = chunk.__pydantic_extra__
        if extra and extra.get("error"):
            return False
        state = self._talking.get(choices[0].index)
        if state is None or not state.add_plain_model(choices[0], data):
            return False
        self._show(state)
        if chunk.system_fingerprint is not None:
            self._set("system_fingerprint", chunk.system_fingerprint)
        if chunk.service_tier is not None:
            self._set("service_tier", chunk.service_tier)
        if extra:
            self._add_envelope(extra)
        return True

    def extend(self, template: EventTemplate, piece: str, logprobs: bytes) -> None:
        """Take the piece of a chunk that is otherwise the same as the last one, from which the template is.

        `logprobs` are its log probabilities as JSON, empty if it has none.
        """
        state, name = self._talking[template.choice], template.name
        self.text_delta = self.reasoning_delta = self.refusal_delta = ""
        if name == "content":
            text = state.content.append(piece)
            if template.choice == 0:
                self.text_delta = text
        elif name == "arguments":
            state.add_arguments(template.call, piece)
        else:
            reasoning = state.reason_on(name, piece)
            if template.choice == 0:
                self.reasoning_delta = reasoning
        if logprobs:
            state.add_logprobs(logprobs)

    def _show(self, state: ChoiceState) -> None:
        if state.index == 0:
            self.text_delta, self.reasoning_delta = state.text_delta, state.reasoning_delta
            self.refusal_delta = ""
        else:
            self.text_delta = self.reasoning_delta = self.refusal_delta = ""

    def _add_envelope(self, chunk: Mapping[str, Any]) -> None:
        envelope = self._envelope
        for name, value in chunk.items():
            if value is None or name == "choices":
                continue
            if name in _FIRST:
                if not envelope.get(name):
                    envelope[name] = value
            elif name == "usage":
                # Not simply the last chunk's: some gateways send an empty chunk after it (openai-python
                # loses it).
                if isinstance(value, dict) and value:
                    self._usage = value
                    self.changes += 1
            elif name not in _DROPPED:
                # Not merged: Perplexity repeats all its citations in every chunk.
                self._set(name, value)
        self._is_named = self._is_named or all(envelope.get(name) for name in _FIRST)

    def _set(self, name: str, value: Any) -> None:
        old = self._envelope.get(name)
        # 1 and True are equal, too.
        if old != value or type(old) is not type(value) or isinstance(value, (dict, list)):
            self._envelope[name] = value
            self.changes += 1

    def _add_choices(self, choices: Any) -> None:
        if not isinstance(choices, list):
            raise ValueError(f"choices is {reprlib.repr(choices)}, which is not a list")
        for choice in choices:
            if not isinstance(choice, dict):
                if choice is None:
                    continue
                raise ValueError(f"a choice is {reprlib.repr(choice)}, which is not an object")
            index = choice.get("index")
            if type(index) is not int:
                index = as_index(index) or 0
            state = self._choices.get(index)
            if state is None:
                state = self._choices[index] = ChoiceState(index)
            state.add(choice)
            if not self.has_token:
                self.has_token = state.has_token
            if state.parts is not None:
                self._talking.pop(index, None)
            elif state.has_token:
                self._talking[index] = state
            if index == 0:
                self.text_delta += state.text_delta
                if state.reasoning_delta or state.refusal_delta:
                    self.reasoning_delta += state.reasoning_delta
                    self.refusal_delta += state.refusal_delta

    @property
    def completion(self) -> ChatCompletion:
        """The completion so far; never raises, not even with nothing added."""
        values = {name: snapshot(value) for name, value in self._envelope.items()}
        values["object"] = "chat.completion"
        values["choices"] = []
        if (usage := self._last_usage) is not None:
            values["usage"] = usage
        completion = build_model(ChatCompletion, values)
        completion.choices = [self._choices[index].to_choice() for index in sorted(self._choices)]
        return completion

    @property
    def text(self) -> str:
        """The text of choice 0 so far."""
        return str(self._choices[0].content) if 0 in self._choices else ""

    @property
    def reasoning(self) -> str:
        """The reasoning of choice 0 so far, whatever name the gateway gives it."""
        return str(self._choices[0].reasoning) if 0 in self._choices else ""

    @property
    def refusal(self) -> str:
        """The refusal of choice 0 so far."""
        return str(self._choices[0].refusal) if 0 in self._choices else ""

    @property
    def tool_calls(self) -> list[ChatCompletionMessageToolCallUnion]:
        """The tool calls of choice 0 so far; the last may be incomplete."""
        return self._choices[0].to_choice().message.tool_calls or [] if 0 in self._choices else []

    @property
    def usage(self) -> CompletionUsage | None:
        """The last usage that came."""
        usage = self._last_usage
        return None if usage is None else build_model(CompletionUsage, usage)

    @property
    def _last_usage(self) -> dict[str, Any] | None:
        if self._usage is not None:
            return self._usage
        # Moonshot sends it inside the choice (pi#2017).
        return next((choice.usage for choice in self._choices.values() if choice.usage), None)

    @property
    def finish_reason(self) -> str | None:
        """The finish reason of choice 0."""
        return self._choices[0].finish_reason if 0 in self._choices else None

    @property
    def finished(self) -> bool:
        """Whether there is a choice and each seen has a finish reason."""
        return bool(self._choices) and all(choice.finish_reason for choice in self._choices.values())

    @property
    def any_finished(self) -> bool:
        """Whether some choice has a finish reason: LiteLLM may send it for one of several only."""
        return any(choice.finish_reason for choice in self._choices.values())

    def newly_whole_calls(self, *, ended: bool) -> list[ToolCall]:
        """Return the calls of choice 0 that became whole, once each; `ended` when no chunk can follow."""
        return self._choices[0].newly_whole_calls(ended=ended) if 0 in self._choices else []
