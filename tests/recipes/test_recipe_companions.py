"""Recipes around a stream: history, moderation, other libraries, tests, the Responses API."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

import cassette
import pages
import pytest
import recorded
import requirements
from chunks import chunk, finish, text, tool
from hypothesis import given, settings, strategies as st
from sockets import saw_disconnects

from tensorloop_stream import ChatStream, StreamTruncatedError
from tensorloop_stream.replay import ReplayServer

ROOT = Path(__file__).parents[2]
HAIKU = recorded.text("chat/haiku")
Run = Callable[..., dict[str, Any]]
Ran = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def cassettes() -> Iterator[ReplayServer]:
    with ReplayServer([cassette.FOLDER]) as server:
        yield server


@pytest.fixture
def run(cassettes: ReplayServer, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that runs a recipe unedited and returns its names; a last sentence is under `exit`."""

    def running(recipe: str, server: ReplayServer = cassettes) -> dict[str, Any]:
        monkeypatch.setenv("TENSORLOOP_BASE_URL", server.base_url)
        monkeypatch.setenv("TENSORLOOP_KEY", "tl_none")
        try:
            return pages.run_recipe(recipe)
        except SystemExit as stop:
            return {"exit": stop.code}

    return running


@functools.cache
def names_of(recipe: str) -> dict[str, Any]:
    """Return the names of a recipe that ran to its end once."""
    with ReplayServer([cassette.FOLDER]) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORLOOP_BASE_URL", server.base_url)
        patch.setenv("TENSORLOOP_KEY", "tl_none")
        return pages.run_recipe(recipe, "<run_path>")


