"""Many prompts in one process: parts with a simulated clock, then the recipe against a real server."""

from __future__ import annotations

import asyncio
import io
import json
import math
import os
import pickle
import selectors
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import many
import openai
import pages
import pytest
import requirements
from chunks import DONE, HELLO, event, finish, sse, text
from clients import CHAT, Body
from hypothesis import given, strategies as st
from sockets import eventually

from tensorloop_stream import AsyncTensorloop, StreamProviderError
from tensorloop_stream.prompts import Answer, AnswerFile, LearningLimit, Prompt, RollingLimit, ask_all, read_prompts
from tensorloop_stream.prompts.jsonl import read_answers
from tensorloop_stream.replay import ReplayServer

_T = TypeVar("_T")
# The longest time that any step takes on a busy machine.
TIMEOUT = 60.0


class Instant(selectors.SelectSelector):
    """A selector that advances its clock to the next timer instead of waiting."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everything waits for nothing"
            self.now += timeout
        return ready


class InstantLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.selector = Instant()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        future = self.create_future()
        future.set_result(func(*args))
        return future


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end without waiting."""
    with asyncio.Runner(loop_factory=InstantLoop) as runner, pytest.MonkeyPatch.context() as patch:
        # The clock of the streams.
        patch.setattr(time, "monotonic", runner.get_loop().time)
        return runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


def most_within(times: list[float], seconds: float) -> int:
    return max(sum(start <= when < start + seconds for when in times) for start in times)


# The limit


@given(
    st.lists(st.tuples(st.floats(0, 15), st.floats(0, 15)), min_size=1, max_size=30),
    st.integers(1, 5),
)
def test_no_window_has_more_requests_than_the_limit(latencies: list[tuple[float, float]], requests: int) -> None:
    """The server's clock counts, for any latency of request and response."""
    counted: list[float] = []

    async def request(limit: RollingLimit, there: float, back: float) -> None:
        async with limit:
            await asyncio.sleep(there)
            counted.append(now())
            await asyncio.sleep(back)

    async def main() -> None:
        limit = RollingLimit(requests, 10)
        await asyncio.gather(*(request(limit, there, back) for there, back in latencies))

    run(main())

    assert len(counted) == len(latencies)
    assert most_within(counted, 10) <= requests


def test_requests_fill_each_window() -> None:
    """The next window begins as soon as the last one ends."""
    starts: list[float] = []

    async def main() -> None:
        limit = RollingLimit(3, 60)
        for _ in range(7):
            async with limit:
                starts.append(now())

    run(main())

    assert starts == pytest.approx([0, 0, 0, 60, 60, 60, 120], abs=0.2)


def test_a_pause_holds_for_every_request() -> None:
    """It also delays waiting requests, a shorter pause does not end it, and a cancelled request frees its slot."""
    starts: list[float] = []

    async def request(limit: RollingLimit) -> None:
        async with limit:
            starts.append(now())

    async def main() -> None:
        limit = RollingLimit(2, 1)
        await limit.pause(10)
        first, second = asyncio.create_task(request(limit)), asyncio.create_task(request(limit))
        await asyncio.sleep(5)
        await limit.pause(20)
        await limit.pause(1)
        first.cancel()
        await asyncio.gather(second, request(limit))

    run(main())

    assert starts == [25, 25]


@pytest.mark.parametrize(("requests", "seconds"), [(0, 60), (-1, 60), (30, 0), (30, math.inf), (30, math.nan)])
def test_a_limit_that_permits_nothing_is_refused(requests: int, seconds: float) -> None:
    """The error shows both values."""
    with pytest.raises(ValueError, match=f"a limit of {requests} requests in {seconds} seconds"):
        RollingLimit(requests, seconds)


# A limit that nobody named


class RefusedError(Exception):
    status_code = 429


def ask_a_gateway(admits: int, count: int, limit: LearningLimit) -> tuple[list[float], int]:
    """Send requests to a gateway that admits so many in 60 s; return the times of the admitted, and the refusals."""
    admitted: list[float] = []
    refused = 0

    def admit() -> None:
        if sum(now() - 60 < when for when in admitted) >= admits:
            raise RefusedError
        admitted.append(now())

    async def request() -> None:
        nonlocal refused
        while True:
            try:
                async with limit:
                    await asyncio.sleep(0.1)
                    admit()
            except RefusedError:
                refused += 1
                await limit.pause(60)
            else:
                return

    async def main() -> None:
        await asyncio.gather(*(request() for _ in range(count)))

    run(main())
    return admitted, refused


