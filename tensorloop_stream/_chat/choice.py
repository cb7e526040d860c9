"""One choice of a completion, delta by delta."""

from __future__ import annotations

import reprlib
from operator import attrgetter
from typing import Any, Literal

from openai.types.chat import ChatCompletionMessage
from openai.types.chat.chat_completion import Choice

from tensorloop_stream._callbacks import UnusableToolCall
from tensorloop_stream._stream.models import build_model
from tensorloop_stream._stream.text import TextBuffer, as_text

from .index import with_indices
from .logprobs import Logprobs, is_plain
from .merge import (
    PARTS_DEPTH,
    append_texts,
    as_content,
    is_reasoning_name,
    join_text,
    merge,
    merge_parts,
    part_texts,
    snapshot,
    thought_text,
)
from .thoughts import PARTS, TEXT, USUAL, PlainestThoughts, Thought
from .tool_call import ToolCall, joined_name
from .tool_calls import ToolCalls
from .usage import merge_usage
from .vocabulary import PART_TEXTS, REASONING_FIELDS, REASONING_LISTS, is_complete, is_reason

_PLAIN_CHOICE = frozenset({"index", "delta"})
_TEXTS = ("content", "refusal", *REASONING_FIELDS)
_THOUGHTS = (*REASONING_FIELDS, *REASONING_LISTS)
# A legacy call and a voice: what is appended, the rest is the last that is not empty.
_GROWING_OBJECTS = {"function_call": ("arguments",), "audio": ("data", "transcript")}


