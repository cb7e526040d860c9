"""The chart and the sparkline of a timing: size, marks, stalls and words."""

from __future__ import annotations

import json
import random
import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from tensorloop_stream import StreamTiming

SVG = "{http://www.w3.org/2000/svg}"


def steady(number: int, gap: float = 0.01, *, wait: float = 0.5, end: float | None = None) -> StreamTiming:
    """Return the timing of chunks that arrive evenly after a wait; the first is the role."""
    times = tuple(wait + index * gap for index in range(number))
    return StreamTiming(times, times[1], times[-1] if end is None else end)


def texts(timing: StreamTiming) -> list[str]:
    """Return the words in the chart."""
    return [element.text or "" for element in ET.fromstring(timing._repr_svg_()).iter(f"{SVG}text")]


def areas(timing: StreamTiming) -> list[tuple[str, float, float]]:
    """Return the coloured areas: colour, left and right."""
    found = [element.attrib for element in ET.fromstring(timing._repr_svg_()).iter(f"{SVG}rect")][1:]
    return [(one["fill"], float(one["x"]), float(one["x"]) + float(one["width"])) for one in found]


def ticks(timing: StreamTiming) -> list[tuple[int, int]]:
    """Return the position and the height of each tick."""
    paths = [element.attrib["d"] for element in ET.fromstring(timing._repr_svg_()).iter(f"{SVG}path")]
    moves = re.findall(r"m(-?\d+) (-?\d+)v(-?\d+)", next(path for path in paths if path.startswith("m")))
    x = 0
    found = []
    for right, _, length in moves:
        x += int(right)
        found.append((x, abs(int(length))))
    return found


@pytest.mark.parametrize("number", [300, 4000, 100_000])
def test_a_chart_is_small(number: int) -> None:
    """A saved notebook grows by about 3 kB, whatever the number of chunks and their times."""
    pace = random.Random(7)
    times = [0.4]
    for _ in range(number):
        times.append(times[-1] + pace.expovariate(100) + (pace.random() < 20 / number))
    timing = StreamTiming(tuple(times), times[1], times[-1], number)

    assert len(timing._repr_svg_().encode()) < 4000


def test_ticks_are_thinned_and_stand_for_their_chunks() -> None:
    """Ticks stand at least three pixels apart, and a tick for many chunks is higher."""
    timing = StreamTiming((*(0.5 + index / 1000 for index in range(500)), *(0.75,) * 100), 0.5, 1.0)
    found = ticks(StreamTiming(tuple(sorted(timing.chunk_times)), 0.5, 1.0))
    burst = max(found, key=lambda tick: tick[1])

    assert all(later[0] - earlier[0] >= 3 for earlier, later in pairwise(found))
    assert burst[1] > 1.5 * found[0][1]
    assert 0.74 < (burst[0] - 20) / 600 < 0.76


def test_few_chunks_are_a_tick_each() -> None:
    """Nothing is thinned when there is room."""
    assert len(ticks(steady(20))) == 20


def test_the_wait_is_marked() -> None:
    """The area from the request to the first token shows its length."""
    timing = steady(51, wait=0.5)
    ((colour, left, right),) = areas(timing)

    assert (colour, left) == ("#fff1c9", 20)
    assert right == pytest.approx(20 + 600 * 0.51, abs=0.2)
    assert "waited 0.51 s" in texts(timing)


def test_stalls_are_marked_with_their_length() -> None:
    """A stall is a pause that is long for a reader and for this stream; the pause before the end is one, too."""
    early = tuple(0.1 + index / 100 for index in range(50))
    late = tuple(2.0 + index / 100 for index in range(50))
    timing = StreamTiming((*early, *late), 0.1, 5.49)

    assert [colour for colour, _, _ in areas(timing)] == ["#fff1c9", "#ffe3e0", "#ffe3e0"]
    assert {"1.41 s", "3.00 s"} <= set(texts(timing))
    assert areas(timing)[2][2] == pytest.approx(620)
    assert texts(timing)[0].endswith("longest stall 3.00 s")


