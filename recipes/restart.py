"""Restart a stream that breaks before any text was shown: python recipes/restart.py"""

from openai import OpenAIError

from tensorloop_stream import ChatStream, Tensorloop

try:
    client = Tensorloop()
    stream = ChatStream(
        lambda: client.chat.completions.create(  # a function, because an open stream cannot be opened again
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": "Stream a haiku about caching."}],
            stream=True,
        ),
        restarts=2,  # after a cut, an early end, a timeout, or an error that the SDK would retry; each is billed
        first_chunk_timeout=20,  # seconds without a chunk; keep-alive comments do not count
        idle_timeout=10,
    )
    with stream:
        for text in stream.text_stream:
            print(text, end="", flush=True)
    print(f"\n--- final ({len(stream.text)} chars) ---")
    if (reason := stream.completion.choices[0].finish_reason) in {"length", "content_filter"}:
        print(f"(cut: {reason})")
except OpenAIError as error:  # for a stream that breaks later, see recipes/keep_partial_text.py
    raise SystemExit(f"\n{error}") from None
