"""CPU per chunk, streams in memory, no sockets: python tests/benchmarks/in_memory.py [--kinds] [--svg FILE] [--guard]

`--api responses` measures streams of the Responses API, per event, by kind and length.

Every way of reading takes the same bytes through the same SDK client and a transport in memory. The runs are
interleaved and the median counts, because machines are noisy: compare the ratios of one run, not its figures with
those of another. `--kinds` also measures streams other than text, at three lengths each; `--svg` draws the first
table. `accumulators.py` measures other libraries' accumulation of ready chunks in separate processes, if they are
installed or `compare_peers.py` has made their environments.

`--guard` measures text alone, in a few runs, and fails at half of the claimed ratios: wide enough for any machine.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import bars
import httpx2
import jiter
import openai
from machine import machine
from openai.types.chat import ChatCompletionChunk
from pydantic import TypeAdapter
from response_streams import KINDS as RESPONSE_KINDS, Bench as ResponseBench, Body as ResponseBody
from streams_by_kind import KINDS, chunks_of

from tensorloop_stream import AsyncChatStream, ChatAccumulator, ChatStream

RUNS = 7
# The seconds that another library may take to accumulate 2,000 chunks a few times; some are quadratic.
PATIENCE = 100
# Made by compare_peers.py.
ENVIRONMENTS = Path(__file__).parents[2] / ".recording/peers"
# The ratio of the SDK loop's CPU on text: the README's claim, not the best measured value.
CLAIMED = {"iterating": 18, "text_stream": 40, "final": 40, "async_iterating": 16}
CLAIMED_FOR_RESPONSES = {"iterating": 20, "text_stream": 35, "final": 35, "async_iterating": 16}
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello?"}]}


class Body(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A stream of this kind, one event per read."""

    def __init__(self, kind: str, chunks: int) -> None:
        self.chunks = chunks_of(kind, chunks)
        self.payloads = [json.dumps(chunk, separators=(",", ":")).encode() for chunk in self.chunks]
        self.events = [b"data: " + payload + b"\n\n" for payload in [*self.payloads, b"[DONE]"]]
        self.models = [ChatCompletionChunk.model_validate(chunk) for chunk in self.chunks]

    def __iter__(self) -> Iterator[bytes]:
        yield from self.events

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for event in self.events:
            yield event


class Bench:
    """The ways of reading one stream to its end."""

    def __init__(self, body: Body) -> None:
        def answer(_: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=body)

        transport = httpx2.MockTransport(answer)
        settings: dict[str, Any] = {"api_key": "none", "base_url": "https://gateway.test/v1"}
        self.body = body
        self.client = openai.OpenAI(**settings, http_client=httpx2.Client(transport=transport))
        self.async_client = openai.AsyncOpenAI(**settings, http_client=httpx2.AsyncClient(transport=transport))
        self.validate = TypeAdapter(ChatCompletionChunk).validate_json

    def sdk_loop(self) -> None:
        """The SDK's documented loop"""
        for chunk in self.client.chat.completions.create(**ASK, stream=True):
            assert chunk.choices

    def sdk_helper(self) -> None:
        """The SDK's `.stream()` helper and its final completion"""
        with self.client.chat.completions.stream(**ASK) as stream:
            stream.get_final_completion()

    def iterating(self) -> None:
        """The same loop over a `ChatStream`"""
        with ChatStream(self.client.chat.completions.create(**ASK, stream=True)) as stream:
            for chunk in stream:
                assert chunk.choices

    def text_stream(self) -> None:
        """`ChatStream.text_stream`"""
        with ChatStream(self.client.chat.completions.create(**ASK, stream=True)) as stream:
            for _ in stream.text_stream:
                pass

    def final(self) -> None:
        """`ChatStream.get_final_completion()`"""
        with ChatStream(self.client.chat.completions.create(**ASK, stream=True)) as stream:
            stream.get_final_completion()

    def accumulator(self) -> None:
        """`ChatAccumulator` on ready chunks"""
        accumulator = ChatAccumulator()
        for chunk in self.body.models:
            accumulator.add(chunk)
        assert accumulator.completion.choices

    def async_sdk_loop(self) -> None:
        """The SDK's documented loop, async"""

        async def run() -> None:
            async for chunk in await self.async_client.chat.completions.create(**ASK, stream=True):
                assert chunk.choices

        asyncio.run(run())

    def async_iterating(self) -> None:
        """The same loop over an `AsyncChatStream`"""

        async def run() -> None:
            async with AsyncChatStream(self.async_client.chat.completions.create(**ASK, stream=True)) as stream:
                async for chunk in stream:
                    assert chunk.choices

        asyncio.run(run())

    def json_loads(self) -> None:
        """the floor: `json.loads` of the payloads alone"""
        for payload in self.body.payloads:
            json.loads(payload)

    def jiter(self) -> None:
        """the floor: `jiter.from_json` alone"""
        for payload in self.body.payloads:
            jiter.from_json(payload)

    def pydantic(self) -> None:
        """the floor: pydantic's validation alone"""
        for payload in self.body.payloads:
            self.validate(payload)

    @property
    def ways(self) -> list[Callable[[], None]]:
        return [
            self.sdk_loop,
            self.sdk_helper,
            self.iterating,
            self.text_stream,
            self.final,
            self.accumulator,
            self.async_sdk_loop,
            self.async_iterating,
            self.json_loads,
            self.jiter,
            self.pydantic,
        ]


