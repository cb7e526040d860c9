"""Recordings of the real model."""

from typing import Any

from entry import STREAMED, Origin, Recording, ask, respond, twins


def _model(name: str, shows: str, request: dict[str, Any], **more: Any) -> Recording:
    return Recording(name=name, shows=shows, request=request, origin=Origin.MODEL, on_service=True, **more)


# The request of the service's page on streaming, which leaves all settings to the model.
_HAIKU = ask("Stream a haiku about caching.")
# Found by trying some hundred: three lines that are no repetition, and an end of its own.
_HAIKU_SEED = 79
_PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
_PERSON_FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": _PERSON}}
# The request of recipes/structured_output.py: the schema of a pydantic model.
_BOOK = {
    "type": "object",
    "title": "Book",
    "description": "A book.",
    "properties": {
        "title": {"type": "string", "title": "Title"},
        "author": {"type": "string", "title": "Author"},
        "pages": {"type": "integer", "title": "Pages"},
        "chapters": {"type": "array", "items": {"type": "string"}, "title": "Chapters"},
    },
    "required": ["title", "author", "pages", "chapters"],
    "additionalProperties": False,
}
_BOOK_FORMAT = {"type": "json_schema", "json_schema": {"name": "book", "strict": True, "schema": _BOOK}}

FROM_MODEL = (
    *twins(_model("chat/haiku", "the documented flow", _HAIKU, seed=_HAIKU_SEED)),
    _model(
        "chat/usage",
        "usage in a chunk of its own",
        _HAIKU | STREAMED | {"stream_options": {"include_usage": True}},
        seed=_HAIKU_SEED,
    ),
    *twins(
        _model(
            "chat/two_choices",
            "`n=2`, interleaved, choice 1 first; the proxy drops its finish reason",
            ask("Name a colour.", temperature=0.8, max_tokens=60, n=2),
        )
    ),
    *twins(
        _model(
            "chat/logprobs",
            "`logprobs` with two alternatives per token",
            ask("Say hello.", temperature=0.2, max_tokens=12, logprobs=True, top_logprobs=2),
        )
    ),
    *twins(
        _model(
            "chat/json_schema",
            "structured output",
            ask("Invent a person.", temperature=0.2, max_tokens=60, response_format=_PERSON_FORMAT),
        )
    ),
    _model(
        "chat/structured_output",
        "structured output with the schema of a pydantic model",
        ask("Invent a book about caching.", temperature=0.7, max_tokens=160, response_format=_BOOK_FORMAT, stream=True),
    ),
    _model(
        "chat/usage_of_a_budget",
        "usage, and the spend and the budget of the key in the headers",
        ask(
            "Stream a haiku about budgets.",
            temperature=0.2,
            max_tokens=60,
            stream=True,
            stream_options={"include_usage": True},
        ),
        key="tl_recording_metered",
    ),
    *twins(_model("chat/length", "cut at `max_tokens`", ask("What is a cache?", temperature=0.2, max_tokens=16))),
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
        ask("What is a cache, in one sentence?", stream=True),
        follow_ups=("Now explain it to a child.",),
        seed=_HAIKU_SEED,
    ),
    # The request of recipes/conversation.py, after it removed the earlier turns.
    _model(
        "conversations/system_message",
        "two turns under a system message",
        ask(
            "",
            messages=[
                {"role": "system", "content": "You answer in one sentence."},
                {"role": "user", "content": "What is a cache, in one sentence?"},
            ],
            temperature=0.2,
            max_tokens=80,
            stream=True,
        ),
        follow_ups=("Now explain it to a child.",),
    ),
    _model(
        "responses/haiku",
        "the Responses API, as llama.cpp speaks it: no numbers of events, items and parts",
        respond("Stream a haiku about caching.", stream=True),
        seed=_HAIKU_SEED,
    ),
)
