"""Print an answer as it arrives: python recipes/stream.py"""

from openai import OpenAIError

from tensorloop_stream import ChatStream, Tensorloop

try:
    client = Tensorloop()
    answer = client.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "Stream a haiku about caching."}],
        stream=True,
    )
    with ChatStream(answer) as stream:
        for text in stream.text_stream:
            print(text, end="", flush=True)
    print(f"\n--- final ({len(stream.text)} chars) ---")
    if (reason := stream.completion.choices[0].finish_reason) in {"length", "content_filter"}:
        print(f"(cut: {reason})")
except OpenAIError as error:  # no key, no connection, a broken stream: a sentence, no traceback
    raise SystemExit(f"\n{error}") from None
