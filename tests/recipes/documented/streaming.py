from openai import OpenAI

client = OpenAI(
    base_url="https://litellm.tensorloop.tech/v1",
    api_key="tl_...",
)

stream = client.chat.completions.create(
    model="gpt-4o-mini",
    messages=[{"role": "user", "content": "Stream a haiku about caching."}],
    stream=True,
)

text = ""
for chunk in stream:
    delta = chunk.choices[0].delta.content or ""
    text += delta
    print(delta, end="", flush=True)

print()
print(f"\n--- final ({len(text)} chars) ---")
