"""The recipe that reads hundreds of answers at once: all are open together, and one failure affects no other."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import cassette
import pages
import pytest
import recorded
import requirements
from sockets import NEVER

from tensorloop_stream.replay import ReplayServer

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes/many_streams.py"
STREAMS = 300
HAIKU: str = recorded.interactions("chat/haiku")[0]["response"]["body"]["string"]
WHOLE = re.compile(r"300 answers, all begun within [\d.]+ s; 0 failed\n")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENSORLOOP_KEY", "tl_none")


class Gathering:
    """A server that answers no request before it has received this number of requests."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._started: Future[int] = Future()

    def __enter__(self) -> str:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        return f"http://127.0.0.1:{self._started.result()}/v1"

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._stop, self._all = asyncio.get_running_loop(), asyncio.Event(), asyncio.Barrier(self._count)
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, backlog=self._count)
        self._started.set_result(server.sockets[0].getsockname()[1])
        await self._stop.wait()
        server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.partition(b"content-length:")[2].split()[0]))
        await self._all.wait()
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + HAIKU.encode()
        )
        writer.close()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_hundreds_are_open_at_once(
    loop: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The recipe uses uvloop, or asyncio's loop if uvloop is not installed."""
    if loop == "uvloop":
        requirements.module("uvloop", "aiohttp")
    else:
        monkeypatch.setitem(sys.modules, "uvloop", None)
    with Gathering(STREAMS) as url:
        monkeypatch.setenv("TENSORLOOP_BASE_URL", url)
        pages.run_recipe("many_streams")

    assert WHOLE.fullmatch(capsys.readouterr().out)


def test_failed_streams_do_not_affect_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other answers are complete, and the last line counts the failures."""
    with ReplayServer(cassette.FOLDER / "chat/haiku.yaml", status=403, fails=2) as server:
        monkeypatch.setenv("TENSORLOOP_BASE_URL", server.base_url)
        pages.run_recipe("many_streams")

    assert re.fullmatch(r"298 answers, .* s; 2 failed PermissionDeniedError\n", capsys.readouterr().out)
    assert len(server.requests) == STREAMS


@pytest.mark.parametrize(
    "faults",
    [{"first_delay": NEVER, "ping": 0.2}, {"stall_after": 3}],
    ids=["before the first chunk", "between two chunks"],
)
def test_silent_streams_time_out(
    faults: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keep-alive comments do not extend the timeout."""
    pages.shorten_timeouts(monkeypatch, 100)
    begun = time.monotonic()
    with ReplayServer(cassette.FOLDER / "chat/haiku.yaml", **faults) as server:
        monkeypatch.setenv("TENSORLOOP_BASE_URL", server.base_url)
        pages.run_recipe("many_streams")

    assert capsys.readouterr().out == "0 answers, all begun within 0.00 s; 300 failed StreamTimeoutError\n"
    assert time.monotonic() - begun < NEVER


def test_the_error_without_aiohttp_names_it() -> None:
    """The error is one sentence."""
    program = f"import runpy, sys; sys.modules['aiohttp'] = None; runpy.run_path({str(RECIPE)!r}, run_name='__main__')"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert "aiohttp" in run.stderr


def test_the_recipe_without_a_key_names_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The program ends with this sentence."""
    monkeypatch.delenv("TENSORLOOP_KEY")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="TENSORLOOP_KEY"):
        pages.run_recipe("many_streams")
