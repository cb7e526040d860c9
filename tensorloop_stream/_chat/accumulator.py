"""Chunks to one completion: what the same request with `stream=False` would have returned."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion

from tensorloop_stream._stream.models import build_model

from .choice import ChoiceState
from .chunk_counter import ChunkCounter
from .index import as_index
from .merge import snapshot
from .models import as_mapping
from .trailing_chunk import says_nothing
from .usage import AnswerUsage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageToolCallUnion

    from tensorloop_stream._callbacks import UnusableToolCall

    from .fast_path.template import EventTemplate

__all__ = ["ChatAccumulation", "ChatAccumulator"]

_FIRST = frozenset({"id", "created", "model"})
# The result has its own `object`; `obfuscation` is padding against traffic analysis.
_DROPPED = frozenset({"object", "obfuscation"})
_REPEATED = _FIRST | _DROPPED | {"choices"}


class ChatAccumulation:
    """The completion so far, and what the last chunk brought to choice 0; for the engine (`dialect.Accumulation`)."""

    __slots__ = (
        "_choices",
        "_counter",
        "_envelope",
        "_is_named",
        "_talking",
        "_usage",
        "changes",
        "has_finish",
        "has_result",
        "has_token",
        "is_idle",
        "reasoning_delta",
        "refusal_delta",
        "request",
        "text_delta",
    )

    # Usage may follow all finish reasons.
    ends = False

    def __init__(self) -> None:
        self._envelope: dict[str, Any] = {}
        self._usage = AnswerUsage()
        self._choices: dict[int, ChoiceState] = {}
        self._is_named = False
        # Whether the request at hand gave a choice: a gateway whose backend failed may send [DONE] alone
        # (lemonade#2826).
        self.has_result = False
        # The HTTP request, if it is known.
        self.request: Any = None
        self._counter: ChunkCounter | None = ChunkCounter()
        # Counts the changes of envelope and usage: templates take both for granted.
        self.changes = 0
        # The choices that a chunk may extend by nothing but text.
        self._talking: dict[int, ChoiceState] = {}
        self.text_delta: str = ""
        self.reasoning_delta: str = ""
        self.refusal_delta: str = ""
        self.has_token: bool = False
        # Whether some choice has a finish reason.
        self.has_finish = False
        self.is_idle: bool = False

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Add one chunk in its wire form; raises `ValueError` for a value that is no chunk."""
        self.text_delta = self.reasoning_delta = self.refusal_delta = ""
        if self.has_finish:
            self._add_behind_finish(chunk)
        else:
            self._add(chunk)

    def _add_behind_finish(self, chunk: Mapping[str, Any]) -> None:
        before = repr(self._total_usage)
        is_empty = says_nothing(chunk.get("choices"), self._choices)
        self._add(chunk)
        self.is_idle = is_empty and before == repr(self._total_usage)

    def _add(self, chunk: Mapping[str, Any]) -> None:
        choices = chunk.get("choices")
        if choices:
            self._add_choices(choices)
        # Most chunks repeat the envelope of the first.
        envelope, names = self._envelope, chunk.keys() - _REPEATED if self._is_named else chunk.keys()
        for name in names if len(names) < 2 else [name for name in chunk if name in names]:
            value = chunk[name]
            if type(value) is not str or envelope.get(name) != value:
                self._add_field(name, value)
        if not self._is_named:
            self._is_named = all(envelope.get(name) for name in _FIRST)

    def continues(self, chunk: Mapping[str, Any]) -> bool:
        """Tell whether a chunk only extends one choice that has begun: its text, its reasoning or the arguments."""
        choices = chunk.get("choices")
        if not self._is_named or type(choices) is not list or len(choices) != 1:
            return False
        choice = choices[0]
        if type(choice) is not dict:
            return False
        index = choice.get("index")
        state = self._talking.get(index) if type(index) is int else None
        return state is not None and state.continues(choice)

    def extend(self, template: EventTemplate, text: str, logprobs: bytes) -> None:
        """Extend the field of a template by the text of a chunk that `continues`.

        `logprobs` are log probabilities as JSON, or empty.
        """
        state, field = self._talking[template.choice], template.field
        self.text_delta = self.reasoning_delta = self.refusal_delta = ""
        if field == "content":
            shown = state.content.append(text)
            if template.choice == 0:
                self.text_delta = shown
        elif field == "arguments":
            state.extend_arguments(template.call, text)
        else:
            shown = state.extend_reasoning(field, text)
            if template.choice == 0:
                self.reasoning_delta = shown
        if logprobs:
            state.add_logprobs(logprobs)

    def _add_field(self, name: str, value: Any) -> None:
        if value is None or name == "choices":
            return
        if name in _FIRST:
            if not self._envelope.get(name):
                self._envelope[name] = value
        elif name == "usage":
            if isinstance(value, dict) and value:
                self._usage.add(value)
                self.changes += 1
        elif name not in _DROPPED:
            if name == "x_groq":
                self._usage.add_of_groq(value)
            # Not merged: Perplexity repeats all its citations in every chunk.
            self._set(name, value)

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
                if not choice:
                    continue
                raise ValueError(f"a choice is {reprlib.repr(choice)}, which is not an object")
            index = choice.get("index")
            if type(index) is not int:
                index = as_index(index) or 0
            if self._counter is not None:
                index = self._index_of(choice, index, is_alone=len(choices) == 1)
            self._add_choice(choice, index)

    def _add_choice(self, choice: dict[str, Any], index: int) -> None:
        self.has_result = True
        state = self._choices.get(index)
        if state is None:
            state = self._choices[index] = ChoiceState(index)
        state.add(choice)
        if state.finish_reason:
            self.has_finish = True
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

    def _index_of(self, choice: dict[str, Any], index: int, *, is_alone: bool) -> int:
        """Return the index of a choice, or 0 where the indices count chunks."""
        counter = self._counter
        assert counter is not None
        was_counting = counter.is_counting
        if not counter.add(choice, index, self.request, is_alone=is_alone):
            self._counter = None
        if not counter.is_counting:
            return index
        if not was_counting:
            for number, earlier in counter.chunks:
                if number:
                    self._choices.pop(number, None)
                    self._talking.pop(number, None)
                    self._add_choice(earlier, 0)
        return 0

    @property
    def result(self) -> ChatCompletion:
        """The completion so far; never raises, not even with nothing added."""
        values = {name: snapshot(value) for name, value in self._envelope.items()}
        values["object"] = "chat.completion"
        values["choices"] = []
        if (usage := self._total_usage) is not None:
            values["usage"] = snapshot(usage)
        completion = build_model(ChatCompletion, values)
        completion.choices = [self._choices[index].to_choice() for index in sorted(self._choices)]
        return completion

    @property
    def text(self) -> str:
        """The text of choice 0 so far."""
        return str(self._choices[0].content) if 0 in self._choices else ""

    @property
    def plain_text(self) -> str:
        """The text of an unfinished answer that is one choice of nothing but text; empty for any other."""
        is_plain = self._choices.keys() == {0} and self._choices[0].is_plain_text
        return self.text if is_plain else ""

    def begin_continuation(self) -> None:
        """Keep the usage so far beside that of the request which continues the answer."""
        self._usage.begin_continuation(self._usages_of_choices())
        self.has_result = False
        for choice in self._choices.values():
            choice.usage = None
        self.changes += 1

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
        """The last usage that the gateway sent."""
        usage = self._total_usage
        return None if usage is None else build_model(CompletionUsage, snapshot(usage))

    @property
    def output_tokens(self) -> int | None:
        """The number of tokens of the answer, from the usage."""
        usage = self.usage
        tokens = None if usage is None else usage.completion_tokens
        return tokens if isinstance(tokens, int) else None

    @property
    def _total_usage(self) -> dict[str, Any] | None:
        return self._usage.total(self._usages_of_choices())

    def _usages_of_choices(self) -> Iterator[dict[str, Any] | None]:
        return (choice.usage for choice in self._choices.values())

    @property
    def finish_reason(self) -> str | None:
        """The finish reason of choice 0."""
        return self._choices[0].finish_reason if 0 in self._choices else None

    @property
    def is_whole(self) -> bool:
        """Whether there is a choice and each has a finish reason."""
        return bool(self._choices) and all(choice.finish_reason for choice in self._choices.values())

    @property
    def is_settled(self) -> bool:
        """Whether each choice has a finish reason in a chunk without text, after which no text is to be expected."""
        return self.is_whole and all(choice.finished_alone for choice in self._choices.values())

    @property
    def may_end(self) -> bool:
        """Whether some choice has a finish reason: LiteLLM may send it for one of several only."""
        return any(choice.finish_reason for choice in self._choices.values())

    def newly_whole_calls(self, *, ended: bool) -> list[ChatCompletionMessageToolCallUnion]:
        """Return the calls of choice 0 that became whole, once each; `ended` when no chunk can follow."""
        calls = self._choices[0].newly_whole_calls(ended=ended) if 0 in self._choices else []
        return [call.to_model(runnable=True) for call in calls]

    def unusable_calls(self, *, ended: bool) -> list[UnusableToolCall]:
        """Return the calls of choice 0 that must not be run; none before its finish reason or the end."""
        return self._choices[0].unusable_calls(ended=ended) if 0 in self._choices else []


