"""The SDK's aiohttp transport on real sockets, with asyncio's loop and with uvloop."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import openai
import pytest
import requirements
from sockets import (
    EVENTS,
    NEVER,
    SLACK,
    aeventually,
    async_client,
    chat,
    eventually,
    open_descriptors,
    write_cassette,
)

from tensorloop_stream import (
    AsyncChatStream,
    Callbacks,
    StreamConnectionError,
    StreamProviderError,
    StreamTimeoutError,
    StreamTruncatedError,
)
from tensorloop_stream.replay import ReplayServer

LIMIT = 0.15

# aiohttp raises errors of its own for cuts, silence and a full pool; the transport converts them to httpx2's.
Main = Callable[[openai.AsyncOpenAI], Awaitable[None]]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    long = [EVENTS[0], *(EVENTS[1] for _ in range(200)), *EVENTS[3:]]
    return write_cassette(tmp_path_factory.mktemp("fast") / "streams.yaml", hello=EVENTS, long=long)


@pytest.fixture
def server(recording: Path) -> Iterator[ReplayServer]:
    with ReplayServer(recording) as server:
        yield server


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, server: ReplayServer) -> Callable[[Main], None]:
    """Return a function that runs `main` with a client, and checks that everything it opened is closed."""
    if request.param == "uvloop":
        requirements.module("uvloop", "aiohttp")

    async def around(main: Main) -> None:
        async with async_client(server.base_url, "aiohttp") as client:
            await main(client)
        loop = type(asyncio.get_running_loop())
        assert loop.__module__.partition(".")[0] == request.param
        assert await aeventually(lambda: asyncio.all_tasks() == {asyncio.current_task()})

    def run(main: Main) -> None:
        options = {"use_uvloop": request.param == "uvloop"}
        anyio.run(anyio.sleep, 0, backend_options=options)  # the first uvloop opens a pipe that the others share
        held = open_descriptors()
        anyio.run(around, main, backend_options=options)
        assert eventually(lambda: open_descriptors() <= held)  # the server's ends are of this process, too

    return run


@pytest.mark.parametrize("ping", ["", "&ping=0.05"], ids=["silence", "pings"])
@pytest.mark.parametrize("after", [0, 2])
def test_a_stall_raises_a_timeout_error(
    after: int, ping: str, run: Callable[[Main], None], server: ReplayServer
) -> None:
    """The limits count chunks, before the first and between two, with and without comments."""

    async def main(client: openai.AsyncOpenAI) -> None:
        create = client.chat.completions.create(**chat(f"stall-after={after}{ping}"))
        stream = AsyncChatStream(create, first_chunk_timeout=4 * LIMIT, idle_timeout=LIMIT)
        with pytest.raises(StreamTimeoutError, match="idle_timeout" if after else "first_chunk_timeout") as raised:
            await stream.until_done()

        assert [choice.message.content for choice in raised.value.partial.choices] == (["Hel"] if after else [])
        assert await aeventually(lambda: len(server.disconnects) == 1)

    run(main)


def test_the_read_timeout_of_the_client_raises_a_timeout_error(
    run: Callable[[Main], None], server: ReplayServer
) -> None:
    """aiohttp calls it `sock_read`, and the error is of the same family."""

    async def main(client: openai.AsyncOpenAI) -> None:
        limited = client.with_options(timeout=openai.Timeout(NEVER, read=4 * LIMIT))
        with pytest.raises(StreamTimeoutError, match="the client's read timeout, after 2 chunks") as raised:
            await AsyncChatStream(limited.chat.completions.create(**chat("stall-after=2"))).until_done()

        assert raised.value.partial.choices[0].message.content == "Hel"
        assert await aeventually(lambda: len(server.disconnects) == 1)

    run(main)


@pytest.mark.parametrize(
    ("faults", "error"),
    [
        ("cut-after=2", StreamConnectionError),
        ("end-after=2", StreamTruncatedError),
        ("error-after=2", StreamProviderError),
        ("status=429", openai.RateLimitError),
    ],
)
def test_a_broken_stream_raises_the_error_of_its_fault(
    faults: str, error: type[openai.OpenAIError], run: Callable[[Main], None]
) -> None:
    """No error of aiohttp reaches the caller."""

    async def main(client: openai.AsyncOpenAI) -> None:
        with pytest.raises(openai.OpenAIError) as raised:
            await AsyncChatStream(client.chat.completions.create(**chat(faults))).until_done()

        assert type(raised.value) is error

    run(main)


def test_an_unreachable_server_raises_a_connection_error(run: Callable[[Main], None]) -> None:
    """The error is the SDK's, as with httpx2."""

    async def main(client: openai.AsyncOpenAI) -> None:
        unreachable = client.with_options(base_url="http://127.0.0.1:9/v1")
        with pytest.raises(openai.APIConnectionError):
            await AsyncChatStream(unreachable.chat.completions.create(**chat())).until_done()

    run(main)


