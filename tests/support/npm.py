"""Packages of npm, for the tests that run node."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import requirements


def npm_install(folder: Path, *packages: str) -> None:
    """Install the packages of a package.json; without a registry, skip the test or fail it."""
    options = [
        "--no-audit",
        "--no-fund",
        "--no-package-lock",
        "--prefer-offline",
        "--fetch-retry-mintimeout=500",
        "--fetch-retry-maxtimeout=2000",
    ]
    command = [requirements.program("npm"), "install", *options, *packages]
    install = subprocess.run(command, cwd=folder, timeout=300, capture_output=True, text=True, check=False)
    if re.search("ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ENOTCACHED|E403", install.stderr):
        requirements.unmet("needs npm's registry, which cannot be reached")
    assert install.returncode == 0, install.stderr
