import os

from openai import OpenAI
from pydantic import BaseModel

client = OpenAI(base_url=os.environ["TENSORLOOP_BASE_URL"], api_key=os.environ["TENSORLOOP_KEY"])


class Step(BaseModel):
    explanation: str
    result: str


class Solution(BaseModel):
    steps: list[Step]
    answer: float


with client.chat.completions.stream(
    model="gpt-4o", messages=[{"role": "user", "content": "Solve 8x + 31 = 2."}], response_format=Solution
) as stream:
    for event in stream:
        if event.type == "content.delta":
            print(event.delta, end="", flush=True)
        elif event.type == "content.done":
            print("\n", event.parsed)
    solution = stream.get_final_completion().choices[0].message.parsed
assert solution is not None
print(len(solution.steps), "steps")
