"""Fill a pydantic model by the Responses API: python recipes/responses_structured_output.py"""

from openai import OpenAIError
from pydantic import BaseModel

from tensorloop_stream import ResponseStream, Tensorloop


class Book(BaseModel, extra="forbid"):  # "strict" requires extra="forbid", and no defaults
    """A book."""

    title: str
    author: str
    pages: int
    chapters: list[str]


try:
    answer = Tensorloop().responses.create(
        model="gpt-4o-mini",
        input="Invent a book about caching.",
        text={"format": {"type": "json_schema", "name": "book", "strict": True, "schema": Book.model_json_schema()}},
        stream=True,
    )
    with ResponseStream(answer) as stream:
        for text in stream.text_stream:
            print(text, end="", flush=True)
    if stream.refusal:
        raise SystemExit(f"refused: {stream.refusal}")
    print(f"\n{Book.model_validate_json(stream.get_final_text())!r}")
except (OpenAIError, ValueError) as error:  # no JSON, for example if max_output_tokens cut it; or not a book
    raise SystemExit(" ".join(f"{error}".split())) from None
