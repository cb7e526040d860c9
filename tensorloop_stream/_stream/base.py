"""What both kinds of stream show of their state, and what they have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from .state import StreamState

if TYPE_CHECKING:
    import httpx2
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletion, ChatCompletionMessage

    from tensorloop_stream._callbacks import Callbacks
    from tensorloop_stream._timing import StreamTiming

    from .settings import StreamSettings

UNCLOSED = "{!r} was dropped with its connection open: read it to the end, or in a with block"


class StreamView:
    """What both kinds of stream show of their state."""

    _state: StreamState
    # Of the kind of the stream; `None` before it is open and after it is closed.
    _source: Any
    # The function that opens it, or what an async one waits for until it is open.
    _opens: Any
    _opening: Any = None

    @property
    def completion(self) -> ChatCompletion:
        """The completion as far as it has come; never raises."""
        return self._state.accumulation.completion

    @property
    def text(self) -> str:
        """The text of choice 0 as far as it has come."""
        return self._state.accumulation.text

    @property
    def usage(self) -> CompletionUsage | None:
        """The last usage that came; the gateway sends it for `stream_options={"include_usage": True}`."""
        return self._state.accumulation.usage

    @property
    def timing(self) -> StreamTiming:
        """When the chunks came, so far."""
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
        state = self._state
        phase = "failed" if state.error else "done" if state.done else "closed" if state.ended else "open"
        return f"<{type(self).__name__} {phase}, {state.chunks} chunks>"

    def sent_at(self, moment: float) -> Self:
        """Count the timing from when the request was sent, in seconds of `time.monotonic()`."""
        self._state.started = moment
        return self

    def _final(self) -> ChatCompletion:
        state = self._state
        if state.error is not None:
            raise state.error
        if not state.is_whole and state.settings.require_finish:
            raise state.unfinished()
        return state.accumulation.completion

    def _final_message(self) -> ChatCompletionMessage:
        completion = self._final()
        if not completion.choices:
            raise self._state.no_choice()
        return completion.choices[0].message

    def _take_over(self, other: Self, callbacks: Callbacks | None, settings: StreamSettings) -> Any:
        """Go on with another stream where it stands and return its source; the other is closed."""
        state, source = other._state, other._source
        settings.require_function(opens=other._opens is not None)
        settings = settings.over(state.settings)
        other._state, other._source = StreamState(None, state.settings), None
        other._state.ended = True
        state.configure(callbacks, settings)
        self._state, self._opens, self._opening = state, other._opens, other._opening
        return source

    def _hand_over(self) -> Any:
        """Return the source if nothing was read from it, else `None`; this stream is closed then."""
        source = self._source
        if source is None or self._state.has_started:
            return None
        self._source = None
        self._state.ended = True
        return source
