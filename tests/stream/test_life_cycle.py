"""Streams that are left, on real sockets: the server sees it at once, and nothing stays open."""

from __future__ import annotations

import asyncio
import gc
import gzip
import signal
import subprocess
import threading
import time
import warnings
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import anyio
import clients
import httpx2
import openai
import pytest
from interrupts import send_ctrl_c
from sockets import (
    EVENTS,
    NEVER,
    SLACK,
    aeventually,
    async_client,
    chat,
    eventually,
    open_descriptors,
    program_on_server,
    saw_disconnects,
    sync_client,
    write_cassette,
)

from tensorloop_stream import AsyncChatStream, Callbacks, ChatStream, StreamTruncatedError
from tensorloop_stream.replay import ReplayServer

every_client = pytest.mark.parametrize("kind", ["sync", "async", "aiohttp", "trio"])
async_clients = pytest.mark.parametrize("kind", ["async", "aiohttp", "trio"])
interruptible = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals cannot be sent to a thread")


class LeftError(Exception):
    """The exception of a caller's own code."""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    long = [EVENTS[0], *(EVENTS[1] for _ in range(200)), *EVENTS[3:]]
    return write_cassette(tmp_path_factory.mktemp("life") / "streams.yaml", hello=EVENTS, long=long)


@pytest.fixture
def server(recording: Path) -> Iterator[ReplayServer]:
    with ReplayServer(recording) as server:
        yield server


@pytest.fixture
def calls() -> list[str]:
    """The terminal callbacks that were called."""
    return []


def terminal_callbacks(calls: list[str]) -> Callbacks:
    return Callbacks(
        on_finish=lambda _: calls.append("on_finish"),
        on_error=lambda _: calls.append("on_error"),
        on_abort=lambda _: calls.append("on_abort"),
    )


def run(kind: str, main: Callable[[], Awaitable[Any]]) -> None:
    anyio.run(main, backend="trio" if kind == "trio" else "asyncio")


def raising(error: type[BaseException] | None) -> AbstractContextManager[Any]:
    return nullcontext() if error is None else pytest.raises(error)


# Ways to leave a stream, which stalls after three chunks


def begin(stream: ChatStream) -> None:
    for _ in range(3):
        next(stream)


async def abegin(stream: AsyncChatStream) -> None:
    for _ in range(3):
        await anext(stream)


def by_break(stream: ChatStream) -> None:
    with stream:
        for _ in stream:
            break


def by_exception(stream: ChatStream) -> None:
    with stream:
        for _ in stream:
            raise LeftError


def by_half_a_text_stream(stream: ChatStream) -> None:
    with stream:
        texts = stream.text_stream
        next(texts)


def by_close(stream: ChatStream) -> None:
    next(stream)
    stream.close()


def by_ctrl_c_while_reading(stream: ChatStream) -> None:
    begin(stream)
    send_ctrl_c()
    stream.until_done()


def by_ctrl_c_in_the_body(stream: ChatStream) -> None:
    with stream:
        send_ctrl_c()
        for _ in stream:
            time.sleep(NEVER)


@interruptible
@pytest.mark.parametrize(
    ("leave", "raises"),
    [
        (by_break, None),
        (by_exception, LeftError),
        (by_half_a_text_stream, None),
        (by_close, None),
        (by_ctrl_c_while_reading, KeyboardInterrupt),
        (by_ctrl_c_in_the_body, KeyboardInterrupt),
    ],
)
def test_the_server_sees_a_client_leave(
    leave: Callable[[ChatStream], None], raises: type[BaseException] | None, server: ReplayServer, calls: list[str]
) -> None:
    """Leaving the block in any way closes descriptors and threads, and calls `on_abort` once."""
    held, threads = open_descriptors(), threading.active_count()
    with sync_client(server.base_url) as client:
        stream = ChatStream(client.chat.completions.create(**chat("stall-after=3")), terminal_callbacks(calls))
        with raising(raises):
            leave(stream)

        assert saw_disconnects(server)
        assert calls == ["on_abort"]
        assert eventually(lambda: open_descriptors() <= held)
        assert eventually(lambda: threading.active_count() <= threads)


