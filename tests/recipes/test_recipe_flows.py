"""Recipes for common flows: tools, structured output, costs, limits, broken and stopped streams."""

from __future__ import annotations

import ast
import functools
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import cassette
import httpx2
import pages
import pydantic
import pytest
import recorded
from chunks import chunk, event, finish, sse, text, tool
from clients import Body, responding_with
from sockets import NEVER, eventually, saw_disconnects

import tensorloop_stream
from tensorloop_stream import Tensorloop
from tensorloop_stream.replay import ReplayServer

ROOT = Path(__file__).parents[2]
FLOWS = [
    "tool_loop",
    "structured_output",
    "usage_and_cost",
    "limits",
    "restart",
    "keep_partial_text",
    "continue_broken",
    "stop_early",
]
HAIKU = recorded.text("chat/haiku")
GO_ON = {"role": "user", "content": "You were cut off. Go on where you stopped, and repeat nothing."}


@pytest.fixture(scope="module")
def cassettes() -> Iterator[ReplayServer]:
    with ReplayServer([cassette.FOLDER]) as server:
        yield server


class Runner:
    """A runner of unedited recipes in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.requests: list[Any] = []
        self.status: Any = None
        self.err = ""

    def serve(self, server: ReplayServer) -> None:
        """Point the recipe to this server."""
        self._monkeypatch.setenv("TENSORLOOP_BASE_URL", server.base_url)
        self._monkeypatch.setenv("TENSORLOOP_KEY", "tl_none")

    def answer(self, *answers: Body | httpx2.Response) -> None:
        """Give the recipe these responses in turn for any request; the last one repeats."""
        answer = responding_with(*answers)

        def handle(request: httpx2.Request) -> httpx2.Response:
            self.requests.append(json.loads(request.content))
            return answer(request)

        client = functools.partial(
            Tensorloop, api_key="tl_none", http_client=httpx2.Client(transport=httpx2.MockTransport(handle))
        )
        self._monkeypatch.setattr(tensorloop_stream, "Tensorloop", client)

    def shorten_timeouts(self) -> None:
        """Shorten the timeouts of streams to a twentieth."""
        pages.shorten_timeouts(self._monkeypatch, 20)

    def run(self, recipe: str) -> str:
        """Return the standard output; `status` has the exit code, and `err` the standard error."""
        try:
            pages.run_recipe(recipe)
        except SystemExit as stop:
            self.status = stop.code
        printed = self._capsys.readouterr()
        self.err = printed.err
        return printed.out


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(monkeypatch, capsys)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replace waiting, and return the seconds of each wait."""
    seconds: list[float] = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


def answer_of(*chunks: Any, done: bool = True) -> Body:
    return Body([sse(*chunks, done=done)])


def recorded_answer(name: str) -> httpx2.Response:
    """Return the recorded answer of a cassette as an HTTP response."""
    response = recorded.interactions(name)[0]["response"]
    return httpx2.Response(
        response["status"]["code"],
        headers=[(header, value) for header, values in response["headers"].items() for value in values],
        content=response["body"]["string"].encode(),
    )


