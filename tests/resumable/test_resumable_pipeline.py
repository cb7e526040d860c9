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
