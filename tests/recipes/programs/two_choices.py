import os

from openai import OpenAI

client = OpenAI(base_url=os.environ["TENSORLOOP_BASE_URL"], api_key=os.environ["TENSORLOOP_KEY"])

completion = client.chat.completions.create(
    model="gpt-4o-mini", messages=[{"role": "user", "content": "A name for a cat?"}], n=2, temperature=1.2
)
for choice in completion.choices:
    print(choice.index, choice.message.content)
assert len(completion.choices) == 2

texts = {0: "", 1: ""}
for chunk in client.chat.completions.create(
    model="gpt-4o-mini", messages=[{"role": "user", "content": "A name for a dog?"}], n=2, stream=True
):
    for part in chunk.choices:
        texts[part.index] += part.delta.content or ""
print(texts)
assert all(texts.values())
