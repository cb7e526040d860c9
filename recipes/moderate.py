"""Show only text that passes a check, and stop at text that fails it: python recipes/moderate.py"""

from openai import OpenAIError

from tensorloop_stream import ChatStream, Tensorloop

HELD = 20  # characters to hold back until more text arrives: at least the length of the longest phrase


def passes(text: str) -> bool:
    """Check a part of a text, whose last word may be incomplete; replace this by a check of your own."""
    return "a gift of time" not in text.casefold()


def show(stream: ChatStream) -> None:
    """Print the text that passes, `HELD` characters late: of a phrase that fails, not even the start is shown."""
    held = ""
    try:
        for delta in stream.text_stream:
            text = held + delta
            if not passes(text):
                held = "[the rest is not shown]"
                break
            print(text[:-HELD], end="", flush=True)
            held = text[-HELD:]
    finally:  # the held text has passed the check, also if the stream breaks
        print(held)


try:
    ask = "Stream a haiku about caching."
    answer = Tensorloop().chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": ask}], stream=True
    )
    with ChatStream(answer) as stream:  # leaving the block early closes the connection, and the model stops
        show(stream)
    if stream.completion.choices[0].finish_reason in {"length", "content_filter"}:
        print(f"(cut: {stream.completion.choices[0].finish_reason})")
except OpenAIError as error:
    raise SystemExit(f"{error}") from None
