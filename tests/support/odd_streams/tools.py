"""Tool calls, with and without index, id and type, and the legacy function call."""

from __future__ import annotations

from chunks import chunk, finish, text, tool

from odd_streams.build import PARIS, ROLE, OddStream, answer, call, call_delta, calling, litellm, streamed

TOOLS = (
    OddStream(
        "tool piece without `index`, one call",
        "ollama#7881",
        streamed(
            ROLE,
            tool(call_delta("", id="a", name="f", type="function")),
            tool(call_delta('{"city":')),
            tool(call_delta('"Paris"}')),
            finish("tool_calls"),
        ),
        calling(("a", "f", PARIS)),
    ),
    OddStream(
        "tool piece without `index`, two calls",
        "openai-python#2806",
        streamed(
            ROLE,
            tool(call_delta(PARIS, id="a", name="f", type="function")),
            tool(call_delta("{}", id="b", name="g", type="function")),
            finish("tool_calls"),
        ),
        calling(("a", "f", PARIS), ("b", "g", "{}")),
    ),
    OddStream(
        "two calls, both `index: 0`, different ids",
        "ollama#15457, vercel/ai#14277",
        streamed(
            ROLE,
            tool(call_delta(PARIS, index=0, id="a", name="f", type="function")),
            tool(call_delta('{"city":"Rome"}', index=0, id="b", name="f", type="function")),
            finish("tool_calls"),
        ),
        calling(("a", "f", PARIS), ("b", "f", '{"city":"Rome"}')),
    ),
    OddStream(
        "id and name repeated per piece",
        "spring-ai#5974",
        streamed(
            ROLE,
            tool(call_delta("", index=0, id="a", name="f", type="function")),
            tool(call_delta('{"city":', index=0, id="a", name="f", type="function")),
            tool(call_delta('"Paris"}', index=0, id="a", name="f", type="function")),
            finish("tool_calls"),
        ),
        calling(("a", "f", PARIS)),
    ),
    OddStream(
        "first tool index 1",
        "litellm#5231, pipecat#5342",
        streamed(
            ROLE,
            text("Let me look."),
            tool(call_delta("", index=1, id="a", name="f", type="function")),
            tool(call_delta(PARIS, index=1)),
            finish("tool_calls"),
        ),
        answer("Let me look.", "tool_calls", tool_calls=[call("a", "f", PARIS)]),
    ),
    OddStream(
        "tool indices 0 and 2",
        "pipecat#5342",
        streamed(
            ROLE,
            tool(call_delta(PARIS, index=0, id="a", name="f", type="function")),
            tool(call_delta("{}", index=2, id="b", name="g", type="function")),
            finish("tool_calls"),
        ),
        calling(("a", "f", PARIS), ("b", "g", "{}")),
    ),
    OddStream(
        "arguments as an object",
        "TGI#2136",
        streamed(
            ROLE,
            tool(
                {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": {"city": "Paris"}}}
            ),
            finish("tool_calls"),
        ),
        calling(("a", "f", '{"city": "Paris"}')),
    ),
    OddStream(
        "`function: null` continuation",
        "haystack#9581",
        streamed(
            ROLE,
            tool(call_delta(PARIS, index=0, id="a", name="f", type="function")),
            tool({"index": 0, "id": "", "type": "function", "function": None}),
            finish("tool_calls"),
        ),
        calling(("a", "f", PARIS)),
    ),
    OddStream(
        "custom tool",
        "OpenAI's API reference",
        streamed(
            ROLE,
            tool({"index": 0, "id": "a", "type": "custom", "custom": {"name": "sql", "input": "SELECT "}}),
            tool({"index": 0, "custom": {"input": "1"}}),
            finish("tool_calls"),
        ),
        answer(
            None,
            "tool_calls",
            tool_calls=[{"id": "a", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}],
        ),
    ),
    OddStream(
        "whole tool call in one chunk, finish in the same chunk",
        "vllm-ascend#8327",
        streamed(
            chunk(
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [call_delta(PARIS, index=0, id="a", name="f", type="function")],
                },
                finish="tool_calls",
            )
        ),
        calling(("a", "f", PARIS)),
    ),
    OddStream(
        "parallel calls, interleaved",
        "Qwen-Agent#943",
        streamed(
            ROLE,
            tool(
                call_delta("", index=0, id="a", name="f", type="function"),
                call_delta("", index=1, id="b", name="g", type="function"),
            ),
            tool(call_delta('{"city":', index=0)),
            tool(call_delta("{", index=1)),
            tool(call_delta('"Paris"}', index=0), call_delta("}", index=1)),
            finish("tool_calls"),
        ),
        calling(("a", "f", PARIS), ("b", "g", "{}")),
    ),
    OddStream(
        "type repeated in every piece, no null",
        "LiteLLM 1.106.2 capture stub_toolpar",
        streamed(
            *litellm(
                {"index": 0, "delta": {"role": "assistant"}},
                {"index": 0, "delta": {"tool_calls": [call_delta("", name="f", id="a", type="function", index=0)]}},
                {"index": 0, "delta": {"tool_calls": [call_delta(PARIS, type="function", index=0)]}},
                {"index": 0, "delta": {"tool_calls": [call_delta("", name="g", id="b", type="function", index=1)]}},
                {"index": 0, "delta": {"tool_calls": [call_delta("{}", type="function", index=1)]}},
                {"finish_reason": "tool_calls", "index": 0, "delta": {}},
            ),
        ),
        calling(("a", "f", PARIS), ("b", "g", "{}")),
    ),
    OddStream(
        "empty ids and null types after the first piece",
        "qwen-ai-provider#7, spring-ai#4790",
        streamed(
            ROLE,
            tool(call_delta("", index=0, id="a", name="f", type="function")),
            tool({"index": 0, "id": "", "type": None, "function": {"name": "", "arguments": '{"city":'}}),
            tool({"index": 0, "id": None, "type": None, "function": {"name": None, "arguments": '"Paris"}'}}),
            tool({"index": 0, "id": "", "type": "function", "function": {"name": None, "arguments": None}}),
            finish("tool_calls"),
        ),
        calling(("a", "f", PARIS)),
    ),
    OddStream(
        "another id at the same index, again for each call",
        "SGLang, lmdeploy#3412",
        streamed(
            ROLE,
            tool(call_delta("", index=0, id="0", name="f", type="function")),
            tool(call_delta(PARIS, index=0, id="0", type="function")),
            tool(call_delta("", index=0, id="1", name="g", type="function")),
            tool(call_delta("{}", index=0, id="1", type="function")),
            finish("tool_calls"),
        ),
        calling(("0", "f", PARIS), ("1", "g", "{}")),
    ),
    OddStream(
        "index 0 for each call, ids only on the first pieces",
        "vLLM, lmdeploy#3412",
        streamed(
            ROLE,
            tool(call_delta("", index=0, id="a", name="f", type="function")),
            tool(call_delta(PARIS, index=0, id="", type="function")),
            tool(call_delta("", index=0, id="b", name="g", type="function")),
            tool(call_delta("{}", index=0, id="", type="function")),
            finish("tool_calls"),
        ),
        calling(("a", "f", PARIS), ("b", "g", "{}")),
    ),
    OddStream(
        "another id after the first piece of a call",
        "Poolside, pool#9",
        streamed(
            ROLE,
            tool(call_delta("", index=0, id="call-1", name="f", type="function")),
            tool(call_delta('{"city":', index=0, id="chatcmpl-tool-2", type="function")),
            tool(call_delta('"Paris"}', index=0, id="chatcmpl-tool-2", type="function")),
            finish("tool_calls"),
        ),
        calling(("call-1", "f", PARIS)),
    ),
    OddStream(
        "no id at all",
        "vllm#18412",
        streamed(
            ROLE,
            tool(call_delta("", index=0, name="f", type="function")),
            tool(call_delta(PARIS, index=0)),
            finish("tool_calls"),
        ),
        calling((None, "f", PARIS)),
    ),
    OddStream(
        "an id that is a number",
        "aish#200",
        streamed(ROLE, tool(call_delta(PARIS, index=0, id=7, name="f", type="function")), finish("tool_calls")),
        calling(("7", "f", PARIS)),
    ),
    OddStream(
        "two calls in one list without index and id",
        "oh-my-pi#4417",
        streamed(ROLE, tool(call_delta(PARIS, name="f"), call_delta("{}", name="g")), finish("tool_calls")),
        calling((None, "f", PARIS), (None, "g", "{}")),
    ),
    OddStream(
        "two calls without arguments, index and id",
        "oh-my-pi#4417",
        streamed(ROLE, tool(call_delta("", name="f"), call_delta("", name="g")), finish("tool_calls")),
        calling((None, "f", ""), (None, "g", "")),
    ),
    OddStream(
        "`tool_calls` without the list",
        "TGI#2949",
        streamed(
            chunk(
                {
                    "role": "assistant",
                    "tool_calls": {
                        "index": 0,
                        "id": "",
                        "type": "function",
                        "function": {"name": "f", "arguments": ""},
                    },
                }
            ),
            chunk(
                {
                    "tool_calls": {
                        "index": 0,
                        "id": "",
                        "type": "function",
                        "function": {"name": None, "arguments": PARIS},
                    }
                }
            ),
            finish("tool_calls"),
        ),
        calling((None, "f", PARIS)),
    ),
    OddStream(
        "`tool_calls: []` beside the text",
        "foundry-local#144",
        streamed(
            *(chunk({"role": "assistant", "content": part, "tool_calls": []}) for part in ("Hel", "lo")), finish()
        ),
        answer(),
    ),
    OddStream(
        "`tool_calls` and finish reason `stop`",
        "Gemini, python-genai#2868",
        streamed(
            chunk(
                {"role": "assistant", "tool_calls": [call_delta(PARIS, id="a", name="f", type="function")]},
                finish="stop",
            ),
        ),
        calling(("a", "f", PARIS), finish_reason="stop"),
    ),
    OddStream(
        "a thought signature in the call",
        "Gemini, open-webui/computer#224",
        streamed(
            ROLE,
            tool(
                call_delta(
                    PARIS,
                    id="a",
                    name="f",
                    type="function",
                    extra_content={"google": {"thought_signature": "EjQK"}},
                )
            ),
            finish(),
        ),
        answer(
            None,
            tool_calls=[call("a", "f", PARIS, extra_content={"google": {"thought_signature": "EjQK"}})],
        ),
        about=("extra_content",),
    ),
    OddStream(
        "a thought signature in a piece of its own",
        "Gemini, open-webui/computer#224",
        streamed(
            ROLE,
            tool(call_delta('{"city":', id="a", name="f", type="function")),
            tool(call_delta('"Paris"}')),
            tool({"extra_content": {"google": {"thought_signature": "EjQK"}}}),
            finish(),
        ),
        answer(
            None,
            tool_calls=[call("a", "f", PARIS, extra_content={"google": {"thought_signature": "EjQK"}})],
        ),
        about=("extra_content",),
    ),
    OddStream(
        "the legacy function call",
        "OpenAI's API reference",
        streamed(
            chunk({"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}}),
            chunk({"function_call": {"arguments": '{"city":'}}),
            chunk({"function_call": {"arguments": '"Paris"}'}}),
            finish("function_call"),
        ),
        answer(None, "function_call", function_call={"name": "f", "arguments": PARIS}),
        about=("function_call",),
    ),
    OddStream(
        "the legacy function call beside the tool call",
        "LiteLLM 1.106.2 in front of llama.cpp",
        streamed(
            ROLE,
            chunk(
                {
                    "tool_calls": [call_delta('{"city":', index=0, id="a", name="f", type="function")],
                    "function_call": {"name": "f", "arguments": '{"city":'},
                }
            ),
            chunk(
                {
                    "tool_calls": [call_delta('"Paris"}', index=0, id="a", name="f", type="function")],
                    "function_call": {"name": "f", "arguments": '"Paris"}'},
                }
            ),
            finish("tool_calls"),
        ),
        calling(("a", "f", PARIS), function_call={"name": "f", "arguments": PARIS}),
    ),
    OddStream(
        "a call cut by the token limit",
        "vllm#53269",
        streamed(
            ROLE,
            tool(call_delta("", index=0, id="a", name="f", type="function")),
            tool(call_delta('{"city":"Par', index=0)),
            finish("length"),
        ),
        calling(("a", "f", '{"city":"Par'), finish_reason="length"),
    ),
    OddStream(
        "a name in fragments",
        "openclaw#127603, continue#5849",
        streamed(
            ROLE,
            tool(call_delta("", index=0, id="a", name="get_", type="function")),
            tool(call_delta(index=0, name="weather")),
            tool(call_delta(PARIS, index=0)),
            finish("tool_calls"),
        ),
        calling(("a", "get_weather", PARIS)),
    ),
    OddStream(
        "three whole calls, all at index 0, without ids",
        "hermes-agent#62937, unsloth#9807",
        streamed(
            ROLE,
            tool(call_delta(PARIS, index=0, name="f", type="function")),
            tool(call_delta('{"city":"Rome"}', index=0, name="f", type="function")),
            tool(call_delta('{"city":"Oslo"}', index=0, name="f", type="function")),
            finish("tool_calls"),
        ),
        calling((None, "f", PARIS), (None, "f", '{"city":"Rome"}'), (None, "f", '{"city":"Oslo"}')),
    ),
    OddStream(
        "`{}` before the arguments",
        "Bedrock, openai-agents-js#712",
        streamed(
            ROLE,
            tool(call_delta("{}", index=0, id="a", name="f", type="function")),
            tool(call_delta('{"city":', index=0)),
            tool(call_delta('"Paris"}', index=0)),
            finish("tool_calls"),
        ),
        calling(("a", "f", PARIS)),
    ),
    OddStream(
        "the arguments again, whole",
        "opencodex#361",
        streamed(
            ROLE,
            tool(call_delta("", index=0, id="a", name="f", type="function")),
            tool(call_delta(PARIS, index=0)),
            tool(call_delta(PARIS, index=0)),
            finish("tool_calls"),
        ),
        calling(("a", "f", PARIS)),
    ),
    OddStream(
        "arguments that grow in every piece",
        "DeepSeek through Qianfan, hermes-agent#35592",
        streamed(
            ROLE,
            *(tool(call_delta(PARIS[:end], index=0, id="a", name="f", type="function")) for end in (2, 9, 16)),
            finish("tool_calls"),
        ),
        calling(("a", "f", PARIS)),
    ),
    OddStream(
        "a call of an answer that was cut for want of resources",
        "DeepSeek, agenc-core#2492",
        streamed(
            ROLE,
            tool(call_delta("{}", index=0, id="a", name="f", type="function")),
            finish("insufficient_system_resource"),
        ),
        calling(("a", "f", "{}"), finish_reason="insufficient_system_resource"),
    ),
)
