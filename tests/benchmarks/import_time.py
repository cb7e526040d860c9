"""Measure the CPU time to import the package after `import openai`: python tests/benchmarks/import_time.py

The time is CPU, which other work on the machine changes little. Each run is a new process with cached bytecode; the
first does not count.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

from machine import machine

RUNS = 11
PROGRAM = """
import time
before = time.process_time()
import openai
between = time.process_time()
import tensorloop_stream
print(between - before, time.process_time() - between)
"""


def main() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    seconds = []
    for _ in range(RUNS + 1):
        out = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, check=True).stdout
        seconds.append([float(value) for value in out.split()])
    print(f"{machine('openai', 'pydantic')}; {RUNS} processes\n\n| | ms of CPU | range |\n|---|---:|---|")
    for name, column in zip(("openai", "tensorloop_stream after it"), zip(*seconds[1:], strict=True), strict=True):
        times = [1000 * each for each in column]
        print(f"| {name} | {statistics.median(times):.1f} | {min(times):.1f} to {max(times):.1f} |")


if __name__ == "__main__":
    main()
