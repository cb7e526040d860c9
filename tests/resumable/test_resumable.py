"""Resumable streams on a real Redis: readers, errors, cancelling, expiry, and failures of Redis."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cassette
import openai
import pytest
import requirements
from redis_servers import redis_server
from sockets import NEVER, aeventually, async_client, sync_client
from web import GATEWAY_REQUEST, HAIKU_BODY, TIMEOUT, EndlessGateway, answer_events, unused_port, write_cassette

from tensorloop_stream import Callbacks, SSEDecoder, aforward_chat
from tensorloop_stream._forward.headers import UNAVAILABLE
from tensorloop_stream.replay import ReplayServer

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion
    from redis.asyncio import Redis

    from tensorloop_stream.resumable import ResumableStreams
    from tensorloop_stream.resumable._log_store import Log

# A lease that does not expire on a busy machine, and one that a test waits for.
LONG, SHORT = 30.0, 0.3


@pytest.fixture(scope="module", autouse=True)
def _needs_redis() -> None:
    requirements.module("redis", "redis")
    requirements.program("redis-server")


@pytest.fixture(scope="module")
def redis_port() -> Iterator[int]:
    port = unused_port()
    with redis_server(port):
        yield port


@pytest.fixture
async def redis(redis_port: int) -> AsyncIterator[Redis]:
    from redis.asyncio import Redis

    async with Redis(port=redis_port) as client:
        yield client
        await client.flushall()


@asynccontextmanager
async def replicas(
    port: int, count: int = 2, lease: float = LONG, redis_settings: Any = None, **settings: Any
) -> AsyncIterator[list[ResumableStreams]]:
    """Return the streams of this number of simulated processes."""
    from redis.asyncio import Redis

    from tensorloop_stream.resumable import ResumableStreams

    async with AsyncExitStack() as stack:
        # Unlike `Redis()`, this client does not retry commands.
        url, redis_settings = f"redis://127.0.0.1:{port}", redis_settings or {}
        clients = [await stack.enter_async_context(Redis.from_url(url, **redis_settings)) for _ in range(count)]
        yield [await stack.enter_async_context(ResumableStreams(client, lease=lease, **settings)) for client in clients]


@asynccontextmanager
async def gateway(**faults: Any) -> AsyncIterator[tuple[ReplayServer, openai.AsyncOpenAI]]:
    path = faults.pop("path", cassette.FOLDER / "chat/haiku.yaml")
    with ReplayServer(path, **faults) as server:
        async with async_client(server.base_url) as client:
            yield server, client


@dataclass(frozen=True, slots=True)
class Read:
    """The response that a reader received."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def without_ids(self) -> str:
        return re.sub(r"\nid: [0-9]+-[0-9]+\n\n", "\n\n", self.body.decode())

    @property
    def ids(self) -> list[str]:
        return re.findall(r"^id: (.*)$", self.body.decode(), re.MULTILINE)

    @property
    def error(self) -> dict[str, str]:
        """The error at its end."""
        last = SSEDecoder().feed(self.body)[-1].data if b"data: " in self.body else self.body
        error: dict[str, str] = json.loads(last)["error"]
        return error


async def read(streams: ResumableStreams, name: str, last_event_id: str | None = None) -> Read:
    """Read to the end, for up to two timeouts."""
    async with asyncio.timeout(2 * TIMEOUT):
        answer = await streams.read(name, last_event_id)
        return Read(answer.status_code, answer.headers, b"".join([data async for data in answer]))


async def read_some(streams: ResumableStreams, name: str, events: int, last_event_id: str | None = None) -> Read:
    """Read at least this number of events, and leave."""
    async with asyncio.timeout(2 * TIMEOUT), await streams.read(name, last_event_id) as answer:
        body = b""
        async for data in answer:
            body += data
            if body.count(b"\nid: ") >= events:
                break
        return Read(answer.status_code, answer.headers, body)


async def claim(streams: ResumableStreams, name: str, owner: str, lease: int) -> Log | None:
    """Begin a log without a producer in this process."""
    from tensorloop_stream.resumable import _log_store

    key = _log_store.log_key(name)
    return await _log_store.Log.claim(streams._commands, streams._writer, key, owner, expires=60_000, lease=lease)


async def until(ask: Callable[[], Any], least: int, most: int) -> None:
    """Wait until a number in Redis is within these bounds."""
    async with asyncio.timeout(TIMEOUT):
        while not least <= await ask() <= most:  # noqa: ASYNC110 - what is waited for happens in Redis
            await asyncio.sleep(0.05)


@pytest.fixture
def name() -> str:
    return str(uuid.uuid4())


