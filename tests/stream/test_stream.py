"""Streams in memory: sources, modes, endings, errors, closing and restarts, for both clients."""

from __future__ import annotations

import gc
import warnings
from typing import Any

import anyio
import httpx2
import openai
import pytest
from callback_log import CallbackLog
from chunks import DONE, HELLO, accumulate, chunk, event, finish, sse, text, tool, usage
from clients import CHAT, Body, Mode, async_client, drain_async, drain_sync, read, sync_client
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tensorloop_stream import (
    AsyncChatStream,
    Callbacks,
    ChatStream,
    StreamConnectionError,
    StreamDecodeError,
    StreamError,
    StreamProviderError,
    StreamTimeoutError,
    StreamTruncatedError,
)
from tensorloop_stream._errors import StreamContentError

# The role and the first text, without an end.
HEL = sse(*HELLO[:2], done=False)

both = pytest.mark.parametrize("kind", ["sync", "async"])
modes = pytest.mark.parametrize("mode", ["chunks", "text", "final"])


@both
def test_iterating_yields_the_sdk_chunks(kind: str) -> None:
    """Existing loops receive the chunks that the SDK yields."""
    outcome = read(kind, [sse(*HELLO, usage())])

    assert outcome.items == list(sync_client(Body([sse(*HELLO, usage())])).chat.completions.create(**CHAT))
    assert all(type(item) is ChatCompletionChunk for item in outcome.items)
    assert outcome.stream.text == "Hello"


@both
def test_text_stream_yields_the_text_of_choice_0(kind: str) -> None:
    """Role chunks, empty deltas and other choices are skipped."""
    parts = [sse(HELLO[0], text("Hel"), text("no", index=1), text(""), text("lo"), finish())]

    assert read(kind, parts, "text").items == ["Hel", "lo"]


@both
@modes
def test_every_mode_gives_the_same_completion(kind: str, mode: Mode) -> None:
    """Chunks, text and the final answer feed the same accumulator."""
    outcome = read(kind, [sse(*HELLO, usage(9))], mode)

    assert outcome.error is None
    assert outcome.stream.completion.choices[0].message.content == "Hello"
    assert outcome.stream.usage is not None
    assert outcome.stream.usage.total_tokens == 9


def test_reading_can_be_interrupted_and_continued() -> None:
    """Loops over text and chunks can be mixed; no chunk is repeated or lost."""
    with ChatStream(sync_client(Body([sse(*HELLO)])).chat.completions.create(**CHAT)) as stream:
        first = next(stream.text_stream)
        for _ in stream:
            break
        rest = list(stream.text_stream)

        assert (first, rest) == ("Hel", [])
        assert stream.text == "Hello"
        assert stream.get_final_text() == "Hello"


async def test_async_reading_can_be_interrupted_and_continued() -> None:
    """The second loop raises no "asynchronous generator is already running" (openai-python#503)."""
    async with AsyncChatStream(async_client(Body([sse(*HELLO)])).chat.completions.create(**CHAT)) as stream:
        first = await anext(stream.text_stream)
        async for _ in stream:
            break
        rest = [text async for text in stream.text_stream]

        assert (first, rest) == ("Hel", [])
        assert await stream.get_final_text() == "Hello"


async def test_a_source_may_be_awaited_or_not() -> None:
    """`await create(...)`, the un-awaited call and a function that makes it are all accepted."""
    client = async_client(*(Body([sse(*HELLO)]) for _ in range(4)))
    sources: list[Any] = [
        await client.chat.completions.create(**CHAT),
        client.chat.completions.create(**CHAT),
        lambda: client.chat.completions.create(**CHAT),
        list(HELLO),
    ]

    for source in sources:
        assert await AsyncChatStream(source).get_final_text() == "Hello"


def test_any_iterable_of_chunks_is_a_source() -> None:
    """Lists, generators, mappings, models, and functions that return them are accepted."""
    models = [ChatCompletionChunk.model_validate(one) for one in HELLO]
    sources: list[Any] = [models, list(HELLO), iter(models), (one for one in HELLO), lambda: models]

    for source in sources:
        assert ChatStream(source).get_final_text() == "Hello"


