"""The seam between the engine and an API: how events become one result, and what ends or breaks a stream.

An *item* is one event of a stream in the SDK's types (a chunk of chat completions), a *mapping* is the same as it came
over the wire, and the *result* is the object that the request would have returned with `stream=False`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class Accumulation(Protocol):
    """The result so far, and what the last item brought to the part of it that callers read as text."""

    text_delta: str
    reasoning_delta: str
    refusal_delta: str
    request: Any
    """The HTTP request, `None` if it is not known; its body may say what a stream leaves open."""
    has_result: bool
    """Whether the last request gave anything of a result, without which no stream is whole, whatever ends it."""
    has_token: bool
    """Whether any text, reasoning, refusal or tool call has arrived."""
    is_idle: bool
    """Whether the last item, behind a finish reason, brought nothing to the result."""
    ends: bool
    """Whether the last item was the end of the stream, whatever follows it."""

    def add(self, item: Mapping[str, Any], /) -> None:
        """Add one item in its wire form; raises `ValueError` for a value that is none."""

    def begin_continuation(self) -> None:
        """Note that the next items are those of another request, which continues the text."""

    def newly_whole_calls(self, *, ended: bool) -> list[Any]:
        """Return the tool calls that became whole, once each; `ended` when no item can follow."""

    def unusable_calls(self, *, ended: bool) -> list[Any]:
        """Return the tool calls that must not be run; none before their answer has `ended`."""

    @property
    def result(self) -> Any:
        """The result so far; never raises."""

    @property
    def text(self) -> str:
        """The text so far."""

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""

    @property
    def refusal(self) -> str:
        """The refusal so far."""

    @property
    def tool_calls(self) -> Any:
        """The tool calls so far, in the SDK's type; the last may be incomplete."""

    @property
    def usage(self) -> Any:
        """The usage so far, in the SDK's type; `None` before it arrives."""

    @property
    def output_tokens(self) -> int | None:
        """The number of tokens of the answer, from the usage."""

    @property
    def is_whole(self) -> bool:
        """Whether the result is complete, although the stream may go on."""

    @property
    def is_settled(self) -> bool:
        """Whether the result is complete, and no text is to be expected."""

    @property
    def may_end(self) -> bool:
        """Whether the end of the bytes is the end of a whole stream."""


class FastPath(Protocol):
    """A shortcut for events that differ from earlier ones only in their text."""

    is_active: bool
    """Whether it is of any use to ask it whether an item `continues`."""
    hits: int
    """The number of events that it matched."""
    templates_built: int
    """The number of templates that it built."""

    def match(self, event: bytes, typed: bool, /) -> Any:
        """Accumulate an event, its blank line included, and return its item; `None` for an event that must be parsed.

        The item is in the SDK's type if `typed`, else any mapping.
        """

    def continues(self, event: bytes, mapping: Mapping[str, Any], /) -> bool:
        """Tell whether `learn` may learn this event, which is not accumulated yet."""

    def learn(self, event: bytes, mapping: Mapping[str, Any], item: Any, /) -> None:
        """Learn an event that `continues`, without its blank line; `item` is `None` if it was not built."""

    def reset(self) -> None:
        """Forget what was learnt."""


class Dialect(Protocol):
    """One API."""

    stream_name: str
    """The name of the class for synchronous code; that for asynchronous code has `Async` before it."""
    item_name: str
    """The word for an item in messages, such as `chunk`."""
    result_name: str
    """The attribute of a stream that holds the result, for messages."""
    unfinished: str
    """The end marks that a truncated stream lacks, for messages."""
    is_named: bool
    """Whether the name of an event, which stands in a line of its own, belongs to the item."""
    retried_codes: frozenset[str] | None
    """The codes of errors, in words, that merit another request; `None` if every word does."""
    unfinished_result: str
    """The part of a result that a stream with nothing but `[DONE]` lacks, for messages."""

    def new_accumulation(self) -> Accumulation:
        """Return an empty accumulation."""

    def new_fast_path(self, accumulation: Any, /) -> FastPath:
        """Return a fast path into an accumulation of this dialect."""

    def build(self, payload: bytes, mapping: Mapping[str, Any], /) -> Any:
        """Return the item of an event, whose JSON is `payload`; raises `StreamDecodeError` if the SDK could not."""

    def as_first(self, mapping: Mapping[str, Any], /) -> Mapping[str, Any]:
        """Return the first event of a stream as it is to be built: it may be the whole answer, in another form."""

    def as_mapping(self, item: Any, /) -> Mapping[str, Any]:
        """Return an item of any origin as a mapping; raises `TypeError`."""

    def as_item(self, item: Any, /) -> Any:
        """Return an item of any origin as the caller gets it."""

    def continuation_of(self, body: Any, accumulation: Any, /) -> Any:
        """Return the body of a request that continues an answer; `None` for one that cannot be continued."""

    def text_of(self, mapping: Mapping[str, Any], /) -> str:
        """Return the text that an event adds to the text of the result."""

    def without_text(self, mapping: Mapping[str, Any], count: int, /) -> Mapping[str, Any]:
        """Return an event without the first `count` characters of its text."""

    def named(self, mapping: Mapping[str, Any], name: str, /) -> Mapping[str, Any]:
        """Return an event with what its name says; the same object if that says no more.

        Asked of a dialect that `is_named`.
        """

    def is_heartbeat(self, mapping: Mapping[str, Any], /) -> bool:
        """Tell whether an event says nothing but that the connection lives. Asked of a dialect that `is_named`."""

    def is_item(self, mapping: Mapping[str, Any], /) -> bool:
        """Tell whether an event that holds an error is an item, too, which belongs to the result."""

    def error_of(self, mapping: Mapping[str, Any], /) -> Any:
        """Return the error object that an event holds, `None` if it holds none.

        Raises `ValueError` for an event of another API.
        """
