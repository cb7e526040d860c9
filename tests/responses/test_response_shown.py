"""Responses in a terminal and in a notebook: the functions that show chat show them too."""

from __future__ import annotations

from typing import Any

import pytest
from clients import Body
from events import HELLO, call, created, delta, done, ended, message, stream
from test_response_stream import ASK, client_of

from tensorloop_stream import ResponseStream, print_stream
from tensorloop_stream._display.answer_view import AnswerView
from tensorloop_stream._display.printer import aprint_stream


@pytest.mark.parametrize("ours", [True, False])
async def test_a_response_is_printed_and_returned(ours: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Streams of the SDK's client count as those of ours."""
    printed = print_stream(client_of("sync", Body([stream(*HELLO)]), ours=ours).responses.create(**ASK))
    awaited: Any = await client_of("async", Body([stream(*HELLO)]), ours=ours).responses.create(**ASK)
    later = await aprint_stream(awaited)

    assert capsys.readouterr().out == "Hello\nHello\n"
    assert printed == later
    assert printed.output_text == "Hello"


@pytest.mark.parametrize(
    ("reason", "note"),
    [
        ("max_output_tokens", "(Cut off at the limit of tokens (incomplete: max_output_tokens).)"),
        ("content_filter", "(Stopped by the content filter (incomplete: content_filter).)"),
        (None, "(Not complete (incomplete: unknown).)"),
    ],
)
def test_a_cut_response_says_so(reason: str | None, note: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence stands on standard error."""
    details = {"reason": reason} if reason else None
    print_stream(ResponseStream([*HELLO[:4], ended(status="incomplete", incomplete_details=details)]))

    assert capsys.readouterr() == ("Hel\n", f"{note}\n")


def test_a_notebook_shows_a_response() -> None:
    """Reasoning, text, calls and figures, as of chat."""
    thought = delta("Think first.", "reasoning_summary_text", item_id="rs_1")
    events = [created(), thought, delta("Hello", output_index=1), done(call('{"a":1}'), 2), ended()]
    opened = ResponseStream(events).until_done()
    markdown, text = AnswerView(opened, min_interval=0, footer=True, trusted=False).last()

    assert "Think first." in markdown
    assert "**Tool call** <code>get&#95;weather</code>" in markdown
    assert "gpt-4o-mini · 2 tokens" in markdown
    assert text == 'Hello\n\nget_weather({"a":1})'


def test_the_view_of_a_broken_response_names_its_error() -> None:
    """The text that had come is shown."""
    opened = ResponseStream([created(), delta("Hello"), done(message("Hello"))])
    with pytest.raises(Exception, match=r"no response\.completed") as caught:
        opened.until_done()
    _, text = AnswerView(opened, min_interval=0, footer=False, trusted=False).last(caught.value)

    assert text.startswith("Hello\n\nFailed: the answer may be incomplete. StreamTruncatedError")