def test_models_of_the_caller_are_yielded_unchanged() -> None:
    """A mapping becomes a model."""
    models = [ChatCompletionChunk.model_validate(one) for one in HELLO]

    assert all(given is got for given, got in zip(models, ChatStream(models), strict=True))
    assert list(ChatStream(list(HELLO))) == models


async def test_async_iterables_of_chunks_are_a_source() -> None:
    """Another SDK's wrapper may be an asynchronous generator."""

    async def chunks() -> Any:
        for one in HELLO:
            yield one

    assert await AsyncChatStream(chunks()).get_final_text() == "Hello"


def test_an_sdk_stream_that_has_begun_continues() -> None:
    """The stream starts at the next chunk, which the SDK reads."""
    begun = sync_client(Body([sse(*HELLO)])).chat.completions.create(**CHAT)
    next(begun)
    next(begun)

    assert ChatStream(begun).get_final_text() == "lo"


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        ([HEL, httpx2.ReadError("reset")], StreamConnectionError),
        ([HEL, httpx2.ReadTimeout("silent")], StreamTimeoutError),
        ([HEL, event({"error": {"message": "no"}})], StreamProviderError),
        ([HEL, b"data: {\n\n"], StreamDecodeError),
        ([HEL], StreamTruncatedError),
    ],
)
def test_an_sdk_stream_that_has_begun_raises_the_same_errors(parts: list[Any], kind: type[StreamError]) -> None:
    """Reading through the SDK does not change the errors."""
    begun = sync_client(Body(parts)).chat.completions.create(**CHAT)
    next(begun)

    error = drain_sync(ChatStream(begun), "chunks").error
    assert type(error) is kind
    assert error.partial.choices[0].message.content == "Hel"


def test_a_chat_stream_takes_over_another() -> None:
    """The outer stream continues at the position of the inner one, which is closed."""
    inner = ChatStream(sync_client(Body([sse(*HELLO)])).chat.completions.create(**CHAT))
    next(inner)
    outer = ChatStream(inner)

    assert outer.get_final_text() == "Hello"
    assert len(outer.timing.chunk_times) == 4
    assert list(inner) == []


async def test_an_async_chat_stream_takes_over_another() -> None:
    """The outer stream continues at the position of the inner one, which is closed."""
    inner = AsyncChatStream(await async_client(Body([sse(*HELLO)])).chat.completions.create(**CHAT))
    await anext(inner)
    outer = AsyncChatStream(inner)

    assert await outer.get_final_text() == "Hello"
    assert [one async for one in inner] == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("text", "str is not a source of chunks"),
        ({"choices": []}, "dict is not a source of chunks"),
        (5, "int is not a source of chunks"),
        (None, "NoneType is not a source of chunks"),
        (ChatCompletion.construct(choices=[]), "did create\\(\\) get stream=True"),
    ],
)
def test_a_value_that_is_no_source_is_a_type_error(source: Any, message: str) -> None:
    """The error names the type of the value, and what is accepted."""
    with pytest.raises(TypeError, match=message):
        ChatStream(source)
    with pytest.raises(TypeError, match=message):
        AsyncChatStream(source)


