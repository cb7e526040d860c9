"""The recipes for what people do next: tools, structured output, costs, limits, broken and stopped streams."""

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
FLOWS = ["tool_loop", "structured_output", "usage_and_cost", "limits", "restart", "keep_partial_text", "stop_early"]
HAIKU = recorded.text("chat/haiku")
GO_ON = {"role": "user", "content": "You were cut off. Go on where you stopped, and repeat nothing."}


@pytest.fixture(scope="module")
def cassettes() -> Iterator[ReplayServer]:
    with ReplayServer([cassette.FOLDER]) as server:
        yield server


class Runner:
    """Runs recipes, unedited, in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.asked: list[Any] = []
        self.status: Any = None
        self.err = ""

    def serve(self, server: ReplayServer) -> None:
        """Let the recipe find this server."""
        self._monkeypatch.setenv("TENSORLOOP_BASE_URL", server.base_url)
        self._monkeypatch.setenv("TENSORLOOP_KEY", "tl_none")

    def answer(self, *answers: Body | httpx2.Response) -> None:
        """Let the recipe get these answers, one after the other, whatever it asks; the last again and again."""
        answer = responding_with(*answers)

        def handle(request: httpx2.Request) -> httpx2.Response:
            self.asked.append(json.loads(request.content))
            return answer(request)

        client = functools.partial(
            Tensorloop, api_key="tl_none", http_client=httpx2.Client(transport=httpx2.MockTransport(handle))
        )
        self._monkeypatch.setattr(tensorloop_stream, "Tensorloop", client)

    def hurry(self) -> None:
        """Make the timeouts of streams, seconds in a recipe, parts of one."""
        pages.shorten_timeouts(self._monkeypatch, 20)

    def run(self, recipe: str) -> str:
        """Return what it prints; `status` is what it exits with, `err` what it says beside."""
        try:
            pages.run_recipe(recipe)
        except SystemExit as stop:
            self.status = stop.code
        said = self._capsys.readouterr()
        self.err = said.err
        return said.out


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(monkeypatch, capsys)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Make waiting take no time, and return how long it would have taken."""
    seconds: list[float] = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


def answer_of(*chunks: Any, done: bool = True) -> Body:
    return Body([sse(*chunks, done=done)])


def recorded_answer(name: str) -> httpx2.Response:
    """Return the answer of a cassette, as an HTTP response."""
    response = recorded.interactions(name)[0]["response"]
    return httpx2.Response(
        response["status"]["code"],
        headers=[(header, value) for header, values in response["headers"].items() for value in values],
        content=response["body"]["string"].encode(),
    )


