"""Draw the timing of a stream: an SVG of about 3 kB for any number of chunks, and a line of text."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

# In pixels. A white page with a border is readable in a light and in a dark theme.
_WIDTH, _HEIGHT = 640, 140
_LEFT, _RIGHT, _TOP, _BOTTOM = 20, 620, 52, 100
_COLUMN_WIDTH = 3
_LETTER_WIDTH = 6.4
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#57606a}.h{font-size:13px;font-weight:600;fill:#1f2328}"
    ".w{fill:#9a6700}.s{fill:#cf222e}"
)
# A pause is a stall if it is long for a reader (in seconds) and for this stream (in median gaps).
_STALL_SECONDS, _STALL_GAPS = 0.25, 8
_STALLS_MARKED = 8
_BARS, _BAR_COUNT = "▁▂▃▄▅▆▇█", 40
_AXIS_STEPS = [base * 10.0**power for power in range(-6, 7) for base in (1, 2, 5)]


@dataclass(frozen=True, kw_only=True)
class ChartFigures:
    """The numbers that a chart shows; times are in seconds since the request."""

    chunk_times: tuple[float, ...]
    time_to_first_token: float | None
    duration: float
    median_gap: float | None
    tokens_per_second: float | None

    @cached_property
    def end(self) -> float:
        """The end of the time axis: the end of the stream, or its last chunk if that is later."""
        return max(self.duration, self.chunk_times[-1]) if self.chunk_times else self.duration

    @cached_property
    def stalls(self) -> list[tuple[float, float]]:
        """The start and the end of each long pause."""
        shortest = max(_STALL_SECONDS, _STALL_GAPS * (self.median_gap or 0))
        # A stream that times out stalls after its last chunk: that pause counts too.
        moments = (*self.chunk_times, self.end)
        return [(start, end) for start, end in pairwise(moments) if end - start > shortest]

    def share(self, moment: float) -> float:
        """Return which part of the time axis lies before a moment, from 0 to 1."""
        return moment / self.end if self.end > 0 else 0

    def x(self, moment: float) -> float:
        """Return the horizontal position of a moment, in pixels."""
        return round(_LEFT + (_RIGHT - _LEFT) * self.share(moment), 1)

    def caption(self) -> str:
        """Return the main figures as words."""
        number = len(self.chunk_times)
        chunks = f"{number:,} chunk{'' if number == 1 else 's'}" if number else "no chunk"
        words = [f"{chunks} in {_seconds(self.end)}" if self.end > 0 else chunks]
        if self.time_to_first_token is not None:
            words.insert(0, f"first token {_seconds(self.time_to_first_token)}")
        rate = self.tokens_per_second
        if rate is not None:
            words.append(f"{rate:,.{0 if rate >= 100 else 1}f} tokens/s")
        if self.stalls:
            words.append(f"longest stall {_seconds(max(end - start for start, end in self.stalls))}")
        return ", ".join(words)


def svg(figures: ChartFigures) -> str:
    """Draw the wait for the first token, the stalls, and a tick per chunk.

    Chunks that arrive within three pixels share a tick; the more chunks it stands for, the higher it is.
    """
    caption = figures.caption()
    page = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" style="max-width:100%;height:auto" role="img">'
        f"<title>{caption}</title><style>{_STYLE}</style>"
        f'<rect x=".5" y=".5" width="{_WIDTH - 1}" height="{_HEIGHT - 1}" rx="8" fill="#fff" stroke="#d0d7de"/>'
        f'<text class="h" x="{_LEFT}" y="26">{caption}</text>'
    )
    drawing = (_draw_wait(figures), _draw_stalls(figures), _draw_ticks(figures), _draw_axis(figures))
    return "".join((page, *drawing, "</svg>"))


def sparkline(figures: ChartFigures) -> str:
    """Return one line of text: a bar per fortieth of the time, and the main figures.

    The more chunks arrive in a fortieth, the higher its bar; a dot stands for no chunk.
    """
    counts = Counter(min(int(figures.share(moment) * _BAR_COUNT), _BAR_COUNT - 1) for moment in figures.chunk_times)
    most = max(counts.values(), default=0)
    bars = (_BARS[(counts[bar] * len(_BARS) - 1) // most] if counts[bar] else "·" for bar in range(_BAR_COUNT))
    return f"{''.join(bars)}  {figures.caption()}"


def _draw_wait(figures: ChartFigures) -> str:
    first_token = figures.time_to_first_token
    x = figures.x(figures.end if first_token is None else first_token)
    if x <= _LEFT:
        return ""
    label = "no token" if first_token is None else f"waited {_seconds(first_token)}"
    return f'{_rectangle(_LEFT, x, "#fff1c9")}<text class="w" x="{_LEFT}" y="{_TOP - 6}">{label}</text>'


def _draw_stalls(figures: ChartFigures) -> str:
    longest = sorted(figures.stalls, key=lambda stall: stall[0] - stall[1])[:_STALLS_MARKED]
    drawn = []
    free_from = _LEFT + 90.0
    for start, end in sorted(longest):
        left, right = figures.x(start), figures.x(end)
        drawn.append(_rectangle(left, right, "#ffe3e0"))
        label = _seconds(end - start)
        half = len(label) * _LETTER_WIDTH / 2
        middle = min((left + right) / 2, _RIGHT - half)
        # Leave out a label that would overlap the previous one; the colour stays.
        if middle - half >= free_from:
            drawn.append(f'<text class="s" x="{middle:.0f}" y="{_TOP - 6}" text-anchor="middle">{label}</text>')
            free_from = middle + half + 6
    return "".join(drawn)


def _draw_ticks(figures: ChartFigures) -> str:
    last = (_RIGHT - _LEFT) // _COLUMN_WIDTH - 1
    columns = Counter(min(int(figures.share(moment) * (last + 1)), last) for moment in figures.chunk_times)
    if not columns:
        return ""
    full_height, most = _BOTTOM - _TOP - 5, max(columns.values())
    path = []
    x, y = 0, 0
    for number, (column, count) in enumerate(sorted(columns.items())):
        # The square root: a burst in one read would otherwise flatten all other ticks.
        height = round(full_height * (0.3 + 0.7 * (count / most) ** 0.5))
        # Drawing down and up in turn needs half the moves; relative moves are short.
        begin, length = (_BOTTOM - height, height) if number % 2 else (_BOTTOM, -height)
        path.append(f"m{_LEFT + 1 + column * _COLUMN_WIDTH - x} {begin - y}v{length}")
        x, y = _LEFT + 1 + column * _COLUMN_WIDTH, begin + length
    return f'<path d="{"".join(path)}" stroke="#0969da" stroke-width="1.6" fill="none"/>'


def _draw_axis(figures: ChartFigures) -> str:
    step = _AXIS_STEPS[min(bisect_left(_AXIS_STEPS, figures.end / 8), len(_AXIS_STEPS) - 1)]
    drawn = [f'<path d="M{_LEFT} {_BOTTOM}H{_RIGHT}" stroke="#8c959f"/>']
    for number in range(int(figures.end / step) + 1):
        x = figures.x(number * step)
        drawn.append(
            f'<path d="M{x:g} {_BOTTOM}v4" stroke="#8c959f"/>'
            f'<text x="{x:g}" y="{_BOTTOM + 17}" text-anchor="middle">{number * step:g}</text>'
        )
    return f'{"".join(drawn)}<text x="{_RIGHT}" y="{_HEIGHT - 8}" text-anchor="end">seconds since the request</text>'


def _rectangle(left: float, right: float, colour: str) -> str:
    width, height = max(round(right - left, 1), 1), _BOTTOM - _TOP
    return f'<rect x="{left:g}" y="{_TOP}" width="{width:g}" height="{height}" fill="{colour}"/>'


def _seconds(value: float) -> str:
    if value < 0.1:
        return f"{value * 1000:.{1 if value < 0.01 else 0}f} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
