"""The view on a stream that needs no waiting, shared by sync and async code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeGuard, TypeVar

if TYPE_CHECKING:
    import httpx2

    from tensorloop_stream._timing import StreamTiming

    from .dialect import Dialect
    from .state import StreamState

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

UNCLOSED = "{!r} was dropped with its connection open: read it to the end, or in a with block"


class StreamView(Generic[ResultT]):
    """The part of the state that a stream shows."""

    # The API that it speaks; each public class has one.
    _dialect: ClassVar[Dialect]
    # A SyncReader or an AsyncReader.
    _reader: Any
    # How many items came through what a tool put before the reader; `None` without a tool.
    _returned: int | None = None

    @property
    def text(self) -> str:
        """The text so far; of choice 0, where there are several."""
        return self._state.accumulation.text

    @property
    def reasoning(self) -> str:
        """The reasoning so far, whatever name the gateway gives it; of choice 0, where there are several."""
        return self._state.accumulation.reasoning

    @property
    def refusal(self) -> str:
        """The refusal so far; of choice 0, where there are several."""
        return self._state.accumulation.refusal

    @property
    def timing(self) -> StreamTiming:
        """The arrival times so far."""
        return self._state.timing

    @property
    def response(self) -> httpx2.Response | None:
        """The HTTP response, `None` if the source has none or is not open yet."""
        return self._state.response

    @property
    def request_id(self) -> str | None:
        """The gateway's id of the request: `x-request-id`, else `x-litellm-call-id`."""
        return self._state.request_id

    def __repr__(self) -> str:
        return repr(self._reader)

    @property
    def _state(self) -> StreamState:
        state: StreamState = self._reader.state
        return state

    def _text_in(self, item: Any) -> str:
        """Return the new text of an item: from the item itself where a tool reads ahead of what it returns."""
        state = self._state
        if self._returned == state.count:
            return state.accumulation.text_delta
        dialect = state.dialect
        try:
            mapping = dialect.as_mapping(item)
        except TypeError:  # an object of the tool's own
            return state.accumulation.text_delta
        # Added to nothing, for the choice that it belongs to.
        alone = dialect.new_accumulation()
        alone.add(mapping)
        return dialect.text_of(mapping) if alone.text else ""

    # Takes the timeouts of a stream that reads this one through a tool.
    _set_timeouts: Any

    def _hand_over(self) -> Any:
        """Return the source if nothing was read from it, else `None`; this stream is closed then."""
        raise NotImplementedError

    def _final(self) -> ResultT:
        state = self._state
        if state.error is not None:
            raise state.error
        if not state.is_whole and state.settings.require_finish:
            raise state.unfinished()
        result: ResultT = state.accumulation.result
        return result


def is_of_ours(opened: object, kind: type) -> TypeGuard[StreamView[Any]]:
    """Tell whether an object is a stream of this package and of a class of the SDK, `Stream` or `AsyncStream`."""
    # By its true type: the proxy of a tool answers for the stream that it wraps.
    return issubclass(type(opened), StreamView) and issubclass(type(opened), kind)


def describe(name: str, state: StreamState) -> str:
    """Return the representation of a stream: its class, its phase and how much arrived; never a key."""
    phase = "failed" if state.error else "done" if state.done else "closed" if state.ended else "open"
    items = f"{state.count} {state.dialect.item_name}{'' if state.count == 1 else 's'}"
    return f"<{name} {phase}, {items}>"