class ChoiceState:
    """One choice, as far as it has arrived."""

    __slots__ = (
        "_calls",
        "_calls_seen",
        "_empty_content",
        "_extra",
        "_is_message",
        "_logprobs",
        "_message",
        "_message_form",
        "_role",
        "_texts",
        "_thoughts",
        "content",
        "finish_reason",
        "finished_alone",
        "has_token",
        "index",
        "parts",
        "reasoning",
        "reasoning_delta",
        "refusal",
        "refusal_delta",
        "text_delta",
        "usage",
    )

    def __init__(self, index: int) -> None:
        self.index = index
        self.finish_reason: str | None = None
        # Whether the chunk with the finish reason brought no text: some gateways say stop where the reasoning ends.
        self.finished_alone = False
        self.content = TextBuffer()
        self.refusal = TextBuffer()
        self.reasoning = TextBuffer()
        self.text_delta = ""
        self.reasoning_delta = ""
        self.refusal_delta = ""
        self.has_token = False
        self.usage: dict[str, Any] | None = None
        self._role = ""
        self._empty_content = False
        # Content as a list of parts, if any piece of it came as one.
        self.parts: list[Any] | None = None
        self._texts: dict[str, TextBuffer] = {}
        self._thoughts = PlainestThoughts()
        # Whether the answer comes in `message` or `text` in place of `delta`, and how the messages follow each other.
        self._is_message = False
        self._message_form: Literal["", "deltas", "snapshots"] = ""
        self._message: dict[str, Any] = {}
        self._calls: ToolCalls | None = None
        self._calls_seen = 0
        self._logprobs: Logprobs | None = None
        self._extra: dict[str, Any] = {}

    def add(self, choice: dict[str, Any]) -> None:
        """Take what one chunk says of this choice; raises `ValueError` for a delta that is no object."""
        self.text_delta = ""
        if self.reasoning_delta or self.refusal_delta:
            self.reasoning_delta = self.refusal_delta = ""
        delta = choice.get("delta")
        if delta:
            self._add_delta(delta)
        if not choice.keys() <= _PLAIN_CHOICE:
            self._add_rest(choice)
            if is_reason(choice.get("finish_reason")):
                self.finished_alone = not (self.text_delta or self.reasoning_delta or self.refusal_delta)

    @property
    def is_plain_text(self) -> bool:
        """Whether the message is unfinished, and nothing but text and reasoning has arrived of it."""
        return not (self.finish_reason or self._calls or self._message or self.parts or self.refusal)

    def continues(self, choice: dict[str, Any]) -> bool:
        """Tell whether a chunk says nothing of this choice but more text, reasoning or arguments.

        It may bring log probabilities, and fields that are null.
        """
        delta = choice.get("delta")
        if type(delta) is not dict:
            return False
        if len(delta) != 1:
            # OpenRouter repeats the role, others the fields that are empty.
            delta = {name: value for name, value in delta.items() if value is not None and name != "role"}
            if len(delta) != 1 or not self._role:
                return False
        if len(choice) != 2:
            for name, value in choice.items():
                if value is not None and name not in _PLAIN_CHOICE and not (name == "logprobs" and is_plain(value)):
                    return False
        (name,) = delta
        value = delta[name]
        if name == "tool_calls":
            calls = self._calls
            return calls is not None and type(value) is list and len(value) == 1 and calls.continues(value[0])
        return type(value) is str and value != "" and (name == "content" or name in REASONING_FIELDS)

    def extend_arguments(self, call: int, text: str) -> None:
        """Extend the arguments of the newest call at an index."""
        assert self._calls is not None
        self._calls.extend(call, text)

    def extend_reasoning(self, field: str, text: str) -> str:
        """Extend the reasoning and return what of it is whole characters."""
        self._add_reasoning(field, text)
        if self._thoughts.repeats:
            text = self._thoughts.beyond(text)
        return self.reasoning.append(text) if text else ""

    def _add_rest(self, choice: dict[str, Any]) -> None:
        for name, value in choice.items():
            if value is None or name in _PLAIN_CHOICE:
                continue
            if name == "finish_reason":
                self.finish_reason = as_text(value) if is_reason(value) else self.finish_reason
            elif name == "logprobs":
                if isinstance(value, dict):
                    self.add_logprobs(value)
            elif name == "message" and value and self._stands_for_delta(choice):
                self._add_message(value, is_last=is_reason(choice.get("finish_reason")))
            elif name == "text" and isinstance(value, str) and self._stands_for_delta(choice):
                self._add_in_place({"content": value})
            elif name == "usage" and isinstance(value, dict):
                self.usage = merge_usage(self.usage or {}, value) or None
            elif name != "message":
                merge(self._extra, name, value)

    def _stands_for_delta(self, choice: dict[str, Any]) -> bool:
        """Tell whether a field beside the delta is the answer; where deltas have come, it only repeats them."""
        delta = choice.get("delta")
        if self.has_token and not self._is_message:
            return False
        return not isinstance(delta, dict) or not any(value for name, value in delta.items() if name != "role")

    def _add_message(self, message: Any, *, is_last: bool) -> None:
        """Take a message in place of a delta (WebAI-to-API#55).

        A message whose texts begin with all that came is a snapshot, of which the rest is new. Any other is a delta,
        and so are all that follow one.
        """
        if not isinstance(message, dict):
            raise ValueError(f"a message is {reprlib.repr(message)}, which is not an object")
        delta = dict(message)
        for name in _TEXTS:
            text, known = message.get(name), self._known_text(name)
            if not isinstance(text, str) or not text or not known or self._message_form == "deltas":
                continue
            if text.startswith(known) and (len(text) > len(known) or is_last or self._message_form):
                self._message_form = "snapshots"
                delta[name] = text[len(known) :]
            elif not self._message_form:
                self._message_form = "deltas"
        if isinstance(calls := delta.get("tool_calls"), list):
            # A snapshot repeats them in their order.
            delta["tool_calls"] = with_indices(calls)
        self._add_in_place(delta)

    def _add_in_place(self, delta: dict[str, Any]) -> None:
        self._add_delta(delta)
        self._is_message = self.has_token

    def _known_text(self, name: str) -> str:
        if name == "content":
            return str(self.content)
        return str(self.refusal if name == "refusal" else self._texts.get(name, ""))

    def _add_delta(self, delta: Any) -> None:
        if not isinstance(delta, dict):
            raise ValueError(f"a delta is {reprlib.repr(delta)}, which is not an object")
        reasoning: list[str] = []
        thoughts: list[Thought] = []
        for name, value in delta.items():
            if value is None:
                continue
            if name == "content":
                if not value:
                    self._empty_content = True
                elif type(value) is str and self.parts is None:
                    self.text_delta = self.content.append(value)
                    self.has_token = True
                else:
                    self._add_content(value)
            elif name == "role":
                self._role = self._role or value
            elif name == "tool_calls":
                self._add_tool_calls(value)
            elif name in REASONING_FIELDS:
                if value and (piece := self._add_reasoning(name, value)) and piece not in reasoning:
                    reasoning.append(piece)
            elif name == "refusal":
                if value:
                    self.refusal_delta = self.refusal.append(as_text(value))
                    self.has_token = True
            elif name != "obfuscation" and (piece := self._add_other(name, value)):
                thoughts.append(Thought(TEXT if type(value) is str else PARTS, name, piece))
        if reasoning or thoughts:
            self._add_thoughts(*(Thought(USUAL, "", piece) for piece in reasoning), *thoughts)

    def _add_content(self, value: Any) -> None:
        value = as_content(value)
        if not value:
            return
        self.has_token = True
        if self.parts is None and not isinstance(value, list):
            self.text_delta = self.content.append(as_text(value))
            return
        # Mistral's thoughts and Gemini's images, a list in the message that is not streamed too (litellm#16272);
        # strings may follow.
        if self.parts is None:
            self.parts = []
            merge_parts(self.parts, [str(self.content)] if self.content else [])
        pieces = value if isinstance(value, list) else [as_text(value)]
        merge_parts(self.parts, pieces)
        text, thoughts = part_texts(pieces)
        if text:
            self.text_delta = self.content.append(text)
        if thoughts:
            self._add_thoughts(Thought(USUAL, "", thoughts))

    def _add_thoughts(self, *thoughts: Thought) -> None:
        """Take the thoughts of one chunk; only what is new counts, and of the plainest field."""
        for thought in sorted(thoughts, key=attrgetter("form")):
            if piece := self._thoughts.new_in(thought, self.reasoning):
                self.reasoning_delta += self.reasoning.append(piece)
                self.has_token = True

    def _add_reasoning(self, name: str, value: Any) -> str:
        if isinstance(value, dict):
            # Bedrock's, through Envoy: text in pieces, then its signature (ai-gateway#1222).
            known = self._message.get(name)
            if not isinstance(known, dict):
                known = self._message[name] = {}
            append_texts(known, value, PART_TEXTS)
            return thought_text(value) or as_text(value.get("text") or "")
        if isinstance(value, list):
            # Databricks' parts, with a summary in each.
            known = self._message.get(name)
            if not isinstance(known, list):
                known = self._message[name] = []
            merge_parts(known, value)
            return thought_text(value)
        text = as_text(value)
        self._texts.setdefault(name, TextBuffer()).append(text)
        return text

    def _add_other(self, name: str, value: Any) -> str:
        """Take a field without a rule of its own, and return the thoughts in it."""
        if name in REASONING_LISTS or is_reasoning_name(name):
            if type(value) is str:
                return join_text(self._message, name, value)
            merge(self._message, name, value)
            return thought_text(value)
        if name == "provider_specific_fields" and isinstance(value, dict):
            # LiteLLM repeats the thoughts here, and may send them here alone.
            merge(self._message, name, value)
            return next(filter(None, (thought_text(value.get(each)) for each in _THOUGHTS)), "")
        if name in _GROWING_OBJECTS and isinstance(value, dict):
            known = self._message.get(name)
            if not isinstance(known, dict):
                # Perhaps it came as something else before.
                known = self._message[name] = {}
            if name == "function_call" and value.get("name") and not known.get("arguments"):
                value = {**value, "name": joined_name(known.get("name"), value["name"])}
            append_texts(known, value, _GROWING_OBJECTS[name])
            self.has_token = True
        else:
            merge(self._message, name, value)
        return ""

    def _add_tool_calls(self, pieces: Any) -> None:
        if not pieces:
            return
        if isinstance(pieces, dict):
            # Text Generation Inference sends a piece without a list around it (TGI#2949).
            pieces = [pieces]
        if not isinstance(pieces, list):
            raise ValueError(f"tool_calls is {reprlib.repr(pieces)}, which is not a list")
        if self._calls is None:
            self._calls = ToolCalls()
        self._calls.add(pieces)
        self.has_token = True

    def add_logprobs(self, logprobs: bytes | dict[str, Any]) -> None:
        """Take more log probabilities, in any of the forms that are kept."""
        if self._logprobs is None:
            self._logprobs = Logprobs()
        self._logprobs.add(logprobs)

    def newly_whole_calls(self, *, ended: bool) -> list[ToolCall]:
        """Return the calls that became whole, once each."""
        calls = self._calls
        if calls is None:
            return []
        finished = self._may_run_calls(ended=ended)
        if not finished and len(calls.calls) == self._calls_seen:
            return []
        self._calls_seen = len(calls.calls)
        return calls.newly_whole(finished=finished)

    def unusable_calls(self, *, ended: bool) -> list[UnusableToolCall]:
        """Return the calls that must not be run, and why; none before the end."""
        if self._calls is None or not (ended or self.finish_reason):
            return []
        finished = self._may_run_calls(ended=ended)
        reason = "the arguments are not valid JSON" if finished else f"the finish reason is {self.finish_reason!r}"
        return [
            UnusableToolCall(call.to_model(), reason if call.name else "the call has no name")
            for call in self._calls.unusable(finished=finished)
        ]

    def _may_run_calls(self, *, ended: bool) -> bool:
        return is_complete(self.finish_reason) if self.finish_reason else ended

    def to_choice(self) -> Choice:
        """Return the choice of the finished message, as far as it has come."""
        content = str(self.content) if self.parts is None else snapshot(self.parts, PARTS_DEPTH)
        message: dict[str, Any] = {"role": self._role or "assistant", "content": content}
        if self.refusal:
            message["refusal"] = str(self.refusal)
        message.update((name, str(text)) for name, text in self._texts.items())
        message.update((name, snapshot(value, PARTS_DEPTH)) for name, value in self._message.items())
        if self._calls is not None and (calls := self._calls.ordered()):
            # Not an empty list, which no API takes back in the next turn.
            message["tool_calls"] = [call.to_dict() for call in calls]
        if not message["content"] and (
            not self._empty_content or any(message.get(name) for name in ("tool_calls", "function_call", "refusal"))
        ):
            message["content"] = None
        extra = {name: snapshot(value) for name, value in self._extra.items()}
        rest = {
            "index": self.index,
            "message": build_model(ChatCompletionMessage, message),
            "finish_reason": self.finish_reason,
        }
        choice = build_model(Choice, {**extra, **rest})
        if self._logprobs is not None:
            choice.logprobs = self._logprobs.to_model()
        return choice
