"""What both kinds of stream show of their core, and what they have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from .state import StreamCore

if TYPE_CHECKING:
    import httpx2
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletion, ChatCompletionMessage

    from tensorloop_stream._callbacks import Callbacks
    from tensorloop_stream._timing import StreamTiming

    from .settings import StreamSettings

UNCLOSED = "{!r} was dropped with its connection open: read it to the end, or in a with block"


class StreamView:
    """What both kinds of stream show of their core."""

    _core: StreamCore
    # Of the kind of the stream; `None` before it is open and after it is closed.
    _source: Any
    # The function that opens it, or what an async one waits for until it is open.
    _opens: Any
    _opening: Any = None

    @property
    def completion(self) -> ChatCompletion:
        """The completion as far as it has come; never raises."""
        return self._core.accumulation.completion

    @property
    def text(self) -> str:
        """The text of choice 0 as far as it has come."""
        return self._core.accumulation.text

    @property
    def usage(self) -> CompletionUsage | None:
        """The last usage that came; the gateway sends it for `stream_options={"include_usage": True}`."""
        return self._core.accumulation.usage

    @property
    def timing(self) -> StreamTiming:
        """When the chunks came, so far."""
        return self._core.timing

    @property
    def response(self) -> httpx2.Response | None:
        """The HTTP response, `None` if the source has none or is not open yet."""
        return self._core.response

    @property
    def request_id(self) -> str | None:
        """The gateway's id of the request: `x-request-id`, else `x-litellm-call-id`."""
        return self._core.request_id

    def __repr__(self) -> str:
        core = self._core
        state = "failed" if core.error else "done" if core.done else "closed" if core.ended else "open"
        return f"<{type(self).__name__} {state}, {core.chunks} chunks>"

    def sent_at(self, moment: float) -> Self:
        """Count the timing from when the request was sent, in seconds of `time.monotonic()`."""
        self._core.started = moment
        return self

    def _final(self) -> ChatCompletion:
        core = self._core
        if core.error is not None:
            raise core.error
        if not core.is_whole and core.settings.require_finish:
            raise core.unfinished()
        return core.accumulation.completion

    def _final_message(self) -> ChatCompletionMessage:
        completion = self._final()
        if not completion.choices:
            raise self._core.no_choice()
        return completion.choices[0].message

    def _take_over(self, other: Self, callbacks: Callbacks | None, settings: StreamSettings) -> Any:
        """Go on with another stream where it stands and return its source; the other is closed."""
        core, source = other._core, other._source
        settings.require_function(opens=other._opens is not None)
        settings = settings.over(core.settings)
        other._core, other._source = StreamCore(None, core.settings), None
        other._core.ended = True
        core.configure(callbacks, settings)
        self._core, self._opens, self._opening = core, other._opens, other._opening
        return source

    def _hand_over(self) -> Any:
        """Return the source if nothing was read from it, else `None`; this stream is closed then."""
        source = self._source
        if source is None or self._core.begun:
            return None
        self._source = None
        self._core.ended = True
        return source
