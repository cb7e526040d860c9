"""Resumable streams across processes: the recipe on two ports, a worker, and kills of each."""

from __future__ import annotations

import json
import os
import re
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cassette
import httpx2
import pytest
import requirements
from clients import SSL
from redis_servers import redis_server
from sockets import eventually
from web import BROWSER_REQUEST, GATEWAY_REQUEST, HAIKU_BODY, ROOT, TIMEOUT, run_server, unused_port

from tensorloop_stream import SSEDecoder
from tensorloop_stream.replay import ReplayServer

GATEWAY, REDIS = unused_port(), unused_port()
RECIPE = [sys.executable, str(ROOT / "recipes/forward_resumable.py")]
ENVIRONMENT = {
    **os.environ,
    "REDIS_URL": f"redis://127.0.0.1:{REDIS}",
    "TENSORLOOP_BASE_URL": f"http://127.0.0.1:{GATEWAY}/v1",
    "TENSORLOOP_KEY": "tl_none",
}
# A process without readers, which takes jobs from a list.
WORKER = """
import asyncio, json, os
from redis.asyncio import Redis
from tensorloop_stream import AsyncTensorloop
from tensorloop_stream.resumable import ResumableStreams

async def main():
    redis, client = Redis.from_url(os.environ["REDIS_URL"]), AsyncTensorloop()
    streams = ResumableStreams(redis)
    await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", int(os.environ["PORT"]))
    while True:
        if job := await redis.blpop("jobs", timeout=1):
            name, body = json.loads(job[1])
            await streams.start(name, client, body)

asyncio.run(main())
"""


@dataclass(frozen=True, slots=True)
class Process:
    port: int
    popen: Any

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/chat/{name}"

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(TIMEOUT)


@contextmanager
def process(command: list[str], environment: dict[str, str] = ENVIRONMENT) -> Iterator[Process]:
    port = unused_port()
    with run_server(command, port, {**environment, "PORT": str(port)}) as popen:
        yield Process(port, popen)


def web() -> Any:
    requirements.module("starlette", "starlette")
    requirements.module("uvicorn", "starlette")
    return process(RECIPE)


@pytest.fixture(scope="module", autouse=True)
def _redis() -> Iterator[None]:
    with redis_server(REDIS):
        yield


@pytest.fixture(scope="module")
def stays() -> Iterator[Process]:
    """Return a replica that no test kills, because each takes seconds to start."""
    with web() as served:
        yield served


@pytest.fixture(scope="module")
def other() -> Iterator[Process]:
    """Return a second replica."""
    with web() as served:
        yield served


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    # Each request has its own connection, because connections to a killed process are useless.
    limits = httpx2.Limits(max_keepalive_connections=0)
    with httpx2.Client(verify=SSL, timeout=2 * TIMEOUT, limits=limits) as browser:
        yield browser


@pytest.fixture
def name() -> str:
    return str(uuid.uuid4())


def gateway(**faults: Any) -> ReplayServer:
    return ReplayServer(cassette.FOLDER / "chat/haiku.yaml", port=GATEWAY, **faults)


def asked(upstream: ReplayServer) -> bool:
    return eventually(lambda: bool(upstream.requests), TIMEOUT)


class Reader:
    """A browser that resumes after a disconnect, with each event that it received."""

    def __init__(self, client: httpx2.Client, name: str) -> None:
        self.name = name
        self.body = b""
        self.status = 0
        self._client = client

    @property
    def ids(self) -> list[str]:
        return re.findall(r"^id: (.*)$", self.body.decode(), re.MULTILINE)

    @property
    def without_ids(self) -> str:
        return re.sub(r"\nid: [0-9-]+\n\n", "\n\n", self.body.decode())

    @property
    def error(self) -> Any:
        return json.loads(SSEDecoder().feed(self.body)[-1].data).get("error")

    def read(self, at: Process, events: int = 10**6, *, asked: Any = None) -> bool:
        """Read up to this number of events more; return whether the answer ended, and not the connection."""
        headers = {"last-event-id": self.ids[-1]} if self.ids else {}
        method, body = ("GET", {}) if asked is None else ("POST", {"json": asked})
        new = b""
        try:
            with self._client.stream(method, at.url(self.name), headers=headers, **body) as response:
                self.status = response.status_code
                for data in response.iter_raw():
                    new += data
                    if new.count(b"\nid: ") >= events:
                        break
        except httpx2.HTTPError:
            pass
        else:
            # A browser counts complete events only.
            self.body += new
            return True
        self.body += new[: new.rfind(b"\n\n") + 2]
        return False