async def by_async_break(stream: AsyncChatStream) -> None:
    async with stream:
        async for _ in stream:
            break


async def by_async_exception(stream: AsyncChatStream) -> None:
    async with stream:
        async for _ in stream:
            raise LeftError


async def by_half_an_async_text_stream(stream: AsyncChatStream) -> None:
    async with stream:
        await anext(stream.text_stream)


async def by_async_close(stream: AsyncChatStream) -> None:
    await anext(stream)
    await stream.close()


async def by_cancellation_while_reading(stream: AsyncChatStream) -> None:
    await abegin(stream)
    with anyio.move_on_after(0.05):
        await stream.until_done()


async def by_cancellation_in_the_body(stream: AsyncChatStream) -> None:
    with anyio.CancelScope() as scope:
        async with stream:
            async for _ in stream:
                scope.deadline = anyio.current_time() + 0.05
                await anyio.sleep(NEVER)


async def by_cancellation_of_a_task_group(stream: AsyncChatStream) -> None:
    await abegin(stream)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stream.until_done)
        await anyio.sleep(0.05)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("leave", "raises"),
    [
        (by_async_break, None),
        (by_async_exception, LeftError),
        (by_half_an_async_text_stream, None),
        (by_async_close, None),
        (by_cancellation_while_reading, None),
        (by_cancellation_in_the_body, None),
        (by_cancellation_of_a_task_group, None),
    ],
)
@async_clients
def test_the_server_sees_an_async_client_leave(
    kind: str,
    leave: Callable[[AsyncChatStream], Awaitable[None]],
    raises: type[BaseException] | None,
    server: ReplayServer,
    calls: list[str],
) -> None:
    """The test runs on asyncio with both HTTP libraries, and on trio."""

    async def main() -> None:
        async with async_client(server.base_url, kind) as client:
            held, tasks = open_descriptors(), kind == "trio" or asyncio.all_tasks()
            stream = AsyncChatStream(client.chat.completions.create(**chat("stall-after=3")), terminal_callbacks(calls))
            with raising(raises):
                await leave(stream)

            assert await aeventually(lambda: len(server.disconnects) == 1)
            assert calls == ["on_abort"]
            assert await aeventually(lambda: open_descriptors() <= held)
            assert tasks == (kind == "trio" or asyncio.all_tasks())

    run(kind, main)


@async_clients
def test_a_stream_that_was_left_is_freed(kind: str, server: ReplayServer) -> None:
    """No task, traceback or generator holds its response."""

    async def leave(client: Any) -> weakref.ref[Any]:
        stream = AsyncChatStream(client.chat.completions.create(**chat("stall-after=3")))
        await by_async_break(stream)
        return weakref.ref(stream.response)

    async def main() -> None:
        async with async_client(server.base_url, kind) as client:
            left = [await leave(client) for _ in range(3)]
            await anyio.sleep(0.01)
            gc.collect()

            assert [response() for response in left] == [None] * 3

    run(kind, main)


# Ways to leave that only asyncio has


async def by_task_cancel(stream: AsyncChatStream) -> None:
    await abegin(stream)
    task = asyncio.create_task(stream.until_done())
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


async def by_impatient_task_cancel(stream: AsyncChatStream) -> None:
    await abegin(stream)
    task = asyncio.create_task(stream.until_done())
    await asyncio.sleep(0.05)
    for _ in range(5):
        task.cancel()
        await asyncio.sleep(0)
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


async def by_asyncio_timeout(stream: AsyncChatStream) -> None:
    await abegin(stream)
    async with asyncio.timeout(0.05):
        await stream.until_done()


