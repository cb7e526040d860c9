"""Draw figures as horizontal bars, in a plain SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH, ROW, TOP = 740, 34, 48
OURS, THEIRS = "#1f7a6b", "#8a94a6"


def draw(title: str, rows: Sequence[tuple[str, float, str, bool]], *, labels: int = 290) -> str:
    """Return an SVG of rows, each a label, a value, the value as text, and whether it is this package's.

    `labels` is the width that the labels take, in pixels.
    """
    longest, widest = max(value for _, value, _, _ in rows), WIDTH - labels - 105
    height = TOP + ROW * len(rows) + 12
    bars = []
    for number, (label, value, shown, is_ours) in enumerate(rows):
        y, width = TOP + ROW * number, max(value / longest * widest, 2)
        bars.append(
            f'<text x="{labels}" y="{y + 16}" text-anchor="end">{escape(label)}</text>'
            f'<rect x="{labels + 10}" y="{y}" width="{width:.1f}" height="22" rx="3" '
            f'fill="{OURS if is_ours else THEIRS}"/>'
            f'<text x="{labels + 18 + width:.1f}" y="{y + 16}" font-weight="600">{escape(shown)}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="13" fill="#1d2433">'
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#fbfcfe"/>'
        f'<text x="16" y="28" font-size="15" font-weight="600">{escape(title)}</text>{"".join(bars)}</svg>\n'
    )