def start(client: httpx2.Client, at: Process, name: str, events: int = 3) -> Reader:
    """Start a stream, and read this number of events."""
    reader = Reader(client, name)
    reader.read(at, events, asked=BROWSER_REQUEST)
    assert len(reader.ids) >= events
    return reader


def test_every_start_of_an_id_reads_the_same_stream(
    stays: Process, other: Process, client: httpx2.Client, name: str
) -> None:
    """Starts in any process cause one request, and nothing follows the last event."""
    readers = [Reader(client, name) for _ in range(8)]
    with gateway(delay=0.02) as upstream, ThreadPoolExecutor(8) as pool:
        jobs = [
            pool.submit(reader.read, (stays, other)[at % 2], asked=BROWSER_REQUEST) for at, reader in enumerate(readers)
        ]
        ended = [job.result() for job in jobs]
        readers.append(Reader(client, name))
        readers[-1].read(other)
        sent = [request.body for request in upstream.requests]
        after = client.get(other.url(name), headers={"last-event-id": readers[0].ids[-1]})

    assert all(ended)
    assert {reader.without_ids for reader in readers} == {HAIKU_BODY}
    assert sent == [GATEWAY_REQUEST]
    assert (after.status_code, after.content) == (204, b"")


def test_the_headers_are_those_of_a_stream(stays: Process, client: httpx2.Client, name: str) -> None:
    """Proxies must not buffer this stream either."""
    with gateway(), client.stream("POST", stays.url(name), json=BROWSER_REQUEST) as response:
        response.read()

    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert response.headers["x-accel-buffering"] == "no"


def test_a_reader_resumes_in_another_process(stays: Process, other: Process, client: httpx2.Client, name: str) -> None:
    """The reader alternates between the replicas, and leaving does not cancel."""
    with gateway(delay=0.02) as upstream:
        reader = start(client, stays, name)
        for turn in range(100):
            reader.read((other, stays)[turn % 2], 3)
            if reader.status == 204:
                break
        left = len(upstream.disconnects)

    assert reader.without_ids == HAIKU_BODY
    assert left == 0


def test_readers_of_a_killed_web_process_lose_nothing(
    stays: Process, other: Process, client: httpx2.Client, name: str
) -> None:
    """They resume in the producer's process, and receive every event once."""
    with gateway(delay=0.05), web() as doomed, ThreadPoolExecutor(5) as pool:
        first = start(client, stays, name)
        readers = [Reader(client, name) for _ in range(5)]
        jobs = [pool.submit(reader.read, doomed) for reader in readers]
        first.read(doomed, 3)
        doomed.kill()
        cut = [not job.result() for job in jobs]
        for reader in [first, *readers]:
            reader.read(stays)

    assert all(cut)
    assert {reader.without_ids for reader in [first, *readers]} == {HAIKU_BODY}


def test_reset_connections_to_redis_lose_nothing_in_any_process(
    stays: Process, other: Process, client: httpx2.Client, name: str
) -> None:
    """All connections are reset in the middle of an answer, and no reader receives an error."""
    from redis import Redis

    readers = [Reader(client, name) for _ in range(6)]
    with gateway(delay=0.05) as upstream, ThreadPoolExecutor(6) as pool, Redis(port=REDIS) as admin:
        first = start(client, stays, name)
        jobs = [pool.submit(reader.read, (stays, other)[at % 2]) for at, reader in enumerate(readers)]
        Reader(client, name).read(other, 5)
        killed = admin.client_kill_filter(_type="normal", skipme=True)
        ended = [job.result() for job in jobs]
        first.read(other)
        left = len(upstream.disconnects)

    assert killed > 1
    assert all(ended)
    assert {reader.without_ids for reader in [first, *readers]} == {HAIKU_BODY}
    assert left == 0


