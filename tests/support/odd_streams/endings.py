"""Endings: truncated, silent and reset streams, with and without `[DONE]`."""

from __future__ import annotations

import httpx2
from chunks import HELLO, event, tool

from odd_streams.build import HEL, ROLE, OddStream, Silence, answer, call, call_delta, streamed

ENDINGS = (
    OddStream(
        "no finish reason, clean end",
        "litellm#40260, pi#4558",
        streamed(*HELLO[:3], done=False),
        answer("Hello", None),
        error="StreamTruncatedError",
    ),
    OddStream("empty stream", "pi#2537", (), {"choices": []}, error="StreamTruncatedError"),
    OddStream(
        "connection cut",
        "any network",
        (*streamed(*HEL, done=False), httpx2.RemoteProtocolError("peer closed connection without sending complete")),
        answer("Hel", None),
        error="StreamConnectionError",
    ),
    OddStream(
        "only `: ping` for longer than the timeout",
        "opencode#37580; LiteLLM 1.106.2 capture auth_ping_gap",
        (*streamed(*HEL, done=False), Silence(10, pings=True)),
        answer("Hel", None),
        error="StreamTimeoutError",
        idle_timeout=0.3,
    ),
    OddStream(
        "text after `[DONE]`",
        "Portkey's hook_results, docs-core#999",
        (*streamed(*HELLO), event({"hook_results": {"after_request_hooks": []}}), b"not even JSON\n\n"),
        answer(),
    ),
    OddStream(
        "a connection left open after `[DONE]`",
        "any network",
        (*streamed(*HELLO), Silence(10)),
        answer(),
    ),
    OddStream(
        "`[DONE]` and no finish reason",
        "oh-my-pi#9433, sglang#4550",
        streamed(*HELLO[:3]),
        answer("Hello", None),
    ),
    OddStream(
        "no `[DONE]`, but a finish reason",
        "Perplexity, api-discussion#209",
        streamed(*HELLO, done=False),
        answer(),
    ),
    OddStream(
        "`[DONE]` without its blank line",
        "llama-server b10603, apogee#139",
        (*streamed(*HELLO, done=False), b"data: [DONE]\n"),
        answer(),
    ),
    OddStream(
        "a page of HTML in place of the events",
        "qwen-code#6465",
        (b"<html>\n<head><title>Blocked</title></head>\n\n<body>Blocked by policy</body>\n</html>\n",),
        {"choices": []},
        error="StreamTruncatedError",
    ),
    OddStream(
        "a clean end in the middle of an event",
        "tracker#544",
        (*streamed(*HEL, done=False), b'data: {"choices":[{"index":0,"delta":{"con'),
        answer("Hel", None),
        error="StreamTruncatedError",
    ),
    OddStream(
        "a clean end in the middle of a tool call",
        "open-interpreter#291, vllm#53269",
        streamed(
            ROLE,
            tool(call_delta("", index=0, id="a", name="f", type="function")),
            tool(call_delta('{"city":', index=0)),
            done=False,
        ),
        answer(None, None, tool_calls=[call("a", "f", '{"city":')]),
        error="StreamTruncatedError",
    ),
    OddStream(
        "a connection reset after the finish reason",
        "any network",
        (*streamed(*HELLO, done=False), httpx2.ReadError("Connection reset by peer")),
        answer(),
        error="StreamConnectionError",
    ),
    OddStream(
        "the role and then nothing",
        "tracker#544",
        streamed(ROLE, done=False),
        answer("", None),
        error="StreamTruncatedError",
    ),
)
