"""Stop an answer from another thread or task, and keep its text: python recipes/stop_early.py"""

import asyncio
from multiprocessing.pool import ThreadPool
from typing import Any

from openai import OpenAIError

from tensorloop_stream import AsyncChatStream, AsyncTensorloop, ChatStream, Tensorloop

PROMPT = {"role": "user", "content": "Explain streaming to a new developer, in three paragraphs."}
REQUEST: Any = {"model": "gpt-4o-mini", "messages": [PROMPT], "temperature": 0.2, "max_tokens": 400, "stream": True}


def stop_from_another_thread() -> str:
    """Read in one thread; any other thread may close the stream, which ends a read at once."""
    stream = ChatStream(lambda: Tensorloop().chat.completions.create(**REQUEST))  # sent at the first read
    with ThreadPool(1) as pool:  # a thread that waits for the first byte disconnects when it arrives
        reading = pool.apply_async(stream.get_final_text)
        reading.wait(0.5)  # seconds; in a program, until the user presses the button
        if reading.ready():
            return reading.get()
        stream.close()
        return f"{stream.text} (stopped)"


async def stop_from_another_task() -> str:
    """Read in one task; any other task may cancel it, which closes the stream at once."""
    async with AsyncTensorloop() as client:
        stream = AsyncChatStream(client.chat.completions.create(**REQUEST))
        reading = asyncio.create_task(stream.get_final_text())
        asyncio.get_running_loop().call_later(0.5, reading.cancel)
        await asyncio.wait([reading])
        return f"{stream.text} (stopped)" if reading.cancelled() else reading.result()


try:
    print(stop_from_another_thread(), asyncio.run(stop_from_another_task()), sep="\n")
except OpenAIError as error:
    raise SystemExit(f"{error}") from None
