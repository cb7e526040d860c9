"""Resumable streams across processes: the recipe on two ports, a worker, and each of them killed."""

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
# A process that has no readers: it takes jobs from a list.
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
    """Return a replica that no test kills: each takes seconds to start."""
    with web() as served:
        yield served


@pytest.fixture(scope="module")
def other() -> Iterator[Process]:
    """Return another one."""
    with web() as served:
        yield served


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    # A connection for each request: those to a process that is killed are of no use.
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
    """A browser that goes on where it was cut: what it was given, once each."""

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
        """Read on, so many events at most; return whether the answer came to its end, not the connection."""
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
            # A whole event at least is what a browser counts.
            self.body += new
            return True
        self.body += new[: new.rfind(b"\n\n") + 2]
        return False


def start(client: httpx2.Client, at: Process, name: str, events: int = 3) -> Reader:
    """Ask, and read so many events."""
    reader = Reader(client, name)
    reader.read(at, events, asked=BROWSER_REQUEST)
    assert len(reader.ids) >= events
    return reader


def test_the_haiku_arrives(stays: Process, other: Process, client: httpx2.Client, name: str) -> None:
    """From one request, asked as often as one likes, in any process; and there is nothing left after it."""
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
    """Proxies must not collapse it, here either."""
    with gateway(), client.stream("POST", stays.url(name), json=BROWSER_REQUEST) as response:
        response.read()

    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert response.headers["x-accel-buffering"] == "no"


def test_a_reader_that_is_cut_goes_on_elsewhere(
    stays: Process, other: Process, client: httpx2.Client, name: str
) -> None:
    """To and fro between the replicas; to leave is no cancel."""
    with gateway(delay=0.02) as upstream:
        reader = start(client, stays, name)
        for turn in range(100):
            reader.read((other, stays)[turn % 2], 3)
            if reader.status == 204:
                break
        left = len(upstream.disconnects)

    assert reader.without_ids == HAIKU_BODY
    assert left == 0


def test_a_killed_web_process_costs_its_readers_nothing(
    stays: Process, other: Process, client: httpx2.Client, name: str
) -> None:
    """The producer is another process: whoever was cut reads on there, every event once."""
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


def test_connections_to_redis_that_are_reset_cost_nothing(
    stays: Process, other: Process, client: httpx2.Client, name: str
) -> None:
    """All of them at once, in the middle of an answer: nobody is told, and nothing is lost."""
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


def test_a_killed_producer_is_known_to_every_reader(
    stays: Process, other: Process, client: httpx2.Client, name: str
) -> None:
    """To those elsewhere, those who were cut with it, and those who come later: an error, and no end mark."""
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
        told = time.monotonic() - killed
        for reader, was_told in zip(readers, ended, strict=True):
            if not was_told:
                reader.read(stays)
        late = Reader(client, name)
        late.read(other)

    assert {reader.error["type"] for reader in [*readers, late]} == {"producer_stopped"}
    assert {reader.body for reader in readers} == {late.body}
    assert len(late.ids) == 5
    # A lease of 4 s, and an eighth of it: within 5 s, and 2 more where the machine is busy.
    assert told < 5 + 2


def test_a_producer_that_is_told_to_end_says_so(
    stays: Process, other: Process, client: httpx2.Client, name: str
) -> None:
    """As in every deployment, by SIGTERM: readers elsewhere do not wait for its lease to run out."""
    with gateway(stall_after=5) as upstream, web() as doomed, ThreadPoolExecutor(2) as pool:
        start(client, doomed, name)
        readers = [Reader(client, name) for _ in range(2)]
        jobs = [pool.submit(reader.read, place) for reader, place in zip(readers, (stays, other), strict=True)]
        for place in (stays, other):
            Reader(client, name).read(place, 5)
        doomed.popen.terminate()
        terminated = time.monotonic()
        ended = [job.result() for job in jobs]
        told = time.monotonic() - terminated
        doomed.popen.wait(TIMEOUT)
        left = eventually(lambda: len(upstream.disconnects) == 1, TIMEOUT)

    assert all(ended)
    assert {reader.error["type"] for reader in readers} == {"producer_stopped"}
    assert {len(reader.ids) for reader in readers} == {5}
    assert left
    # Its connections have a second to end; its lease would run for three and a half more.
    assert told < 3.4


def test_a_redis_that_is_not_there_is_told(client: httpx2.Client, name: str) -> None:
    """To whoever starts, reads or cancels, with the same type of error: ask again."""
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


def test_a_worker_streams_for_the_web_processes(
    stays: Process, other: Process, client: httpx2.Client, name: str
) -> None:
    """Whoever reads, and wherever; and when it is killed, all are told."""
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
                told = time.monotonic() - killed

    assert readers[0].without_ids == HAIKU_BODY
    assert all(ended)
    assert {one.error["type"] for one in readers[1:]} == {"producer_stopped"}
    assert {len(one.ids) for one in readers[1:]} == {5}
    assert told < 5 + 2


def test_cancelling_reaches_a_producer_elsewhere(
    stays: Process, other: Process, client: httpx2.Client, name: str
) -> None:
    """Once; what had come stays readable, with the reason."""
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
    """With its status, its JSON and its `retry-after`."""
    with gateway(status=status, retry_after=0.05) as upstream:
        asked = client.post(stays.url(name), json=BROWSER_REQUEST)
        followed = client.get(stays.url(name))
        requests = len(upstream.requests)

    for one in (asked, followed):
        assert one.status_code == status
        assert one.json()["error"]["code"] == str(status)
        assert one.headers["retry-after"] == "0.05"
    # One retry of the SDK's, where it helps.
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
def test_a_browser_decides_on_messages_alone(stays: Process, client: httpx2.Client, name: str, asked: Any) -> None:
    """Anything else is refused before the gateway, and Redis, see it."""
    content = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
    with gateway() as upstream:
        refused = client.post(stays.url(name), content=content)
        requests = upstream.requests

    assert refused.status_code == 422
    assert "error" in refused.json()
    assert requests == []
    assert client.get(stays.url(name)).status_code == 404


def test_what_is_no_id_is_not_found(stays: Process, client: httpx2.Client, name: str) -> None:
    """And a last event id that is none of this stream's is a 400."""
    with gateway():
        start(client, stays, name)

        assert client.get(stays.url("1")).status_code == 404
        assert client.post(stays.url("a*"), json=BROWSER_REQUEST).status_code == 404
        for last in ("", "-1", "$", "0-0", "9" * 40):
            refused = client.get(stays.url(name), headers={"last-event-id": last})
            assert refused.status_code == 400
            assert refused.json()["error"]["message"].startswith("last event id ")


def test_the_page_needs_nothing_else(stays: Process, client: httpx2.Client) -> None:
    """No build step, nothing from elsewhere, and no text of a model that becomes HTML."""
    page = client.get(f"http://127.0.0.1:{stays.port}/").text

    assert page == (ROOT / "recipes/chat_resumable.html").read_text("utf-8")
    assert not re.search(r"https?:|//[a-z]+\.| src=|@import|<link(?! rel=\"icon\" href=\"data:,\")", page)
    assert not re.search(r"innerHTML *=|outerHTML|insertAdjacentHTML|document\.write|eval\(", page)