def measure(bench: Bench | ResponseBench, ways: list[Callable[[], None]]) -> dict[str, list[float]]:
    """Return the CPU of each way in each run, in microseconds per chunk."""
    # The benchmark's own objects are no part of the cost.
    gc.collect()
    gc.freeze()
    spent: dict[str, list[float]] = {way.__name__: [] for way in ways}
    for run in range(RUNS + 1):
        for way in ways:
            before = time.process_time()
            way()
            # The first run warms up.
            if run:
                spent[way.__name__].append((time.process_time() - before) / len(bench.body.chunks) * 1e6)
    return spent


def base_of(way: str) -> str:
    return "async_sdk_loop" if way.startswith("async") else "sdk_loop"


def times_less(spent: dict[str, list[float]], way: str) -> list[float]:
    """Return the ratio of each run: the CPU of the SDK's loop to that of a way."""
    return [base / own for base, own in zip(spent[base_of(way)], spent[way], strict=True)]


def ratio_cells(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.1f} | {min(ratios):.1f} to {max(ratios):.1f}"


def peers(kind: str, size: int) -> dict[str, float]:
    """Return the time of other libraries to accumulate ready chunks, if they are installed and finish."""
    found = {}
    for name, module in (("litellm", "litellm"), ("langchain-openai", "langchain_core")):
        python = ENVIRONMENTS / name / "bin/python"
        here = importlib.util.find_spec(module) is not None
        if here or python.exists():
            command = [
                sys.executable if here else python,
                Path(__file__).with_name("accumulators.py"),
                name,
                kind,
                str(size),
            ]
            # litellm would look for prices in the network.
            offline = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
            with suppress(subprocess.TimeoutExpired):
                run = subprocess.run(command, env=offline, capture_output=True, check=True, timeout=PATIENCE)
                label, figure = json.loads(run.stdout)
                found[label] = figure
    return found


def print_text(spent: dict[str, list[float]], bench: Bench) -> None:
    print("| way of reading | us CPU per chunk | times less than the SDK's loop | range |")
    print("|---|---:|---:|---|")
    for way in bench.ways:
        name = way.__name__
        print(f"| {way.__doc__} | {statistics.median(spent[name]):.1f} | {ratio_cells(times_less(spent, name))} |")
    for label, figure in peers("text", 2000).items():
        print(f"| {label} | {figure:.1f} | {ratio_cells([base / figure for base in spent['sdk_loop']])} |")


