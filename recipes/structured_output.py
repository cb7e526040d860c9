"""Fill a pydantic model while it streams: python recipes/structured_output.py"""

import jiter
from openai import OpenAIError
from pydantic import BaseModel

from tensorloop_stream import ChatStream, Tensorloop


class Book(BaseModel, extra="forbid"):  # "strict" requires extra="forbid", and no defaults
    """A book."""

    title: str
    author: str
    pages: int
    chapters: list[str]


SCHEMA = Book.model_json_schema()
try:
    answer = Tensorloop().chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "Invent a book about caching."}],
        response_format={"type": "json_schema", "json_schema": {"name": "book", "strict": True, "schema": SCHEMA}},
        temperature=0.7,
        max_tokens=160,
        stream=True,
    )
    with ChatStream(answer) as stream:
        shown = None
        for _ in stream.text_stream:  # an incomplete value may still change: 1 may become 124
            text = stream.text.lstrip().encode(errors="replace") or b"{}"  # it may end with half a character
            partial = jiter.from_json(text, partial_mode="trailing-strings")
            if partial != shown:
                print(shown := partial)
    if refusal := stream.get_final_message().refusal:  # LiteLLM drops refusals from streams: the text is then empty
        raise SystemExit(f"refused: {refusal}")
    print(repr(Book.model_validate_json(stream.text)))
except (OpenAIError, ValueError) as error:  # no JSON, for example if max_tokens cut it; or not a book
    raise SystemExit(" ".join(f"{error}".split())) from None
