"""Programs as somebody writes them who has not looked at the cassettes: each runs to its end without a key."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import cassette
import pytest
import requirements

from tensorloop_stream.replay._cli import main

PROGRAMS = sorted(path.name for path in (Path(__file__).parent / "programs").iterdir() if path.is_file())
# Each takes a second or two, most of it for importing the SDK.
TRIED = PROGRAMS if requirements.REQUIRE_ALL else PROGRAMS[::4]


def test_there_are_twenty() -> None:
    """The documentation promises this number."""
    assert len(PROGRAMS) >= 20


@pytest.mark.parametrize("name", TRIED)
def test_a_program_runs_without_a_key(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Under the replay, with status 0 and some output; each request is answered, and said on stderr."""
    for variable in [each for each in os.environ if each.startswith(("TENSORLOOP_", "OPENAI_"))]:
        monkeypatch.delenv(variable)
    program = Path(__file__).parent / "programs" / name
    runner = requirements.program("node") if program.suffix == ".mjs" else sys.executable
    monkeypatch.chdir(tmp_path)
    status = main([str(cassette.FOLDER), "--delay", "0", "--", runner, str(program)])
    output, said = capfd.readouterr()

    assert status == 0, said
    assert output.strip()
    assert said.startswith("replay: ")
    assert all(line.startswith("replay: ") and ": 404" not in line for line in said.splitlines()), said
