"""Timeouts between chunks, on real sockets: they count chunks, interrupt blocked reads and need one thread."""

from __future__ import annotations

import asyncio
import gc
import shutil
import ssl
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import requirements
from clients import SSL
from sockets import (
    EVENTS,
    NEVER,
    SLACK,
    TLSRelay,
    aeventually,
    async_client,
    chat,
    eventually,
    open_descriptors,
    program_on_server,
    read,
    run_in_threads,
    saw_disconnects,
    sync_client,
    write_cassette,
)

from tensorloop_stream import (
    AsyncChatStream,
    AsyncTensorloop,
    ChatStream,
    StreamTimeoutError,
    Tensorloop,
    aforward_chat,
)
from tensorloop_stream.replay import ReplayServer

# If an async timeout ends while a connection is made, the HTTP libraries may leave the socket to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
LIMIT = 0.15
# In async code `first_chunk_timeout` includes the connection and the request.
FIRST = 2 * LIMIT
PING = "&ping=0.05"

EVERY_CLIENT = ("sync", "async", "aiohttp", "trio")
ASYNC_CLIENTS = EVERY_CLIENT[1:]
places = pytest.mark.parametrize(("place", "ping"), [("tcp", ""), ("tcp", PING), ("tls", PING)], indirect=["place"])
pings = pytest.mark.parametrize("ping", ["", PING], ids=["silence", "pings"])


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cassette(tmp_path_factory.mktemp("timeouts") / "hello.yaml", hello=EVENTS)


