"""Random faults of resumable streams, under a checker of histories: python tests/resumable/fault_matrix.py --seed 4711

A seed is a schedule: an answer of the gateway, three processes, readers, and one to three faults of the producer, a
reader, Redis or the network. Many schedules run at a time in one event loop, on one Redis server. The processes are
simulated, and each has a network of its own; see `simulated_processes`. `stream_history` has the rules for what the
readers receive. In addition, a cancel reaches the gateway, and nothing is left: no request, task, connection or key.

`--schedules 1000` runs that many seeds and prints the count of each fault. `--seed` runs one seed and prints its
schedule; a seed decides the schedule, and not the order in which the processes run, so `--times 50` repeats it.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import multiprocessing
import random
import sys
import time
import uuid
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1] / "support"), str(Path(__file__).parents[2])]

import httpx2
import openai
import simulated_processes as simulated
from redis.asyncio import Redis
from redis.exceptions import RedisError
from redis_servers import redis_server
from simulated_processes import KilledError, Link, Process
from stream_history import FIRST, Answer, Connection, Event, Failure, History, faults_of
from web import unused_port

from tensorloop_stream.resumable import ResumableStreams, _chat, _hub, _inbox, _log_store, _pipeline

# Seconds after which a producer that does not renew its lease is dead: as short as two busy cores allow. The other one
# is for schedules that every answer must survive, also while the machine is busy: nothing there waits for its end.
LEASE, LONG_LEASE = 0.5, 2.0
# Seconds within which everything has ended, on a busy machine: no schedule lasts longer than a few.
PATIENCE = 60.0
EXPIRES = 600.0
# Small, so that short answers reach them.
BOUNDS = [(_inbox, "BUFFER", 2048), (_log_store, "MAX_PENDING", 2048)]
BOUNDS += [(module, "READ_COUNT", 8) for module in (_chat, _hub, _log_store)]
COMPONENTS = ("producer", "reader", "redis", "network")
FAULTS = ("killed", "stopped", "slow", "partitioned", "clock moved", "two producers", "two versions")
CELLS = [(component, fault) for component in COMPONENTS for fault in FAULTS]
PROCESSES = 3


# The schedule


@dataclass(frozen=True, slots=True)
class Step:
    """A fault: when it comes, for how long, how strong, and in which process (0 is the first producer)."""

    at: float
    component: str
    fault: str
    length: float
    size: float
    process: int

    def is_survived(self, lease: float) -> bool:
        """Tell whether no reader may notice it: reset connections, short pauses, and what only other readers see."""
        if self.fault in {"two producers", "slow"}:
            return True
        if self.fault in {"stopped", "partitioned"} and (self.component, self.fault) != ("redis", "partitioned"):
            return self.length < lease / 4
        if self.component == "redis":
            return self.fault == "two versions"
        if self.component == "producer":
            return self.fault == "clock moved" or (self.fault == "two versions" and self.size <= 0)
        return True

    @property
    def may_lose(self) -> bool:
        """Whether Redis loses entries, or keys expire."""
        if self.component == "redis":
            return self.fault in {"killed", "partitioned"} or (self.fault == "clock moved" and self.size > 0)
        return False


@dataclass(frozen=True, slots=True)
class Reading:
    """A reader: when it comes, whether it starts the stream too, after how many events it leaves, and its pace."""

    at: float
    starts: bool
    leaves_after: int
    pause: float
    process: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything that a seed decides."""

    seed: int
    events: int
    burst: int
    pause: float
    ending: str
    cancel_at: float | None
    protocols: tuple[int, ...]
    steps: tuple[Step, ...]
    readings: tuple[Reading, ...]

    def __str__(self) -> str:
        answer = f"{self.events} events in parts of {self.burst}, {self.pause:.3f} s apart, then {self.ending}"
        first = f"seed {self.seed}: {answer}; cancel: {self.cancel_at}; protocols: {self.protocols}"
        return "\n  ".join([first, *map(str, self.steps), *map(str, self.readings)])

    @property
    def starters(self) -> Sequence[int]:
        """The processes that start the stream at once."""
        asked_twice = any(step.fault == "two producers" for step in self.steps)
        return range(PROCESSES) if asked_twice else [0]

    @property
    def may_lose(self) -> bool:
        return any(step.may_lose for step in self.steps)

    def is_survived(self, lease: float) -> bool:
        faults = {(step.component, step.fault) for step in self.steps}
        may_kill_producer = len(self.starters) > 1 or any(reading.starts for reading in self.readings)
        return (
            self.cancel_at is None
            and all(step.is_survived(lease) for step in self.steps)
            and not (("reader", "killed") in faults and may_kill_producer)
        )

    @property
    def lease(self) -> float:
        return LONG_LEASE if self.is_survived(LONG_LEASE) and self.seed % 5 else LEASE


