"""A part of the fault matrix: random faults of producers, readers, Redis and the network, by seed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import requirements
from redis_servers import redis_server
from web import unused_port


@pytest.fixture(scope="module")
def redis_port() -> Iterator[int]:
    requirements.module("redis", "redis")
    requirements.program("redis-server")
    port = unused_port()
    with redis_server(port):
        yield port


def test_every_history_is_a_prefix_of_the_producers(redis_port: int) -> None:
    """Whatever fails: no gap, no repetition, and then the end or one error; nothing is left."""
    from fault_matrix import run_schedules

    count = 200 if requirements.REQUIRE_ALL else 30
    outcomes = asyncio.run(run_schedules(range(count), redis_port))
    faulty = [outcome for outcome in outcomes if outcome.faults]

    assert not faulty, "\n".join(map(str, faulty))
    assert len(outcomes) == count


def test_every_history_is_a_prefix_when_processes_fail() -> None:
    """A producer and a Redis server of their own are killed or stopped by signals."""
    requirements.module("redis", "redis")
    requirements.program("redis-server")
    from fault_processes import FAULTS, real_schedule_of, run_all_real

    seeds = range(len(FAULTS) if requirements.REQUIRE_ALL else 2)
    outcomes = asyncio.run(run_all_real(seeds))
    found = {str(real_schedule_of(seed)): each.faults for seed, each in zip(seeds, outcomes, strict=True)}

    assert all(not faults for faults in found.values()), found
    assert len(found) == len(seeds)


def test_consecutive_seeds_go_through_all_faults() -> None:
    """Each component fails in each way, and a seed always makes the same schedule."""
    requirements.module("redis", "redis")
    from fault_matrix import CELLS, schedule_of

    first = [schedule_of(seed).steps[0] for seed in range(len(CELLS))]

    assert [(step.component, step.fault) for step in first] == CELLS
    assert str(schedule_of(7)) == str(schedule_of(7))
    assert str(schedule_of(7)) != str(schedule_of(8))
