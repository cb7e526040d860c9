"""Limits on the wait for a chunk, on real sockets: they count chunks, wake blocked reads and cost no threads."""

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
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from sockets import (
    EVENTS,
    NEVER,
    SLACK,
    TLSRelay,
    ask,
    asoon,
    async_client,
    cassette,
    descriptors,
    noticed,
    read,
    soon,
    sync_client,
)

from tensorloop_stream import AsyncChatStream, ChatStream, StreamTimeoutError
from tensorloop_stream.replay import ReplayServer

LIMIT = 0.15
PING = "&ping=0.05"

every_client = pytest.mark.parametrize("kind", ["sync", "async", "aiohttp", "trio"])
places = pytest.mark.parametrize(("place", "ping"), [("tcp", ""), ("tcp", PING), ("tls", PING)], indirect=["place"])
pings = pytest.mark.parametrize("ping", ["", PING], ids=["silence", "pings"])


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cassette(tmp_path_factory.mktemp("timeouts") / "hello.yaml", hello=EVENTS)


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
    asked = [
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
    subprocess.run([openssl, *asked, *names], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def place(request: pytest.FixtureRequest, server: ReplayServer) -> Iterator[tuple[str, Any]]:
    """The address of the server, and what a client needs to trust it."""
    if request.param == "tcp":
        yield server.base_url, {}
        return
    certificate = request.getfixturevalue("certificate")
    with TLSRelay(server.port, certificate) as relay:
        yield relay.base_url, {"verify": ssl.create_default_context(cafile=certificate)}


def watching() -> int:
    """Return how many threads of the package's run; event loops have some of their own, for names of hosts."""
    return sum(thread.name == "tensorloop_stream" for thread in threading.enumerate())


@places
@every_client
def test_a_stall_between_chunks(kind: str, ping: str, place: tuple[str, Any], server: ReplayServer) -> None:
    """Comments are bytes, not chunks: they do not put the limit off, and a read in the kernel is woken."""
    url, trust = place
    before = time.monotonic()
    outcome = read(kind, url, ask("stall-after=2" + ping), idle_timeout=LIMIT, client_settings=trust)
    took = time.monotonic() - before

    assert type(outcome.error) is StreamTimeoutError
    assert "no chunk for 0.15 s (idle_timeout), after 2 chunks and 3 characters" in str(outcome.error)
    assert isinstance(outcome.error, openai.APITimeoutError)
    assert outcome.error.partial.choices[0].message.content == "Hel"
    assert LIMIT <= took < LIMIT + 2 * SLACK
    assert noticed(server)


@places
@every_client
def test_a_stall_before_the_first_chunk(kind: str, ping: str, place: tuple[str, Any], server: ReplayServer) -> None:
    """Headers have come, and nothing after them."""
    url, trust = place
    # In async code the limit covers the connection and the request, too.
    limit = LIMIT if kind == "sync" else 2 * LIMIT
    outcome = read(kind, url, ask("stall-after=0" + ping), first_chunk_timeout=limit, client_settings=trust)

    assert type(outcome.error) is StreamTimeoutError
    assert f"no first chunk within {limit} s (first_chunk_timeout)" in str(outcome.error)
    assert outcome.error.partial.choices == []
    assert noticed(server)


@pings
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_each_limit_has_its_own_wait(kind: str, ping: str, server: ReplayServer) -> None:
    """The one before the first chunk may be long where the others are short, and the other way round."""
    early = read(kind, server.base_url, ask("stall-after=1" + ping), first_chunk_timeout=5, idle_timeout=LIMIT)
    late = read(kind, server.base_url, ask("first-delay=0.2" + ping), first_chunk_timeout=5, idle_timeout=0.1)
    only_idle = read(kind, server.base_url, ask("first-delay=0.2" + ping), idle_timeout=0.1)

    assert "idle_timeout" in str(early.error)
    assert (late.error, late.stream.text) == (None, "Hello")
    assert (only_idle.error, only_idle.stream.text) == (None, "Hello")


@pytest.mark.parametrize("kind", ["async", "aiohttp", "trio"])
def test_async_limits_count_from_before_the_request(kind: str, server: ReplayServer) -> None:
    """A gateway holds its headers back until the first chunk: the request itself is what takes so long."""
    before = time.monotonic()
    outcome = read(kind, server.base_url, ask(f"first-delay={NEVER}"), first_chunk_timeout=2 * LIMIT)
    took = time.monotonic() - before

    assert type(outcome.error) is StreamTimeoutError
    assert took < 2 * LIMIT + SLACK
    assert noticed(server)


async def test_the_request_and_the_first_chunk_share_one_limit(server: ReplayServer) -> None:
    """Headers that came late leave less for the chunk; an un-awaited call is opened in time."""
    async with async_client(server.base_url) as client:
        before = time.monotonic()
        create = client.chat.completions.create(**ask("first-delay=0.3&stall-after=0"))
        with pytest.raises(StreamTimeoutError, match=r"within 0.4 s \(first_chunk_timeout\)"):
            await AsyncChatStream(create, first_chunk_timeout=0.4).until_done()
        took = time.monotonic() - before

        assert 0.4 <= took < 0.7


@every_client
def test_the_read_timeout_of_the_client_is_of_the_family(kind: str, server: ReplayServer) -> None:
    """Silence of the whole connection is told as a stall between chunks is, with what had come."""
    patience = {"timeout": httpx2.Timeout(5, read=LIMIT)}
    outcome = read(kind, server.base_url, ask("stall-after=2"), client_settings=patience)

    assert type(outcome.error) is StreamTimeoutError
    assert "within the client's read timeout, after 2 chunks and 3 characters" in str(outcome.error)
    assert outcome.error.partial.choices[0].message.content == "Hel"
    assert outcome.error.__cause__ is not None
    assert noticed(server)


@pytest.mark.parametrize("faults", ["delay=0.02", "delay=0"])
def test_a_slow_consumer_is_no_stall(faults: str, server: ReplayServer) -> None:
    """What the loop body takes is the caller's time; chunks that wait meanwhile are not late."""
    with sync_client(server.base_url) as client:
        stream = ChatStream(client.chat.completions.create(**ask(faults)), first_chunk_timeout=0.1, idle_timeout=0.1)
        time.sleep(0.15)
        with stream:
            for _ in range(3):
                next(stream)
                time.sleep(0.15)
            stream.until_done()

    assert stream.text == "Hello"


@pytest.mark.parametrize("kind", ["async", "aiohttp"])
async def test_a_slow_async_consumer_is_no_stall(kind: str, server: ReplayServer) -> None:
    """The same, while other tasks run."""
    async with async_client(server.base_url, kind) as client:
        source = client.chat.completions.create(**ask("delay=0.02"))
        async with AsyncChatStream(source, first_chunk_timeout=0.1, idle_timeout=0.1) as stream:
            for _ in range(3):
                await anext(stream)
                await asyncio.sleep(0.15)
            await stream.until_done()

    assert stream.text == "Hello"


@pytest.mark.parametrize("kind", ["async", "aiohttp"])
async def test_a_blocked_loop_is_no_stall(kind: str, server: ReplayServer) -> None:
    """What came while another task held the loop has come in time."""
    async with (
        async_client(server.base_url, kind) as client,
        AsyncChatStream(client.chat.completions.create(**ask("delay=0.1")), idle_timeout=0.3) as stream,
    ):
        await anext(stream)
        reading = asyncio.create_task(stream.get_final_text())
        await asyncio.sleep(0.02)
        time.sleep(0.5)  # noqa: ASYNC251 - the fault
        text = await reading

    assert text == "Hello"


def test_hundreds_of_blocked_reads_share_one_thread(server: ReplayServer) -> None:
    """Each of 200 streams is woken in its own time, and the watching thread ends after the last."""
    count, limits = 200, [0.4 + 0.002 * (n * 77 % 200) for n in range(200)]
    before = threading.active_count()
    late, threads = [], []

    with sync_client(server.base_url) as client, ThreadPoolExecutor(count) as pool:

        def stall(limit: float) -> None:
            stream = ChatStream(client.chat.completions.create(**ask("stall-after=1")), idle_timeout=limit)
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
    assert soon(lambda: threading.active_count() <= before)
    assert noticed(server, count)


async def test_async_limits_need_no_thread(server: ReplayServer) -> None:
    """200 streams of one loop, each with its own limit."""
    held, tasks = descriptors(), asyncio.all_tasks()
    async with async_client(server.base_url) as client:

        async def stall(limit: float) -> None:
            create = client.chat.completions.create(**ask("stall-after=1&ping=0.1"))
            with pytest.raises(StreamTimeoutError):
                await AsyncChatStream(create, idle_timeout=limit).until_done()

        await asyncio.gather(*(stall(0.2 + n / 1000) for n in range(200)))

        assert watching() == 0
        assert asyncio.all_tasks() == tasks
    assert await asoon(lambda: len(server.disconnects) == 200)
    assert await asoon(lambda: descriptors() == held)


def test_a_limit_that_never_came_leaves_nothing(server: ReplayServer) -> None:
    """Neither the stream nor the thread waits for the end of a long limit."""
    with sync_client(server.base_url) as client:
        stream = ChatStream(client.chat.completions.create(**ask()), first_chunk_timeout=60, idle_timeout=60)
        next(stream)
        watched = watching()
        stream.until_done()
        left = ChatStream(client.chat.completions.create(**ask("stall-after=2")), idle_timeout=60)
        next(left)
        left.close()
        gone = [weakref.ref(stream), weakref.ref(left)]
        del stream, left
        gc.collect()

        assert watched == 1
        assert [one() for one in gone] == [None, None]
        assert soon(lambda: watching() == 0)


FORK = """
import os, sys, threading, time, warnings
import httpx2, openai
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


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_limits_hold_in_a_forked_child(server: ReplayServer) -> None:
    """A child has no watching thread, and maybe a lock that nobody holds."""
    command = [sys.executable, "-c", FORK, server.base_url]
    done = subprocess.run(command, timeout=4 * NEVER, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert len(server.disconnects) == 3
