"""Recipes that inspect one answer: its speed, reasoning, chunks, calls and errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cassette
import pages
import pytest
import recorded
from chunks import DONE, chunk, event, finish, sse, text, tool, usage

from tensorloop_stream import StreamTiming
from tensorloop_stream.replay import ReplayServer

HAIKU = recorded.text("chat/haiku")
RunOn = Callable[[str, str, bytes], str]


def run(recipe: str, server: ReplayServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a recipe unedited, and return its last sentence, if any."""
    monkeypatch.setenv("TENSORLOOP_BASE_URL", server.base_url)
    monkeypatch.setenv("TENSORLOOP_KEY", "tl_none")
    try:
        pages.run_recipe(recipe)
    except SystemExit as error:
        return str(error)
    return ""


@pytest.fixture
def run_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunOn:
    """A function that runs a recipe on another answer to a cassette's request."""

    def running(recipe: str, name: str, body: bytes) -> str:
        with ReplayServer(recorded.cassette_with_body(name, tmp_path, body)) as server:
            return run(recipe, server, monkeypatch)

    return running


def test_how_fast_prints_times_and_rate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The lines are the sparkline, the times, the gaps, and the tokens by the usage."""
    with ReplayServer(cassette.FOLDER / "chat/usage.yaml", delay=0.001) as server:
        assert run("how_fast", server, monkeypatch) == ""
    lines = capsys.readouterr().out.splitlines()

    assert len(lines) == 4
    assert re.fullmatch(r"first chunk \d+ ms, first token \d+ ms", lines[1])
    assert re.fullmatch(r"between chunks \d+ ms, one in a hundred \d+ ms or more", lines[2])
    assert re.fullmatch(r"[1-9]\d* tokens/s from gpt-4o-mini, request \S+", lines[3])


def test_how_fast_prints_each_number_in_its_place(
    run_on: RunOn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Distinct numbers show which is which."""
    monkeypatch.setattr(StreamTiming, "gap", lambda _, quantile: quantile)
    monkeypatch.setattr(StreamTiming, "time_to_first_chunk", 99.0)
    monkeypatch.setattr(StreamTiming, "tokens_per_second", 7.0)
    ended = run_on("how_fast", "chat/usage", sse(text("Hello"), finish(), usage()))
    _, first, between, tokens = capsys.readouterr().out.splitlines()

    assert ended == ""
    assert re.fullmatch(r"first chunk 99000 ms, first token \d{1,4} ms", first)
    assert between == "between chunks 500 ms, one in a hundred 990 ms or more"
    assert tokens.startswith("7 tokens/s from gpt-4o-mini, request ")


def test_how_fast_prints_a_dash_for_missing_numbers(run_on: RunOn, capsys: pytest.CaptureFixture[str]) -> None:
    """An answer without text causes no traceback."""
    ended = run_on("how_fast", "chat/usage", sse(finish()))

    assert ended == ""
    first, between = capsys.readouterr().out.splitlines()[1:3]
    assert first.endswith("first token -")
    assert between == "between chunks -, one in a hundred - or more"


@pytest.mark.parametrize(
    ("details", "thoughts"), [({}, "None"), ({"completion_tokens_details": {"reasoning_tokens": 1}}, "1")]
)
def test_a_refusal_and_the_usage_are_printed_separately(
    details: dict[str, Any], thoughts: str, run_on: RunOn, capsys: pytest.CaptureFixture[str]
) -> None:
    """Text that is no answer goes to standard error; reasoning tokens are printed if the model reports them."""
    spent = usage()
    spent["usage"] |= details
    chunks = [chunk({"reasoning": "Hm."}), chunk({"refusal": "I can"}), chunk({"refusal": "not."}), finish(), spent]
    ended = run_on("reasoning", "reasoning/reasoning_content", sse(*chunks))
    out, err = capsys.readouterr()

    assert ended == ""
    assert err == "Hm.I cannot."
    assert out == f"\n--- 2 tokens, {thoughts} of them thoughts\n\n"