def test_without_a_limit_nothing_is_held_back() -> None:
    """A gateway that refuses nothing is asked by all at once."""
    limit = LearningLimit()
    admitted, refused = ask_a_gateway(1000, 200, limit)

    assert (set(admitted), refused, limit.requests) == ({0.1}, 0, None)


def test_a_limit_is_learnt_from_its_first_refusal() -> None:
    """The gateway is then asked for no more than it admitted, so that one burst alone is refused."""
    limit = LearningLimit()
    admitted, refused = ask_a_gateway(20, 60, limit)

    assert len(admitted) == 60
    assert refused == 40
    assert limit.requests in {20, 40}  # it doubles when a minute went by without a refusal


def test_a_limit_that_was_learnt_too_low_grows() -> None:
    """Requests of another program had taken most of the first minute."""

    async def main() -> int | None:
        limit = LearningLimit()
        async with limit:
            pass
        with pytest.raises(RefusedError):
            async with limit:
                raise RefusedError
        assert limit.requests == 1
        await asyncio.sleep(60 * 4 + 1)
        async with limit:
            return limit.requests

    assert run(main()) == 8


@pytest.mark.parametrize(
    ("headers", "learnt", "waits"),
    [
        ({"x-ratelimit-limit-requests": "7"}, 7, ""),
        ({"x-ratelimit-limit-requests": "many"}, None, ""),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m2s"}, None, "62 s"),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "soon"}, None, ""),
        ({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "20ms"}, None, ""),
    ],
)
def test_a_limit_is_learnt_from_headers(headers: dict[str, str], learnt: int | None, waits: str) -> None:
    """They name the limit, and the time until a spent one is whole again; what is no number is ignored."""

    async def main() -> None:
        limit = LearningLimit()
        limit.observe(headers)

        assert limit.requests == learnt
        assert waits in limit.waits_for
        assert bool(waits) == bool(limit.waits_for)

    run(main())


def test_a_limit_says_what_it_waits_for() -> None:
    """A reader of a progress bar sees why nothing moves."""

    async def main() -> None:
        limit, rolling = LearningLimit(), RollingLimit(1, 60)
        limit.observe({"x-ratelimit-limit-requests": "1"})
        async with limit, rolling:
            pass

        assert limit.waits_for.startswith("the limit of 1 in 60 s, for 60 s")
        assert rolling.waits_for == "the limit of 1 in 60 s"
        await limit.pause(90)
        await rolling.pause(90)
        assert limit.waits_for == rolling.waits_for == "the gateway said to wait 90 s"

    run(main())


# The prompts


def test_a_prompt_is_a_text_or_an_object() -> None:
    """A text, an object with a prompt or with messages are accepted; empty lines and a byte order mark are ignored."""
    messages = [{"role": "system", "content": "é"}, {"role": "user", "content": "b"}]
    given: list[bytes | str] = [
        b'\xef\xbb\xbf"a"\n',
        b"\n",
        json.dumps({"id": 7, "prompt": "a", "temperature": 0.2, "model": "other", "stream": False}),
        json.dumps({"id": "x", "messages": messages}),
    ]
    prompts = read_prompts(given, model="m")

    assert [prompt.request for prompt in prompts] == [
        {"model": "m", "messages": [{"role": "user", "content": "a"}], "stream": True},
        {"model": "other", "messages": [{"role": "user", "content": "a"}], "temperature": 0.2, "stream": True},
        {"model": "m", "messages": messages, "stream": True},
    ]
    assert [prompt.id for prompt in prompts][1:] == ["7", "x"]


@pytest.mark.parametrize("line", ["What is a cache?", "5", "null", "  Zürich?  ", "- a: b", '#1: say "hi"'])
def test_a_line_that_does_not_begin_as_json_is_a_prompt(line: str) -> None:
    """The text is asked as it stands, without blanks around it, in both kinds of lines."""
    (as_text,), (as_bytes,) = read_prompts([line], model="m"), read_prompts([f"{line}\r\n".encode()], model="m")

    assert as_text == as_bytes
    assert as_text.request["messages"] == [{"role": "user", "content": line.strip()}]


