"""Get a pydantic object with the SDK's own parse() and stream(): python recipes/parse_pydantic.py"""

from openai import ContentFilterFinishReasonError, LengthFinishReasonError, OpenAIError
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel

from tensorloop_stream import Tensorloop


class Book(BaseModel):
    """A book."""

    title: str
    author: str
    pages: int
    chapters: list[str]


messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Invent a book about caching."}]
try:
    client = Tensorloop()

    # All at once: the object, or an error.
    completion = client.chat.completions.parse(model="gpt-4o-mini", messages=messages, response_format=Book)
    print(repr(completion.choices[0].message.parsed))

    # As it grows: for one that fills a form while it comes, see recipes/structured_output.py.
    with client.chat.completions.stream(model="gpt-4o-mini", messages=messages, response_format=Book) as events:
        for event in events:
            if event.type == "content.delta":
                print(event.delta, end="", flush=True)
        print()
        print(repr(events.get_final_completion().choices[0].message.parsed))  # None if the model refused
except (LengthFinishReasonError, ContentFilterFinishReasonError) as error:  # the JSON was cut
    raise SystemExit(f"cut: {error}") from None
except (OpenAIError, ValueError) as error:  # a ValueError: the JSON is no book
    raise SystemExit(" ".join(f"{error}".split())) from None
