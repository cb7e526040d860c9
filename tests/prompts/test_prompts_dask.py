"""Many prompts on the workers of a local cluster, some of which are killed."""

from __future__ import annotations

import _thread
import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import many
import openai
import pytest
import requirements
from sockets import eventually

from tensorloop_stream.prompts import Answer, Prompt, RollingLimit, read_prompts
from tensorloop_stream.replay import ReplayServer

if TYPE_CHECKING:
    from distributed import Client

# The longest time that any step takes on a busy machine.
TIMEOUT = 120.0
STALLS_ONCE = "stall-after=3&fails=1"
STALLS = "stall-after=3"
SPENT = "status=429&error-type=budget_exceeded"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplayServer]:
    requirements.module("distributed", "dask")
    requirements.module("tqdm", "dask")
    recording = many.write_cassette(tmp_path_factory.mktemp("recording") / "answers.yaml", 300)
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


def read_numbered(numbers: range, **faults: str) -> list[Prompt]:
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
    contents = {f"number {number}" for number in numbers}
    return [request.time for request in server.requests if request.body["messages"][0]["content"] in contents]


def test_the_workers_share_the_limit(dask: Client, server: ReplayServer) -> None:
    """All workers together send no more requests than the limit in any window."""
    numbers = range(14)
    answers = list(answers_to(dask, read_numbered(numbers), 6))
    came = times(server, numbers)

    assert sorted(many.content_of(answer) for answer in answers) == ["Hello"] * 14
    assert len(came) == 14
    assert max(sum(start <= when < start + 1 for when in came) for start in came) <= 6


def test_the_workers_wait_together(dask: Client, server: ReplayServer) -> None:
    """A `retry-after` that one worker receives delays all of them."""
    numbers = range(20, 40)
    answers = list(
        answers_to(dask, read_numbered(numbers, p20="status=429&retry-after=3&fails=1"), 4, 0.5),
    )
    limited = times(server, range(20, 21))[0]
    waited = [when - limited for when in times(server, numbers) if when - limited > 1.5]

    assert [answer for answer in answers if "error" in answer] == []
    # Requests already sent at that time do not count.
    assert len(waited) >= 4
    assert min(waited) >= 3


def test_an_exceeded_budget_lets_open_streams_on_workers_finish(dask: Client, server: ReplayServer) -> None:
    """No worker sends another request; the answers that are paid for come whole, before the error."""
    numbers = range(40, 80)
    spent = {"p44": f"first-delay=1&{SPENT}"}
    slow = {f"p{number}": "delay=0.7" for number in numbers}
    found: list[Answer] = []
    with pytest.raises(openai.OpenAIError, match="The budget of this key is spent"):
        found.extend(answers_to(dask, read_numbered(numbers, **slow | spent)))

    assert 1 < len(times(server, numbers)) <= 16
    assert len(found) == len(times(server, numbers)) - 1
    assert {many.content_of(answer) for answer in found} == {"Hello"}
    assert not any("error" in answer for answer in found)


def test_an_interrupt_ends_the_wait_for_open_streams(dask: Client, server: ReplayServer) -> None:
    """A stream that stalls after the budget is spent does not hold a Ctrl-C; partial answers are kept."""
    numbers = range(170, 190)
    spent = {"p174": f"first-delay=2&{SPENT}"}
    stalled = {f"p{number}": STALLS for number in numbers}
    found: list[Answer] = []
    ctrl_c = threading.Timer(4, _thread.interrupt_main)
    ctrl_c.start()
    with pytest.raises(KeyboardInterrupt):
        found.extend(answers_to(dask, read_numbered(numbers, **stalled | spent)))
    ctrl_c.cancel()

    assert eventually(lambda: len(server.disconnects) >= len(times(server, numbers)) - 1, TIMEOUT)
    assert found
    assert {answer["error"]["message"] for answer in found} == {"the run was stopped"}