def test_the_id_of_a_prompt_depends_on_its_request() -> None:
    """Lines may be added and moved; the same prompt twice is two prompts, and another model is another request."""
    first = read_prompts(['"a"', '"b"', '"a"'], model="m")
    second = read_prompts(['"new"', '"b"', '"a"', '{"prompt": "a"}'], model="m")
    other = read_prompts(['"a"'], model="other")

    assert len({prompt.id for prompt in first}) == 3
    assert {prompt.id for prompt in first} < {prompt.id for prompt in second}
    assert other[0].id not in {prompt.id for prompt in first}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('"hello" he said', 'not JSON .*a prompt of plain text that begins with " needs quotes'),
        ("{prompt: 5}", "not JSON .*a prompt of plain text that begins with { needs quotes"),
        ("[]", r"\[\] is no prompt: give a text or an object"),
        ("{}", "an object needs either a prompt or messages"),
        ('{"prompt": "a", "messages": [{}]}', "an object needs either a prompt or messages"),
        ('{"prompt": ["a"]}', r"the prompt is \['a'\]: it must be a text"),
        ('{"messages": []}', r"messages is \[\]: it must be a list of at least one message"),
        ('{"messages": "a"}', "messages is 'a': it must be a list"),
        ('{"id": true, "prompt": "a"}', "the id is True: it must be a text or a whole number"),
        ('{"id": "taken", "prompt": "a"}', "the id 'taken' belongs to an earlier line; ids must differ"),
        ('{"model": null, "prompt": "a"}', "the model is None: name one here or as the default"),
        (r'"\ud83d"', r"'\\ud83d' is half a character"),
        ('{"prompt": "a", "temperature": NaN}', "a number is NaN or Infinity"),
        ('{"prompt": "a", "temperature": 1e999}', "a number is NaN or Infinity"),
        (f'{{"prompt": "a", "own": {"[" * 100_000}', "nested too deeply"),
        (f'{{"prompt": [{"1," * 99}1]}}', r"the prompt is \[1, 1, .{50}\.\.\.: "),
    ],
)
def test_an_invalid_line_is_refused(line: str, says: str) -> None:
    """The error names the line, the value and the remedy before any request."""
    with pytest.raises(ValueError, match=f"line 2 of the prompts: {says}"):
        read_prompts(['{"id": "taken", "prompt": "b"}', line], model="m")


# The file of answers

WHOLE: Answer = {"id": "é", "completion": {"choices": [{"index": 0}]}}
BROKEN: Answer = {"id": "b", "completion": None, "error": {"type": "APIError", "message": "no"}}


def test_answers_are_read_from_an_existing_file(tmp_path: Path) -> None:
    """Only answers without an error count as answered, and a later answer replaces an error."""
    path = tmp_path / "answers.jsonl"
    with AnswerFile(path) as first:
        first.write(WHOLE)
        first.write(BROKEN)
    with AnswerFile(path) as second:
        second.write({**WHOLE, "id": "b"})
    with AnswerFile(path) as third:
        pass

    assert (first.answered, second.answered, third.answered) == (set(), {"é"}, {"é", "b"})
    assert (first.failed, second.failed) == (1, 0)
    assert first.idle == math.inf
    assert second.idle < TIMEOUT
    assert '"é"' in path.read_text("utf-8")


def test_a_kill_anywhere_in_a_write_loses_that_line_alone(tmp_path: Path) -> None:
    """An incomplete line is removed, and the next answer begins on its own line."""
    path = tmp_path / "answers.jsonl"
    with AnswerFile(path) as answers:
        answers.write(BROKEN)
    before = path.read_bytes()
    with AnswerFile(path) as answers:
        answers.write(WHOLE)
    after = path.read_bytes()

    for end in range(len(before), len(after) + 1):
        path.write_bytes(after[:end])
        with AnswerFile(path) as answers:
            answers.write({**WHOLE, "id": "next"})
        # Without its line end alone, the answer is complete.
        finished = end >= len(after) - 1
        assert answers.answered == ({"é"} if finished else set())
        assert [line["id"] for line in many.read_answers(path)] == (["b", "é", "next"] if finished else ["b", "next"])


@pytest.mark.parametrize(
    "content",
    [
        b"hello",
        b'"a prompt"\n',
        b'{"id": 1, "prompt": "a"}',
        b"[1]\n",
        b'{"id": "x"\n',
        b'{"id":[1],"completion":{}}\n',
    ],
)
def test_a_file_without_answers_is_refused_and_unchanged(tmp_path: Path, content: bytes) -> None:
    """A user may name the prompts in place of the answers."""
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(content)

    with pytest.raises(ValueError, match="line 1 of the answers is no answer"), AnswerFile(path):
        pass
    assert path.read_bytes() == content


