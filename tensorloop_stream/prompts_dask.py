"""Stream the answers to many prompts on the workers of a Dask cluster, under one key's limit; needs the extra `[dask]`.

Each prompt is an asynchronous task. A worker streams as many answers concurrently as it has threads
(`dask worker ADDRESS --nthreads 50`), and uses no thread for them. The workers need this package, and read the key
from their own environment. When a worker is killed, another one repeats the requests whose answers had not reached the
caller.
"""

from __future__ import annotations

import asyncio
import math
import signal
import time
import uuid
from collections import deque
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

import dask.config
import openai
from distributed import Client, Semaphore, WorkerPlugin, as_completed, get_worker

from ._client import AsyncTensorloop
from .prompts.ask import Run, ask_in
from .prompts.jsonl import Answer, Prompt, build_answer
from .prompts.limits import CLOCK_DRIFT, check_limit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from distributed import Worker

__all__ = ["SharedLimit", "ask_on"]

# Seconds for which a worker caches the pauses of the limit, and the caller the number of threads.
_PAUSES_EXPIRE = 0.2
_THREADS_EXPIRE = 1.0
# Seconds for which the scheduler keeps a slot for a worker that may have died while it waited.
_ACQUIRE_TIMEOUT = 1.0
# After a stop: seconds without another answer, or without a worker, until the caller waits no longer, and seconds
# between two looks.
_DRAIN_TIMEOUT = 2.0
_DRAIN_INTERVAL = 0.02
_LEASE_TIMEOUT = "distributed.scheduler.locks.lease-timeout"


class SharedLimit:
    """A `RollingLimit` for all workers of a cluster, and for all programs that use its scheduler.

    Each slot is a lease of a Dask semaphore. The leases of a dead worker expire later than `seconds` after its death,
    because its last requests count until then. The workers share pauses through metadata of the scheduler, in Unix
    time: a pause is as exact as their clocks agree.

    Raises `ValueError` for a limit that permits no request.

    For example:

        limit = SharedLimit(requests=300, seconds=60)
        prompts = read_prompts(["Stream a haiku about caching."], model="gpt-4o-mini")

        def run(cluster: distributed.Client) -> None:
            for answer in ask_on(cluster, prompts, limit, idle=0):
                print(answer["id"])
    """

    def __init__(self, requests: int = 30, seconds: float = 60) -> None:
        check_limit(requests, seconds)
        self._requests = requests
        self._seconds = seconds
        self._name = f"tensorloop_stream: {requests} requests in {float(seconds)} seconds"
        self._releases: set[asyncio.Future[bool]] = set()

    def _register(self, client: Client, idle: float) -> None:
        """Create the limit on the scheduler; `idle` is the `AnswerFile`'s."""
        # The timeout is at least Dask's own, and exceeds the window by more than the 6 seconds between two renewals.
        with dask.config.set({_LEASE_TIMEOUT: f"{max(30, 1.25 * self._seconds)} s"}):
            slots = Semaphore(self._requests, self._name, client.scheduler, client.loop)
            slots.register()
        if idle < self._seconds:
            client.set_metadata([self._name, slots.id], time.time() + self._seconds - idle)

    def _connect(self, worker: Worker) -> None:
        """Connect a worker to the limit."""
        self._scheduler = worker.scheduler
        self._slots = Semaphore(self._requests, self._name, worker.scheduler, worker.loop)
        self._turn = asyncio.Lock()
        self._resume_at = self._own_resume_at = self._read_at = 0.0

    async def __aenter__(self) -> None:
        # A worker waits for one slot at a time: the scheduler also grants slots to waiting workers that have died, and
        # keeps those until their leases expire.
        async with self._turn:
            await self._acquire()
            try:
                while (wait := await self._resumes_at() - time.time()) > 0:  # noqa: ASYNC110 - may be extended
                    await asyncio.sleep(wait)
            except BaseException:
                self._release()
                raise

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().call_later(self._seconds * CLOCK_DRIFT, self._release)

    async def pause(self, seconds: float) -> None:
        """Send no request from any worker for `seconds`; a shorter pause does not end a longer one."""
        self._own_resume_at = max(self._own_resume_at, time.time() + seconds)
        self._resume_at = max(self._resume_at, self._own_resume_at)
        # Each worker writes its longest pause under a key of its own, so that none overwrites another's.
        await self._scheduler.set_metadata(keys=[self._name, self._slots.id], value=self._own_resume_at)

    async def _acquire(self) -> None:
        while True:
            attempt = asyncio.ensure_future(self._slots.acquire(timeout=_ACQUIRE_TIMEOUT))
            try:
                if await asyncio.shield(attempt):
                    return
            except asyncio.CancelledError:
                attempt.add_done_callback(self._release_if_acquired)
                raise

    def _release_if_acquired(self, attempt: asyncio.Future[bool]) -> None:
        if not attempt.cancelled() and attempt.exception() is None and attempt.result():
            self._release()

    async def _resumes_at(self) -> float:
        if not 0 <= time.time() - self._read_at < _PAUSES_EXPIRE:
            pauses = await self._scheduler.get_metadata(keys=[self._name], default={})
            self._resume_at = max([self._resume_at, *pauses.values()])
            self._read_at = time.time()
        return self._resume_at

    def _release(self) -> None:
        release = asyncio.ensure_future(self._slots.release())
        self._releases.add(release)
        release.add_done_callback(self._releases.discard)


