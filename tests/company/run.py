"""Run every tracing tool beside the SDK's streams and beside ours, and print what each of them recorded.

    python tests/company/run.py [--tools sentry,langfuse] [--table FILE] [--faults] [--cost]

The tools are installed from the package registry, in environments of their own, and run without a network.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparison import COLUMNS, RESPONSES, Comparison, compare
from gateway import Gateway

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ENVIRONMENTS = ROOT / ".company"
# What this package itself needs.
_OURS = ("openai>=3", "python-dotenv>=1.0")
_PROGRAM_SECONDS = 300.0
_STAMP = "requirements.json"
# What might reach the clients, and what makes each start compile everything anew.
_UNWANTED = ("OPENAI_", "TENSORLOOP_", "OTEL_", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True)
class Tool:
    """A tool: its name, what is to be installed, how it gets at a stream, and with whom it shares an environment."""

    title: str
    requirements: tuple[str, ...]
    mechanism: str
    group: str = "shared"
    # The APIs of which it records the SDK's streams.
    records: tuple[str, ...] = ("chat", "responses")

    @property
    def package(self) -> str:
        return self.requirements[0].partition(">=")[0]


# By module in `tools`. Whatever the newest versions do not allow to share an environment has a group of its own.
TOOLS = {
    "sentry": Tool("Sentry", ("sentry-sdk>=2.75",), "replaces `_iterator`"),
    "langfuse": Tool("Langfuse", ("langfuse>=5.0",), "replaces `_iterator` and `close`, patches `Stream.__iter__`"),
    "mlflow": Tool("MLflow", ("mlflow-tracing>=3.17",), "replaces `_iterator`"),
    "newrelic": Tool("New Relic", ("newrelic>=14.1",), "patches `Stream._iter_events`"),
    "opik": Tool("Opik", ("opik>=2.2",), "patches `Stream.__iter__`"),
    "logfire": Tool("Logfire", ("logfire>=5.4",), "subclasses `stream_cls`"),
    "openinference": Tool(
        "OpenInference", ("openinference-instrumentation-openai>=0.1.66",), "a proxy, from `request`"
    ),
    "traceloop": Tool("Traceloop", ("opentelemetry-instrumentation-openai>=0.62",), "a proxy"),
    "ddtrace": Tool("Datadog", ("ddtrace>=4.16",), "a proxy"),
    "opentelemetry_genai": Tool(
        "OpenTelemetry genai-openai", ("opentelemetry-instrumentation-genai-openai>=1.3b0",), "a proxy"
    ),
    "opentelemetry_v2": Tool(
        "OpenTelemetry openai-v2",
        # It works neither with the newest of the second nor without the third, and asks for neither.
        ("opentelemetry-instrumentation-openai-v2>=2.4b0", "opentelemetry-util-genai<=1.1b0", "httpx>=0.28"),
        "an object of its own",
        "openai-v2",
        records=("chat",),
    ),
    "agentops": Tool("AgentOps", ("agentops>=0.4.21",), "an object of its own", records=("chat",)),
    "weave": Tool("Weave", ("weave>=0.54",), "an object of its own"),
    "langsmith": Tool("LangSmith", ("langsmith>=0.15",), "an object of its own"),
    "braintrust": Tool("Braintrust", ("braintrust>=0.48",), "an object of its own"),
    "posthog": Tool("PostHog", ("posthog>=7.91",), "an object of its own, a client class"),
    "nothing": Tool("(no tool)", ("openai>=3",), "", records=()),
}


class Environments:
    """The virtual environments of the tools, in a folder that is kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def python(self, tool: str) -> Path:
        """Return the interpreter of a tool's environment."""
        return self._folder / TOOLS[tool].group / "bin/python"

    def has(self, tool: str) -> bool:
        """Tell whether a tool's environment is there, with what is asked for today."""
        try:
            installed = (self._folder / TOOLS[tool].group / _STAMP).read_text(encoding="utf-8")
        except FileNotFoundError:
            return False
        return bool(json.loads(installed) == self._requirements(tool))

    def make(self, tools: Iterable[str], *, fresh: bool = False) -> None:
        """Make the environments of these tools that are not there, with the newest versions of everything."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as lock:
            # Test processes may come here at the same time; the lock goes with the file.
            fcntl.flock(lock, fcntl.LOCK_EX)
            for group, tool in {TOOLS[tool].group: tool for tool in tools}.items():
                if fresh or not self.has(tool):
                    self._install(self._folder / group, self._requirements(tool))

    def version(self, tool: str) -> str:
        """Return the version of a tool that is installed."""
        code = f"import importlib.metadata; print(importlib.metadata.version({TOOLS[tool].package!r}))"
        return subprocess.run(
            [self.python(tool), "-c", code], check=True, capture_output=True, text=True
        ).stdout.strip()

    def _requirements(self, tool: str) -> list[str]:
        group = TOOLS[tool].group
        theirs = [one for other in TOOLS.values() if other.group == group for one in other.requirements]
        return sorted({*_OURS, *theirs, "opentelemetry-sdk>=1.30"})

    def _install(self, environment: Path, requirements: list[str]) -> None:
        started = time.monotonic()
        if uv := shutil.which("uv"):
            commands = [
                [uv, "venv", "-q", "--clear", "--python", sys.executable, environment],
                [uv, "pip", "install", "-q", "--python", environment / "bin/python", *requirements],
            ]
        else:
            commands = [
                [sys.executable, "-m", "venv", "--clear", environment],
                [environment / "bin/python", "-m", "pip", "install", "-qq", "--no-compile", *requirements],
            ]
        for command in commands:
            subprocess.run([str(part) for part in command], check=True)
        # Written last, so that an installation that was broken off is begun again.
        (environment / _STAMP).write_text(json.dumps(requirements), encoding="utf-8")
        print(f"{environment}: {_megabytes(environment):.0f} MB in {time.monotonic() - started:.0f} s", file=sys.stderr)


def run_tool(tool: str, python: Path, base_url: str, *, with_cost: bool = False) -> dict[str, Any]:
    """Run all actions with one tool, in a process of its own, and return what it writes down.

    Raises `RuntimeError` with the end of its output if the program fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "actions.json"
        settings = {name: value for name, value in os.environ.items() if not name.startswith(_UNWANTED)}
        finished = subprocess.run(
            [python, HERE / "program.py", tool, base_url, output, *(["cost"] if with_cost else [])],
            env=settings | {"PYTHONPATH": str(ROOT), "HOME": folder, "no_proxy": "*"},
            cwd=folder,
            timeout=_PROGRAM_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if finished.returncode != 0 or not output.exists():
            raise RuntimeError(f"{tool} ended with {finished.returncode}:\n{finished.stdout[-3000:]}")
        return json.loads(output.read_text(encoding="utf-8"))  # type: ignore[no-any-return] # what the program writes


@contextmanager
def running(
    tools: Iterable[str], environments: Environments, *, with_cost: bool = False
) -> Iterator[dict[str, Future[Comparison]]]:
    """Run these tools beside each other, and give what comes of each; all must have their environments."""

    def run(tool: str) -> Comparison:
        written = run_tool(tool, environments.python(tool), gateway.base_url, with_cost=with_cost)
        comparison = compare(written["actions"], recorded=TOOLS[tool].records)
        comparison.cost = written["cost"]
        return comparison

    # Half of the time each of them waits for a stall to be noticed.
    with Gateway() as gateway, ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        try:
            yield {tool: pool.submit(run, tool) for tool in tools}
        finally:
            pool.shutdown(cancel_futures=True)


def row(tool: str, version: str, comparison: Comparison) -> list[str]:
    """Return the row of a tool in the table."""
    return [
        TOOLS[tool].title,
        version,
        TOOLS[tool].mechanism,
        comparison.recorded["chat"],
        *(str(comparison.records[column]) for column in COLUMNS),
        comparison.recorded[RESPONSES],
        str(comparison.records[RESPONSES]),
        "hold" if comparison.caller.right == comparison.caller.tried else str(comparison.caller),
        ", ".join(map(str, comparison.streams)),
        ", ".join(f"{cost:.0f}" for cost in comparison.cost),
        "same" if not comparison.faults else "differs",
    ]


HEAD = [
    "tool",
    "version",
    "gets at a stream by",
    "records of the SDK's loop",
    *COLUMNS,
    "records of the SDK's loop over responses",
    "responses",
    "text, errors, timeouts, .partial",
    "what create() returns",
    "us a chunk: SDK's loop, ours, text_stream",
    "verdict",
]


def table(rows: list[list[str]]) -> str:
    """Lay rows out in Markdown."""
    widths = [max(len(line[column]) for line in [HEAD, *rows]) for column in range(len(HEAD))]
    lines = [HEAD, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", default=",".join(TOOLS), help="which, by name, with commas between")
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS, help="where they are kept")
    parser.add_argument("--table", type=Path, help="write the table to this file too")
    parser.add_argument("--faults", action="store_true", help="print each action that differs")
    parser.add_argument("--cost", action="store_true", help="measure the CPU time of a chunk, too")
    parser.add_argument("--fresh", action="store_true", help="install the newest versions anew")
    options = parser.parse_args()
    tools = options.tools.split(",")
    if unknown := set(tools) - set(TOOLS):
        parser.error(f"there is no {', '.join(sorted(unknown))}: choose from {', '.join(TOOLS)}")
    environments = Environments(options.environments)
    environments.make(tools, fresh=options.fresh)
    started = time.monotonic()
    with running(tools, environments, with_cost=options.cost) as futures:
        compared = {tool: future.result() for tool, future in futures.items()}
    text = table([row(tool, environments.version(tool), comparison) for tool, comparison in compared.items()])
    print(text)
    if options.faults:
        for tool, comparison in compared.items():
            for fault in comparison.faults:
                print(f"{tool}: {fault}")
    print(f"{len(compared)} tools in {time.monotonic() - started:.0f} s", file=sys.stderr)
    if options.table:
        options.table.write_text(text + "\n", encoding="utf-8")
    return any(comparison.faults for comparison in compared.values())


if __name__ == "__main__":
    sys.exit(main())