async def by_asyncio_timeout_in_the_body(stream: AsyncChatStream) -> None:
    await abegin(stream)
    async with asyncio.timeout(0.05), stream:
        await asyncio.sleep(NEVER)


async def by_wait_for_a_chunk(stream: AsyncChatStream) -> None:
    async with stream:
        await abegin(stream)
        await asyncio.wait_for(anext(stream), 0.05)


async def by_a_timeout_beside_a_stream_timeout(stream: AsyncChatStream) -> None:
    # The cancellation by the timeout of the stream must not be taken for the caller's.
    await abegin(stream)
    async with asyncio.timeout(0.05):
        await AsyncChatStream(stream, idle_timeout=NEVER).until_done()


@pytest.mark.parametrize(
    ("leave", "raises"),
    [
        (by_task_cancel, None),
        (by_impatient_task_cancel, None),
        (by_asyncio_timeout, TimeoutError),
        (by_asyncio_timeout_in_the_body, TimeoutError),
        (by_wait_for_a_chunk, TimeoutError),
        (by_a_timeout_beside_a_stream_timeout, TimeoutError),
    ],
)
@pytest.mark.parametrize("kind", ["async", "aiohttp"])
async def test_the_server_sees_a_task_end(
    kind: str,
    leave: Callable[[AsyncChatStream], Awaitable[None]],
    raises: type[BaseException] | None,
    server: ReplayServer,
    calls: list[str],
) -> None:
    """asyncio ends tasks in ways that anyio's scopes do not know."""
    if leave is by_impatient_task_cancel and kind == "async" and int(openai.VERSION.partition(".")[0]) < 3:
        pytest.skip("httpcore 1 waits while it closes, and a second cancellation ends that wait")
    async with async_client(server.base_url, kind) as client:
        held, tasks = open_descriptors(), asyncio.all_tasks()
        stream = AsyncChatStream(client.chat.completions.create(**chat("stall-after=3")), terminal_callbacks(calls))
        with raising(raises):
            await leave(stream)

        assert await aeventually(lambda: len(server.disconnects) == 1)
        assert calls == ["on_abort"]
        assert await aeventually(lambda: open_descriptors() <= held)
        assert asyncio.all_tasks() == tasks


@pytest.mark.parametrize("kind", ["async", "aiohttp"])
async def test_a_request_is_cancelled_with_its_task(kind: str, server: ReplayServer, calls: list[str]) -> None:
    """A request without a response leaves no un-awaited coroutine."""
    async with async_client(server.base_url, kind) as client:
        stream = AsyncChatStream(
            client.chat.completions.create(**chat(f"first-delay={NEVER}")), terminal_callbacks(calls)
        )

        async def end_when_asked(limit: asyncio.Timeout) -> None:
            assert await aeventually(lambda: len(server.requests) == 1)
            limit.reschedule(0)

        async def wait() -> None:
            async with asyncio.timeout(NEVER) as limit, asyncio.TaskGroup() as tasks:
                tasks.create_task(end_when_asked(limit))
                await stream.until_done()

        with pytest.raises(TimeoutError):
            await wait()

        assert await aeventually(lambda: len(server.disconnects) == 1)
        assert calls == ["on_abort"]


@interruptible
def test_ctrl_c_in_asyncio_closes_the_connection(server: ReplayServer) -> None:
    """The runner cancels the main task, and the server sees the disconnect before the loop ends."""
    seen: list[bool] = []

    async def main() -> None:
        async with async_client(server.base_url) as client:
            stream = AsyncChatStream(client.chat.completions.create(**chat("stall-after=3")))
            await abegin(stream)
            send_ctrl_c()
            try:
                await stream.until_done()
            finally:
                seen.append(await aeventually(lambda: len(server.disconnects) == 1))

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert seen == [True]


# A stream that the caller ended never looks complete