def test_an_even_pace_has_no_stalls() -> None:
    """A slow stream is not a stalled one."""
    assert [colour for colour, _, _ in areas(steady(10, gap=2.0))] == ["#fff1c9"]


def test_labels_do_not_overlap() -> None:
    """Two stalls side by side are both coloured, and one shows its length."""
    times = (0.0, *(5.0 + index / 100 for index in range(50)), 5.8, *(6.1 + index / 100 for index in range(400)))
    timing = StreamTiming((*times, 60.0), 0.0, 60.0)

    assert sum(colour == "#ffe3e0" for colour, _, _ in areas(timing)) == 4
    assert sum(bool(re.fullmatch(r"[\d.]+ s", text)) for text in texts(timing)) < 4


@pytest.mark.parametrize(
    ("duration", "marks"),
    [
        (2.0, ["0", "0.5", "1", "1.5", "2"]),
        (0.03, ["0", "0.005", "0.01", "0.015", "0.02", "0.025", "0.03"]),
        (0, ["0"]),
    ],
)
def test_the_axis_is_in_round_seconds(duration: float, marks: list[str]) -> None:
    """The axis has about eight marks and a title."""
    found = texts(StreamTiming(duration=duration))

    assert [text for text in found if re.fullmatch(r"[\d.]+", text)] == marks
    assert found[-1] == "seconds since the request"


@pytest.mark.parametrize(
    ("timing", "words"),
    [
        (StreamTiming(), "no chunk"),
        (StreamTiming(duration=2), "no chunk in 2.00 s"),
        (StreamTiming((0.0,), 0.0, 0.0), "first token 0.0 ms, 1 chunk"),
        (StreamTiming((0.0, 0.0), 0.0, 0.0, 5), "first token 0.0 ms, 2 chunks"),
        (StreamTiming((0.5,), None, 1.0), "1 chunk in 1.00 s, longest stall 0.50 s"),
        (StreamTiming((0.5, 1.5), 0.5, 1.5, 90), "first token 0.50 s, 2 chunks in 1.50 s, 90.0 tokens/s"),
        (StreamTiming((1.0, 2.0), 1.0, 0.0), "first token 1.00 s, 2 chunks in 2.00 s"),
    ],
)
def test_a_chart_of_an_unusual_timing_has_a_title(timing: StreamTiming, words: str) -> None:
    """Cases: nothing, one chunk, no time at all, no token, an end before the last chunk."""
    assert texts(timing)[0] == words
    assert str(timing).endswith(f"  {words}")


def test_the_sparkline_has_a_character_per_fortieth_of_the_time() -> None:
    """The character is higher for more chunks, and a dot for none."""
    timing = StreamTiming((*(0.5,) * 4, 0.75, 0.99), 0.5, 1.0)

    assert str(timing).partition("  ")[0] == "····················█·········▂········▂"


def test_the_sparkline_of_many_chunks_has_the_same_length() -> None:
    """100,000 chunks are shown by forty characters."""
    assert len(str(steady(100_000)).partition("  ")[0]) == 40


def test_to_dict_is_json() -> None:
    """Figures have their OpenTelemetry names where one exists, and are in seconds."""
    timing = StreamTiming((0.5, 1.0, 2.0), 1.0, 2.5, 20)

    assert json.loads(json.dumps(timing.to_dict())) == {
        "gen_ai.client.operation.duration": 2.5,
        "gen_ai.client.operation.time_to_first_chunk": 0.5,
        "gen_ai.client.operation.time_per_output_chunk": 1.0,
        "gen_ai.usage.output_tokens": 20,
        "chunks": 3,
        "longest_gap": 1.0,
        "time_to_first_token": 1.0,
        "tokens_per_second": 20.0,
    }
    assert set(StreamTiming().to_dict().values()) == {0, None}
