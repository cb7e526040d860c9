"""Many prompts on the real workers of a cluster in this machine, some of which are killed."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
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
SPENT = "status=429&error-type=budget_exceeded"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplayServer]:
    needs.module("distributed", "dask")
    needs.module("tqdm", "dask")
    recording = many.recording(tmp_path_factory.mktemp("recording") / "answers.yaml", 300)
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


def plugins(dask_worker: Any) -> list[str]:
    return list(dask_worker.plugins)


def kill_a_busy_worker(dask: Client) -> None:
    busy = next(worker for worker, keys in dask.processing().items() if keys)
    os.kill(dask.run(os.getpid)[busy], signal.SIGKILL)


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
    spent = {"p44": f"first-delay=3&{SPENT}"}
    stalled = {f"p{number}": STALLS for number in numbers}
    found: list[Answer] = []
    with pytest.raises(openai.OpenAIError, match="The budget of this key is spent"):
        found.extend(answers_to(dask, asked(numbers, **stalled | spent)))

    # Both workers streamed as much as they can, and none of it goes on.
    assert soon(lambda: len(server.disconnects) == len(times(server, numbers)) - 1, PATIENCE)
    assert len(times(server, numbers)) <= 16
    assert found
    assert {answer["error"]["message"] for answer in found} == {"the run was stopped"}


@pytest.mark.parametrize(("first", "second"), [(range(100, 160), range(190, 192)), (range(200, 260), range(290, 292))])
def test_programs_on_one_scheduler_end_apart(dask: Client, first: range, second: range) -> None:
    """Left early, or with a spent budget: what another one asks before and after is answered all the same."""
    from distributed import Client

    answers = answers_to(dask, asked(first))
    found = [next(answers)]
    with Client(dask.scheduler_info()["address"], set_as_default=False) as other:
        if second[0] == 190:
            left: Any = answers_to(other, asked(second, p191=STALLS))
            assert next(left)["id"] == "p190"
            left.close()
        else:
            with pytest.raises(openai.OpenAIError, match="The budget of this key is spent"):
                list(answers_to(other, asked(second, p290=SPENT)))
    found.extend(answers)

    assert sorted(many.content(answer) for answer in found) == ["Hello"] * 60
    assert not any("tensorloop" in name for names in dask.run(plugins).values() for name in names)


def test_a_prompt_that_kills_its_workers_has_dasks_error(dask: Client) -> None:
    """It does not end the run."""
    cluster: Any = dask.cluster
    scheduler = cluster.scheduler
    allowed, scheduler.allowed_failures = scheduler.allowed_failures, 0
    answers = answers_to(dask, asked(range(80, 82), p81=STALLS))
    first = next(answers)
    kill_a_busy_worker(dask)
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


def test_ctrl_c_keeps_what_came(server: ReplayServer, tmp_path: Path) -> None:
    """As in one process: the workers, which a terminal interrupts too, hand over what they have, and say nothing."""
    given = [many.prompt(n, "" if n < 164 else STALLS) for n in range(160, 170)]
    prompts, answers = many.written(tmp_path / "prompts.jsonl", given), tmp_path / "answers.jsonl"
    with many.running("many_prompts_dask", server, prompts, answers, 100, 1) as run:
        assert soon(lambda: len(many.lines(answers)) == 4, PATIENCE)
        assert soon(lambda: len(times(server, range(160, 170))) == 10, PATIENCE)
        time.sleep(0.5)  # three chunks come
        os.killpg(run.pid, signal.SIGINT)
        _, said = run.communicate(timeout=PATIENCE)
    broken = [line for line in many.lines(answers) if "error" in line]

    assert (run.returncode, said) == (1, "stopped\n")
    assert sorted(line["id"] for line in broken) == [f"p{number}" for number in range(164, 170)]
    assert all(many.content(line) for line in broken)


# The limit


@pytest.mark.parametrize(("requests", "seconds"), [(0, 60), (30, 0), (30, math.inf)])
def test_a_shared_limit_lets_something_through(requests: int, seconds: float) -> None:
    """One that would not is refused, as in one process."""
    needs.module("distributed", "dask")
    from tensorloop_stream.prompts_dask import SharedLimit

    with pytest.raises(ValueError, match=f"a limit of {requests} requests in {seconds} seconds"):
        SharedLimit(requests, seconds)


def test_a_killed_worker_takes_no_places_with_it(dask: Client) -> None:
    """Those that its tasks waited for: the scheduler would give them to the dead."""
    from distributed import Semaphore

    from tensorloop_stream.prompts_dask import SharedLimit

    dask.wait_for_workers(2)
    limit = SharedLimit(2, 1)
    limit._register(dask, math.inf)
    held = Semaphore(2, limit._name, dask.scheduler, dask.loop)
    held.acquire()
    held.acquire()
    cluster: Any = dask.cluster
    pending = cluster.scheduler.extensions["semaphores"].metrics["pending"]
    with ThreadPoolExecutor() as pool:
        answers = pool.submit(list, answers_to(dask, asked(range(170, 180)), 2))
        busy = soon(lambda: sum(map(len, dask.processing().values())) == 10, PATIENCE)
        time.sleep(0.5)
        waited = pending[limit._name]
        kill_a_busy_worker(dask)
        time.sleep(2)
        began = time.monotonic()
        held.release()
        held.release()
        found = answers.result(PATIENCE)

    assert busy
    assert waited == 2
    assert len(found) == 10
    # A lease that nobody renews is kept for 30 seconds.
    assert time.monotonic() - began < 20


def test_who_gives_up_leaves_a_place_behind(dask: Client) -> None:
    """Also the one that the scheduler gives out when nobody waits for it any more."""
    from distributed import Semaphore, get_worker

    from tensorloop_stream.prompts_dask import SharedLimit

    limit = SharedLimit(1, 3)
    limit._register(dask, math.inf)
    held = Semaphore(1, limit._name, dask.scheduler, dask.loop)
    held.acquire()

    async def give_up() -> bool:
        limit._connect(get_worker())
        waiting = asyncio.ensure_future(limit.__aenter__())
        await asyncio.sleep(0.2)
        waiting.cancel()
        await asyncio.wait([waiting])
        return waiting.cancelled()

    submit: Any = dask.submit
    gave_up = submit(give_up, pure=False).result()
    held.release()

    assert gave_up
    assert soon(lambda: held.get_value() == 0, 20)
    assert held.acquire(timeout=10)
    held.release()


def test_no_pause_ends_another(dask: Client) -> None:
    """Of several programs, workers and runs that were killed the longest counts."""
    from distributed import get_worker

    from tensorloop_stream.prompts_dask import SharedLimit

    async def told(*pauses: float) -> float:
        limit = SharedLimit(7, 60)
        limit._connect(get_worker())
        for pause in pauses:
            await limit.pause(pause)
        return await limit._resumes_at() - time.time()

    submit: Any = dask.submit
    SharedLimit(7, 60)._register(dask, 50)
    killed = submit(told, pure=False).result()
    first = submit(told, 120, 5, pure=False).result()
    submit(told, 7, pure=False).result()
    SharedLimit(7, 60.0)._register(dask, 1000)
    last = submit(told, pure=False).result()

    assert 0 < killed <= 10
    assert 60 < last <= first <= 120


# A cluster of its own


@pytest.fixture(scope="module")
def address(server: ReplayServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler and a worker as processes, as on other machines."""
    folder = tmp_path_factory.mktemp("cluster")
    known = folder / "scheduler.json"
    environment = {**os.environ, "TENSORLOOP_BASE_URL": server.base_url, "TENSORLOOP_KEY": "tl_none"}
    with ExitStack() as stack:
        for command in (
            ["scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(known)],
            ["worker", "--scheduler-file", str(known), "--nthreads", "8", "--local-directory", str(folder)],
        ):
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *command, "--no-dashboard"],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            stack.callback(process.wait)
            stack.callback(os.killpg, process.pid, signal.SIGKILL)
        assert soon(lambda: known.exists() and known.read_text("utf-8").endswith("}"), PATIENCE)
        found: str = json.loads(known.read_text("utf-8"))["address"]
        yield found


def test_a_run_that_is_killed_goes_on_at_a_cluster(
    server: ReplayServer, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in the file is not asked again, and the limit holds over the two of them."""
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", address)
    numbers = range(260, 280)
    prompts = many.written(tmp_path / "prompts.jsonl", map(many.prompt, numbers))
    answers = tmp_path / "answers.jsonl"
    with many.running("many_prompts_dask", server, prompts, answers, 5, 1) as first:
        assert soon(lambda: len(many.lines(answers)) >= 7, PATIENCE)
        local = many.workers_of(first.pid) if sys.platform == "linux" else set()
        first.kill()
        first.wait()
    before = {line["id"] for line in many.lines(answers)}
    with many.running("many_prompts_dask", server, prompts, answers, 5, 1) as second:
        _, said = second.communicate(timeout=PATIENCE)
    came = times(server, numbers)

    assert (second.returncode, said) == (0, "")
    assert local == set()
    assert len(before) < 20
    assert sorted(line["id"] for line in many.lines(answers)) == [f"p{number}" for number in numbers]
    assert {many.asked(server)[f"number {name[1:]}"] for name in before} == {1}
    assert max(sum(start <= when < start + 1 for when in came) for start in came) <= 5
