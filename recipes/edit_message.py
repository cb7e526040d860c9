"""Let a bot edit its message while the answer grows: python recipes/edit_message.py

Longer than a page, since it has a stand-in for a chat platform.
"""

import asyncio
import time

from openai import OpenAIError

from tensorloop_stream import AsyncChatStream, AsyncTensorloop, StreamError

INTERVAL = 1.0  # seconds between two edits: chat platforms allow about one a second for each message
LONGEST = 2000  # characters of one message (Discord; Telegram allows 4096)


class Message:
    """Stands for a message of your platform: give it the platform's calls."""

    async def edit(self, text: str) -> None:
        """Replace the text."""
        print(f"\r{text}" if "\n" not in text else f"\n{text}", flush=True)


async def reply(client: AsyncTensorloop, message: Message, question: str) -> None:
    """Show the answer in one message: at most one edit each interval, and a last one with the whole text."""
    ask = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": question}], stream=True
    )
    edited, end = time.monotonic(), ""
    async with AsyncChatStream(ask) as stream:
        try:
            async for _ in stream.text_stream:
                if time.monotonic() - edited >= INTERVAL:  # the stream waits in its buffer meanwhile
                    await message.edit(f"{stream.text[: LONGEST - 2]} …")
                    edited = time.monotonic()
        except StreamError as error:
            end = f"\n({error})"
        await message.edit((stream.text[: LONGEST - len(end)] + end) or "(no answer)")


async def main() -> None:
    """Answer one question."""
    async with AsyncTensorloop() as client:
        await reply(client, Message(), "Stream a haiku about caching.")


try:
    asyncio.run(main())
except OpenAIError as error:
    raise SystemExit(f"{error}") from None
