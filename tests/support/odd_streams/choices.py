"""Several choices, and the log probabilities beside them."""

from __future__ import annotations

from chunks import ENVELOPE, chunk, finish, text

from odd_streams.build import ROLE, OddStream, answer, litellm, message, streamed

CHOICES = (
    OddStream(
        "`n=2`, choice 1 first",
        "OpenAI's API reference",
        streamed(
            chunk({"role": "assistant", "content": "B"}, index=1),
            chunk({"role": "assistant", "content": "A"}),
            text("b", index=1),
            text("a"),
            finish("length", index=1),
            finish(),
        ),
        {
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": message("Aa")},
                {"index": 1, "finish_reason": "length", "message": message("Bb")},
            ]
        },
    ),
    OddStream(
        "no index of the choice",
        "Cloudflare, vercel/ai#4031",
        streamed(
            {**ENVELOPE, "choices": [{"delta": {"content": "Hel"}}]},
            {**ENVELOPE, "choices": [{"delta": {"content": "lo"}}]},
            {**ENVELOPE, "choices": [{"delta": {}, "finish_reason": "stop"}]},
        ),
        answer(),
    ),
    OddStream(
        "`n=2`, finish reason of choice 1 missing",
        "LiteLLM 1.106.2 capture stub_ntwo",
        streamed(
            *litellm(
                {"index": 0, "delta": {"content": "", "role": "assistant"}},
                {"index": 0, "delta": {"content": "A0 "}},
                {"index": 1, "delta": {"content": "B0 "}},
                {"index": 1, "delta": {"content": "B1"}},
                {"index": 0, "delta": {"content": "A1"}},
                {"finish_reason": "stop", "index": 0, "delta": {}},
            )
        ),
        {
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": message("A0 A1")},
                {"index": 1, "finish_reason": None, "message": message("B0 B1")},
            ]
        },
    ),
    OddStream(
        "`n=2`, both choices in one chunk",
        "sglang#8417",
        streamed(
            {
                **ENVELOPE,
                "choices": [
                    {"index": 0, "delta": {"role": "assistant", "content": "A"}, "finish_reason": None},
                    {"index": 1, "delta": {"role": "assistant", "content": "B"}, "finish_reason": None},
                ],
            },
            {
                **ENVELOPE,
                "choices": [
                    {"index": 0, "delta": {}, "finish_reason": "stop"},
                    {"index": 1, "delta": {}, "finish_reason": "stop"},
                ],
            },
        ),
        {
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": message("A")},
                {"index": 1, "finish_reason": "stop", "message": message("B")},
            ]
        },
    ),
    OddStream(
        "logprobs in every chunk",
        "LiteLLM 1.106.2 capture stub_logprobs",
        streamed(
            ROLE,
            *(
                text(
                    token, logprobs={"content": [{"token": token, "logprob": -0.11, "bytes": None, "top_logprobs": []}]}
                )
                for token in ("Hi", " é")
            ),
            finish(),
        ),
        answer(
            "Hi é",
            choice={
                "logprobs": {
                    "content": [
                        {"token": "Hi", "logprob": -0.11, "bytes": None, "top_logprobs": []},
                        {"token": " é", "logprob": -0.11, "bytes": None, "top_logprobs": []},
                    ]
                }
            },
        ),
        about=("logprobs",),
    ),
    OddStream(
        "logprobs of the legacy completions",
        "vllm#3179",
        streamed(
            *(
                text(token, logprobs={"tokens": [token], "token_logprobs": [-0.5], "top_logprobs": [{token: -0.5}]})
                for token in ("Hel", "lo")
            ),
            finish(),
        ),
        answer(
            choice={
                "logprobs": {
                    "tokens": ["Hel", "lo"],
                    "token_logprobs": [-0.5, -0.5],
                    "top_logprobs": [{"Hel": -0.5}, {"lo": -0.5}],
                }
            }
        ),
    ),
)
