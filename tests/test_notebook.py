from __future__ import annotations

import importlib
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import needs
import pytest
from streams import ASK, ENVELOPE, HELLO, Body, chunk, finish, sse, sync_client, text, tool, usage

from tensorloop_stream import AsyncChatStream, ChatStream, StreamTruncatedError
from tensorloop_stream._display.answer_view import AnswerView
from tensorloop_stream.notebook import _ticking, adisplay_stream, display_stream

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "recipes/notebook.ipynb"


def answer(*chunks: Any, **settings: Any) -> AnswerView:
    """Return what is to be shown of a stream that was read to its end."""
    stream = ChatStream(list(chunks), require_finish=False).until_done()
    return AnswerView(stream, **{"min_interval": 0.1, "footer": False, "trusted": False, **settings})


def shown(*chunks: Any, **settings: Any) -> str:
    return answer(*chunks, **settings).last()[0]


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What a notebook's cell was told to show, one after the other."""
    updates: list[tuple[str, str]] = []
    monkeypatch.setattr("tensorloop_stream.notebook._front_end", lambda: lambda *both: updates.append(both))
    # A quick machine has the next chunk sooner than an update of five characters is due.
    monkeypatch.setattr("tensorloop_stream._display.answer_view._CHARACTERS_PER_SECOND", float("inf"))
    return updates


# What is shown


def test_text_is_shown_as_it_is() -> None:
    """Nothing is put around a plain answer."""
    assert shown(*HELLO) == "Hello"


def test_reasoning_is_folded_above_the_answer() -> None:
    """As plain text, of which nothing can reach the answer."""
    thoughts = chunk({"reasoning_content": "1. *Hm*\n</details>\n\n```\n"})

    assert shown(thoughts, text("Yes"), finish()) == (
        "<details><summary>Reasoning</summary>\n\n"
        "1&#46; &#42;Hm&#42;<br>&#60;/details&#62;\n\n&#96;&#96;&#96;\n\n</details>\n\nYes"
    )


def test_reasoning_alone_is_open() -> None:
    """As long as a model thinks, there is nothing else to see."""
    assert shown(chunk({"reasoning_content": "Hm"})).startswith("<details open>")


def test_tool_calls_are_blocks() -> None:
    """The name and the arguments, laid out when they are whole."""
    whole = tool({"index": 0, "id": "a", "function": {"name": "get_weather", "arguments": '{"city":"Zürich"}'}})
    partial = tool({"index": 1, "id": "b", "function": {"name": "f", "arguments": '{"a'}})

    assert shown(whole, partial) == (
        "**Tool call** <code>get&#95;weather</code>\n\n"
        '```json\n{\n  "city": "Zürich"\n}\n```\n\n**Tool call** <code>f</code>\n\n```json\n{"a\n```'
    )


def test_tool_calls_of_other_kinds() -> None:
    """Custom calls have an input, and a name may be missing or hostile."""
    custom = tool({"index": 0, "id": "a", "type": "custom", "custom": {"name": "<b>", "input": "```\n<b>"}})

    assert shown(custom).startswith("**Tool call** <code>&#60;b&#62;</code>\n\n<pre><code>&#96;&#96;&#96;\n&#60;b&#62;")


def test_a_refusal_is_shown() -> None:
    """It is the answer, where there is no other."""
    assert shown(chunk({"refusal": "No."}), finish()) == "No."


def test_untrusted_text_is_harmless() -> None:
    """Images are links and HTML is text, unless the model is trusted."""
    hostile = text("![a](u) <img src=u>")

    assert shown(hostile, finish()) == "[a](u) &lt;img src=u>"
    assert shown(hostile, finish(), trusted=True) == "![a](u) <img src=u>"


def test_what_follows_open_code_is_no_code() -> None:
    """The note stands outside of a block that broke off, trusted or not."""
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
def test_a_note_says_what_happened(error: BaseException, note: str) -> None:
    """Under what had come, as Markdown that is safe and as plain text."""
    markdown, plain = answer(text("Hel")).last(error)

    assert markdown.startswith("Hel\n\n> ⚠️ ")
    assert "<b>" not in markdown
    assert plain == f"Hel\n\n{note}"


def test_a_note_without_an_answer_says_so() -> None:
    """The answer may be a role alone or nothing at all."""
    assert answer().last(KeyboardInterrupt())[1] == "Interrupted before any output."
    assert answer(HELLO[0]).last(ConnectionError("no"))[1] == "Failed before any output. ConnectionError: no"


def test_a_cut_or_empty_answer_says_so() -> None:
    """No exception tells of these, so the note does."""
    assert answer(text("a"), finish("length")).last()[1].endswith("limit of tokens (finish reason: length).")
    assert answer(text("a"), finish("content_filter")).last()[1].endswith("(finish reason: content_filter).")
    assert answer(finish()).last()[1] == "The answer is empty."
    assert answer(text("a"), text("b", index=1)).last()[1].startswith("a\n\nThis is one of 2 choices")


