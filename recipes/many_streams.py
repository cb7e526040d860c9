"""Read hundreds of answers at once in one process: python recipes/many_streams.py"""

from asyncio import gather, run
from contextlib import suppress

from openai import DefaultAioHttpClient, OpenAIError

from tensorloop_stream import AsyncChatStream, AsyncTensorloop

with suppress(ImportError):  # installed with tensorloop_stream[aiohttp], except on Windows
    from uvloop import run

starts, failed = list[float](), list[str]()


async def read(client: AsyncTensorloop, text: str) -> None:
    """Read one answer; a slow reader delays this stream and no other."""
    create = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": text}], stream=True
    )
    try:
        async with AsyncChatStream(create, first_chunk_timeout=60, idle_timeout=20) as stream:
            async for _ in stream.text_stream:
                pass  # use the text here
        starts.append(stream.timing.time_to_first_token or 0.0)
    except OpenAIError as error:  # one stream failed; the others continue
        failed.append(type(error).__name__)


async def main() -> None:
    """Read 300 at once; for more than 1,000, give the HTTP client limits with max_connections=0."""
    async with AsyncTensorloop(http_client=DefaultAioHttpClient(), timeout=60) as client:  # also to connect
        await gather(*[read(client, "Stream a haiku about caching.") for _ in range(300)])


try:
    run(main())
except (OpenAIError, RuntimeError) as error:  # no key, or no aiohttp
    raise SystemExit(f"{error}") from None
print(f"{len(starts)} answers, all begun within {max(starts, default=0):.2f} s; {len(failed)} failed", *set(failed))