def test_reasoning_is_printed_separately(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Reasoning goes to standard error, the answer to standard output."""
    with ReplayServer(cassette.FOLDER / "reasoning/reasoning_content.yaml") as server:
        assert run("reasoning", server, monkeypatch) == ""
    out, err = capsys.readouterr()

    assert err == "A cache is a copy kept near its reader."
    assert out == "Because reading nearby is faster.\n"


@pytest.mark.parametrize(
    ("body", "out", "message"),
    [
        (sse(text("Hel"), text("lo"), finish()), "Hello\n--- final (5 chars) ---\n", ""),
        (sse(finish()), "\n--- final (0 chars) ---\n", ""),
        (sse(text("Hel"), done=False), "Hel\n--- broken (3 chars) ---\n", "stream ended after 1 chunk"),
        (b"", "\n--- broken (0 chars) ---\n", "stream ended after 0 chunks"),
    ],
    ids=["whole", "nothing", "broken", "broken at once"],
)
def test_stream_callbacks_print_the_text_and_the_ending(
    body: bytes, out: str, message: str, run_on: RunOn, capsys: pytest.CaptureFixture[str]
) -> None:
    """The text is printed as it arrives; the ending is the whole answer or the part before the error."""
    ended = run_on("stream_callbacks", "chat/haiku", body)

    assert capsys.readouterr().out == out
    assert ended.startswith(message)
    assert bool(ended) == bool(message)


@pytest.mark.parametrize(
    ("faults", "error", "advice"),
    [
        ({"cut_after": 7}, "connection cut", "a part is missing: keep what came, and ask again"),
        ({"end_after": 7}, "no finish_reason", "a part is missing: keep what came, and ask again"),
        ({"error_after": 7}, "litellm.APIConnectionError", "the gateway gave up: ask again"),
        ({"stall_after": 7}, "(idle_timeout)", "nothing came for too long: ask again, or wait longer"),
    ],
    ids=["cut", "ended", "error", "stalled"],
)
def test_what_went_wrong_prints_text_request_error_and_advice(
    faults: dict[str, Any], error: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fault has its advice."""
    pages.shorten_timeouts(monkeypatch, 10)
    with ReplayServer(cassette.FOLDER / "chat/haiku.yaml", **faults) as server:
        report = run("what_went_wrong", server, monkeypatch)

    text, _, rest = report.partition("\n--- request ")
    assert text
    assert HAIKU.startswith(text)
    assert error in rest
    assert rest.endswith(f"\n{advice}")


def test_what_went_wrong_treats_invalid_json_as_a_missing_part(run_on: RunOn) -> None:
    """The advice is that of a truncated answer."""
    report = run_on("what_went_wrong", "chat/haiku", event(text("Ca")) + b"data: {\n\n")

    assert report.startswith("Ca\n--- request ")
    assert report.endswith("\na part is missing: keep what came, and ask again")


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ({"message": "No.", "code": "400"}, "the gateway refused it: a retry does not help"),
        ({"message": "No.", "code": "401"}, "the gateway refused it: a retry does not help"),
        ({"message": "No.", "code": 403}, "the gateway refused it: a retry does not help"),
        ({"message": "No.", "code": "404"}, "the gateway refused it: a retry does not help"),
        ({"message": "Spent.", "type": "budget_exceeded", "code": "429"}, "a retry does not help"),
        ({"message": "Spent.", "code": "budget_exceeded"}, "a retry does not help"),
        ({"message": "Slow down.", "type": "rate_limit_error", "code": "429"}, "the gateway gave up: ask again"),
        ({"message": "Down.", "code": "503"}, "the gateway gave up: ask again"),
    ],
)
def test_what_went_wrong_classifies_error_events(error: dict[str, Any], advice: str, run_on: RunOn) -> None:
    """The advice follows the code and the type of an error event."""
    report = run_on("what_went_wrong", "chat/haiku", event(text("Ca")) + event({"error": error}))

    assert report.startswith("Ca\n--- request ")
    assert error["message"] in report
    assert report.endswith(advice)


