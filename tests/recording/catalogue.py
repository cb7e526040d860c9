"""What is recorded: every cassette's name, what it shows, where the answer comes from and what is asked."""

from dataclasses import dataclass
from enum import Enum
from typing import Any


class Origin(Enum):
    """Who made the answer that the proxy passed on."""

    MODEL = "real model"
    SCRIPT = "scripted upstream"
    PROXY = "the proxy itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One cassette: what is asked, and how to come by the answer."""

    name: str
    shows: str
    request: dict[str, Any]
    origin: Origin
    follow_ups: tuple[str, ...] = ()
    key: str = "tl_recording_model"
    script: str | None = None
    status: int = 200
    on_service: bool = False
    sent_before: int = 0

    @property
    def prompt(self) -> str:
        """The last thing that is said, by which the scripted upstream knows what to answer."""
        return str(self.request["messages"][-1]["content"])


def ask(prompt: str, **settings: Any) -> dict[str, Any]:
    """A request as most people write it."""
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}]} | settings


def _function(name: str, description: str, parameter: str) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": {parameter: {"type": "string"}},
        "required": [parameter],
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


_STREAMED: dict[str, Any] = {"stream": True}
_WEATHER = _function("get_weather", "The weather in a city, now.", "city")
_TIME = _function("get_time", "The time of day in a time zone.", "time_zone")
_PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
_PERSON_FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": _PERSON}}


def _model(name: str, shows: str, request: dict[str, Any], **more: Any) -> Recording:
    return Recording(name=name, shows=shows, request=request, origin=Origin.MODEL, on_service=True, **more)


def _model_twins(name: str, shows: str, request: dict[str, Any]) -> list[Recording]:
    return [
        _model(name, shows, request | _STREAMED),
        _model(f"{name}_not_streamed", f"the same request as `{name}` without `stream`", request),
    ]


def _script(name: str, shows: str, request: dict[str, Any], script: str | None = None, **more: Any) -> Recording:
    return Recording(
        name=name,
        shows=shows,
        request=request,
        origin=Origin.SCRIPT,
        script=script or name.partition("/")[2],
        **{"key": "tl_recording_scripted"} | more,
    )


def _script_twins(name: str, shows: str, request: dict[str, Any], *, on_service: bool = False) -> list[Recording]:
    script, twin = name.partition("/")[2], f"the same request as `{name}` without `stream`"
    return [
        _script(name, shows, request | _STREAMED, on_service=on_service),
        _script(f"{name}_not_streamed", twin, request, script, on_service=on_service),
    ]


def _proxy(name: str, shows: str, request: dict[str, Any], status: int, **more: Any) -> Recording:
    request = request | _STREAMED
    return Recording(name=name, shows=shows, request=request, origin=Origin.PROXY, status=status, **more)


_HAIKU = ask("Stream a haiku about caching.", temperature=0.2, max_tokens=60)

