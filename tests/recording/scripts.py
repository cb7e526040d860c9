"""What the scripted upstream answers: what hosts really send and the small model cannot be made to."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
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
        """The stream, one event at a time, up to where ``end`` lets it go."""
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
        """The same answer to a request without ``stream``."""
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
    # Unescaped, as most hosts send it: U+2028 and the like reach the client raw.
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def _text(*pieces: str, name: str = "content") -> tuple[dict[str, Any], ...]:
    return ({"role": "assistant", name: ""}, *({name: piece} for piece in pieces))


def _call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _call_pieces(index: int, call: Mapping[str, Any], pieces: Iterable[str]) -> Iterator[dict[str, Any]]:
    opening = {"name": call["function"]["name"], "arguments": ""}
    yield {"tool_calls": [{"index": index, "id": call["id"], "type": "function", "function": opening}]}
    for piece in pieces:
        yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _repeated(call: Mapping[str, Any], pieces: Iterable[str]) -> Iterator[dict[str, Any]]:
    for piece in pieces:
        function = {"name": call["function"]["name"], "arguments": piece}
        whole = {"index": 0, "id": call["id"], "type": "function", "function": function}
        yield {"tool_calls": [whole], "function_call": function}


_ROLE = {"role": "assistant", "content": None}
_WEATHER = _call("call_weather", "get_weather", '{"city":"Zürich"}')
_WEATHER_PIECES = ('{"', "city", '":"', "Zür", "ich", '"}')
_TIME = _call("call_time", "get_time", '{"time_zone":"Asia/Tokyo"}')
_TIME_PIECES = ('{"time_', 'zone":"', "Asia/", 'Tokyo"}')

_LANGUAGES = (
    "日本語", "のキャッシュ。", " 한국어", " हिन्दी", " العربية",
    " e\u0301 n\u0303",  # a letter and its combining mark
    " 👩\u200d💻", "🌊", "🏖\ufe0f",
    " line\u2028separator", " paragraph\u2029separator", " next\x85line.",
)  # fmt: skip
_THOUGHTS = ("A cache is", " a copy kept", " near", " its reader.")
_ANSWER = ("Because", " reading", " nearby", " is", " faster.")
_REFUSAL = ("I'm", " sorry", ",", " I", " can't", " help", " with", " that", ".")

SCRIPTS = {
    "non_ascii": Script(deltas=_text(*_LANGUAGES)),
    "forced_call": Script(
        deltas=(_ROLE, *_call_pieces(0, _WEATHER, _WEATHER_PIECES)),
        message={"tool_calls": [_WEATHER]},
        finish_reason="tool_calls",
    ),
    "parallel_calls": Script(
        deltas=(_ROLE, *_call_pieces(0, _WEATHER, _WEATHER_PIECES), *_call_pieces(1, _TIME, _TIME_PIECES)),
        message={"tool_calls": [_WEATHER, _TIME]},
        finish_reason="tool_calls",
    ),
    "repeated_ids": Script(
        deltas=(_ROLE, *_repeated(_WEATHER, _WEATHER_PIECES)),
        finish_reason="tool_calls",
    ),
    "whole_call_in_one_chunk": Script(
        deltas=({"role": "assistant", "content": "", "tool_calls": [{"index": 0} | _WEATHER]},),
        finish_reason="tool_calls",
        end="finish with the last delta",
    ),
    "reasoning_content": Script(
        deltas=(*_text(*_THOUGHTS, name="reasoning_content"), *({"content": piece} for piece in _ANSWER)),
        message={"content": "".join(_ANSWER), "reasoning_content": "".join(_THOUGHTS)},
    ),
    "refusal": Script(
        deltas=_text(*_REFUSAL, name="refusal"),
        message={"refusal": "".join(_REFUSAL)},
    ),
    "content_filter": Script(
        deltas=_text("First", ",", " take", " the"),
        message={"content": "First, take the"},
        finish_reason="content_filter",
    ),
    "mid_stream_error": Script(
        deltas=_text("Cach", "es", " forget"),
        end="error event",
        error={
            "message": "The server had an error while processing your request",
            "type": "server_error",
            "param": None,
            "code": None,
        },
    ),
    "mid_stream_cut": Script(deltas=_text("Cach", "es", " remember"), end="cut"),
    "empty_upstream": Script(end="nothing"),
    "rate_limit": Script(
        status=429,
        headers={
            "retry-after": "3",
            "x-ratelimit-limit-requests": "60",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "3s",
        },
        error={
            "message": "Rate limit reached for requests",
            "type": "requests",
            "param": None,
            "code": "rate_limit_exceeded",
        },
    ),
    "unavailable": Script(
        status=503,
        headers={"retry-after": "7"},
        error={
            "message": "The engine is currently overloaded, please try again later",
            "type": "server_error",
            "param": None,
            "code": "service_unavailable",
        },
    ),
}
