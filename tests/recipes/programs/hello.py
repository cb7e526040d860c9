import os

from openai import OpenAI

client = OpenAI(base_url=os.environ["TENSORLOOP_BASE_URL"], api_key=os.environ["TENSORLOOP_KEY"])

completion = client.chat.completions.create(
    model="gpt-4o-mini", messages=[{"role": "user", "content": "Say hello to my grandmother."}]
)
print(completion.choices[0].message.content)
assert completion.usage is not None
print(completion.usage.total_tokens, "tokens")
