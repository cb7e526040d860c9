"""Ask again when an answer breaks before anything of it was shown: python recipes/restart.py"""

from openai import OpenAIError

from tensorloop_stream import ChatStream, Tensorloop

try:
    client = Tensorloop()
    stream = ChatStream(
        lambda: client.chat.completions.create(  # a function, since what was opened cannot be opened anew
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": "Stream a haiku about caching."}],
            temperature=0.2,
            max_tokens=60,
            stream=True,
        ),
        restarts=2,  # after a cut, an early end, silence, or an error at which the SDK would ask again; each is billed
        first_chunk_timeout=20,  # seconds of silence, in which keep-alive comments may come
        idle_timeout=10,
    )
    with stream:
        for text in stream.text_stream:
            print(text, end="", flush=True)
    print(f"\n--- final ({len(stream.text)} chars) ---")
except OpenAIError as error:  # also if it broke later: then recipes/keep_partial_text.py asks for the rest
    raise SystemExit(f"{error}") from None
