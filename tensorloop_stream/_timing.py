"""The arrival times of the chunks of a stream, and the figures that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ._timing_chart import ChartFigures, sparkline, svg

__all__ = ["StreamTiming"]


@dataclass(frozen=True, slots=True)
class StreamTiming:
    """Arrival times of the chunks of a stream, in seconds since the request was sent, on a monotonic clock.

    For a stream that was already open, times count from the moment the program passed it in. The names follow
    the OpenTelemetry GenAI conventions (`gen_ai.client.operation.time_to_first_chunk`, `time_per_output_chunk`).

    `str()` returns one line, with a bar per fortieth of the time: the more chunks arrive in it, the higher the bar.
    A notebook shows a chart: the wait for the first token, a tick per chunk, and the stalls.
    """

    chunk_times: tuple[float, ...] = ()
    """The arrival of each chunk; chunks of one read share a time."""
    time_to_first_token: float | None = None
    """The arrival of the first text, reasoning, refusal or tool delta; role-only chunks do not count."""
    duration: float = 0.0
    """The time until the end of the stream, or until now while the stream is open."""
    completion_tokens: int | None = None
    """The tokens by the usage, `None` without usage: chunks are not tokens."""

    @property
    def time_to_first_chunk(self) -> float | None:
        """The arrival of the first chunk, `None` before it."""
        return self.chunk_times[0] if self.chunk_times else None

    @property
    def tokens_per_second(self) -> float | None:
        """The tokens by the usage per second, from the first token to the last chunk; `None` without usage."""
        if self.completion_tokens is None or self.time_to_first_token is None:
            return None
        seconds = self.chunk_times[-1] - self.time_to_first_token
        return self.completion_tokens / seconds if seconds > 0 else None

    def gap(self, quantile: float) -> float | None:
        """Return a quantile (0 to 1, nearest rank) of the seconds between chunks; `None` with fewer than two.

        Raises `ValueError` for a quantile outside 0 to 1.
        """
        if not 0 <= quantile <= 1:
            raise ValueError(f"quantile is {quantile!r}: it must be between 0 and 1, for example 0.99")
        gaps = sorted(later - earlier for earlier, later in pairwise(self.chunk_times))
        if not gaps:
            return None
        return gaps[min(int(quantile * len(gaps)), len(gaps) - 1)]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as a JSON object, in seconds, under their OpenTelemetry names where they have one.

        In OpenTelemetry, `time_per_output_chunk` is the time of every chunk; here it is the median.
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
        return sparkline(self._chart_figures())

    def _repr_svg_(self) -> str:
        """Return the chart (IPython's protocol)."""
        return svg(self._chart_figures())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002 - IPython's protocol
        """Print the line: the representation would save thousands of numbers with the notebook."""
        printer.text(str(self))

    def _chart_figures(self) -> ChartFigures:
        return ChartFigures(
            chunk_times=self.chunk_times,
            time_to_first_token=self.time_to_first_token,
            duration=self.duration,
            median_gap=self.gap(0.5),
            tokens_per_second=self.tokens_per_second,
        )