async def test_a_source_of_the_other_kind_is_a_type_error() -> None:
    """The error names the class to use, and nothing is left un-awaited."""
    client = async_client(Body([sse(*HELLO)]))
    stream = sync_client(Body([sse(*HELLO)])).chat.completions.create(**CHAT)

    with pytest.raises(TypeError, match="use AsyncChatStream"):
        ChatStream(client.chat.completions.create(**CHAT))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="use AsyncChatStream"):
        ChatStream(await client.chat.completions.create(**CHAT))
    with pytest.raises(TypeError, match="use ChatStream"):
        AsyncChatStream(stream)
    stream.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"idle_timeout": 0}, "idle_timeout is 0: it must be a number of seconds above 0"),
        ({"first_chunk_timeout": -1}, "first_chunk_timeout is -1"),
        ({"idle_timeout": float("nan")}, "idle_timeout is nan"),
        ({"idle_timeout": "3"}, "idle_timeout is '3'"),
        ({"restarts": -1}, "restarts is -1"),
        ({"restarts": "2"}, "restarts is '2': it must be a whole number"),
        ({"restarts": 1}, "give a function that opens it"),
    ],
)
def test_invalid_settings_are_value_errors(settings: Any, message: str) -> None:
    """The error names the setting, its value and the remedy."""
    with pytest.raises(ValueError, match=message):
        ChatStream(list(HELLO), **settings)
    with pytest.raises(ValueError, match=message):
        AsyncChatStream(list(HELLO), **settings)


def test_events_of_the_sdks_helper_are_a_type_error() -> None:
    """Events of the SDK's `.stream()` helper would accumulate to an empty answer."""
    client = sync_client(Body([sse(*HELLO)]))

    with (
        client.chat.completions.stream(model="m", messages=[]) as helper,
        pytest.raises(TypeError, match=r"ChunkEvent.* is not a chunk: .* The SDK's \.stream\(\) helper"),
    ):
        ChatStream(helper).until_done()  # type: ignore[arg-type]


@pytest.mark.parametrize("stream", [ChatStream, AsyncChatStream])
def test_invalid_callbacks_are_refused_at_once(stream: Any) -> None:
    """The constructor raises, and not the first text."""
    with pytest.raises(TypeError, match="callbacks is builtin_function_or_method: give Callbacks"):
        stream(list(HELLO), print)
    with pytest.raises(TypeError, match="on_text is 'x': it must be a function"):
        Callbacks(on_text="x")  # type: ignore[arg-type]


def test_timeouts_need_a_connection_in_sync_code() -> None:
    """A blocked read of a generator cannot be interrupted."""
    with pytest.raises(ValueError, match="need a connection"):
        ChatStream(list(HELLO), idle_timeout=1)


# Endings


@both
@modes
@pytest.mark.parametrize("end", [b'data: "[DONE]"', b"data: [done]", b"data: DONE", b"data:[Done] ", b"data:  [DONE] "])
def test_done_in_another_form_ends_a_stream(kind: str, mode: Mode, end: bytes) -> None:
    """It is quoted, or in another case; without it and a finish reason the answer is not whole."""
    outcome = read(kind, [sse(*HELLO[:3], done=False), end + b"\n\n", b"data: {"], mode)

    assert outcome.error is None
    assert outcome.stream.text == "Hello"


@both
@modes
@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\n\xef\xbb\xbf"])
def test_a_byte_order_mark_before_an_event_is_skipped(kind: str, mode: Mode, before: bytes) -> None:
    """A proxy that joins answers may leave it there, and it is no part of the data."""
    outcome = read(kind, [before + event(each) for each in HELLO] + [before + DONE], mode)

    assert outcome.error is None
    assert outcome.stream.text == "Hello"


@both
@modes
@pytest.mark.parametrize(
    "parts",
    [
        [sse(*HELLO)],
        [sse(*HELLO, done=False)],
        [sse(*HELLO[:3]), b"data: {not read\n\n"],
        [b": ping\n\nretry: 5\n\ndata:\n\ndata: \n\nevent: ping\ndata: {}\n\n", sse(*HELLO)],
        [b"data: [DONE] \n\n".join([sse(*HELLO, done=False), b""])],
        [sse(*HELLO).replace(b"\n", b"\r\n")],
        [sse(*HELLO).replace(b"data: ", b"data:")],
        [sse(*HELLO[:3], finish(index=1), done=False)],
    ],
    ids=["done", "finish alone", "done alone", "noise", "done and blank", "crlf", "no space", "one of two finished"],
)
def test_a_finish_reason_or_done_completes_a_stream(kind: str, mode: Mode, parts: list[bytes]) -> None:
    """The finish reason of any choice is enough, and data after it is ignored."""
    outcome = read(kind, parts, mode)

    assert outcome.error is None
    assert outcome.stream.text == "Hello"


