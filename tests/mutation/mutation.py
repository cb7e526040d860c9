"""Change the core in small ways, and count what its near tests notice: python tests/mutation/mutation.py _sse

Without a module, all are run, which takes half an hour; `--sample 50` runs so many mutants of each. It prints the
survivors and the score of each module. `equivalent.txt` lists those that change no behaviour, with the reason.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "tests/support"), str(ROOT)]

from mutants import Mutant, mutants_of  # noqa: E402 - beside this file

PACKAGE = "tensorloop_stream"
# The tests near a module, the quickest first.
NEAR = {
    "_sse": ["unit/test_sse.py"],
    "_stream.state": [
        "unit/test_state.py",
        "responses/test_response_stream.py",
        "stream/test_stream.py",
        "stream/test_retries.py",
    ],
    "_chat.accumulator": ["unit/test_accumulator.py", "stream/test_odd_streams.py"],
    "_chat.choice": ["unit/test_accumulator.py", "unit/test_tool_calls.py", "stream/test_odd_streams.py"],
    "_chat.tool_calls": ["unit/test_tool_calls.py", "unit/test_accumulator.py", "stream/test_odd_streams.py"],
    "_chat.merge": ["unit/test_accumulator.py", "unit/test_chunk_rules.py", "stream/test_odd_streams.py"],
}
WORKERS = 2
EQUIVALENT = HERE / "equivalent.txt"


class MutantFinder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Import one module from other source."""

    def __init__(self, module: str, source: str) -> None:
        self.module = module
        self.source = source

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if name != self.module:
            return None
        return importlib.util.spec_from_file_location(name, path_of(name.removeprefix(f"{PACKAGE}.")), loader=self)

    def get_source(self, fullname: str) -> str:
        return self.source


def path_of(module: str) -> Path:
    return ROOT / PACKAGE / f"{module.replace('.', '/')}.py"


def equivalents() -> dict[str, str]:
    """Return the reason of each accepted mutant, by its name."""
    pairs = (line.split(" ## ") for line in EQUIVALENT.read_text("utf-8").splitlines() if " ## " in line)
    return {name.strip(): reason.strip() for name, reason in pairs}


def run_tests(module: str, source: str | None) -> int:
    """Run the near tests in a child of this process, and return its id."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    status = 3
    try:
        import pytest

        if source is not None:
            sys.meta_path.insert(0, MutantFinder(f"{PACKAGE}.{module}", source))
        os.chdir(ROOT)
        tests = [f"tests/{path}" for path in NEAR[module]]
        # Its plugin was imported before.
        options = ["-x", "-q", "-p", "no:cacheprovider", "--tb=no", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
        status = pytest.main([*options, *tests])
    finally:
        os._exit(status)


def outcomes(module: str, mutants: Sequence[Mutant], limit: float) -> Iterator[tuple[Mutant, bool]]:
    """Yield each mutant, and whether the tests failed, or took too long."""
    left = list(reversed(mutants))
    running: dict[int, tuple[Mutant, float]] = {}
    while left or running:
        while left and len(running) < WORKERS:
            mutant = left.pop()
            running[run_tests(module, mutant.source)] = mutant, time.monotonic() + limit
        child, status = os.waitpid(-1, os.WNOHANG)
        if child:
            yield running.pop(child)[0], status != 0
            continue
        for each, (mutant, until) in list(running.items()):
            if time.monotonic() > until:
                os.killpg(each, signal.SIGKILL)
                os.waitpid(each, 0)
                del running[each]
                yield mutant, True
        time.sleep(0.02)


def score_of(module: str, sample: int, seed: int) -> float:
    """Print the survivors of a module as they are found, and return its score, in percent."""
    began = time.monotonic()
    _, status = os.waitpid(run_tests(module, None), 0)
    if status:
        raise SystemExit(f"{module}: the tests fail without a mutant: run pytest {' '.join(NEAR[module])}")
    limit = 3 * (time.monotonic() - began) + 10
    every = mutants_of(path_of(module).read_text("utf-8"))
    accepted = equivalents()
    counted = [each for each in every if f"{module} {each.name}" not in accepted]
    chosen = counted
    if sample and sample < len(counted):
        chosen = sorted(random.Random(seed).sample(counted, sample), key=lambda each: each.line)
    survived = 0
    for mutant, killed in outcomes(module, chosen, limit):
        if not killed:
            survived += 1
            print(f"    {mutant.line}: {module} {mutant.name}", flush=True)
    score = 100 * (1 - survived / max(len(chosen), 1))
    print(
        f"{module}: {score:.1f} % of {len(chosen)} mutants die, of {len(every)}, of which "
        f"{len(every) - len(counted)} are equivalent ({time.monotonic() - began:.0f} s)",
        flush=True,
    )
    return score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="module", help=", ".join(NEAR))
    parser.add_argument("--sample", type=int, default=0, help="the number of mutants of each module; 0 for all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--least", type=float, default=0, help="fail below this score, in percent")
    arguments = parser.parse_args()
    if unknown := set(arguments.modules) - set(NEAR):
        parser.error(f"no such module: {', '.join(sorted(unknown))}")
    # Loaded once, here: every child begins with them. The package itself is not.
    for name in ("pytest", "hypothesis", "openai", "openai.types.chat", "httpx2", "anyio", "trio", "yaml", "vcr"):
        importlib.import_module(name)
    assert PACKAGE not in sys.modules
    scores = [score_of(module, arguments.sample, arguments.seed) for module in arguments.modules or NEAR]
    raise SystemExit(min(scores) < arguments.least)


if __name__ == "__main__":
    main()
