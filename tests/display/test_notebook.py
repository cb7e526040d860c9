"""Displaying a stream in a notebook: content, update rate, endings, kernels and the recipe."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import anyio
import events
import pytest
import requirements
from chunks import ENVELOPE, HELLO, chunk, finish, sse, text, tool, usage
from clients import CHAT, Body, async_client, sync_client

from tensorloop_stream import AsyncChatStream, AsyncResponseStream, Callbacks, ChatStream, StreamTruncatedError
from tensorloop_stream._display.answer_view import AnswerView
from tensorloop_stream.notebook import _ticking, adisplay_side_by_side, adisplay_stream, display_stream

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "recipes/notebook.ipynb"


def answer(*chunks: Any, **settings: Any) -> AnswerView:
    """Return the view of a stream that was read to its end."""
    stream = ChatStream(list(chunks), require_finish=False).until_done()
    return AnswerView(stream, **{"min_interval": 0.1, "footer": False, "trusted": False, **settings})


def shown(*chunks: Any, **settings: Any) -> str:
    return answer(*chunks, **settings).last()[0]


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The updates of a notebook's cell, in order."""
    updates: list[tuple[str, str]] = []
    monkeypatch.setattr("tensorloop_stream.notebook._front_end", lambda: lambda *both: updates.append(both))
    # On a fast machine the next chunk would arrive before an update of five characters is due.
    monkeypatch.setattr("tensorloop_stream._display.answer_view._CHARACTERS_PER_SECOND", float("inf"))
    return updates


# Content


def test_text_is_shown_unchanged() -> None:
    """A plain answer gets no additions."""
    assert shown(*HELLO) == "Hello"


def test_reasoning_is_folded_above_the_answer() -> None:
    """The reasoning is escaped, and cannot end its own block."""
    thoughts = chunk({"reasoning_content": "1. *Hm*\n</details>\n\n```\n"})

    assert shown(thoughts, text("Yes"), finish()) == (
        "<details><summary>Reasoning</summary>\n\n"
        "1&#46; &#42;Hm&#42;<br>&#60;/details&#62;\n\n&#96;&#96;&#96;\n\n</details>\n\nYes"
    )


def test_reasoning_alone_is_open() -> None:
    """The block is unfolded until the answer begins."""
    assert shown(chunk({"reasoning_content": "Hm"})).startswith("<details open>")


def test_tool_calls_are_blocks() -> None:
    """Each block has the name and the arguments, which are indented when complete."""
    whole = tool({"index": 0, "id": "a", "function": {"name": "get_weather", "arguments": '{"city":"Zürich"}'}})
    partial = tool({"index": 1, "id": "b", "function": {"name": "f", "arguments": '{"a'}})

    assert shown(whole, partial) == (
        "**Tool call** <code>get&#95;weather</code>\n\n"
        '```json\n{\n  "city": "Zürich"\n}\n```\n\n**Tool call** <code>f</code>\n\n```json\n{"a\n```'
    )


def test_custom_tool_calls_are_blocks() -> None:
    """A custom call has an input, and its name may be hostile."""
    custom = tool({"index": 0, "id": "a", "type": "custom", "custom": {"name": "<b>", "input": "```\n<b>"}})

    assert shown(custom).startswith("**Tool call** <code>&#60;b&#62;</code>\n\n<pre><code>&#96;&#96;&#96;\n&#60;b&#62;")


def test_a_refusal_is_shown() -> None:
    """The refusal takes the place of an answer."""
    assert shown(chunk({"refusal": "No."}), finish()) == "No."


def test_untrusted_text_is_harmless() -> None:
    """Images become links and HTML becomes text, unless the model is trusted."""
    hostile = text("![a](u) <img src=u>")

    assert shown(hostile, finish()) == "[a](u) &lt;img src=u>"
    assert shown(hostile, finish(), trusted=True) == "![a](u) <img src=u>"


def test_a_note_stands_outside_an_open_code_block() -> None:
    """The block is closed first, for trusted and untrusted models."""
    for trusted in (False, True):
        stays, _ = answer(text("```python\na = 1"), trusted=trusted).last(KeyboardInterrupt())

        assert stays == "```python\na = 1\n```\n\n> ⚠️ Interrupted: the answer may be incomplete."


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (KeyboardInterrupt(), "Interrupted: the answer may be incomplete."),
        (anyio.BrokenResourceError("<b>"), "Failed: the answer may be incomplete. BrokenResourceError: <b>"),
    ],
)
def test_a_note_names_the_error(error: BaseException, note: str) -> None:
    """The note stands below the partial answer, as safe Markdown and as plain text."""
    markdown, plain = answer(text("Hel")).last(error)

    assert markdown.startswith("Hel\n\n> ⚠️ ")
    assert "<b>" not in markdown
    assert plain == f"Hel\n\n{note}"


