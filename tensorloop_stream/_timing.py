"""The arrival times of a stream's chunks."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

from . import _timing_chart

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["StreamTiming"]


class _Times:
    """The times of a timing that was made of a stream: built when they are first asked for.

    A program may ask for the timing after every chunk, and read no more of it than the first time or the rate.
    """

    def __get__(self, timing: StreamTiming | None, owner: object = None) -> tuple[float, ...]:
        if timing is None:
            # The default of the field.
            return ()
        arrivals, count, started = vars(timing)["_arrivals"]
        times = tuple(arrival - started for arrival in islice(arrivals, count))
        vars(timing)["chunk_times"] = times
        return times


@dataclass(frozen=True)
class StreamTiming:
    """The arrival of each chunk of a stream, in seconds since the request, on a monotonic clock.

    A stream that was handed in open counts from there. The names follow the OpenTelemetry GenAI conventions
    (`gen_ai.client.operation.time_to_first_chunk`, `time_per_output_chunk`).

    Its text is a line with a bar for each fortieth of the time. A notebook shows a picture: the wait for the first
    token, a tick per chunk, the stalls.

    For example:

        stream = ChatStream(client.chat.completions.create(**request, stream=True)).until_done()
        print(stream.timing.time_to_first_token, stream.timing.gap(0.99), stream.timing.tokens_per_second)
    """

    chunk_times: tuple[float, ...] = _Times()  # type: ignore[assignment] # its default is ()
    """The arrival of each chunk; the chunks of one read share a time."""
    time_to_first_token: float | None = None
    """The first text, reasoning, refusal or tool delta; role-only chunks do not count."""
    duration: float = 0.0
    """Until the end of the stream, or until now."""
    completion_tokens: int | None = None
    """The tokens of the answer from the usage, `None` before it arrives: chunks are not tokens."""

    @classmethod
    def _of(cls, arrivals: Sequence[float], started: float, **figures: Any) -> StreamTiming:
        """Return the timing of a stream whose `arrivals` may grow later."""
        timing = object.__new__(cls)
        vars(timing).update(figures, _arrivals=(arrivals, len(arrivals), started))
        return timing

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _time_of(self, number: int) -> float | None:
        """Return the time of the first chunk, 0, or of the last, -1."""
        if "chunk_times" in vars(self):
            return self.chunk_times[number] if self.chunk_times else None
        arrivals, count, started = vars(self)["_arrivals"]
        return arrivals[number % count] - started if count else None

    @property
    def time_to_first_chunk(self) -> float | None:
        """The arrival of the first chunk, `None` before it."""
        return self._time_of(0)

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens by the usage, from the first token to the last chunk; `None` without usage."""
        if self.completion_tokens is None or self.time_to_first_token is None:
            return None
        seconds = (self._time_of(-1) or 0.0) - self.time_to_first_token
        return self.completion_tokens / seconds if seconds > 0 else None

    def gap(self, quantile: float) -> float | None:
        """Return the quantile (0 to 1, nearest rank) of the times between chunks; raises `ValueError`."""
        if not 0 <= quantile <= 1:
            raise ValueError(f"quantile is {quantile!r}: it must be between 0 and 1, for example 0.99")
        gaps = sorted(later - earlier for earlier, later in pairwise(self.chunk_times))
        if not gaps:
            return None
        return gaps[min(int(quantile * len(gaps)), len(gaps) - 1)]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures for JSON, in seconds, under their OpenTelemetry names where they have one.

        OpenTelemetry's `time_per_output_chunk` is the time of every chunk; here it is their median. `longest_gap` lies
        between two chunks, while the stalls of the picture include the silence after the last one.
        """
        return {
            "gen_ai.client.operation.duration": self.duration,
            "gen_ai.client.operation.time_to_first_chunk": self.time_to_first_chunk,
            "gen_ai.client.operation.time_per_output_chunk": self.gap(0.5),
            "gen_ai.usage.output_tokens": self.completion_tokens,
            "chunks": len(self.chunk_times),
            "longest_gap": self.gap(1),
            "time_to_first_token": self.time_to_first_token,
            "tokens_per_second": self.tokens_per_second,
        }

    def __str__(self) -> str:
        return _timing_chart.sparkline(self._figures)

    @property
    def _figures(self) -> _timing_chart.Figures:
        rate, median_gap = self.tokens_per_second, self.gap(0.5) or 0.0
        return _timing_chart.Figures(self.chunk_times, self.time_to_first_token, rate, self.duration, median_gap)

    def _repr_svg_(self) -> str:
        """Show the picture (IPython's protocol)."""
        return _timing_chart.svg(self._figures)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002 - IPython's protocol
        """Show the line: the representation would bring a saved notebook thousands of numbers."""
        printer.text(str(self))
