"""Usage, in each of the places where gateways put it."""

from __future__ import annotations

from chunks import ENVELOPE, HELLO, finish, usage

from odd_streams.build import NINE_TOKENS, OPENING, STUB_USAGE, OddStream, answer, litellm, streamed

USAGE = (
    OddStream(
        "usage in a last chunk with `choices: []`",
        "OpenAI with include_usage; openai-agents-js#107",
        streamed(*HELLO, usage()),
        answer(used=NINE_TOKENS),
        about=("usage",),
    ),
    OddStream(
        "one more chunk after the usage chunk",
        "litellm#17136",
        streamed(*HELLO, usage(), {**ENVELOPE, "choices": []}),
        answer(used=NINE_TOKENS),
        about=("usage",),
    ),
    OddStream(
        "usage beside a choice with an empty delta",
        "LiteLLM 1.106.2 capture stub_usage; mlx-dspark#37",
        streamed(*HELLO, {**usage(), "choices": [{"index": 0, "delta": {}}]}),
        answer(used=NINE_TOKENS),
        about=("usage",),
    ),
    OddStream(
        "usage in the finish chunk",
        "DeepSeek, neuron-ai#223",
        streamed(*({**one, "usage": None} for one in HELLO[:3]), {**HELLO[3], "usage": NINE_TOKENS}),
        answer(used=NINE_TOKENS),
        about=("usage",),
    ),
    OddStream(
        "usage of zeros with every chunk, the truth with the last",
        "CLIProxyAPI#3077",
        streamed(
            *({**one, "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}} for one in HELLO[:3]),
            {**HELLO[3], "usage": NINE_TOKENS},
        ),
        answer(used=NINE_TOKENS),
        about=("usage",),
    ),
    OddStream(
        "usage that grows with every chunk",
        "Perplexity, langchain#39924",
        streamed(
            *(
                {**one, "usage": {"prompt_tokens": 7, "completion_tokens": count, "total_tokens": 7 + count}}
                for count, one in zip((0, 1, 2, 2), HELLO, strict=True)
            )
        ),
        answer(used=NINE_TOKENS),
        about=("usage",),
    ),
    OddStream(
        "`usage: {}` with every chunk",
        "litellm#1571",
        streamed(*({**one, "usage": {}} for one in HELLO[:3]), {**HELLO[3], "usage": NINE_TOKENS}),
        answer(used=NINE_TOKENS),
        about=("usage",),
    ),
    OddStream(
        "usage inside the choice",
        "Moonshot, pi#2017",
        streamed(*HELLO[:3], finish(usage=NINE_TOKENS)),
        answer(used=NINE_TOKENS),
        about=("usage",),
    ),
    OddStream(
        "a usage chunk without `choices`",
        "ATOM#1711",
        streamed(*HELLO, {**ENVELOPE, "usage": NINE_TOKENS}),
        answer(used=NINE_TOKENS),
        about=("usage",),
    ),
    OddStream(
        "usage in Groq's own field too",
        "Portkey gateway#1072",
        streamed(
            *HELLO[:3],
            {**HELLO[3], "x_groq": {"id": "req_1", "usage": NINE_TOKENS}},
            usage(),
        ),
        answer(used=NINE_TOKENS, top={"x_groq": {"id": "req_1", "usage": NINE_TOKENS}}),
        about=("usage",),
    ),
    OddStream(
        "usage with fields of the gateway's own",
        "LiteLLM 1.109.1 capture stub_usage",
        streamed(
            *litellm(
                OPENING,
                {"index": 0, "delta": {"content": "Hello"}},
                {"finish_reason": "stop", **OPENING, "delta": {}},
            ),
            {**ENVELOPE, "choices": [], "usage": {**STUB_USAGE, "prompt_tokens_details": {"cached_tokens": 4}}},
        ),
        answer(used={**STUB_USAGE, "prompt_tokens_details": {"cached_tokens": 4}}),
        about=("usage",),
    ),
    OddStream(
        "usage in Groq's own field alone",
        "Groq, langchain#30379",
        streamed(*HELLO[:3], {**HELLO[3], "x_groq": {"id": "req_1", "usage": NINE_TOKENS}}),
        answer(used=NINE_TOKENS, top={"x_groq": {"id": "req_1", "usage": NINE_TOKENS}}),
        about=("usage",),
    ),
    OddStream(
        "usage of zeros after the truth",
        "Portkey gateway#496",
        streamed(
            *HELLO,
            usage(),
            {**ENVELOPE, "choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}},
        ),
        answer(used=NINE_TOKENS),
        about=("usage",),
    ),
    OddStream(
        "usage in two parts, with a total of each",
        "Anthropic through a proxy, llmio#71",
        streamed(
            {**HELLO[0], "usage": {"prompt_tokens": 7, "completion_tokens": 0, "total_tokens": 7}},
            *HELLO[1:],
            {**ENVELOPE, "choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 2, "total_tokens": 2}},
        ),
        answer(used=NINE_TOKENS),
        about=("usage",),
    ),
)
