"""A Redis server for tests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import requirements
from web import run_server


@contextmanager
def redis_server(port: int, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Redis server that keeps nothing on disk, unless the options say so."""
    requirements.module("redis", "redis")
    command = [requirements.program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", *options]
    with run_server(command, port) as process:
        yield process
