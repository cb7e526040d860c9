"""See how fast an answer came, as its reader felt it: python recipes/how_fast.py"""

from openai import OpenAIError

from tensorloop_stream import ChatStream, Tensorloop


def shown(seconds: float | None) -> str:
    """Return milliseconds, if there was anything to measure."""
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"


try:
    answer = Tensorloop().chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "Stream a haiku about caching."}],
        temperature=0.2,
        max_tokens=60,
        stream=True,
        stream_options={"include_usage": True},  # else there are no tokens to count: chunks are not tokens
    )
    with ChatStream(answer) as stream:
        completion = stream.get_final_completion()
except OpenAIError as error:
    raise SystemExit(f"{error}") from None

timing = stream.timing  # at any time, and the same in a notebook as a picture
print(timing)
print(f"first chunk {shown(timing.time_to_first_chunk)}, first token {shown(timing.time_to_first_token)}")
print(f"between chunks {shown(timing.gap(0.5))}, one in a hundred {shown(timing.gap(0.99))} or more")
print(f"{timing.tokens_per_second or 0:.0f} tokens/s from {completion.model}, request {stream.request_id}")
