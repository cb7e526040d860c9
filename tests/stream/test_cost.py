"""The cost of a chunk in instructions and memory blocks: counted, so equal on every machine."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from chunks import chunk, event, tool
from clients import CHAT, Body, sync_client

import tensorloop_stream
from tensorloop_stream import ChatStream

PACKAGE = str(Path(tensorloop_stream.__file__).parent)
FEW, MANY = 50, 150


def text(number: int) -> dict[str, Any]:
    return {**chunk({"content": f" word{number}"}), "system_fingerprint": "fp"}


def padded(number: int) -> dict[str, Any]:
    return {**text(number), "obfuscation": "aB3dE5gH7jK9"[: number % 12 + 1]}


def reasoning(number: int) -> dict[str, Any]:
    return {**chunk({"reasoning_content": f" word{number}"}), "system_fingerprint": "fp"}


def arguments(number: int) -> dict[str, Any]:
    delta: dict[str, Any] = {"index": 0, "function": {"arguments": f"{number}"}, "type": "function"}
    return {**tool(delta), "system_fingerprint": "fp"}


def logprobs(number: int) -> dict[str, Any]:
    entry = {"token": "x", "logprob": -1.0, "bytes": [1], "top_logprobs": []}
    return chunk({"content": f" word{number}"}, logprobs={"content": [entry], "refusal": None})


def body(make: Callable[[int], Any], size: int) -> Body:
    call = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    head = chunk({"role": "assistant", "content": "x", "reasoning_content": "x", "tool_calls": [call]})
    return Body([b": hello\n\n", event(head), *(event(make(number)) for number in range(size)), b"data: [DONE]\n\n"])


def opened(make: Callable[[int], Any], size: int) -> ChatStream:
    return ChatStream(sync_client(body(make, size)).chat.completions.create(**CHAT))


def iterate(stream: ChatStream) -> Iterator[Any]:
    yield from stream


def texts(stream: ChatStream) -> Iterator[Any]:
    yield from stream.text_stream


def final(stream: ChatStream) -> Iterator[Any]:
    yield stream.until_done()


def instructions(stream: ChatStream, read: Callable[[ChatStream], Iterator[Any]]) -> int:
    """Return how many Python instructions of the package reading the stream takes."""
    count = 0

    def step(frame: FrameType, what: str, argument: Any) -> Any:
        nonlocal count
        count += what == "opcode"
        return step

    def call(frame: FrameType, what: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return step

    before = sys.gettrace()
    sys.settrace(call)
    try:
        for _ in read(stream):
            pass
    finally:
        sys.settrace(before)
    return count


def per_chunk(make: Callable[[int], Any], read: Callable[[ChatStream], Iterator[Any]]) -> float:
    counts = []
    for size in (FEW, MANY):
        with opened(make, size) as stream:
            counts.append(instructions(stream, read))
    return (counts[1] - counts[0]) / (MANY - FEW)


# The limits are a fifth above the counts of Python 3.11; other versions differ by less.
@pytest.mark.parametrize(
    ("make", "read", "limit"),
    [
        (text, texts, 380),
        (text, final, 360),
        (text, iterate, 600),
        (padded, final, 410),
        (padded, iterate, 670),
        (reasoning, final, 450),
        (reasoning, iterate, 700),
        (arguments, final, 400),
        (arguments, iterate, 770),
        (logprobs, final, 480),
        (logprobs, iterate, 730),
    ],
)
def test_a_chunk_takes_few_instructions(make: Any, read: Any, limit: int) -> None:
    """A chunk takes a few hundred Python instructions at most, whatever else the machine does."""
    count = per_chunk(make, read)

    assert 0 < count <= limit


@pytest.mark.parametrize(("make", "limit"), [(text, 1), (reasoning, 1), (arguments, 1), (logprobs, 1.5)])
def test_a_chunk_leaves_few_memory_blocks(make: Any, limit: float) -> None:
    """The stream keeps the text of a chunk, its time in eight bytes, and the bytes of log probabilities."""
    blocks = []
    for size in (FEW, MANY):
        with opened(make, 4 * size) as stream:
            gc.collect()
            before = sys.getallocatedblocks()
            stream.until_done()
            gc.collect()
            blocks.append(sys.getallocatedblocks() - before)

    assert (blocks[1] - blocks[0]) / (4 * (MANY - FEW)) <= limit