@pytest.mark.parametrize("recipe", FLOWS)
def test_without_a_key_it_says_what_to_do(
    recipe: str, runner: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One sentence that names the variable and the replay command; a text as the code is status 1."""
    for name in ("TENSORLOOP_KEY", "TENSORLOOP_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    assert runner.run(recipe) == ""
    assert isinstance(runner.status, str)
    assert runner.status.startswith("No Tensorloop key: set TENSORLOOP_KEY")
    assert "\n" not in runner.status


# Tools


def call(arguments: str, name: str = "get_weather") -> Body:
    """Return an answer that is one call, its arguments in two pieces."""
    half = len(arguments) // 2
    opening = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}
    pieces = [{"index": 0, "function": {"arguments": piece}} for piece in (arguments[:half], arguments[half:])]
    return answer_of(tool(opening), *map(tool, pieces), finish("tool_calls"))


def test_two_calls_are_run_and_answered(runner: Runner, cassettes: ReplayServer) -> None:
    """The three steps: the tools go out, both calls are run, both results go back, and the answer is text."""
    runner.serve(cassettes)

    assert runner.run("tool_loop") == (
        'get_weather {"city":"Zürich"}\nget_weather {"city":"Tokyo"}\nYes, in both: 12 °C and rain.\n'
    )
    assert runner.status is None


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("get_weather", '{"city":"Zür', "Invalid JSON"),
        ("get_weather", "", "Missing required argument"),
        ("get_weather", '{"town":"Zürich"}', "Unexpected keyword argument"),
        ("get_weather", '{"city":5}', "Input should be a valid string"),
        ("get_weather", "null", "Arguments must be an array or an object"),
        ("get_wether", '{"city":"Zürich"}', "KeyError('get_wether')"),
    ],
)
def test_a_bad_call_is_told_to_the_model(name: str, arguments: str, told: str, runner: Runner) -> None:
    """It is not run; the model learns why, under the id of its call, and may call again."""
    runner.answer(call(arguments, name), call('{"city":"Zürich"}'), answer_of(text("It rains."), finish()))
    out = runner.run("tool_loop")
    first, second, third = (request["messages"] for request in runner.asked)
    answer = second[-1]

    assert out == f'{name} {arguments}\nget_weather {{"city":"Zürich"}}\nIt rains.\n'
    assert runner.status is None
    assert (answer["role"], answer["tool_call_id"]) == ("tool", "call_1")
    assert answer["content"].startswith("error: ")
    assert told in answer["content"]
    assert [message["role"] for message in third] == ["user", "assistant", "tool", "assistant", "tool"]
    assert third[: len(second)] == second
    assert second[: len(first)] == first
    assert third[-1]["content"] == "12 °C and rain in Zürich"


@pytest.mark.parametrize("arguments", ["", " ", "{}"])
def test_a_function_may_have_no_parameters(arguments: str, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some models then send no arguments, instead of an empty object."""
    adapter = pydantic.TypeAdapter(cast("Any", lambda: "noon"))
    monkeypatch.setattr("pydantic.TypeAdapter", lambda _: adapter)
    runner.answer(call(arguments), answer_of(text("It is noon."), finish()))
    runner.run("tool_loop")

    assert runner.status is None
    assert runner.asked[1]["messages"][-1] == {"role": "tool", "tool_call_id": "call_1", "content": "noon"}


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_calls_of_a_cut_answer_are_not_run(reason: str, runner: Runner) -> None:
    """Their JSON may be whole by chance, or for want of the calls behind it (vllm#53269); so is a text that was cut."""
    whole = {"index": 0, "id": "call_1", "function": {"name": "get_weather", "arguments": '{"city":"Zürich"}'}}
    runner.answer(answer_of(tool(whole), finish(reason)), answer_of(text("It rains."), finish()))

    assert runner.run("tool_loop") == ""
    assert runner.status == "the answer was cut, and none of its calls is run"
    assert len(runner.asked) == 1


def test_an_answer_of_nothing_is_said(runner: Runner) -> None:
    """`[DONE]` alone has no message."""
    runner.answer(answer_of())

    assert runner.run("tool_loop") == ""
    assert runner.status == "the stream ended after 0 chunks and 0 characters of text without a choice"


def test_calls_without_end_are_ended(runner: Runner) -> None:
    """A model that only calls costs five requests, and the recipe says so."""
    runner.answer(call('{"city":"Zürich"}'))
    runner.run("tool_loop")

    assert runner.status == "no answer after 5 rounds of calls"
    assert len(runner.asked) == 5


def test_a_cut_stream_of_calls_runs_none(runner: Runner) -> None:
    """The first call is whole, but whether the message is, nobody knows."""
    whole = {"index": 0, "id": "call_1", "function": {"name": "get_weather", "arguments": '{"city":"Zürich"}'}}
    begun = {"index": 1, "id": "call_2", "function": {"name": "get_weather", "arguments": '{"ci'}}
    runner.answer(answer_of(tool(whole), tool(begun), done=False))

    assert runner.run("tool_loop") == ""
    assert "no finish_reason" in runner.status


# Structured output


def test_a_book_fills_while_it_comes(runner: Runner, cassettes: ReplayServer) -> None:
    """Strings and lists grow piece by piece, numbers too; the last line is the validated model."""
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
    """JSON lets blanks stand in front, and a first piece may be nothing else."""
    runner.answer(answer_of(text(ahead), text(json.dumps(BOOK)), finish()))
    out = runner.run("structured_output")

    assert runner.status is None
    assert out == f"{{}}\n{BOOK}\n{BOOK_AS_IT_PRINTS}\n"


def test_a_book_may_come_in_half_characters(runner: Runner) -> None:
    """A piece may end with the first of the two UTF-16 halves of an emoji; the next one makes it whole."""
    before, _, after = json.dumps(BOOK, ensure_ascii=False).partition("\N{BOOKS}")
    pieces = [event(text(before + "@")).replace(b"@", rb"\ud83d"), event(text("@" + after)).replace(b"@", rb"\udcda")]
    runner.answer(Body([*pieces, sse(finish())]))
    half, whole, book = runner.run("structured_output").splitlines()

    assert runner.status is None
    assert ast.literal_eval(half) == {"title": "Cups \N{HOT BEVERAGE} ?"}
    assert ast.literal_eval(whole) == BOOK
    assert book == BOOK_AS_IT_PRINTS


@pytest.mark.parametrize(
    ("chunks", "said"),
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
def test_no_book_is_said_in_a_line(chunks: Any, said: str, runner: Runner) -> None:
    """Cut, no JSON, empty, wrong, refused or broken: what is wrong, and never half a book as a whole one."""
    runner.answer(answer_of(*chunks, done=len(chunks) > 1))
    out = runner.run("structured_output")

    assert "Book(" not in out
    assert said in runner.status
    assert "\n" not in runner.status


def test_a_schema_that_is_refused_is_said(runner: Runner) -> None:
    """A gateway that cannot do strict schemas answers 400."""
    with ReplayServer([cassette.FOLDER], status=400) as server:
        runner.serve(server)

        assert runner.run("structured_output") == ""
        assert runner.status.startswith("Error code: 400 - ")


# Usage and cost


def test_what_an_answer_took(runner: Runner, cassettes: ReplayServer) -> None:
    """Tokens from the stream; the rest from the headers, of which LiteLLM leaves one out when it streams."""
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


def test_what_a_gateway_does_not_say_is_unknown(runner: Runner) -> None:
    """No usage, no headers: no guess, and no traceback."""
    runner.answer(answer_of(text("Hello."), finish()))

    assert runner.run("usage_and_cost").splitlines()[2:] == [
        f"{fact:15}unknown" for fact in ("tokens", "price", "call", "spent before", "budget", "requests left")
    ]


def test_a_broken_answer_names_its_call(runner: Runner) -> None:
    """Those who run the gateway can find it by that."""
    call_id = recorded.interactions("chat/usage_of_a_budget")[0]["response"]["headers"]["x-litellm-call-id"][0]
    with ReplayServer([cassette.FOLDER], cut_after=7) as server:
        runner.serve(server)
        runner.run("usage_and_cost")

    assert runner.status.startswith("connection cut after 7 chunks")
    assert runner.status.endswith(f"\n--- call {call_id}")


def test_a_broken_answer_may_have_no_id(runner: Runner) -> None:
    """Then there is none to name."""
    runner.answer(answer_of(text("Hel"), done=False))
    runner.run("usage_and_cost")

    assert runner.status.endswith("\n--- call unknown")


# Limits


@pytest.mark.parametrize(
    ("name", "seconds"), [("errors/rate_limit_by_key", 60.0), ("errors/rate_limit_by_upstream", 3.0)]
)
def test_a_rate_limit_is_waited_for(name: str, seconds: float, runner: Runner, waits: list[float]) -> None:
    """As long as the gateway says, for its own limit and for that of the model behind it; then the answer."""
    runner.answer(recorded_answer(name), recorded_answer("chat/haiku"))
    out = runner.run("limits")

    assert out == f"(too many requests: again in {seconds:g} s)\n{HAIKU}\n"
    assert waits == [seconds]
    assert runner.asked == [recorded.request("chat/haiku")] * 2
    assert runner.status is None


def test_a_spent_budget_is_not_waited_for(runner: Runner, waits: list[float]) -> None:
    """The same status, another type: asking again is pointless, and the recipe says so."""
    runner.answer(recorded_answer("errors/budget_exceeded"))

    assert runner.run("limits") == ""
    assert len(runner.asked) == 1
    assert waits == []
    assert "Max budget: 5.0" in runner.status
    assert "asking again does not help" in runner.status


@pytest.mark.parametrize("told", [None, "Sun, 22 Nov 2026 19:35:48 GMT", "soon"])
def test_a_limit_without_a_number_is_waited_for_too(told: str | None, runner: Runner, waits: list[float]) -> None:
    """HTTP lets `retry-after` be a date, and nobody has to send it."""
    body = {"error": {"message": "Slow down.", "type": "rate_limit_error", "code": "429"}}
    headers = {"retry-after": told} if told else {}
    runner.answer(httpx2.Response(429, headers=headers, json=body), recorded_answer("chat/haiku"))
    runner.run("limits")

    assert waits == [5.0]


def test_a_limit_without_end_is_ended(runner: Runner, waits: list[float]) -> None:
    """Five requests, and then the gateway's own words."""
    runner.answer(recorded_answer("errors/rate_limit_by_upstream"))
    runner.run("limits")

    assert waits == [3.0] * 4
    assert len(runner.asked) == 5
    assert "Rate limit reached" in runner.status


def test_the_limits_can_be_seen_in_a_replay(runner: Runner) -> None:
    """With the options that the recipe names; nothing is asked of the SDK's own retries."""
    with ReplayServer([cassette.FOLDER], status=429, retry_after=0.01, fails=2) as server:
        runner.serve(server)

        assert runner.run("limits") == "(too many requests: again in 0.01 s)\n" * 2 + f"{HAIKU}\n"
        assert len(server.requests) == 3


# Broken streams


@pytest.mark.parametrize("fault", ["cut_after", "end_after", "error_after", "stall_after"])
@pytest.mark.parametrize("events", [0, 1])
def test_an_answer_that_breaks_before_it_is_shown_is_asked_for_again(
    fault: str, events: int, runner: Runner, waits: list[float]
) -> None:
    """A cut, an early end, an error and silence, before the first chunk or after the role."""
    runner.hurry()
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
    ("faults", "asked", "out"),
    [
        ({"cut_after": 0}, 3, ""),
        ({"cut_after": 2}, 1, "In"),
        ({"stall_after": 2}, 1, "In"),
        ({"status": 429, "error_type": "budget_exceeded"}, 1, ""),
    ],
    ids=["each time", "later", "stalls later", "spent"],
)
def test_an_answer_is_not_asked_for_again(
    faults: Any, asked: int, out: str, runner: Runner, waits: list[float]
) -> None:
    """For ever, after its first word, or in vain."""
    runner.hurry()
    begun = time.monotonic()
    with ReplayServer([cassette.FOLDER], **faults) as server:
        runner.serve(server)

        assert runner.run("restart") == out
    assert runner.status
    assert len(server.requests) == asked
    assert len(waits) == asked - 1
    assert time.monotonic() - begun < NEVER


def test_a_broken_answer_is_continued(runner: Runner, cassettes: ReplayServer) -> None:
    """What had come is part of the second request, and of the answer, which is printed once."""
    whole = f"Caches forget{recorded.text('chat/continued')}"
    runner.serve(cassettes)

    assert runner.run("keep_partial_text") == f"{whole}\n--- final ({len(whole)} chars) ---\n"
    assert "The server had an error while processing your request" in runner.err
    assert runner.status is None


@pytest.mark.parametrize("fault", ["cut_after", "end_after", "error_after"])
def test_whatever_breaks_it_the_text_is_kept(fault: str, runner: Runner) -> None:
    """A cut, an early end and an error event leave the same text, and the same question."""
    faults: Any = {fault: 4}
    with ReplayServer([cassette.FOLDER], **faults) as server:
        runner.serve(server)
        out = runner.run("keep_partial_text")
        first, second, third = (request.body["messages"] for request in server.requests)

    assert out.startswith("Caches forget it,\nyet")
    assert second == [*first, {"role": "assistant", "content": "Caches forget"}, GO_ON]
    assert third == [*first, {"role": "assistant", "content": "Caches forget it,\nyet"}, GO_ON]
    # A third part was not recorded.
    assert runner.status.startswith("Error code: 404")


def test_a_stream_that_breaks_at_once_is_asked_for_again(runner: Runner) -> None:
    """Nothing had come: there is nothing to go on from."""
    runner.answer(Body([httpx2.ReadError("cut")]), answer_of(text("Hello."), finish()))

    assert runner.run("keep_partial_text") == "Hello.\n--- final (6 chars) ---\n"
    assert runner.asked[0] == runner.asked[1]


def test_a_stream_that_always_breaks_is_given_up(runner: Runner) -> None:
    """What came stays printed, and nobody takes it for the whole."""
    runner.answer(Body([sse(text("la "), done=False), httpx2.ReadError("cut")]))

    assert runner.run("keep_partial_text") == "la la la "
    assert runner.status == "it broke three times: the answer has no end"
    assert runner.asked[2]["messages"][1]["content"] == "la la "


REFUSALS = [
    {"message": "Budget has been exceeded!", "type": "budget_exceeded", "code": "429"},
    {"message": "Budget has been exceeded!", "type": None, "code": "budget_exceeded"},
    *({"message": "No.", "type": None, "code": code} for code in ("400", "401", "403", "404", 403)),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: f"{refusal['type']}-{refusal['code']}")
def test_a_refused_answer_is_not_asked_for_again(refusal: Any, runner: Runner) -> None:
    """As little as before the stream; what came stays printed."""
    runner.answer(Body([sse(text("la "), {"error": refusal}, done=False)]))

    assert runner.run("keep_partial_text") == "la "
    assert refusal["message"] in runner.err
    assert runner.status == "asking again does not help: the answer has no end"
    assert len(runner.asked) == 1


# Stopping


def test_a_stopped_answer_keeps_what_came(runner: Runner) -> None:
    """From another thread and from another task; the gateway sees both leave a stream that had stalled."""
    with ReplayServer([cassette.FOLDER], stall_after=9) as server:
        runner.serve(server)

        assert runner.run("stop_early") == "Streaming is a game-changer (stopped)\n" * 2
        assert saw_disconnects(server, 2)
        assert runner.status is None


def test_an_answer_that_has_not_begun_is_stopped(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once for who stopped it; the gateway sees the task leave at once, and the thread when it has answered."""
    monkeypatch.setattr(pages, "closing_clients", nullcontext)  # to close the client would wake the thread
    with ReplayServer([cassette.FOLDER], first_delay=2.5, delay=0.001) as server:
        runner.serve(server)
        begun = time.monotonic()

        assert runner.run("stop_early") == " (stopped)\n" * 2
        assert time.monotonic() - begun < 2.5
        assert saw_disconnects(server, 1)
        assert eventually(lambda: len(server.disconnects) == 2, 2.5)


def test_a_stopped_program_ends() -> None:
    """Also while its thread waits for a gateway that does not answer."""
    with ReplayServer([cassette.FOLDER], first_delay=NEVER) as server:
        environment = {**os.environ, "TENSORLOOP_BASE_URL": server.base_url, "TENSORLOOP_KEY": "tl_none"}
        command = [sys.executable, "-W", "error", "recipes/stop_early.py"]
        ran = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=NEVER / 2
        )

    assert (ran.stdout, ran.stderr, ran.returncode) == (" (stopped)\n" * 2, "", 0)


def test_an_answer_that_was_quicker_is_whole(runner: Runner, tmp_path: Path) -> None:
    """Nothing is stopped that has ended."""
    with ReplayServer(recorded.cassette_with_body("chat/long", tmp_path, sse(text("Short."), finish()))) as server:
        runner.serve(server)

        assert runner.run("stop_early") == "Short.\nShort.\n"
        assert server.disconnects == []


def test_a_broken_answer_was_not_stopped(runner: Runner) -> None:
    """A cut is an error, whoever else may press a button."""
    with ReplayServer([cassette.FOLDER], cut_after=9) as server:
        runner.serve(server)

        assert runner.run("stop_early") == ""
        assert runner.status.startswith("connection cut after 9 chunks")