@pytest.mark.parametrize(
    "settings",
    [{}, {"protocol": 2}, {"protocol": 3}, {"protocol": 2, "legacy_responses": False}, {"socket_timeout": None}],
    ids=str,
)
async def test_every_reader_gets_every_event_once(
    redis: Redis, redis_port: int, name: str, settings: dict[str, Any]
) -> None:
    """Twenty readers in two processes, beginning at different times, cause one request to the gateway."""
    async with gateway(delay=0.01) as (upstream, client), replicas(redis_port, redis_settings=settings) as both:
        started = await asyncio.gather(*(streams.start(name, client, GATEWAY_REQUEST) for streams in both * 5))

        async def later(number: int) -> Read:
            await asyncio.sleep(0.02 * number)
            return await read(both[number % 2], name)

        reads = await asyncio.gather(*map(later, range(20)))
        asked = len(upstream.requests)

    assert sorted(started) == [False] * 9 + [True]
    assert asked == 1
    assert {one.without_ids for one in reads} == {HAIKU_BODY}
    assert {one.body for one in reads} == {reads[0].body}
    assert len(set(reads[0].ids)) == HAIKU_BODY.count("\n\n")
    assert {(one.status, one.headers["Content-Type"]) for one in reads} == {(200, "text/event-stream; charset=utf-8")}


async def test_a_reader_resumes_in_another_process(redis: Redis, redis_port: int, name: str) -> None:
    """A reader that is disconnected many times during the answer receives every event once."""
    async with gateway(delay=0.01) as (upstream, client), replicas(redis_port) as both:
        await both[0].start(name, client, GATEWAY_REQUEST)
        got, last = b"", None
        for turn in range(100):
            part = await read_some(both[turn % 2], name, 3, last)
            got += part.body
            if part.status == 204:
                break
            last = part.ids[-1]
        left = len(upstream.disconnects)

    assert Read(200, {}, got).without_ids == HAIKU_BODY
    assert turn > 3
    assert left == 0


async def test_a_reader_resumes_after_any_event(redis: Redis, redis_port: int, name: str) -> None:
    """After the last event of a finished answer, the status 204 tells a browser to stop."""
    async with gateway() as (_, client), replicas(redis_port) as (streams, other):
        await streams.start(name, client, GATEWAY_REQUEST)
        whole = await read(streams, name)
        rests = [await read(other, name, last) for last in whole.ids]

    for last, rest in zip(whole.ids, rests, strict=True):
        assert rest.body == whole.body.partition(f"id: {last}\n\n".encode())[2]
    assert [rest.status for rest in rests] == [200] * (len(rests) - 1) + [204]


@pytest.mark.parametrize(
    "last", ["", "-1", "$", "+", "-", "(", "0", "0-0", "1-1", "9" * 30, "9" * 19 + "-1", "{ms}-0", "{ms}-1", "{ms}-999"]
)
@pytest.mark.parametrize("is_running", [True, False], ids=["running", "ended"])
async def test_an_invalid_last_event_id_is_refused(
    redis: Redis, redis_port: int, name: str, last: str, is_running: bool
) -> None:
    """The reader neither receives everything again nor waits for ever."""
    faults = {"stall_after": 3} if is_running else {}
    async with gateway(**faults) as (_, client), replicas(redis_port, 1) as (streams,):
        await streams.start(name, client, GATEWAY_REQUEST)
        some = await read_some(streams, name, 3)
        refused = await read(streams, name, last.format(ms=some.ids[0].split("-")[0]))

    assert refused.status == 400
    assert refused.headers["Content-Type"] == "application/json"
    assert re.match("last event id .* of this stream", refused.error["message"])


async def test_an_event_id_of_an_expired_stream_is_refused(redis: Redis, redis_port: int, name: str) -> None:
    """The stream's id was reused after its expiry, so the browser's text belongs to another answer."""
    async with gateway() as (_, client), replicas(redis_port, 1) as (streams,):
        await streams.start(name, client, GATEWAY_REQUEST)
        earlier = await read(streams, name)
        await redis.flushall()
        await streams.start(name, client, GATEWAY_REQUEST)

        assert (await read(streams, name, earlier.ids[3])).status == 400
        assert (await read(streams, name)).without_ids == HAIKU_BODY


async def test_a_missing_stream_is_a_404(redis: Redis, redis_port: int, name: str) -> None:
    """A browser cannot distinguish a stream that was never started from an expired one."""
    async with replicas(redis_port, 1) as (streams,):
        unknown = await read(streams, name, "1-2")

        assert await streams.cancel(name) is False
    assert unknown.status == 404
    assert unknown.error["message"] == "no such stream: it was never started, or it has expired"


async def test_an_invalid_id_is_refused(redis: Redis, redis_port: int) -> None:
    """The error is raised before the id becomes part of a key."""
    async with gateway() as (upstream, client), replicas(redis_port, 1) as (streams,):
        for call in (streams.start("a b", client, GATEWAY_REQUEST), streams.read("*"), streams.cancel("")):
            with pytest.raises(ValueError, match="1 to 128 letters, digits, - and _"):
                await call
        with pytest.raises(TypeError, match="body is list"):
            await streams.start("a", client, [])  # type: ignore[arg-type]
        with sync_client(upstream.base_url) as other, pytest.raises(TypeError, match="OpenAI is a sync client"):
            await streams.start("a", other, GATEWAY_REQUEST)  # type: ignore[arg-type]

    assert not await redis.keys()
    assert not upstream.requests


