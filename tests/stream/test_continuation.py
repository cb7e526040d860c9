"""A broken answer that is continued: one text, nothing twice, and the error of the break where it cannot be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from chunks import chunk, event, finish, sse, text, tool, usage
from clients import CHAT, SETTINGS, Body

from tensorloop_stream import (
    AsyncChatStream,
    AsyncTensorloop,
    Callbacks,
    ChatStream,
    StreamConnectionError,
    StreamProviderError,
    StreamTruncatedError,
    Tensorloop,
)

BEGINNING = "The capital of France "
CUT = httpx2.ReadError("gone")
Clients = tuple[Any, Any, list[dict[str, Any]]]
both = pytest.mark.parametrize("kind", ["sync", "async"])


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tensorloop_stream._stream.state.backoff", lambda *_, **__: 0.0)


def part(*texts: str, end: Any = CUT, first: Any = None) -> list[Any]:
    """Return the parts of a body with these texts and this end."""
    chunks = [*([] if first is None else [first]), *map(text, texts)]
    return [*[sse(one, done=False) for one in chunks], *([end] if isinstance(end, BaseException) else [sse(*end)])]


WHOLE = (finish(),)


def answering(kind: str, *bodies: list[Any] | int, ours: bool = True) -> tuple[Any, list[Any]]:
    """Return a client whose requests get these bodies, or errors of a status, and the list of what it sent."""
    sent: list[Any] = []
    left = list(bodies)

    def handle(request: httpx2.Request) -> httpx2.Response:
        sent.append(json.loads(request.content))
        body = left.pop(0)
        if isinstance(body, int):
            return httpx2.Response(body, json={"error": {"message": "no prefill"}})
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Body(body))

    transport = httpx2.MockTransport(handle)
    if kind == "sync":
        made: type[openai.OpenAI] = Tensorloop if ours else openai.OpenAI
        return made(**SETTINGS, http_client=httpx2.Client(transport=transport)), sent
    made_async: type[openai.AsyncOpenAI] = AsyncTensorloop if ours else openai.AsyncOpenAI
    return made_async(**SETTINGS, http_client=httpx2.AsyncClient(transport=transport)), sent


def read(client: Any, mode: str = "text", *, opens: bool = False, **settings: Any) -> tuple[str, Any, Any]:
    """Return the text that was handed out, the stream, and its error."""
    settings = {"continue_broken": 1, **settings}
    create: Callable[[], Any] = lambda: client.chat.completions.create(**CHAT)  # noqa: E731 - a function to be opened
    got: list[str] = []

    def note(each: Any) -> None:
        got.append(each if isinstance(each, str) else (each.choices[0].delta.content or "") if each.choices else "")

    if isinstance(client, openai.OpenAI):
        stream = ChatStream(create if opens else create(), **settings)
        try:
            for each in stream.text_stream if mode == "text" else stream:
                note(each)
        except openai.APIError as error:
            return "".join(got), stream, error
        return "".join(got), stream, None

    async def run() -> tuple[str, Any, Any]:
        stream = AsyncChatStream(create if opens else create(), **settings)
        try:
            async for each in stream.text_stream if mode == "text" else stream:
                note(each)
        except openai.APIError as error:
            return "".join(got), stream, error
        return "".join(got), stream, None

    return asyncio.run(run())


@both
@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("opens", [True, False])
@pytest.mark.parametrize("mode", ["text", "chunks"])
def test_a_cut_answer_is_continued(kind: str, ours: bool, opens: bool, mode: str) -> None:
    """The partial answer is sent as the assistant's beginning, and the rest goes on in the same stream."""
    client, sent = answering(kind, part(BEGINNING, "is"), part(" Paris", ".", end=WHOLE), ours=ours)

    got, stream, error = read(client, mode, opens=opens)

    assert error is None
    assert got == stream.text == "The capital of France is Paris."
    assert stream.completion.choices[0].message.content == got
    assert stream.finish_reason == "stop"
    assert sent[1] == {**sent[0], "messages": [*sent[0]["messages"], {"role": "assistant", "content": got[:24]}]}


@both
def test_nothing_is_continued_unless_asked(kind: str) -> None:
    """A model may go on differently, so that this is the caller's decision."""
    client, sent = answering(kind, part(BEGINNING))

    got, _, error = read(client, continue_broken=0)

    assert type(error) is StreamConnectionError
    assert (got, len(sent)) == (BEGINNING, 1)


@both
def test_each_continuation_sends_all_that_had_arrived(kind: str) -> None:
    """A second break goes on where the first continuation broke."""
    client, sent = answering(kind, part("One, "), part("two, "), part("three.", end=WHOLE))

    got, _, error = read(client, continue_broken=2)

    assert error is None
    assert got == "One, two, three."
    assert [body["messages"][1:] for body in sent] == [
        [],
        [{"role": "assistant", "content": "One,"}],
        [{"role": "assistant", "content": "One, two,"}],
    ]


@both
def test_the_last_break_is_the_error(kind: str) -> None:
    """Its partial answer has all parts."""
    client, _ = answering(kind, part("One, "), part("two, "))

    got, _, error = read(client)

    assert type(error) is StreamConnectionError
    assert got == error.text == "One, two, "


@both
@pytest.mark.parametrize("size", [1, 3, 40])
def test_an_answer_that_begins_again_is_not_said_twice(kind: str, size: int) -> None:
    """A model that cannot go on repeats the beginning, in parts of its own."""
    again = "The capital of France is Paris."
    texts = [again[number : number + size] for number in range(0, len(again), size)]
    second = part(*texts, end=WHOLE, first=chunk({"role": "assistant"}))
    client, _ = answering(kind, part("The capital ", "of France "), second)

    got, stream, error = read(client)

    assert error is None
    assert got == stream.text == "The capital of France is Paris."


