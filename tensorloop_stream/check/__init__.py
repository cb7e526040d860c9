"""Check what a base URL, a key and the proxies between make of a stream: `python -m tensorloop_stream.check`.

It asks for the models, then for one short answer (about a hundred tokens, at your cost), and prints about ten lines.
The exit status is 0 if the stream is as it should be, 1 if something is wrong with it, 2 if nothing could be asked.
"""

from ._cli import main

__all__ = ["main"]