def test_a_killed_producer_is_reported_to_every_reader(
    stays: Process, other: Process, client: httpx2.Client, name: str
) -> None:
    """Readers elsewhere, disconnected ones and later ones receive an error and no `[DONE]`."""
    with gateway(stall_after=5), web() as doomed, ThreadPoolExecutor(9) as pool:
        start(client, doomed, name)
        readers = [Reader(client, name) for _ in range(9)]
        places = [doomed, stays, other] * 3
        jobs = [pool.submit(reader.read, place) for reader, place in zip(readers, places, strict=True)]
        for place in (stays, other):
            Reader(client, name).read(place, 5)
        doomed.kill()
        killed = time.monotonic()
        ended = [job.result() for job in jobs]
        took = time.monotonic() - killed
        for reader, has_ended in zip(readers, ended, strict=True):
            if not has_ended:
                reader.read(stays)
        late = Reader(client, name)
        late.read(other)

    assert {reader.error["type"] for reader in [*readers, late]} == {"producer_stopped"}
    assert {reader.body for reader in readers} == {late.body}
    assert len(late.ids) == 5
    # The lease of 4 s and an eighth of it: within 5 s, and 2 s more on a busy machine.
    assert took < 5 + 2


def test_a_terminated_producer_ends_its_streams_at_once(
    stays: Process, other: Process, client: httpx2.Client, name: str
) -> None:
    """Deployments send SIGTERM: readers elsewhere do not wait until the lease expires."""
    with gateway(stall_after=5) as upstream, web() as doomed, ThreadPoolExecutor(2) as pool:
        start(client, doomed, name)
        readers = [Reader(client, name) for _ in range(2)]
        jobs = [pool.submit(reader.read, place) for reader, place in zip(readers, (stays, other), strict=True)]
        for place in (stays, other):
            Reader(client, name).read(place, 5)
        doomed.popen.terminate()
        terminated = time.monotonic()
        ended = [job.result() for job in jobs]
        took = time.monotonic() - terminated
        doomed.popen.wait(TIMEOUT)
        left = eventually(lambda: len(upstream.disconnects) == 1, TIMEOUT)

    assert all(ended)
    assert {reader.error["type"] for reader in readers} == {"producer_stopped"}
    assert {len(reader.ids) for reader in readers} == {5}
    assert left
    # Its connections have a second to end; its lease would last for 3.5 s more.
    assert took < 3.4


def test_an_unreachable_redis_is_a_503(client: httpx2.Client, name: str) -> None:
    """Start, read and cancel give the same type of error, after which a browser may retry."""
    requirements.module("starlette", "starlette")
    requirements.module("uvicorn", "starlette")
    environment = {**ENVIRONMENT, "REDIS_URL": f"redis://127.0.0.1:{unused_port()}"}
    with gateway() as upstream, process(RECIPE, environment) as lonely, ThreadPoolExecutor(3) as pool:
        requests: list[tuple[str, Any]] = [("POST", BROWSER_REQUEST), ("GET", None), ("DELETE", None)]
        jobs = [pool.submit(client.request, method, lonely.url(name), json=asked) for method, asked in requests]
        answers = [job.result() for job in jobs]
        asked = len(upstream.requests)

    assert [answer.status_code for answer in answers] == [503] * 3
    assert {answer.json()["error"]["type"] for answer in answers} == {"stream_unavailable"}
    assert not [answer for answer in answers if "127.0.0.1" in answer.text]
    assert asked == 0