def _client_of_worker() -> AsyncTensorloop:
    try:
        return AsyncTensorloop(max_retries=0)
    except openai.OpenAIError as error:
        raise openai.OpenAIError(f"on a worker, which has an environment of its own: {error}") from None


class _PromptWorker(WorkerPlugin):
    """The state that the tasks of one program share on a worker: their client, the limit, and the reason to stop."""

    def __init__(self, limit: SharedLimit) -> None:
        # Each program has a name of its own, so that it stops none of the others on the scheduler.
        self.name = f"tensorloop_stream {uuid.uuid4().hex}"
        self.limit = limit
        self.client: AsyncTensorloop | None = None
        self.running: set[asyncio.Future[None]] = set()
        self.run = Run()
        self.stopped: str | None = None

    def setup(self, worker: Worker) -> None:
        if worker.nanny is not None:
            # Ctrl-C reaches all processes of a terminal. This one returns its answers until its nanny ends it.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.limit._connect(worker)  # noqa: SLF001 - of this module

    async def teardown(self, worker: Worker) -> None:  # noqa: ARG002 - Dask's signature
        # Another worker repeats the tasks of a worker that closes: their streams must not end here as if complete.
        if self.client is not None and not self.running:
            await self.client.close()

    def finish(self, error: openai.OpenAIError) -> None:
        """Start no other requests; the open streams are read to their end, because they are paid for."""
        self.stopped = self.stopped or str(error)
        self.run.stop(error)

    def stop(self, reason: str) -> None:
        """Cancel the running requests, which return their partial answers, and start no others."""
        self.stopped = self.stopped or reason
        for running in self.running:
            running.cancel()

    async def ask(self, prompt: Prompt) -> tuple[list[Answer], str | None]:
        """Return the answers, and the reason of a stop as a text, since the SDK's errors cannot be pickled."""
        answers: list[Answer] = []
        if self.stopped is not None:
            return answers, self.stopped
        try:
            self.client = self.client or _client_of_worker()
            running = asyncio.ensure_future(ask_in(self.run, self.client, prompt, self.limit, answers.append))
            self.running.add(running)
            running.add_done_callback(self.running.discard)
            await running
        except openai.OpenAIError as error:
            self.finish(error)
        except asyncio.CancelledError:
            if self.stopped is None:  # the worker closes, and another one repeats the task
                raise
        else:
            return answers, None
        return answers, self.stopped


def _plugin(worker: Worker, name: str) -> _PromptWorker:
    plugin = worker.plugins[name]
    assert isinstance(plugin, _PromptWorker)
    return plugin


async def _ask(prompt: Prompt, plugin: str) -> tuple[list[Answer], str | None]:
    return await _plugin(get_worker(), plugin).ask(prompt)


def _finish(plugin: str, reason: str, dask_worker: Worker) -> None:
    _plugin(dask_worker, plugin).finish(openai.OpenAIError(reason))


def _stop(plugin: str, dask_worker: Worker) -> None:
    _plugin(dask_worker, plugin).stop("the run was stopped")


