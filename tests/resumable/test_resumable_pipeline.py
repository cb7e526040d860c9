"""The queues of Redis commands when an event loop ends, without Redis."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import requirements

if TYPE_CHECKING:
    from tensorloop_stream.resumable._pipeline import Batched

# As long as anything may take on a busy machine.
PATIENCE = 60.0


@pytest.fixture(autouse=True)
def _needs_redis() -> None:
    requirements.module("redis", "redis")


class Sent:
    """A stand-in for sending: it records the batches, and the first of them waits until it is cancelled."""

    def __init__(self, *, hangs: bool) -> None:
        self.batches: list[Any] = []
        self.hangs = hangs
        self.has_begun = asyncio.Event()

    async def __call__(self, items: list[Any]) -> list[Any]:
        self.batches.append(items)
        self.has_begun.set()
        if self.hangs and len(self.batches) == 1:
            await asyncio.Event().wait()
        return [[] for _ in items]


def queue(kind: str, sent: Sent, monkeypatch: pytest.MonkeyPatch) -> Batched[Any, Any]:
    from tensorloop_stream.resumable._log_store import Writer
    from tensorloop_stream.resumable._pipeline import Commands

    redis: Any = None
    made = (Writer if kind == "entries" else Commands)(redis, PATIENCE)
    monkeypatch.setattr(made, "_send", sent)
    return made


@pytest.mark.parametrize("kind", ["entries", "commands"])
async def test_a_queue_sends_its_items_when_its_task_is_cancelled_before_the_first_step(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event loop that ends cancels all tasks, and waits for the producers, who wait for their writes."""
    sent = Sent(hangs=False)
    made = queue(kind, sent, monkeypatch)
    reply = made.post("first")
    assert made._task is not None
    made._task.cancel()
    async with asyncio.timeout(PATIENCE):
        await reply

    assert sent.batches == [["first"]]


async def test_entries_are_sent_again_in_order_when_their_batch_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log with a gap is lost to its readers, and Redis ignores what it has already."""
    sent = Sent(hangs=True)
    made = queue("entries", sent, monkeypatch)
    replies = [made.post("first")]
    async with asyncio.timeout(PATIENCE):
        await sent.has_begun.wait()
        replies.append(made.post("second"))
        assert made._task is not None
        made._task.cancel()
        await asyncio.gather(*replies)

    assert sent.batches == [["first"], ["first", "second"]]


async def test_commands_are_given_up_when_their_batch_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their callers are cancelled too; later commands are sent."""
    sent = Sent(hangs=True)
    made = queue("commands", sent, monkeypatch)
    first = made.post("first")
    async with asyncio.timeout(PATIENCE):
        await sent.has_begun.wait()
        second = made.post("second")
        assert made._task is not None
        made._task.cancel()
        await asyncio.wait([first, second])

    assert first.cancelled()
    assert not second.cancelled()
    assert sent.batches == [["first"], ["second"]]


class DroppingClient:
    """A client that drops the first cancel: asyncio's `wait_for` of Python 3.11 does, if a result comes meanwhile."""

    def __init__(self, result: str) -> None:
        self.result = result
        self.runs = 0
        self.has_begun = asyncio.Event()

    async def __call__(self) -> str:
        from redis.exceptions import ConnectionError as RedisConnectionError

        self.runs += 1
        self.has_begun.set()
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            if self.runs > 1:
                raise
        if self.result == "error":
            raise RedisConnectionError("reset by peer")
        return self.result


@pytest.mark.parametrize("result", ["reply", "error"])
async def test_retries_end_at_their_timeout_when_the_client_drops_it(result: str) -> None:
    """Otherwise the next retry waits for ever, and all commands behind it."""
    from redis.exceptions import TimeoutError as RedisTimeoutError

    from tensorloop_stream.resumable._pipeline import with_retries

    client = DroppingClient(result)
    async with asyncio.timeout(PATIENCE / 2):
        with pytest.raises(RedisTimeoutError):
            await with_retries(0.05, client)

    assert client.runs == 1


@pytest.mark.parametrize("result", ["reply", "error"])
async def test_retries_end_when_they_are_cancelled_and_the_client_drops_it(result: str) -> None:
    """Closing waits for the task, which must not go on."""
    from tensorloop_stream.resumable._pipeline import with_retries

    client = DroppingClient(result)
    task = asyncio.create_task(with_retries(PATIENCE, client))
    await client.has_begun.wait()
    task.cancel()
    async with asyncio.timeout(PATIENCE / 2):
        await asyncio.wait([task])

    assert task.cancelled()
    assert client.runs == 1


async def test_entries_fail_with_the_earlier_ones_of_their_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry after a gap would give all readers another error than the producer's; other logs go on."""
    from redis.exceptions import ResponseError

    batches: list[Any] = []
    has_begun = asyncio.Event()

    async def send(items: list[Any]) -> list[Any]:
        batches.append(items)
        has_begun.set()
        await asyncio.sleep(0)
        if len(batches) == 1:
            raise ResponseError("out of memory")
        return [[] for _ in items]

    made = queue("entries", Sent(hangs=False), monkeypatch)
    monkeypatch.setattr(made, "_send", send)
    first = made.post([("log", "1-2", b"e", b"")])
    await has_begun.wait()
    second, other = made.post([("log", "1-3", b"e", b"")]), made.post([("other", "1-2", b"e", b"")])
    found = await asyncio.gather(first, second, other, return_exceptions=True)

    assert [type(each) for each in found] == [ResponseError, ResponseError, list]
    assert batches == [[[("log", "1-2", b"e", b"")]], [[("other", "1-2", b"e", b"")]]]


async def test_a_log_writes_nothing_after_a_write_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error is raised by the next call, before that call writes."""
    from redis.exceptions import ResponseError

    from tensorloop_stream.resumable._log_store import Log

    sent = Sent(hangs=False)
    writer: Any = queue("entries", sent, monkeypatch)
    commands: Any = None
    log = Log(commands, writer, "log", 1, 1000, 1000)
    failed: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
    failed.set_exception(ResponseError("out of memory"))
    log.pending.append((1, 0, failed))
    with pytest.raises(ResponseError):
        await log.append([b"data: 1"])

    assert sent.batches == []
    assert not writer._waiting
