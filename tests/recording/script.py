"""Scripts of the scripted upstream."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One answer, streamed as ``deltas`` and whole as ``message``, or an error ``status`` before it begins."""

    deltas: tuple[Mapping[str, Any], ...] = ()
    message: Mapping[str, Any] = field(default_factory=dict)
    finish_reason: str = "stop"
    end: Literal["done", "finish with the last delta", "error event", "cut", "nothing"] = "done"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    error: Mapping[str, Any] = field(default_factory=dict)

    def events(self) -> Iterator[bytes]:
        """Yield the stream, one event at a time, up to the place where ``end`` stops it."""
        if self.end == "nothing":
            return
        *first, last = self.deltas
        for delta in first:
            yield _event(_chunk(delta))
        yield _event(_chunk(last, self.finish_reason if self.end == "finish with the last delta" else None))
        if self.end == "error event":
            yield _event({"error": self.error})
        if self.end == "done":
            yield _event(_chunk({}, self.finish_reason))
        if self.end in {"done", "finish with the last delta"}:
            yield b"data: [DONE]\n\n"

    def whole(self) -> bytes:
        """Return the answer to the same request without ``stream``."""
        message = {"role": "assistant", "content": None} | dict(self.message)
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        usage = {"prompt_tokens": 20, "completion_tokens": len(self.deltas), "total_tokens": 20 + len(self.deltas)}
        return _json(_envelope("chat.completion") | {"choices": [choice], "usage": usage})


def _envelope(kind: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-scripted",
        "object": kind,
        "created": int(time.time()),
        "model": "gpt-4o-mini",
        "system_fingerprint": "fp_scripted",
    }


def _chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": dict(delta), "logprobs": None, "finish_reason": finish_reason}
    return _envelope("chat.completion.chunk") | {"choices": [choice]}


def _event(payload: Mapping[str, Any]) -> bytes:
    return b"data: " + _json(payload) + b"\n\n"


def _json(payload: Mapping[str, Any]) -> bytes:
    # Unescaped, as most hosts send it: U+2028 and similar characters reach the client unchanged.
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