@pytest.mark.parametrize(
    "faults",
    [
        {"status": 401},
        {"status": 429, "retry_after": 7},
        {"status": 503, "retry_after": 0.01},
        {"cut_after": 0},
        {"cut_after": 5},
        {"error_after": 5},
        {"end_after": 5},
        {"crlf": True, "split": 7, "ping": 0.01, "delay": 0.02},
    ],
    ids=str,
)
async def test_every_reader_receives_what_aforward_chat_would_send(
    redis: Redis, redis_port: int, name: str, faults: dict[str, Any]
) -> None:
    """Early, late and resumed readers receive the same status, headers and events."""
    async with gateway(**faults) as (_, client), replicas(redis_port) as both:
        async with await aforward_chat(client, GATEWAY_REQUEST) as forwarded:
            direct = b"".join([data async for data in forwarded]).replace(b"\r\n", b"\n").decode()
        await both[0].start(name, client, GATEWAY_REQUEST)
        reads = await asyncio.gather(*(read(streams, name) for streams in both * 2))
        reads += [await read(streams, name) for streams in both]
        rest = await read(both[1], name, reads[0].ids[2]) if reads[0].ids else None

    for one in reads:
        assert re.sub(": ping\n\n", "", one.without_ids) == re.sub(": ping\n\n", "", direct)
        assert (one.status, one.headers) == (forwarded.status_code, forwarded.headers)
    assert bool(reads[0].ids) == (forwarded.status_code == 200)
    if rest:
        assert reads[0].body.endswith(b"\n\n" + rest.body)
        assert len(rest.ids) == len(reads[0].ids) - 3


async def test_a_refusal_of_the_server_is_hidden_from_readers(redis: Redis, redis_port: int, name: str) -> None:
    """With `hide_refusals`, a 401 is a 502 in the log of Redis already, for every reader."""
    async with gateway(status=401) as (_, client), replicas(redis_port) as (one, two):
        await one.start(name, client, GATEWAY_REQUEST, hide_refusals=True)
        reads = [await read(streams, name) for streams in (one, two)]

    assert [each.status for each in reads] == [502, 502]
    assert {each.error["message"] for each in reads} == {UNAVAILABLE}


async def test_a_stall_with_pings_ends_for_every_reader(redis: Redis, redis_port: int, name: str) -> None:
    """The timeouts count chunks, in the process of the producer."""
    async with (
        gateway(stall_after=3, ping=0.05) as (upstream, client),
        replicas(redis_port) as (one, two),
    ):
        await one.start(name, client, GATEWAY_REQUEST, idle_timeout=0.3)
        first, second = await asyncio.gather(read(one, name), read(two, name))

        assert first.error == second.error
        assert first.error["type"] == "timeout_error"
        assert await aeventually(lambda: len(upstream.disconnects) == 1, TIMEOUT)