@pytest.mark.parametrize("recipe", ["conversation", "moderate", "langchain_or_litellm", "responses_stream"])
def test_a_recipe_without_a_key_names_the_remedies(
    recipe: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One sentence names the variable and the replay command; a text as the exit code means status 1."""
    if recipe == "langchain_or_litellm":
        requirements.module("langchain_openai", "langchain")
    for name in ("TENSORLOOP_KEY", "TENSORLOOP_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(
        SystemExit, match=r"^\n?No Tensorloop key: set TENSORLOOP_KEY [^\n]+ -m tensorloop_stream\.replay"
    ):
        pages.run_recipe(recipe)


# conversation


def recorded_answer(number: int) -> str:
    """Return the text of one of the two recorded answers."""
    body = recorded.interactions("conversations/system_message")[number]["response"]["body"]["string"]
    lines = [json.loads(line[6:]) for line in body.split("\n") if line.startswith("data: {")]
    return "".join(choice["delta"].get("content") or "" for line in lines for choice in line["choices"])


def test_a_conversation_sends_the_turns_that_fit(
    run: Run, cassettes: ReplayServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A long old turn stays in the history; the system message and the last turns are sent."""
    before = len(cassettes.requests)
    history = run("conversation")["history"]
    sent = [request.body["messages"] for request in cassettes.requests[before:]]

    assert capsys.readouterr().out == f"{recorded_answer(0)}\n{recorded_answer(1)}\n"
    assert [[message["role"] for message in messages] for messages in sent] == [
        ["system", "user"],
        ["system", "user", "assistant", "user"],
    ]
    assert [message["role"] for message in history] == ["system", *["user", "assistant"] * 3]
    assert sent[1] == [history[0], *history[3:6]]


def test_a_truncated_answer_is_marked_in_the_history(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The history keeps the shown text with a mark, and the program continues."""
    with ReplayServer(cassette.FOLDER / "conversations/system_message.yaml", cut_after=7) as server:
        left = run("conversation", server)
        messages = server.requests[-1].body["messages"]

    assert capsys.readouterr().out.startswith(
        "A cache is a device or\n(connection cut after 7 chunks and 22 characters"
    )
    assert messages[2] == {"role": "assistant", "content": "A cache is a device or [cut off]"}
    # No answer to this request is recorded.
    assert left["exit"].startswith("Error code: 404")


CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "now", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([text("Hello"), finish()], {"content": "Hello"}),
        ([text("Hel"), finish("length")], {"content": "Hel [cut off]"}),
        ([text("Hel"), finish("content_filter")], {"content": "Hel [cut off]"}),
        ([tool(CALL), finish("tool_calls")], {"tool_calls": [{name: CALL[name] for name in CALL if name != "index"}]}),
        ([text("Wait."), tool(CALL)], {"content": "Wait. [cut off]"}),
    ],
)
def test_the_history_keeps_whole_answers_and_the_text_of_truncated_ones(
    chunks: list[Any], expected: dict[str, Any]
) -> None:
    """A whole answer keeps its calls; a truncated one loses them."""
    stream = ChatStream(chunks, require_finish=False).until_done()
    remembered = names_of("conversation")["message_to_keep"](stream)

    assert {name: value for name, value in remembered.items() if value is not None} == {"role": "assistant", **expected}


@pytest.mark.parametrize("chunks", [[], [text(""), finish("length")], [tool(CALL)]])
def test_the_history_keeps_nothing_of_an_answer_without_text(chunks: list[Any]) -> None:
    """The user read nothing, and a model would take an empty message for its own."""
    stream = ChatStream(chunks, require_finish=False).until_done()

    assert names_of("conversation")["message_to_keep"](stream) is None


def test_the_history_drops_a_question_without_an_answer(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The next question is sent as the first."""
    with ReplayServer(cassette.FOLDER / "conversations/system_message.yaml", cut_after=0, fails=1) as server:
        run("conversation", server)
        messages = server.requests[-1].body["messages"]

    assert "connection cut after 0 chunks" in capsys.readouterr().out
    assert [message["role"] for message in messages] == ["system", "user"]


def turn(size: int, calls: int) -> list[dict[str, Any]]:
    """Return a turn: a question, calls with their results, an answer."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "?" * size}]
    for number in range(calls):
        messages += [
            {"role": "assistant", "tool_calls": [{"id": f"call_{number}"}]},
            {"role": "tool", "tool_call_id": f"call_{number}", "content": "!" * size},
        ]
    return [*messages, {"role": "assistant", "content": "." * size}]


@settings(deadline=None)
@given(st.lists(st.builds(turn, st.integers(0, 300), st.integers(0, 3)), min_size=1, max_size=6), st.integers(0, 3000))
def test_trimming_keeps_whole_turns(turns: list[list[dict[str, Any]]], budget: int) -> None:
    """The system message and as many last turns as fit are kept, but at least one."""
    system = {"role": "system", "content": "Be brief."}
    kept = [[system, *itertools.chain(*turns[at:])] for at in range(len(turns))]
    trimmed = names_of("conversation")["trim_history"](kept[0], budget)

    assert trimmed in kept
    assert len(f"{trimmed}") <= budget or trimmed == kept[-1]
    assert all(len(f"{longer}") > budget for longer in kept[: kept.index(trimmed)])


# moderate


PHRASE = "a gift of time"
MARK = "[the rest is not shown]"


def test_a_failed_check_ends_the_answer(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Checked text is shown, no part of the rest is, and the gateway sees the disconnect."""
    with ReplayServer(cassette.FOLDER / "chat/haiku.yaml", stall_after=30) as server:
        run("moderate", server)
        left = saw_disconnects(server)
    shown = capsys.readouterr().out.removesuffix(f"{MARK}\n")

    assert shown == HAIKU[: len(shown)]
    assert 0 < len(shown) <= HAIKU.casefold().index(PHRASE)
    assert left


TEXTS = st.lists(st.sampled_from([*PHRASE, PHRASE, PHRASE[:9], PHRASE[9:], "A Gift", "\n", "x" * 30, "é"]), max_size=60)


def shown(texts: list[str], *, broken: bool = False) -> str:
    """Return the shown part of an answer of these texts, with or without its end."""
    show = names_of("moderate")["show"]
    stream = ChatStream([*map(text, texts), *([] if broken else [finish()])])
    with redirect_stdout(StringIO()) as out, suppress(StreamTruncatedError):
        show(stream)
    return out.getvalue().removesuffix("\n")


@settings(deadline=None)
@given(TEXTS, st.booleans())
def test_nothing_of_a_phrase_is_shown(texts: list[str], broken: bool) -> None:
    """A phrase split in any way is hidden; text without it is shown entirely, also if its stream breaks."""
    whole, seen = "".join(texts), shown(texts, broken=broken)
    at = whole.casefold().find(PHRASE)

    if at == -1:
        assert seen == whole
    else:
        assert seen.endswith(MARK)
        assert whole[:at].startswith(seen.removesuffix(MARK))


def test_a_broken_answer_is_an_error(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The check hides neither the error of the stream nor the checked text."""
    with ReplayServer(cassette.FOLDER / "chat/haiku.yaml", end_after=9) as server:
        left = run("moderate", server)

    assert left["exit"].startswith("stream ended after 9 chunks")
    assert capsys.readouterr().out == "A moonlit meadow, a memory of\n"


def test_unchecked_text_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check may raise, and the text that it did not see stays hidden."""
    show = names_of("moderate")["show"]
    monkeypatch.setitem(show.__globals__, "passes", {"Hello, ": True}.__getitem__)
    with redirect_stdout(StringIO()) as out, pytest.raises(KeyError):
        show(ChatStream([text("Hello, "), text("you fool"), finish()]))

    assert out.getvalue() == "Hello, \n"


# langchain_or_litellm


@pytest.fixture
def langchain() -> None:
    requirements.module("langchain_openai", "langchain")


@pytest.mark.usefixtures("langchain")
def test_langchain_reads_our_stream(run: Run, cassettes: ReplayServer, capsys: pytest.CaptureFixture[str]) -> None:
    """LangChain sends the documented request with its own settings, and receives the haiku."""
    run("langchain_or_litellm")

    assert capsys.readouterr().out.startswith(f"langchain_openai:\n{HAIKU}\n")
    assert recorded.request("chat/haiku") in [request.body for request in cassettes.requests]


@pytest.mark.usefixtures("langchain")
@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"end_after": 7}, "stream ended after 7 chunks and 19 characters of text with no finish_reason and no [DONE]"),
        ({"cut_after": 7}, "connection cut after 7 chunks and 19 characters of text"),
        ({"error_after": 7}, "litellm.APIConnectionError: APIConnectionError: OpenAIException - The server had an"),
    ],
)
def test_langchain_reports_a_broken_stream(faults: Any, message: str, run: Run) -> None:
    """LangChain's own client ends silently after a clean early end."""
    with ReplayServer(cassette.FOLDER / "chat/haiku.yaml", **faults) as server:
        assert run("langchain_or_litellm", server)["exit"].startswith(message)