@pytest.mark.skipif(sys.platform == "win32", reason="has no such locks")
def test_a_second_run_is_refused(tmp_path: Path) -> None:
    """Two runs would send the same requests twice."""
    with (
        AnswerFile(tmp_path / "answers.jsonl"),
        pytest.raises(BlockingIOError, match=r"another run writes to .*answers\.jsonl"),
        AnswerFile(tmp_path / "answers.jsonl"),
    ):
        pass


def test_a_file_in_use_updates_its_modification_time(tmp_path: Path) -> None:
    """After a kill the time bounds when the last request was sent."""
    path = tmp_path / "answers.jsonl"
    path.touch()
    os.utime(path, (0, time.time() - 1000))
    with AnswerFile(path) as answers:
        os.utime(path, (0, 0))
        assert eventually(lambda: path.stat().st_mtime > 0, TIMEOUT)

    # The last mark may be a little older than the end.
    assert 998 < answers.idle < 1000 + TIMEOUT


def test_a_slow_disk_does_not_delay_the_modification_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is killed meanwhile would seem to have ended long before its last requests."""
    path, syncs, goes_on = tmp_path / "answers.jsonl", threading.Event(), threading.Event()

    def fsync(_: int) -> None:
        syncs.set()
        goes_on.wait(TIMEOUT)

    monkeypatch.setattr(os, "fsync", fsync)
    with AnswerFile(path) as answers:
        answers.write(WHOLE)
        assert syncs.wait(TIMEOUT)
        os.utime(path, (0, 0))
        assert eventually(lambda: path.stat().st_mtime > 0, TIMEOUT)
        goes_on.set()


def test_a_failing_disk_raises_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that may not be on the disk is not counted as kept."""
    failures = [OSError(5, "Input/output error")]

    def fsync(_: int) -> None:
        if failures:
            raise failures.pop()

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output error"), AnswerFile(tmp_path / "at_the_end.jsonl") as answers:
        answers.write(WHOLE)

    failures.append(OSError(5, "Input/output error"))
    answers = AnswerFile(tmp_path / "meanwhile.jsonl").__enter__()
    answers.write(WHOLE)
    assert eventually(lambda: answers._error is not None, TIMEOUT)
    with pytest.raises(OSError, match="Input/output error"):
        answers.write(WHOLE)
    with pytest.raises(OSError, match="Input/output error"):
        answers.__exit__(None, None, None)


def test_half_a_character_of_a_model_is_written(tmp_path: Path) -> None:
    """JSON escapes it, so that the file stays UTF-8."""
    with AnswerFile(tmp_path / "answers.jsonl") as answers:
        answers.write({"id": "a", "completion": {"text": "\ud83d"}})

    assert many.read_answers(tmp_path / "answers.jsonl")[0]["completion"]["text"] == "\ud83d"


def test_answers_end_with_a_newline_byte_alone() -> None:
    """Gateways send U+2028 and U+0085 unescaped, which some readers take for the end of a line."""
    line = json.dumps({"id": "a", "completion": {"text": "\u2028\u0085"}}, ensure_ascii=False).encode() + b"\n"

    assert read_answers(io.BytesIO(line * 2)) == ({"a"}, 2 * len(line))


@pytest.mark.parametrize("kept", [0, 1, 9, 20])
def test_a_tail_of_nuls_is_torn(kept: int) -> None:
    """A file system may have grown the file before a loss of power, and written nothing there."""
    line = json.dumps({"id": "a", "completion": {"text": "whole"}}).encode() + b"\n"

    assert read_answers(io.BytesIO(line + line[:kept] + bytes(4096))) == ({"a"}, len(line))
    with pytest.raises(ValueError, match="line 1 of the answers is no answer"):
        read_answers(io.BytesIO(b"other" + bytes(4096)))


# Asking


class Slow(Body):
    """A body that waits before each part."""

    def __init__(self, seconds: float, *parts: Any) -> None:
        super().__init__(parts)
        self.seconds = seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self:
            await asyncio.sleep(self.seconds)
            yield part


def stream(*parts: Any, every: float = 0) -> httpx2.Response:
    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Slow(every, *parts))


def refusal(status: int, kind: str, **headers: str) -> httpx2.Response:
    error = {"message": "no", "type": kind, "param": None, "code": str(status)}
    return httpx2.Response(status, json={"error": error}, headers={k.replace("_", "-"): v for k, v in headers.items()})


def hello() -> httpx2.Response:
    return stream(sse(*HELLO))


def cut() -> httpx2.Response:
    return stream(sse(*HELLO[:2], done=False), httpx2.ReadError("reset"))