def test_a_worker_produces_for_the_web_processes(
    stays: Process, other: Process, client: httpx2.Client, name: str
) -> None:
    """Readers in any process receive its streams, and an error when the worker is killed."""
    from redis import Redis

    names = [name, str(uuid.uuid4())]
    faults: list[dict[str, Any]] = [{"delay": 0.02}, {"stall_after": 5}]
    readers = [Reader(client, names[0]), *(Reader(client, names[1]) for _ in range(4))]
    with process([sys.executable, "-c", WORKER]) as doomed, ThreadPoolExecutor(4) as pool, Redis(port=REDIS) as jobs:
        for job, fault in zip(names, faults, strict=True):
            with gateway(**fault) as upstream:
                jobs.rpush("jobs", json.dumps([uuid.UUID(job).hex, GATEWAY_REQUEST]))
                assert asked(upstream)
                if job == name:
                    readers[0].read(other, 3)
                    readers[0].read(stays)
                    continue
                read = [pool.submit(one.read, (stays, other)[at % 2]) for at, one in enumerate(readers[1:])]
                Reader(client, job).read(other, 5)
                doomed.kill()
                killed = time.monotonic()
                ended = [one.result() for one in read]
                took = time.monotonic() - killed

    assert readers[0].without_ids == HAIKU_BODY
    assert all(ended)
    assert {one.error["type"] for one in readers[1:]} == {"producer_stopped"}
    assert {len(one.ids) for one in readers[1:]} == {5}
    assert took < 5 + 2


def test_cancelling_reaches_a_producer_in_another_process(
    stays: Process, other: Process, client: httpx2.Client, name: str
) -> None:
    """The second cancel reports false; the partial answer stays readable, with the reason."""
    with gateway(stall_after=5) as upstream:
        reader = start(client, stays, name, 5)
        answers = [client.delete(other.url(name)).json() for _ in range(2)]
        left = eventually(lambda: len(upstream.disconnects) == 1, TIMEOUT)
        reader.read(other)

    assert answers == [{"cancelled": True}, {"cancelled": False}]
    assert left
    assert reader.error["type"] == "cancelled"
    assert len(reader.ids) == 5


@pytest.mark.parametrize("status", [401, 429])
def test_an_error_reaches_every_browser(stays: Process, client: httpx2.Client, name: str, status: int) -> None:
    """It has its status, its JSON and its `retry-after`; a refusal of this server's key has one plain sentence."""
    with gateway(status=status, retry_after=0.05) as upstream:
        asked = client.post(stays.url(name), json=BROWSER_REQUEST)
        followed = client.get(stays.url(name))
        requests = len(upstream.requests)

    for one in (asked, followed):
        shown = 502 if status == 401 else status
        assert one.status_code == shown
        assert one.json()["error"]["code"] == str(shown)
        assert one.headers.get("retry-after") == (None if status == 401 else "0.05")
    # The SDK retries once if a retry may help.
    assert requests == (1 if status == 401 else 2)


@pytest.mark.parametrize(
    "asked",
    [
        b"",
        b"{",
        {},
        {"messages": []},
        {**BROWSER_REQUEST, "model": "gpt-4o"},
        {"messages": [{"role": "system", "content": "x"}]},
    ],
    ids=str,
)
def test_a_browser_may_send_only_messages(stays: Process, client: httpx2.Client, name: str, asked: Any) -> None:
    """Other bodies are refused before they reach the gateway or Redis."""
    content = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
    with gateway() as upstream:
        refused = client.post(stays.url(name), content=content, headers={"content-type": "application/json"})
        requests = upstream.requests

    assert refused.status_code == 422
    assert "error" in refused.json()
    assert requests == []
    assert client.get(stays.url(name)).status_code == 404


def test_an_invalid_id_is_not_found(stays: Process, client: httpx2.Client, name: str) -> None:
    """An invalid last event id is a 400."""
    with gateway():
        start(client, stays, name)

        assert client.get(stays.url("1")).status_code == 404
        assert client.post(stays.url("a*"), json=BROWSER_REQUEST).status_code == 404
        for last in ("", "-1", "$", "0-0", "9" * 40):
            refused = client.get(stays.url(name), headers={"last-event-id": last})
            assert refused.status_code == 400
            assert refused.json()["error"]["message"].startswith("last event id ")


def test_the_page_is_served(stays: Process, client: httpx2.Client) -> None:
    """The server sends the file, whose safety is tested with the other page's."""
    page = client.get(f"http://127.0.0.1:{stays.port}/").text

    assert page == (ROOT / "recipes/chat_resumable.html").read_text("utf-8")
