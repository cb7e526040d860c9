"""A stream as Anthropic's Messages API sends it, with thinking: LiteLLM turns it into chat chunks."""

import json
from typing import Any


def _event(payload: dict[str, Any]) -> bytes:
    return f"event: {payload['type']}\ndata: {json.dumps(payload)}\n\n".encode()


def _block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[bytes]:
    return [
        _event({"type": "content_block_start", "index": index, "content_block": start}),
        *(_event({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas),
        _event({"type": "content_block_stop", "index": index}),
    ]


_MESSAGE: dict[str, Any] = {
    "id": "msg_scripted",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 42, "output_tokens": 1},
}

EVENTS = (
    _event({"type": "message_start", "message": _MESSAGE}),
    *_block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "A cache is "},
        {"type": "thinking_delta", "thinking": "a copy kept near its reader."},
        {"type": "signature_delta", "signature": "c2NyaXB0ZWQgc2lnbmF0dXJl"},
    ),
    *_block(1, {"type": "redacted_thinking", "data": "c2NyaXB0ZWQgcmVkYWN0aW9u"}),
    *_block(
        2,
        {"type": "text", "text": ""},
        {"type": "text_delta", "text": "Because reading nearby"},
        {"type": "text_delta", "text": " is faster."},
    ),
    _event(
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 24},
        }
    ),
    _event({"type": "message_stop"}),
)