class _Run:
    """The prompts that the workers hold, and the answers that they returned."""

    def __init__(self, client: Client, prompts: Iterable[Prompt], plugin: str) -> None:
        self.answers: deque[Answer] = deque()
        self._client = client
        self._remaining = iter(prompts)
        self._plugin = plugin
        self._submitted: dict[object, Prompt] = {}
        self._finished = as_completed(with_results=True, raise_errors=False, loop=client.loop)
        self._stopped = False
        self._threads = 0
        self._counted_at = -math.inf

    def fill(self) -> bool:
        """Submit enough prompts to keep all threads busy; return whether any prompt has no answer yet."""
        threads = self._count_threads() or 1
        # Few prompts wait on the workers, so that a stop cancels few.
        if len(self._submitted) < 2 * threads:
            batch = list(islice(self._remaining, 3 * threads - len(self._submitted)))
            futures = self._client.map(_ask, batch, plugin=self._plugin, pure=False)
            self._submitted |= {future.key: prompt for future, prompt in zip(futures, batch, strict=True)}
            self._finished.update(futures)
        return bool(self._submitted)

    def collect(self, *, wait: bool = True) -> bool:
        """Collect the answers that have arrived, or wait for the first; return whether there were any."""
        # No future is kept: while one exists, Dask repeats its task when the worker that holds the result dies.
        ended = [(future.key, future.status, result) for future, result in self._finished.next_batch(block=wait)]
        reasons = []
        for key, status, result in ended:
            prompt = self._submitted.pop(key)
            if isinstance(result, BaseException):  # cancelled, because the scheduler is gone
                raise result
            if status == "error":
                self.answers.append(build_answer(prompt, None, result[1]))
                continue
            answers, reason = result
            self.answers += answers
            reasons += [reason] if reason is not None else []
        if reasons and not self._stopped:
            raise openai.OpenAIError(reasons[0])
        return bool(ended)

    def finish(self, reason: str) -> None:
        """Let the open streams on all workers end, and start no other request."""
        self._stopped = True
        # A worker that dies meanwhile has nothing left to return.
        self._client.run(_finish, self._plugin, reason, on_error="ignore")

    def stop(self) -> None:
        """Stop the requests on all workers."""
        self._stopped = True
        self._client.run(_stop, self._plugin, on_error="ignore")

    def drain(self, *, to_the_end: bool = False) -> Iterator[Answer]:
        """Yield the answers of a stopped run until all have arrived, or none arrives any more.

        `to_the_end` waits for as long as a worker is there: its streams are open.
        """
        until = time.monotonic() + _DRAIN_TIMEOUT
        while self._submitted and time.monotonic() < until:
            if self.collect(wait=False) or (to_the_end and self._count_threads()):
                until = time.monotonic() + _DRAIN_TIMEOUT
            yield from self.take()
            time.sleep(_DRAIN_INTERVAL)
        yield from self.take()

    def take(self) -> Iterator[Answer]:
        """Yield the answers that were collected."""
        while self.answers:
            yield self.answers.popleft()

    def _count_threads(self) -> int:
        if time.monotonic() - self._counted_at > _THREADS_EXPIRE:
            self._threads = sum(self._client.nthreads().values())
            self._counted_at = time.monotonic()
        return self._threads


def ask_on(client: Client, prompts: Iterable[Prompt], limit: SharedLimit, *, idle: float) -> Iterator[Answer]:
    """Stream the answers on all workers, and yield each: complete, or partial with its error.

    `idle` is the `AnswerFile`'s. A prompt whose workers die repeatedly yields an answer with Dask's error. A Ctrl-C
    raises `KeyboardInterrupt` after the partial answers were yielded.

    Raises `TypeError` for a cluster in place of its client, and for the limit of one process; `OpenAIError` if the
    budget is spent or the key is refused. No further request is sent then; the error is
    raised when the open streams have ended, and their answers were yielded.
    """
    if not isinstance(client, Client):
        raise TypeError(f"{type(client).__name__} is no client of Dask: use distributed.Client(cluster)")
    if not isinstance(limit, SharedLimit):
        raise TypeError(f"{type(limit).__name__} is a limit of one process: use SharedLimit(requests, seconds)")
    limit._register(client, idle)  # noqa: SLF001 - of this module
    plugin = _PromptWorker(limit)
    client.register_plugin(plugin)
    run = _Run(client, prompts, plugin.name)
    try:
        try:
            while run.fill():
                run.collect()
                yield from run.take()
        except openai.OpenAIError as error:
            run.finish(str(error))
            yield from run.drain(to_the_end=True)
            raise
    except GeneratorExit:  # the caller has stopped iterating
        run.stop()
        raise
    except BaseException:
        run.stop()
        yield from run.drain()
        raise
    finally:
        # A worker that joins or leaves meanwhile may not have it.
        with suppress(KeyError, OSError):
            client.unregister_worker_plugin(plugin.name)
