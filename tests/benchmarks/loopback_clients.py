"""The ways in `loopback.py` to read many streams at once; each records the time of every chunk."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import openai
from loopback_run import Run
from loopback_server import part

from tensorloop_stream import AsyncChatStream, AsyncStreamHttpxClient, ChatStream, StreamHttpxClient

if sys.platform != "win32":
    import uvloop

now = time.monotonic_ns
SETTINGS: dict[str, Any] = {"api_key": "none", "max_retries": 0}
PATIENCE = 60
# Building one costs 40 ms.
SSL = ssl.create_default_context()


def asked(number: int) -> dict[str, Any]:
    return {"model": str(number), "messages": [{"role": "user", "content": "Hello?"}], "stream": True}


# The code of a caller; `opened` is passed when all streams are open.


async def sdk_loop(client: openai.AsyncOpenAI, number: int, run: Run, opened: asyncio.Barrier) -> str:
    """The SDK's documented loop"""
    taken, place, texts = run.board.taken, number * run.chunks, []
    stream = await client.chat.completions.create(**asked(number))
    await opened.wait()
    async for chunk in stream:
        text = chunk.choices[0].delta.content
        if text:
            texts.append(text)
            taken[place] = now()
            place += 1
    return "".join(texts)


async def iterating(client: openai.AsyncOpenAI, number: int, run: Run, opened: asyncio.Barrier) -> str:
    """The same loop over an `AsyncChatStream`"""
    taken, place, texts = run.board.taken, number * run.chunks, []
    async with AsyncChatStream(client.chat.completions.create(**asked(number))) as stream:
        await opened.wait()
        async for chunk in stream:
            text = chunk.choices[0].delta.content
            if text:
                texts.append(text)
                taken[place] = now()
                place += 1
    return "".join(texts)


async def text_stream(client: openai.AsyncOpenAI, number: int, run: Run, opened: asyncio.Barrier) -> str:
    """`AsyncChatStream.text_stream`"""
    taken, place, texts = run.board.taken, number * run.chunks, []
    async with AsyncChatStream(client.chat.completions.create(**asked(number))) as stream:
        await opened.wait()
        async for text in stream.text_stream:
            texts.append(text)
            taken[place] = now()
            place += 1
    return "".join(texts)


def thread_sdk_loop(client: openai.OpenAI, number: int, run: Run, opened: threading.Barrier) -> str:
    """The SDK's documented loop"""
    taken, place, texts = run.board.taken, number * run.chunks, []
    stream = client.chat.completions.create(**asked(number))
    opened.wait()
    for chunk in stream:
        text = chunk.choices[0].delta.content
        if text:
            texts.append(text)
            taken[place] = now()
            place += 1
    return "".join(texts)


def thread_iterating(client: openai.OpenAI, number: int, run: Run, opened: threading.Barrier) -> str:
    """The same loop over a `ChatStream`"""
    taken, place, texts = run.board.taken, number * run.chunks, []
    with ChatStream(client.chat.completions.create(**asked(number))) as stream:
        opened.wait()
        for chunk in stream:
            text = chunk.choices[0].delta.content
            if text:
                texts.append(text)
                taken[place] = now()
                place += 1
    return "".join(texts)


def thread_text_stream(client: openai.OpenAI, number: int, run: Run, opened: threading.Barrier) -> str:
    """`ChatStream.text_stream`"""
    taken, place, texts = run.board.taken, number * run.chunks, []
    with ChatStream(client.chat.completions.create(**asked(number))) as stream:
        opened.wait()
        for text in stream.text_stream:
            texts.append(text)
            taken[place] = now()
            place += 1
    return "".join(texts)


# The limits: the same bytes, unprocessed


class Bare(asyncio.Protocol):
    def __init__(self, number: int, run: Run) -> None:
        loop = asyncio.get_running_loop()
        self.begun, self.ended = loop.create_future(), loop.create_future()
        self.taken, self.place = run.board.taken, number * run.chunks
        self.got: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        if not self.got:
            self.begun.set_result(None)
        self.got.append(data)
        for _ in range(data.count(b"data: {")):  # no event is cut: each write is far smaller than a read
            self.taken[self.place] = now()
            self.place += 1
        if data.endswith(b"\r\n0\r\n\r\n"):
            self.ended.set_result(None)


