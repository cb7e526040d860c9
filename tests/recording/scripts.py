"""The scripts of the scripted upstream: answers of real hosts that the small model cannot be made to give."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from script import Script


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

_ZURICH = _call("call_zurich", "get_weather", '{"city":"Zürich"}')
_TOKYO = _call("call_tokyo", "get_weather", '{"city":"Tokyo"}')
_TOKYO_PIECES = ('{"', "city", '":"', "Tokyo", '"}')

_LANGUAGES = (
    "日本語", "のキャッシュ。", " 한국어", " हिन्दी", " العربية",
    " e\u0301 n\u0303",  # a letter and its combining mark
    " 👩\u200d💻", "🌊", "🏖\ufe0f",
    " line\u2028separator", " paragraph\u2029separator", " next\x85line.",
)  # fmt: skip
_THOUGHTS = ("A cache is", " a copy kept", " near", " its reader.")
_ANSWER = ("Because", " reading", " nearby", " is", " faster.")
_WITH_RESULTS = ("Yes", ",", " in", " both", ":", " 12", " °C", " and", " rain", ".")
_THE_REST = (" it", ",", "\nyet", " the", " slow", " disk", " remembers", "\nevery", " lost", " answer", ".")
_REFUSAL = ("I'm", " sorry", ",", " I", " can't", " help", " with", " that", ".")

_BOOK = (
    '{"title":"', "The Shelf", " Nearby", '","author":"', "A. Copy", '","pages":', "124", ',"chapters":["', "Near",
    '","', "Far", '"]}',
)  # fmt: skip
_EXPLAINED = ("A cache", " keeps", " copies", " near", " their", " reader", ".")
_TOLD = ("It is", " the toy box", " beside", " your bed", ".")

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
    "same_function_twice": Script(
        deltas=(_ROLE, *_call_pieces(0, _ZURICH, _WEATHER_PIECES), *_call_pieces(1, _TOKYO, _TOKYO_PIECES)),
        finish_reason="tool_calls",
    ),
    "results": Script(deltas=_text(*_WITH_RESULTS)),
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
    "continued": Script(deltas=_text(*_THE_REST)),
    "failed": Script(
        deltas=_text("Cach", "es", " forget"),
        end="error event",
        error={"message": "The model failed to answer.", "code": "server_error"},
    ),
    "book": Script(deltas=_text(*_BOOK)),
    "explained": Script(deltas=_text(*_EXPLAINED)),
    "told_to_a_child": Script(deltas=_text(*_TOLD)),
    "length": Script(deltas=_text("A cache is", " a copy kept", " near"), finish_reason="length"),
    "background": Script(deltas=_text(*_EXPLAINED)),
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