async def test_pings_are_not_stored(redis: Redis, redis_port: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis does not grow with the gateway's pings, and each reader receives its own."""
    from tensorloop_stream.resumable import _hub

    monkeypatch.setattr(_hub, "PING_INTERVAL", 0.1)
    bodies = []
    async with gateway(stall_after=3, ping=0.01) as (_, client), replicas(redis_port, lease=4.0) as both:
        await both[0].start(name, client, GATEWAY_REQUEST)
        for streams in both:
            async with asyncio.timeout(TIMEOUT), await streams.read(name) as answer:
                body = b""
                async for data in answer:
                    body += data
                    if body.count(b": ping\n\n") >= 2 and body.count(b"\nid: ") >= 3:
                        break
                bodies.append(body)
        entries = await redis.xlen(f"tensorloop:stream:{name}")

    # The claim, the head and three events.
    assert entries == 5
    assert [body.count(b"\nid: ") for body in bodies] == [3, 3]


async def test_an_unreachable_gateway_is_a_502(redis: Redis, redis_port: int, name: str) -> None:
    """Every reader receives this status."""
    async with async_client(f"http://127.0.0.1:{unused_port()}/v1") as client, replicas(redis_port) as both:
        await both[0].start(name, client, GATEWAY_REQUEST)
        reads = [await read(streams, name) for streams in both]

    assert [one.status for one in reads] == [502, 502]
    assert reads[0].error["type"] == "upstream_error"


async def test_cancelling_in_any_process_reaches_the_gateway(redis: Redis, redis_port: int, name: str) -> None:
    """All readers receive the error, later ones too; a reader that leaves does not cancel."""
    aborted: list[ChatCompletion] = []
    async with gateway(stall_after=5) as (upstream, client), replicas(redis_port) as both:
        await both[0].start(name, client, GATEWAY_REQUEST, Callbacks(on_abort=aborted.append))
        await read_some(both[0], name, 2)
        readers = [asyncio.create_task(read(streams, name)) for streams in both]
        some = await read_some(both[1], name, 5)
        left_before = len(upstream.disconnects)
        cancelled = await both[1].cancel(name)
        left = await aeventually(lambda: len(upstream.disconnects) == 1, TIMEOUT)
        reads = [*(await asyncio.gather(*readers)), await read(both[1], name)]
        rest = await read(both[1], name, some.ids[-1])
        again = [await streams.cancel(name) for streams in both]

    assert (left_before, cancelled, left, again) == (0, True, True, [False, False])
    assert {one.error["type"] for one in [*reads, rest]} == {"cancelled"}
    assert {one.body for one in reads} == {reads[0].body}
    assert len(reads[0].ids) == 5
    assert rest.ids == []
    assert b"[DONE]" not in reads[0].body
    assert len(aborted) == 1


async def test_cancelling_before_the_first_byte_gives_readers_a_499(redis: Redis, redis_port: int, name: str) -> None:
    """The status replaces the events."""
    async with gateway(first_delay=NEVER) as (upstream, client), replicas(redis_port) as both:
        await both[0].start(name, client, GATEWAY_REQUEST)
        readers = [asyncio.create_task(read(streams, name)) for streams in both]
        assert await aeventually(lambda: len(upstream.requests) == 1, TIMEOUT)
        await both[1].cancel(name)
        reads = await asyncio.gather(*readers)

        assert await aeventually(lambda: len(upstream.disconnects) == 1, TIMEOUT)
    assert [one.status for one in reads] == [499, 499]


async def test_a_cancel_may_precede_its_start(redis: Redis, redis_port: int, name: str) -> None:
    """No request is sent, readers receive the reason, and Redis keeps it for half a minute."""
    async with gateway() as (upstream, client), replicas(redis_port) as both:
        cancelled = [await streams.cancel(name) for streams in both]
        # Any browser may send a cancel, so it takes little memory.
        [key] = await redis.keys()
        size, life = await redis.memory_usage(key) or 0, await redis.pttl(key)
        started = [await streams.start(name, client, GATEWAY_REQUEST) for streams in both]
        reads = [await read(streams, name) for streams in both]
        again = await both[0].cancel(name)
        asked, keys = len(upstream.requests), await redis.keys()

    assert cancelled == [False, False]
    assert started == [False, False]
    assert [(one.status, one.error["type"]) for one in reads] == [(499, "cancelled")] * 2
    assert (again, asked) == (False, 0)
    assert size < 200
    assert 0 < life <= 30_000
    assert keys == [f"tensorloop:stream:{name}".encode()]


@pytest.mark.parametrize("steps", range(4))
async def test_a_cancelled_start_frees_its_id(redis: Redis, redis_port: int, name: str, steps: int) -> None:
    """The next start in any process sends the request."""
    async with gateway() as (upstream, client), replicas(redis_port) as both:
        starting = asyncio.create_task(both[0].start(name, client, GATEWAY_REQUEST))
        for _ in range(steps):
            await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await both[0].cancel(str(uuid.uuid4()))
        keys = await redis.keys("tensorloop:stream:" + name + "*")
        started = await both[1].start(name, client, GATEWAY_REQUEST)
        one = await read(both[0], name)
        asked = len(upstream.requests)

    assert keys == []
    assert started
    assert one.without_ids == HAIKU_BODY
    assert asked == 1


@pytest.mark.parametrize("steps", range(4))
async def test_closing_during_a_start_starts_nothing(redis: Redis, redis_port: int, name: str, steps: int) -> None:
    """The start raises, and another process may start the stream."""
    async with gateway(stall_after=3) as (upstream, client), replicas(redis_port) as (closing, other):
        starting = asyncio.create_task(closing.start(name, client, GATEWAY_REQUEST))
        for _ in range(steps):
            await asyncio.sleep(0)
        await closing.aclose()
        with pytest.raises(RuntimeError, match="these streams are closed"):
            await starting
        is_idle = not closing._producers and closing._hub._task is None and closing._commands._task is None

        assert await other.start(name, client, GATEWAY_REQUEST)
        assert await aeventually(lambda: len(upstream.requests) == 1, TIMEOUT)
    assert is_idle


async def test_callbacks_are_called_by_the_producer_alone(redis: Redis, redis_port: int, name: str) -> None:
    """`on_finish` receives the whole message once, with and without readers."""
    finished: list[ChatCompletion] = []
    async with gateway() as (_, client), replicas(redis_port) as both:
        for streams in both:
            await streams.start(name, client, GATEWAY_REQUEST, Callbacks(on_finish=finished.append))

        assert await aeventually(lambda: len(finished) == 1, TIMEOUT)
        assert (await read(both[1], name)).without_ids == HAIKU_BODY
    assert len(finished) == 1


async def test_an_exception_from_a_callback_is_reported(redis: Redis, redis_port: int, name: str) -> None:
    """Readers receive an error without its message, and the event loop's handler the exception."""
    contexts: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))

    def save(_: object) -> None:
        raise OSError("the database's password is swordfish")

    async with gateway(delay=0.01) as (_, client), replicas(redis_port) as both:
        await both[0].start(name, client, GATEWAY_REQUEST, Callbacks(on_text=save))
        reads = [await read(streams, name) for streams in both]

    assert {one.error["type"] for one in reads} == {"producer_failed"}
    assert b"swordfish" not in reads[0].body
    assert [str(context["exception"]) for context in contexts] == ["the database's password is swordfish"]