@both
@modes
@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ([HEL], StreamTruncatedError, "ended after 2 chunks and 3 characters of text with no finish_reason"),
        ([HEL, b"data: {"], StreamTruncatedError, "an unfinished event of 7 bytes was dropped"),
        ([HEL, httpx2.ReadError("reset")], StreamConnectionError, "connection cut after 2 chunks .*: reset"),
        ([HEL, httpx2.RemoteProtocolError("cut")], StreamConnectionError, "cut"),
        ([HEL, ConnectionResetError("x")], StreamConnectionError, "x"),
        ([HEL, httpx2.ReadTimeout("")], StreamTimeoutError, "client's read timeout, after 2 chunks"),
        ([HEL, httpx2.DecodingError("gzip")], StreamContentError, "gzip"),
        ([HEL, b"data: {\n\n"], StreamDecodeError, "not JSON .*after 2 chunks"),
        ([HEL, b'data: "x"\n\n'], StreamDecodeError, "not a JSON object"),
        ([HEL, b'data: {"choices":5}\n\n'], StreamDecodeError, "choices is 5"),
        ([HEL, b'data: {"choices":[{"delta":"\xff"}]}\n\n'], StreamDecodeError, "not UTF-8: byte 0xff"),
        ([HEL, b"data: x\ndata: \xff\n\n"], StreamDecodeError, "not UTF-8"),
        ([HEL, b"data: " + b"[" * 100_000 + b"\n\n"], StreamDecodeError, "not JSON"),
        ([HEL, event({"error": {"message": "no", "code": "500"}}), DONE], StreamProviderError, "no"),
        ([HEL, b"event: error\ndata: gone\n\n"], StreamProviderError, "gone"),
    ],
)  # fmt: skip
def test_a_broken_stream_raises_an_error_with_the_partial(
    kind: str, mode: Mode, parts: list[Any], error: type[StreamError], message: str
) -> None:
    """The error is of the family, and its message says what happened after how many chunks."""
    outcome = read(kind, parts, mode)

    assert type(outcome.error) is error
    assert outcome.error.partial.choices[0].message.content == "Hel"
    assert str(outcome.error.request.url) == "https://gateway.test/v1/chat/completions"
    with pytest.raises(error, match=message):
        raise outcome.error


@both
@modes
def test_an_empty_stream_is_truncated(kind: str, mode: Mode) -> None:
    """A response with status 200 and no events is no answer."""
    outcome = read(kind, [], mode)

    assert type(outcome.error) is StreamTruncatedError
    assert outcome.error.partial.choices == []


@both
def test_a_connection_error_after_the_finish_reason_is_raised(kind: str) -> None:
    """Usage may be missing; the partial completion has the whole text."""
    outcome = read(kind, [sse(*HELLO, done=False), httpx2.ReadError("reset")])

    assert type(outcome.error) is StreamConnectionError
    assert outcome.error.partial.choices[0].finish_reason == "stop"


@both
def test_an_unfinished_end_is_accepted_without_require_finish(kind: str) -> None:
    """The finish reason of the completion is null."""
    outcome = read(kind, [HEL], "final", require_finish=False)

    assert outcome.error is None
    assert outcome.items[0].choices[0].finish_reason is None


@both
def test_chunks_before_an_error_in_one_read_are_delivered(kind: str) -> None:
    """The error follows the chunks of the same read."""
    outcome = read(kind, [sse(*HELLO[:3], done=False) + event({"error": {"message": "no"}})], "text")

    assert outcome.items == ["Hel", "lo"]
    assert type(outcome.error) is StreamProviderError


