"""The line with which a benchmark says where and when its figures were measured."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path


def machine(*distributions: str) -> str:
    """Return the date, the versions of what is installed of these distributions, and the machine."""
    versions = []
    for name in distributions:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{name} {importlib.metadata.version(name)}")
    path = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", path.read_text()) if path.exists() else None
    cores = f"{os.cpu_count()} cores of {model[1] if model else platform.processor() or platform.machine()}"
    return f"{datetime.now(UTC):%Y-%m-%d}: Python {', '.join([platform.python_version(), *versions])}; {cores}"
