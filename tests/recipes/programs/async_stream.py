import asyncio

from tensorloop_stream import AsyncChatStream, AsyncTensorloop


async def main() -> None:
    async with AsyncTensorloop() as client:
        answer = client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "Name three rivers."}], stream=True
        )
        async with AsyncChatStream(answer) as stream:
            async for text in stream.text_stream:
                print(text, end="", flush=True)
    print()


asyncio.run(main())
