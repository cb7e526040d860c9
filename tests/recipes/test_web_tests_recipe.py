"""The recipe that tests a web app: it passes for the app, and fails for other apps."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cassette
import pytest
import requirements

RECIPE = Path(__file__).parents[2] / "recipes/pytest_your_web_app.py"


def run(source: str, folder: Path) -> str:
    """Run the recipe in its own folder, and return the last line that it prints."""
    requirements.module("starlette", "starlette")
    (folder / "recipes").mkdir()
    shutil.copytree(cassette.FOLDER / "chat", folder / "cassettes/chat")
    (folder / "recipes" / RECIPE.name).write_text(source, "utf-8")
    command = [sys.executable, f"recipes/{RECIPE.name}"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    last = ran.stdout.splitlines()[-1]
    assert ran.returncode == ("failed" in last), ran.stdout + ran.stderr
    return last


def test_the_app_passes(tmp_path: Path) -> None:
    """A whole answer, a broken one, a refusal with its status, and a browser that leaves are tested."""
    assert " 4 passed in" in run(RECIPE.read_text("utf-8"), tmp_path)


@pytest.mark.parametrize(
    ("right", "wrong", "failed"),
    [
        ('"model": model', '"model": model, "temperature": 0.3', 3),
        ('f"gpt-4o-mini?{fault}"', '"gpt-4o-mini"', 2),
    ],
    ids=["asks for something else", "is never broken"],
)
def test_another_app_fails(right: str, wrong: str, failed: int, tmp_path: Path) -> None:
    """An app that changes the request or ignores faults does not pass."""
    source = RECIPE.read_text("utf-8")
    assert right in source

    assert f" {failed} failed" in run(source.replace(right, wrong), tmp_path)