@pytest.mark.parametrize(("first", "second"), [(range(100, 160), range(190, 192)), (range(200, 260), range(290, 292))])
def test_programs_on_one_scheduler_end_independently(dask: Client, first: range, second: range) -> None:
    """A program that stops early or exceeds its budget does not affect the requests of another."""
    from distributed import Client

    answers = answers_to(dask, read_numbered(first))
    found = [next(answers)]
    with Client(dask.scheduler_info()["address"], set_as_default=False) as other:
        if second[0] == 190:
            left: Any = answers_to(other, read_numbered(second, p191=STALLS))
            assert next(left)["id"] == "p190"
            left.close()
        else:
            with pytest.raises(openai.OpenAIError, match="The budget of this key is spent"):
                list(answers_to(other, read_numbered(second, p290=SPENT)))
    found.extend(answers)

    assert sorted(many.content_of(answer) for answer in found) == ["Hello"] * 60
    assert not any("tensorloop" in name for names in dask.run(plugins).values() for name in names)


def test_a_prompt_that_kills_its_workers_has_dasks_error(dask: Client) -> None:
    """The run continues."""
    cluster: Any = dask.cluster
    scheduler = cluster.scheduler
    allowed, scheduler.allowed_failures = scheduler.allowed_failures, 0
    answers = answers_to(dask, read_numbered(range(80, 82), p81=STALLS))
    first = next(answers)
    kill_a_busy_worker(dask)
    second = next(answers)
    scheduler.allowed_failures = allowed

    assert (first["id"], many.content_of(first)) == ("p80", "Hello")
    assert (second["id"], second["error"]["type"]) == ("p81", "KilledWorker")
    assert list(answers) == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_killed_workers_lose_nothing(server: ReplayServer, tmp_path: Path) -> None:
    """Streams of killed workers are requested again; written answers are not."""
    given = [many.prompt(n, "" if n < 88 else STALLS_ONCE) for n in range(82, 100)]
    prompts, answers = many.write_lines(tmp_path / "prompts.jsonl", given), tmp_path / "answers.jsonl"
    before = many.request_counts(server)
    with many.running_recipe("many_prompts_dask", server, prompts, answers, 100, 1) as run:
        assert eventually(lambda: len(many.read_answers(answers)) == 6, TIMEOUT)
        assert eventually(lambda: len(many.request_counts(server) - before) == 18, TIMEOUT)
        for worker in many.workers_of(run.pid):
            os.kill(worker, signal.SIGKILL)
        _, said = run.communicate(timeout=TIMEOUT)

    assert run.returncode == 0, said
    assert sorted(line["id"] for line in many.read_answers(answers)) == [f"p{number}" for number in range(82, 100)]
    assert {many.content_of(line) for line in many.read_answers(answers)} == {"Hello"}
    assert many.request_counts(server) - before == {f"number {n}": 1 if n < 88 else 2 for n in range(82, 100)}


def test_ctrl_c_keeps_partial_answers(server: ReplayServer, tmp_path: Path) -> None:
    """The workers, which a terminal interrupts too, deliver them and print nothing."""
    given = [many.prompt(n, "" if n < 164 else STALLS) for n in range(160, 170)]
    prompts, answers = many.write_lines(tmp_path / "prompts.jsonl", given), tmp_path / "answers.jsonl"
    with many.running_recipe("many_prompts_dask", server, prompts, answers, 100, 1) as run:
        assert eventually(lambda: len(many.read_answers(answers)) == 4, TIMEOUT)
        assert eventually(lambda: len(times(server, range(160, 170))) == 10, TIMEOUT)
        time.sleep(0.5)  # three chunks come
        os.killpg(run.pid, signal.SIGINT)
        _, said = run.communicate(timeout=TIMEOUT)
    broken = [line for line in many.read_answers(answers) if "error" in line]

    assert (run.returncode, said) == (1, "stopped\n")
    assert sorted(line["id"] for line in broken) == [f"p{number}" for number in range(164, 170)]
    assert all(many.content_of(line) for line in broken)


# The limit


@pytest.mark.parametrize(("requests", "seconds"), [(0, 60), (30, 0), (30, math.inf)])
def test_a_shared_limit_that_permits_nothing_is_refused(requests: int, seconds: float) -> None:
    """The error is that of a limit in one process."""
    requirements.module("distributed", "dask")
    from tensorloop_stream.prompts_dask import SharedLimit

    with pytest.raises(ValueError, match=f"a limit of {requests} requests in {seconds} seconds"):
        SharedLimit(requests, seconds)


