"""The chunks of the benchmarks in memory, as LiteLLM sends them; needs no library."""

from __future__ import annotations

from typing import Any

# The envelope of cassettes/chat/long.yaml.
ENVELOPE = {
    "id": "chatcmpl-N7D2YuYgJuZtLsDNXa9cs8G0Jq5T1ExJ",
    "created": 1795359264,
    "model": "gpt-4o-mini",
    "object": "chat.completion.chunk",
    "system_fingerprint": "b10069-178a6c449",
}


def choices_of(kind: str, number: int) -> list[Any]:
    """Return the choices of the chunk with this number, as LiteLLM sends them."""
    word = f" word{number % 97}"
    probability = {"token": word, "logprob": -0.5, "bytes": list(word.encode())}
    if kind == "tool arguments":
        piece: dict[str, Any] = {"index": 0, "function": {"arguments": word}}
        if number == 0:
            piece |= {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
        return [{"index": 0, "delta": {"tool_calls": [piece]}}]
    if kind == "logprobs, top 5":
        logprob = {**probability, "top_logprobs": [probability] * 5}
        return [{"index": 0, "delta": {"content": word}, "logprobs": {"content": [logprob], "refusal": None}}]
    if kind == "n = 4":
        return [{"index": number % 4, "delta": {"content": word}}]
    return [{"index": 0, "delta": {"reasoning_content" if kind == "reasoning" else "content": word}}]


KINDS = ("text", "text, padded", "tool arguments", "logprobs, top 5", "reasoning", "n = 4")


def chunks_of(kind: str, size: int) -> list[dict[str, Any]]:
    """Return this number of chunks of a kind, and the last one."""
    choices = [choices_of(kind, number) for number in range(size)]
    ends = range(4 if kind == "n = 4" else 1)
    choices.append([{"index": index, "delta": {}, "finish_reason": "stop"} for index in ends])
    chunks = [{**ENVELOPE, "choices": each} for each in choices]
    if kind == "text, padded":
        # OpenAI's padding against traffic analysis, which LiteLLM forwards.
        for number, chunk in enumerate(chunks):
            chunk["obfuscation"] = "aB3dE5gH7jK9"[: number % 12 + 1]
    return chunks
