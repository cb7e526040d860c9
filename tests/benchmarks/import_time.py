"""Measure the time to import the package after `import openai`: python tests/benchmarks/import_time.py

Each run is a new process with cached bytecode; the first does not count.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

RUNS = 11
PROGRAM = """
import time
before = time.perf_counter()
import openai
between = time.perf_counter()
import tensorloop_stream
print(between - before, time.perf_counter() - between)
"""


def main() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    seconds = []
    for _ in range(RUNS + 1):
        out = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, check=True).stdout
        seconds.append([float(value) for value in out.split()])
    first, then = (statistics.median(column) * 1000 for column in zip(*seconds[1:], strict=True))
    print(
        f"import openai: {first:.0f} ms; import tensorloop_stream after it: {then:.1f} ms (medians of {RUNS} processes)"
    )


if __name__ == "__main__":
    main()
