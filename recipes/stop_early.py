"""Stop an answer from another thread or task, and keep what came: python recipes/stop_early.py"""

import asyncio
from multiprocessing.pool import ThreadPool
from typing import Any

from openai import OpenAIError

from tensorloop_stream import AsyncChatStream, AsyncTensorloop, ChatStream, Tensorloop

PROMPT = {"role": "user", "content": "Explain streaming to a new developer, in three paragraphs."}
ASK: Any = {"model": "gpt-4o-mini", "messages": [PROMPT], "temperature": 0.2, "max_tokens": 400, "stream": True}


def threads() -> str:
    """Read in one thread; any other may close the stream, which ends a read at once."""
    stream = ChatStream(lambda: Tensorloop().chat.completions.create(**ASK))  # not asked for before it is read
    with ThreadPool(1) as pool:  # nobody waits for its thread, which before the first byte hangs up when that comes
        reading = pool.apply_async(stream.get_final_text)
        reading.wait(0.5)  # seconds; in a program, until somebody presses the button
        if reading.ready():
            return reading.get()
        stream.close()
        return f"{stream.text} (stopped)"


async def tasks() -> str:
    """Read in one task; any other may cancel it, which closes the stream at once, whatever it waits for."""
    async with AsyncTensorloop() as client:
        stream = AsyncChatStream(client.chat.completions.create(**ASK))
        reading = asyncio.create_task(stream.get_final_text())
        asyncio.get_running_loop().call_later(0.5, reading.cancel)
        await asyncio.wait([reading])
        return f"{stream.text} (stopped)" if reading.cancelled() else reading.result()


try:
    print(threads(), asyncio.run(tasks()), sep="\n")
except OpenAIError as error:
    raise SystemExit(f"{error}") from None
