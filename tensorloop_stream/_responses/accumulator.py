"""Events to one response: what the same request with `stream=False` would have returned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openai.types.responses import Response, ResponseCustomToolCall, ResponseFunctionToolCall, ResponseUsage

from tensorloop_stream._callbacks import ResponseCalls, UnusableToolCall
from tensorloop_stream._stream.models import build_model
from tensorloop_stream._stream.usage import merge_counts

from .events import FAILED, FAILED_STATUSES, TERMINAL, as_mapping, built_response
from .item_index import ItemIndex, index_of, kind_of
from .items import INPUTS, part_of
from .texts import piece_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from openai.types.responses import ResponseStreamEvent

    from .items import Item, Part
    from .texts import Input, Text

__all__ = ["ResponseAccumulation", "ResponseAccumulator"]

# The part of an item that a kind of events extends: the type of the item, its list, the index of the part, its type.
_PARTS = {
    "output_text": ("message", "content", "content_index", "output_text"),
    "refusal": ("message", "content", "content_index", "refusal"),
    "reasoning_text": ("reasoning", "content", "content_index", "reasoning_text"),
    "reasoning_summary_text": ("reasoning", "summary", "summary_index", "summary_text"),
}
# The item whose input a kind of events extends.
_CALLS = {
    "function_call_arguments": "function_call",
    "mcp_call_arguments": "mcp_call",
    "custom_tool_call_input": "custom_tool_call",
    "code_interpreter_call_code": "code_interpreter_call",
}
_PREFIX = "response."
# Names of the same events in earlier versions of the API, and in its realtime form.
_OTHER_NAMES = {
    "text": "output_text",
    "reasoning": "reasoning_text",
    "reasoning_summary": "reasoning_summary_text",
}
_ENVELOPE_NAMES = frozenset({"type", "sequence_number"})
# The item of a part, by the type of the part.
_OWNERS = {"output_text": "message", "refusal": "message", "reasoning_text": "reasoning", "summary_text": "reasoning"}
# The counts of which the total of a usage is the sum.
_USAGE_PARTS = ("input_tokens", "output_tokens")
# The fields of an event that hold a text.
_TEXT_FIELDS = ("text", "refusal")
# The type of a part that names none.
_OWN_PARTS = {"content": "output_text", "summary": "summary_text"}
_TYPES: dict[str, Any] = {"function_call": ResponseFunctionToolCall, "custom_tool_call": ResponseCustomToolCall}


class ResponseAccumulation:
    """The response so far, and what the last event brought to its text; for the engine (`dialect.Accumulation`)."""

    __slots__ = (
        "_changed_calls",
        "_envelope",
        "_items",
        "_last_told",
        "_names",
        "ends",
        "has_result",
        "has_token",
        "reasoning_delta",
        "refusal_delta",
        "request",
        "target",
        "text_delta",
    )

    def __init__(self) -> None:
        self._envelope: dict[str, Any] = {}
        self._items = ItemIndex()
        # The calls that may have become whole.
        self._changed_calls: list[Item] = []
        # The place of the text that was told last: what belongs before it comes too late.
        self._last_told: tuple[Item, int] | None = None
        # The name under which each kind of text comes: another one only repeats it.
        self._names: dict[str, str] = {}
        self.request: Any = None
        # Whether the event came that ends a whole answer.
        self.has_result = False
        self.ends = False
        self.has_token = False
        self.text_delta: str = ""
        self.reasoning_delta: str = ""
        self.refusal_delta: str = ""
        # What the last event extended, and its channel; `None` if it did anything else.
        self.target: tuple[Text | Input, str] | None = None

    def add(self, event: Mapping[str, Any]) -> None:
        """Add one event in its wire form; raises `ValueError` for a value that is no event."""
        self.text_delta = self.reasoning_delta = self.refusal_delta = ""
        self.target = None
        kind = event.get("type")
        if not isinstance(kind, str):
            if "choices" in event:
                raise ValueError("an event has choices: it is a chunk of chat completions")
            return
        name, _, phase = kind.removeprefix(_PREFIX).rpartition(".")
        usual = _OTHER_NAMES.get(name, name)
        if usual in _PARTS:
            if self._names.setdefault(usual, name) == name:
                self._add_text(event, usual, phase)
        elif name in _CALLS:
            self._add_input(event, name, phase)
        elif name == "output_item":
            self._add_item(event, is_done=phase == "done")
        elif name in {"content_part", "reasoning_part", "reasoning_summary_part"}:
            self._add_part(event, "summary" if name == "reasoning_summary_part" else "content")
        elif name == "output_text.annotation":
            self._add_annotation(event)
        elif isinstance(event.get("response"), dict):
            self._add_usage(event.get("usage"))
            self._add_response(event["response"], kind)
        elif kind in TERMINAL:
            # It may be its own response.
            self._add_response({name: event[name] for name in event if name not in _ENVELOPE_NAMES}, kind)
        else:
            self._add_usage(event.get("usage"))
        if kind in TERMINAL:
            self.ends = True
            self.has_result = kind not in FAILED and str(self.status) not in FAILED_STATUSES

    # Events

    def _add_text(self, event: Mapping[str, Any], name: str, phase: str) -> None:
        owner, field, index_field, kind = _PARTS[name]
        fields = ("delta", *_TEXT_FIELDS) if phase == "delta" else (*_TEXT_FIELDS, "delta")
        value = piece_text(next((found for each in fields if (found := event.get(each)) is not None), None))
        if not value:
            return
        item = self._items.item_of(event, owner)
        part = item.part(field, kind, index_of(event.get(index_field)))
        self.has_token = True
        if phase == "delta":
            channel = item.channel(kind)
            self.target = part.text, channel
            self._tell(item, part, channel, part.text.append(value))
        else:
            self._replace_part(item, part, lambda: part.text.replace(value))
        if kind == "output_text" and (logprobs := event.get("logprobs")):
            if phase == "delta":
                part.extend("logprobs", logprobs)
            elif isinstance(logprobs, list) and all(logprobs):
                part.lists["logprobs"] = [*logprobs]

    def _add_input(self, event: Mapping[str, Any], name: str, phase: str) -> None:
        owner = _CALLS[name]
        value = event.get("delta" if phase == "delta" else INPUTS[owner])
        if value is None or value == "":
            return
        item = self._items.item_of(event, owner)
        known = item.input
        assert known is not None
        self.has_token = True
        if phase == "delta":
            if isinstance(value, str):
                known.append(value)
                self.target = known, ""
            else:
                known.append_value(value, is_json=INPUTS[owner] == "arguments")
            return
        known.replace(value)
        if event.get("name") and not item.fields.get("name"):
            item.fields["name"] = event["name"]

    def _add_item(self, event: Mapping[str, Any], *, is_done: bool) -> None:
        value = event.get("item")
        if not isinstance(value, dict):
            return
        kind, index = kind_of(value), index_of(event.get("output_index"))
        item = self._items.known_item(value, kind, index, is_done=is_done) or self._items.new_item(kind, index)
        if kind not in {"message", "reasoning"}:
            self.has_token = True
        self._replace_item(item, value)
        item.is_done = item.is_done or is_done
        self._note(item)
        if is_done and "status" not in value:
            # It was `in_progress`, and is no longer.
            item.fields.pop("status", None)

    def _add_part(self, event: Mapping[str, Any], field: str) -> None:
        value = part_of(event.get("part"), _OWN_PARTS[field])
        if value is None:
            return
        kind = value["type"]
        item = self._items.item_of(event, _OWNERS.get(kind, "reasoning" if field == "summary" else "message"))
        index = index_of(event.get("summary_index" if field == "summary" else "content_index"))
        part = item.part(field, kind, index)
        self._replace_part(item, part, lambda: part.replace(value))

    def _add_annotation(self, event: Mapping[str, Any]) -> None:
        if annotation := event.get("annotation"):
            item = self._items.item_of(event, "message")
            part = item.part("content", "output_text", index_of(event.get("content_index")))
            part.extend("annotations", [annotation])

    def _add_response(self, response: Mapping[str, Any], kind: str) -> None:
        """Take the envelope: of each field the last value that is neither null nor empty."""
        envelope = self._envelope
        for name, value in response.items():
            if name == "output":
                if isinstance(value, list) and value:
                    self._add_output(value, kind)
            elif name == "usage" and isinstance(value, dict):
                self._add_usage(value)
            elif value or value is False or value == 0 or envelope.get(name) is None:
                envelope[name] = value
        text = response.get("output_text")
        if kind in TERMINAL and isinstance(text, str) and text and not self._items.items:
            # What the SDK calls the text of all messages, from a host that sends nothing else.
            self._add_output([{"type": "message", "role": "assistant", "content": text}], kind)

    def _add_usage(self, usage: Any) -> None:
        """Take a usage, which may stand in any response, or beside it: zeros at the end erase nothing."""
        if isinstance(usage, dict) and usage:
            known = self._envelope.get("usage")
            self._envelope["usage"] = merge_counts(known if isinstance(known, dict) else {}, usage, _USAGE_PARTS)

    def _add_output(self, output: list[Any], kind_of_event: str) -> None:
        """Take the output of a response; the last of a whole one is the result, with texts that came longer."""
        is_last = kind_of_event in TERMINAL and kind_of_event not in FAILED
        values = [value for value in output if isinstance(value, dict)]
        items = self._items.items_of(values)
        # Before any text is told: what stands where.
        for index, item in enumerate(items):
            item.index, item.order = index, (index, item.order[1])
        for item, value in zip(items, values, strict=True):
            self._replace_item(item, value, is_last=is_last)
            item.is_done = item.is_done or kind_of_event == "response.completed" or value.get("status") == "completed"
            self._note(item)
            self.has_token = True
        if is_last:
            self._items.items = items

    def _note(self, item: Item) -> None:
        """Note that a complete item came, which may be a call that can be run."""
        self._items.note(item)
        if item.is_call:
            self._changed_calls.append(item)

    # Text

    def _tell(self, item: Item, part: Part | None, channel: str, text: str) -> None:
        if text and channel:
            self.has_token = True
            if channel == "text":
                self.text_delta += text
            elif channel == "refusal":
                self.refusal_delta += text
            else:
                self.reasoning_delta += text
            index = part.index if part is not None else 0
            if not self._is_late(item, index):
                self._last_told = item, index

    def _is_late(self, item: Item, index: int) -> bool:
        """Tell whether a place stands before the text that was told last."""
        if self._last_told is None:
            return False
        last, last_index = self._last_told
        return (item.order, index) < (last.order, last_index)

    def _replace_part(self, item: Item, part: Part, replace: Callable[[], None]) -> None:
        """Take a whole value of a part, and tell the text that continues what was told of it."""
        known = str(part.text)
        replace()
        text, channel = str(part.text), item.channel(part.kind)
        is_late = self._is_late(item, part.index)
        if channel and part.text.is_told and len(text) > len(known) and not is_late:
            self._tell(item, part, channel, text[len(known) :])

    def _replace_item(self, item: Item, value: Mapping[str, Any], *, is_last: bool = False) -> None:
        """Take a whole item, and tell the text that continues what was told of it."""
        value = item.with_parts(value)
        if not item.has_parts(value):
            item.add(value, is_last=is_last)
            return
        channels = ("reasoning",) if item.kind == "reasoning" else ("text", "refusal") if item.kind == "message" else ()
        before = [item.text(channel) for channel in channels]
        item.add(value, is_last=is_last)
        is_before = self._last_told is not None and item.order < self._last_told[0].order
        if is_before or not item.is_told():
            # Too late, or another text.
            return
        for channel, known in zip(channels, before, strict=True):
            text = item.text(channel)
            if len(text) > len(known) and text.startswith(known):
                self._tell(item, None, channel, text[len(known) :])

    # The result

    @property
    def result(self) -> Response:
        """The response so far; never raises, not even with nothing added."""
        return built_response({**self._envelope, "output": [item.to_dict() for item in self._items.ordered()]})

    @property
    def text(self) -> str:
        """The text of all messages so far, as `Response.output_text`."""
        return self._joined("text")

    @property
    def reasoning(self) -> str:
        """The reasoning so far, or its summary."""
        return self._joined("reasoning")

    @property
    def refusal(self) -> str:
        """The refusal so far."""
        return self._joined("refusal")

    def _joined(self, channel: str) -> str:
        return "".join([item.text(channel) for item in self._items.ordered()])

    @property
    def tool_calls(self) -> list[ResponseCalls]:
        """The calls that the caller is to run; the last may be incomplete."""
        return [_call(item) for item in self._items.ordered() if item.is_call]

    @property
    def status(self) -> str | None:
        """The last status that the gateway sent."""
        return self._envelope.get("status")

    @property
    def usage(self) -> ResponseUsage | None:
        """The usage, which comes with the end."""
        usage = self._envelope.get("usage")
        return build_model(ResponseUsage, usage) if isinstance(usage, dict) else None

    @property
    def output_tokens(self) -> int | None:
        """The number of tokens of the answer, from the usage."""
        usage = self._envelope.get("usage")
        tokens = usage.get("output_tokens") if isinstance(usage, dict) else None
        return tokens if isinstance(tokens, int) else None

    is_idle = False

    @property
    def is_settled(self) -> bool:
        """Whether the event came that ends a whole answer."""
        return self.is_whole

    @property
    def is_whole(self) -> bool:
        """Whether the event came that ends a whole answer."""
        return self.has_result

    @property
    def may_end(self) -> bool:
        """Whether the end of the bytes is the end of a whole answer: it is not, before that event."""
        return self.has_result

    def begin_continuation(self) -> None:
        """Do nothing: no answer of this API is continued."""

    def newly_whole_calls(self, *, ended: bool) -> list[ResponseCalls]:
        """Return the calls that became whole, once each: their item is done, or the answer `ended`."""
        asked, self._changed_calls = self._items.items if ended else self._changed_calls, []
        whole = []
        for item in asked:
            if item.is_call and not item.is_announced and self._may_run(item, ended=ended):
                item.is_announced = True
                whole.append(_call(item, runnable=True))
        return whole

    def unusable_calls(self, *, ended: bool) -> list[UnusableToolCall[ResponseCalls]]:
        """Return the calls that must not be run, and why; none before the end."""
        if not (ended or self.has_result):
            return []
        calls = [item for item in self._items.ordered() if item.is_call and not item.is_announced]
        left = [item for item in calls if not self._may_run(item, ended=True)]
        return [UnusableToolCall(_call(item), self._reason(item)) for item in left]

    def _may_run(self, item: Item, *, ended: bool) -> bool:
        # After any other end, the arguments of a call that is not done may be valid JSON by chance.
        is_done = item.is_done or (ended and self.status == "completed")
        return is_done and item.is_usable()

    def _reason(self, item: Item) -> str:
        if item.is_usable():
            return f"the status of the response is {self.status!r}"
        if not item.has_name:
            return "the call has no name"
        return "the call is incomplete" if item.is_incomplete else "the arguments are not valid JSON"


class ResponseAccumulator:
    """Accumulate the events of one response, however odd, into a `Response`.

    The events may come from `responses.create(..., stream=True)`, from a websocket, or from a file. Nothing is
    invented: no id, status or usage that did not come. Linear in the number of events.

    For example:

        accumulator = ResponseAccumulator()
        accumulator.add({"type": "response.output_text.delta", "item_id": "m", "content_index": 0, "delta": "Hello"})
        print(accumulator.text)
    """

    __slots__ = ("_accumulation",)

    def __init__(self) -> None:
        self._accumulation = ResponseAccumulation()

    def add(self, event: ResponseStreamEvent | Mapping[str, object]) -> None:
        """Take one event, or the equivalent mapping, into the response.

        Raises `TypeError` for a value of another type and `ValueError` for a mapping that is no event.
        """
        self._accumulation.add(as_mapping(event))

    @property
    def snapshot(self) -> Response:
        """The response so far; never raises, not even with nothing added."""
        return self._accumulation.result

    @property
    def text(self) -> str:
        """The text of all messages so far, as `Response.output_text`."""
        return self._accumulation.text

    @property
    def reasoning(self) -> str:
        """The reasoning so far, or its summary."""
        return self._accumulation.reasoning

    @property
    def refusal(self) -> str:
        """The refusal so far."""
        return self._accumulation.refusal

    @property
    def tool_calls(self) -> list[ResponseCalls]:
        """The calls that the caller is to run; the last may be incomplete."""
        return self._accumulation.tool_calls

    @property
    def unusable_tool_calls(self) -> list[UnusableToolCall[ResponseCalls]]:
        """The calls that must not be run; empty before the end."""
        return self._accumulation.unusable_calls(ended=False)

    @property
    def usage(self) -> ResponseUsage | None:
        """The usage, which comes with the end."""
        return self._accumulation.usage

    @property
    def status(self) -> str | None:
        """The last status that the gateway sent."""
        return self._accumulation.status

    @property
    def finished(self) -> bool:
        """Whether the event came that ends a whole answer: `response.completed` or `response.incomplete`."""
        return self._accumulation.is_whole


def _call(item: Item, *, runnable: bool = False) -> Any:
    call = item.to_dict()
    if runnable and item.kind == "function_call" and not call.get("arguments"):
        call["arguments"] = "{}"
    return build_model(_TYPES[item.kind], call)
