"""Accumulate ready chunks with another library: python accumulators.py litellm|langchain-openai KIND CHUNKS

Prints a label and microseconds of CPU per chunk, the median of a few runs. `in_memory.py` runs it in an environment
that has the library, which needs nothing else.
"""

from __future__ import annotations

import gc
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from streams_by_kind import chunks_of

RUNS = 3


def litellm(chunks: list[dict[str, Any]]) -> Callable[[], object]:
    """litellm's `stream_chunk_builder` on ready chunks"""
    library: Any = importlib.import_module("litellm")

    ready = [library.ModelResponseStream(**chunk) for chunk in chunks]
    return lambda: library.stream_chunk_builder(ready)


def langchain(chunks: list[dict[str, Any]]) -> Callable[[], object]:
    """langchain-core's message chunks, added up as documented"""
    messages: Any = importlib.import_module("langchain_core.messages")

    def message(choice: dict[str, Any]) -> Any:
        delta = choice["delta"]
        pieces = [
            {"index": piece["index"], "id": piece.get("id"), "type": "tool_call_chunk"}
            | {name: piece["function"].get(name) for name in ("name", "arguments")}
            for piece in delta.get("tool_calls", [])
        ]
        for piece in pieces:
            piece["args"] = piece.pop("arguments")
        reasoning = {"reasoning_content": delta["reasoning_content"]} if "reasoning_content" in delta else {}
        metadata = {"logprobs": choice["logprobs"]} if "logprobs" in choice else {}
        return messages.AIMessageChunk(
            content=delta.get("content", ""),
            tool_call_chunks=pieces,
            additional_kwargs=reasoning,
            response_metadata=metadata,
        )

    ready = [message(chunk["choices"][0]) for chunk in chunks]

    def add() -> object:
        whole = ready[0]
        for one in ready[1:]:
            whole += one
        return whole

    return add


def main() -> None:
    name, kind, size = sys.argv[1:]
    make = {"litellm": litellm, "langchain-openai": langchain}[name]
    way = make(chunks_of(kind, int(size)))
    gc.collect()
    gc.freeze()
    spent = []
    for _ in range(RUNS):
        before = time.process_time()
        way()
        spent.append((time.process_time() - before) / (int(size) + 1) * 1e6)
    print(json.dumps([make.__doc__, statistics.median(spent)]))


if __name__ == "__main__":
    main()