# Not required even if everything else is: not every registry has its pinned dependencies.
@pytest.mark.skipif(importlib.util.find_spec("litellm") is None, reason="needs litellm>=1.108")
@pytest.mark.parametrize("faults", [{}, {"end_after": 7}])
def test_litellm_yields_our_chunks(faults: Any) -> None:
    """The test runs in a process, because the import takes seconds; a stream that only ends is an error."""
    with ReplayServer(cassette.FOLDER / "chat/haiku.yaml", **faults) as server:
        environment = {"TENSORLOOP_BASE_URL": server.base_url, "TENSORLOOP_KEY": "tl_none"}
        ran = subprocess.run(
            [sys.executable, ROOT / "recipes/langchain_or_litellm.py"],
            env={**os.environ, **environment, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
            capture_output=True,
            text=True,
            check=False,
        )

    if faults:
        assert ran.returncode == 1
        assert "Traceback" not in ran.stderr
    else:
        assert ran.stdout.endswith(f"litellm:\n{HAIKU}\n")


def test_chunks_of_another_library_are_read_unchanged() -> None:
    """LiteLLM's chunks have every field, most of them null, and additional ones."""
    more = {"provider_specific_fields": None, "citations": None, "moderation": None, "service_tier": None}
    delta: dict[str, Any] = dict.fromkeys(("refusal", "role", "content", "function_call", "tool_calls", "audio"))
    deltas = [{"role": "assistant"}, {"content": "Hel"}, {"content": "lo"}]
    chunks = [chunk(delta | one, logprobs=None) | more for one in deltas]
    stream = ChatStream([*chunks, chunk(delta, finish="stop") | more])

    assert stream.get_final_text() == "Hello"
    assert stream.completion.choices[0].finish_reason == "stop"


# pytest_your_app


def run_the_tests_of_the_app() -> Ran:
    return subprocess.run(
        [sys.executable, "recipes/pytest_your_app.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )


def run_the_tests_of_broken_apps(folder: Path) -> Ran:
    """Test apps that hide a truncated answer, that change the request, and that send another request silently."""
    (folder / "recipes").mkdir()
    shutil.copytree(cassette.FOLDER / "chat", folder / "cassettes/chat")
    source = (ROOT / "recipes/pytest_your_app.py").read_text("utf-8")
    (folder / "recipes/silent.py").write_text(source.replace('f"{error.text} ..."', "error.text"), "utf-8")
    (folder / "recipes/warmer.py").write_text(source.replace("stream=True", "stream=True, temperature=0.3"), "utf-8")
    also = "try:\n        client.models.list()\n    except Exception:\n        pass\n    answer = "
    (folder / "recipes/curious.py").write_text(source.replace("answer = ", also, 1), "utf-8")
    apps = [f"recipes/{app}.py" for app in ("silent", "warmer", "curious")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *apps]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module", autouse=True)
def tested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Future[Ran], Future[Ran]]]:
    """The results of both test runs, which run beside other tests."""
    with ThreadPoolExecutor(1) as pool:
        yield (
            pool.submit(run_the_tests_of_the_app),
            pool.submit(run_the_tests_of_broken_apps, tmp_path_factory.mktemp("apps")),
        )


def test_the_tests_of_the_app_pass(tested: tuple[Future[Ran], Future[Ran]]) -> None:
    """The command is that of the recipe's first line."""
    ran = tested[0].result()

    assert re.search(r"\b4 passed\b", ran.stdout), ran.stdout
    assert ran.returncode == 0


def test_the_tests_of_broken_apps_fail(tested: tuple[Future[Ran], Future[Ran]]) -> None:
    """The apps hide a truncated answer, change the request, or send another request silently."""
    ran = tested[1].result()

    assert re.findall(r"^FAILED recipes/(\S+)", ran.stdout, re.MULTILINE) == [
        "silent.py::test_with_a_server[7-meadow,",
        "silent.py::test_with_a_server[0-",
        "warmer.py::test_with_a_server[None-a",
        "warmer.py::test_with_a_server[7-meadow,",
        "warmer.py::test_with_a_server[0-",
        "warmer.py::test_with_vcrpy",
        "curious.py::test_with_a_server[None-a",
        "curious.py::test_with_a_server[7-meadow,",
        "curious.py::test_with_a_server[0-",
    ]


# responses_*


BOOK_JSON = '{"title":"The Shelf Nearby","author":"A. Copy","pages":124,"chapters":["Near","Far"]}'


@pytest.mark.parametrize(
    ("recipe", "printed"),
    [
        ("stream", f"{HAIKU}\n--- final ({len(HAIKU)} chars) ---\n"),
        (
            "tool_loop",
            'get_weather {"city":"Zürich"}\nget_weather {"city":"Tokyo"}\nYes, in both: 12 °C and rain.\n',
        ),
        (
            "structured_output",
            f"{BOOK_JSON}\nBook(title='The Shelf Nearby', author='A. Copy', pages=124, chapters=['Near', 'Far'])\n",
        ),
        ("conversation", "A cache keeps copies near their reader.\nIt is the toy box beside your bed.\n"),
    ],
)
def test_a_response_is_printed(recipe: str, printed: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The answers are those that LiteLLM gave to the requests of the recipes."""
    run(f"responses_{recipe}")

    assert capsys.readouterr().out == printed


def test_a_background_response_is_taken_up_again(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The text that was missed comes with the rest, or with the whole response."""
    run("responses_background")
    begun, *rest = capsys.readouterr().out.splitlines()

    assert re.fullmatch(r"begun: resp_.{8}\.\.\., 4 events seen, \d+ chars", begun)
    assert rest == ["A cache keeps copies near their reader.", "--- completed ---"]


@pytest.mark.parametrize("recipe", ["stream", "structured_output", "conversation", "background", "tool_loop"])
@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"end_after": 6}, "stream ended after"),
        ({"cut_after": 6}, "connection cut after"),
        ({"status": 429}, "Error code: 429"),
    ],
)
def test_a_broken_response_is_an_error(recipe: str, faults: Any, message: str, run: Run) -> None:
    """The SDK takes the first of these for a whole response."""
    if recipe == "background" and "status" not in faults:
        faults = dict.fromkeys(faults, 3)
    with ReplayServer(cassette.FOLDER, retry_after=0.01 if "status" in faults else None, **faults) as server:
        assert str(run(f"responses_{recipe}", server)["exit"]).lstrip("\n").startswith(message)
