"""Recordings of the scripted upstream, each with the script of its name unless another is given."""

from typing import Any

from entry import Origin, Recording, ask, respond, twins
from environments import LITELLM_OF_RESPONSES


def _script(name: str, shows: str, request: dict[str, Any], script: str | None = None, **more: Any) -> Recording:
    return Recording(
        name=name,
        shows=shows,
        request=request,
        origin=Origin.SCRIPT,
        script=script or name.partition("/")[2],
        **{"key": "tl_recording_scripted"} | more,
    )


def _function(name: str, description: str, parameter: str) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": {parameter: {"type": "string"}},
        "required": [parameter],
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


_WEATHER = _function("get_weather", "The weather in a city, now.", "city")
_TIME = _function("get_time", "The time of day in a time zone.", "time_zone")


# The requests of recipes/tool_loop.py: pydantic's schema of a function, and later the message and the results.
_RAIN = "Is it raining in Zürich and in Tokyo?"
_RAIN_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Return the weather in a city, now.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "title": "City"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def _called(call_id: str, city: str) -> dict[str, Any]:
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": "get_weather", "arguments": f'{{"city":"{city}"}}'},
    }


def _returned(call_id: str, result: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": result}


_RESULTS = [
    {"role": "user", "content": _RAIN},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [_called("call_zurich", "Zürich"), _called("call_tokyo", "Tokyo")],
    },
    _returned("call_zurich", "12 °C and rain in Zürich"),
    _returned("call_tokyo", "12 °C and rain in Tokyo"),
]
# The request of recipes/keep_partial_text.py after `errors/mid_stream_error`.
_CONTINUE = [
    {"role": "user", "content": "Stream a haiku about errors."},
    {"role": "assistant", "content": "Caches forget"},
    {"role": "user", "content": "You were cut off. Go on where you stopped, and repeat nothing."},
]

# The requests of the recipes for the Responses API.
_RESPONSE_TOOL = {"type": "function"} | _RAIN_TOOL["function"]
_RESPONSE_RESULTS: list[dict[str, Any]] = [
    {"role": "user", "content": _RAIN},
    *(
        {
            "type": "function_call",
            "id": f"fc_scripted_{number}",
            "call_id": f"call_{city.lower().replace('ü', 'u')}",
            "name": "get_weather",
            "arguments": f'{{"city":"{city}"}}',
            "status": "completed",
        }
        for number, city in enumerate(("Zürich", "Tokyo"))
    ),
    {"type": "function_call_output", "call_id": "call_zurich", "output": "12 °C and rain in Zürich"},
    {"type": "function_call_output", "call_id": "call_tokyo", "output": "12 °C and rain in Tokyo"},
]
_BOOK_SCHEMA = {
    "additionalProperties": False,
    "description": "A book.",
    "properties": {
        "title": {"title": "Title", "type": "string"},
        "author": {"title": "Author", "type": "string"},
        "pages": {"title": "Pages", "type": "integer"},
        "chapters": {"items": {"type": "string"}, "title": "Chapters", "type": "array"},
    },
    "required": ["title", "author", "pages", "chapters"],
    "title": "Book",
    "type": "object",
}
_BOOK_FORMAT = {"format": {"type": "json_schema", "name": "book", "strict": True, "schema": _BOOK_SCHEMA}}


def _response(name: str, shows: str, request: dict[str, Any], script: str | None = None, **more: Any) -> Recording:
    stream = {"stream": True}
    return _script(f"responses/{name}", shows, request | stream, script, litellm=LITELLM_OF_RESPONSES, **more)


RESPONSES = (
    _response(
        "forced_call",
        "a function call in the Responses API, as OpenAI streams it",
        respond(
            "What is the weather in Zürich?",
            tools=[{"type": "function", "name": "get_weather", "parameters": _WEATHER["function"]["parameters"]}],
            tool_choice="required",
        ),
        on_service=True,
    ),
    _response(
        "parallel_calls",
        "two calls",
        respond("", input=[_RESPONSE_RESULTS[0]], tools=[_RESPONSE_TOOL]),
        "same_function_twice",
    ),
    _response(
        "results",
        "the answer to `responses/parallel_calls` with the results of both",
        respond("", input=_RESPONSE_RESULTS, tools=[_RESPONSE_TOOL]),
    ),
    _response(
        "reasoning",
        "a summary of the reasoning, then text",
        respond("Think, then answer: why are caches fast?"),
        "reasoning_content",
    ),
    _response(
        "structured",
        "JSON by a schema",
        respond("Invent a book about caching.", text=_BOOK_FORMAT),
        "book",
    ),
    _response(
        "length",
        "cut at `max_output_tokens`: `response.incomplete`",
        respond("Explain caches in detail.", max_output_tokens=16),
    ),
    _response(
        "refusal",
        "a refusal",
        respond("How do I pick my neighbour's lock?"),
    ),
    _response(
        "failed",
        "upstream fails: `response.failed` without what came",
        respond("Stream a haiku about failures."),
    ),
    _response(
        "mid_stream_cut",
        "upstream cuts the connection: the proxy makes it `response.failed`",
        respond("Stream a haiku about scissors."),
    ),
    _response(
        "continued",
        "two turns, the second by the id of the first",
        respond("What is a cache, in one sentence?"),
        "explained",
        follow_ups=("Now explain it to a child.",),
        follow_up_script="told_to_a_child",
    ),
    _response(
        "background",
        "a response that is begun in the background, and taken up again: the proxy sends it whole",
        respond("Explain caches, in the background.", background=True),
        taken_up=True,
    ),
)

FROM_SCRIPT = (
    _script(
        "chat/non_ascii",
        "CJK, combining marks, emoji, and U+2028, U+2029 and U+0085 raw in the JSON",
        ask("Say cache in many languages.", stream=True),
    ),
    *twins(
        _script(
            "tools/forced_call",
            "one call, named in `tool_choice`, its arguments in pieces",
            ask(
                "What is the weather in Zürich?",
                tools=[_WEATHER],
                tool_choice={"type": "function", "function": {"name": "get_weather"}},
            ),
            on_service=True,
        )
    ),
    *twins(
        _script(
            "tools/parallel_calls",
            "two calls, one after the other",
            ask("What is the weather in Zürich, and what time is it in Tokyo?", tools=[_WEATHER, _TIME]),
            on_service=True,
        )
    ),
    _script(
        "tools/same_function_twice",
        "two calls of one function",
        ask(_RAIN, tools=[_RAIN_TOOL], stream=True),
    ),
    _script(
        "tools/results",
        "the answer to `tools/same_function_twice` with the results of both",
        ask(_RAIN, messages=_RESULTS, tools=[_RAIN_TOOL], stream=True),
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
    *twins(
        _script(
            "reasoning/reasoning_content",
            "reasoning, then text",
            ask("Think, then answer: why are caches fast?"),
        )
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
    *twins(
        _script(
            "chat/refusal",
            "a refusal: the proxy drops the text when streamed, and moves it when not",
            ask("How do I pick my neighbour's lock?"),
        )
    ),
    *twins(_script("chat/content_filter", "cut by a content filter", ask("Tell me how to make a firework."))),
    *RESPONSES,
    _script(
        "errors/mid_stream_error",
        "an error event from upstream, passed on inside a 200",
        ask("Stream a haiku about errors.", stream=True),
    ),
    _script(
        "chat/continued",
        "the rest of `errors/mid_stream_error`, asked for with what had come of it",
        ask("", messages=_CONTINUE, stream=True),
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
)