def schedule_of(seed: int) -> Schedule:
    """Return the schedule of a seed; consecutive seeds go through all faults."""
    rng = random.Random(seed)
    cells = [CELLS[seed % len(CELLS)], *rng.choices(CELLS, k=rng.choice([0, 0, 1, 2]))]
    events = rng.randrange(1, 60)
    ending = rng.choices(["done", "cut", "unfinished", "refused", "stalled"], [14, 2, 1, 1, 3])[0]
    # A few answers are longer than any lease, which must be renewed.
    length = rng.choice([*[rng.uniform(0.1, 0.8)] * 7, 1.5 * LONG_LEASE])
    burst = rng.randrange(1, 7)
    return Schedule(
        seed=seed,
        events=events,
        burst=burst,
        pause=length * burst / events,
        ending=ending,
        cancel_at=rng.uniform(0, 1.2) if ending == "stalled" or rng.random() < 0.1 else None,
        protocols=tuple(rng.choice([2, 3]) for _ in range(PROCESSES)),
        steps=tuple(_step(rng, *cell) for cell in cells),
        readings=tuple(_reading(rng, cells) for _ in range(rng.randrange(2, 5))),
    )


def _step(rng: random.Random, component: str, fault: str) -> Step:
    return Step(
        at=rng.uniform(0, 0.6),
        component=component,
        fault=fault,
        length=rng.choice([rng.uniform(0, LEASE / 4), rng.uniform(LEASE / 4, 3 * LEASE)]),
        size=rng.uniform(-1, 1),
        process=rng.randrange(PROCESSES),
    )


def _reading(rng: random.Random, cells: Sequence[tuple[str, str]]) -> Reading:
    return Reading(
        at=rng.uniform(0, 0.5),
        starts=("reader", "two producers") in cells or rng.random() < 0.2,
        leaves_after=rng.choice([1, 3, 10, 1000, 1000]),
        pause=rng.uniform(0.01, 0.06) if ("reader", "slow") in cells or rng.random() < 0.1 else 0.0,
        process=rng.randrange(PROCESSES),
    )


# The gateway


class Gateway(httpx2.AsyncBaseTransport):
    """The gateway of all schedules: the model of a request is the name of its schedule."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answering]] = {}
        self.schedules: dict[str, Schedule] = {}

    async def handle_async_request(self, request: Any) -> Any:
        name = json.loads(request.content)["model"]
        answers = self.answers[name]
        answer = Answering(name, len(answers), self.schedules[name])
        answers.append(answer)
        if answer.ending == "refused":
            answer.is_closed = True
            body = {"error": {"message": "too many", "type": "refused", "param": None, "code": "429"}}
            return httpx2.Response(429, json=body)
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=answer)


class Answering(httpx2.AsyncByteStream):
    """One answer of the gateway, which is sent at its own pace, in no process."""

    def __init__(self, name: str, number: int, schedule: Schedule) -> None:
        self.ending = schedule.ending
        self.sent: list[bytes] = []
        self.is_closed = False
        self._events = [*(_event(f"{name} {number} {each}") for each in range(schedule.events)), b"data: [DONE]"]
        if self.ending != "done":
            self._events.pop()
        self._schedule = schedule
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue()
        process = simulated.process_of_caller()
        if process is not None:
            process.when_killed(self._close)
        self._sending = asyncio.get_running_loop().create_task(self._send(), context=Context())

    async def _send(self) -> None:
        burst = self._schedule.burst
        for start in range(0, len(self._events), burst):
            events = self._events[start : start + burst]
            self.sent += events
            data = b": a comment\n\n" + b"".join(each + b"\n\n" for each in events)
            # Reads end anywhere, also within events.
            middle = len(data) // 2
            self._parts.put_nowait(data[:middle])
            self._parts.put_nowait(data[middle:])
            await asyncio.sleep(self._schedule.pause)
        if self.ending != "stalled":
            self._parts.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (part := await self._parts.get()) is not None:
            yield part
        if self.ending == "cut":
            raise httpx2.ReadError("cut by the schedule")

    async def aclose(self) -> None:
        self._close()

    def _close(self) -> None:
        self.is_closed = True
        self._sending.cancel()

    def whole(self) -> Answer:
        """Return the answer that is sent, if nobody closes it."""
        self._close()
        return Answer(tuple(self._events))

    def answer(self) -> Answer:
        ending = {"unfinished": "cut", "stalled": "running"}.get(self.ending, self.ending)
        is_whole = len(self.sent) == len(self._events)
        return Answer(tuple(self.sent), ending if is_whole or ending == "refused" else "running")


def _event(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": f"{text} {'x' * 60}"}, "finish_reason": None}
    fields = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(fields).encode()


# The processes


class LaterRelease(_log_store.Writer):
    """Writes as a later release may: with fields that this one does not know, and a kind of entry if asked."""

    unknown: int | None = None
    script = """