def test_a_note_without_an_answer_says_so() -> None:
    """The answer may be a role alone or nothing at all."""
    assert answer().last(KeyboardInterrupt())[1] == "Interrupted before any output."
    assert answer(HELLO[0]).last(ConnectionError("no"))[1] == "Failed before any output. ConnectionError: no"


def test_a_truncated_or_empty_answer_has_a_note() -> None:
    """No exception reports such an answer."""
    assert answer(text("a"), finish("length")).last()[1].endswith("limit of tokens (finish reason: length).")
    assert answer(text("a"), finish("content_filter")).last()[1].endswith("(finish reason: content_filter).")
    assert answer(finish()).last()[1] == "The answer is empty."
    assert answer(text("a"), text("b", index=1)).last()[1].startswith("a\n\nThis is one of 2 choices")


def test_the_footer_has_the_figures() -> None:
    """The footer has tokens if the usage is known, else chunks, and the times."""
    with_usage = shown(*HELLO, usage(), footer=True).rpartition("\n")[2]
    without = shown(*HELLO, footer=True)

    assert with_usage.startswith("<small>gpt-4o-mini · 2 tokens · first token after 0.00 s · ")
    assert with_usage.endswith(" s in all</small>")
    assert " · 4 chunks · " in without


# Update rate


def test_updates_are_throttled_by_time() -> None:
    """The first update is immediate, and a thousand chunks in a second cause ten updates."""
    now = [0.0]
    texts: list[Any] = [text("word ") for _ in range(1000)]
    stream = ChatStream(texts, require_finish=False)
    seen = AnswerView(stream, min_interval=0.1, footer=False, trusted=False, clock=lambda: now[0])
    updates = []
    for _ in stream:
        if (update := seen.update()) is not None:
            updates.append(update)
        now[0] += 0.001

    assert updates[0] == "word "
    assert len(updates) == 10


def test_long_answers_are_updated_less_often() -> None:
    """The interval is a second per 50,000 characters, because each update renders the whole answer."""
    now = [0.0]
    stream = ChatStream([text("a" * 100_000), text("b")], require_finish=False)
    seen = AnswerView(stream, min_interval=0.1, footer=False, trusted=False, clock=lambda: now[0])
    next(stream)
    first = seen.update()
    next(stream)
    now[0] = 1.99
    early = seen.update()
    now[0] = 2.01

    assert first == "a" * 100_000
    assert early is None
    assert seen.update() == "a" * 100_000 + "b"


def test_nothing_is_updated_before_the_first_token() -> None:
    """A chunk with the role alone causes no update."""
    stream = ChatStream(list(HELLO))
    next(stream)

    assert AnswerView(stream, min_interval=0, footer=False, trusted=False).update() is None


# The two loops


def test_a_stream_is_shown_and_returned(cell: list[tuple[str, str]]) -> None:
    """The cell shows a placeholder, the growing text, and its end as Markdown and plain text."""
    completion = display_stream(list(HELLO), min_interval=0, footer=False)

    assert cell == [("…", ""), ("Hel", ""), ("Hello", ""), ("Hello", ""), ("Hello", "Hello")]
    assert completion.choices[0].message.content == "Hello"


async def test_an_async_stream_is_shown_and_returned(cell: list[tuple[str, str]]) -> None:
    """The updates and the completion are those of the synchronous form."""
    completion = await adisplay_stream(list(HELLO), min_interval=0, footer=False)

    assert cell == [("…", ""), ("Hel", ""), ("Hello", ""), ("Hello", ""), ("Hello", "Hello")]
    assert completion.choices[0].message.content == "Hello"


@pytest.mark.parametrize("trusted", [False, True])
def test_the_lines_of_a_poem_stay_lines(trusted: bool) -> None:
    """Markdown joins lines; a hard break ends each that another line of prose follows, and none of code."""
    poem = "A **cache**,\na memory\n\n```\na\nb\n```\nthe end\n- one\n- two"

    assert answer(text(poem), trusted=trusted).last()[0] == (
        "A **cache**,  \na memory\n\n```\na\nb\n```\nthe end  \n- one  \n- two"
    )


