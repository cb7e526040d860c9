"""A Redis that may evict a stream is reported once, and a Redis that does not say so is used as it is."""

from __future__ import annotations

import logging
import uuid

import cassette
import pytest
import requirements
from redis_servers import redis_server
from sockets import async_client
from web import GATEWAY_REQUEST, unused_port

from tensorloop_stream.replay import ReplayServer

LIMITED = ("--maxmemory", "64mb", "--maxmemory-policy")


async def warnings_of(caplog: pytest.LogCaptureFixture, *options: str) -> list[str]:
    """Start and read two streams on a Redis with these options, and return the warnings."""
    requirements.module("redis", "redis")
    from redis.asyncio import Redis

    from tensorloop_stream.resumable import ResumableStreams

    caplog.set_level(logging.WARNING, "tensorloop_stream")
    port = unused_port()
    with redis_server(port, *options), ReplayServer(cassette.FOLDER / "chat/haiku.yaml") as upstream:
        async with (
            Redis(port=port) as redis,
            async_client(upstream.base_url) as client,
            ResumableStreams(redis) as streams,
        ):
            for _ in range(2):
                name = uuid.uuid4().hex
                await streams.start(name, client, GATEWAY_REQUEST)
                async with await streams.read(name) as answer:
                    assert answer.status_code == 200
                    assert b"[DONE]" in b"".join([data async for data in answer])
    return [record.getMessage() for record in caplog.records if record.name == "tensorloop_stream"]


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-lru", "volatile-ttl"])
async def test_a_policy_that_evicts_streams_is_reported_once(policy: str, caplog: pytest.LogCaptureFixture) -> None:
    """Every key of a stream expires, so the volatile ones take it, too."""
    warnings = await warnings_of(caplog, *LIMITED, policy)

    assert len(warnings) == 1
    assert f"maxmemory-policy {policy}" in warnings[0]
    assert "noeviction" in warnings[0]


@pytest.mark.parametrize(
    "options",
    [
        (*LIMITED, "noeviction"),
        ("--maxmemory", "0", "--maxmemory-policy", "allkeys-lru"),
        (*LIMITED, "allkeys-lru", "--rename-command", "INFO", ""),
    ],
    ids=["safe", "no limit", "INFO is refused"],
)
async def test_a_safe_or_silent_redis_is_not_reported(
    options: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Without a limit nothing is evicted; a managed Redis may refuse to tell."""
    assert await warnings_of(caplog, *options) == []
