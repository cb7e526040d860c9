"""An HTTP client of either library under any SDK that admits it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import openai
import pytest
import requirements

SUPPORT = Path(__file__).parents[1] / "support"
ROOT = SUPPORT.parents[1]


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_client_of_either_http_library_is_read_and_forwarded(library: str) -> None:
    """Whole streams, stalls, cuts, retries and statuses are the same with the HTTP library that is not the SDK's."""
    if library == "httpx2" and not hasattr(openai, "DefaultHttpx2Client"):
        pytest.skip("this openai knows no httpx2")
    try:
        importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        requirements.unmet(f"needs {library}")
    done = subprocess.run(
        [sys.executable, SUPPORT / "other_http_library.py", library],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(SUPPORT)])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert {line.partition(":")[0] for line in done.stderr.splitlines()} == {"a forwarded answer did not begin"}
    expected = {
        "whole": ["Hello", 1],
        "silent": ["StreamTimeoutError", "Hel", 1],
        "cut": ["StreamConnectionError", "Hel", 1],
        "retried": ["InternalServerError", "", 3],
        "spent": ["RateLimitError", "", 1],
        "cut refusal": ["BadRequestError", "", 1],
        "forwarded": 200,
        "forwarded, silent": 504,
        "forwarded, cut": 502,
    }
    assert json.loads(done.stdout) == [expected, expected]