@async_clients
def test_reading_after_a_cancelled_read_raises(kind: str, server: ReplayServer) -> None:
    """A loop that continues must not take the closed stream for a finished one."""

    async def main() -> None:
        async with (
            async_client(server.base_url, kind) as client,
            AsyncChatStream(client.chat.completions.create(**chat("stall-after=3"))) as stream,
        ):
            await by_cancellation_while_reading(stream)
            with pytest.raises(StreamTruncatedError, match="closed early, after 3 chunks and 5 characters") as raised:
                await anext(stream)

            assert raised.value.partial.choices[0].message.content == "Hello"

    run(kind, main)


@interruptible
def test_reading_after_ctrl_c_raises(server: ReplayServer) -> None:
    """In a notebook, the next cell may continue to read."""
    with sync_client(server.base_url) as client:
        stream = ChatStream(client.chat.completions.create(**chat("stall-after=3")))
        with pytest.raises(KeyboardInterrupt):
            by_ctrl_c_while_reading(stream)

        with pytest.raises(StreamTruncatedError, match="closed early, after 3 chunks"):
            next(stream)
        assert stream.text == "Hello"


def test_a_thread_can_close_a_stream_that_another_reads(server: ReplayServer, calls: list[str]) -> None:
    """A stop button ends the blocked read at once, with an error that says that the stream was closed."""
    with sync_client(server.base_url) as client:
        stream = ChatStream(client.chat.completions.create(**chat("stall-after=3")), terminal_callbacks(calls))
        begin(stream)
        threading.Timer(0.05, stream.close).start()
        before = time.monotonic()
        with pytest.raises(StreamTruncatedError, match="closed early, after 3 chunks"):
            stream.until_done()

        assert time.monotonic() - before < SLACK
        assert saw_disconnects(server)
        assert eventually(lambda: calls == ["on_abort"])


@async_clients
def test_a_task_can_close_a_stream_that_another_reads(kind: str, server: ReplayServer, calls: list[str]) -> None:
    """The close raises no "asynchronous generator is already running"."""

    async def main() -> None:
        async with async_client(server.base_url, kind) as client:
            stream = AsyncChatStream(client.chat.completions.create(**chat("stall-after=3")), terminal_callbacks(calls))
            ended: list[float] = []

            async def reading() -> None:
                with pytest.raises(StreamTruncatedError, match="closed early, after 3 chunks"):
                    await stream.until_done()
                ended.append(time.monotonic())

            await abegin(stream)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(reading)
                await anyio.sleep(0.05)
                before = time.monotonic()
                await stream.close()

            assert ended[0] - before < SLACK
            assert await aeventually(lambda: len(server.disconnects) == 1)
            assert calls == ["on_abort"]

    run(kind, main)


@pytest.mark.parametrize("entered", [False, True])
def test_a_thread_can_close_a_stream_that_another_opens(entered: bool, server: ReplayServer, calls: list[str]) -> None:
    """The response that arrives after the close must not be read, because the gateway bills its tokens."""
    with sync_client(server.base_url) as client:
        stream = ChatStream(
            lambda: client.chat.completions.create(**chat("first-delay=0.5&delay=0.05")), terminal_callbacks(calls)
        )
        threading.Timer(0.1, stream.close).start()
        opens = stream.__enter__ if entered else stream.until_done
        with pytest.raises(StreamTruncatedError, match="closed early, after 0 chunks"):
            opens()

        assert saw_disconnects(server)
        assert calls == ["on_abort"]


@async_clients
@pytest.mark.parametrize("entered", [False, True])
def test_a_task_can_close_a_stream_that_another_opens(
    kind: str, entered: bool, server: ReplayServer, calls: list[str]
) -> None:
    """The request ends at once, before the model sends anything."""

    async def main() -> None:
        async with async_client(server.base_url, kind) as client:
            stream = AsyncChatStream(
                client.chat.completions.create(**chat(f"first-delay={NEVER}")), terminal_callbacks(calls)
            )

            async def reading() -> None:
                opens = stream.__aenter__ if entered else stream.until_done
                with pytest.raises(StreamTruncatedError, match="closed early, after 0 chunks"):
                    await opens()

            with anyio.fail_after(SLACK):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(reading)
                    assert await aeventually(lambda: len(server.requests) == 1)
                    await stream.close()

            assert await aeventually(lambda: len(server.disconnects) == 1)
            assert calls == ["on_abort"]

    run(kind, main)


