"""Read hundreds of answers at once in one process: python recipes/many_streams.py"""

from asyncio import gather, run
from contextlib import suppress

from openai import DefaultAioHttpClient, OpenAIError

from tensorloop_stream import AsyncChatStream, AsyncTensorloop

with suppress(ImportError):  # comes with tensorloop_stream[aiohttp], except on Windows
    from uvloop import run

waits, failed = list[float](), list[str]()


async def read(client: AsyncTensorloop, text: str) -> None:
    """Read one answer; who takes it slowly holds back this stream and no other."""
    create = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": text}], temperature=0.2, max_tokens=60, stream=True
    )
    try:
        async with AsyncChatStream(create, first_chunk_timeout=60, idle_timeout=20) as stream:
            async for _ in stream.text_stream:
                pass  # hand it on
        waits.append(stream.timing.time_to_first_token or 0.0)
    except OpenAIError as error:  # of one stream; the others go on
        failed.append(type(error).__name__)


async def main() -> None:
    """Read 300; the 1,001st would wait for a connection, but not with limits=httpx2.Limits(max_connections=0)."""
    async with AsyncTensorloop(http_client=DefaultAioHttpClient(), timeout=60) as client:  # to connect, too
        await gather(*[read(client, "Stream a haiku about caching.") for _ in range(300)])


try:
    run(main())
except (OpenAIError, RuntimeError) as error:  # no key, or no aiohttp
    raise SystemExit(f"{error}") from None
print(f"{len(waits)} answers, all begun within {max(waits, default=0):.2f} s; {len(failed)} failed", *set(failed))
