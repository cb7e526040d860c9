import os

from openai import OpenAI

client = OpenAI(base_url=os.environ["TENSORLOOP_BASE_URL"], api_key=os.environ["TENSORLOOP_KEY"])

completion = client.chat.completions.create(
    model="gpt-4o-mini",
    messages=[{"role": "user", "content": "List the planets, one a line."}],
    stop=["\n", "."],
    temperature=0,
    seed=1,
)
text = completion.choices[0].message.content
assert text
assert "." not in text
print(text, completion.choices[0].finish_reason)