@pytest.fixture
def server(recording: Path) -> Iterator[ReplayServer]:
    with ReplayServer(recording) as server:
        yield server


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command")
    path = tmp_path_factory.mktemp("certificate") / "localhost.pem"
    command = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run([openssl, *command, *names], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def place(request: pytest.FixtureRequest, server: ReplayServer) -> Iterator[tuple[str, Any]]:
    """The address of the server, and the settings with which a client trusts it."""
    if request.param == "tcp":
        yield server.base_url, {}
        return
    certificate = request.getfixturevalue("certificate")
    with TLSRelay(server.port, certificate) as relay:
        yield relay.base_url, {"verify": ssl.create_default_context(cafile=certificate)}


def watchdog_threads() -> int:
    """Return the number of the package's threads; event loops have their own, for host names."""
    return sum(thread.name == "tensorloop_stream" for thread in threading.enumerate())


@places
def test_a_stall_between_chunks_raises_a_timeout_error(ping: str, place: tuple[str, Any], server: ReplayServer) -> None:
    """Comments do not extend the timeout, and a read that blocks in the kernel is interrupted."""
    url, trust = place

    def stall(kind: str) -> None:
        before = time.monotonic()
        outcome = read(kind, url, chat("stall-after=2" + ping), idle_timeout=LIMIT, client_settings=trust)
        took = time.monotonic() - before

        assert type(outcome.error) is StreamTimeoutError
        assert f"no chunk for {LIMIT} s (idle_timeout), after 2 chunks and 3 characters" in str(outcome.error)
        assert isinstance(outcome.error, openai.APITimeoutError)
        assert outcome.error.partial.choices[0].message.content == "Hel"
        assert LIMIT <= took < LIMIT + 2 * SLACK

    run_in_threads(stall, EVERY_CLIENT)

    assert saw_disconnects(server, len(EVERY_CLIENT))


@places
def test_a_stall_before_the_first_chunk_raises_a_timeout_error(
    ping: str, place: tuple[str, Any], server: ReplayServer
) -> None:
    """The server sends headers, and nothing after them."""
    url, trust = place

    def stall(kind: str) -> None:
        # A cancelled handshake would leave a socket to the garbage collector: this timeout is long enough for it.
        limit = LIMIT if kind == "sync" else 1 if trust else FIRST
        outcome = read(kind, url, chat("stall-after=0" + ping), first_chunk_timeout=limit, client_settings=trust)

        assert type(outcome.error) is StreamTimeoutError
        assert f"no first chunk within {limit} s (first_chunk_timeout)" in str(outcome.error)
        assert outcome.error.partial.choices == []

    run_in_threads(stall, EVERY_CLIENT)

    # A slow machine may have no time to send all requests.
    assert eventually(lambda: 1 <= len(server.disconnects) == len(server.requests) <= len(EVERY_CLIENT))


@pings
def test_first_chunk_timeout_and_idle_timeout_are_independent(ping: str, server: ReplayServer) -> None:
    """Each may be longer than the other."""

    def limited(row: tuple[str, str, dict[str, Any]]) -> Any:
        kind, faults, limits = row
        return read(kind, server.base_url, chat(faults + ping), **limits)

    late = f"first-delay={2 * LIMIT}"
    for_both = [
        (kind, faults, limits)
        for kind in ("sync", "async")
        for faults, limits in (
            ("stall-after=1", {"first_chunk_timeout": 5, "idle_timeout": LIMIT}),
            (late, {"first_chunk_timeout": 5, "idle_timeout": LIMIT}),
            (late, {"idle_timeout": LIMIT}),
        )
    ]
    for (_, faults, _), outcome in zip(for_both, run_in_threads(limited, for_both), strict=True):
        if faults == late:
            assert (outcome.error, outcome.stream.text) == (None, "Hello")
        else:
            assert "idle_timeout" in str(outcome.error)


def test_first_chunk_timeout_includes_the_request_in_async_code(server: ReplayServer) -> None:
    """A gateway may send its headers with the first chunk, so the request takes the time."""

    def wait(kind: str) -> None:
        before = time.monotonic()
        outcome = read(kind, server.base_url, chat(f"first-delay={NEVER}"), first_chunk_timeout=FIRST)
        took = time.monotonic() - before

        assert type(outcome.error) is StreamTimeoutError
        assert took < FIRST + SLACK

    run_in_threads(wait, ASYNC_CLIENTS)

    # A slow machine may have no time to send all requests.
    assert eventually(lambda: len(server.disconnects) == len(server.requests) <= len(ASYNC_CLIENTS))


async def test_the_request_and_the_first_chunk_share_one_timeout(server: ReplayServer) -> None:
    """Late headers leave less time for the chunk; an un-awaited call starts with the stream."""
    async with async_client(server.base_url) as client:
        before = time.monotonic()
        create = client.chat.completions.create(**chat("first-delay=0.6&stall-after=0"))
        with pytest.raises(StreamTimeoutError, match=r"within 0.8 s \(first_chunk_timeout\)"):
            await AsyncChatStream(create, first_chunk_timeout=0.8).until_done()
        took = time.monotonic() - before

        assert 0.8 <= took < 1.4


def test_a_timeout_of_a_client_holds_for_all_its_streams(server: ReplayServer) -> None:
    """A stream's own timeout replaces it."""
    settings: dict[str, Any] = {"api_key": "none", "base_url": server.base_url, "idle_timeout": LIMIT}
    with Tensorloop(**settings, http_client=httpx2.Client(verify=SSL)) as client:
        stream = client.chat.completions.create(**chat(f"stall-after=2{PING}"))
        with pytest.raises(StreamTimeoutError, match=rf"no chunk for {LIMIT} s \(idle_timeout\), after 2 chunks"):
            list(stream)
        stream = ChatStream(client.chat.completions.create(**chat(f"stall-after=2{PING}")), idle_timeout=2 * LIMIT)
        with pytest.raises(StreamTimeoutError, match=rf"no chunk for {2 * LIMIT} s"):
            stream.until_done()

    async def wait() -> None:
        async with AsyncTensorloop(**settings, http_client=httpx2.AsyncClient(verify=SSL)) as client:
            stream = await client.chat.completions.create(**chat(f"stall-after=2{PING}"))
            with pytest.raises(StreamTimeoutError, match=rf"no chunk for {LIMIT} s"):
                async for _ in stream:
                    pass

    asyncio.run(wait())


@pytest.mark.parametrize("name", ["first_chunk_timeout", "total_timeout"])
async def test_an_async_client_waits_no_longer_for_the_headers(name: str, server: ReplayServer) -> None:
    """LiteLLM sends them with the first chunk. A stream's own timeout comes first, and a raw response is no stream."""
    slow = chat("first-delay=0.4")
    limit: dict[str, Any] = {name: LIMIT}
    patience: dict[str, Any] = {name: 30}
    async with AsyncTensorloop(api_key="none", base_url=server.base_url, max_retries=0, **limit) as client:
        create = client.chat.completions.create
        for opening in (lambda: create(**slow), lambda: AsyncChatStream(create(**slow)).until_done()):
            with pytest.raises(StreamTimeoutError, match=rf"within {LIMIT} s \({name}\)"):
                await opening()
        raw = await client.chat.completions.with_raw_response.create(**slow)
        await raw.http_response.aclose()

        assert await AsyncChatStream(create(**slow), **patience).get_final_text() == "Hello"


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_the_timeouts_of_a_stream_hold_inside_of_a_tool(kind: str, server: ReplayServer) -> None:
    """A tool that watches what `create` returns sees the error, and the timeouts of the client do not come first."""
    settings: dict[str, Any] = {"api_key": "none", "base_url": server.base_url, "idle_timeout": LIMIT}
    watched: list[Any] = []

    def watch(stream: Any) -> Any:
        stream.close = stream.close  # as a tool that hears of the end
        watched.append(stream)
        return stream

    async def errors(asked: dict[str, Any], **timeouts: Any) -> tuple[Any, Any]:
        if kind == "sync":
            with Tensorloop(**settings) as client, suppress(StreamTimeoutError):
                ChatStream(lambda: watch(client.chat.completions.create(**asked)), **timeouts).until_done()
        else:
            async with AsyncTensorloop(**settings) as aclient:

                async def opening() -> Any:
                    return watch(await aclient.chat.completions.create(**asked))

                with suppress(StreamTimeoutError):
                    await AsyncChatStream(opening, **timeouts).until_done()
        return watched[-1]._state.error, watched[-1].text

    patient = await errors(chat(f"delay={2 * LIMIT}"), idle_timeout=60)
    error, _ = await errors(chat(f"stall-after=2{PING}"), idle_timeout=2 * LIMIT)

    assert patient == (None, "Hello")
    assert type(error) is StreamTimeoutError
    assert f"no chunk for {2 * LIMIT} s (idle_timeout)" in str(error)


async def test_a_refusal_that_asks_to_wait_beyond_the_timeout_is_raised(server: ReplayServer) -> None:
    """Another request would not be answered in time, and a timeout would hide why; a shorter wait is waited for."""
    late, soon = chat("status=429&retry-after=30"), chat("status=429&retry-after=0.01&fails=1")
    settings: dict[str, Any] = {"api_key": "none", "base_url": server.base_url, "max_retries": 1}
    async with AsyncTensorloop(**settings) as plain, AsyncTensorloop(**settings, first_chunk_timeout=20) as limited:
        for opening in (
            AsyncChatStream(plain.chat.completions.create(**late), first_chunk_timeout=20).until_done(),
            limited.chat.completions.create(**late),
        ):
            with pytest.raises(openai.RateLimitError):
                await opening
        async with await aforward_chat(plain, late, first_chunk_timeout=20) as answer:
            assert answer.status_code == 429
        text = await AsyncChatStream(plain.chat.completions.create(**soon), first_chunk_timeout=20).get_final_text()

    assert text == "Hello"


def test_the_read_timeout_of_the_client_raises_a_stream_timeout_error(server: ReplayServer) -> None:
    """The error has the partial completion, as for a stall between chunks."""
    # The read timeout includes the headers, which take time on a busy machine.
    settings = {"timeout": httpx2.Timeout(5, read=1)}

    def stall(kind: str) -> None:
        outcome = read(kind, server.base_url, chat("stall-after=2"), client_settings=settings)

        assert type(outcome.error) is StreamTimeoutError
        assert "within the client's read timeout, after 2 chunks and 3 characters" in str(outcome.error)
        assert outcome.error.partial.choices[0].message.content == "Hel"
        assert outcome.error.__cause__ is not None

    run_in_threads(stall, EVERY_CLIENT)

    assert saw_disconnects(server, len(EVERY_CLIENT))


def test_a_slow_consumer_is_no_stall(server: ReplayServer) -> None:
    """The time of the loop body does not count, and chunks that wait meanwhile are not late."""

    def consume(faults: str) -> str:
        with sync_client(server.base_url) as client:
            created = client.chat.completions.create(**chat(faults))
            stream = ChatStream(created, first_chunk_timeout=LIMIT, idle_timeout=LIMIT)
            time.sleep(1.2 * LIMIT)
            with stream:
                for _ in range(2):
                    next(stream)
                    time.sleep(1.2 * LIMIT)
                return stream.get_final_text()

    assert run_in_threads(consume, ["delay=0.02", "delay=0"]) == ["Hello", "Hello"]


async def test_a_slow_async_consumer_is_no_stall(server: ReplayServer) -> None:
    """The time of the loop body does not count, while other tasks run."""

    async def consume(kind: str) -> str:
        async with async_client(server.base_url, kind) as client:
            source = client.chat.completions.create(**chat("delay=0.02"))
            async with AsyncChatStream(source, first_chunk_timeout=2 * LIMIT, idle_timeout=LIMIT) as stream:
                for _ in range(2):
                    await anext(stream)
                    await asyncio.sleep(1.2 * LIMIT)
                return await stream.get_final_text()

    texts = list(await asyncio.gather(consume("async"), consume("aiohttp")))

    assert list(texts) == ["Hello", "Hello"]


async def test_a_blocked_loop_is_no_stall(server: ReplayServer) -> None:
    """Chunks that arrive while another task blocks the event loop are not late."""

    async def begin(kind: str, stack: AsyncExitStack) -> AsyncChatStream:
        client = await stack.enter_async_context(async_client(server.base_url, kind))
        created = client.chat.completions.create(**chat("delay=0.1"))
        stream = await stack.enter_async_context(AsyncChatStream(created, idle_timeout=0.3))
        await anext(stream)
        return stream

    async with AsyncExitStack() as stack:
        begun = [await begin(kind, stack) for kind in ("async", "aiohttp")]
        reading = [asyncio.create_task(stream.get_final_text()) for stream in begun]
        await asyncio.sleep(0.02)
        time.sleep(0.5)  # noqa: ASYNC251 - the fault
        texts = await asyncio.gather(*reading)

    assert list(texts) == ["Hello", "Hello"]


def test_many_blocked_reads_share_one_thread(server: ReplayServer) -> None:
    """Each stream times out at its own time, and the thread ends after the last."""
    count = requirements.scaled(200)
    limits = [0.2 + 0.002 * (n * 77 % count) for n in range(count)]
    before = threading.active_count()
    late, threads = [], []

    with sync_client(server.base_url) as client, ThreadPoolExecutor(count) as pool:

        def stall(limit: float) -> None:
            stream = ChatStream(client.chat.completions.create(**chat("stall-after=1")), idle_timeout=limit)
            next(stream)
            begun = time.monotonic()
            with pytest.raises(StreamTimeoutError):
                next(stream)
            late.append(time.monotonic() - begun - limit)
            threads.append(threading.active_count())

        list(pool.map(stall, limits))

    assert len(late) == count
    assert min(late) >= 0
    assert max(late) < 2 * SLACK
    assert max(threads) <= before + count + 1
    assert eventually(lambda: threading.active_count() <= before)
    assert saw_disconnects(server, count)


async def test_async_timeouts_need_no_thread(server: ReplayServer) -> None:
    """Many streams of one event loop have a timeout each."""
    count = requirements.scaled(200)
    held, tasks = open_descriptors(), asyncio.all_tasks()
    async with async_client(server.base_url) as client:

        async def stall(limit: float) -> None:
            create = client.chat.completions.create(**chat("stall-after=1&ping=0.1"))
            with pytest.raises(StreamTimeoutError):
                await AsyncChatStream(create, idle_timeout=limit).until_done()

        await asyncio.gather(*(stall(0.2 + 0.002 * n) for n in range(count)))

        assert watchdog_threads() == 0
        assert asyncio.all_tasks() == tasks
    assert await aeventually(lambda: len(server.disconnects) == count)
    assert await aeventually(lambda: open_descriptors() == held)


def test_an_unused_timeout_leaves_nothing_behind(server: ReplayServer) -> None:
    """Neither the stream nor the thread lives until the end of a long timeout."""
    with sync_client(server.base_url) as client:
        stream = ChatStream(client.chat.completions.create(**chat()), first_chunk_timeout=60, idle_timeout=60)
        next(stream)
        watched = watchdog_threads()
        stream.until_done()
        left = ChatStream(client.chat.completions.create(**chat("stall-after=2")), idle_timeout=60)
        next(left)
        left.close()
        gone = [weakref.ref(stream), weakref.ref(left)]
        del stream, left
        gc.collect()

        assert watched == 1
        assert [one() for one in gone] == [None, None]
        assert eventually(lambda: watchdog_threads() == 0)


FORK = """
import os, sys, threading, time, warnings
import openai
from tensorloop_stream._http.library import httpx as httpx2
from tensorloop_stream import ChatStream, StreamTimeoutError

warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested

blocked = threading.Event()

def stall(limit):
    http_client = httpx2.Client(verify=False)
    client = openai.OpenAI(api_key="none", base_url=sys.argv[1], max_retries=0, http_client=http_client)
    asked = {"model": "gpt-4o-mini?stall-after=1", "messages": [{"role": "user", "content": "hello"}]}
    try:
        stream = ChatStream(client.chat.completions.create(**asked, stream=True), idle_timeout=limit)
        next(stream)
        blocked.set()
        next(stream)
    except StreamTimeoutError:
        return
    raise SystemExit("no timeout")

watched = threading.Thread(target=stall, args=(1.0,))
watched.start()
blocked.wait()
time.sleep(0.2)
child = os.fork()
if child == 0:
    stall(0.2)
    os._exit(42)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
watched.join()
stall(0.2)
"""


@pytest.fixture(scope="module", autouse=True)
def forking(recording: Path) -> Iterator[tuple[ReplayServer, subprocess.Popen[str]]]:
    with program_on_server(recording, FORK) as started:
        yield started


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_timeouts_work_in_a_forked_child(forking: tuple[ReplayServer, subprocess.Popen[str]]) -> None:
    """A child has no watchdog thread, and perhaps a lock without an owner."""
    server, process = forking
    _, errors = process.communicate(timeout=4 * NEVER)

    assert (process.returncode, errors) == (0, "")
    assert len(server.disconnects) == 3