@pytest.mark.parametrize("recipe", FLOWS)
def test_a_recipe_without_a_key_names_the_remedies(
    recipe: str, runner: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One sentence names the variable and the replay command; a text as the exit code means status 1."""
    for name in ("TENSORLOOP_KEY", "TENSORLOOP_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    assert runner.run(recipe) == ""
    assert isinstance(runner.status, str)
    assert runner.status.lstrip("\n").startswith("No Tensorloop key: set TENSORLOOP_KEY")
    assert "\n" not in runner.status.lstrip("\n")


# Tools


def call(arguments: str, name: str = "get_weather") -> Body:
    """Return an answer with one call, its arguments in two deltas."""
    half = len(arguments) // 2
    opening = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}
    deltas = [{"index": 0, "function": {"arguments": part}} for part in (arguments[:half], arguments[half:])]
    return answer_of(tool(opening), *map(tool, deltas), finish("tool_calls"))


def test_two_calls_are_run_and_answered(runner: Runner, cassettes: ReplayServer) -> None:
    """The tools are sent, both calls run, both results are sent back, and the answer is text."""
    runner.serve(cassettes)

    assert runner.run("tool_loop") == (
        'get_weather {"city":"Zürich"}\nget_weather {"city":"Tokyo"}\nYes, in both: 12 °C and rain.\n'
    )
    assert runner.status is None


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("get_weather", '{"city":"Zür', "Invalid JSON"),
        ("get_weather", "", "Missing required argument"),
        ("get_weather", '{"town":"Zürich"}', "Unexpected keyword argument"),
        ("get_weather", '{"city":5}', "Input should be a valid string"),
        ("get_weather", "null", "Arguments must be an array or an object"),
        ("get_wether", '{"city":"Zürich"}', "KeyError('get_wether')"),
    ],
)
def test_an_invalid_call_is_reported_to_the_model(name: str, arguments: str, reason: str, runner: Runner) -> None:
    """The call does not run; its result is the reason, and the model may call again."""
    runner.answer(call(arguments, name), call('{"city":"Zürich"}'), answer_of(text("It rains."), finish()))
    out = runner.run("tool_loop")
    first, second, third = (request["messages"] for request in runner.requests)
    answer = second[-1]

    assert out == f'{name} {arguments}\nget_weather {{"city":"Zürich"}}\nIt rains.\n'
    assert runner.status is None
    assert (answer["role"], answer["tool_call_id"]) == ("tool", "call_1")
    assert answer["content"].startswith("error: ")
    assert reason in answer["content"]
    assert [message["role"] for message in third] == ["user", "assistant", "tool", "assistant", "tool"]
    assert third[: len(second)] == second
    assert second[: len(first)] == first
    assert third[-1]["content"] == "12 °C and rain in Zürich"


@pytest.mark.parametrize("arguments", ["", " ", "{}"])
def test_a_function_may_have_no_parameters(arguments: str, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some models then send no arguments instead of an empty object."""
    adapter = pydantic.TypeAdapter(cast("Any", lambda: "noon"))
    monkeypatch.setattr("pydantic.TypeAdapter", lambda _: adapter)
    runner.answer(call(arguments), answer_of(text("It is noon."), finish()))
    runner.run("tool_loop")

    assert runner.status is None
    assert runner.requests[1]["messages"][-1] == {"role": "tool", "tool_call_id": "call_1", "content": "noon"}


@pytest.mark.parametrize("reason", ["length", "content_filter", "max_tokens", "SAFETY"])
def test_calls_of_a_truncated_answer_are_not_run(reason: str, runner: Runner) -> None:
    """The JSON may be valid by chance, or further calls may be missing (vllm#53269)."""
    whole = {"index": 0, "id": "call_1", "function": {"name": "get_weather", "arguments": '{"city":"Zürich"}'}}
    runner.answer(answer_of(tool(whole), finish(reason)), answer_of(text("It rains."), finish()))

    assert runner.run("tool_loop") == ""
    assert runner.status == "the answer was cut, and none of its calls is run"
    assert len(runner.requests) == 1


@pytest.mark.parametrize("reason", ["eos", "end_turn", "tool_use", "STOP"])
def test_calls_of_a_whole_answer_are_run_whatever_its_host_calls_the_end(reason: str, runner: Runner) -> None:
    """The recipe knows the names that hosts give to the end of a whole answer."""
    whole = {"index": 0, "id": "call_1", "function": {"name": "get_weather", "arguments": '{"city":"Zürich"}'}}
    runner.answer(answer_of(tool(whole), finish(reason)), answer_of(text("It rains."), finish(reason)))
    runner.run("tool_loop")

    assert runner.status is None
    assert len(runner.requests) == 2


def test_an_answer_without_a_message_is_reported(runner: Runner) -> None:
    """`[DONE]` alone is no answer."""
    runner.answer(answer_of())

    assert runner.run("tool_loop") == ""
    assert runner.status == "stream ended after 0 chunks and 0 characters of text with [DONE] and no choice"


def test_endless_calls_end_after_five_rounds(runner: Runner) -> None:
    """The recipe reports a model that only calls."""
    runner.answer(call('{"city":"Zürich"}'))
    runner.run("tool_loop")

    assert runner.status == "no answer after 5 rounds of calls"
    assert len(runner.requests) == 5


def test_a_broken_stream_of_calls_runs_none(runner: Runner) -> None:
    """The first call is complete, but the message may not be."""
    whole = {"index": 0, "id": "call_1", "function": {"name": "get_weather", "arguments": '{"city":"Zürich"}'}}
    begun = {"index": 1, "id": "call_2", "function": {"name": "get_weather", "arguments": '{"ci'}}
    runner.answer(answer_of(tool(whole), tool(begun), done=False))

    assert runner.run("tool_loop") == ""
    assert "no finish_reason" in runner.status


# Structured output


def test_a_book_fills_while_it_streams(runner: Runner, cassettes: ReplayServer) -> None:
    """Strings, lists and numbers grow, and the last line is the validated model."""
    runner.serve(cassettes)
    *lines, book = runner.run("structured_output").splitlines()
    partials = [ast.literal_eval(line) for line in lines]

    assert runner.status is None
    assert partials[:4] == [{}, {"title": ""}, {"title": "C"}, {"title": "Caching"}]
    assert partials[-1] == json.loads(recorded.text("chat/structured_output"))
    assert [partial["pages"] for partial in partials if "pages" in partial][:3] == [1, 12, 124]
    assert all(before != after for before, after in itertools.pairwise(partials))
    assert book == f"Book({', '.join(f'{name}={value!r}' for name, value in partials[-1].items())})"


BOOK = {"title": "Cups \N{HOT BEVERAGE} \N{BOOKS}", "author": "b", "pages": 1, "chapters": []}
BOOK_AS_IT_PRINTS = f"Book({', '.join(f'{name}={value!r}' for name, value in BOOK.items())})"


@pytest.mark.parametrize("ahead", ["\n", " \r\n\t"])
def test_a_book_may_begin_with_an_empty_line(ahead: str, runner: Runner) -> None:
    """JSON may begin with white space, and the first delta may be nothing else."""
    runner.answer(answer_of(text(ahead), text(json.dumps(BOOK)), finish()))
    out = runner.run("structured_output")

    assert runner.status is None
    assert out == f"{{}}\n{BOOK}\n{BOOK_AS_IT_PRINTS}\n"


def test_a_book_may_arrive_in_half_characters(runner: Runner) -> None:
    """A delta may end with half of an emoji's surrogate pair; the next one completes it."""
    before, _, after = json.dumps(BOOK, ensure_ascii=False).partition("\N{BOOKS}")
    events = [event(text(before + "@")).replace(b"@", rb"\ud83d"), event(text("@" + after)).replace(b"@", rb"\udcda")]
    runner.answer(Body([*events, sse(finish())]))
    half, whole, book = runner.run("structured_output").splitlines()

    assert runner.status is None
    assert ast.literal_eval(half) == {"title": "Cups \N{HOT BEVERAGE} ?"}
    assert ast.literal_eval(whole) == BOOK
    assert book == BOOK_AS_IT_PRINTS


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ((text('{"title": "Cach'), finish("length")), "Invalid JSON: EOF while parsing a string"),
        ((text("Sure, here it is:"), finish()), "expected value"),
        ((text(""), finish()), "Invalid JSON: EOF while parsing a value"),
        ((text('{"title": "a", "author": "b", "pages": "many", "chapters": []}'), finish()), "pages Input should be"),
        ((text('{"title": "a", "author": "b", "chapters": []}'), finish()), "pages Field required"),
        ((chunk({"refusal": "I cannot."}), finish()), "refused: I cannot."),
        ((text('{"title": "Cach'),), "no finish_reason"),
    ],
)
def test_an_invalid_book_is_reported_in_one_line(chunks: Any, message: str, runner: Runner) -> None:
    """The recipe prints no truncated, invalid, empty, refused or broken book as a whole one."""
    runner.answer(answer_of(*chunks, done=len(chunks) > 1))
    out = runner.run("structured_output")

    assert "Book(" not in out
    assert message in runner.status
    assert "\n" not in runner.status