async def test_every_key_expires(redis: Redis, redis_port: int, name: str) -> None:
    """Each key has an expiry from the start, which is extended during the answer."""
    async with gateway(stall_after=3) as (_, client), replicas(redis_port, lease=4.0, expires=600) as both:
        await both[0].start(name, client, GATEWAY_REQUEST)
        await read_some(both[1], name, 3)
        lives = {key: await redis.pttl(key) for key in await redis.keys()}
        log = f"tensorloop:stream:{name}"
        await redis.pexpire(log, 60_000)
        await until(lambda: redis.pttl(log), 590_001, 600_000)
        await both[1].cancel(name)
        left = await redis.pttl(log)

    assert len(lives) >= 2
    assert all(0 < life <= 600_000 for life in lives.values())
    assert 590_000 < left <= 600_000


async def test_an_answer_expires(redis: Redis, redis_port: int, name: str) -> None:
    """A reader after the expiry receives a 404."""
    async with gateway() as (_, client), replicas(redis_port, lease=0.9, expires=1) as (streams, other):
        await streams.start(name, client, GATEWAY_REQUEST)
        whole = await read(streams, name)
        await until(lambda: redis.exists(f"tensorloop:stream:{name}"), 0, 0)
        late = await read(other, name, whole.ids[3])

    assert whole.without_ids == HAIKU_BODY
    assert late.status == 404


async def test_a_dead_producer_is_reported_to_every_reader(redis: Redis, redis_port: int, name: str) -> None:
    """Present and later readers receive the same bytes, and the log accepts no more writes."""
    from tensorloop_stream.resumable import _log_format, _log_store

    async with replicas(redis_port, lease=SHORT) as both:
        # The state that a killed process leaves.
        log = await claim(both[0], name, "dead:1", int(1000 * SHORT))
        assert log is not None
        await log.begin(_log_format.Head(200, {"Content-Type": "text/event-stream"}))
        await log.append([b"data: {}"])
        reads = await asyncio.gather(*(read(streams, name) for streams in both * 10))
        reads += [await read(streams, name) for streams in both]
        await log.append([b"data: too late"])
        with pytest.raises(_log_store.LostError):
            await log.flush()
        assert await _log_store.renew_leases(redis, [log]) == [False]
        reads += [await read(streams, name) for streams in both]
        rest = await read(both[1], name, reads[0].ids[0])

    assert {one.body for one in reads} == {reads[0].body}
    assert reads[0].error["type"] == rest.error["type"] == "producer_stopped"
    assert rest.ids == []


async def test_a_write_that_is_sent_twice_counts_once(redis: Redis, redis_port: int, name: str) -> None:
    """A pipeline whose replies were lost is sent again."""
    from tensorloop_stream.resumable import _log_format

    async with replicas(redis_port, 1) as (streams,):
        claims = [await claim(streams, name, owner, 60_000) for owner in ("p:1", "p:1", "p:2")]
        log = claims[1]
        assert log is not None
        for _ in range(2):
            log.number = 0
            await log.begin(_log_format.Head(200, {"Content-Type": "text/event-stream"}))
        for _ in range(2):
            log.number = 1
            await log.append([b"data: 1", b"data: 2"])
            await log.flush()
        for _ in range(2):
            await log.end()

        assert (await read(streams, name)).without_ids == "data: 1\n\ndata: 2\n\n"
    assert [claim is None for claim in claims] == [False, False, True]


async def test_a_stale_producer_cannot_write_into_a_new_stream(redis: Redis, redis_port: int, name: str) -> None:
    """Its own stream expired, and the id was started again."""
    from tensorloop_stream.resumable import _log_store

    async with gateway(stall_after=3) as (upstream, client), replicas(redis_port) as (stale, fresh):
        log = await claim(stale, name, "stale:1", 60_000)
        assert log is not None
        await redis.flushall()
        await log.append([b"data: stale"])
        with pytest.raises(_log_store.LostError):
            await log.flush()
        assert not await redis.keys()
        await fresh.start(name, client, GATEWAY_REQUEST)
        before = await read_some(fresh, name, 3)
        await log.append([b"data: stale"] * 9)
        with pytest.raises(_log_store.LostError):
            await log.flush()
        assert await _log_store.renew_leases(redis, [log]) == [False]
        await log.end(b"stale")
        assert len([key for key in await redis.keys() if name.encode() in key]) == 2
        after = await read_some(fresh, name, 3)

        assert after.body == before.body
        assert not upstream.disconnects


