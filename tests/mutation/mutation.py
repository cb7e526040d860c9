"""Change the core in small ways, and count what its near tests notice: python tests/mutation/mutation.py _sse

Without a module, all are run. It prints the survivors and the score of each module; `--sample 50` runs so many
mutants of each. `equivalent.txt` lists those that change no behaviour, with the reason.

The tests are imported and run once, with a note of the lines that each runs. Each mutant has a process of its own,
a fork of this one, which swaps the code and runs the tests of the changed line, the quickest first.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import random
import re
import resource
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "tests/support"), str(ROOT)]

import pytest  # noqa: E402 - the path comes first
from mutants import Mutant, mutants_of  # noqa: E402
from swap import swap  # noqa: E402
from touched import TestMap  # noqa: E402

PACKAGE = "tensorloop_stream"
_CHAT = ["unit/test_choice.py", "unit/test_accumulator.py", "unit/test_chunk_rules.py", "unit/test_tool_calls.py"]
_CALLS = ["unit/test_tool_calls.py", "unit/test_accumulator.py", "unit/test_choice.py"]
# The tests near a module, which must be quick: a mutant that survives runs all of them.
NEAR = {
    "_sse": ["unit/test_sse.py"],
    "_stream.state": [
        "unit/test_state.py",
        "unit/test_callbacks.py",
        "stream/test_stream.py",
        "stream/test_continuation.py",
    ],
    "_chat.accumulator": _CHAT,
    "_chat.choice": _CHAT,
    "_chat.thoughts": _CHAT,
    "_chat.tool_call": _CALLS,
    "_chat.tool_calls": _CALLS,
    "_chat.trailing_chunk": ["unit/test_trailing_chunk.py"],
    "_chat.vocabulary": ["unit/test_merge.py", *_CHAT],
    "_chat.usage": ["unit/test_merge.py", *_CHAT],
    "_chat.merge": ["unit/test_merge.py", "unit/test_accumulator.py", "unit/test_chunk_rules.py"],
}
EQUIVALENT = HERE / "equivalent.txt"
# A mutant that never ends must not take all memory first.
MEMORY = 4 << 30
# What ends a test that takes too long.
LIMITS = (signal.SIGPROF, signal.SIGALRM)


def path_of(module: str) -> Path:
    return ROOT / PACKAGE / f"{module.replace('.', '/')}.py"


def equivalents() -> dict[str, str]:
    """Return the reason of each accepted mutant, by its name."""
    pairs = (line.split(" ## ") for line in EQUIVALENT.read_text("utf-8").splitlines() if " ## " in line)
    return {name.strip(): reason.strip() for name, reason in pairs}


class Runner:
    """A plugin of pytest: it runs the mutants in place of the tests."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.modules: list[str] = arguments.modules or list(NEAR)
        self.scores: list[float] = []
        self.failed: list[str] = []
        self._is_child = False
        # The output of tests is captured, and ours is not.
        self._out = os.fdopen(os.dup(1), "w", buffering=1)

    def pytest_sessionstart(self) -> None:
        # Before the tests are imported, but after pytest has begun, which rewrites the plugin of hypothesis.
        import hypothesis

        # One failure is enough: to look for the smallest one takes long.
        phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
        hypothesis.settings.register_profile("mutation", phases=phases, derandomize=True, database=None, deadline=None)
        hypothesis.settings.load_profile("mutation")
        for module in self.modules:
            importlib.import_module(f"{PACKAGE}.{module}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            if self._is_child:
                os._exit(1)
            self.failed.append(f"{report.nodeid}\n{report.longreprtext}")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed.append(f"{report.nodeid}\n{report.longreprtext}")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.touched = TestMap(str(path_of(module)) for module in self.modules)
        began = time.monotonic()
        if not self.failed:
            self.touched.run(session.items)
        if self.failed:
            raise SystemExit("without a mutant, these fail:\n" + "\n".join(self.failed))
        print(f"{len(session.items)} tests ({time.monotonic() - began:.0f} s)", file=self._out)
        self.scores = [self.score_of(module) for module in self.modules]
        return True

    def score_of(self, module: str) -> float:
        """Print the survivors of a module as they are found, and return its score, in percent."""
        began, late, survivors = time.monotonic(), 0, 0
        tree = ast.parse(path_of(module).read_text("utf-8"))
        every, accepted = mutants_of(tree), equivalents()
        chosen = counted = [each for each in every if f"{module} {each.name}" not in accepted]
        if self.arguments.match:
            chosen = counted = [each for each in counted if re.search(self.arguments.match, each.name)]
        if 0 < self.arguments.sample < len(counted):
            chosen = random.Random(self.arguments.seed).sample(counted, self.arguments.sample)
        for mutant, status in self.outcomes(module, tree, chosen):
            late += os.WIFSIGNALED(status) and os.WTERMSIG(status) in LIMITS
            if status == 0:
                survivors += 1
                print(f"    {mutant.lines.start}: {module} {mutant.name}", file=self._out)
        for name in sorted(set(accepted) - {f"{module} {each.name}" for each in every}):
            if name.startswith(f"{module} "):
                print(f"    in {EQUIVALENT.name}, and no longer a mutant: {name}", file=self._out)
        score = 100 * (1 - survivors / max(len(chosen), 1))
        print(
            f"{module}: {score:.1f} % of {len(chosen)} mutants die ({late} by time); of all {len(every)}, "
            f"{len(every) - len(counted)} are equivalent ({time.monotonic() - began:.0f} s)",
            file=self._out,
        )
        return score

    def outcomes(self, module: str, tree: ast.Module, mutants: Sequence[Mutant]) -> Iterator[tuple[Mutant, int]]:
        """Yield each mutant with the status of its process: 0 if all its tests passed."""
        left, running = list(reversed(mutants)), dict[int, Mutant]()
        while left or running:
            while left and len(running) < self.arguments.jobs:
                mutant = left.pop()
                tests = self.tests_of(module, mutant)
                if tests:
                    running[self.start(module, tree, mutant, tests)] = mutant
                else:
                    yield mutant, 0
            if running:
                child, status = os.wait()
                yield running.pop(child), status

    def tests_of(self, module: str, mutant: Mutant) -> list[pytest.Item]:
        """Return the tests of a mutant, a file after the other, the quickest files and tests first."""
        near = {ROOT / "tests" / path for path in NEAR[module]}
        seconds = self.touched.seconds
        # What runs at import, every test may need.
        chosen = self.touched.tests_of(str(path_of(module)), mutant.lines) or set(seconds)
        files: dict[Path, list[pytest.Item]] = {}
        for item in sorted(chosen, key=seconds.__getitem__):
            if item.path in near:
                files.setdefault(item.path, []).append(item)
        slowest_last = sorted(files.values(), key=lambda items: sum(map(seconds.__getitem__, items)))
        return [item for items in slowest_last for item in items]

    def start(self, module: str, tree: ast.Module, mutant: Mutant, tests: list[pytest.Item]) -> int:
        """Run tests with a mutant in a child of this process, and return its id."""
        child = os.fork()
        if child:
            return child
        status = 1
        try:
            self._is_child = True
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for descriptor in (1, 2):
                os.dup2(nowhere, descriptor)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            for number in LIMITS:
                signal.signal(number, signal.SIG_DFL)
            mutant.apply()
            swap(sys.modules[f"{PACKAGE}.{module}"], tree)
            for item, following in zip(tests, [*tests[1:], None], strict=True):
                # Of computing, which does not depend on what else this machine does, and of waiting.
                signal.setitimer(signal.ITIMER_PROF, 2 * self.touched.seconds[item] + 1)
                signal.setitimer(signal.ITIMER_REAL, 5 * self.touched.seconds[item] + 30)
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            status = 0
        finally:
            os._exit(status)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="module", help=", ".join(NEAR))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--match", help="a regular expression: only the mutants whose name has it")
    parser.add_argument("--sample", type=int, default=0, help="the number of mutants of each module; 0 for all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--least", type=float, default=0, help="fail below this score, in percent")
    arguments = parser.parse_args()
    if unknown := set(arguments.modules) - set(NEAR):
        parser.error(f"no such module: {', '.join(sorted(unknown))}")
    os.chdir(ROOT)
    runner = Runner(arguments)
    files = dict.fromkeys(f"tests/{path}" for module in runner.modules for path in NEAR[module])
    options = ["--capture=sys", "-o", "addopts=", "-p", "no:terminal", "-p", "no:cacheprovider"]
    status = pytest.main([*options, *files], plugins=[runner])
    if status or not runner.scores:
        raise SystemExit(f"pytest failed: {status}")
    raise SystemExit(min(runner.scores) < arguments.least)


if __name__ == "__main__":
    main()
