"""Measure the CPU per chunk beside that of the SDK for Node: python tests/benchmarks/compare_node.py [--node PROGRAM]

Both read the same streams from a server in another process, which sends at a fixed rate (`paced_server.py`). Node's
CPU is `process.cpuUsage()` of its process, ours is `time.process_time()`: user and system time of all threads. The
ways take turns, and each run is compared with Node's run next to it. Two rounds warm up.

It needs node, and npm, which installs the SDK into `.recording/peers/node` in the first run; without them it says so.
`--node` names another node.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path
from statistics import median

from machine import machine
from paced_clients import ASYNC, ROOT, SYNC, UVLOOP, Node, Way, interleaved, serving
from paced_server import Load

FOLDER = ROOT / ".recording/peers/node"
# The slowest way has time for them on a busy machine.
LOADS = {
    "20 streams, paced": Load(20, 201, rate=1500),
    "20 streams, bursts of 10": Load(20, 401, rate=250, burst=10),
    "one stream, paced": Load(1, 2001, rate=1000),
}
WARM_UPS = 2


def install(npm: str) -> str | None:
    """Install the SDK for Node unless it is installed; return why it cannot be."""
    if (FOLDER / "node_modules/openai").exists():
        return None
    FOLDER.mkdir(parents=True, exist_ok=True)
    Path(FOLDER, "package.json").write_text('{"private": true}\n', "utf-8")
    command = [npm, "install", "--no-audit", "--no-fund", "openai"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else None


def print_table(title: str, ways: list[Way], url: str, load: Load, runs: int) -> None:
    """Print the ways, and how much less CPU each takes than the first one."""
    print(f"\n{title}\n\n| | us a chunk | range | times less than Node's SDK | range |\n|---|---:|---|---:|---|")
    found = interleaved(ways, url, load, runs, WARM_UPS)
    base = [each.cpu for each in found[ways[0].name]]
    for name, each in found.items():
        spent = [one.cpu for one in each]
        ratios = [theirs / ours for theirs, ours in zip(base, spent, strict=True)]
        cells = [f"{median(spent):.1f} | {min(spent):.1f} to {max(spent):.1f}"]
        cells += [f"{median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--node", default=shutil.which("node"))
    arguments = parser.parse_args()
    npm = shutil.which("npm")
    if arguments.node is None or npm is None:
        print("node and npm are not installed: skipped")
        return
    if why := install(npm):
        print(f"npm cannot install the SDK for Node: skipped\n{why}")
        return
    node = Node("Node's SDK", arguments.node, FOLDER)
    print(f"{machine('openai', 'httpx2', 'uvloop')}; {node.version}; {arguments.runs} interleaved runs")
    with serving() as url:
        for title, load in LOADS.items():
            ways = SYNC if load.streams == 1 else [*ASYNC, *UVLOOP]
            print_table(title, [node, *ways], url, load, arguments.runs)
    node.close()


if __name__ == "__main__":
    main()