class Gateway:
    """A gateway that answers each prompt's requests in turn, then with hello, and records their times."""

    def __init__(self, **answers: list[Callable[[], httpx2.Response]]) -> None:
        self.answers = answers
        self.latency: dict[str, float] = {}
        self.asked: list[tuple[str, float]] = []

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        name = json.loads(request.content)["messages"][0]["content"]
        self.asked.append((name, now()))
        await asyncio.sleep(self.latency.get(name, 0))
        left = self.answers.get(name)
        return (left.pop(0) if left else hello)()

    def times(self, name: str) -> list[float]:
        return [when for asked, when in self.asked if asked == name]

    async def ask(
        self, names: str, limit: RollingLimit | None = None, write: Any = None, **settings: Any
    ) -> dict[str, Answer]:
        """Request an answer to a prompt of each letter, and return the answers by id."""
        prompts = read_prompts((json.dumps({"id": name, "prompt": name}) for name in names), model="m")
        transport = httpx2.MockTransport(self)
        found: dict[str, Answer] = {}
        self.found = found

        def keep(answer: Answer) -> None:
            assert answer["id"] not in found
            found[answer["id"]] = answer

        async with openai.AsyncOpenAI(
            api_key="none", base_url="http://test", http_client=httpx2.AsyncClient(transport=transport)
        ) as client:
            await ask_all(client, prompts, limit or RollingLimit(100, 60), write or keep, **settings)
        return found


def test_temporary_failures_are_retried() -> None:
    """A connection error, an error event and a 503 use the SDK's back-off, but none of its own retries."""
    gateway = Gateway(a=[cut, cut], b=[lambda: stream(sse({"error": {"message": "no", "code": "500"}}))])
    gateway.answers["c"] = [lambda: refusal(503, "internal_server_error")]
    found = run(gateway.ask("abcd"))

    assert {name: many.content_of(answer) for name, answer in found.items()} == dict.fromkeys("abcd", "Hello")
    assert not any("error" in answer for answer in found.values())
    assert gateway.times("a") == pytest.approx([0, 0.5, 1.5], abs=0.01)
    assert [len(gateway.times(name)) for name in "abcd"] == [3, 2, 2, 1]


def test_retries_count_towards_the_limit() -> None:
    """No window has more requests than the limit."""
    gateway = Gateway(**{name: [cut, cut, lambda: refusal(500, "internal_server_error")] for name in "abcdef"})
    run(gateway.ask("abcdef", RollingLimit(4, 60)))

    assert len(gateway.asked) == 24
    assert most_within([when for _, when in gateway.asked], 60) == 4


def test_a_failure_has_the_partial_completion_and_the_error() -> None:
    """The failure is final after the maximum number of requests, or at once if a retry would not help."""
    gateway = Gateway(a=[cut] * 9, b=[lambda: refusal(404, "invalid_request_error")] * 9)
    found = run(gateway.ask("ab", requests=3))

    assert many.content_of(found["a"]) == "Hel"
    assert found["a"]["error"]["type"] == "StreamConnectionError"
    assert "connection cut after" in found["a"]["error"]["message"]
    assert found["b"]["completion"] is None
    assert found["b"]["error"] == {
        "type": "NotFoundError",
        "message": found["b"]["error"]["message"],
        "status": 404,
        "code": "404",
    }
    assert [len(gateway.times(name)) for name in "ab"] == [3, 1]


@pytest.mark.parametrize("kind", ["rate_limit_error", "throttling_error"])
def test_a_retry_after_delays_every_request(kind: str) -> None:
    """The wait lasts as long as the gateway asks for, any number of times, and does not count as a failure."""
    gateway = Gateway(a=[lambda: refusal(429, kind, retry_after="60")] * 9)
    found = run(gateway.ask("abc", concurrency=2, requests=1))

    assert gateway.times("a") == pytest.approx([60 * n for n in range(10)], abs=0.2)
    assert gateway.times("b") == [0]
    assert gateway.times("c") == pytest.approx([60], abs=0.2)
    assert [many.content_of(found[name]) for name in "abc"] == ["Hello"] * 3


def test_a_rate_limit_without_retry_after_uses_the_back_off() -> None:
    """The number of requests is limited, as for other failures."""
    gateway = Gateway(a=[lambda: refusal(429, "rate_limit_error")] * 9)
    found = run(gateway.ask("a", requests=3))

    assert gateway.times("a") == pytest.approx([0, 0.5, 1.5], abs=0.01)
    assert found["a"]["error"]["status"] == 429