async def test_answers_side_by_side_are_columns_of_one_output(cell: list[tuple[str, str]]) -> None:
    """Each grows in its column; an open code block of one does not swallow the next."""
    code = [text("```\na"), finish()]
    completions = await adisplay_side_by_side(list(HELLO), code, min_interval=0, footer=False)
    markdown, plain = cell[-1]

    assert [completion.choices[0].message.content for completion in completions] == ["Hello", "```\na"]
    assert plain == "Hello\n\n```\na"
    assert re.fullmatch(
        r"<table [^>]*><tr><td [^>]*>\n\nHello\n\n</td><td [^>]*>\n\n```\na\n```\n\n</td></tr></table>", markdown
    )
    assert cell[0][0].count("…") == 2


async def test_one_of_two_answers_may_break(cell: list[tuple[str, str]]) -> None:
    """The other is read to its end, and then the error is raised."""
    with pytest.raises(StreamTruncatedError):
        await adisplay_side_by_side(HELLO[:2], list(HELLO), min_interval=0, footer=False)

    assert "Failed: the answer may be incomplete" in cell[-1][0]
    assert cell[-1][1].endswith("Hello")


def test_the_traceback_of_a_cut_is_short() -> None:
    """IPython shows the caller's frames alone, and the sentence is the last line."""
    with pytest.raises(StreamTruncatedError) as caught:
        ChatStream(HELLO[:2]).until_done()
    lines = caught.value._render_traceback_()

    assert lines[-1] == f"StreamTruncatedError: {caught.value}"
    assert sum(line.count("\n") + 1 for line in lines) < 20
    assert "test_notebook.py" in "".join(lines)
    assert "tensorloop_stream/_stream" not in "".join(lines)


def test_a_stream_of_the_caller_keeps_its_timing(cell: list[tuple[str, str]]) -> None:
    """Text that the caller read before is shown, too."""
    stream = ChatStream(list(HELLO))
    next(stream.text_stream)
    display_stream(stream, footer=False)

    assert cell[-1] == ("Hello", "Hello")
    assert len(stream.timing.chunk_times) == 4


def test_a_broken_stream_stays_visible(cell: list[tuple[str, str]]) -> None:
    """The partial answer has a note, and the caller receives the error."""
    with pytest.raises(StreamTruncatedError):
        display_stream(HELLO[:2], footer=False)

    assert cell[-1][1] == (
        "Hel\n\nFailed: the answer may be incomplete. StreamTruncatedError: stream ended after 2 chunks and "
        "3 characters of text with no finish_reason and no [DONE]"
    )


@pytest.mark.parametrize(("kept", "requests"), [(0, 2), (1, 2), (2, 1)])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_stream_restarts_until_something_of_it_is_shown(
    cell: list[tuple[str, str]], kind: str, kept: int, requests: int
) -> None:
    """A role is nothing to show, and a text in the cell is not taken back."""
    opened: list[Any] = []

    def source() -> Any:
        opened.append(HELLO[:kept] if not opened else HELLO)
        return list(opened[-1])

    async def display() -> Any:
        return await adisplay_stream(AsyncChatStream(source, restarts=1), min_interval=0, footer=False)

    def run() -> Any:
        if kind == "async":
            return asyncio.run(display())
        return display_stream(ChatStream(source, restarts=1), min_interval=0, footer=False)

    with mock.patch("tensorloop_stream._stream.state.backoff", return_value=0.0), suppress(StreamTruncatedError):
        run()

    assert len(opened) == requests
    assert cell[-1][1].startswith("Hello" if requests == 2 else "Hel\n")


def test_an_interrupted_stream_stays_visible_and_is_closed(cell: list[tuple[str, str]]) -> None:
    """The stop button closes the source before the note is shown."""
    closed = []

    def source() -> Iterator[Any]:
        try:
            yield from HELLO[:2]
            raise KeyboardInterrupt
        finally:
            closed.append(len(cell))

    with pytest.raises(KeyboardInterrupt):
        display_stream(source(), footer=False)

    assert cell[-1][1] == "Hel\n\nInterrupted: the answer may be incomplete."
    assert closed == [len(cell) - 1]