for i = 1, #KEYS do
  redis.pcall('XADD', KEYS[i], 'NOMKSTREAM', ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i], 'later', '1')
end
return {}
"""

    async def _send(self, items: list[Any]) -> list[list[str]]:
        entries = [self._later(*entry) for item in items for entry in item]
        values = [value for entry in entries for value in entry[1:]]
        await _log_store.run_script(self._redis, self.script, [entry[0] for entry in entries], *values)
        return [[] for _ in items]

    def _later(self, key: str, entry_id: str, kind: bytes, value: bytes) -> tuple[str, str, bytes, bytes]:
        if kind == b"h":
            value = json.dumps([*json.loads(value), {"later": True}]).encode()
        if kind == b"e" and self.unknown is not None and entry_id.endswith(f"-{self.unknown}"):
            kind = b"later"
        return key, entry_id, kind, value


class Replica:
    """A process with resumable streams, its client of Redis, and its network."""

    def __init__(self, number: int, redis_port: int, protocol: int, lease: float) -> None:
        self.process = Process(f"process {number}")
        self.link = Link(redis_port)
        self.connections: set[asyncio.Queue[Any]] = set()
        self.protocol = protocol
        self.lease = lease

    async def open(self) -> None:
        await self.link.open()
        self.redis = Redis.from_url(f"redis://127.0.0.1:{self.link.port}", protocol=self.protocol)
        self.streams = ResumableStreams(self.redis, lease=self.lease, expires=EXPIRES)

    def kill(self) -> None:
        self.process.kill()
        self.link.refuses = True
        self.link.cut()
        for each in self.connections:
            each.put_nowait(CUT)

    async def close(self) -> None:
        async def close() -> None:
            with suppress(RedisError):
                await self.streams.aclose()
            await self.redis.aclose()

        await self.process.run(close())


class Pace:
    """The pace of the event loop: how long a new connection to Redis takes, through a network without faults.

    A loop that is too slow for the lease makes faults that no schedule holds.
    """

    def __init__(self, redis_port: int) -> None:
        self._link = Link(redis_port)
        self._seen: deque[tuple[float, float]] = deque(maxlen=10_000)

    async def run(self) -> None:
        await self._link.open()
        try:
            while True:
                began = time.monotonic()
                async with Redis(port=self._link.port) as redis:
                    await redis.ping()
                self._seen.append((time.monotonic(), time.monotonic() - began))
                await asyncio.sleep(0.05)
        finally:
            self._link.close()

    def slowest_since(self, when: float) -> float:
        return max((took for at, took in self._seen if at >= when), default=0.0)


CUT, END = object(), object()


class World:
    """One run of a schedule."""

    def __init__(
        self, schedule: Schedule, gateway: Gateway, client: openai.AsyncOpenAI, admin: Redis, pace: Pace
    ) -> None:
        self.schedule = schedule
        self._pace = pace
        self.name = uuid.uuid4().hex
        self.found: list[str] = []
        port: int = admin.connection_pool.connection_kwargs["port"]
        self._replicas = [Replica(number, port, each, schedule.lease) for number, each in enumerate(schedule.protocols)]
        self._histories: dict[str, list[Connection]] = {}
        self._client, self._admin = client, admin
        self._key = _log_store.log_key(self.name)
        self._is_started = asyncio.Event()
        self._is_cancelled = self._was_cancelled_before = False
        # Whether a reader came before any start was told of a stream.
        self._was_read_too_early = False
        self._starts: list[bool | RedisError] = []
        self._answers = gateway.answers[self.name] = []
        gateway.schedules[self.name] = schedule
        self._gateway = gateway

    async def run(self) -> History:
        """Run the schedule, and return what was seen."""
        for replica in self._replicas:
            await replica.open()
        self._began = time.monotonic()
        try:
            async with asyncio.timeout(2 * PATIENCE):
                await self._live()
                self._heal()
                await self._read_late()
                await self._settle()
                await self._check_keys()
                await self._close()
        except TimeoutError:
            self.found.append(f"it did not end within {2 * PATIENCE:.0f} s")
        finally:
            self._gateway.answers.pop(self.name)
            self._gateway.schedules.pop(self.name)
        return self._history()

    def _history(self) -> History:
        schedule = self.schedule
        survived = schedule.is_survived(schedule.lease) and all(isinstance(each, bool) for each in self._starts)
        answers = [each.answer() for each in self._answers]
        if self._was_cancelled_before and answers and not schedule.may_lose:
            self.found.append("a stream that was cancelled before its start asked the gateway")
        if self._starts.count(True) > 1 and not schedule.may_lose:
            self.found.append(f"{self._starts.count(True)} starts of one id were told that they started it")
        return History(
            answers=answers,
            readers=dict(self._histories),
            may_lose=schedule.may_lose,
            # A start that failed releases its id, also after another one was told that the stream had been started.
            may_be_missing=self._was_read_too_early or any(isinstance(each, RedisError) for each in self._starts),
            must_finish=survived and self._pace.slowest_since(self._began) < schedule.lease / 4,
            is_cancelled=self._is_cancelled and not schedule.may_lose,
            others=self.found,
        )

    # Starts, cancels and faults

    async def _live(self) -> None:
        schedule = self.schedule
        for step in schedule.steps:
            if (step.component, step.fault) == ("producer", "two versions"):
                self._install_later_release(step)
        works = [
            *(self._start(number) for number in schedule.starters),
            *(self._apply(step) for step in schedule.steps),
            *(self._browse(f"reader {number}", each) for number, each in enumerate(schedule.readings)),
        ]
        if schedule.cancel_at is not None:
            works.append(self._cancel(schedule.cancel_at))
        tasks = [asyncio.create_task(work) for work in works]
        again = asyncio.create_task(self._cancel_again())
        _, pending = await asyncio.wait(tasks, timeout=PATIENCE)
        again.cancel()
        for task in pending:
            self.found.append(f"{task.get_coro().__qualname__} hangs")  # type: ignore[union-attr]
        if pending:
            self.found += [await self._describe(each) for each in self._replicas]
        for task in pending:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def _describe(self, replica: Replica) -> str:
        """Return what a process waits for, and the log."""
        stacks = io.StringIO()
        for task in replica.process.tasks:
            if not task.done():
                stacks.write(f"cancelled {task.cancelling()} times: ")
                task.print_stack(limit=4, file=stacks)
        process, link = replica.process, replica.link
        state = f"alive: {process.is_alive}, stopped: {process.is_stopped}, refuses: {link.refuses}, held: {link.holds}"
        found: Any = await self._admin.xrange(self._key)
        entries = [entry_id for entry_id, _ in found]
        return f"{process.name}: {state}, log: {entries}\n{stacks.getvalue()}"

    def _alive(self, number: int) -> Replica:
        """Return this process, or the next one that is alive."""
        turn = [*self._replicas[number % PROCESSES :], *self._replicas[: number % PROCESSES]]
        return next(each for each in turn if each.process.is_alive)

    async def _start(self, number: int) -> None:
        """Start the stream, as an application that tries it in other processes too."""
        body = {"model": self.name, "messages": []}
        for attempt in range(4):
            replica = self._alive(number + attempt)
            try:
                started = await replica.process.call(replica.streams.start(self.name, self._client, body))
            except RedisError as error:
                self._starts.append(error)
            except KilledError:
                pass
            else:
                self._starts.append(started)
                break
        self._is_started.set()

    async def _cancel(self, at: float) -> None:
        """Cancel the stream, as an application that tries until it is told whether it did."""
        await asyncio.sleep(at)
        was_before = not self._starts and not self._answers
        for attempt in range(20):
            replica = self._alive(attempt)
            try:
                self._is_cancelled = await replica.process.call(replica.streams.cancel(self.name))
            except (RedisError, KilledError):
                await asyncio.sleep(LEASE / 2)
            else:
                self._was_cancelled_before = was_before and attempt == 0 and not self._is_started_yet
                return
        self.found.append("the stream could not be cancelled")

    async def _cancel_again(self) -> None:
        """Cancel what was started after Redis forgot the cancel: nothing else ends an answer that stalls."""
        while self.schedule.ending == "stalled" and self.schedule.may_lose:
            await asyncio.sleep(max(4 * LEASE, self.schedule.cancel_at or 0.0))
            replica = self._alive(0)
            with suppress(RedisError, KilledError):
                await replica.process.call(replica.streams.cancel(self.name))

    @property
    def _is_started_yet(self) -> bool:
        return bool(self._starts) or bool(self._answers)

    async def _apply(self, step: Step) -> None:
        await asyncio.sleep(step.at)
        name = f"_{step.component}_{step.fault}".replace(" ", "_")
        apply: Callable[[Step], Awaitable[None]] | None = getattr(self, name, None)
        if apply is not None:
            await apply(step)

    def _producer(self) -> Replica:
        return next((each for each in self._replicas if each.streams._producers), self._replicas[0])

    def _reader(self, step: Step) -> Replica:
        others = [each for each in self._replicas if each is not self._producer()]
        return others[step.process % len(others)]

    def _kill(self, replica: Replica) -> None:
        alive = [each for each in self._replicas if each.process.is_alive]
        if replica in alive and len(alive) > 1:
            replica.kill()

    async def _producer_killed(self, step: Step) -> None:
        self._kill(self._producer())

    async def _reader_killed(self, step: Step) -> None:
        self._kill(self._reader(step))

    async def _stop(self, replica: Replica, length: float) -> None:
        replica.process.stop()
        await asyncio.sleep(length)
        replica.process.resume()

    async def _producer_stopped(self, step: Step) -> None:
        await self._stop(self._producer(), step.length)

    async def _reader_stopped(self, step: Step) -> None:
        await self._stop(self._reader(step), step.length)

    async def _stutter(self, replica: Replica, length: float) -> None:
        """Block an event loop again and again, each time for less than the producer needs to be alive."""
        until = time.monotonic() + length
        while time.monotonic() < until:
            await self._stop(replica, LEASE / 10)
            await asyncio.sleep(0.01)

    async def _producer_slow(self, step: Step) -> None:
        await self._stutter(self._producer(), step.length)

    async def _reader_slow(self, step: Step) -> None:
        await self._stutter(self._reader(step), step.length)

    async def _hold(self, links: Sequence[Link], length: float, *directions: str) -> None:
        for link in links:
            link.hold(*directions)
        await asyncio.sleep(length)
        for link in links:
            link.release(*directions)

    async def _producer_partitioned(self, step: Step) -> None:
        await self._hold([self._producer().link], step.length, "up", "down")

    async def _reader_partitioned(self, step: Step) -> None:
        await self._hold([self._reader(step).link], step.length, "up", "down")

    def _move_clock(self, replica: Replica, step: Step) -> None:
        # A monotonic clock jumps forward at most, and a wall clock anywhere.
        replica.process.wall_offset += 3600 * step.size
        replica.process.monotonic_offset += 5 * max(step.size, 0.0)

    async def _producer_clock_moved(self, step: Step) -> None:
        self._move_clock(self._producer(), step)

    async def _reader_clock_moved(self, step: Step) -> None:
        self._move_clock(self._reader(step), step)

    def _install_later_release(self, step: Step) -> None:
        for replica in self._replicas:
            writer = replica.streams._writer = LaterRelease(replica.redis, self.schedule.lease)
            if step.size > 0:
                writer.unknown = FIRST + int(step.size * 10)

    @property
    def _links(self) -> list[Link]:
        return [each.link for each in self._replicas if each.process.is_alive]

    async def _redis_killed(self, step: Step) -> None:
        """Let Redis come back empty, or with what it had on disk."""
        for link in self._links:
            link.refuses = True
            link.cut()
        if step.size > 0:
            await self._admin.delete(*await self._keys())
        await asyncio.sleep(step.length)
        for link in self._links:
            link.refuses = False

    async def _redis_stopped(self, step: Step) -> None:
        await self._hold(self._links, step.length, "up", "down")

    async def _redis_slow(self, step: Step) -> None:
        await self._delay(self._links, step)

    async def _redis_partitioned(self, step: Step) -> None:
        """Fail over to a replica that lacks the last entries."""
        for link in self._links:
            link.refuses = True
            link.cut()
        await self._admin.eval(_LOSE_TAIL, 1, self._key, int(1 + 5 * abs(step.size)))
        await asyncio.sleep(min(step.length, LEASE / 4))
        for link in self._links:
            link.refuses = False

    async def _redis_clock_moved(self, step: Step) -> None:
        """Let keys expire earlier or later: an expiry is a time of Redis's clock."""
        milliseconds = int(1000 * (step.size * 2 * LEASE if step.length < LEASE else step.size * 2 * EXPIRES))
        keys = await self._keys()
        await self._admin.eval(_MOVE_CLOCK, len(keys), *keys, milliseconds)

    async def _redis_two_versions(self, step: Step) -> None:
        """Update Redis in place: it keeps everything, and resets all connections."""
        for link in self._links:
            link.cut()

    async def _network_killed(self, step: Step) -> None:
        for _ in range(3):
            # The replies of commands that Redis ran are lost, too.
            links = self._links
            await self._hold(links, 0.005, "down")
            for link in links:
                link.cut()
            await asyncio.sleep(step.length / 6)

    async def _network_stopped(self, step: Step) -> None:
        await self._hold(self._links, step.length, "up", "down")

    async def _network_slow(self, step: Step) -> None:
        await self._delay(self._links, step)

    async def _delay(self, links: list[Link], step: Step) -> None:
        for link in links:
            link.delay += LEASE / 20 * abs(step.size)
        await asyncio.sleep(step.length)
        for link in links:
            link.delay = 0.0

    async def _network_partitioned(self, step: Step) -> None:
        """Lose one direction, for some of the processes."""
        await self._hold(self._links[: 1 + step.process], step.length, "up" if step.size > 0 else "down")

    async def _network_clock_moved(self, step: Step) -> None:
        """Let commands arrive after their retries."""
        links = self._links
        await self._hold_and_cut(links, 0.02, late=LEASE * abs(step.size))

    async def _hold_and_cut(self, links: list[Link], length: float, *, late: float) -> None:
        for link in links:
            link.hold("up")
        await asyncio.sleep(length)
        for link in links:
            link.cut(late)
            link.release("up")

    async def _network_two_producers(self, step: Step) -> None:
        """Lose the replies to all starts."""
        await self._hold_and_cut(self._links, 0.02, late=0.001)

    def _heal(self) -> None:
        """End every fault; those of the schedule have ended by themselves, unless it hangs."""
        for replica in self._replicas:
            if replica.process.is_alive:
                replica.link.refuses, replica.link.delay = False, 0.0

    # Readers

    async def _browse(self, reader: str, reading: Reading) -> None:
        """Read to the end as a browser: after a cut, and an error that says so, from the last event on."""
        await asyncio.sleep(reading.at)
        if reading.starts:
            await self._start(reading.process)
        await self._is_started.wait()
        connections = self._histories[reader] = []
        last: str | None = None
        for turn in range(8):
            # Leaves at most three times, so that each answer ends.
            leaves_after = reading.leaves_after if turn < 3 else 1000
            connection = await self._connect(self._alive(reading.process + turn), last, leaves_after, reading.pause)
            connections.append(connection)
            ids = [item.id for item in connection.items if isinstance(item, Event)]
            last = ids[-1] if ids else last
            if connection.ended:
                if not says_retry(connection):
                    return
                await asyncio.sleep(LEASE / 2)

    async def _connect(self, replica: Replica, last: str | None, leaves_after: int, pause: float) -> Connection:
        if all(isinstance(each, RedisError) for each in self._starts):
            self._was_read_too_early = True
        return await connect(replica, self.name, last, leaves_after, pause)

    async def _read_late(self) -> None:
        """Read from the start, and from any event on, in processes that are alive."""
        rng = random.Random(self.schedule.seed)
        items = [item for each in self._histories.values() for one in each for item in one.items]
        ids = [item.id for item in items if isinstance(item, Event)]
        afters = [None, None, *rng.sample(ids, min(len(ids), 1))]
        for number, after in enumerate(afters):
            try:
                async with asyncio.timeout(PATIENCE):
                    connection = await self._connect(self._alive(number), after, 1000, 0.0)
            except TimeoutError:
                connection = Connection(after, 0, ended=False)
            self._histories[f"late reader {number}"] = [connection]

    # The end

    async def _settle(self) -> None:
        """Wait until all live processes are idle, and no request to the gateway is open."""

        def left() -> list[str]:
            alive = [each for each in self._replicas if each.process.is_alive]
            kept = [f"a producer in {each.process.name}" for each in alive if each.streams._producers]
            kept += [f"the hub of {each.process.name}" for each in alive if each.streams._hub._task is not None]
            kept += ["a request to the gateway" for each in self._answers if not each.is_closed]
            return kept

        await self._expect_nothing("after the end", left)

    async def _check_keys(self) -> None:
        keys = await self._keys()
        lives = [await self._admin.pttl(key) for key in keys]
        self.found += [f"{key!r} never expires" for key, life in zip(keys, lives, strict=True) if life == -1]
        if keys:
            await self._admin.delete(*keys)

    async def _close(self) -> None:
        for replica in self._replicas:
            if replica.process.is_alive:
                await replica.close()

        def left() -> list[str]:
            alive = [each for each in self._replicas if each.process.is_alive]
            tasks = [f"{task.get_coro()}" for each in alive for task in each.process.tasks if not task.done()]
            return tasks + ["a connection to Redis" for each in alive for _ in each.link.connections]

        await self._expect_nothing("after closing", left)
        for replica in self._replicas:
            self.found += [f"{replica.process.name}: {each}" for each in replica.process.reports]
            if not replica.process.is_alive:
                replica.process.bury()
                with suppress(TimeoutError):
                    async with asyncio.timeout(PATIENCE):
                        await replica.close()
            for task in list(replica.process.tasks):
                task.cancel()
            replica.link.close()

    async def _expect_nothing(self, when: str, left: Callable[[], list[str]]) -> None:
        until = time.monotonic() + PATIENCE / 2
        while left() and time.monotonic() < until:  # noqa: ASYNC110 - many things end, and none of them tells
            await asyncio.sleep(0.01)
        if kept := left():
            self.found += [f"{each} is left {when}" for each in kept]
            self.found += [await self._describe(each) for each in self._replicas]

    async def _keys(self) -> list[bytes]:
        inboxes = [_log_store.messages_key(each.streams._hub.process) for each in self._replicas]
        logs: Any = await self._admin.keys(f"{self._key}*")
        return [*(each.encode() for each in inboxes), *logs]