def test_wrong_arguments_are_refused_before_the_first_request(dask: Client) -> None:
    """Each text names the right one."""
    from tensorloop_stream.prompts_dask import SharedLimit, ask_on

    cluster: Any = dask.cluster
    limit: Any = RollingLimit(1, 1)
    with pytest.raises(TypeError, match=r"LocalCluster is no client of Dask: use distributed\.Client\(cluster\)"):
        list(ask_on(cluster, [], SharedLimit(), idle=0))
    with pytest.raises(TypeError, match=r"RollingLimit is a limit of one process: use SharedLimit"):
        list(ask_on(dask, [], limit, idle=0))


def test_a_killed_worker_frees_its_slots(dask: Client) -> None:
    """The scheduler would give slots to the dead worker's waiting tasks."""
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
        answers = pool.submit(list, answers_to(dask, read_numbered(range(170, 180)), 2))
        busy = eventually(lambda: sum(map(len, dask.processing().values())) == 10, TIMEOUT)
        is_waiting = eventually(lambda: pending[limit._name] == 2, TIMEOUT)
        kill_a_busy_worker(dask)
        time.sleep(2)
        began = time.monotonic()
        held.release()
        held.release()
        found = answers.result(TIMEOUT)

    assert busy
    assert is_waiting
    assert len(found) == 10
    # A lease that is not renewed lasts for 30 seconds.
    assert time.monotonic() - began < 20


def test_a_cancelled_task_frees_its_slot(dask: Client) -> None:
    """The scheduler may assign the slot after the task has gone."""
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
    assert eventually(lambda: held.get_value() == 0, 20)
    assert held.acquire(timeout=10)
    held.release()


def test_the_longest_pause_holds(dask: Client) -> None:
    """Several programs, workers and killed runs may each have paused the limit."""
    from distributed import get_worker

    from tensorloop_stream.prompts_dask import SharedLimit

    async def pause_for(*pauses: float) -> float:
        limit = SharedLimit(7, 60)
        limit._connect(get_worker())
        for pause in pauses:
            await limit.pause(pause)
        return await limit._resumes_at() - time.time()

    submit: Any = dask.submit
    SharedLimit(7, 60)._register(dask, 50)
    killed = submit(pause_for, pure=False).result()
    first = submit(pause_for, 120, 5, pure=False).result()
    submit(pause_for, 7, pure=False).result()
    SharedLimit(7, 60.0)._register(dask, 1000)
    last = submit(pause_for, pure=False).result()

    assert 0 < killed <= 10
    assert 60 < last <= first <= 120


# A separate cluster


@pytest.fixture(scope="module")
def address(server: ReplayServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler and a worker in processes of their own, as on other machines."""
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
        assert eventually(lambda: known.exists() and known.read_text("utf-8").endswith("}"), TIMEOUT)
        found: str = json.loads(known.read_text("utf-8"))["address"]
        yield found


def test_a_killed_run_continues_on_a_cluster(
    server: ReplayServer, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers in the file are not requested again, and the limit holds over both runs."""
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", address)
    numbers = range(260, 280)
    prompts = many.write_lines(tmp_path / "prompts.jsonl", map(many.prompt, numbers))
    answers = tmp_path / "answers.jsonl"
    with many.running_recipe("many_prompts_dask", server, prompts, answers, 5, 1) as first:
        assert eventually(lambda: len(many.read_answers(answers)) >= 7, TIMEOUT)
        local = many.workers_of(first.pid) if sys.platform == "linux" else set()
        first.kill()
        first.wait()
    before = {line["id"] for line in many.read_answers(answers)}
    with many.running_recipe("many_prompts_dask", server, prompts, answers, 5, 1) as second:
        _, said = second.communicate(timeout=TIMEOUT)
    came = times(server, numbers)

    assert (second.returncode, said) == (0, "")
    assert local == set()
    assert len(before) < 20
    assert sorted(line["id"] for line in many.read_answers(answers)) == [f"p{number}" for number in numbers]
    assert {many.request_counts(server)[f"number {name[1:]}"] for name in before} == {1}
    assert max(sum(start <= when < start + 1 for when in came) for start in came) <= 5