# The model's come first and in this order, since the model is started afresh for them.
CATALOGUE = (
    *_model_twins("chat/haiku", "the documented flow", _HAIKU),
    _model(
        "chat/usage", "usage in a chunk of its own", _HAIKU | _STREAMED | {"stream_options": {"include_usage": True}}
    ),
    *_model_twins(
        "chat/two_choices",
        "`n=2`, interleaved, choice 1 first; the proxy drops its finish reason",
        ask("Name a colour.", temperature=0.8, max_tokens=60, n=2),
    ),
    *_model_twins(
        "chat/logprobs",
        "`logprobs` with two alternatives per token",
        ask("Say hello.", temperature=0.2, max_tokens=12, logprobs=True, top_logprobs=2),
    ),
    *_model_twins(
        "chat/json_schema",
        "structured output",
        ask("Invent a person.", temperature=0.2, max_tokens=60, response_format=_PERSON_FORMAT),
    ),
    *_model_twins("chat/length", "cut at `max_tokens`", ask("What is a cache?", temperature=0.2, max_tokens=16)),
    _model(
        "chat/stop_sequence",
        "ended by `stop`, which is not part of the text",
        ask("Count from one to ten.", temperature=0.2, max_tokens=80, stop=["5"], stream=True),
    ),
    _model(
        "chat/emoji",
        "characters outside the basic plane",
        ask("Answer with emoji only: a sunny day at the beach", temperature=0.2, max_tokens=40, stream=True),
    ),
    _model(
        "chat/long",
        "several hundred chunks",
        ask(
            "Explain streaming to a new developer, in three paragraphs.",
            temperature=0.2,
            max_tokens=400,
            stream=True,
        ),
    ),
    _model(
        "conversations/two_turns",
        "two turns, the answer of the first in the request of the second",
        ask("What is a cache, in one sentence?", temperature=0.2, max_tokens=80, stream=True),
        follow_ups=("Now explain it to a child.",),
    ),
    _script(
        "chat/non_ascii",
        "CJK, combining marks, emoji, and U+2028, U+2029 and U+0085 raw in the JSON",
        ask("Say cache in many languages.", stream=True),
    ),
    *_script_twins(
        "tools/forced_call",
        "one call, named in `tool_choice`, its arguments in pieces",
        ask(
            "What is the weather in Zürich?",
            tools=[_WEATHER],
            tool_choice={"type": "function", "function": {"name": "get_weather"}},
        ),
        on_service=True,
    ),
    *_script_twins(
        "tools/parallel_calls",
        "two calls, one after the other",
        ask("What is the weather in Zürich, and what time is it in Tokyo?", tools=[_WEATHER, _TIME]),
        on_service=True,
    ),
    _script(
        "tools/repeated_ids",
        "id and name in every piece, and the legacy `function_call` beside it (llama-cpp-python)",
        ask("Is it raining in Zürich?", tools=[_WEATHER], stream=True),
    ),
    _script(
        "tools/whole_call_in_one_chunk",
        "a whole call in one chunk (Gemini); the proxy moves the finish reason that came with it into the next",
        ask("Is it sunny in Zürich?", tools=[_WEATHER], stream=True),
    ),
    *_script_twins(
        "reasoning/reasoning_content",
        "reasoning, then text",
        ask("Think, then answer: why are caches fast?"),
    ),
    _script(
        "reasoning/thinking_blocks",
        "Anthropic's thinking as LiteLLM passes it on: text, signature, a redacted block",
        ask(
            "Why are caches fast?",
            model="claude-sonnet-4-5",
            max_tokens=2048,
            extra_body={"thinking": {"type": "enabled", "budget_tokens": 1024}},
            stream=True,
        ),
        key="tl_recording_model",
    ),
    *_script_twins(
        "chat/refusal",
        "a refusal: the proxy drops the text when streamed, and moves it when not",
        ask("How do I pick my neighbour's lock?"),
    ),
    *_script_twins("chat/content_filter", "cut by a content filter", ask("Tell me how to make a firework.")),
    _script(
        "errors/mid_stream_error",
        "an error event from upstream, passed on inside a 200",
        ask("Stream a haiku about errors.", stream=True),
    ),
    _script(
        "errors/mid_stream_cut",
        "upstream cuts the connection: an error event inside a 200",
        ask("Stream a haiku about scissors.", stream=True),
    ),
    _script(
        "errors/empty_upstream",
        "upstream ends before any event: what looks like an empty answer",
        ask("Stream a haiku about nothing.", stream=True),
    ),
    _script(
        "errors/rate_limit_by_upstream",
        "429 from upstream: only `llm_provider-retry-after`",
        ask("Stream a haiku about queues.", stream=True),
        "rate_limit",
        status=429,
    ),
    _script(
        "errors/unavailable",
        "503 from upstream",
        ask("Stream a haiku about holidays.", stream=True),
        status=503,
    ),
    _proxy(
        "errors/wrong_key",
        "a key that the proxy does not know",
        ask("Stream a haiku about keys."),
        401,
        key="tl_recording_wrong",
        on_service=True,
    ),
    _proxy(
        "errors/model_not_allowed",
        "a model outside the key's list",
        ask("Stream a haiku about fences.", model="claude-sonnet-4-5"),
        403,
        key="tl_recording_free",
        on_service=True,
    ),
    _proxy(
        "errors/unknown_model",
        "a model that the proxy does not have",
        ask("Stream a haiku about unicorns.", model="gpt-unicorn"),
        400,
        on_service=True,
    ),
    _proxy(
        "errors/bad_request",
        "a parameter that the model does not take",
        ask("Stream a haiku about effort.", reasoning_effort="low"),
        400,
        key="tl_recording_scripted",
        on_service=True,
    ),
    _proxy(
        "errors/rate_limit_by_key",
        "429 by the key's limit of requests: `retry-after: 60`",
        ask("Stream a haiku about patience."),
        429,
        key="tl_recording_free",
        sent_before=30,
    ),
    _proxy(
        "errors/budget_exceeded",
        "429 by the key's budget: retrying is pointless",
        ask("Stream a haiku about money."),
        429,
        key="tl_recording_spent",
    ),
)