async def test_a_cancelled_stream_stays_visible_and_is_closed(cell: list[tuple[str, str]]) -> None:
    """The stop button cancels asynchronous code."""
    closed = []

    async def source() -> AsyncIterator[Any]:
        try:
            for one in HELLO[:2]:
                yield one
            await anyio.sleep_forever()
        finally:
            closed.append(True)

    stream = AsyncChatStream(source())
    with anyio.move_on_after(0.05):
        await adisplay_stream(stream, footer=False)

    assert cell[-1][1] == "Hel\n\nInterrupted: the answer may be incomplete."
    assert closed


async def test_a_pause_shows_the_text_before_it(cell: list[tuple[str, str]]) -> None:
    """Text that was too early for an update is shown at the next due time, and only once."""
    in_the_pause = []

    async def source() -> AsyncIterator[Any]:
        for one in HELLO[:3]:
            yield one
        with anyio.move_on_after(10):
            while cell[-1] != ("Hello", ""):  # noqa: ASYNC110 - a list has no event
                await anyio.sleep(0.01)
        await anyio.sleep(0.3)
        in_the_pause.extend(cell)
        yield HELLO[3]

    await adisplay_stream(source(), footer=False)

    assert in_the_pause == [("…", ""), ("Hel", ""), ("Hello", "")]
    assert cell[-1] == ("Hello", "Hello")


async def test_the_timer_ends_with_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tick follows the end of the block."""
    monkeypatch.setattr("tensorloop_stream.notebook._TICK", 0.001)
    ticks: list[bool] = []
    with anyio.move_on_after(0.05), _ticking(lambda: ticks.append(True)):
        await anyio.sleep_forever()
    before = len(ticks)
    await anyio.sleep(0.05)

    assert before > 1
    assert len(ticks) == before


def test_trio_needs_no_timer(cell: list[tuple[str, str]]) -> None:
    """Trio's event loop wakes up for signals."""
    anyio.run(adisplay_stream, list(HELLO), backend="trio")

    assert cell[-1][1] == "Hello"


def test_an_error_before_the_first_chunk_is_shown(cell: list[tuple[str, str]]) -> None:
    """The cell shows the reason above the traceback."""

    def opens() -> Any:
        raise ConnectionError("no way")

    with pytest.raises(ConnectionError):
        display_stream(opens, footer=False)

    assert cell[-1][1] == "Failed before any output. ConnectionError: no way"


async def test_a_stream_of_the_other_kind_is_refused(cell: list[tuple[str, str]]) -> None:
    """The error names the function to use, also if a function opens the stream."""
    sync = sync_client(Body([sse(*HELLO)])).chat.completions.create(**CHAT)

    with pytest.raises(TypeError, match=r"in a notebook, await adisplay_stream\(\.\.\.\)$"):
        display_stream(AsyncChatStream(list(HELLO)))  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"in a notebook, display_stream\(\.\.\.\)$"):
        await adisplay_stream(sync)
    with pytest.raises(TypeError):
        await adisplay_stream(lambda: sync)
    assert cell[-1][1].endswith("in a notebook, display_stream(...)")
    sync.close()


async def test_a_failed_opening_leaves_the_other_column(cell: list[tuple[str, str]]) -> None:
    """The reason stands in its own column."""

    async def opens() -> Any:
        raise ConnectionError("no way")

    with pytest.raises(ConnectionError):
        await adisplay_side_by_side(opens(), list(HELLO), min_interval=0, footer=False)

    assert cell[-1][1] == "Failed before any output. ConnectionError: no way\n\nHello"


@pytest.mark.parametrize("form", ["awaitable", "function", "function that opens one of ours"])
async def test_what_is_opened_decides_the_api(cell: list[tuple[str, str]], form: str) -> None:
    """The Responses API needs no class of its own, however the stream is opened."""
    client = async_client(Body([events.stream(*events.HELLO)]))

    async def create() -> Any:
        created = await client.responses.create(model="m", input="x", stream=True)
        return AsyncResponseStream(created) if form.endswith("ours") else created

    response = await adisplay_stream(create() if form == "awaitable" else create, footer=False)

    assert response.output_text == "Hello"
    assert cell[-1] == ("Hello", "Hello")


def test_a_function_may_open_a_response(cell: list[tuple[str, str]]) -> None:
    """Synchronous code has the same choice, and its timing begins with the request."""
    client = sync_client(Body([events.stream(*events.HELLO)]))
    response = display_stream(lambda: client.responses.create(model="m", input="x", stream=True), footer=False)

    assert response.output_text == "Hello"
    assert cell[-1] == ("Hello", "Hello")