def test_a_refused_schema_is_reported(runner: Runner) -> None:
    """A gateway without strict schemas answers 400."""
    with ReplayServer([cassette.FOLDER], status=400) as server:
        runner.serve(server)

        assert runner.run("structured_output") == ""
        assert runner.status.startswith("Error code: 400 - ")


# Usage and cost


def test_usage_and_cost_are_printed(runner: Runner, cassettes: ReplayServer) -> None:
    """Tokens come from the stream and the rest from headers, of which LiteLLM omits one when it streams."""
    call_id = recorded.interactions("chat/usage_of_a_budget")[0]["response"]["headers"]["x-litellm-call-id"][0]
    runner.serve(cassettes)

    assert runner.run("usage_and_cost") == (
        f"{recorded.text('chat/usage_of_a_budget')}\n"
        "---\n"
        "tokens         37 asked + 24 answered\n"
        "price          $0.0000199\n"
        f"call           {call_id}\n"
        "spent before   0.42\n"
        "budget         5.0\n"
        "requests left  unknown\n"
    )
    assert runner.status is None


def test_missing_usage_and_headers_are_unknown(runner: Runner) -> None:
    """The recipe guesses nothing, and prints no traceback."""
    runner.answer(answer_of(text("Hello."), finish()))

    assert runner.run("usage_and_cost").splitlines()[2:] == [
        f"{fact:15}unknown" for fact in ("tokens", "price", "call", "spent before", "budget", "requests left")
    ]