# Loses the last entries, and the memory of them.
_LOSE_TAIL = """
local entries, life = redis.call('XRANGE', KEYS[1], '-', '+'), redis.call('PTTL', KEYS[1])
redis.call('DEL', KEYS[1])
for i = 1, #entries - ARGV[1] do redis.call('XADD', KEYS[1], entries[i][1], unpack(entries[i][2])) end
if life > 0 then redis.call('PEXPIRE', KEYS[1], life) end
"""
_MOVE_CLOCK = """
for _, key in ipairs(KEYS) do
  local life = redis.call('PTTL', key)
  if life > 0 then redis.call('PEXPIRE', key, life - ARGV[1]) end
end
"""


async def connect(
    replica: Replica, name: str, last: str | None, leaves_after: int = 1000, pause: float = 0.0
) -> Connection:
    """Read as a browser does, from an event on, until the end, a cut, or this number of events."""
    parts: asyncio.Queue[Any] = asyncio.Queue()
    replica.connections.add(parts)
    serving = replica.process.run(_serve(replica.streams, name, last, parts, pause))
    status, body = 0, b""
    is_stream = True
    items: list[Event | Failure] = []
    try:
        while (part := await parts.get()) is not END and part is not CUT:
            if isinstance(part, BaseException):
                return Connection(last, status, (*items, Failure(repr(part))))
            if isinstance(part, tuple):
                status, is_stream = part
                continue
            body += part
            if is_stream:
                *whole, body = body.split(b"\n\n")
                items += [item for each in whole if (item := _parse(each)) is not None]
                if len(items) >= leaves_after and part:
                    part = CUT
                    break
    finally:
        replica.connections.discard(parts)
        serving.cancel()
    error = "" if is_stream or part is CUT or status == 204 else json.loads(body)["error"]["type"]
    return Connection(last, status, tuple(items), part is END, error)