def print_kinds() -> None:
    sizes = (500, 2000, 8000)
    for kind in KINDS:
        print(
            f"\n### {kind}\n\n| way of reading | {' | '.join(map(str, sizes))} chunks | times less, at 2000 | range |"
        )
        print(f"|---|{'---:|' * (len(sizes) + 1)}---|")
        columns = []
        for size in sizes:
            bench = Bench(Body(kind, size))
            # The helper is quadratic with logprobs: minutes at 8,000.
            slow = kind.startswith("logprobs") and size > 2001
            ways = [way for way in bench.ways if not (slow and way.__name__ == "sdk_helper")]
            spent = measure(bench, ways)
            column = {way.__doc__ or "": statistics.median(spent[way.__name__]) for way in ways}
            ratios = {way.__doc__ or "": times_less(spent, way.__name__) for way in ways}
            # Adding chunks one to another is quadratic too.
            others = peers(kind, size) if size < 2001 else {}
            column |= others
            ratios |= {label: [base / figure for base in spent["sdk_loop"]] for label, figure in others.items()}
            columns.append((column, ratios))
        for label, in_runs in columns[1][1].items():
            figures = " | ".join(f"{column[label]:.1f}" if label in column else "-" for column, _ in columns)
            print(f"| {label} | {figures} | {ratio_cells(in_runs)} |", flush=True)


def print_responses() -> None:
    for kind in RESPONSE_KINDS:
        print(f"\n### {kind}\n\n| way of reading | 500 | 2000 | 8000 events | times less, at 2000 | range |")
        print("|---|---:|---:|---:|---:|---|")
        columns = []
        for size in (500, 2000, 8000):
            bench = ResponseBench(ResponseBody(kind, size))
            columns.append(measure(bench, bench.ways))
        for way in bench.ways:
            figures = " | ".join(f"{statistics.median(column[way.__name__]):.1f}" for column in columns)
            print(f"| {way.__doc__} | {figures} | {ratio_cells(times_less(columns[1], way.__name__))} |", flush=True)


def draw(medians: dict[str, float], bench: Bench) -> str:
    """Return the table as a plain SVG of bars."""
    ways = [
        way
        for way in bench.ways
        if way.__name__ in {"sdk_helper", "sdk_loop", "iterating", "text_stream", "json_loads"}
    ]
    ways.sort(key=lambda way: -medians[way.__name__])
    rows = [
        (
            (way.__doc__ or "").replace("`", "").removeprefix("the floor: "),
            medians[way.__name__],
            f"{medians[way.__name__]:.1f}",
            not way.__name__.startswith(("sdk", "json")),
        )
        for way in ways
    ]
    return bars.draw("CPU per chunk, in microseconds (less is better)", rows, labels=345)


def guard(bench: Bench | ResponseBench, claims: dict[str, int]) -> None:
    """Fail if a way costs more than twice the claimed time."""
    ways = [way for way in bench.ways if way.__name__ in {*claims, *map(base_of, claims)}]
    spent = measure(bench, ways)
    slow = []
    for name, claimed in claims.items():
        times = statistics.median(times_less(spent, name))
        print(f"{name}: {times:.1f} times less CPU than the SDK's loop; claimed {claimed}, at least {claimed / 2:g}")
        if times < claimed / 2:
            slow.append(name)
    if slow:
        raise SystemExit(f"slower than half of what is claimed: {', '.join(slow)}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kinds", action="store_true")
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--guard", action="store_true")
    parser.add_argument("--api", choices=["chat", "responses"], default="chat")
    arguments = parser.parse_args()
    print(f"{machine('openai', 'pydantic', 'httpx2')}; {RUNS} interleaved runs\n")
    bench = Bench(Body("text", 2000))
    if arguments.guard:
        guard(bench, CLAIMED)
        print("\nThe Responses API:")
        guard(ResponseBench(ResponseBody("OpenAI's text", 2000)), CLAIMED_FOR_RESPONSES)
        return
    if arguments.api == "responses":
        print_responses()
        return
    spent = measure(bench, bench.ways)
    print_text(spent, bench)
    if arguments.svg:
        medians = {name: statistics.median(times) for name, times in spent.items()}
        arguments.svg.write_text(draw(medians, bench), "utf-8")
    if arguments.kinds:
        print_kinds()


if __name__ == "__main__":
    main()
