"""Text, roles, refusals, images and the other fields of a delta."""

from __future__ import annotations

from chunks import ENVELOPE, HELLO, chunk, event, finish, sse, text

from odd_streams.build import HEL, IMAGE, OPENING, ROLE, OddStream, answer, litellm, message, streamed

TEXT = (
    OddStream(
        "role repeated in every chunk",
        "openai-python#2129",
        streamed(
            chunk({"role": "assistant", "content": "Hel"}),
            chunk({"role": "assistant", "content": "lo"}),
            chunk({"role": "assistant", "content": ""}, finish="stop"),
        ),
        answer(),
        about=("role",),
    ),
    OddStream(
        "`delta: null`",
        "openai-python#1677",
        streamed(*HEL, {**ENVELOPE, "choices": [{"index": 0, "delta": None}]}, *HELLO[2:]),
        answer(),
    ),
    OddStream(
        "annotations in two chunks",
        "OpenAI's search models; LiteLLM 1.106.2 capture stub_extras",
        streamed(
            *HEL,
            chunk({"annotations": [{"type": "url_citation", "url_citation": {"url": "https://a.test/"}}]}),
            chunk({"annotations": [{"type": "url_citation", "url_citation": {"url": "https://b.test/"}}]}),
            *HELLO[2:],
        ),
        answer(
            annotations=[
                {"type": "url_citation", "url_citation": {"url": "https://a.test/"}},
                {"type": "url_citation", "url_citation": {"url": "https://b.test/"}},
            ]
        ),
        about=("annotations",),
    ),
    OddStream(
        "a number in every delta",
        "Together AI",
        streamed(ROLE, chunk({"content": "Hel", "token_id": 5}), chunk({"content": "lo", "token_id": 7}), finish()),
        answer(token_id=7),
        about=("token_id",),
    ),
    OddStream(
        "null in every field of every delta",
        "SGLang, sglang#4550",
        streamed(
            chunk(
                {"role": "assistant", "content": "", "reasoning_content": None, "tool_calls": None}, matched_stop=None
            ),
            *(
                chunk({"role": None, "content": part, "reasoning_content": None, "tool_calls": None}, matched_stop=None)
                for part in ("Hel", "lo")
            ),
            chunk({"role": None, "content": None, "tool_calls": None}, finish="stop", matched_stop=151645),
        ),
        answer(choice={"matched_stop": 151645}),
    ),
    OddStream(
        "an image in the content",
        "Gemini through one-api, Laisky/one-api#44",
        streamed(*HELLO[:3], chunk({"role": "assistant", "content": [IMAGE]}), finish()),
        answer([{"type": "text", "text": "Hello"}, IMAGE]),
        about=("content",),
    ),
    OddStream(
        "images beside the content",
        "go-openrouter#27",
        streamed(*HELLO[:3], chunk({"content": "", "images": [IMAGE]}), chunk({"images": [IMAGE]}), finish()),
        answer(images=[IMAGE, IMAGE]),
        about=("images",),
    ),
    OddStream(
        "a refusal in pieces",
        "OpenAI's API reference",
        streamed(
            chunk({"role": "assistant", "content": None, "refusal": ""}),
            chunk({"refusal": "I can't"}),
            chunk({"refusal": " do that."}),
            finish(),
        ),
        answer(None, refusal="I can't do that."),
        about=("refusal",),
    ),
    OddStream(
        "a voice in pieces",
        "OpenAI's API reference",
        streamed(
            chunk({"role": "assistant", "audio": {"id": "audio_1", "transcript": "Hel"}}),
            chunk({"audio": {"transcript": "lo"}}),
            chunk({"audio": {"data": "QUJD"}}),
            chunk({"audio": {"data": "REVG", "expires_at": 1795359999}}),
            finish(),
        ),
        answer(
            None,
            audio={"id": "audio_1", "transcript": "Hello", "data": "QUJDREVG", "expires_at": 1795359999},
        ),
        about=("audio",),
    ),
    OddStream(
        "an emoji whose halves come in two chunks",
        "eliza#30904, rakazo#416",
        (
            *streamed(ROLE, done=False),
            event(text("a?")).replace(b"?", rb"\ud83d"),
            event(text("?b")).replace(b"?", rb"\ude00"),
            sse(finish()),
        ),
        answer("a😀b"),
    ),
    OddStream(
        "line separators inside the JSON",
        "LiteLLM 1.106.2 capture stub_splitutf8",
        streamed(
            *litellm(
                OPENING,
                {"index": 0, "delta": {"content": "👨‍👩‍👧 "}},
                {"index": 0, "delta": {"content": "\u2028line-sep\u2028 "}},
                {"index": 0, "delta": {"content": "nel\u0085"}},
                {"finish_reason": "stop", "index": 0, "delta": {}},
            )
        ),
        answer("👨‍👩‍👧 \u2028line-sep\u2028 nel\u0085"),
    ),
    OddStream(
        "a whole answer in one chunk, without `delta`",
        "by hand",
        streamed({**ENVELOPE, "choices": [{"index": 0, "message": message(), "finish_reason": "stop"}]}),
        answer(),
    ),
)
