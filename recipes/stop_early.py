"""Stop an answer from another thread or task, and keep what came: python recipes/stop_early.py"""

import asyncio
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from openai import OpenAIError

from tensorloop_stream import AsyncChatStream, AsyncTensorloop, ChatStream, Tensorloop

PROMPT = {"role": "user", "content": "Explain streaming to a new developer, in three paragraphs."}
ASK: Any = {"model": "gpt-4o-mini", "messages": [PROMPT], "temperature": 0.2, "max_tokens": 400, "stream": True}
PATIENCE = 0.5  # seconds; in a program, until somebody presses the button


def threads() -> str:
    """Read in one thread; any other may close the stream, which ends the read at once."""
    with ThreadPoolExecutor() as pool, ChatStream(Tensorloop().chat.completions.create(**ASK)) as stream:
        reading = pool.submit(stream.get_final_text)
        if wait([reading], PATIENCE).done:
            return reading.result()
        stream.close()
        return f"{stream.text} (stopped)"


async def tasks() -> str:
    """Read in one task; any other may cancel it, which closes the stream."""
    async with AsyncTensorloop() as client, AsyncChatStream(client.chat.completions.create(**ASK)) as stream:
        reading = asyncio.create_task(stream.get_final_text())
        done, _ = await asyncio.wait([reading], timeout=PATIENCE)
        if done:
            return reading.result()
        reading.cancel()
        return f"{stream.text} (stopped)"


try:
    print(threads(), asyncio.run(tasks()), sep="\n")
except OpenAIError as error:
    raise SystemExit(f"{error}") from None
