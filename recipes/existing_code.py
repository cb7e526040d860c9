"""Run an OpenAI program on Tensorloop; only the constructor changes: python recipes/existing_code.py"""

from openai import APIConnectionError, APIError, OpenAIError

from tensorloop_stream import Tensorloop

try:
    client = Tensorloop()  # was: OpenAI(base_url="https://litellm.tensorloop.tech/v1", api_key=key)
except OpenAIError as error:
    raise SystemExit(f"{error}") from None

# All lines below are unchanged. The stream is now a ChatStream: checked, closed and fast.
try:
    stream = client.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "Stream a haiku about caching."}],
        stream=True,
    )
    content = ""
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            content += chunk.choices[0].delta.content
            print(chunk.choices[0].delta.content, end="", flush=True)
    print(f"\n--- final ({len(content)} chars) ---")
except APIConnectionError:
    raise SystemExit("the connection broke") from None
except APIError as error:
    raise SystemExit(f"the gateway says: {error.message}") from None
