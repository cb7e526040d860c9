import asyncio
import os

from openai import AsyncOpenAI

QUESTIONS = [f"What is {number} squared?" for number in range(30)]


async def ask(client: AsyncOpenAI, question: str) -> str:
    stream = await client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": question}], stream=True, max_tokens=20
    )
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


async def main() -> None:
    async with AsyncOpenAI(base_url=os.environ["TENSORLOOP_BASE_URL"], api_key=os.environ["TENSORLOOP_KEY"]) as client:
        answers = await asyncio.gather(*(ask(client, question) for question in QUESTIONS))
    print(len(answers), "answers, the first:", answers[0])
    assert all(answers)


asyncio.run(main())
