import json
import os

from openai import OpenAI

client = OpenAI(base_url=os.environ["TENSORLOOP_BASE_URL"], api_key=os.environ["TENSORLOOP_KEY"])

completion = client.chat.completions.create(
    model="gpt-4o-mini",
    messages=[{"role": "user", "content": "Give me JSON about Mars."}],
    response_format={"type": "json_object"},
)
value = json.loads(completion.choices[0].message.content or "")
print(sorted(value))
