import math
import os

from openai import OpenAI

client = OpenAI(base_url=os.environ["TENSORLOOP_BASE_URL"], api_key=os.environ["TENSORLOOP_KEY"])

choice = client.chat.completions.create(
    model="gpt-4o-mini",
    messages=[{"role": "user", "content": "Yes or no?"}],
    logprobs=True,
    top_logprobs=3,
    max_tokens=5,
).choices[0]
assert choice.logprobs is not None
assert choice.logprobs.content
for token in choice.logprobs.content:
    print(f"{token.token!r} {math.exp(token.logprob):.0%}", [other.token for other in token.top_logprobs])
