"""Measure the memory of a server whose browsers never read their answers, and print it over time as Markdown.

A gateway sends endless text as fast as it is read; each browser asks, reads nothing, and stays. What grows is what the
recipe, this package and the server keep: the sockets between are the kernel's, and are full after some seconds. Memory
is flat if the last column equals the one before it. The recipes add each answer up for `on_finish`, so a browser costs
as much of its answer as fits into the sockets; with `--forget` they do not, and what is left are the buffers.

Run: `python tests/benchmarks/unread.py [--browsers 20] [--seconds 20] [--forget] [SITE ...]`; for the plateau that is
claimed, `--browsers 1000 --seconds 150 starlette`. After `pip install -e .[test,web]`. Linux only.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

import web  # noqa: E402 - beside the tests
from web import SITES, EndlessGateway, RawBrowser, serve_recipe, unused_port  # noqa: E402

MB = 1_000_000
SAMPLES = 6


def main() -> None:
    parser = argparse.ArgumentParser()
    names = [name for name in SITES if name != "eventsource"]
    parser.add_argument("sites", nargs="*", metavar="SITE", help=f"of {', '.join(names)}")
    parser.add_argument("--browsers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--forget", action="store_true", help="run the recipes without on_finish")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.forget:
            web.ROOT = forgetful(Path(folder))
        measure(arguments.sites or names, arguments.browsers, arguments.seconds)


def forgetful(folder: Path) -> Path:
    """Return a folder with a copy of the recipes that keep no answer."""
    shutil.copytree(ROOT / "recipes", folder / "recipes", ignore=shutil.ignore_patterns("node_modules"))
    for path in (folder / "recipes").glob("forward_*.py"):
        path.write_text(path.read_text("utf-8").replace(", Callbacks(on_finish=saved.append)", ""), "utf-8")
    return folder


def measure(names: list[str], browsers: int, limit: float) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    times = [limit * (number + 1) / SAMPLES for number in range(SAMPLES)]
    print(f"MB above the start, {browsers} browsers; in brackets, MB that the gateway has sent\n")
    print("| site | " + " | ".join(f"{seconds:.0f} s" for seconds in times) + " |")
    print("|---" * (SAMPLES + 1) + "|")
    for name in names:
        cells = grown(name, browsers, times)
        print(f"| {name} | " + " | ".join(f"{memory:.0f} ({sent:.0f})" for memory, sent in cells) + " |", flush=True)


def grown(name: str, browsers: int, times: list[float]) -> list[tuple[float, float]]:
    """Return the megabytes that the server has grown by at these times, and those that the gateway has sent."""
    port, cells = unused_port(), []
    with ExitStack() as stack:
        gateway = stack.enter_context(EndlessGateway(port))
        site = stack.enter_context(serve_recipe(name, port))
        before, begun = site.memory(), time.monotonic()
        for _ in range(browsers):
            stack.enter_context(RawBrowser(site.port, buffer=4096))
        for seconds in times:
            time.sleep(max(begun + seconds - time.monotonic(), 0))
            cells.append(((site.memory() - before) / MB, gateway.sent / MB))
    return cells


if __name__ == "__main__":
    main()
