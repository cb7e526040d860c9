"""Streams that survive a reload, a lost connection and the replica that served them, kept in Redis while they last.

One process asks the gateway and writes each event to a Redis Stream; any number of readers, in any process, follow
it from any event on:

    streams = ResumableStreams(redis.asyncio.Redis())

    await streams.start(id, client, body)                    # once, whoever asks first; does not wait for the answer
    answer = await streams.read(id, last_event_id)           # status_code, headers, and bytes when iterated
    await streams.cancel(id)                                 # a reader that leaves cancels nothing

A producer that dies is known to every reader within 5 seconds. Needs Redis 6.2 or newer, not a cluster.
"""

try:
    import redis as _redis  # noqa: F401 - only to say what is missing
except ModuleNotFoundError:
    _MESSAGE = 'resumable streams are kept in Redis, which needs redis-py: pip install "tensorloop_stream[redis]"'
    raise ModuleNotFoundError(_MESSAGE, name="redis") from None

from ._chat import FollowedChat
from ._streams import ResumableStreams

__all__ = ["FollowedChat", "ResumableStreams"]
