"""Many prompts on the real workers of a cluster in this machine, some of which are killed."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import many
import needs
import openai
import pytest
from sockets import soon

from tensorloop_stream.prompts import Answer, Prompt, read_prompts
from tensorloop_stream.replay import ReplayServer

if TYPE_CHECKING:
    from distributed import Client

# As long as anything may take on a busy machine.
PATIENCE = 120.0
STALLS_ONCE = "stall-after=3&fails=1"
STALLS = "stall-after=3"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplayServer]:
    needs.module("distributed", "dask")
    needs.module("tqdm", "dask")
    recording = many.recording(tmp_path_factory.mktemp("recording") / "answers.yaml", 100)
    with ReplayServer(recording) as server:
        yield server


@pytest.fixture(scope="module")
def dask(server: ReplayServer) -> Iterator[Client]:
    from distributed import Client

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORLOOP_BASE_URL", server.base_url)
        patch.setenv("TENSORLOOP_KEY", "tl_none")
        with Client(n_workers=2, threads_per_worker=8, dashboard_address="127.0.0.1:0") as client:
            yield client


def asked(numbers: range, **faults: str) -> list[Prompt]:
    given = [many.prompt(number, faults.get(f"p{number}", "")) for number in numbers]
    return read_prompts(map(json.dumps, given), **many.FIELDS)


def answers_to(dask: Client, prompts: list[Prompt], requests: int = 100, seconds: float = 1) -> Iterator[Answer]:
    from tensorloop_stream.prompts_dask import SharedLimit, ask_on

    return ask_on(dask, prompts, SharedLimit(requests, seconds), idle=1000)


def times(server: ReplayServer, numbers: range) -> list[float]:
    wanted = {f"number {number}" for number in numbers}
    return [request.time for request in server.requests if request.body["messages"][0]["content"] in wanted]


def test_the_workers_share_the_limit(dask: Client, server: ReplayServer) -> None:
    """All of them together send no more than it says in any of its windows."""
    numbers = range(14)
    answers = list(answers_to(dask, asked(numbers), 6))
    came = times(server, numbers)

    assert sorted(many.content(answer) for answer in answers) == ["Hello"] * 14
    assert len(came) == 14
    assert max(sum(start <= when < start + 1 for when in came) for start in came) <= 6


def test_the_workers_wait_together(dask: Client, server: ReplayServer) -> None:
    """What one is told, all keep to."""
    numbers = range(20, 40)
    answers = list(
        answers_to(dask, asked(numbers, p20="status=429&retry-after=3&fails=1"), 4, 0.5),
    )
    told = times(server, range(20, 21))[0]
    waited = [when - told for when in times(server, numbers) if when - told > 1.5]

    assert [answer for answer in answers if "error" in answer] == []
    # Those on their way when one was told do not count.
    assert len(waited) >= 4
    assert min(waited) >= 3


def test_a_spent_budget_stops_the_workers(dask: Client, server: ReplayServer) -> None:
    """All of them, and what came is kept."""
    numbers = range(40, 80)
    spent = {"p44": "first-delay=3&status=429&error-type=budget_exceeded"}
    stalled = {f"p{number}": STALLS for number in numbers}
    found: list[Answer] = []
    with pytest.raises(openai.OpenAIError, match="The budget of this key is spent"):
        found.extend(answers_to(dask, asked(numbers, **stalled | spent)))

    # Both workers streamed as much as they can, and none of it goes on.
    assert soon(lambda: len(server.disconnects) == len(times(server, numbers)) - 1, PATIENCE)
    assert len(times(server, numbers)) <= 16
    assert found
    assert {answer["error"]["message"] for answer in found} == {"the run was stopped"}


def test_a_prompt_that_kills_its_workers_has_dasks_error(dask: Client) -> None:
    """It does not end the run."""
    cluster: Any = dask.cluster
    scheduler = cluster.scheduler
    allowed, scheduler.allowed_failures = scheduler.allowed_failures, 0
    answers = answers_to(dask, asked(range(80, 82), p81=STALLS))
    first = next(answers)
    busy = next(worker for worker, keys in dask.processing().items() if keys)
    os.kill(dask.run(os.getpid)[busy], signal.SIGKILL)
    second = next(answers)
    scheduler.allowed_failures = allowed

    assert (first["id"], many.content(first)) == ("p80", "Hello")
    assert (second["id"], second["error"]["type"]) == ("p81", "KilledWorker")
    assert list(answers) == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_killed_workers_lose_nothing(server: ReplayServer, tmp_path: Path) -> None:
    """What they were streaming is asked anew, what is written is not."""
    given = [many.prompt(n, "" if n < 88 else STALLS_ONCE) for n in range(82, 100)]
    prompts, answers = many.written(tmp_path / "prompts.jsonl", given), tmp_path / "answers.jsonl"
    before = many.asked(server)
    with many.running("many_prompts_dask", server, prompts, answers, 100, 1) as run:
        assert soon(lambda: len(many.lines(answers)) == 6, PATIENCE)
        assert soon(lambda: len(many.asked(server) - before) == 18, PATIENCE)
        for worker in many.workers_of(run.pid):
            os.kill(worker, signal.SIGKILL)
        _, said = run.communicate(timeout=PATIENCE)

    assert run.returncode == 0, said
    assert sorted(line["id"] for line in many.lines(answers)) == [f"p{number}" for number in range(82, 100)]
    assert {many.content(line) for line in many.lines(answers)} == {"Hello"}
    assert many.asked(server) - before == {f"number {n}": 1 if n < 88 else 2 for n in range(82, 100)}