def test_the_footer_has_the_figures() -> None:
    """Tokens where the usage came, else chunks, and the times."""
    with_usage = shown(*HELLO, usage(), footer=True).rpartition("\n")[2]
    without = shown(*HELLO, footer=True)

    assert with_usage.startswith("<small>gpt-4o-mini · 2 tokens · first token after 0.00 s · ")
    assert with_usage.endswith(" s in all</small>")
    assert " · 4 chunks · " in without


# When


def test_updates_are_throttled_by_time() -> None:
    """At once at first, then every tenth of a second at most: a thousand chunks in a second are ten updates."""
    now = [0.0]
    pieces: list[Any] = [text("word ") for _ in range(1000)]
    stream = ChatStream(pieces, require_finish=False)
    seen = AnswerView(stream, min_interval=0.1, footer=False, trusted=False, clock=lambda: now[0])
    updates = []
    for _ in stream:
        if (update := seen.update()) is not None:
            updates.append(update)
        now[0] += 0.001

    assert updates[0] == "word "
    assert len(updates) == 10


def test_long_answers_are_updated_less_often() -> None:
    """A second per 50,000 characters: each update sends and renders all of it."""
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
    """A chunk with the role has nothing to show."""
    stream = ChatStream(list(HELLO))
    next(stream)

    assert AnswerView(stream, min_interval=0, footer=False, trusted=False).update() is None


# The two loops


def test_a_stream_is_shown_and_returned(cell: list[tuple[str, str]]) -> None:
    """A sign that something is to come, the text as it grows, and its end, as plain text too."""
    completion = display_stream(list(HELLO), min_interval=0, footer=False)

    assert cell == [("…", ""), ("Hel", ""), ("Hello", ""), ("Hello", ""), ("Hello", "Hello")]
    assert completion.choices[0].message.content == "Hello"


async def test_an_async_stream_is_shown_and_returned(cell: list[tuple[str, str]]) -> None:
    """The same with await."""
    completion = await adisplay_stream(list(HELLO), min_interval=0, footer=False)

    assert cell == [("…", ""), ("Hel", ""), ("Hello", ""), ("Hello", ""), ("Hello", "Hello")]
    assert completion.choices[0].message.content == "Hello"


def test_a_stream_of_ones_own_keeps_its_timing(cell: list[tuple[str, str]]) -> None:
    """What was read of it before is shown too."""
    stream = ChatStream(list(HELLO))
    next(stream.text_stream)
    display_stream(stream, footer=False)

    assert cell[-1] == ("Hello", "Hello")
    assert len(stream.timing.chunk_times) == 4


def test_a_broken_stream_stays_visible(cell: list[tuple[str, str]]) -> None:
    """The partial answer with a line that says so, and the error for the caller."""
    with pytest.raises(StreamTruncatedError):
        display_stream(HELLO[:2], footer=False)

    assert cell[-1][1] == (
        "Hel\n\nFailed: the answer may be incomplete. StreamTruncatedError: stream ended after 2 chunks and "
        "3 characters of text with no finish_reason and no [DONE]"
    )


def test_an_interrupted_stream_stays_visible_and_is_closed(cell: list[tuple[str, str]]) -> None:
    """The stop button: what had come, and the source is closed before it is shown."""
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
    """What the stop button is in asynchronous code."""
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


async def test_a_pause_shows_what_came_before_it(cell: list[tuple[str, str]]) -> None:
    """What came too early for an update is shown when it is due, once, and not with the next chunk."""
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
    """However that ends."""
    monkeypatch.setattr("tensorloop_stream.notebook._TICK", 0.001)
    ticks: list[bool] = []
    with anyio.move_on_after(0.05), _ticking(lambda: ticks.append(True)):
        await anyio.sleep_forever()
    before = len(ticks)
    await anyio.sleep(0.05)

    assert before > 1
    assert len(ticks) == before


def test_trio_needs_no_timer(cell: list[tuple[str, str]]) -> None:
    """Its loop wakes up for signals; the answer is shown all the same."""
    anyio.run(adisplay_stream, list(HELLO), backend="trio")

    assert cell[-1][1] == "Hello"


def test_an_error_before_the_first_chunk(cell: list[tuple[str, str]]) -> None:
    """A source that cannot be opened: the cell says why, above the traceback."""

    def opens() -> Any:
        raise ConnectionError("no way")

    with pytest.raises(ConnectionError):
        display_stream(opens, footer=False)

    assert cell[-1][1] == "Failed before any output. ConnectionError: no way"


async def test_a_stream_of_the_other_kind(cell: list[tuple[str, str]]) -> None:
    """The error names the function to use, also where a function opens the stream and the cell shows it."""
    sync = sync_client(Body([sse(*HELLO)])).chat.completions.create(**ASK)

    with pytest.raises(TypeError, match=r"in a notebook, await adisplay_stream\(\.\.\.\)$"):
        display_stream(AsyncChatStream(list(HELLO)))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"in a notebook, display_stream\(\.\.\.\)$"):
        await adisplay_stream(sync)
    with pytest.raises(TypeError):
        await adisplay_stream(lambda: sync)
    assert cell[-1][1].endswith("in a notebook, display_stream(...)")
    sync.close()


