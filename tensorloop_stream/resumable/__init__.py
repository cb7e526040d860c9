"""Keep streams in Redis, so that they survive a reload, a lost connection and the end of the replica that served them.

One process sends the request to the gateway and writes each event to a Redis Stream. Any number of readers, in any
process, follow the stream from any event on:

    streams = ResumableStreams(redis.asyncio.Redis())

    await streams.start(id, client, body)                    # the first call starts it; no call waits for the answer
    answer = await streams.read(id, last_event_id)           # status_code, headers, and bytes when iterated
    await streams.cancel(id)                                 # a reader that leaves cancels nothing

Every reader notices a dead producer within 5 seconds. Redis must be 6.2 or newer, and no cluster. Its
`maxmemory-policy` must be `noeviction`: a full Redis then refuses new streams, and evicts none that is being read.
"""

try:
    import redis as _redis  # noqa: F401 - imported for the error message alone
except ModuleNotFoundError:
    _MESSAGE = 'resumable streams need redis-py, which is not installed: pip install "tensorloop_stream[redis]"'
    raise ModuleNotFoundError(_MESSAGE, name="redis") from None

from ._chat import FollowedChat
from ._streams import ResumableStreams

__all__ = ["FollowedChat", "ResumableStreams"]
