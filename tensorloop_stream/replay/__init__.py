"""Serve recorded streams on a real socket: develop and test streaming programs without a key, a network or a cent.

From a shell, in front of a program in any language:

    python -m tensorloop_stream.replay cassettes -- python program.py

In Python, for tests:

    with ReplayServer("cassettes", cut_after=7) as server:
        client = OpenAI(base_url=server.base_url, api_key="any")
"""

from ._playback import Disconnect, ReceivedRequest
from ._server import ReplayServer

__all__ = ["Disconnect", "ReceivedRequest", "ReplayServer"]