STOPS = pytest.mark.parametrize(("status", "kind"), [(429, "budget_exceeded"), (401, "authentication_error")])


@STOPS
def test_an_exceeded_budget_lets_open_streams_finish(status: int, kind: str) -> None:
    """The answers are paid for, also that of a stream that has sent nothing yet; then the error is raised."""
    gateway = Gateway(
        b=[lambda: stream(*map(event, HELLO), DONE, every=2)],
        c=[lambda: refusal(status, kind)],
        d=[lambda: stream(b": ping\n\n", *map(event, HELLO), DONE, every=4)],
    )
    gateway.latency["c"] = 3

    async def main() -> None:
        with pytest.raises(openai.APIStatusError) as caught:
            await gateway.ask("abcdef", concurrency=3)
        assert caught.value.type == kind

    run(main())

    assert [name for name, _ in gateway.asked] == ["a", "b", "c", "d"]
    assert {name: many.content_of(answer) for name, answer in gateway.found.items()} == dict.fromkeys("abd", "Hello")
    assert not any("error" in answer for answer in gateway.found.values())


@STOPS
def test_an_exceeded_budget_ends_the_waits(status: int, kind: str) -> None:
    """A task that waits for the limit or to retry sends nothing more; its partial answer is kept."""
    gateway = Gateway(
        a=[cut] * 9,
        b=[lambda: refusal(500, "internal_server_error")] * 9,
        c=[lambda: stream(*map(event, HELLO), DONE, every=1)],
        d=[lambda: refusal(status, kind)],
    )
    gateway.latency["d"] = 0.3

    async def main() -> float:
        with pytest.raises(openai.APIStatusError) as caught:
            await gateway.ask("abcdefgh", RollingLimit(4, 60), concurrency=8)
        assert caught.value.type == kind
        return now()

    ended = run(main())

    assert ended < 10
    assert [name for name, _ in gateway.asked] == ["a", "b", "c", "d"]
    assert gateway.found.keys() == {"a", "c"}
    assert many.content_of(gateway.found["a"]) == "Hel"
    assert gateway.found["a"]["error"] == {"type": "CancelledError", "message": "the run was stopped"}
    assert "error" not in gateway.found["c"]


def test_an_exceeded_budget_retries_no_open_stream() -> None:
    """A stream that breaks after the end of the budget keeps its partial answer."""
    gateway = Gateway(
        a=[lambda: stream(*map(event, HELLO[:2]), httpx2.ReadError("reset"), every=2)],
        b=[lambda: refusal(429, "budget_exceeded")],
    )

    async def main() -> None:
        with pytest.raises(openai.APIStatusError):
            await gateway.ask("ab", concurrency=2)

    run(main())

    assert [name for name, _ in gateway.asked] == ["a", "b"]
    assert many.content_of(gateway.found["a"]) == "Hel"
    assert "error" in gateway.found["a"]


def test_a_budget_that_ends_in_mid_stream_keeps_the_partial_answer() -> None:
    """The error inside a stream stops the run, too."""
    spent = {"error": {"message": "no", "type": "budget_exceeded", "code": "429"}}
    gateway = Gateway(a=[lambda: stream(sse(*HELLO[:2], spent, done=False))])
    with pytest.raises(StreamProviderError):
        run(gateway.ask("a"))

    assert many.content_of(gateway.found["a"]) == "Hel"
    assert gateway.found["a"]["error"]["code"] == "429"


@pytest.mark.parametrize("parts", [[], [event(HELLO[0])]], ids=["at once", "later"])
def test_a_stall_is_retried(parts: list[bytes]) -> None:
    """Keep-alive comments do not count as chunks."""
    gateway = Gateway(a=[lambda: stream(*parts, *[b": ping\n\n"] * 9, every=15)])
    found = run(gateway.ask("a", idle_timeout=20))

    assert many.content_of(found["a"]) == "Hello"
    assert gateway.times("a") == pytest.approx([0, 15 * len(parts) + 20.5], abs=0.1)


def test_a_cancelled_run_keeps_partial_answers() -> None:
    """Ctrl-C cancels the run."""
    gateway = Gateway(a=[lambda: stream(*map(event, HELLO[:2]), b"", every=5)])

    async def main() -> None:
        asking = asyncio.create_task(gateway.ask("ab", concurrency=2))
        await asyncio.sleep(12)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    run(main())

    assert many.content_of(gateway.found["a"]) == "Hel"
    assert gateway.found["a"]["error"]["message"] == "the run was stopped"
    assert "error" not in gateway.found["b"]


