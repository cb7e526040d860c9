"""A browser that does not read costs a bounded amount of memory, however much the gateway sends."""

from __future__ import annotations

import asyncio
import sys

import pytest
from sockets import SLACK, eventually
from web import GATEWAY_REQUEST, EndlessGateway

from tensorloop_stream import AsyncTensorloop, aforward_chat

MB = 1_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="measures the buffers of Linux")
def test_little_of_an_answer_waits_for_a_browser_that_stops_reading() -> None:
    """The kernel's buffer does not grow with the speed of a reader: an event loop may read all of it at once."""

    async def read_and_stop(upstream: EndlessGateway) -> int:
        async with (
            AsyncTensorloop(api_key="tl_none", base_url=f"http://127.0.0.1:{upstream.port}/v1") as client,
            await aforward_chat(client, GATEWAY_REQUEST) as answer,
        ):
            read = 0
            while read < 60 * MB:
                read += len(await anext(answer))
            assert await asyncio.to_thread(eventually, lambda: upstream.is_stalled(0.2), 5 * SLACK)
            return upstream.sent - read

    with EndlessGateway() as upstream:
        waiting = asyncio.run(read_and_stop(upstream))

    assert waiting < 1.5 * MB
