"""Draw the timing of a stream: as an SVG of about 3 kB, whatever the number of chunks, and as a line of text."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

# In pixels. Its own page with a border: readable in a light and in a dark theme.
_WIDTH, _HEIGHT = 640, 140
_LEFT, _RIGHT, _TOP, _BOTTOM = 20, 620, 52, 100
_COLUMN = 3
_LETTER = 6.4
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#57606a}.h{font-size:13px;font-weight:600;fill:#1f2328}"
    ".w{fill:#9a6700}.s{fill:#cf222e}"
)
# A stall is longer than this many seconds, and than this many median gaps.
_STALL_SECONDS, _STALL_GAPS = 0.25, 8
_STALLS_MARKED = 8
_BARS, _BINS = "▁▂▃▄▅▆▇█", 40
_STEPS = [base * 10.0**power for power in range(-6, 7) for base in (1, 2, 5)]


def svg(figures: Figures) -> str:
    """Draw the wait for the first token, a tick per chunk (at most one per three pixels) and the stalls.

    A tick that stands for more chunks is higher.
    """
    words = figures.words()
    page = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" style="max-width:100%;height:auto" role="img">'
        f"<title>{words}</title><style>{_STYLE}</style>"
        f'<rect x=".5" y=".5" width="{_WIDTH - 1}" height="{_HEIGHT - 1}" rx="8" fill="#fff" stroke="#d0d7de"/>'
        f'<text class="h" x="{_LEFT}" y="26">{words}</text>'
    )
    return "".join((page, _wait(figures), _stalled(figures), _ticks(figures), _axis(figures), "</svg>"))


def sparkline(figures: Figures) -> str:
    """Return one line: a bar for the chunks in each fortieth of the time, a dot for none, and the main figures."""
    counts = Counter(min(int(figures.share(moment) * _BINS), _BINS - 1) for moment in figures.chunk_times)
    most = max(counts.values(), default=0)
    bars = (_BARS[(counts[bin_] * len(_BARS) - 1) // most] if counts[bin_] else "·" for bin_ in range(_BINS))
    return f"{''.join(bars)}  {figures.words()}"


@dataclass(frozen=True)
class Figures:
    """The figures of a timing, in seconds since the request."""

    chunk_times: tuple[float, ...]
    time_to_first_token: float | None
    tokens_per_second: float | None
    duration: float
    median_gap: float

    @cached_property
    def end(self) -> float:
        """The end of the time axis."""
        return max(self.duration, self.chunk_times[-1]) if self.chunk_times else self.duration

    @cached_property
    def stalls(self) -> list[tuple[float, float]]:
        """The pauses that are long for a reader and for this stream: their beginnings and ends."""
        least = max(_STALL_SECONDS, _STALL_GAPS * self.median_gap)
        # The pause after the last chunk is one, too: there a stream stalled that timed out.
        return [pause for pause in pairwise((*self.chunk_times, self.end)) if pause[1] - pause[0] > least]

    def share(self, moment: float) -> float:
        """Return the position of a moment on the time axis, from 0 to 1."""
        return moment / self.end if self.end > 0 else 0

    def x(self, moment: float) -> float:
        """Return the position of a moment in the picture, in pixels."""
        return round(_LEFT + (_RIGHT - _LEFT) * self.share(moment), 1)

    def words(self) -> str:
        """Return the main figures as a sentence."""
        number = len(self.chunk_times)
        chunks = f"{number:,} chunk{'' if number == 1 else 's'}" if number else "no chunk"
        words = [f"{chunks} in {_seconds(self.end)}" if self.end > 0 else chunks]
        if self.time_to_first_token is not None:
            words.insert(0, f"first token {_seconds(self.time_to_first_token)}")
        if (rate := self.tokens_per_second) is not None:
            words.append(f"{rate:,.{0 if rate >= 100 else 1}f} tokens/s")
        if self.stalls:
            words.append(f"longest stall {_seconds(max(end - start for start, end in self.stalls))}")
        return ", ".join(words)


def _wait(figures: Figures) -> str:
    until = figures.time_to_first_token
    x = figures.x(figures.end if until is None else until)
    if x <= _LEFT:
        return ""
    label = "no token" if until is None else f"waited {_seconds(until)}"
    return f'{_area(_LEFT, x, "#fff1c9")}<text class="w" x="{_LEFT}" y="{_TOP - 6}">{label}</text>'


def _stalled(figures: Figures) -> str:
    longest = sorted(figures.stalls, key=lambda stall: stall[0] - stall[1])[:_STALLS_MARKED]
    drawn = []
    free = _LEFT + 90.0
    for start, end in sorted(longest):
        left, right = figures.x(start), figures.x(end)
        drawn.append(_area(left, right, "#ffe3e0"))
        label = _seconds(end - start)
        half = len(label) * _LETTER / 2
        middle = min((left + right) / 2, _RIGHT - half)
        # A label that would run into the one before is left out; the colour stays.
        if middle - half >= free:
            drawn.append(f'<text class="s" x="{middle:.0f}" y="{_TOP - 6}" text-anchor="middle">{label}</text>')
            free = middle + half + 6
    return "".join(drawn)


def _ticks(figures: Figures) -> str:
    last = (_RIGHT - _LEFT) // _COLUMN - 1
    columns = Counter(min(int(figures.share(moment) * (last + 1)), last) for moment in figures.chunk_times)
    if not columns:
        return ""
    full, most = _BOTTOM - _TOP - 5, max(columns.values())
    path = []
    x, y = 0, 0
    for number, (column, count) in enumerate(sorted(columns.items())):
        # The square root, because a burst in one read would flatten all others.
        height = round(full * (0.3 + 0.7 * (count / most) ** 0.5))
        # Down and up in turn, which spares half the moves; relative ones, which are short.
        begin, length = (_BOTTOM - height, height) if number % 2 else (_BOTTOM, -height)
        path.append(f"m{_LEFT + 1 + column * _COLUMN - x} {begin - y}v{length}")
        x, y = _LEFT + 1 + column * _COLUMN, begin + length
    return f'<path d="{"".join(path)}" stroke="#0969da" stroke-width="1.6" fill="none"/>'


def _axis(figures: Figures) -> str:
    step = _STEPS[min(bisect_left(_STEPS, figures.end / 8), len(_STEPS) - 1)]
    drawn = [f'<path d="M{_LEFT} {_BOTTOM}H{_RIGHT}" stroke="#8c959f"/>']
    for number in range(int(figures.end / step) + 1):
        x = figures.x(number * step)
        drawn.append(
            f'<path d="M{x:g} {_BOTTOM}v4" stroke="#8c959f"/>'
            f'<text x="{x:g}" y="{_BOTTOM + 17}" text-anchor="middle">{number * step:g}</text>'
        )
    return f'{"".join(drawn)}<text x="{_RIGHT}" y="{_HEIGHT - 8}" text-anchor="end">seconds since the request</text>'


def _area(left: float, right: float, colour: str) -> str:
    width, height = max(round(right - left, 1), 1), _BOTTOM - _TOP
    return f'<rect x="{left:g}" y="{_TOP}" width="{width:g}" height="{height}" fill="{colour}"/>'


def _seconds(value: float) -> str:
    if value < 0.1:
        return f"{value * 1000:.{1 if value < 0.01 else 0}f} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