@pytest.mark.parametrize("interval", ["x", -1, None, float("nan")])
async def test_an_interval_that_makes_no_sense(cell: list[tuple[str, str]], interval: Any) -> None:
    """Refused before anything is read or shown, with its value and what it must be."""
    chunks = iter(HELLO)
    says = f"^min_interval is {interval!r}: it must be a number of seconds, 0 or more"

    with pytest.raises(ValueError, match=says):
        display_stream(chunks, min_interval=interval)
    with pytest.raises(ValueError, match=says):
        await adisplay_stream(chunks, min_interval=interval)
    assert cell == []
    assert list(chunks) == list(HELLO)


def test_outside_of_a_notebook_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """A program that shows its answers in a notebook runs in a terminal as well."""
    display_stream(list(HELLO))
    anyio.run(adisplay_stream, list(HELLO))

    assert capsys.readouterr().out == "Hello\nHello\n"


def test_in_marimo_it_is_the_output_of_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its protocol: an output that is replaced."""
    outputs: list[str] = []
    marimo = SimpleNamespace(
        running_in_notebook=lambda: True, md="md:{}".format, output=SimpleNamespace(replace=outputs.append)
    )
    monkeypatch.setitem(sys.modules, "marimo", marimo)
    display_stream(list(HELLO), footer=False)

    assert (outputs[0], outputs[-1]) == ("md:…", "md:Hello")


def test_ipython_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second that nobody needs outside of a notebook."""
    asked: list[str] = []
    for name in [name for name in sys.modules if name.partition(".")[0] in {"IPython", "tensorloop_stream"}]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(
        "sys.meta_path", [SimpleNamespace(find_spec=lambda name, *_: asked.append(name)), *sys.meta_path]
    )
    importlib.import_module("tensorloop_stream.notebook")

    assert "tensorloop_stream.notebook" in asked
    assert "IPython" not in asked


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
    """A kernel; run code in it, interrupt it soon after the code shows something, and return the messages."""
    for module in ("ipykernel", "jupyter_client"):
        needs.module(module, "jupyter")
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", extra_arguments=["--log-level=ERROR"])

    def execute(code: str, *, interrupt_at: str = "") -> list[dict[str, Any]]:
        asked = client.execute(code)
        messages: list[dict[str, Any]] = []
        is_pressed = False
        while True:
            message = client.get_iopub_msg(timeout=30)
            if message["parent_header"].get("msg_id") != asked:
                continue
            messages.append(message)
            if interrupt_at and not is_pressed and interrupt_at in str(message["content"].get("data")):
                # By then the kernel has nothing to do but wait.
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


@pytest.mark.parametrize("pace", [0, 0.001], ids=["without pause", "a thousand a second"])
def test_four_thousand_chunks(run: Run, pace: float) -> None:
    """Nothing is lost, in under 100 updates and 3 MB of messages; per chunk it would be 4,000 and 40 MB."""
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
def test_the_stop_button(run: Run, call: str) -> None:
    """Pressed once while nothing comes: the answer so far stays, the stream is closed, the traceback follows."""
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


def test_a_timing_shows_itself(run: Run) -> None:
    """A picture for the eyes, a line for the rest: not the numbers of thousands of chunks."""
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
    """Every cell of the notebook, against the replay; what it shows is saved in it."""
    for module in ("nbclient", "nbformat", "ipykernel"):
        needs.module(module, "jupyter")
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

    assert "A humble cache" in saved
    assert "<summary>Reasoning</summary>" in saved
    assert "🌟 A sunny day at the beach! 🌈" in saved
    assert "25 pieces" in saved
    assert "Zürich: 21 °C, sunny" in saved
    assert saved.count("<svg ") == 3
    assert not [output for output in outputs if output["output_type"] == "error"]


@pytest.mark.parametrize(
    ("folder", "why"),
    [
        (None, "../cassettes: No such file or directory"),
        (NOTEBOOK.parent, 'a replay reads YAML, which needs PyYAML: pip install "tensorloop_stream[replay]"'),
    ],
    ids=["copied out of the clone", "without the extra"],
)
def test_the_recipe_says_what_it_needs(
    folder: Path | None, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a key and with nothing to play: one sentence says what to do, and one why."""
    for name in ("TENSORLOOP_KEY", "TENSORLOOP_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder or tmp_path)
    monkeypatch.setitem(sys.modules, "yaml", None)
    first = next(cell for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if cell["cell_type"] == "code")
    clone = "a clone of the repository, where it plays recordings"
    says = f"No key: set TENSORLOOP_KEY, or open this notebook in {clone}. It cannot here: {why}"

    with pytest.raises(RuntimeError, match=f"^{re.escape(says)}$"):
        exec("".join(first["source"]), {})


def test_the_recipe_is_stripped() -> None:
    """In the repository a notebook has no outputs, no counts and no settings of a machine."""
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]

    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert all(cell["metadata"] == {} for cell in notebook["cells"])
    assert notebook["metadata"].keys() <= {"kernelspec", "language_info"}
