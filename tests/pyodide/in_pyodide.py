# mypy: ignore-errors
# It is no module: Pyodide takes an await at the top.
"""Read streams and run the tests of the pure core, under Pyodide; its last line is the exit status."""

import os
import sys

sys.path[:0] = ["/site", "/repository", "/repository/tests/support"]
os.chdir("/repository")

import httpx  # noqa: E402 - found there

# The tests name the library of openai 3, whose part for browsers is not published yet.
sys.modules["httpx2"] = httpx

import openai  # noqa: E402
import pytest  # noqa: E402
from chunks import HELLO, sse  # noqa: E402
from events import HELLO as EVENTS, stream as events  # noqa: E402

from tensorloop_stream import AsyncTensorloop, StreamTruncatedError, Tensorloop  # noqa: E402

SETTINGS = {"api_key": "none", "base_url": "https://gateway.test/v1"}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hello?"}], "stream": True}
# What needs threads, sockets or another process is left out, and data so deep that the browser's stack ends.
TESTS = [
    "tests/unit/test_sse.py",
    "tests/unit/test_accumulator.py",
    "tests/unit/test_chunk_rules.py",
    "tests/responses/test_response_accumulator.py",
]


def transport_of(body: bytes) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(200, content=body))


def read(body: bytes) -> Tensorloop:
    return Tensorloop(**SETTINGS, http_client=httpx.Client(transport=transport_of(body)))


async def read_async(body: bytes) -> str:
    client = AsyncTensorloop(**SETTINGS, http_client=httpx.AsyncClient(transport=transport_of(body)))
    return await (await client.chat.completions.create(**CHAT)).get_final_text()


assert read(sse(*HELLO)).chat.completions.create(**CHAT).get_final_text() == "Hello"
assert read(events(*EVENTS)).responses.create(model="m", input="x", stream=True).get_final_text() == "Hello"
assert await read_async(sse(*HELLO)) == "Hello"  # noqa: F704, PLE1142 - as above
with pytest.raises(StreamTruncatedError) as caught:
    read(sse(*HELLO[:2], done=False)).chat.completions.create(**CHAT).get_final_text()
assert caught.value.text == "Hel"
print(f"openai {openai.__version__}, Python {sys.version.split()[0]}: four streams are read right")

OPTIONS = ["-q", "--noconftest", "-p", "no:cacheprovider", "-p", "no:faulthandler", "-c", "/site/pyodide.ini"]
int(pytest.main([*OPTIONS, "--rootdir=/repository", "-k", "not deep and not async", *TESTS]))
