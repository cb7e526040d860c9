"""What both kinds of stream show of their core, and what they have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletion, ChatCompletionMessage

    from ._core import StreamCore
    from ._timing import StreamTiming

# How long a server may take to end the response after [DONE], so that its connection can be used again.
DRAIN_SECONDS = 0.1
# A source's `next` gives this at its end.
END: Any = object()
UNCLOSED = "{!r} was dropped with its connection open: read it to the end, or in a with block"


class StreamView:
    """What both kinds of stream show of their core."""

    _core: StreamCore
    _response: httpx2.Response | None = None

    @property
    def completion(self) -> ChatCompletion:
        """The completion as far as it has come; never raises."""
        return self._core.accumulator.completion

    @property
    def text(self) -> str:
        """The text of choice 0 as far as it has come."""
        return self._core.accumulator.text

    @property
    def usage(self) -> CompletionUsage | None:
        """The last usage that came; the gateway sends it for `stream_options={"include_usage": True}`."""
        return self._core.accumulator.usage

    @property
    def timing(self) -> StreamTiming:
        """When the chunks came, so far."""
        return self._core.timing

    @property
    def response(self) -> httpx2.Response | None:
        """The HTTP response, `None` if the source has none or is not open yet."""
        return self._response

    @property
    def request_id(self) -> str | None:
        """The gateway's id of the request: `x-request-id`, else `x-litellm-call-id`."""
        headers: Mapping[str, str] = self.response.headers if self.response is not None else {}
        return headers.get("x-request-id") or headers.get("x-litellm-call-id")

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
        return core.accumulator.completion

    def _final_message(self) -> ChatCompletionMessage:
        completion = self._final()
        if not completion.choices:
            raise self._core.no_choice()
        return completion.choices[0].message