def test_a_broken_answer_names_its_call(runner: Runner) -> None:
    """The operators of the gateway can find the request by its call id."""
    call_id = recorded.interactions("chat/usage_of_a_budget")[0]["response"]["headers"]["x-litellm-call-id"][0]
    with ReplayServer([cassette.FOLDER], cut_after=7) as server:
        runner.serve(server)
        runner.run("usage_and_cost")

    assert runner.status.startswith("connection cut after 7 chunks")
    assert runner.status.endswith(f"\n--- call {call_id}")


def test_a_broken_answer_without_an_id_says_unknown(runner: Runner) -> None:
    """A gateway may send no call id."""
    runner.answer(answer_of(text("Hel"), done=False))
    runner.run("usage_and_cost")

    assert runner.status.endswith("\n--- call unknown")


# Limits


@pytest.mark.parametrize(
    ("name", "seconds"), [("errors/rate_limit_by_key", 60.0), ("errors/rate_limit_by_upstream", 3.0)]
)
def test_a_rate_limit_is_waited_for(name: str, seconds: float, runner: Runner, waits: list[float]) -> None:
    """The wait is as long as the gateway says, for its own limit and the upstream's."""
    runner.answer(recorded_answer(name), recorded_answer("chat/haiku"))
    out = runner.run("limits")

    assert out == f"(too many requests: again in {seconds:g} s)\n{HAIKU}\n"
    assert waits == [seconds]
    assert runner.requests == [recorded.request("chat/haiku")] * 2
    assert runner.status is None


def test_an_exceeded_budget_is_not_waited_for(runner: Runner, waits: list[float]) -> None:
    """The status is the same and the type another; a retry cannot help."""
    runner.answer(recorded_answer("errors/budget_exceeded"))

    assert runner.run("limits") == ""
    assert len(runner.requests) == 1
    assert waits == []
    assert "Max budget: 5.0" in runner.status
    assert "a retry does not help" in runner.status


@pytest.mark.parametrize("value", [None, "Sun, 22 Nov 2026 19:35:48 GMT", "soon"])
def test_a_rate_limit_without_a_number_is_waited_for(value: str | None, runner: Runner, waits: list[float]) -> None:
    """HTTP permits a date in `retry-after`, and the header is optional."""
    body = {"error": {"message": "Slow down.", "type": "rate_limit_error", "code": "429"}}
    headers = {"retry-after": value} if value else {}
    runner.answer(httpx2.Response(429, headers=headers, json=body), recorded_answer("chat/haiku"))
    runner.run("limits")

    assert waits == [5.0]


def test_a_permanent_rate_limit_ends_after_five_requests(runner: Runner, waits: list[float]) -> None:
    """The last line has the gateway's own message."""
    runner.answer(recorded_answer("errors/rate_limit_by_upstream"))
    runner.run("limits")

    assert waits == [3.0] * 4
    assert len(runner.requests) == 5
    assert "Rate limit reached" in runner.status


