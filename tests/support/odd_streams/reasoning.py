"""Reasoning, in each of the forms that gateways give it."""

from __future__ import annotations

from chunks import HELLO, chunk, finish

from odd_streams.build import PARIS, ROLE, OddStream, answer, call_delta, calling, litellm, streamed

SUMMARY = (
    {"type": "summary_text", "text": "Let me ", "signature": ""},
    {"type": "summary_text", "text": "see.", "signature": "c2ln"},
)
REASONING = (
    OddStream(
        "`reasoning_content`",
        "LiteLLM 1.106.2 and 1.109.1 capture stub_reasoning",
        streamed(
            *litellm(
                {"index": 0, "delta": {"reasoning_content": "", "role": "assistant"}},
                {"index": 0, "delta": {"reasoning_content": "Think"}},
                {"index": 0, "delta": {"reasoning_content": " step"}},
                {"index": 0, "delta": {"content": "The"}},
                {"index": 0, "delta": {"content": " answer"}},
                {"finish_reason": "stop", "index": 0, "delta": {}},
            )
        ),
        answer("The answer", reasoning_content="Think step"),
        reasoning="Think step",
        about=("reasoning",),
    ),
    OddStream(
        "`reasoning`",
        "aider#3086",
        streamed(
            chunk({"role": "assistant", "content": "", "reasoning": "Think"}),
            chunk({"role": "assistant", "content": "", "reasoning": " step"}),
            *HELLO[1:],
        ),
        answer(reasoning="Think step"),
        reasoning="Think step",
        about=("reasoning",),
    ),
    OddStream(
        "`thinking_blocks`",
        "litellm#29428",
        streamed(
            chunk(
                {
                    "role": "assistant",
                    "reasoning_content": "Let",
                    "thinking_blocks": [{"type": "thinking", "thinking": "Let", "signature": None}],
                }
            ),
            chunk(
                {
                    "reasoning_content": " me see",
                    "thinking_blocks": [{"type": "thinking", "thinking": " me see", "signature": None}],
                }
            ),
            chunk({"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "c2ln"}]}),
            *HELLO[1:],
        ),
        answer(
            reasoning_content="Let me see",
            thinking_blocks=[{"type": "thinking", "thinking": "Let me see", "signature": "c2ln"}],
        ),
        reasoning="Let me see",
        about=("reasoning", "thinking_blocks"),
    ),
    OddStream(
        "`reasoning_details`",
        "agno#5802",
        streamed(
            chunk(
                {
                    "role": "assistant",
                    "reasoning": "Let",
                    "reasoning_details": [
                        {"type": "reasoning.text", "text": "Let", "format": "anthropic-claude-v1", "index": 0}
                    ],
                }
            ),
            chunk(
                {
                    "reasoning": " me",
                    "reasoning_details": [
                        {"type": "reasoning.text", "text": " me", "format": "anthropic-claude-v1", "index": 0}
                    ],
                }
            ),
            chunk(
                {
                    "reasoning_details": [
                        {"type": "reasoning.text", "signature": "RXQ4", "format": "anthropic-claude-v1", "index": 0}
                    ]
                }
            ),
            *HELLO[1:],
        ),
        answer(
            reasoning="Let me",
            reasoning_details=[
                {
                    "type": "reasoning.text",
                    "text": "Let me",
                    "format": "anthropic-claude-v1",
                    "index": 0,
                    "signature": "RXQ4",
                }
            ],
        ),
        reasoning="Let me",
        about=("reasoning", "reasoning_details"),
    ),
    OddStream(
        "content as a list: thoughts, then text",
        "Mistral's Magistral, litellm#16272",
        streamed(
            ROLE,
            chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "'s a greeting"}]}]}),
            chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": ", I should"}]}]}),
            chunk({"content": [{"type": "text", "text": "Hel"}]}),
            chunk({"content": [{"type": "text", "text": "lo"}]}),
            finish(),
        ),
        answer(
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "'s a greeting, I should"}]},
                {"type": "text", "text": "Hello"},
            ]
        ),
        reasoning="'s a greeting, I should",
        about=("reasoning",),
    ),
    OddStream(
        "content as a list of thoughts, then as strings",
        "openinference#3761, symfony/ai#2422",
        streamed(
            ROLE,
            chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]}),
            *HELLO[1:],
        ),
        answer([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}, {"type": "text", "text": "Hello"}]),
        reasoning="Hm",
        about=("reasoning",),
    ),
    OddStream(
        "reasoning as an object",
        "Bedrock through Envoy, ai-gateway#1222",
        streamed(
            ROLE,
            chunk({"role": "assistant", "reasoning_content": {"text": "I nee"}}),
            chunk({"role": "assistant", "reasoning_content": {"text": "d to"}}),
            chunk({"role": "assistant", "reasoning_content": {"signature": "c2ln"}}),
            *HELLO[1:],
        ),
        answer(reasoning_content={"text": "I need to", "signature": "c2ln"}),
        reasoning="I need to",
        about=("reasoning",),
    ),
    OddStream(
        "the same reasoning under two names",
        "claude-code-router#1205",
        streamed(
            chunk({"role": "assistant", "reasoning": "Think", "reasoning_content": "Think"}),
            chunk({"reasoning": " step", "reasoning_content": " step"}),
            *HELLO[1:],
        ),
        answer(reasoning="Think step", reasoning_content="Think step"),
        reasoning="Think step",
        about=("reasoning",),
    ),
    OddStream(
        "empty first reasoning and null content",
        "DeepSeek, opencrabs#1128",
        streamed(
            chunk({"role": "assistant", "content": None, "reasoning_content": ""}),
            chunk({"content": None, "reasoning_content": "Hm"}),
            chunk({"content": "Hello", "reasoning_content": None}),
            finish(),
        ),
        answer(reasoning_content="Hm"),
        reasoning="Hm",
        about=("reasoning",),
    ),
    OddStream(
        "reasoning details without an index, signature last",
        "OpenRouter ai-sdk-provider#423",
        streamed(
            chunk(
                {
                    "role": "assistant",
                    "reasoning": "Let",
                    "reasoning_details": [{"type": "reasoning.text", "text": "Let"}],
                }
            ),
            chunk({"reasoning": " me", "reasoning_details": [{"type": "reasoning.text", "text": " me"}]}),
            chunk({"reasoning_details": [{"type": "reasoning.text", "signature": "ZXlK"}]}),
            *HELLO[1:],
        ),
        answer(
            reasoning="Let me",
            reasoning_details=[{"type": "reasoning.text", "text": "Let me", "signature": "ZXlK"}],
        ),
        reasoning="Let me",
        about=("reasoning", "reasoning_details"),
    ),
    OddStream(
        "encrypted reasoning details of a tool call",
        "req_llm#300",
        streamed(
            chunk(
                {
                    "role": "assistant",
                    "reasoning_details": [{"type": "reasoning.encrypted", "data": "QUJD", "id": "a", "index": 0}],
                    "tool_calls": [call_delta(PARIS, index=0, id="a", name="f", type="function")],
                }
            ),
            finish("tool_calls"),
        ),
        calling(
            ("a", "f", PARIS),
            reasoning_details=[{"type": "reasoning.encrypted", "data": "QUJD", "id": "a", "index": 0}],
        ),
        about=("reasoning_details",),
    ),
    OddStream(
        "a redacted thinking block between two thoughts",
        "Anthropic through LiteLLM, litellm#29428",
        streamed(
            chunk({"role": "assistant", "thinking_blocks": [{"type": "thinking", "thinking": "a", "signature": ""}]}),
            chunk({"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "c2ln"}]}),
            chunk({"thinking_blocks": [{"type": "redacted_thinking", "data": "QUJD"}]}),
            chunk({"thinking_blocks": [{"type": "thinking", "thinking": "b", "signature": "Z2lz"}]}),
            *HELLO[1:],
        ),
        answer(
            thinking_blocks=[
                {"type": "thinking", "thinking": "a", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "QUJD"},
                {"type": "thinking", "thinking": "b", "signature": "Z2lz"},
            ]
        ),
        reasoning="ab",
        about=("thinking_blocks",),
    ),
    OddStream(
        "`reasoning_text` in pieces",
        "GitHub Copilot, litellm#35021",
        streamed(
            chunk({"role": "assistant", "reasoning_text": "Let "}),
            chunk({"reasoning_text": "me "}),
            chunk({"reasoning_text": "see."}),
            chunk({"reasoning_opaque": "c2ln"}),
            *HELLO[1:],
        ),
        answer(reasoning_text="Let me see.", reasoning_opaque="c2ln"),
        reasoning="Let me see.",
        about=("reasoning_text",),
    ),
    OddStream(
        "a summary of reasoning in the content",
        "Databricks, davidkhala/models",
        streamed(
            chunk({"role": "assistant", "content": [{"type": "reasoning", "summary": [SUMMARY[0]]}]}),
            chunk({"content": [{"type": "reasoning", "summary": [SUMMARY[1]]}]}),
            chunk({"content": [{"type": "text", "text": "Hel"}]}),
            chunk({"content": [{"type": "text", "text": "lo"}]}),
            finish(),
        ),
        answer(
            [
                {
                    "type": "reasoning",
                    "summary": [{"type": "summary_text", "text": "Let me see.", "signature": "c2ln"}],
                },
                {"type": "text", "text": "Hello"},
            ]
        ),
        reasoning="Let me see.",
        about=("content",),
    ),
)
