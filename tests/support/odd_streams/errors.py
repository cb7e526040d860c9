"""Errors that the gateway sends, and events that are not JSON."""

from __future__ import annotations

from chunks import DONE, ENVELOPE, HELLO, chunk, event, finish, sse, text

from odd_streams.build import HEL, ROLE, OddStream, answer, joined_lines, litellm_error, streamed

ERRORS = (
    OddStream(
        '`data: {"error": ...}`',
        "open-octo#910, agent-os#2214",
        (*streamed(*HEL, done=False), event({"error": {"message": "The server had an error", "code": "server_error"}})),
        answer("Hel", None),
        error="StreamProviderError",
        code="server_error",
    ),
    OddStream(
        "`event: error` with a bare message",
        "litellm#39748",
        (*streamed(*HEL, done=False), b"event: error\ndata: upstream is gone\n\n"),
        answer("Hel", None),
        error="StreamProviderError",
    ),
    OddStream(
        "bad JSON",
        "sub2api#1471",
        (*streamed(*HEL, done=False), b'data: {"id":"chatcmpl-1","choi\n\n', DONE),
        answer("Hel", None),
        error="StreamDecodeError",
    ),
    OddStream(
        "cut UTF-8",
        "openless#413",
        (*streamed(*HEL, done=False), b'data: {"choices":[{"index":0,"delta":{"content":"Z\xc3"}}]}\n\n', DONE),
        answer("Hel", None),
        error="StreamDecodeError",
    ),
    OddStream(
        "an error and a clean end",
        "LiteLLM 1.106.2 capture stub_errevent",
        (*streamed(*HEL, done=False), litellm_error("litellm.APIConnectionError: The server had an error", None)),
        answer("Hel", None),
        error="StreamProviderError",
        code="500",
    ),
    OddStream(
        "`[DONE]` after an error",
        "LiteLLM 1.109.1 capture stub_errevent",
        (
            *streamed(*HEL, done=False),
            litellm_error("litellm.APIConnectionError: The server had an error", "internal_server_error"),
            DONE,
        ),
        answer("Hel", None),
        error="StreamProviderError",
        code="500",
    ),
    OddStream(
        "a rate limit in the middle",
        "LiteLLM 1.106.2 capture stub_errevent429",
        (*streamed(*HEL, done=False), litellm_error("Rate limit reached mid-stream", "throttling_error", "429")),
        answer("Hel", None),
        error="StreamProviderError",
        code="429",
    ),
    OddStream(
        "an upstream without a finish reason, told as an error",
        "LiteLLM 1.109.1 capture stub_nofinish",
        (
            *streamed(*HELLO[:3], done=False),
            litellm_error("Stream ended before a finish_reason was received", "internal_server_error"),
            DONE,
        ),
        answer("Hello", None),
        error="StreamProviderError",
        code="500",
    ),
    OddStream(
        "an error as the first event",
        "llama.cpp#14566",
        (
            event(
                {"error": {"code": 400, "message": "the request exceeds the available context size", "type": "exceed"}}
            ),
        ),
        {"choices": []},
        error="StreamProviderError",
        code="400",
    ),
    OddStream(
        "an `error:` field of the server's own, then `[DONE]`",
        "llama.cpp b5966, coddy-agent#106",
        (joined_lines('error: {"code":400,"message":"the request exceeds the available context size"}', "", ""), DONE),
        {"choices": []},
        error="StreamProviderError",
        code="400",
    ),
    OddStream(
        "an error that is a string",
        "TGI, huggingface_hub#2514",
        (
            *streamed(*HEL, done=False),
            event({"error": "Input validation error: too many tokens", "error_type": "validation"}),
        ),
        answer("Hel", None),
        error="StreamProviderError",
    ),
    OddStream(
        "an error beside a finish reason",
        "OpenRouter, agent-os#2214",
        (
            *streamed(*HEL, done=False),
            event(
                {
                    **chunk({"content": ""}, finish="error"),
                    "error": {"code": "server_error", "message": "Provider disconnected unexpectedly"},
                }
            ),
            DONE,
        ),
        answer("Hel", None),
        error="StreamProviderError",
        code="server_error",
    ),
    OddStream(
        "an error with empty choices",
        "OpenRouter, OmniRoute#8210",
        (
            event({**ENVELOPE, "choices": [], "error": {"code": 502, "message": "Worker request limit reached"}}),
            DONE,
        ),
        {"choices": []},
        error="StreamProviderError",
        code="502",
    ),
    OddStream(
        "an error object without an envelope",
        "by hand, after vLLM's ErrorResponse",
        (
            *streamed(*HEL, done=False),
            event({"object": "error", "message": "out of memory", "type": "InternalServerError", "code": 500}),
            DONE,
        ),
        answer("Hel", None),
        error="StreamProviderError",
        code="500",
    ),
    OddStream(
        "an error code in place of the choices, then `[DONE]`",
        "FastChat's openai_api_server, FastChat#3160",
        (*streamed(*HEL, done=False), event({"text": "NETWORK ERROR DUE TO HIGH TRAFFIC", "error_code": 50001}), DONE),
        answer("Hel", None),
        error="StreamProviderError",
        code="50001",
    ),
    OddStream(
        "a tool call that the gateway could not parse",
        "Groq, tensorzero#1893",
        (
            *streamed(ROLE, done=False),
            event(
                {
                    "error": {
                        "message": "Failed to call a function.",
                        "type": "invalid_request_error",
                        "code": "tool_use_failed",
                        "failed_generation": "",
                    }
                }
            ),
        ),
        answer("", None),
        error="StreamProviderError",
        code="tool_use_failed",
    ),
    OddStream(
        "`event: error` with an object",
        "sub2api#1471",
        (
            *streamed(*HEL, done=False),
            joined_lines(
                "event: error",
                'data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
                "",
                "",
            ),
        ),
        answer("Hel", None),
        error="StreamProviderError",
    ),
    OddStream(
        "an error outside of the events, pretty-printed",
        "Gemini and Vertex AI, bifrost#5262",
        (
            *streamed(*HEL, done=False),
            joined_lines(
                "{",
                '  "error": {',
                '    "code": 429,',
                '    "message": "Resource has been exhausted",',
                '    "status": "RESOURCE_EXHAUSTED"',
                "  }",
                "}",
                "",
            ),
        ),
        answer("Hel", None),
        error="StreamProviderError",
        code="429",
    ),
    OddStream(
        "a last error event without its blank line",
        "by hand",
        (*streamed(*HEL, done=False), b'data: {"error": {"message": "gone", "code": "502"}}'),
        answer("Hel", None),
        error="StreamProviderError",
        code="502",
    ),
    OddStream(
        "an error in words in place of JSON",
        "crane-serve, Crane#121",
        (*streamed(*HEL, done=False), b"data: error: engine failed\n\n", DONE),
        answer("Hel", None),
        error="StreamDecodeError",
    ),
    OddStream(
        "`data:` twice in front of a chunk",
        "new-api#5367, openclaw#97474",
        (*streamed(*HEL, done=False), b"data: " + event(text("lo")), sse(finish())),
        answer("Hel", None),
        error="StreamDecodeError",
    ),
    OddStream(
        "a status other than 0 beside empty choices, then `[DONE]`",
        "MiniMax, cherry-studio#11287",
        (event({"id": "x", "choices": None, "base_resp": {"status_code": 1002, "status_msg": "rate limit"}}), DONE),
        {"choices": []},
        error="StreamProviderError",
        code="1002",
    ),
    OddStream(
        "a detail in place of the choices, then `[DONE]`",
        "FastAPI, ragflow#17292",
        (*streamed(*HEL, done=False), event({"detail": "rate limit"}), DONE),
        answer("Hel", None),
        error="StreamProviderError",
    ),
    OddStream(
        "a failure with a list of errors",
        "by hand, after Cloudflare's documentation",
        (
            event({"result": None, "success": False, "errors": [{"code": 7009, "message": "Upstream failed"}]}),
            DONE,
        ),
        {"choices": []},
        error="StreamProviderError",
        code="7009",
    ),
    OddStream(
        "a message and a code in place of the choices",
        "by hand, after DashScope's documentation",
        (*streamed(*HEL, done=False), event({"code": "InvalidParameter", "message": "Range of input length"}), DONE),
        answer("Hel", None),
        error="StreamProviderError",
        code="InvalidParameter",
    ),
    OddStream(
        "an error message and type beside `choices: null`",
        "hermes-agent#65631",
        (
            event({**ENVELOPE, "choices": None, "error_type": "BadRequestError", "error_message": "context length"}),
            DONE,
        ),
        {"choices": []},
        error="StreamProviderError",
    ),
    OddStream(
        "an error in an array, without a field name",
        "Google, python-aiplatform#5010",
        (*streamed(*HEL, done=False), b'[{\n  "error": {\n    "code": 429,\n    "message": "exhausted"\n  }\n}\n]\n'),
        answer("Hel", None),
        error="StreamProviderError",
        code="429",
    ),
    OddStream(
        "an error inside the choice",
        "OpenRouter, verifiers#2600",
        (
            *streamed(*HEL, done=False),
            event(chunk({"content": ""}, finish="error", error={"code": 502, "message": "Provider disconnected"})),
            DONE,
        ),
        answer("Hel", None),
        error="StreamProviderError",
        code="502",
    ),
    OddStream(
        "warnings beside a good answer",
        "by hand, the counterpart of the errors above",
        streamed(
            {**ROLE, "detail": "deprecated", "message": "use another model", "code": "W1", "errors": ["slow"]},
            {
                **text("Hello"),
                "base_resp": {"status_code": 0, "status_msg": ""},
                "error": {"code": None, "message": ""},
            },
            {"choices": [], "success": True, "errors": [], "code": 0, "message": "ok", "error": None},
            finish(),
        ),
        answer("Hello"),
    ),
    OddStream(
        "`[DONE]` and nothing else",
        "lemonade#2826, vercel/ai#1517",
        (b": hi\n\n", DONE),
        {"choices": []},
        error="StreamTruncatedError",
    ),
)