async def by_break(stream: AsyncChatStream) -> None:
    async with stream:
        async for _ in stream:
            break


async def by_close_in_another_task(stream: AsyncChatStream) -> None:
    await anext(stream)
    reading = asyncio.create_task(stream.until_done())
    await asyncio.sleep(0.03)
    await stream.close()
    with pytest.raises(StreamTruncatedError, match="closed early, after"):
        await reading


async def by_cancel(stream: AsyncChatStream) -> None:
    await anext(stream)
    reading = asyncio.create_task(stream.until_done())
    await asyncio.sleep(0.03)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


@pytest.mark.parametrize("leave", [by_break, by_close_in_another_task, by_cancel])
def test_the_server_sees_a_reader_leave(
    leave: Callable[[AsyncChatStream], Awaitable[None]], run: Callable[[Main], None], server: ReplayServer
) -> None:
    """The server sees the disconnect at once, and the callbacks receive one `on_abort`."""
    calls: list[str] = []

    async def main(client: openai.AsyncOpenAI) -> None:
        callbacks = Callbacks(on_abort=lambda _: calls.append("on_abort"), on_error=lambda _: calls.append("on_error"))
        await leave(AsyncChatStream(client.chat.completions.create(**chat("stall-after=3")), callbacks))

        assert await aeventually(lambda: len(server.disconnects) == 1)
        assert calls == ["on_abort"]

    run(main)


def test_a_connection_is_reused(run: Callable[[Main], None], server: ReplayServer) -> None:
    """After `[DONE]` it returns to aiohttp's pool, also if the end of the response follows in a later read."""

    async def main(client: openai.AsyncOpenAI) -> None:
        for faults in ("", "", "split=5", "linger=0.02"):
            assert await AsyncChatStream(client.chat.completions.create(**chat(faults))).get_final_text() == "Hello"

        assert server.connections == 1

    run(main)


def test_a_stream_does_not_wait_for_a_lingering_server(run: Callable[[Main], None]) -> None:
    """The answer is complete with `[DONE]`."""

    async def main(client: openai.AsyncOpenAI) -> None:
        with anyio.fail_after(SLACK):
            stream = AsyncChatStream(client.chat.completions.create(**chat(f"linger={NEVER}")))
            assert await stream.get_final_text() == "Hello"

    run(main)


def test_many_concurrent_streams_are_whole(run: Callable[[Main], None]) -> None:
    """120 streams of two hundred chunks exceed the HTTP libraries' hundred connections."""

    async def main(client: openai.AsyncOpenAI) -> None:
        async def one() -> int:
            create = client.chat.completions.create(**chat(prompt="long"))
            return len(await AsyncChatStream(create).get_final_text())

        assert await asyncio.gather(*[one() for _ in range(120)]) == [600] * 120

    run(main)


@asynccontextmanager
async def compressing(events: list[bytes], pause: asyncio.Event, zipped: bool) -> AsyncIterator[str]:
    """Serve events as a proxy that compresses each separately, and wait after the second."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert b"gzip" in head.partition(b"accept-encoding:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(head.partition(b"content-length:")[2].split()[0]))
        encoding = b"content-encoding: gzip\r\n" if zipped else b""
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n" + encoding)
        writer.write(b"transfer-encoding: chunked\r\n\r\n")
        packer = zlib.compressobj(wbits=31)
        for number, event in enumerate(events):
            if number == 2:
                await pause.wait()
            part = packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH) if zipped else event
            writer.write(b"%x\r\n%s\r\n" % (len(part), part))
        if zipped:
            part = packer.flush()
            writer.write(b"%x\r\n%s\r\n" % (len(part), part))
        writer.write(b"0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


@pytest.mark.parametrize("zipped", [True, False], ids=["gzip", "plain"])
def test_compressed_events_arrive_one_by_one(zipped: bool, run: Callable[[Main], None]) -> None:
    """A compressed event is delivered before the next one arrives."""

    async def main(client: openai.AsyncOpenAI) -> None:
        more = asyncio.Event()
        async with compressing(EVENTS, more, zipped) as url:
            stream = AsyncChatStream(client.with_options(base_url=url).chat.completions.create(**chat()))
            with anyio.fail_after(SLACK):
                await anext(stream)
                await anext(stream)
            assert stream.text == "Hel"
            more.set()
            assert await stream.get_final_text() == "Hello"

    run(main)


def test_a_body_in_gzip_is_read(run: Callable[[Main], None]) -> None:
    """A cache serves one gzip member, split at any byte."""

    async def main(client: openai.AsyncOpenAI) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            body = gzip.compress(b"".join(EVENTS))
            head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\n"
            writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode())
            for start in range(0, len(body), 9):
                writer.write(body[start : start + 9])
                await writer.drain()
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            create: Any = client.with_options(base_url=url).chat.completions.create(**chat())
            assert await AsyncChatStream(create).get_final_text() == "Hello"

    run(main)
