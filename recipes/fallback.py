"""Ask the next model if one fails before its first word: python recipes/fallback.py"""

import sys

from openai import APIError, AuthenticationError, OpenAIError

from tensorloop_stream import ChatStream, Tensorloop, print_stream

MODELS = ["gpt-4o-mini?status=503", "gpt-4o-mini"]  # the best first; under the replay, the first of these fails


def ask(client: Tensorloop, model: str) -> ChatStream:
    """Return a stream that sends its request when it is first read."""
    return ChatStream(
        lambda: client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Stream a haiku about caching."}], stream=True
        ),
        idle_timeout=20,  # seconds without a chunk
    )


try:
    client = Tensorloop(max_retries=0)  # the next model is the retry
    for model in MODELS:
        stream = ask(client, model)
        try:
            print_stream(stream)
            break
        except AuthenticationError:  # another model has the same key
            raise
        except APIError as error:
            if stream.text or model == MODELS[-1]:  # a second answer after half of a first one would confuse
                raise
            print(f"({model} failed: {error})", file=sys.stderr)
except OpenAIError as error:
    raise SystemExit(f"{error}") from None