def test_idle_timeout_replaces_the_clients_read_timeout() -> None:
    """`Tensorloop` has a read timeout of a minute, which also limits the wait for the first byte."""
    timeouts: list[Any] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        timeouts.append(request.extensions["timeout"])
        return hello()

    async def main() -> None:
        http_client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
        async with AsyncTensorloop(api_key="none", http_client=http_client) as client:
            for idle_timeout in (300, 7):
                await ask_all(client, [Prompt("a", CHAT)], RollingLimit(), lambda _: None, idle_timeout=idle_timeout)

    run(main())

    assert timeouts == [{"connect": 5.0, "read": read, "write": 600, "pool": 600} for read in (300, 7)]


def test_settings_that_permit_no_request_are_refused() -> None:
    """The run does not end without answers."""
    for name in ("concurrency", "requests"):
        settings: dict[str, Any] = {name: 0}
        with pytest.raises(ValueError, match=f"{name} is 0: no request could be sent"):
            run(Gateway().ask("a", **settings))


def test_a_file_that_is_not_open_is_refused_before_the_first_request(tmp_path: Path) -> None:
    """Else the answers would be paid for, and lost."""
    gateway, answers = Gateway(), AnswerFile(tmp_path / "answers.jsonl")
    with pytest.raises(ValueError, match=r"answers\.jsonl is not open: write its answers inside of `with AnswerFile"):
        run(gateway.ask("a", write=answers.write))
    with answers:
        pass
    with pytest.raises(ValueError, match="is not open"):
        answers.write({"id": "a", "completion": None})

    assert gateway.asked == []


def test_wrong_arguments_of_a_run_are_refused_before_the_first_request() -> None:
    """Each text names the value and the remedy."""
    client: Any = openai.OpenAI(api_key="none", base_url="http://test")
    words: Any = ["Why?"]
    with pytest.raises(TypeError, match="OpenAI is a sync client: use an async one, such as AsyncTensorloop"):
        run(ask_all(client, [], RollingLimit(1, 1), print))
    with pytest.raises(TypeError, match=r"'Why\?' is str, and no prompt: give those of read_prompts"):
        run(ask_all(openai.AsyncOpenAI(api_key="none", base_url="http://test"), words, RollingLimit(1, 1), print))
    for no_lines in ("prompts.jsonl", b"prompts.jsonl", Path("prompts.jsonl")):
        with pytest.raises(TypeError, match=r"^the prompts are a \w+: give lines, as open\(path, 'rb'\) does$"):
            read_prompts(no_lines)  # type: ignore[arg-type] # what is tested
    with pytest.raises(TypeError, match=r"line 1 of the prompts is dict: give text, or json\.dumps"):
        read_prompts([{"prompt": "Why?"}])  # type: ignore[list-item]


def test_a_full_disk_ends_the_run() -> None:
    """The exception of `write` reaches the caller unchanged."""

    def write(_: Answer) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left on device"):
        run(Gateway().ask("abc", write=write))


def test_concurrency_limits_the_open_requests() -> None:
    """A request begins when another ends."""
    gateway = Gateway(**{name: [lambda: stream(sse(text("Hello"), finish()), every=1)] for name in "abcdef"})
    run(gateway.ask("abcdef", concurrency=2))

    assert [when for _, when in gateway.asked] == pytest.approx([0, 0, 1, 1, 2, 2], abs=0.1)


# Against a real server


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return many.write_cassette(tmp_path_factory.mktemp("recording") / "answers.yaml", 40)


@pytest.fixture
def server(recording: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayServer]:
    with ReplayServer(recording) as server:
        monkeypatch.setenv("TENSORLOOP_BASE_URL", server.base_url)
        monkeypatch.setenv("TENSORLOOP_KEY", "tl_none")
        yield server


