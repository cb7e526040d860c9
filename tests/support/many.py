"""Helpers for many prompts: numbered prompts and their cassette, recipes as processes, and the server's counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sockets import EVENTS

from tensorloop_stream.replay import ReplayServer

ROOT = Path(__file__).parents[2]
FIELDS = {"model": "gpt-4o-mini", "stream_options": {"include_usage": True}}


def prompt(number: int, faults: str = "") -> dict[str, Any]:
    """Return a line of the prompts; the faults are those of its request."""
    line = {"id": f"p{number}", "prompt": f"number {number}"}
    return {**line, "model": f"gpt-4o-mini?{faults}"} if faults else line


def write_lines(path: Path, values: Iterable[Any]) -> Path:
    path.write_text("".join(f"{json.dumps(value)}\n" for value in values), encoding="utf-8")
    return path


def read_answers(path: Path) -> list[dict[str, Any]]:
    """Return the answers in a file, each of which must be complete."""
    text = path.read_text("utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def content_of(answer: dict[str, Any]) -> str:
    text: str = answer["completion"]["choices"][0]["message"]["content"]
    return text


def write_cassette(path: Path, count: int, events: list[bytes] = EVENTS) -> Path:
    """Write a cassette with this number of answers, as JSON, which is YAML and quick to write."""
    interactions = [
        {
            "request": {
                "method": "POST",
                "uri": "https://litellm.tensorloop.tech/v1/chat/completions",
                "body": json.dumps(
                    {**FIELDS, "stream": True, "messages": [{"role": "user", "content": f"number {number}"}]}
                ),
            },
            "response": {
                "status": {"code": 200, "message": "OK"},
                "headers": {"content-type": ["text/event-stream"]},
                "body": {"string": b"".join(events).decode()},
            },
        }
        for number in range(count)
    ]
    path.write_text(json.dumps({"version": 1, "interactions": interactions}), encoding="utf-8")
    return path


def request_counts(server: ReplayServer) -> Counter[str]:
    """Return the number of requests for each prompt."""
    return Counter(request.body["messages"][0]["content"] for request in server.requests)


def most_requests_within(server: ReplayServer, seconds: float) -> int:
    """Return the largest number of requests in any window of this length."""
    times = [request.time for request in server.requests]
    return max(sum(start <= time < start + seconds for time in times) for start in times)


@contextmanager
def running_recipe(recipe: str, server: ReplayServer, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a recipe unedited as a process, and kill its process group at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / f"recipes/{recipe}.py"), *map(str, arguments)],
        env={**os.environ, "TENSORLOOP_BASE_URL": server.base_url, "TENSORLOOP_KEY": "tl_none"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.communicate()


def workers_of(process: int) -> set[int]:
    """Return the ids of the worker processes that a program started."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/status"):
        if f"\nPPid:\t{process}\n" in status.read_text() and b"spawn_main" in (status.parent / "cmdline").read_bytes():
            found.add(int(status.parent.name))
    return found