class ChatAccumulator:
    """Accumulate the chunks of one stream, however odd, into a `ChatCompletion`.

    Nothing is invented: no id, usage or finish reason that did not come. Linear in the number of chunks.

    For example:

        accumulator = ChatAccumulator()
        for chunk in client.chat.completions.create(**request, stream=True):
            accumulator.add(chunk)
        print(accumulator.completion, accumulator.finished)
    """

    __slots__ = ("_accumulation",)

    def __init__(self) -> None:
        self._accumulation = ChatAccumulation()

    def add(self, chunk: ChatCompletionChunk | Mapping[str, object]) -> None:
        """Take one chunk, or the equivalent mapping, into the completion.

        Raises `TypeError` for a value of another type and `ValueError` for a mapping that is no chunk.
        """
        self._accumulation.add(chunk if type(chunk) is dict else as_mapping(chunk))

    @property
    def completion(self) -> ChatCompletion:
        """The completion so far; never raises, not even with nothing added."""
        return self._accumulation.result

    @property
    def text(self) -> str:
        """The text of choice 0 so far."""
        return self._accumulation.text

    @property
    def reasoning(self) -> str:
        """The reasoning of choice 0 so far, whatever name the gateway gives it."""
        return self._accumulation.reasoning

    @property
    def refusal(self) -> str:
        """The refusal of choice 0 so far."""
        return self._accumulation.refusal

    @property
    def tool_calls(self) -> list[ChatCompletionMessageToolCallUnion]:
        """The tool calls of choice 0 so far; the last may be incomplete."""
        return self._accumulation.tool_calls

    @property
    def unusable_tool_calls(self) -> list[UnusableToolCall]:
        """The tool calls of choice 0 that must not be run; empty before its finish reason."""
        return self._accumulation.unusable_calls(ended=False)

    @property
    def usage(self) -> CompletionUsage | None:
        """The last usage that the gateway sent."""
        return self._accumulation.usage

    @property
    def finish_reason(self) -> str | None:
        """The finish reason of choice 0."""
        return self._accumulation.finish_reason

    @property
    def finished(self) -> bool:
        """Whether there is a choice and each seen has a finish reason."""
        return self._accumulation.is_whole
