"""Measure the recipes for many prompts against the time of a perfect scheduler, and print it as Markdown.

500 prompts, each answered in 0.6 s by a replay in this process, 50 at a time, take 6.0 s. The wall time is that of
the whole program, from its start to its end; the time from the first request to the last line of the answers grows
with the number of prompts. In the third row, a worker receives SIGKILL half-way.

Run: `python tests/benchmarks/ask_many.py [--rounds 5] [--prompts 500]`, after
`pip install -e .[test,prompts,dask]`.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

import many  # noqa: E402 - beside the tests
from sockets import EVENTS  # noqa: E402

from tensorloop_stream.replay import ReplayServer  # noqa: E402

ANSWER, CONCURRENCY = 0.6, 50
PATIENCE = 120.0
ROWS = {
    "asyncio": ("many_prompts", False),
    "Dask, two local workers": ("many_prompts_dask", False),
    "the same, one of them killed half-way": ("many_prompts_dask", True),
}


@dataclass(frozen=True, slots=True)
class Run:
    wall: float
    working: float
    cpu: float
    memory: float
    answered: int
    requests: int


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=500)
    arguments = parser.parse_args()
    ideal = arguments.prompts / CONCURRENCY * ANSWER
    print(f"{arguments.prompts} prompts, ideal {ideal:.1f} s; load before {os.getloadavg()[0]:.1f}\n")
    print("| | wall, median | best | of ideal | first request to last answer | CPU | memory | answered | requests |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, (recipe, kills) in ROWS.items():
        runs = [measured(recipe, arguments.prompts, kills=kills) for _ in range(arguments.rounds)]
        print(row(name, runs, ideal), flush=True)
    print(f"\nload after {os.getloadavg()[0]:.1f}")


def row(name: str, runs: list[Run], ideal: float) -> str:
    median = statistics.median(run.wall for run in runs)
    cells = [
        f"{median:.1f} s",
        f"{min(run.wall for run in runs):.1f} s",
        f"{median / ideal:.2f} (best {min(run.wall for run in runs) / ideal:.2f})",
        f"{statistics.median(run.working for run in runs):.1f} s",
        f"{statistics.median(run.cpu for run in runs):.1f} s",
        f"{max(run.memory for run in runs):.0f} MB",
        f"{min(run.answered for run in runs)}",
        f"{max(run.requests for run in runs)}",
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


def measured(recipe: str, count: int, *, kills: bool) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        recording = many.write_cassette(Path(folder) / "recording.yaml", count)
        prompts = many.write_lines(Path(folder) / "prompts.jsonl", map(many.prompt, range(count)))
        answers = Path(folder) / "answers.jsonl"
        with ReplayServer(recording, delay=ANSWER / (len(EVENTS) - 1)) as server:
            began = time.monotonic()
            with many.running_recipe(recipe, server, prompts, answers, 10 * count, 60) as program:
                while kills and len(server.requests) < count / 2:
                    time.sleep(0.01)
                if kills:
                    os.kill(min(many.workers_of(program.pid)), signal.SIGKILL)
                _, status, used = os.wait4(program.pid, 0)
                ended = time.monotonic()
                program.returncode = os.waitstatus_to_exitcode(status)
            first = server.requests[0].time
            last = answers.stat().st_mtime - time.time() + time.monotonic()
            answered = {line["id"] for line in many.read_answers(answers) if "error" not in line}
            return Run(
                ended - began,
                last - first,
                used.ru_utime + used.ru_stime,
                used.ru_maxrss / 1024,
                len(answered),
                len(server.requests),
            )


if __name__ == "__main__":
    main()
