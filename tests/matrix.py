"""Run the tests of the core with each release of the SDK that is promised, in environments of their own.

    python tests/matrix.py [--sdks 2.31.0,3.0.0] [--environments FOLDER] [--processes N] [--types [2.54.0]]

The environments hold the newest versions of everything else; the lowest SDK has the lowest versions of everything. A
release that admits another HTTP library beside its own gets it too. `--types` checks the package's types with each SDK,
or with those that are named.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOWEST = "2.31.0"
# What is installed beside the SDK: the HTTP library that it admits and does not bring. `newest` may be a release that
# is not final: a bound that names one admits them, of openai alone.
SDKS = {LOWEST: "", "2.54.0": "httpx2", "3.0.0": "httpx", "newest": "httpx"}
# What can differ with another SDK. Not run here: pages, recipes and notebooks, which need tools, and the longest ones.
TESTS = [
    *(f"tests/unit/test_{name}.py" for name in ("accumulator", "chunk_rules", "errors", "models", "retry", "sse")),
    *(f"tests/resumable/test_resumable{name}.py" for name in ("", "_pipeline", "_without_redis")),
    *("tests/forward/test_forward.py", "tests/replay/test_replay.py", "tests/prompts/test_prompts.py"),
    *(f"tests/responses/test_response_{name}.py" for name in ("accumulator", "shown", "stream")),
    "tests/project/test_sdk_drift.py",
    *(
        f"tests/stream/test_{name}.py"
        for name in (
            *("cassette_streams", "client", "continuation", "drop_in", "error_bodies", "error_texts"),
            *("http_libraries", "retries", "stream", "watched_responses", "watched_streams"),
        )
    ),
]
# The oldest pydantic that the core works with; the tests of some tools need a later one.
_PYDANTIC = "2.5.3"


@dataclass
class Row:
    """The result of one environment."""

    sdk: str
    versions: dict[str, str]
    summary: str
    seconds: float
    is_green: bool

    def __str__(self) -> str:
        versions = " ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"{self.sdk:8} {versions}: {self.summary} in {self.seconds:.0f} s"


def lowest() -> list[str]:
    """Return the lowest versions that pyproject.toml allows, as constraints."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    bounds: dict[str, str] = {}
    for bound in project["dependencies"] + project["optional-dependencies"]["test"]:
        name, _, version = re.sub(r"\[.*\]", "", bound).partition(">=")
        # Of two bounds the later one: what tests need is no lower than what the package does.
        bounds[name] = version
    return [f"{name}=={version}" for name, version in {**bounds, "pydantic": _PYDANTIC}.items()]


def install(sdk: str, environment: Path) -> Path:
    """Make the environment of an SDK, and return its interpreter."""
    python, others = environment / "bin/python", SDKS.get(sdk, "").split()
    asked = ["-e", f"{ROOT}[test,redis]", *others, "openai>=3.0a0" if sdk == "newest" else f"openai=={sdk}"]
    if sdk == LOWEST:
        constraints = environment.parent / f"{environment.name}.txt"
        constraints.write_text("\n".join(lowest()) + "\n", encoding="utf-8")
        asked = ["-e", f"{ROOT}[test]", "redis>=8", "-c", str(constraints)]
    if uv := shutil.which("uv"):
        run(uv, "venv", "-q", "--clear", "--python", sys.executable, environment)
        newest = ("-U",) if sdk == "newest" else ()
        run(uv, "pip", "install", "-q", "--compile-bytecode", "--python", python, *newest, *asked)
    else:
        run(sys.executable, "-m", "venv", "--clear", environment)
        run(python, "-m", "pip", "install", "-qq", *(["-U"] if sdk == "newest" else []), *asked)
    return python


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


def versions(python: Path) -> dict[str, str]:
    """Return the versions of the SDK and of what lies below it."""
    code = (
        "import importlib.metadata as m\n"
        "for d in m.distributions():\n"
        "    if d.name in ('openai', 'httpx', 'httpx2', 'pydantic'): print(d.name, d.version)"
    )
    printed = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout
    return dict(sorted(line.split() for line in printed.splitlines()))


def test(sdk: str, python: Path, processes: str) -> Row:
    """Run the tests with an SDK, and show what fails."""
    started = time.monotonic()
    command: list[str | Path] = [
        python,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-n",
        processes,
        "--dist",
        "loadfile",
        *TESTS,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        print(done.stdout)
    lines = done.stdout.strip().splitlines() or ["nothing was printed"]
    summary = re.sub(r" in [\d.]+s.*", "", lines[-1]).strip("= ")
    return Row(sdk, versions(python), summary, time.monotonic() - started, done.returncode == 0)


def check_types(sdk: str, python: Path) -> Row:
    """Check the package and a program that uses it with the types of an SDK."""
    started = time.monotonic()
    command = ["mypy", "--python-executable", str(python), "--no-incremental", "tests/typing/either_sdk.py"]
    mypy = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    command = ["pyright", "--pythonpath", str(python), "tests/typing/either_sdk.py"]
    pyright = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    is_green = mypy.returncode == pyright.returncode == 0
    if not is_green:
        print(mypy.stdout, pyright.stdout)
    return Row(sdk, versions(python), "mypy, pyright", time.monotonic() - started, is_green)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sdks", default=",".join(SDKS), help="releases of openai, with commas between; or newest")
    parser.add_argument("--environments", type=Path, help="keep the environments in this folder, and use them again")
    parser.add_argument("--processes", default="auto", help="how many processes run the tests")
    parser.add_argument(
        "--types", nargs="?", const="", help="check the types with mypy and pyright, too; with these releases alone"
    )
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.environments or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for sdk in options.sdks.split(","):
            environment = folder / f"openai-{sdk}"
            kept = environment / "bin/python"
            python = kept if options.environments and kept.exists() else install(sdk, environment)
            rows.append(test(sdk, python, options.processes))
            if options.types is not None and sdk in (options.types or options.sdks).split(","):
                rows.append(check_types(sdk, python))
    print(*rows, sep="\n")
    return 0 if all(row.is_green for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