# Connections are reused


@pytest.mark.parametrize("faults", ["", "split=7", "crlf"])
def test_ten_streams_in_a_row_use_one_connection(faults: str, server: ReplayServer) -> None:
    """The stream reads the end of the response after [DONE] (openai-python#3440)."""
    held, threads = open_descriptors(), threading.active_count()
    with sync_client(server.base_url) as client:
        for _ in range(10):
            with ChatStream(client.chat.completions.create(**chat(faults))) as stream:
                assert "".join(stream.text_stream) == "Hello"

    assert server.connections == 1
    assert server.disconnects == []
    assert eventually(lambda: open_descriptors() <= held)
    assert eventually(lambda: threading.active_count() <= threads)


@pytest.mark.parametrize("faults", ["", "split=7"])
@async_clients
def test_ten_async_streams_in_a_row_use_one_connection(kind: str, faults: str, server: ReplayServer) -> None:
    """Every HTTP library reuses its connection."""

    async def main() -> None:
        async with async_client(server.base_url, kind) as client:
            for _ in range(10):
                async with AsyncChatStream(client.chat.completions.create(**chat(faults))) as stream:
                    assert await stream.get_final_text() == "Hello"

    run(kind, main)
    assert server.connections == 1
    assert server.disconnects == []


def test_a_stream_read_to_its_end_keeps_the_connection(server: ReplayServer) -> None:
    """Iterating over all chunks reads the end of the response, also without a close."""
    with sync_client(server.base_url) as client:
        for _ in range(3):
            assert len(list(ChatStream(client.chat.completions.create(**chat())))) == 5

    assert server.connections == 1


@every_client
def test_a_stream_does_not_wait_for_a_lingering_server(kind: str, server: ReplayServer) -> None:
    """The answer is complete with [DONE]; the connection is kept for at most a tenth of a second."""
    took: list[float] = []

    async def main() -> None:
        async with async_client(server.base_url, kind) as client:
            before = time.monotonic()
            stream = AsyncChatStream(client.chat.completions.create(**chat(f"linger={NEVER}")))
            assert await stream.get_final_text() == "Hello"
            took.append(time.monotonic() - before)

    if kind == "sync":
        threads = threading.active_count()
        with sync_client(server.base_url) as client:
            before = time.monotonic()
            assert ChatStream(client.chat.completions.create(**chat(f"linger={NEVER}"))).get_final_text() == "Hello"
            took.append(time.monotonic() - before)
        assert eventually(lambda: threading.active_count() <= threads)
    else:
        run(kind, main)

    assert took[0] < SLACK


@pytest.mark.parametrize("kind", ["async", "aiohttp"])
async def test_a_cancellation_after_done_leaves_nothing_open(kind: str, server: ReplayServer, calls: list[str]) -> None:
    """The stream waits for the end of the response after [DONE]."""
    async with async_client(server.base_url, kind) as client:
        held = open_descriptors()
        stream = AsyncChatStream(client.chat.completions.create(**chat(f"linger={NEVER}")), terminal_callbacks(calls))
        while not stream.completion.choices or stream.completion.choices[0].finish_reason is None:
            await anext(stream)
        task = asyncio.create_task(stream.until_done())
        await asyncio.sleep(0.03)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert task.cancelled()
        assert calls == ["on_finish"]
        assert await aeventually(lambda: open_descriptors() <= held)


