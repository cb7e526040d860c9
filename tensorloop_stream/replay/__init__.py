"""Serve recorded streams on a real socket: develop and test streaming programs without a key, a network or a cent.

From a shell, in front of a program in any language:

    python -m tensorloop_stream.replay cassettes -- python program.py

A request that nobody recorded gets the nearest recorded answer of its kind, or a canned one. To record a program:

    python -m tensorloop_stream.replay --record cassettes/mine -- python program.py

In Python, for tests:

    with ReplayServer("cassettes", cut_after=7) as server:
        client = OpenAI(base_url=server.base_url, api_key="any")

A `ReplayServer` answers recorded requests alone, unless it is made with `strict=False`.
"""

from ._log import Disconnect, ReceivedRequest
from ._server import ReplayServer

__all__ = ["Disconnect", "ReceivedRequest", "ReplayServer"]
