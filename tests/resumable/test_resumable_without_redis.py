"""The import of resumable streams without redis-py."""

from __future__ import annotations

import subprocess
import sys


def test_importing_resumable_without_redis_py_names_the_extra() -> None:
    """The error is one sentence, without a chained exception."""
    program = "import sys; sys.modules['redis'] = None; import tensorloop_stream.resumable"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert run.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: resumable streams need redis-py, which is not installed: "
        'pip install "tensorloop_stream[redis]"'
    )
    assert "During handling" not in run.stderr