def recipe(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> str | int | None:
    """Run the recipe in this process; return its exit status, or its last sentence."""
    requirements.module("tqdm", "prompts")
    monkeypatch.setattr(sys, "argv", ["many_prompts.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        pages.run_recipe("many_prompts")
    return end.value.code


async def test_a_server_receives_no_more_requests_than_the_limit(server: ReplayServer, tmp_path: Path) -> None:
    """The limit holds for new and old connections, slow and quick responses, and failures."""
    faults = ["", "first-delay=0.05", "status=503&retry-after=0.01&fails=1", "cut-after=3&fails=1"]
    given = [many.prompt(number, faults[number % 4]) for number in range(16)]
    prompts = read_prompts(map(json.dumps, given), **many.FIELDS)
    found: list[Answer] = []
    async with openai.AsyncOpenAI(api_key="none", base_url=server.base_url) as client:
        await ask_all(client, prompts, RollingLimit(9, 0.3), found.append)

    assert {answer["id"] for answer in found if "error" not in answer} == {prompt.id for prompt in prompts}
    assert len(server.requests) == 24
    assert many.most_requests_within(server, 0.3) <= 9


def test_the_recipe_requests_each_answer_once(
    server: ReplayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next run retries failures, and keeps answers; a run right after another waits for a window."""
    faults = {2: "status=400&fails=1", 3: "status=429&retry-after=0.2&fails=1"}
    prompts = many.write_lines(tmp_path / "prompts.jsonl", [many.prompt(n, faults.get(n, "")) for n in range(6)])
    answers = tmp_path / "answers.jsonl"
    first = recipe(monkeypatch, prompts, answers, 100, 1)
    failed = [answer["id"] for answer in many.read_answers(answers) if "error" in answer]
    ended = time.monotonic()
    second = recipe(monkeypatch, prompts, answers, 100, 1)
    third = recipe(monkeypatch, prompts, answers, 100, 1)

    assert (first, second, third) == ("1 failed: run again to ask for them once more", 0, 0)
    assert failed == ["p2"]
    assert server.requests[-1].time > ended + 0.9
    assert sorted(answer["id"] for answer in many.read_answers(answers) if "error" not in answer) == [
        f"p{number}" for number in range(6)
    ]
    assert many.request_counts(server) == {f"number {number}": 2 if number in faults else 1 for number in range(6)}
    # The progress bar needs a terminal.
    assert capsys.readouterr() == ("", "")


def test_the_recipe_stops_when_the_budget_is_exceeded(
    server: ReplayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last sentence names the reason."""
    given = [many.prompt(0, "status=429&error-type=budget_exceeded"), *(many.prompt(n) for n in range(1, 40))]
    prompts = many.write_lines(tmp_path / "prompts.jsonl", given)
    said = recipe(monkeypatch, prompts, tmp_path / "answers.jsonl", 1, 60)

    assert "The budget of this key is spent" in str(said)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("given", "says"), [("{hello}", "line 1 of the prompts: not JSON"), ('"a"', "permits nothing")]
)
def test_the_recipe_names_invalid_input(
    server: ReplayServer, given: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence appears before any request, also for standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
    said = recipe(monkeypatch, "-", tmp_path / "answers.jsonl", 0)

    assert says in str(said)
    assert server.requests == []


@pytest.mark.parametrize("arguments", [(), ("a",), ("a", "b", "x"), ("a", "b", 1, -1), ("a", "b", 1, 2, 3)])
def test_the_recipe_answers_wrong_arguments_with_a_sentence(
    arguments: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what to give; there is no traceback."""
    said = str(recipe(monkeypatch, *arguments))

    assert said.startswith("give a file of prompts and one for the answers")
    assert "\n" not in said


def test_a_killed_run_can_be_continued(server: ReplayServer, tmp_path: Path) -> None:
    """No answer is requested twice, and the limit holds across the kill."""
    requirements.module("tqdm", "prompts")
    given = [many.prompt(n, "" if n < 10 else "stall-after=3&fails=1") for n in range(16)]
    prompts, answers = many.write_lines(tmp_path / "prompts.jsonl", given), tmp_path / "answers.jsonl"
    with many.running_recipe("many_prompts", server, prompts, answers, 16, 1) as run:
        assert eventually(lambda: len(server.requests) == 16 and len(many.read_answers(answers)) == 10, TIMEOUT)
        run.kill()
        run.wait()
    killed = time.monotonic()
    before = many.request_counts(server)
    with many.running_recipe("many_prompts", server, prompts, answers, 16, 1) as run:
        _, said = run.communicate(timeout=TIMEOUT)
    again = many.request_counts(server) - before

    assert (run.returncode, said) == (0, "")
    assert sorted(answer["id"] for answer in many.read_answers(answers)) == sorted(f"p{number}" for number in range(16))
    assert again == {f"number {number}": 1 for number in range(10, 16)}
    assert many.most_requests_within(server, 1) <= 16
    assert min(request.time for request in server.requests if request.time > killed) > killed + 1


def test_prompts_survive_pickling() -> None:
    """Workers on other machines receive them pickled."""
    prompt = read_prompts(['"a"'], model="m")[0]

    assert pickle.loads(pickle.dumps(prompt)) == prompt == Prompt(prompt.id, prompt.request)