async def _serve(
    streams: ResumableStreams, name: str, last: str | None, parts: asyncio.Queue[Any], pause: float
) -> None:
    """Answer a browser, as a web framework does."""
    try:
        async with await streams.read(name, last) as answer:
            is_stream = answer.headers.get("Content-Type", "").startswith("text/event-stream")
            parts.put_nowait((answer.status_code, is_stream))
            async for data in answer:
                parts.put_nowait(data)
                await asyncio.sleep(pause)
    except Exception as error:  # noqa: BLE001 - the checker looks at it
        parts.put_nowait(error)
    else:
        parts.put_nowait(END)


def _parse(event: bytes) -> Event | Failure | None:
    """Return an event, or the error in an event without an id; `None` for a comment."""
    lines = [line for line in event.split(b"\n") if not line.startswith(b":")]
    ids = [line for line in lines if line.startswith(b"id: ")]
    if ids:
        return Event(ids[0].removeprefix(b"id: ").decode(), b"\n".join(line for line in lines if line not in ids))
    return Failure(json.loads(lines[0].removeprefix(b"data: "))["error"]["type"]) if lines else None


def says_retry(connection: Connection) -> bool:
    last = connection.items[-1] if connection.items else None
    return "stream_unavailable" in {connection.error, last.kind if isinstance(last, Failure) else ""}