async def test_a_producer_without_a_log_is_stopped(redis: Redis, redis_port: int, name: str) -> None:
    """Redis may lose the log and keep the lease, as when it evicts: nobody could read or cancel the rest."""
    async with gateway(stall_after=3) as (upstream, client), replicas(redis_port, lease=1.0) as both:
        await both[0].start(name, client, GATEWAY_REQUEST)
        await read_some(both[1], name, 3)
        await redis.delete(f"tensorloop:stream:{name}")

        assert await aeventually(lambda: len(upstream.disconnects) == 1, TIMEOUT)
        assert await aeventually(lambda: not both[0]._producers, TIMEOUT)


async def test_a_lost_tail_is_no_complete_answer(redis: Redis, redis_port: int, name: str) -> None:
    """A failover may lose the last events, after which the producer writes the end: readers receive an error."""
    from tensorloop_stream.resumable import _log_format

    async with replicas(redis_port, 1) as (streams,):
        log = await claim(streams, name, "p:1", 60_000)
        assert log is not None
        await log.begin(_log_format.Head(200, {"Content-Type": "text/event-stream"}))
        await log.append([b"data: 1", b"data: 2"])
        await log.flush()
        await redis.xdel(f"tensorloop:stream:{name}", f"{log.stream}-3")
        await log.end()
        one = await read(streams, name)

    assert one.error["type"] == "stream_gone"
    assert len(one.ids) == 1


@pytest.mark.parametrize("is_started_again", [False, True])
async def test_a_cancel_holds_while_a_failed_start_releases_its_id(
    redis: Redis, redis_port: int, name: str, is_started_again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cancel found the claim of the start that failed; it is meant for the one that follows."""
    from tensorloop_stream.resumable import _log_store, _streams

    find = _log_store.owner_to_cancel
    async with gateway(stall_after=3) as (upstream, client), replicas(redis_port) as both:
        assert await claim(both[0], name, "failed:1", 60_000) is not None

        async def find_and_release(commands: Any, key: str) -> Any:
            found = await find(commands, key)
            if found is not None and found[1] == "failed:1":
                _log_store.release(commands, key, "failed:1")
                await commands.run(("PING",))  # after it, in the same queue
                if is_started_again:
                    await both[0].start(name, client, GATEWAY_REQUEST)
            return found

        monkeypatch.setattr(_streams, "owner_to_cancel", find_and_release)
        cancelled = await both[1].cancel(name)
        started = await both[0].start(name, client, GATEWAY_REQUEST)
        one = await read(both[1], name)
        left = await aeventually(lambda: len(upstream.disconnects) == len(upstream.requests), TIMEOUT)

    assert (cancelled, started) == (is_started_again, False)
    assert one.error["type"] == "cancelled"
    assert left


async def test_a_slow_reader_does_not_delay_others(redis: Redis, redis_port: int, name: str, tmp_path: Any) -> None:
    """Unread events stay in Redis, and do not accumulate in the process."""
    from tensorloop_stream.resumable import _inbox

    texts = [f"{number}:{'x' * 10_000}" for number in range(100)]
    path = write_cassette(tmp_path / "long.yaml", *answer_events(*texts))
    async with gateway(path=path, delay=0.002) as (_, client), replicas(redis_port) as both:
        await both[0].start(name, client, GATEWAY_REQUEST)
        slow = await both[1].read(name)
        begun = await anext(slow)
        fast = await asyncio.gather(*(read(both[1], name) for _ in range(3)))
        waiting = slow._reader._inbox._size
        rest = b"".join([data async for data in slow])

    assert {one.body for one in fast} == {begun + rest}
    assert [event.data for event in SSEDecoder().feed(begun + rest)][:100] == [
        event.data for event in SSEDecoder().feed(b"".join(answer_events(*texts)))
    ][:100]
    # The events of one read may exceed it.
    assert waiting <= _inbox.BUFFER + 10_200


async def test_an_endless_answer_is_ended_at_max_size(redis: Redis, redis_port: int, name: str) -> None:
    """A gateway must fill neither Redis nor the memory of a process."""
    with EndlessGateway() as upstream:
        async with (
            async_client(f"http://127.0.0.1:{upstream.port}/v1") as client,
            replicas(redis_port, max_size=1_000_000) as both,
        ):
            await both[0].start(name, client, GATEWAY_REQUEST)
            one = await read(both[1], name)
            stands = await asyncio.to_thread(upstream.is_stalled, 0.2)

    assert one.error["type"] == "too_large"
    assert 900_000 < len(one.body) < 1_100_000
    assert stands


async def test_closing_ends_producers_and_readers_at_once(redis: Redis, redis_port: int, name: str) -> None:
    """Readers do not wait for the lease, and may resume in another process from their last event."""
    async with gateway(stall_after=3) as (upstream, client), replicas(redis_port, 3) as (first, second, third):
        await first.start(name, client, GATEWAY_REQUEST)
        elsewhere = [asyncio.create_task(read(streams, name)) for streams in (second, third)]
        await read_some(second, name, 3)
        await read_some(third, name, 3)
        await third.aclose()
        unavailable = await elsewhere[1]
        await first.aclose()
        stopped = await elsewhere[0]
        with pytest.raises(RuntimeError, match="these streams are closed"):
            await first.start(str(uuid.uuid4()), client, GATEWAY_REQUEST)

        assert await aeventually(lambda: len(upstream.disconnects) == 1, TIMEOUT)
    assert unavailable.error["type"] == "stream_unavailable"
    assert stopped.error["type"] == "producer_stopped"
    assert len(stopped.ids) == 3
    assert stopped.ids[: len(unavailable.ids)] == unavailable.ids


async def test_a_dropped_reader_is_removed(redis: Redis, redis_port: int, name: str) -> None:
    """Some frameworks do not close a response that the browser left."""
    async with gateway(delay=0.3) as (_, client), replicas(redis_port) as both:
        await both[0].start(name, client, GATEWAY_REQUEST)
        dropped = await both[1].read(name)
        while not both[1]._hub._logs:
            await anext(dropped)
        del dropped
        gc.collect()

        assert await aeventually(lambda: both[1]._hub._task is None, TIMEOUT)
        assert both[0]._producers
        assert len((await read_some(both[1], name, 3)).ids) >= 3


async def test_a_waiting_reader_is_not_garbage_collected(redis: Redis, redis_port: int, name: str) -> None:
    """Its task may have no other reference, as a background job."""
    reads: list[Read] = []
    async with gateway(delay=0.1) as (_, client), replicas(redis_port) as both:

        async def save() -> None:
            # A timeout would keep a reference to the task.
            one = await both[1].read(name)
            reads.append(Read(one.status_code, one.headers, b"".join([data async for data in one])))

        await both[0].start(name, client, GATEWAY_REQUEST)
        task = asyncio.create_task(save())
        assert await aeventually(lambda: bool(both[1]._hub._logs), TIMEOUT)
        del task
        while both[0]._producers:
            gc.collect()
            await asyncio.sleep(0.02)

        assert await aeventually(lambda: bool(reads), TIMEOUT)
    assert reads[0].without_ids == HAIKU_BODY
    assert not both[1]._hub._waiting


PROGRAM = """
import asyncio, sys
from redis.asyncio import Redis
from tensorloop_stream import AsyncTensorloop
from tensorloop_stream.resumable import ResumableStreams

async def main(name, redis, gateway):
    streams = ResumableStreams(Redis(port=int(redis)), lease=%s)
    await streams.start(name, AsyncTensorloop(api_key="tl_none", base_url=gateway), {"messages": []})
    answer = await streams.read(name)
    await anext(answer)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_the_end_of_a_program_ends_its_streams(redis: Redis, redis_port: int, name: str) -> None:
    """Readers do not wait for the lease, although the event loop cancels everything at once."""
    with EndlessGateway() as upstream:
        command = [sys.executable, "-c", PROGRAM % LONG, name, str(redis_port), f"http://127.0.0.1:{upstream.port}/v1"]
        run = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=60, check=False)
        async with replicas(redis_port, 1) as (streams,):
            one = await read(streams, name)

    assert (run.returncode, run.stderr) == (0, b"")
    assert one.error["type"] == "producer_stopped"