@both
def test_a_broken_stream_raises_its_error_again(kind: str) -> None:
    """Reading the final answer raises the same error: the end is never silent."""
    outcome = read(kind, [HEL])

    async def again() -> None:
        assert isinstance(outcome.stream, AsyncChatStream)
        await outcome.stream.get_final_completion()

    with pytest.raises(StreamTruncatedError) as raised:
        outcome.stream.get_final_completion() if isinstance(outcome.stream, ChatStream) else anyio.run(again)
    assert raised.value is outcome.error


@both
@pytest.mark.parametrize("mode", ["chunks", "text"])
def test_an_exception_from_a_source_of_the_caller_is_unchanged(kind: str, mode: Mode) -> None:
    """An exception of the caller's own generator is not wrapped."""

    def broken() -> Any:
        yield HELLO[1]
        raise LookupError("mine")

    async def run() -> Any:
        return await drain_async(AsyncChatStream(broken()), mode)

    outcome = drain_sync(ChatStream(broken()), mode) if kind == "sync" else anyio.run(run)

    assert type(outcome.error) is LookupError
    assert outcome.stream.text == "Hel"


# Closing


@both
def test_leaving_the_block_closes_the_connection(kind: str) -> None:
    """A `break` out of the loop closes at once, and nothing is read after it."""
    body = Body([HEL, sse(*HELLO[2:])])

    async def run() -> AsyncChatStream:
        async with AsyncChatStream(async_client(body).chat.completions.create(**CHAT)) as stream:
            async for _ in stream:
                break
        assert [one async for one in stream] == []
        return stream

    if kind == "sync":
        with ChatStream(sync_client(body).chat.completions.create(**CHAT)) as stream:
            for _ in stream:
                break
        assert list(stream) == []
        closed: ChatStream | AsyncChatStream = stream
    else:
        closed = anyio.run(run)

    assert body.closed
    assert closed.completion.choices[0].finish_reason is None


def test_the_final_answer_raises_when_the_stream_was_left_early() -> None:
    """The partial completion is in `.completion`, and is not returned as a finished one."""
    stream = ChatStream(sync_client(Body([sse(*HELLO)])).chat.completions.create(**CHAT))
    next(stream)
    next(stream)
    stream.close()

    for final in (stream.get_final_completion, stream.get_final_message, stream.get_final_text):
        with pytest.raises(
            StreamTruncatedError, match="closed early, after 2 chunks and 3 characters of text; the partial"
        ):
            final()
    assert stream.text == "Hel"


def test_the_final_answer_is_returned_when_the_stream_was_left_after_its_finish() -> None:
    """Only usage and `[DONE]` are missing."""
    stream = ChatStream(sync_client(Body([sse(*HELLO)])).chat.completions.create(**CHAT))
    for one in stream:
        if one.choices[0].finish_reason:
            break
    stream.close()

    assert stream.get_final_text() == "Hello"


def test_an_interrupt_while_waiting_closes_the_connection() -> None:
    """Ctrl-C without a `with` block leaves no connection to the garbage collector."""
    body = Body([HEL, KeyboardInterrupt()])
    stream = ChatStream(sync_client(body).chat.completions.create(**CHAT))

    with pytest.raises(KeyboardInterrupt):
        stream.until_done()
    assert body.closed
    assert stream.text == "Hel"


@both
def test_a_stream_dropped_open_warns(kind: str) -> None:
    """A connection must not depend on garbage collection."""

    async def leave() -> None:
        stream = AsyncChatStream(await async_client(Body([sse(*HELLO)])).chat.completions.create(**CHAT))
        await anext(stream)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if kind == "sync":
            next(ChatStream(sync_client(Body([sse(*HELLO)])).chat.completions.create(**CHAT)))
        else:
            anyio.run(leave)
        gc.collect()

    assert [(w.category, "was dropped with its connection open" in str(w.message)) for w in caught] == [
        (ResourceWarning, True)
    ]


def test_a_function_is_called_when_the_stream_is_used() -> None:
    """`with` opens the stream, and closing an unused one requests nothing."""
    opened: list[int] = []

    def source() -> Any:
        opened.append(1)
        return list(HELLO)

    ChatStream(source).close()
    stream = ChatStream(source)

    assert opened == []
    with stream:
        assert opened == [1]