# Many schedules


@dataclass(slots=True)
class Outcome:
    """A schedule that ran, and the faults that the checker found."""

    schedule: Schedule
    faults: list[str]
    must_finish: bool
    is_whole: bool

    def __str__(self) -> str:
        command = f"python tests/resumable/fault_matrix.py --seed {self.schedule.seed} --times 20"
        return "\n".join([str(self.schedule), *(f"  FAULT: {each}" for each in self.faults), f"  again: {command}"])


@asynccontextmanager
async def matrix(redis_port: int) -> AsyncIterator[Callable[[int], Awaitable[Outcome]]]:
    """Prepare the event loop, and yield a function that runs the schedule of a seed."""
    gateway = Gateway()
    http_client = httpx2.AsyncClient(transport=gateway)
    with simulated.simulated_processes(_hub, _pipeline, is_expected=_is_outage) as reports, _bounds():
        async with (
            Redis(port=redis_port) as admin,
            openai.AsyncOpenAI(
                api_key="none", base_url="http://gateway.test/v1", max_retries=0, http_client=http_client
            ) as client,
        ):
            pace = Pace(redis_port)
            watching = asyncio.create_task(pace.run())

            async def run(seed: int) -> Outcome:
                world = World(schedule_of(seed), gateway, client, admin, pace)
                history = await world.run()
                faults = [*faults_of(history), *reports]
                reports.clear()
                whole = all(not _errors(each) for each in history.readers.values())
                return Outcome(world.schedule, faults, history.must_finish, whole)

            try:
                yield run
            finally:
                watching.cancel()
                await asyncio.wait([watching])