async def bare(_: object, number: int, run: Run, opened: asyncio.Barrier) -> str:
    """the limit: a protocol that reads the bytes"""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(lambda: Bare(number, run), "127.0.0.1", run.port)
    transport.write(bare_request(number))
    await protocol.begun
    await opened.wait()
    await protocol.ended
    transport.close()
    return checked(b"".join(protocol.got), number, run)


def thread_bare(_: object, number: int, run: Run, opened: threading.Barrier) -> str:
    """the limit: a socket that reads the bytes"""
    taken, place = run.board.taken, number * run.chunks
    with socket.create_connection(("127.0.0.1", run.port)) as connection:
        connection.sendall(bare_request(number))
        got = [connection.recv(65536)]
        opened.wait()
        while not got[-1].endswith(b"\r\n0\r\n\r\n"):
            got.append(connection.recv(65536))
            for _ in range(got[-1].count(b"data: {")):
                taken[place] = now()
                place += 1
    return checked(b"".join(got), number, run)


def bare_request(number: int) -> bytes:
    body = b'{"model":"%d"}' % number
    return b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def checked(got: bytes, number: int, run: Run) -> str:
    body = got.partition(b"\r\n\r\n")[2]
    assert body == part(number, 0, run.chunks, run.chunks) + part(number, run.chunks, run.chunks, run.chunks)
    return "".join(re.findall(r'"content":"(.*?)"', body.decode()))


DIRECT = "direct reads"
# The HTTP client that the SDK gets; the limits get one, and do not use it.
ASYNC_LIBRARIES: dict[str, Any] = {
    "": openai.DefaultAsyncHttpxClient,
    "httpx2": openai.DefaultAsyncHttpxClient,
    DIRECT: AsyncStreamHttpxClient,
    "aiohttp": openai.DefaultAioHttpClient,
}
LIBRARIES: dict[str, Any] = {
    "": openai.DefaultHttpxClient,
    "httpx2": openai.DefaultHttpxClient,
    DIRECT: StreamHttpxClient,
}


@dataclass(frozen=True)
class Way:
    """Code of a caller, and the loop or threads that run it."""

    read: Callable[..., Any]
    library: str = ""
    loop: str = ""

    def __call__(self, run: Run) -> None:
        if not self.loop:
            self._in_threads(run)
            return
        factory = uvloop.new_event_loop if self.loop == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(self._in_tasks(run))

    async def _in_tasks(self, run: Run) -> None:
        opened = asyncio.Barrier(run.streams + 1)
        make = ASYNC_LIBRARIES[self.library]
        client = openai.AsyncOpenAI(**SETTINGS, base_url=run.url, http_client=make(verify=SSL))
        async with client, asyncio.TaskGroup() as group:
            run.begin()
            tasks = []
            for number in range(run.streams):
                tasks.append(group.create_task(self.read(client, number, run, opened)))
                # Starting all at once would block the loop for longer than the SDK's connect timeout.
                await asyncio.sleep(0)
            await opened.wait()
            for _ in run.steps():
                await asyncio.sleep(0.01)
            run.end(await asyncio.gather(*tasks))

    def _in_threads(self, run: Run) -> None:
        opened = threading.Barrier(run.streams + 1)
        http_client = LIBRARIES[self.library](verify=SSL)
        with (
            openai.OpenAI(**SETTINGS, base_url=run.url, http_client=http_client) as client,
            ThreadPoolExecutor(run.streams) as pool,
        ):
            run.begin()
            texts = [pool.submit(self.read, client, number, run, opened) for number in range(run.streams)]
            opened.wait(PATIENCE)
            for _ in run.steps():
                time.sleep(0.01)
            run.end([text.result() for text in texts])

    @property
    def name(self) -> str:
        return f"{self.read.__name__}+{self.library}+{self.loop}"


LOOPS = ("asyncio",) if sys.platform == "win32" else ("asyncio", "uvloop")
WAYS = [
    Way(read, library, loop)
    for library in ("httpx2", DIRECT, "aiohttp")
    for loop in LOOPS
    for read in (sdk_loop, iterating, text_stream)
    if read is not sdk_loop or library != DIRECT
]
LIMITS = [Way(bare, "", loop) for loop in LOOPS]
THREADED = [Way(read, "httpx2") for read in (thread_sdk_loop, thread_iterating, thread_text_stream)]
THREADED += [Way(read, DIRECT) for read in (thread_iterating, thread_text_stream)]
THREADED.append(Way(thread_bare))
