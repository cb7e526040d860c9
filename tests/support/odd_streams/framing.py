"""Server-sent events: line ends, comments, fields and reads."""

from __future__ import annotations

from chunks import HELLO, finish, sse

from odd_streams.build import HEL, NINE_TOKENS, OddStream, answer, joined_lines, streamed

FRAMING = (
    OddStream(
        "empty `data:`, `retry:` and comment frames",
        "openai-python#2722",
        (b"retry: 3000\n\n", b": keep-alive\n\n", *streamed(*HEL, done=False), b"data:\n\ndata: \n\n", sse(*HELLO[2:])),
        answer(),
    ),
    OddStream(
        "`data:` without the space",
        "Kimi, nullclaw#509",
        tuple(one.replace(b"data: ", b"data:") for one in streamed(*HELLO)),
        answer(),
    ),
    OddStream(
        "CRLF line ends, cut between CR and LF",
        "ccs#1359, vercel/ai#6200",
        (*(part for one in streamed(*HELLO) for part in (one[:-2] + b"\r", b"\n\r\n")),),
        answer(),
    ),
    OddStream(
        "two blank lines between events",
        "anything-llm#1475",
        tuple(one + b"\n" for one in streamed(*HELLO)),
        answer(),
    ),
    OddStream(
        "comments of the gateway before and between",
        "OpenRouter, openai-go#227",
        (b": OPENROUTER PROCESSING\n\n", b": OPENROUTER PROCESSING\n\n", *streamed(*HELLO)),
        answer(),
    ),
    OddStream(
        "a comment of padding in the stream",
        "portkey-python-sdk#370",
        (*streamed(*HEL, done=False), b": L1Gt0UZWbB\n\n", sse(*HELLO[2:])),
        answer(),
    ),
    OddStream(
        "event names, ids and a ping event",
        "by hand, after the standard",
        (
            b"event: ping\ndata: {}\n\n",
            *(b"id: %d\nevent: chunk\n" % number + one for number, one in enumerate(streamed(*HELLO))),
        ),
        answer(),
    ),
    OddStream(
        "a byte order mark",
        "openai-python#3819",
        (b"\xef\xbb\xbf", *streamed(*HELLO)),
        answer(),
    ),
    OddStream(
        "one event over several `data:` lines",
        "by hand, after the standard",
        (
            joined_lines(
                "data: {", 'data: "choices": [', 'data: {"index": 0, "delta": {"content": "Hello"}}', "data: ]}", "", ""
            ),
            sse(finish()),
        ),
        answer(),
    ),
    OddStream("everything in one read", "starlette#3230", (sse(*HELLO),), answer()),
    OddStream(
        "a JSON answer in place of the events",
        "by hand, after 9router#3492",
        (
            joined_lines(
                "{",
                '  "id": "chatcmpl-1",',
                '  "object": "chat.completion",',
                '  "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"},',
                '    "finish_reason": "stop"}],',
                '  "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}',
                "}",
            ),
        ),
        answer(used=NINE_TOKENS),
    ),
)