def test_an_own_close_is_no_failure(cell: list[tuple[str, str]]) -> None:
    """A button of the page closes the stream: the cell says that the answer was stopped."""
    stream = ChatStream(list(HELLO), Callbacks(on_text=lambda _: stream.close()))
    with pytest.raises(StreamTruncatedError, match="closed early"):
        display_stream(stream, footer=False)

    assert cell[-1][1] == "Hel\n\nStopped: the answer may be incomplete."


@pytest.mark.parametrize("interval", ["x", -1, None, float("nan")])
async def test_an_invalid_interval_is_refused(cell: list[tuple[str, str]], interval: Any) -> None:
    """The error shows the value and the allowed range, before anything is read or shown."""
    chunks = iter(HELLO)
    message = f"^min_interval is {interval!r}: it must be a number of seconds, 0 or more"

    with pytest.raises(ValueError, match=message):
        display_stream(chunks, min_interval=interval)
    with pytest.raises(ValueError, match=message):
        await adisplay_stream(chunks, min_interval=interval)
    assert cell == []
    assert list(chunks) == list(HELLO)


def test_display_stream_prints_outside_of_a_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    """A program for a notebook also runs in a terminal."""
    display_stream(list(HELLO))
    anyio.run(adisplay_stream, list(HELLO))

    assert capsys.readouterr().out == "Hello\nHello\n"


def test_display_stream_replaces_the_output_of_a_marimo_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """marimo's protocol is an output that is replaced."""
    outputs: list[str] = []
    marimo = SimpleNamespace(
        running_in_notebook=lambda: True, md="md:{}".format, output=SimpleNamespace(replace=outputs.append)
    )
    monkeypatch.setitem(sys.modules, "marimo", marimo)
    display_stream(list(HELLO), footer=False)

    assert (outputs[0], outputs[-1]) == ("md:…", "md:Hello")


def test_ipython_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The import takes half a second, which programs outside of a notebook do not need."""
    imported: list[str] = []
    for name in [name for name in sys.modules if name.partition(".")[0] in {"IPython", "tensorloop_stream"}]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(
        "sys.meta_path", [SimpleNamespace(find_spec=lambda name, *_: imported.append(name)), *sys.meta_path]
    )
    importlib.import_module("tensorloop_stream.notebook")

    assert "tensorloop_stream.notebook" in imported
    assert "IPython" not in imported


# In a kernel

Run = Callable[..., list[dict[str, Any]]]
PRELUDE = f"""
import time
from tensorloop_stream import AsyncChatStream, ChatStream
from tensorloop_stream.notebook import _ticking, adisplay_stream, display_stream

def chunk(text, finish=None):
    return {{**{ENVELOPE!r}, "choices": [{{"index": 0, "delta": {{"content": text}}, "finish_reason": finish}}]}}
"""


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """A function that runs code in a kernel, may interrupt it after an output, and returns the messages."""
    for module in ("ipykernel", "jupyter_client"):
        requirements.module(module, "jupyter")
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", extra_arguments=["--log-level=ERROR"])

    def execute(code: str, *, interrupt_at: str = "") -> list[dict[str, Any]]:
        request = client.execute(code)
        messages: list[dict[str, Any]] = []
        is_pressed = False
        while True:
            message = client.get_iopub_msg(timeout=30)
            if message["parent_header"].get("msg_id") != request:
                continue
            messages.append(message)
            if interrupt_at and not is_pressed and interrupt_at in str(message["content"].get("data")):
                # The kernel is idle by then.
                time.sleep(0.5)
                manager.interrupt_kernel()
                is_pressed = True
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return messages

    execute(PRELUDE)
    yield execute
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def displayed(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the bundles that were displayed and updated, in order."""
    return [one["content"]["data"] for one in messages if one["msg_type"] in {"display_data", "update_display_data"}]


@pytest.mark.parametrize("pace", [0, 0.001], ids=["without pause", "1,000 per second"])
def test_four_thousand_chunks_take_few_messages(run: Run, pace: float) -> None:
    """The text is complete in under 100 updates and 3 MB; one update per chunk would take 40 MB."""
    messages = run(f"""
def source():
    for number in range(4000):
        time.sleep({pace})
        yield chunk(f"w{{number}} ")
    yield chunk("", "stop")

completion = display_stream(source())""")
    bundles = displayed(messages)

    assert bundles[-1]["text/plain"] == "".join(f"w{number} " for number in range(4000))
    assert bundles[-1]["text/markdown"].startswith(bundles[-1]["text/plain"])
    assert len(bundles) < 100
    assert len(json.dumps([message["content"] for message in messages])) < 3_000_000
    assert not [message for message in messages if message["msg_type"] in {"error", "stream", "execute_result"}]


