"""Show only text that passed a check, and stop at the first that does not: python recipes/moderate.py"""

from openai import OpenAIError

from tensorloop_stream import ChatStream, Tensorloop

HELD = 20  # how many characters wait for what follows: at least as many as the longest phrase has


def passes(text: str) -> bool:
    """Check a stretch of text, the last word of which may be unfinished: your own check stands here."""
    return "a moment to store" not in text.casefold()


def show(stream: ChatStream) -> None:
    """Print the text that passed, `HELD` characters late, so that of what fails not even the beginning is shown."""
    held = ""
    try:
        for piece in stream.text_stream:
            if not passes(text := held + piece):
                held = "[the rest is not shown]"
                break
            print(text[:-HELD], end="", flush=True)
            held = text[-HELD:]
    finally:  # what is held has passed, also if the stream breaks
        print(held)


try:
    ask = "Stream a haiku about caching."
    answer = Tensorloop().chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": ask}], temperature=0.2, max_tokens=60, stream=True
    )
    with ChatStream(answer) as stream:  # left before its end it closes the connection, and the model stops
        show(stream)
except OpenAIError as error:
    raise SystemExit(f"{error}") from None