async def test_a_stream_never_opened_leaves_nothing_unawaited() -> None:
    """Closing before the first use closes the coroutine."""
    stream = AsyncChatStream(async_client(Body([sse(*HELLO)])).chat.completions.create(**CHAT))

    await stream.aclose()
    assert stream.text == ""


# Attributes


def test_a_stream_shows_its_response_and_id() -> None:
    """The repr contains no secret."""
    headers = {"content-type": "text/event-stream", "x-litellm-call-id": "call-1"}
    client = sync_client(httpx2.Response(200, headers=headers, stream=Body([sse(*HELLO)])))
    stream = ChatStream(client.chat.completions.create(**CHAT))

    assert stream.response is not None
    assert stream.response.status_code == 200
    assert stream.request_id == "call-1"
    assert repr(stream) == "<ChatStream open, 0 chunks>"
    assert repr(stream.until_done()) == "<ChatStream done, 4 chunks>"
    assert stream.request_id == "call-1"


def test_a_list_has_no_response() -> None:
    """Chunks of the caller belong to no request."""
    stream = ChatStream(list(HELLO))

    assert (stream.response, stream.request_id) == (None, None)


def test_a_message_needs_a_choice() -> None:
    """With `require_finish=False` a stream may end without a choice, but gives no message."""
    source = sync_client(Body([sse(usage())])).chat.completions.create(**CHAT)
    stream = ChatStream(source, require_finish=False)

    assert stream.get_final_completion().choices == []
    with pytest.raises(StreamTruncatedError, match="without a choice"):
        stream.get_final_message()


@both
@pytest.mark.parametrize("parts", [[sse()], [b": hi\n\n", sse(usage())], [sse({"choices": None}, {"choices": []})]])
def test_a_stream_without_a_choice_is_truncated(kind: str, parts: list[Any]) -> None:
    """A gateway whose backend failed sends `[DONE]` and no choice (lemonade#2826, vercel/ai#1517)."""
    log = CallbackLog()
    outcome = read(kind, parts, callbacks=log.callbacks)

    assert type(outcome.error) is StreamTruncatedError
    assert "[DONE] and no choice" in str(outcome.error)
    assert log.terminal == ["on_error"]


def test_streams_are_subclasses_of_the_sdks() -> None:
    """`isinstance` checks of other libraries succeed."""
    assert issubclass(ChatStream, openai.Stream)
    assert issubclass(AsyncChatStream, openai.AsyncStream)


# Restarts


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("tensorloop_stream._stream.sync_reader.time.sleep", slept.append)
    monkeypatch.setattr("tensorloop_stream._stream.async_reader.anyio.sleep", sleep)
    return slept


BREAKS = [
    Body([httpx2.ReadError("reset")]),
    Body([]),
    Body([sse(HELLO[0], done=False)]),
    Body([event({"error": {"message": "busy", "code": "503"}})]),
]


@both
@modes
def test_a_stream_that_breaks_before_its_first_item_restarts(kind: str, mode: Mode, waits: list[float]) -> None:
    """Connection errors, truncation and errors that the SDK would retry are restarted with a growing back-off."""
    bodies = [body for body in BREAKS if mode != "chunks" or body is not BREAKS[2]]
    outcome = _restarting(kind, mode, [*bodies, Body([sse(*HELLO)])], restarts=5)

    assert outcome.error is None
    assert outcome.stream.text == "Hello"
    assert len(waits) == len(bodies)
    assert waits == sorted(waits)


def _restarting(kind: str, mode: Mode, bodies: list[Any], **settings: Any) -> Any:
    if kind == "sync":
        client = sync_client(*bodies)
        return drain_sync(ChatStream(lambda: client.chat.completions.create(**CHAT), **settings), mode)

    async def run() -> Any:
        client = async_client(*bodies)
        return await drain_async(AsyncChatStream(lambda: client.chat.completions.create(**CHAT), **settings), mode)

    return anyio.run(run)


