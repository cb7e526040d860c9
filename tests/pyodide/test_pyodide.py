"""The pure core under Pyodide, run by node; opt-in, since it fetches packages: TENSORLOOP_STREAM_PYODIDE=1."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requirements

HERE = Path(__file__).parent
# The wheels that the package index has for Pyodide's Python, and those for any. The part of httpx2 for browsers, which
# openai 3 would need there, is not published.
PLATFORM = "--platform=pyemscripten_2026_0_wasm32 --platform=any --python-version=3.14 --implementation=cp --abi=cp314"
PACKAGES = ("openai<3", "python-dotenv", "anyio", "jiter", "pydantic", "pytest", "hypothesis")


@pytest.mark.skipif(not os.environ.get("TENSORLOOP_STREAM_PYODIDE"), reason="opt-in: TENSORLOOP_STREAM_PYODIDE=1")
def test_the_core_runs_in_a_browsers_python(tmp_path: Path) -> None:
    """Streams over a transport in memory, sync and async, and the tests of the accumulators and of SSE."""
    node, npm = requirements.program("node"), requirements.program("npm")
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--target", str(site), "--only-binary=:all:"]
    subprocess.run([*install, *PLATFORM.split(), *PACKAGES], check=True)
    (site / "pyodide.ini").write_text("[pytest]\npythonpath = /repository/tests/support\n", "utf-8")
    subprocess.run([npm, "install", "--silent", "--no-audit", "pyodide@314"], cwd=tmp_path, check=True)
    command = [node, str(HERE / "run.mjs"), str(site), str(HERE.parents[1]), str(HERE / "in_pyodide.py")]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert "four streams are read right" in run.stdout
