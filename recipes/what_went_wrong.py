"""Distinguish the errors of a stream, and advise on each: python recipes/what_went_wrong.py"""

from openai import OpenAIError

from tensorloop_stream import (
    ChatStream,
    StreamConnectionError,
    StreamDecodeError,
    StreamError,
    StreamProviderError,
    StreamTimeoutError,
    StreamTruncatedError,
    Tensorloop,
)

REFUSALS = {"400", "401", "403", "404", "budget_exceeded", "insufficient_quota"}


def advice(error: StreamError) -> str:
    """Return advice as text; a program would retry, shorten the prompt, or report the error."""
    match error:
        case StreamTimeoutError():
            return "nothing came for too long: ask again, or wait longer"
        case StreamConnectionError() | StreamTruncatedError() | StreamDecodeError():
            return "a part is missing: keep what came, and ask again"
        case StreamProviderError() if {error.code, error.type} & REFUSALS:
            return "the gateway refused it: a retry does not help"
    return "the gateway gave up: ask again"


try:
    answer = Tensorloop().chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Stream a haiku about caching."}], stream=True
    )
    with ChatStream(answer, idle_timeout=5) as stream:  # to see errors, start the replay with --cut-after 7
        print(stream.get_final_text())
except StreamError as error:
    raise SystemExit(f"{stream.text}\n--- request {stream.request_id}: {error}\n{advice(error)}") from None
except OpenAIError as error:  # before the stream; the SDK has already retried errors that merit it
    raise SystemExit(f"{error}") from None