async def test_invalid_settings_are_refused(redis_port: int) -> None:
    """The constructor raises, instead of the first read."""
    from redis import Redis as SyncRedis
    from redis.asyncio import Redis

    from tensorloop_stream.resumable import ResumableStreams

    with pytest.raises(TypeError, match=r"redis is a sync client: give one of redis\.asyncio"):
        ResumableStreams(SyncRedis(port=redis_port))  # type: ignore[arg-type]
    async with Redis(port=redis_port, decode_responses=True) as client:
        with pytest.raises(ValueError, match="decode_responses is set"):
            ResumableStreams(client)
    async with Redis(port=redis_port) as client:
        for lease, expires in ((0, 600), (10, 10), (-1, 5)):
            with pytest.raises(ValueError, match=f"lease is {lease} and expires is {expires}"):
                ResumableStreams(client, lease=lease, expires=expires)


@pytest.mark.parametrize("retries", [0, 3])
async def test_reset_connections_to_redis_lose_nothing(redis: Redis, redis_port: int, name: str, retries: int) -> None:
    """A failover or a proxy's idle limit closes connections, whatever the client's retry policy is."""
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    settings = {"retry": Retry(NoBackoff(), retries)}
    async with gateway(delay=0.05) as (upstream, client), replicas(redis_port, redis_settings=settings) as both:
        await both[0].start(name, client, GATEWAY_REQUEST)
        readers = [asyncio.create_task(read(streams, name)) for streams in both * 3]
        killed = 0
        while not all(reader.done() for reader in readers):
            await asyncio.sleep(0.1)
            killed += int(await redis.client_kill_filter(_type="normal", skipme=True))
        reads = [*(await asyncio.gather(*readers)), await read(both[1], name)]
        left = len(upstream.disconnects)

    assert {one.without_ids for one in reads} == {HAIKU_BODY}
    assert {one.body for one in reads} == {reads[0].body}
    assert killed > 10
    assert left == 0


