"""The ways to read the streams of `paced_server.py`; each notes when a chunk reached the caller's loop."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import openai  # noqa: E402 - beside the package
from feed import MESSAGES  # noqa: E402
from paced_server import Load  # noqa: E402

from tensorloop_stream import AsyncTensorloop, Tensorloop  # noqa: E402

now = time.monotonic_ns
PATIENCE = 120
BASE = "the SDK's loop"


@dataclass
class Figures:
    """The microseconds of CPU that a chunk took, and the milliseconds from the write of each to its arrival."""

    cpu: float
    ages: list[float]


@dataclass
class Meter:
    """The CPU of this process from the moment when all streams have their first chunk to that of the last chunk."""

    load: Load
    ages: list[float] = field(default_factory=list)
    spent: float = 0.0
    _opened: int = 0
    _ended: int = 0

    def opened(self) -> None:
        """Count a stream that has its first chunk."""
        self._opened += 1
        if self._opened == self.load.streams:
            gc.collect()
            self.spent = -time.process_time()

    def ended(self) -> None:
        """Count a stream that has its last chunk."""
        self._ended += 1
        if self._ended == self.load.streams:
            self.spent += time.process_time()

    def add(self, sent: list[str], arrived: list[int]) -> None:
        """Add the ages of a stream's chunks, the first of which does not count."""
        assert len(sent) == self.load.chunks
        pairs = zip(sent[1:], arrived[1:], strict=True)
        self.ages += [(after - int(before)) / 1e6 for before, after in pairs]

    @property
    def figures(self) -> Figures:
        assert len(self.ages) == self.load.counted
        return Figures(self.spent / self.load.counted * 1e6, self.ages)


class Way(Protocol):
    """A way of reading."""

    @property
    def name(self) -> str: ...

    def read(self, url: str, load: Load) -> Figures:
        """Read a run."""


@dataclass(frozen=True)
class Sync:
    """One stream in this thread."""

    name: str
    make: Callable[..., Any]
    is_text: bool = False

    def read(self, url: str, load: Load) -> Figures:
        assert load.streams == 1
        meter, sent, arrived, number = Meter(load), list[str](), list[int](), 0
        with self.make(api_key="none", base_url=url, max_retries=0) as client:
            stream = client.chat.completions.create(model=load.model, messages=MESSAGES, stream=True)
            for item in stream.text_stream if self.is_text else stream:
                text = item if self.is_text else item.choices and item.choices[0].delta.content
                if text:
                    arrived.append(now())
                    sent.append(text)
                    number += 1
                    if number == 1:
                        meter.opened()
                    elif number == load.chunks:
                        meter.ended()
        meter.add(sent, arrived)
        return meter.figures


@dataclass(frozen=True)
class Async:
    """All streams in tasks of one event loop."""

    name: str
    make: Callable[..., Any]
    is_text: bool = False
    loop: str = "asyncio"

    def read(self, url: str, load: Load) -> Figures:
        factory: Any = asyncio.new_event_loop
        if self.loop == "uvloop":
            import uvloop

            factory = uvloop.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(asyncio.wait_for(self._read_all(url, load), PATIENCE))

    async def _read_all(self, url: str, load: Load) -> Figures:
        meter = Meter(load)
        async with self.make(api_key="none", base_url=url, max_retries=0, timeout=PATIENCE) as client:
            tasks = []
            for _ in range(load.streams):
                tasks.append(asyncio.create_task(self._read(client, meter)))
                # Starting all at once would block the loop for longer than the SDK's connect timeout.
                await asyncio.sleep(0)
            await asyncio.gather(*tasks)
        return meter.figures

    async def _read(self, client: Any, meter: Meter) -> None:
        load, sent, arrived, number = meter.load, list[str](), list[int](), 0
        stream = await client.chat.completions.create(model=load.model, messages=MESSAGES, stream=True)
        async for item in stream.text_stream if self.is_text else stream:
            text = item if self.is_text else item.choices and item.choices[0].delta.content
            if text:
                arrived.append(now())
                sent.append(text)
                number += 1
                if number == 1:
                    meter.opened()
                elif number == load.chunks:
                    meter.ended()
        meter.add(sent, arrived)


class Node:
    """The SDK of another language in a process of its own, which takes one run after another."""

    def __init__(self, name: str, program: str, folder: Path) -> None:
        self.name = name
        reader = folder / "paced_reader.mjs"
        reader.write_text(Path(__file__).with_name("paced_reader.mjs").read_text("utf-8"), "utf-8")
        self._process = subprocess.Popen(
            [program, str(reader)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder
        )
        self.version: str = self._next()

    def read(self, url: str, load: Load) -> Figures:
        assert self._process.stdin is not None
        asked = {"url": url, "model": load.model, "messages": MESSAGES, **vars(load)}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return Figures(**self._next())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)

    def _next(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


SYNC: list[Way] = [
    Sync(BASE, openai.OpenAI),
    Sync("iterate", Tensorloop),
    Sync("text_stream", Tensorloop, is_text=True),
]
ASYNC: list[Way] = [
    Async(BASE, openai.AsyncOpenAI),
    Async("iterate", AsyncTensorloop),
    Async("text_stream", AsyncTensorloop, is_text=True),
]
UVLOOP: list[Way] = []
if importlib.util.find_spec("uvloop"):
    UVLOOP += [
        Async("iterate, uvloop", AsyncTensorloop, loop="uvloop"),
        Async("text_stream, uvloop", AsyncTensorloop, is_text=True, loop="uvloop"),
    ]


@contextmanager
def serving() -> Iterator[str]:
    """Yield the address of a server in a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name("paced_server.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        assert process.stdin is not None
        process.stdin.close()


def interleaved(ways: list[Way], url: str, load: Load, runs: int, warm_ups: int = 1) -> dict[str, list[Figures]]:
    """Return the figures of each way in each run, in which the ways take turns."""
    found: dict[str, list[Figures]] = {way.name: [] for way in ways}
    for number in range(-warm_ups, runs):
        for way in ways:
            figures = way.read(url, load)
            if number >= 0:
                found[way.name].append(figures)
    return found