@both
@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        (["The capital is Paris."], "The capital of France The capital is Paris."),
        (["The capital", " of"], "The capital of France The capital of"),
        (["is"], "The capital of France is"),
        ([" is"], "The capital of France is"),
        ([" ", " is"], "The capital of France  is"),
        ([], "The capital of France "),
    ],
)
def test_a_continuation_that_only_begins_alike_is_kept(kind: str, pieces: list[str], whole: str) -> None:
    """The text that was held is delivered; white space that was not sent counts once."""
    client, _ = answering(kind, part(BEGINNING), part(*pieces, end=WHOLE))

    got, stream, error = read(client)

    assert error is None
    assert got == stream.text == whole


@both
def test_a_short_beginning_may_recur(kind: str) -> None:
    """`Ha` and `Ha!` are no repetition."""
    client, _ = answering(kind, part("Ha"), part("Ha", "!", end=WHOLE))

    assert read(client)[0] == "HaHa!"


@both
def test_callbacks_hear_of_one_stream(kind: str) -> None:
    """Each text once, and one end."""
    said: list[Any] = []
    callbacks = Callbacks(on_text=said.append, on_finish=lambda _: said.append("end"), on_error=said.append)
    client, _ = answering(kind, part(BEGINNING), part("is Paris.", end=WHOLE))

    read(client, callbacks=callbacks)

    assert said == [BEGINNING, "is Paris.", "end"]


@both
def test_usage_is_that_of_all_requests(kind: str) -> None:
    """Each request is paid."""
    first = [sse(text(BEGINNING), done=False), sse(usage(9), done=False), CUT]
    client, _ = answering(kind, first, part("is Paris.", end=(finish(), usage(30))))

    _, stream, _ = read(client)

    assert stream.usage.total_tokens == stream.completion.usage.total_tokens == 39


CALL = {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{"}}


@both
@pytest.mark.parametrize(
    "first",
    [
        [sse(text("Let me see."), tool(CALL), done=False)],
        [sse(text("one"), text("two", index=1), done=False)],
        [sse(chunk({"refusal": "No"}), done=False)],
        [sse(chunk({"role": "assistant"}), done=False)],
        [sse(text("Whole."), finish("length"), done=False)],
    ],
)
def test_an_answer_that_is_not_plain_text_is_not_continued(kind: str, first: list[Any]) -> None:
    """Nobody can go on in the middle of a tool call; a finished answer needs no more."""
    client, sent = answering(kind, [*first, CUT])

    _, _, error = read(client)

    assert type(error) is StreamConnectionError
    assert len(sent) == 1


@both
@pytest.mark.parametrize(("code", "times"), [("503", 2), ("400", 1)])
def test_an_error_inside_the_stream_is_continued_if_it_may_pass(kind: str, code: str, times: int) -> None:
    """An overloaded upstream merits another request, a bad one does not."""
    broken = [sse(text(BEGINNING), done=False), event({"error": {"message": "no", "code": code}})]
    client, sent = answering(kind, broken, part("is Paris.", end=WHOLE))

    _, _, error = read(client)

    assert len(sent) == times
    assert (error is None) if times == 2 else isinstance(error, StreamProviderError)


@both
def test_a_truncated_answer_is_continued(kind: str) -> None:
    """An end without a finish reason is a break."""
    client, _ = answering(kind, [sse(text(BEGINNING), done=False)], part("is Paris.", end=WHOLE))

    assert read(client)[0] == "The capital of France is Paris."


@both
def test_a_service_that_takes_no_beginning_leaves_the_error_of_the_break(kind: str) -> None:
    """The refusal is its cause."""
    client, _ = answering(kind, part(BEGINNING), 400)

    _, stream, error = read(client)

    assert type(error) is StreamConnectionError
    assert error.text == BEGINNING
    assert isinstance(error.__cause__, openai.BadRequestError)
    assert stream.text == BEGINNING


@both
def test_a_beginning_by_the_caller_is_kept(kind: str) -> None:
    """The request may end with an assistant message of its own, which the answer goes on with."""
    client, sent = answering(kind, part(" two,"), part(" three.", end=WHOLE))
    messages = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "One,"}]
    ask = {**CHAT, "messages": messages}
    if kind == "sync":
        ChatStream(client.chat.completions.create(**ask), continue_broken=1).until_done()
    else:

        async def run() -> None:
            await AsyncChatStream(client.chat.completions.create(**ask), continue_broken=1).until_done()

        asyncio.run(run())

    assert sent[1]["messages"] == [messages[0], {"role": "assistant", "content": "One, two,"}]


def test_restarts_come_first() -> None:
    """An answer of which nothing was handed out is better asked for again."""
    client, sent = answering("sync", part(BEGINNING), part("Paris.", end=WHOLE))
    stream = ChatStream(lambda: client.chat.completions.create(**CHAT), restarts=1, continue_broken=1)

    assert stream.get_final_text() == "Paris."
    assert sent[0] == sent[1]


def test_a_source_without_a_request_is_refused() -> None:
    """Chunks of one's own cannot be asked for again."""
    with pytest.raises(ValueError, match="continue_broken is 2, and the source names no request"):
        ChatStream([text("Hello")], continue_broken=2)
    with pytest.raises(ValueError, match="continue_broken is -1: it must be a whole number"):
        ChatStream([text("Hello")], continue_broken=-1)
    with pytest.raises(StreamTruncatedError):
        ChatStream(lambda: [text("Hello")], continue_broken=2).until_done()