ODD = [
    event(chunk({"role": "assistant"})),
    event({**chunk(), "choices": [{"index": 0, "delta": None}]}),
    event({**chunk(), "choices": None}),
    event({**chunk(), "choices": []}),
    event(chunk({"content": [{"type": "text", "text": "no"}]})),
    event(chunk({"content": None})),
    event(chunk({"content": 5})),
    event(text("la", error=None)),
    event({**text("la"), "error": None}),
    *(b"data: " + data + b"\n\n" for data in (b"", b"null", b"[]", b"5", b'"text"', b"true")),
    b"event: ping\ndata: {}\n\n: ping\n\nretry: 5\n\n",
]


def test_raw_http_ignores_events_without_text(run_on: RunOn, capsys: pytest.CaptureFixture[str]) -> None:
    """Gateways send empty events, `null`, and content of other kinds."""
    ended = run_on("raw_http", "chat/haiku", b"".join(ODD) + sse(text("Hello"), finish()))

    assert ended == ""
    assert capsys.readouterr().out == "lalaHello\n--- final (9 chars) ---\n"


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (event({"error": {"message": "It broke."}}) + DONE, '{"error":{"message":"It broke."}}'),
        (event({"error": "It broke."}) + DONE, '{"error":"It broke."}'),
        (b"event: error\ndata: It broke.\n\n" + DONE, "It broke."),
        (event({"message": "It broke."}) + b"data: {\n\n" + DONE, "Expecting property name"),
        (b"", "the stream ended without [DONE]"),
        (event(finish()), "the stream ended without [DONE]"),
    ],
)
def test_raw_http_is_never_silently_wrong(
    end: bytes, message: str, run_on: RunOn, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error in the stream, also before [DONE], and an end without [DONE] end the program with a sentence."""
    ended = run_on("raw_http", "chat/haiku", event(text("la")) + end)

    assert capsys.readouterr().out == "la"
    assert ended.startswith(message)


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"status": 429, "error_type": "budget_exceeded"}, '429: {"error":{"message":"429 Too Many Requests'),
        ({"cut_after": 7}, "peer closed connection"),
        ({"end_after": 7}, "the stream ended without [DONE]"),
        ({"error_after": 7}, '{"error": {"message": "litellm.APIConnectionError'),
    ],
    ids=["refused", "cut", "ended", "failed"],
)
def test_raw_http_prints_the_error(faults: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words are the gateway's, if it has any."""
    with ReplayServer(cassette.FOLDER / "chat/haiku.yaml", **faults) as server:
        assert run("raw_http", server, monkeypatch).startswith(message)


def test_what_went_wrong_prints_a_whole_answer_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A whole answer has no further lines."""
    with ReplayServer(cassette.FOLDER / "chat/haiku.yaml") as server:
        assert run("what_went_wrong", server, monkeypatch) == ""

    assert capsys.readouterr().out == f"{HAIKU}\n"


def test_calls_run_while_others_are_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each complete call runs once, with its arguments."""
    with ReplayServer(cassette.FOLDER / "tools/parallel_calls.yaml") as server:
        assert run("tools_early", server, monkeypatch) == ""
    lines = capsys.readouterr().out.splitlines()

    assert sorted(lines[:2]) == ["get_time runs", "get_weather runs"]
    assert lines[2:] == [
        "call_weather: get_weather of {'city': 'Zürich'}",
        "call_time: get_time of {'time_zone': 'Asia/Tokyo'}",
    ]


def test_a_call_runs_before_the_next_one_is_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second call is truncated after the first ran, which must therefore be repeatable."""
    begun = 1 + next(n for n, one in enumerate(recorded.chunks("tools/parallel_calls")) if "get_time" in f"{one}")
    with ReplayServer(cassette.FOLDER / "tools/parallel_calls.yaml", cut_after=begun) as server:
        ended = run("tools_early", server, monkeypatch)

    assert ended.startswith(f"connection cut after {begun} chunks")
    assert capsys.readouterr().out == "get_weather runs\n"


def test_an_early_call_may_have_no_arguments(run_on: RunOn, capsys: pytest.CaptureFixture[str]) -> None:
    """Some models send none instead of an empty object."""
    call = {"index": 0, "id": "call_1", "function": {"name": "get_time", "arguments": ""}}
    ended = run_on("tools_early", "tools/parallel_calls", sse(tool(call), finish("tool_calls")))

    assert ended == ""
    assert capsys.readouterr().out == "get_time runs\ncall_1: get_time of {}\n"
