"""Print an answer as it arrives, in asynchronous code: python recipes/stream_async.py"""

import asyncio

from openai import OpenAIError

from tensorloop_stream import AsyncChatStream, AsyncTensorloop


async def main() -> None:
    """Send a request, and print its answer."""
    async with AsyncTensorloop() as client:
        answer = client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": "Stream a haiku about caching."}],
            stream=True,
        )
        async with AsyncChatStream(answer) as stream:
            async for text in stream.text_stream:
                print(text, end="", flush=True)
    print(f"\n--- final ({len(stream.text)} chars) ---")
    if (reason := stream.completion.choices[0].finish_reason) in {"length", "content_filter"}:
        print(f"(cut: {reason})")


try:
    asyncio.run(main())
except OpenAIError as error:  # no key, no connection, a broken stream: a sentence, no traceback
    raise SystemExit(f"\n{error}") from None
