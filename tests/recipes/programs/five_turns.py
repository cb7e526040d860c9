import os

from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

client = OpenAI(base_url=os.environ["TENSORLOOP_BASE_URL"], api_key=os.environ["TENSORLOOP_KEY"])

history: list[ChatCompletionMessageParam] = [{"role": "system", "content": "Answer briefly."}]
for question in ("Who are you?", "And I?", "What did I ask first?", "Are you sure?", "Goodbye."):
    history.append({"role": "user", "content": question})
    text = ""
    for chunk in client.chat.completions.create(model="gpt-4o-mini", messages=history, stream=True):
        text += chunk.choices[0].delta.content or ""
    history.append({"role": "assistant", "content": text})
    print(">", question)
    print(text)
assert len(history) == 11