@interruptible
def test_ctrl_c_after_done_leaves_nothing_open(
    server: ReplayServer, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The synchronous stream waits for the end of the response after [DONE]."""
    from tensorloop_stream._stream import sync_reader

    monkeypatch.setattr(sync_reader, "DRAIN_SECONDS", NEVER)
    held = open_descriptors()
    with sync_client(server.base_url) as client:
        stream = ChatStream(client.chat.completions.create(**chat(f"linger={NEVER}")), terminal_callbacks(calls))
        send_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            stream.until_done()

        assert calls == ["on_finish"]
        assert stream.get_final_text() == "Hello"
        assert eventually(lambda: open_descriptors() <= held)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_compressed_stream_is_read(kind: str) -> None:
    """The SDK accepts gzip, and a proxy may compress."""
    body = gzip.compress(b"".join(EVENTS))
    response = httpx2.Response(
        200,
        headers={"content-type": "text/event-stream", "content-encoding": "gzip"},
        stream=clients.Body([body[n : n + 9] for n in range(0, len(body), 9)]),
    )

    async def main() -> str:
        return await AsyncChatStream(clients.async_client(response).chat.completions.create(**chat())).get_final_text()

    if kind == "sync":
        text = ChatStream(clients.sync_client(response).chat.completions.create(**chat())).get_final_text()
    else:
        text = anyio.run(main)

    assert text == "Hello"


def test_a_stream_dropped_open_is_closed(server: ReplayServer) -> None:
    """The stream warns, and the synchronous connection is closed."""
    with sync_client(server.base_url) as client:
        stream = ChatStream(client.chat.completions.create(**chat("stall-after=3")))
        next(stream)
        with pytest.warns(ResourceWarning, match="was dropped with its connection open"):
            del stream

        assert saw_disconnects(server)


SHUTDOWN = """
import asyncio, signal, sys, threading
import openai
from tensorloop_stream._http.library import httpx as httpx2
from tensorloop_stream import AsyncChatStream

url = sys.argv[1]

async def leave(make):
    asyncio.get_running_loop().slow_callback_duration = 9  # a slow machine is no warning
    http_client = make(verify=False)
    async with openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0, http_client=http_client) as client:
        def open(faults="stall-after=3"):
            asked = {"model": f"gpt-4o-mini?{faults}", "messages": [{"role": "user", "content": "hello"}]}
            return AsyncChatStream(client.chat.completions.create(**asked, stream=True))

        async with open() as stream:
            async for _ in stream:
                break
        async with open() as stream:
            async for text in stream.text_stream:
                break
        for seconds in (0.1, 0.0001):
            try:
                async with asyncio.timeout(seconds):
                    await open().until_done()
            except TimeoutError:
                pass
        async with open() as stream:
            try:
                while True:
                    await asyncio.wait_for(anext(stream), 0.1)
            except TimeoutError:
                pass
        await open("linger=9").until_done()
        await AsyncChatStream(open(), idle_timeout=9).close()
        threading.Timer(0.2, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
        async with open() as stream, asyncio.TaskGroup() as tasks:
            tasks.create_task(open().until_done())
            tasks.create_task(stream.until_done())

for library in (httpx2.AsyncClient, openai.DefaultAioHttpClient):
    try:
        asyncio.run(leave(library))
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.fixture(scope="module", autouse=True)
def ending(recording: Path) -> Iterator[subprocess.Popen[str]]:
    with program_on_server(recording, SHUTDOWN, "-X", "dev", "-W", "error") as (_, process):
        yield process


@interruptible
def test_the_end_of_a_loop_causes_no_warning(ending: subprocess.Popen[str]) -> None:
    """Development mode with warnings as errors finds no task, generator, socket or coroutine."""
    printed, errors = ending.communicate(timeout=4 * NEVER)

    assert (errors, printed, ending.returncode) == ("", "interrupted\ninterrupted\n", 0)


def test_warnings_are_errors() -> None:
    """The tests of this file rely on it."""
    with pytest.raises(ResourceWarning):
        warnings.warn("is it?", ResourceWarning, stacklevel=1)
