"""Run the SDK's own tests with its clients, then with ours in their place, and print each test that differs.

    python tests/company/sdk_suite.py [FOLDER]

Downloads the source distribution of the SDK that is installed into FOLDER (else a temporary one), and makes an
environment there. Exits with 1 if a test passes with the SDK's clients, fails with ours, and has no reason below.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[2]
# What the tests import; what else they want is skipped, with both.
REQUIREMENTS = (
    *("pytest", "pytest-asyncio", "pytest-xdist", "inline-snapshot", "rich", "Pillow", "trio", "griffe"),
    *("azure-identity", "botocore", "google-auth", "requests", "httpx", "respx", "time-machine"),
)
# Generated tests of each endpoint, which need a mock server, and tests of what surrounds the SDK.
IGNORED = ("tests/api_resources", "tests/compat", "tests/test_uv_workflows.py", "tests/lib/test_microphone.py")
PLUGIN = """
import openai
import tensorloop_stream
import tensorloop_stream._credentials

# Many tests use http:// to hosts that a mock answers for.
tensorloop_stream._credentials._stays_here = lambda host: True
openai.OpenAI = openai.Client = tensorloop_stream.Tensorloop
openai.AsyncOpenAI = openai.AsyncClient = tensorloop_stream.AsyncTensorloop
"""
# The reason for each difference, by a pattern of the test's name.
REASONS = {
    r"test_audio_example|test_base_url_env|ambient_authorization|rollout_examples": (
        "variables named OPENAI_* hold the settings of another service"
    ),
    r"test_validate_headers|never_uses_admin_key": "without a key, the constructor names TENSORLOOP_KEY",
    r"test_copy_signature": "a copy keeps the timeouts of streams, which the constructor takes",
    r"test_request_timeout|test_http_client_timeout_option": "a stream waits 60 s for its next byte",
    r"test_provider_can_be_removed|test_data_residency|test_x509|test_direct_a?sync_injection": (
        "the base URL is Tensorloop's, also of a client that is copied to another identity or region"
    ),
    r"test_fractional_source_deadlines": "a deadline of the test's own, which a busy machine misses",
}


def prepare(folder: Path) -> tuple[Path, Path]:
    """Return the folder of the SDK's tests, and an interpreter that can run them."""
    version = importlib.metadata.version("openai")
    download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", str(folder)]
    subprocess.run([*download, f"openai=={version}"], check=True)
    with tarfile.open(folder / f"openai-{version}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    source = folder / f"openai-{version}"
    # The installed package is tested: its files are the same.
    (source / "src").rename(source / "src.away")
    (folder / "ours.py").write_text(PLUGIN, "utf-8")
    python = folder / "environment/bin/python"
    subprocess.run([sys.executable, "-m", "venv", folder / "environment"], check=True)
    extras = [f"{ROOT}[aiohttp]", f"openai[aiohttp,realtime]=={version}"]
    subprocess.run([python, "-m", "pip", "install", "-qq", *extras, *REQUIREMENTS], check=True)
    return source, python


def run(source: Path, python: Path, *options: str) -> dict[str, bool]:
    """Run the tests and return whether each that was not skipped passed, by name."""
    report = source / "report.xml"
    ignored = [f"--ignore={path}" for path in IGNORED]
    command = [python, "-m", "pytest", "-q", "tests", "-n", "2", "-p", "no:cacheprovider", "--tb=no", "--durations=1"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "TENSORLOOP_"))}
    environment["PYTHONPATH"] = str(source.parent)
    subprocess.run(
        [*map(str, command), *ignored, *options, f"--junit-xml={report}"],
        cwd=source,
        env=environment,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    passed = {}
    for case in ET.parse(report).iter("testcase"):
        if case.find("skipped") is None:
            name = f"{case.get('classname')}.{case.get('name')}"
            passed[name] = case.find("failure") is None and case.find("error") is None
    return passed


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the SDK's own tests with its clients, then with ours.")
    parser.add_argument("folder", type=Path, nargs="?")
    folder = parser.parse_args().folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    source, python = prepare(folder)
    theirs, ours = run(source, python), run(source, python, "-p", "ours")
    print(f"{sum(theirs.values())} tests pass with the SDK's clients, {sum(ours.values())} with ours")
    unexplained = 0
    for name in sorted(name for name, passed in theirs.items() if passed and not ours.get(name)):
        reason = next((reason for pattern, reason in REASONS.items() if re.search(pattern, name)), None)
        unexplained += reason is None
        print(f"{name}: {reason or 'NO REASON'}")
    raise SystemExit(1 if unexplained else 0)


if __name__ == "__main__":
    main()
