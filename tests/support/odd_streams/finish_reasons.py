"""Finish reasons: unusual, repeated, early and empty ones."""

from __future__ import annotations

from chunks import ENVELOPE, HELLO, chunk, finish, text

from odd_streams.build import HEL, OPENING, OddStream, answer, litellm, streamed

FINISH_REASONS = (
    OddStream(
        '`finish_reason: ""` until the last chunk',
        "ollama#4357, sglang#3912",
        streamed(
            *({**ENVELOPE, "choices": [{**one["choices"][0], "finish_reason": ""}]} for one in HELLO[:3]), finish()
        ),
        answer(),
    ),
    OddStream(
        "a finish reason in every chunk",
        "litellm#2195",
        streamed(
            chunk({"role": "assistant", "content": "Hel"}, finish="stop"),
            text("lo", finish="stop"),
        ),
        answer(),
    ),
    OddStream(
        "the finish reason with the last text, and then again",
        "openrag#462, sglang#8417",
        streamed(*HEL, text("lo", finish="stop"), finish()),
        answer(),
    ),
    OddStream(
        "a finish reason after the reasoning, before the text",
        "open-webui#16377",
        streamed(
            chunk({"role": "assistant", "reasoning_content": "Hm"}, finish="stop"),
            *HELLO[1:],
        ),
        answer(reasoning_content="Hm"),
        reasoning="Hm",
    ),
    OddStream(
        "`finishReason` in place of the finish reason",
        "Gemini, llmcord#84",
        streamed(*HELLO[:3], chunk({"role": "assistant"}, finishReason="stop")),
        answer("Hello", None, choice={"finishReason": "stop"}),
    ),
    OddStream(
        "a finish reason outside the SDK's list",
        "Together AI",
        streamed(*HELLO[:3], finish("eos")),
        answer("Hello", "eos"),
    ),
    OddStream(
        "finish reason `error` and nothing else said of it",
        "OpenRouter, houston#1211",
        streamed(*HEL, finish("error")),
        answer("Hel", "error"),
    ),
    OddStream(
        "a choice that is cut short",
        "LiteLLM 1.106.2 capture stub_length",
        streamed(
            *litellm(
                OPENING,
                {"index": 0, "delta": {"content": "Cut off he"}},
                {"finish_reason": "length", "index": 0, "delta": {}},
            )
        ),
        answer("Cut off he", "length"),
    ),
)
