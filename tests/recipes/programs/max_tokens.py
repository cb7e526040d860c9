import os

from openai import OpenAI

client = OpenAI(base_url=os.environ["TENSORLOOP_BASE_URL"], api_key=os.environ["TENSORLOOP_KEY"])

stream = client.chat.completions.create(
    model="gpt-4o-mini", messages=[{"role": "user", "content": "Tell me a long story."}], max_tokens=3, stream=True
)
pieces = []
for chunk in stream:
    choice = chunk.choices[0]
    if choice.delta.content:
        pieces.append(choice.delta.content)
    if choice.finish_reason:
        print("".join(pieces), "...", choice.finish_reason)
assert len(pieces) == 3