@pytest.mark.parametrize("call", ["display_stream({})", "await adisplay_stream({})"])
def test_the_stop_button_ends_the_answer(run: Run, call: str) -> None:
    """Pressed during silence, it keeps the partial answer, closes the stream and shows the traceback."""
    kind = "" if call.startswith("display") else "async "
    messages = run(
        f"""
import anyio

closed = []

{kind}def source():
    try:
        yield chunk("Half an ")
        {"await anyio.sleep(60)" if kind else "time.sleep(60)"}
    finally:
        closed.append(True)

{call.format("source(), footer=False")}""",
        interrupt_at="Half an",
    )
    closed = run("print(closed)")

    assert displayed(messages)[-1]["text/plain"] == "Half an \n\nInterrupted: the answer may be incomplete."
    assert [one["content"]["ename"] for one in messages if one["msg_type"] == "error"] in (
        ["KeyboardInterrupt"],
        ["CancelledError"],
    )
    assert [one["content"]["text"] for one in closed if one["msg_type"] == "stream"] == ["[True]\n"]


def test_a_timing_is_shown_as_a_chart(run: Run) -> None:
    """The plain text is one line, instead of the times of thousands of chunks."""
    (result,) = [
        message["content"]["data"]
        for message in run("stream = ChatStream([chunk('a')] * 5000, require_finish=False).until_done()\nstream.timing")
        if message["msg_type"] == "execute_result"
    ]

    assert result["image/svg+xml"].startswith("<svg ")
    assert "5,000 chunks" in result["text/plain"]
    assert len(result["text/plain"]) < 200


# The recipe


def test_the_recipe_runs_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell runs against the replay server, and the outputs are saved."""
    for module in ("nbclient", "nbformat", "ipykernel"):
        requirements.module(module, "jupyter")
    import nbformat
    from nbclient import NotebookClient

    for name in ("TENSORLOOP_KEY", "TENSORLOOP_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    # As Any: its own functions are not typed.
    read: Any = nbformat.read
    notebook = read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook,
        timeout=60,
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
        extra_arguments=["--log-level=ERROR"],
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    saved = "\n".join(json.dumps(output, ensure_ascii=False) for output in outputs)

    assert "A moonlit meadow" in saved
    assert "<summary>Reasoning</summary>" in saved
    assert "🌟 A sunny day at the beach! 🌈" in saved
    assert "33 pieces" in saved
    assert "Zürich: 21 °C, sunny" in saved
    assert saved.count("<svg ") == 1
    assert not [output for output in outputs if output["output_type"] == "error"]


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        (None, "../cassettes: No such file or directory"),
        (NOTEBOOK.parent, 'a replay reads YAML, which needs PyYAML: pip install "tensorloop_stream[replay]"'),
    ],
    ids=["copied out of the clone", "without the extra"],
)
def test_the_recipe_names_its_requirements(
    folder: Path | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the remedies, and the reason why the replay server cannot start."""
    for name in ("TENSORLOOP_KEY", "TENSORLOOP_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder or tmp_path)
    monkeypatch.setitem(sys.modules, "yaml", None)
    first = next(cell for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if cell["cell_type"] == "code")
    clone = "a clone of the repository, where it plays recordings"
    message = f"No key: set TENSORLOOP_KEY, or open this notebook in {clone}. It cannot here: {reason}"

    with pytest.raises(RuntimeError, match=f"^{re.escape(message)}$"):
        exec("".join(first["source"]), {})


def test_the_recipe_has_its_outputs_and_nothing_of_a_machine() -> None:
    """A reader on a web page sees answers; paths, times of a run and settings of an editor stay out."""
    text = NOTEBOOK.read_text("utf-8")
    notebook = json.loads(text)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]

    assert all(cell["outputs"] for cell in code[1:])
    assert not [output for cell in code for output in cell["outputs"] if output["output_type"] == "error"]
    assert all(cell["metadata"] == {} for cell in notebook["cells"])
    assert notebook["metadata"].keys() <= {"kernelspec", "language_info"}
    assert not re.search(r"/(tmp|root|home|Users)/|127\.0\.0\.1", text)