def _is_outage(error: BaseException) -> bool:
    """Tell whether a producer reports that Redis failed, which it must."""
    return isinstance(error, RedisError)


def _errors(connections: Sequence[Connection]) -> bool:
    last = connections[-1] if connections else None
    return last is None or bool(last.error) or any(isinstance(item, Failure) for item in last.items)


@contextmanager
def _bounds() -> Iterator[None]:
    patches = [mock.patch.object(*bound) for bound in BOUNDS]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


async def run_schedules(seeds: Sequence[int], redis_port: int, concurrency: int = 12) -> list[Outcome]:
    """Run the schedules of these seeds, this many at a time."""
    outcomes: list[Outcome] = []
    left = list(reversed(seeds))

    async with matrix(redis_port) as run:

        async def work(number: int) -> None:
            await asyncio.sleep(0.1 * number)  # a repeated seed does the same at the same time
            while left:
                outcome = await run(left.pop())
                outcomes.append(outcome)
                if outcome.faults:
                    print(outcome, flush=True)

        await asyncio.gather(*map(work, range(min(concurrency, len(seeds)))))
    return outcomes


def run_part(seeds: Sequence[int], redis_port: int, concurrency: int) -> list[Outcome]:
    return asyncio.run(run_schedules(seeds, redis_port, concurrency))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, help="run this seed, and print its schedule")
    parser.add_argument("--times", type=int, default=1, help="how often to run the seed")
    parser.add_argument("--schedules", type=int, default=1000, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=2, help="processes that run them")
    parser.add_argument("--concurrency", type=int, default=18, help="schedules at a time in each")
    options = parser.parse_args()
    seeds: Sequence[int]
    if options.seed is None:
        seeds = range(options.first, options.first + options.schedules)
    else:
        seeds = [options.seed] * options.times
        print(schedule_of(options.seed))
    port, began = unused_port(), time.monotonic()
    jobs = min(options.jobs, len(seeds))
    with redis_server(port), ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        parts = [pool.submit(run_part, seeds[part::jobs], port, options.concurrency) for part in range(jobs)]
        outcomes = [outcome for part in parts for outcome in part.result()]
    print(table(outcomes))
    faulty = sum(bool(outcome.faults) for outcome in outcomes)
    whole = sum(outcome.is_whole for outcome in outcomes)
    must = sum(outcome.must_finish for outcome in outcomes)
    print(f"{len(outcomes)} schedules in {time.monotonic() - began:.0f} s: {faulty} with faults")
    print(f"{whole} answers were whole for every reader, of which {must} had to be")
    sys.exit(bool(faulty))


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the count of schedules with each fault of each component."""
    cells = Counter((step.component, step.fault) for outcome in outcomes for step in outcome.schedule.steps)
    rows = [("", *COMPONENTS), *((fault, *(str(cells[each, fault]) for each in COMPONENTS)) for fault in FAULTS)]
    return "\n".join(f"{row[0]:14}" + "".join(f"{cell:>10}" for cell in row[1:]) for row in rows)


if __name__ == "__main__":
    main()
