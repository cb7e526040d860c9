"""Use callbacks for each text delta and for the end of a stream: python recipes/stream_callbacks.py"""

from openai import OpenAIError
from openai.types.chat import ChatCompletion

from tensorloop_stream import Callbacks, ChatStream, StreamError, Tensorloop


def show(text: str) -> None:
    """Print a text delta."""
    print(text, end="", flush=True)


def text_of(completion: ChatCompletion) -> str:
    """Return the text of an answer, which may have no choice."""
    return "".join(choice.message.content or "" for choice in completion.choices)


def finish(completion: ChatCompletion) -> None:
    """Use the complete answer; a program may store it."""
    print(f"\n--- final ({len(text_of(completion))} chars) ---")
    for choice in completion.choices:
        if choice.finish_reason in {"length", "content_filter"}:
            print(f"(cut: {choice.finish_reason})")


def explain(error: Exception) -> None:
    """Use the partial answer."""
    if isinstance(error, StreamError):
        print(f"\n--- broken ({len(text_of(error.partial))} chars) ---")


try:
    answer = Tensorloop().chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Stream a haiku about caching."}], stream=True
    )
    ChatStream(answer, Callbacks(on_text=show, on_finish=finish, on_error=explain)).until_done()
except OpenAIError as error:  # no key, no connection, a broken stream: a sentence, no traceback
    raise SystemExit(f"{error}") from None