def test_a_rate_limit_inside_a_stream_is_waited_for(runner: Runner, waits: list[float]) -> None:
    """It names no time; behind the first text another request would repeat what was printed."""
    limit: dict[str, Any] = {"error_type": "rate_limit_exceeded", "fails": 2}
    with ReplayServer([cassette.FOLDER], error_after=0, **limit) as server:
        runner.serve(server)
        begun = runner.run("limits")
    with ReplayServer([cassette.FOLDER], error_after=7, **limit) as server:
        runner.serve(server)
        broken = runner.run("limits")

    assert begun == "(too many requests: again in 5 s)\n" * 2 + f"{HAIKU}\n"
    assert waits == [5.0, 5.0]
    assert broken == "A moonlit meadow, a\n"


def test_rate_limits_can_be_tried_with_a_replay(runner: Runner) -> None:
    """The options are those that the recipe names; the SDK's own retries are off."""
    with ReplayServer([cassette.FOLDER], status=429, retry_after=0.01, fails=2) as server:
        runner.serve(server)

        assert runner.run("limits") == "(too many requests: again in 0.01 s)\n" * 2 + f"{HAIKU}\n"
        assert len(server.requests) == 3


# Broken streams


@pytest.mark.parametrize("fault", ["cut_after", "end_after", "error_after", "stall_after"])
@pytest.mark.parametrize("events", [0, 1])
def test_an_answer_that_breaks_before_it_is_shown_is_requested_again(
    fault: str, events: int, runner: Runner, waits: list[float]
) -> None:
    """The faults strike before the first chunk or after the role."""
    runner.shorten_timeouts()
    begun = time.monotonic()
    faults: Any = {fault: events, "fails": 1}
    with ReplayServer([cassette.FOLDER], **faults) as server:
        runner.serve(server)
        out = runner.run("restart")

    assert out == f"{HAIKU}\n--- final ({len(HAIKU)} chars) ---\n"
    assert runner.status is None
    assert len(server.requests) == 2
    assert len(waits) == 1
    assert time.monotonic() - begun < NEVER


@pytest.mark.parametrize(
    ("faults", "requests", "out"),
    [
        ({"cut_after": 0}, 3, ""),
        ({"cut_after": 2}, 1, "A"),
        ({"stall_after": 2}, 1, "A"),
        ({"status": 429, "error_type": "budget_exceeded"}, 1, ""),
    ],
    ids=["each time", "later", "stalls later", "spent"],
)
def test_an_answer_is_not_requested_again(
    faults: Any, requests: int, out: str, runner: Runner, waits: list[float]
) -> None:
    """The failure repeats, follows the first word, or is permanent."""
    runner.shorten_timeouts()
    begun = time.monotonic()
    with ReplayServer([cassette.FOLDER], **faults) as server:
        runner.serve(server)

        assert runner.run("restart") == out
    assert runner.status
    assert len(server.requests) == requests
    assert len(waits) == requests - 1
    assert time.monotonic() - begun < NEVER


def test_a_broken_answer_is_continued(runner: Runner, cassettes: ReplayServer) -> None:
    """The second request contains the partial text, and the answer is printed once."""
    whole = f"Caches forget{recorded.text('chat/continued')}"
    runner.serve(cassettes)

    assert runner.run("keep_partial_text") == f"{whole}\n--- final ({len(whole)} chars) ---\n"
    assert "The server had an error while processing your request" in runner.err
    assert runner.status is None


@pytest.mark.parametrize("fault", ["cut_after", "end_after", "error_after"])
def test_every_fault_keeps_the_text(fault: str, runner: Runner) -> None:
    """A connection error, an early end and an error event give the same next request."""
    faults: Any = {fault: 4}
    with ReplayServer([cassette.FOLDER], **faults) as server:
        runner.serve(server)
        out = runner.run("keep_partial_text")
        first, second, third = (request.body["messages"] for request in server.requests)

    assert out.startswith("Caches forget it,\nyet")
    assert second == [*first, {"role": "assistant", "content": "Caches forget"}, GO_ON]
    assert third == [*first, {"role": "assistant", "content": "Caches forget it,\nyet"}, GO_ON]
    # No third part is recorded.
    assert runner.status.startswith("Error code: 404")


