"""The envelope of a chunk: ids, filter results and fields of the gateway's own."""

from __future__ import annotations

from chunks import ENVELOPE, HELLO, chunk, finish, sse, text, usage

from odd_streams.build import HEL, NINE_TOKENS, ROLE, SAFE, OddStream, answer, message, streamed

ENVELOPES = (
    OddStream(
        "leading chunk with empty choices (Azure filter results)",
        "meilisearch#6477",
        streamed(
            {
                "choices": [],
                "created": 0,
                "id": "",
                "model": "",
                "object": "",
                "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": SAFE}],
            },
            *HELLO,
        ),
        answer(
            top={
                "id": "chatcmpl-1",
                "model": "gpt-4o-mini",
                "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": SAFE}],
            }
        ),
    ),
    OddStream(
        "`choices: null`",
        "pydantic-ai#5170",
        streamed(*HEL, {**ENVELOPE, "choices": None}, *HELLO[2:]),
        answer(),
    ),
    OddStream(
        "fingerprint only first",
        "neuron-ai#223",
        streamed({**ROLE, "system_fingerprint": "fp_1"}, *({**one, "system_fingerprint": None} for one in HELLO[1:])),
        answer(top={"system_fingerprint": "fp_1"}),
        about=("system_fingerprint",),
    ),
    OddStream(
        "service tier only last",
        "LiteLLM 1.106.2 capture stub_extras",
        streamed(*({**one, "service_tier": None} for one in HELLO), {**usage(), "service_tier": "default"}),
        answer(used=NINE_TOKENS, top={"service_tier": "default"}),
        about=("service_tier",),
    ),
    OddStream(
        "a new id in every chunk",
        "litellm#1571, foundry-local#221",
        streamed(*({**one, "id": f"chatcmpl-{number}"} for number, one in enumerate(HELLO, 1))),
        answer(top={"id": "chatcmpl-1"}),
    ),
    OddStream(
        "a trailing filter chunk without delta and with an empty id",
        "langchain#18977, autogen#6465",
        streamed(
            *HELLO,
            {
                "id": "",
                "object": "",
                "created": 0,
                "model": "",
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": None,
                        "content_filter_results": SAFE,
                        "content_filter_offsets": {"check_offset": 44, "start_offset": 44, "end_offset": 198},
                    }
                ],
                "usage": None,
            },
        ),
        answer(
            choice={
                "content_filter_results": SAFE,
                "content_filter_offsets": {"check_offset": 44, "start_offset": 44, "end_offset": 198},
            },
            top={"id": "chatcmpl-1", "model": "gpt-4o-mini"},
        ),
    ),
    OddStream(
        "filter results beside every delta",
        "Azure OpenAI, openai-python#1677",
        streamed(*HEL, text("lo", content_filter_results=SAFE), finish(content_filter_results={})),
        answer(choice={"content_filter_results": SAFE}),
    ),
    OddStream(
        "citations repeated in every chunk",
        "Perplexity, vercel/ai#3554",
        streamed(*({**one, "citations": ["https://a.test/", "https://b.test/"]} for one in HELLO)),
        answer(top={"citations": ["https://a.test/", "https://b.test/"]}),
        about=("citations",),
    ),
    OddStream(
        "the message so far beside every delta, and no `[DONE]`",
        "Perplexity, api-discussion#209",
        streamed(
            *(
                {
                    **ENVELOPE,
                    "choices": [
                        {
                            "index": 0,
                            "finish_reason": reason,
                            "message": message(so_far),
                            "delta": {"role": "assistant", "content": new},
                        }
                    ],
                }
                for new, so_far, reason in (("Hel", "Hel", None), ("lo", "Hello", None), ("", "Hello", "stop"))
            ),
            done=False,
        ),
        answer(),
    ),
    OddStream(
        "the whole completion once more at the end",
        "MiniMax M3, GoModel#1068",
        streamed(
            *HELLO,
            {
                **ENVELOPE,
                "object": "chat.completion",
                "choices": [{"index": 0, "finish_reason": "stop", "message": message()}],
                "usage": NINE_TOKENS,
            },
        ),
        answer(used=NINE_TOKENS),
        about=("usage",),
    ),
    OddStream(
        "a warning of the gateway's own as an event",
        "langwatch/tasks#700",
        streamed(*HELLO, {"warning": "provider_did_not_report_usage_on_stream"}),
        answer(),
    ),
    OddStream(
        "`data: null` between the chunks",
        "AgentRouter, kilocode#3083",
        (*streamed(*HEL, done=False), b"data: null\n\n", sse(*HELLO[2:])),
        answer(),
    ),
    OddStream(
        "fields of the gateway's own in every place",
        "LiteLLM 1.106.2 capture stub_extras",
        streamed(
            {
                **ENVELOPE,
                "choices": [
                    {
                        "index": 0,
                        "delta": {
                            "provider_specific_fields": {"x": 1},
                            "content": "",
                            "role": "assistant",
                            "annotations": [],
                        },
                    }
                ],
                "citations": ["https://example.test/a"],
                "obfuscation": "abc",
            },
            chunk({"content": "cited", "weird_delta_field": {"y": 2}}),
            {**finish(), "x_groq": {"id": "r1"}},
        ),
        answer(
            "cited",
            provider_specific_fields={"x": 1},
            annotations=[],
            weird_delta_field={"y": 2},
            top={"citations": ["https://example.test/a"], "x_groq": {"id": "r1"}},
        ),
        about=("provider_specific_fields", "weird_delta_field", "citations"),
    ),
    OddStream(
        "padding in every chunk",
        "OpenAI's include_obfuscation",
        streamed(*({**one, "obfuscation": "aB3" * number} for number, one in enumerate(HELLO))),
        answer(),
    ),
    OddStream(
        "flags and an empty role in every chunk",
        "MiniMax-M2.5#2",
        streamed(
            chunk({"role": "assistant", "content": "Hel", "name": "MiniMax AI", "audio_content": ""}),
            chunk({"role": "", "content": "lo", "name": "MiniMax AI", "audio_content": ""}),
            {**finish(), "input_sensitive": False, "output_sensitive": False, "usage": {"total_tokens": 9}},
        ),
        answer(name="MiniMax AI", audio_content="", used={"total_tokens": 9}),
        about=("role", "name"),
    ),
    OddStream(
        "`message` in place of `delta`, in every chunk",
        "WebAI-to-API#55",
        streamed(
            *({**ENVELOPE, "choices": [{"index": 0, "message": message(one)}]} for one in ("Hel", "lo")),
            {**ENVELOPE, "choices": [{"index": 0, "message": message(""), "finish_reason": "stop"}]},
        ),
        answer(),
    ),
    OddStream(
        "the index of the choice counts the chunks",
        "TGI#1648",
        streamed(
            *(
                chunk({"role": "assistant", "content": one}, index=number)
                for number, one in enumerate(("Hel", "lo"), 1)
            ),
            chunk({}, index=3, finish="stop"),
        ),
        answer(),
        needs_request=True,
    ),
)