@both
@pytest.mark.parametrize("mode", ["chunks", "text"])
def test_text_is_never_repeated(kind: str, mode: Mode, waits: list[float]) -> None:
    """The error is raised once an item was delivered (open-interpreter#348, litellm#32835)."""
    outcome = _restarting(kind, mode, [Body([HEL]), Body([sse(*HELLO)])], restarts=5)

    assert type(outcome.error) is StreamTruncatedError
    assert outcome.stream.text == "Hel"
    assert waits == []


@both
def test_the_final_answer_alone_may_be_requested_again(kind: str, waits: list[float]) -> None:
    """The stream delivered nothing, because the caller reads only the whole answer."""
    outcome = _restarting(kind, "final", [Body([HEL]), Body([sse(*HELLO)])], restarts=1)

    assert outcome.items[0].choices[0].message.content == "Hello"


@both
@pytest.mark.parametrize(
    "error",
    [{"message": "no", "code": "400"}, {"message": "spent", "type": "budget_exceeded", "code": "429"}],
)
def test_permanent_errors_are_not_restarted(kind: str, error: Any, waits: list[float]) -> None:
    """A bad request and an exceeded budget stay as they are."""
    outcome = _restarting(kind, "text", [Body([event({"error": error})])], restarts=5)

    assert type(outcome.error) is StreamProviderError
    assert waits == []


@both
def test_restarts_are_counted(kind: str, waits: list[float]) -> None:
    """The error after the last restart is raised."""
    outcome = _restarting(kind, "text", [Body([])], restarts=2)

    assert type(outcome.error) is StreamTruncatedError
    assert len(waits) == 2


@both
def test_an_error_before_the_stream_stays_the_sdks(kind: str, waits: list[float]) -> None:
    """The SDK retries a 401 by its own rules; the stream does not restart it."""
    refusal = httpx2.Response(401, json={"error": {"message": "no key"}})
    outcome = _restarting(kind, "text", [refusal], restarts=2)

    assert type(outcome.error) is openai.AuthenticationError
    assert waits == []


@both
def test_a_tool_call_is_the_same_in_every_mode(kind: str) -> None:
    """Reading by chunk, by text or at once gives the same message."""
    chunks = (tool({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}), finish("tool_calls"))
    first, *others = (
        read(kind, [sse(chunk({"role": "assistant"}), *chunks)], mode) for mode in ("chunks", "text", "final")
    )

    assert all(other.stream.completion == first.stream.completion for other in others)


@pytest.mark.parametrize(
    "odd",
    [
        chunk({"content": "lo", "audio": {"id": "a"}}),
        chunk({"content": "lo", "function_call": {"name": "f"}}),
        {**text("lo"), "moderation": {"flagged": False}},
        {**text("lo"), "service_tier": "flex"},
        chunk({"content": "lo"}, logprobs={"content": [], "refusal": []}),
    ],
    ids=["audio", "function call", "moderation", "service tier", "logprobs"],
)
def test_fields_beside_the_text_are_kept_in_every_mode(odd: Any) -> None:
    """The completion has such a field, known to the SDK or not (found by fuzzing)."""
    sent = [chunk({"role": "assistant", "content": "Hel"}), odd, finish()]
    reads = [event(one) for one in sent]
    iterated, whole = (read("sync", reads, mode).stream.completion for mode in ("chunks", "final"))

    assert iterated == whole == accumulate(*sent).completion
    assert iterated.to_dict() == whole.to_dict()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_events_of_the_responses_api_are_a_decode_error(kind: str) -> None:
    """A `ChatStream` must not take them for an empty answer."""
    events = [{"type": "response.created", "response": {"id": "resp_1"}}, {"type": "response.output_text.delta"}]

    error = read(kind, [sse(*events)]).error

    assert isinstance(error, StreamDecodeError)
    assert "response.created is an event of the Responses API" in str(error)
