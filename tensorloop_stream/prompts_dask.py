"""Many prompts on the workers of a Dask cluster, all under one key's limit; needs the extra `[dask]`.

A prompt is a task, and a task is asynchronous: a worker streams as many answers at once as it has threads
(`dask worker ADDRESS --nthreads 50`), and uses no thread for them. The workers need this package, and read the key
from their own environment. What a killed worker was streaming is asked anew on another one, and so are the few
answers that had ended and not yet reached the caller; what the caller has is not.
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
from distributed import Semaphore, WorkerPlugin, as_completed, get_worker

from ._client import AsyncTensorloop
from .prompts.ask import ask
from .prompts.jsonl import Answer, Prompt, answer_to
from .prompts.limits import CLOCKS, check_limit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from distributed import Client, Worker

__all__ = ["SharedLimit", "ask_on"]

# For how many seconds a worker goes by the pauses that it read last, and the caller by the threads that it counted.
_FRESH = 0.2
_COUNTED = 1.0
# For how many seconds the scheduler keeps a place for a worker that may be dead by now.
_ATTEMPT = 1.0
# After a stop, what came is waited for until nothing more has come for so many seconds.
_LAST = 2.0
_POLL = 0.02
_LEASE_TIMEOUT = "distributed.scheduler.locks.lease-timeout"


class SharedLimit:
    """The `RollingLimit` of all workers of a cluster, and of all programs that use its scheduler.

    A place is a lease of a Dask semaphore. The leases of a worker that dies return by themselves, later than
    `seconds` after its death: its last requests still count. Workers wait together by metadata of the scheduler, in
    Unix time, so their clocks must agree as far as a pause must be exact.

    Raises `ValueError` for a limit that lets nothing through.
    """

    def __init__(self, requests: int = 30, seconds: float = 60) -> None:
        check_limit(requests, seconds)
        self._requests = requests
        self._seconds = seconds
        self._name = f"tensorloop_stream: {requests} requests in {float(seconds)} seconds"
        self._releases: set[asyncio.Future[bool]] = set()

    def _register(self, client: Client, idle: float) -> None:
        """Make the limit known to the scheduler; `idle` is that of the answers."""
        # At least Dask's own, and longer than the window by more than the 6 seconds between two renewals.
        with dask.config.set({_LEASE_TIMEOUT: f"{max(30, 1.25 * self._seconds)} s"}):
            places = Semaphore(self._requests, self._name, client.scheduler, client.loop)
            places.register()
        if idle < self._seconds:
            client.set_metadata([self._name, places.id], time.time() + self._seconds - idle)

    def _connect(self, worker: Worker) -> None:
        """Join the limit on a worker."""
        self._scheduler = worker.scheduler
        self._places = Semaphore(self._requests, self._name, worker.scheduler, worker.loop)
        self._turn = asyncio.Lock()
        self._resume_at = self._told = self._read_at = 0.0

    async def __aenter__(self) -> None:
        # One at a time: the scheduler gives places to those who wait, dead or alive, and keeps them for the dead
        # until their leases end.
        async with self._turn:
            await self._acquire()
            try:
                while (rest := await self._resumes_at() - time.time()) > 0:  # noqa: ASYNC110 - it may be put off
                    await asyncio.sleep(rest)
            except BaseException:
                self._release()
                raise

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().call_later(self._seconds * CLOCKS, self._release)

    async def pause(self, seconds: float) -> None:
        """Let no worker send a request for so many seconds; a shorter pause does not end a longer one."""
        self._told = max(self._told, time.time() + seconds)
        self._resume_at = max(self._resume_at, self._told)
        # Under a key of its own, the longest counts: no two of them can overwrite each other.
        await self._scheduler.set_metadata(keys=[self._name, self._places.id], value=self._told)

    async def _acquire(self) -> None:
        while True:
            attempt = asyncio.ensure_future(self._places.acquire(timeout=_ATTEMPT))
            try:
                if await asyncio.shield(attempt):
                    return
            except asyncio.CancelledError:
                attempt.add_done_callback(self._give_back)
                raise

    def _give_back(self, attempt: asyncio.Future[bool]) -> None:
        if not attempt.cancelled() and attempt.exception() is None and attempt.result():
            self._release()

    async def _resumes_at(self) -> float:
        if not 0 <= time.time() - self._read_at < _FRESH:
            pauses = await self._scheduler.get_metadata(keys=[self._name], default={})
            self._resume_at = max([self._resume_at, *pauses.values()])
            self._read_at = time.time()
        return self._resume_at

    def _release(self) -> None:
        release = asyncio.ensure_future(self._places.release())
        self._releases.add(release)
        release.add_done_callback(self._releases.discard)


class _Asker(WorkerPlugin):
    """What the tasks that a program has on a worker share: their client, their part in the limit, and their end."""

    def __init__(self, limit: SharedLimit) -> None:
        # Each program's own: the end of one is not that of the others on the scheduler.
        self.name = f"tensorloop_stream {uuid.uuid4().hex}"
        self.limit = limit
        self.client: AsyncTensorloop | None = None
        self.asking: set[asyncio.Future[None]] = set()
        self.stopped: str | None = None

    def setup(self, worker: Worker) -> None:
        if worker.nanny is not None:
            # Ctrl-C reaches all processes of a terminal. The nanny's process ends this one, which has answers to
            # hand over until then.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.limit._connect(worker)  # noqa: SLF001 - of this module

    async def teardown(self, worker: Worker) -> None:  # noqa: ARG002 - Dask's signature
        # A worker that closes has its tasks done elsewhere: their streams must not end here, as if that were all.
        if self.client is not None and not self.asking:
            await self.client.close()

    def stop(self, reason: str) -> None:
        """End what is asked, which returns what came of it, and ask no more."""
        self.stopped = self.stopped or reason
        for one in self.asking:
            one.cancel()

    async def ask(self, prompt: Prompt) -> tuple[list[Answer], str | None]:
        """Return what came, and the reason if that is not all (the SDK's own errors cannot be pickled)."""
        came: list[Answer] = []
        if self.stopped is not None:
            return came, self.stopped
        try:
            self.client = self.client or AsyncTensorloop(max_retries=0)
            asked = asyncio.ensure_future(ask(self.client, prompt, self.limit, came.append))
            self.asking.add(asked)
            asked.add_done_callback(self.asking.discard)
            await asked
        except openai.OpenAIError as error:
            self.stop(str(error))
        except asyncio.CancelledError:
            if self.stopped is None:  # the worker closes, and the task is done elsewhere
                raise
        else:
            return came, None
        return came, self.stopped


def _asker(worker: Worker, name: str) -> _Asker:
    plugin = worker.plugins[name]
    assert isinstance(plugin, _Asker)
    return plugin


async def _ask(prompt: Prompt, asker: str) -> tuple[list[Answer], str | None]:
    return await _asker(get_worker(), asker).ask(prompt)


def _stop(asker: str, dask_worker: Worker) -> None:
    _asker(dask_worker, asker).stop("the run was stopped")


class _Run:
    """What is with the workers, and what came from them."""

    def __init__(self, client: Client, prompts: Iterable[Prompt], asker: str) -> None:
        self.came: deque[Answer] = deque()
        self._client = client
        self._todo = iter(prompts)
        self._asker = asker
        self._asked: dict[object, Prompt] = {}
        self._finished = as_completed(with_results=True, raise_errors=False, loop=client.loop)
        self._stopped = False
        self._counted_at = -math.inf

    def fill(self) -> bool:
        """Hand out so many prompts that no worker waits for work; tell whether there are any."""
        if time.monotonic() - self._counted_at > _COUNTED:
            self._threads = sum(self._client.nthreads().values()) or 1
            self._counted_at = time.monotonic()
        # A stop has little to call back.
        if len(self._asked) < 2 * self._threads:
            batch = list(islice(self._todo, 3 * self._threads - len(self._asked)))
            futures = self._client.map(_ask, batch, asker=self._asker, pure=False)
            self._asked |= {future.key: prompt for future, prompt in zip(futures, batch, strict=True)}
            self._finished.update(futures)
        return bool(self._asked)

    def take(self, *, wait: bool = True) -> bool:
        """Take what came, if need be the first that comes; tell whether anything did."""
        # Their futures are dropped here: a result whose worker dies would be made again for those who hold one.
        ended = [(future.key, future.status, result) for future, result in self._finished.next_batch(block=wait)]
        reasons = []
        for key, status, result in ended:
            prompt = self._asked.pop(key)
            if isinstance(result, BaseException):  # cancelled: the scheduler is gone
                raise result
            if status == "error":
                self.came.append(answer_to(prompt, None, result[1]))
                continue
            answers, reason = result
            self.came += answers
            reasons += [reason] if reason is not None else []
        if reasons and not self._stopped:
            raise openai.OpenAIError(reasons[0])
        return bool(ended)

    def stop(self) -> None:
        """End what is asked."""
        self._stopped = True
        # A worker that dies just now has nothing left to return.
        self._client.run(_stop, self._asker, on_error="ignore")

    def take_last(self) -> None:
        """Take what came of what was stopped, until all is there or nothing more comes."""
        until = time.monotonic() + _LAST
        while self._asked and time.monotonic() < until:
            if self.take(wait=False):
                until = time.monotonic() + _LAST
            time.sleep(_POLL)


def ask_on(client: Client, prompts: Iterable[Prompt], limit: SharedLimit, *, idle: float) -> Iterator[Answer]:
    """Ask on all workers, and yield each answer when it is there: whole, or what came of it with its error.

    `idle` is that of the `AnswerFile`. A prompt whose workers die time after time has Dask's error. A Ctrl-C while
    the next answer is awaited is raised after what came of the others was yielded.

    Raises `OpenAIError` if the budget is spent or the key refused, after what came of the others was yielded.
    """
    limit._register(client, idle)  # noqa: SLF001 - of this module
    asker = _Asker(limit)
    client.register_plugin(asker)
    run = _Run(client, prompts, asker.name)
    try:
        while run.fill():
            run.take()
            while run.came:
                yield run.came.popleft()
    except GeneratorExit:  # nobody wants the rest
        run.stop()
        raise
    except BaseException:
        run.stop()
        run.take_last()
        while run.came:
            yield run.came.popleft()
        raise
    finally:
        # Not there on a worker that comes just now, or goes.
        with suppress(KeyError, OSError):
            client.unregister_worker_plugin(asker.name)