async def test_a_silent_model_closes_no_connection(redis: Redis, redis_port: int, name: str) -> None:
    """Blocking commands end before the client's socket timeout."""
    settings = {"socket_timeout": 0.6}
    async with gateway(stall_after=3) as (_, client), replicas(redis_port, redis_settings=settings) as both:
        await both[0].start(name, client, GATEWAY_REQUEST)
        readers = [asyncio.create_task(read(streams, name)) for streams in both]
        await read_some(both[1], name, 3)
        await asyncio.sleep(0.1)
        before = (await redis.info("stats"))["total_connections_received"]
        await asyncio.sleep(2)
        after = (await redis.info("stats"))["total_connections_received"]
        await both[0].cancel(name)
        reads = await asyncio.gather(*readers)

    assert after - before < 3
    assert {one.error["type"] for one in reads} == {"cancelled"}


async def test_a_restart_of_redis_loses_nothing(name: str, tmp_path: Any) -> None:
    """Redis keeps everything on disk, and restarts within the lease."""
    port = unused_port()
    kept = ["--appendonly", "yes", "--appendfsync", "always", "--dir", str(tmp_path)]
    async with gateway(delay=0.1) as (upstream, client), replicas(port, lease=LONG) as both:
        with redis_server(port, *kept):
            await both[0].start(name, client, GATEWAY_REQUEST)
            readers = [asyncio.create_task(read(streams, name)) for streams in both]
            await read_some(both[1], name, 3)
        with redis_server(port, *kept):
            reads = [*(await asyncio.gather(*readers)), await read(both[1], name)]
            left = len(upstream.disconnects)

    assert {one.without_ids for one in reads} == {HAIKU_BODY}
    assert left == 0


@pytest.mark.parametrize("fault", ["killed", "stopped", "emptied"])
async def test_a_failure_of_redis_is_reported(name: str, fault: str) -> None:
    """No reader hangs, and no stream continues that cannot be read or cancelled."""
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

    port = unused_port()
    with redis_server(port) as server:
        async with gateway(stall_after=3) as (upstream, client), replicas(port, lease=1.0) as both:
            await both[0].start(name, client, GATEWAY_REQUEST)
            readers = [asyncio.create_task(read(streams, name)) for streams in both]
            some = await read_some(both[1], name, 3)
            if fault == "emptied":
                async with Redis(port=port) as other:
                    await other.flushall()
            else:
                server.send_signal(signal.SIGKILL if fault == "killed" else signal.SIGSTOP)
            reads = await asyncio.gather(*readers)
            late = await read(both[1], name, some.ids[-1])
            left = await aeventually(lambda: len(upstream.disconnects) == 1, TIMEOUT)
            if fault != "emptied":
                with pytest.raises(RedisError):
                    await both[1].start(str(uuid.uuid4()), client, GATEWAY_REQUEST)
                with pytest.raises(RedisError):
                    await both[1].cancel(name)

    kind = "stream_gone" if fault == "emptied" else "stream_unavailable"
    assert [one.error["type"] for one in reads] == [kind, kind]
    assert all(one.ids == some.ids[: len(one.ids)] for one in reads)
    assert late.status == (404 if fault == "emptied" else 503)
    assert left
    assert str(port) not in late.error["message"]


async def test_redis_is_used_again_after_a_failure(name: str) -> None:
    """Earlier streams are lost, and new ones can be started."""
    port = unused_port()
    async with gateway(stall_after=3) as (_, client), replicas(port, lease=1.0) as both:
        with redis_server(port):
            await both[0].start(name, client, GATEWAY_REQUEST)
            reader = asyncio.create_task(read(both[1], name))
            await read_some(both[1], name, 3)
        await reader
        with redis_server(port):
            async with gateway() as (_, other):
                await both[0].start(name, other, GATEWAY_REQUEST)

                assert (await read(both[1], name)).without_ids == HAIKU_BODY


@pytest.mark.usefixtures("redis")
async def test_a_response_is_resumed(redis_port: int) -> None:
    """A body without messages goes to the Responses API, and a reader of its events may come back."""
    body = {"model": "gpt-4o-mini", "input": "Think, then answer: why are caches fast?"}
    path = cassette.FOLDER / "responses/reasoning.yaml"
    async with replicas(redis_port) as (one, other), gateway(path=path) as (server, client):
        name = f"{uuid.uuid4()}"
        assert await one.start(name, client, body)
        first = await read_some(other, name, 5)
        rest = await read(one, name, first.ids[4])
        whole = await read(other, name)
        asked = [each.path for each in server.requests]

    assert asked == ["/v1/responses"]
    assert whole.ids == [*first.ids[:5], *rest.ids]
    assert "event: response.completed" in rest.without_ids
