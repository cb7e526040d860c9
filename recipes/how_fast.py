"""Measure the speed of an answer as its reader sees it: python recipes/how_fast.py"""

from openai import OpenAIError

from tensorloop_stream import ChatStream, Tensorloop


def milliseconds(seconds: float | None) -> str:
    """Return a time in milliseconds; a dash for a time that was not measured."""
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"


try:
    answer = Tensorloop().chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "Stream a haiku about caching."}],
        stream=True,
        stream_options={"include_usage": True},  # for tokens per second: chunks are not tokens
    )
    with ChatStream(answer) as stream:
        completion = stream.get_final_completion()
except OpenAIError as error:
    raise SystemExit(f"{error}") from None

timing = stream.timing  # available at any time; a notebook shows it as a chart
first_chunk, first_token = milliseconds(timing.time_to_first_chunk), milliseconds(timing.time_to_first_token)
print(timing)
print(f"first chunk {first_chunk}, first token {first_token}")
print(f"between chunks {milliseconds(timing.gap(0.5))}, one in a hundred {milliseconds(timing.gap(0.99))} or more")
print(f"{timing.tokens_per_second or 0:.0f} tokens/s from {completion.model}, request {stream.request_id}")