def test_a_broken_answer_is_continued_in_its_stream(runner: Runner) -> None:
    """The second request begins the assistant's message with the partial text."""
    runner.answer(
        Body([sse(text("Wait, "), done=False), httpx2.ReadError("cut")]), answer_of(text("and see."), finish())
    )

    assert runner.run("continue_broken") == "Wait, and see.\n--- final (14 chars) ---\n"
    assert runner.requests[1]["messages"][1:] == [{"role": "assistant", "content": "Wait,"}]


def test_a_stream_that_breaks_at_once_is_requested_again(runner: Runner) -> None:
    """There is no text to continue."""
    runner.answer(Body([httpx2.ReadError("cut")]), answer_of(text("Hello."), finish()))

    assert runner.run("keep_partial_text") == "Hello.\n--- final (6 chars) ---\n"
    assert runner.requests[0] == runner.requests[1]


def test_a_stream_that_always_breaks_ends_the_program(runner: Runner) -> None:
    """The partial text stays printed, and the last line says that the answer has no end."""
    runner.answer(Body([sse(text("la "), done=False), httpx2.ReadError("cut")]))

    assert runner.run("keep_partial_text") == "la la la "
    assert runner.status == "it broke three times: the answer has no end"
    assert runner.requests[2]["messages"][1]["content"] == "la la "


REFUSALS = [
    {"message": "Budget has been exceeded!", "type": "budget_exceeded", "code": "429"},
    {"message": "Budget has been exceeded!", "type": None, "code": "budget_exceeded"},
    *({"message": "No.", "type": None, "code": code} for code in ("400", "401", "403", "404", 403)),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: f"{refusal['type']}-{refusal['code']}")
def test_a_refused_answer_is_not_requested_again(refusal: Any, runner: Runner) -> None:
    """The partial text stays printed."""
    runner.answer(Body([sse(text("la "), {"error": refusal}, done=False)]))

    assert runner.run("keep_partial_text") == "la "
    assert refusal["message"] in runner.err
    assert runner.status == "a retry does not help: the answer has no end"
    assert len(runner.requests) == 1


# Stopping


def test_a_stopped_answer_keeps_its_text(runner: Runner) -> None:
    """Another thread and another task stop a stalled stream, and the gateway sees both disconnects."""
    with ReplayServer([cassette.FOLDER], stall_after=9) as server:
        runner.serve(server)

        assert runner.run("stop_early") == "Streaming is a game-changer (stopped)\n" * 2
        assert saw_disconnects(server, 2)
        assert runner.status is None


def test_an_answer_that_has_not_begun_can_be_stopped(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway sees the task disconnect at once, and the thread after its response."""
    monkeypatch.setattr(pages, "closing_clients", nullcontext)  # to close the client would wake the thread
    with ReplayServer([cassette.FOLDER], first_delay=2.5, delay=0.001) as server:
        runner.serve(server)
        begun = time.monotonic()

        assert runner.run("stop_early") == " (stopped)\n" * 2
        assert time.monotonic() - begun < 2.5
        assert saw_disconnects(server, 1)
        assert eventually(lambda: len(server.disconnects) == 2, 2.5)


def test_a_stopped_program_ends() -> None:
    """Its thread may still wait for a gateway that does not answer."""
    with ReplayServer([cassette.FOLDER], first_delay=NEVER) as server:
        environment = {**os.environ, "TENSORLOOP_BASE_URL": server.base_url, "TENSORLOOP_KEY": "tl_none"}
        command = [sys.executable, "-W", "error", "recipes/stop_early.py"]
        ran = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=NEVER / 2
        )

    assert (ran.stdout, ran.stderr, ran.returncode) == (" (stopped)\n" * 2, "", 0)


def test_an_answer_that_ends_before_the_stop_is_whole(runner: Runner, tmp_path: Path) -> None:
    """The stop has no effect."""
    with ReplayServer(recorded.cassette_with_body("chat/long", tmp_path, sse(text("Short."), finish()))) as server:
        runner.serve(server)

        assert runner.run("stop_early") == "Short.\nShort.\n"
        assert server.disconnects == []


def test_a_broken_answer_is_not_reported_as_stopped(runner: Runner) -> None:
    """A connection error is an error, also if a stop is possible."""
    with ReplayServer([cassette.FOLDER], cut_after=9) as server:
        runner.serve(server)

        assert runner.run("stop_early") == ""
        assert runner.status.startswith("connection cut after 9 chunks")
