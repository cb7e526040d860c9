from __future__ import annotations

import functools
from typing import Any

import anyio
import httpx2
import pytest
from callback_log import NAMES, CallbackLog
from chunks import HELLO, chunk, event, finish, sse, text, tool, usage
from clients import CHAT, Body, Mode, async_client, read, sync_client

from tensorloop_stream import AsyncChatStream, Callbacks, ChatStream, StreamTruncatedError

both = pytest.mark.parametrize("kind", ["sync", "async"])
modes = pytest.mark.parametrize("mode", ["chunks", "text", "final"])
WEATHER = {"index": 0, "id": "a", "function": {"name": "weather", "arguments": "{}"}}
EVERYTHING = (
    chunk({"role": "assistant"}),
    chunk({"reasoning_content": "hm"}),
    text("Hi"),
    chunk({"refusal": "no"}),
    tool(WEATHER, finish="tool_calls"),
    usage(),
)


@modes
@pytest.mark.parametrize(("kind", "is_async"), [("sync", False), ("async", False), ("async", True)])
def test_everything_in_order(kind: str, mode: Mode, is_async: bool) -> None:
    """The chunk first, then what it brought; usage right before the one terminal call."""
    log = CallbackLog(is_async=is_async)
    read(kind, [sse(*EVERYTHING)], mode, log.callbacks)

    assert log.names == [
        "on_chunk",
        "on_chunk",
        "on_reasoning",
        "on_chunk",
        "on_text",
        "on_chunk",
        "on_refusal",
        "on_chunk",
        "on_tool_call",
        "on_chunk",
        "on_usage",
        "on_finish",
    ]
    assert log.arguments("on_text") == ["Hi"]
    assert log.arguments("on_usage")[0].total_tokens == 9
    assert log.arguments("on_finish")[0].choices[0].finish_reason == "tool_calls"


@both
def test_a_single_callback_is_enough(kind: str) -> None:
    """Every field is optional."""
    for name in NAMES:
        log = CallbackLog(name)
        read(kind, [sse(*EVERYTHING)], "text", log.callbacks)
        assert set(log.names) <= {name}


@both
@pytest.mark.parametrize(
    ("parts", "terminal"),
    [
        ([sse(*HELLO)], "on_finish"),
        ([sse(*HELLO, done=False)], "on_finish"),
        ([sse(*HELLO[:2], done=False)], "on_error"),
        ([], "on_error"),
        ([sse(*HELLO[:2], done=False), httpx2.ReadError("cut")], "on_error"),
        ([sse(*HELLO[:2], done=False), event({"error": {"message": "no"}})], "on_error"),
        ([sse(*HELLO[:2], done=False), b"data: {\n\n"], "on_error"),
    ],
)
@modes
def test_exactly_one_terminal_call(kind: str, mode: Mode, parts: list[Any], terminal: str) -> None:
    """However a stream ends; the error told is the error raised."""
    log = CallbackLog()
    outcome = read(kind, parts, mode, log.callbacks)

    assert log.terminal == [terminal]
    assert log.names[-1] == terminal
    if outcome.error is not None:
        assert log.arguments("on_error") == [outcome.error]


@both
@pytest.mark.parametrize(("chunks", "terminal"), [(2, "on_abort"), (4, "on_finish")])
def test_a_stream_left_early(kind: str, chunks: int, terminal: str) -> None:
    """Left before the finish reason is an abort, after it a finish; closing again tells nothing more."""
    log = CallbackLog()

    async def run() -> None:
        client = async_client(Body([sse(*HELLO)]))
        async with AsyncChatStream(client.chat.completions.create(**CHAT), log.callbacks) as stream:
            for _ in range(chunks):
                await anext(stream)
        await stream.close()

    if kind == "async":
        anyio.run(run)
    else:
        client = sync_client(Body([sse(*HELLO)]))
        with ChatStream(client.chat.completions.create(**CHAT), log.callbacks) as stream:
            for _ in range(chunks):
                next(stream)
        stream.close()

    assert log.terminal == [terminal]
    assert log.arguments(terminal)[0].choices[0].message.content == ("Hel" if chunks == 2 else "Hello")


@both
@modes
@pytest.mark.parametrize("raising", ["on_chunk", "on_text", "on_reasoning", "on_tool_call", "on_usage"])
def test_a_callback_that_raises(kind: str, mode: Mode, raising: str) -> None:
    """It closes the stream, `on_error` gets the exception, and it reaches the caller unchanged."""
    log = CallbackLog(raising=raising)
    outcome = read(kind, [sse(*EVERYTHING)], mode, log.callbacks)

    assert type(outcome.error) is LookupError
    assert log.terminal == ["on_error"]
    assert log.arguments("on_error") == [outcome.error]


@both
@pytest.mark.parametrize("raising", ["on_finish", "on_error"])
def test_a_terminal_callback_that_raises(kind: str, raising: str) -> None:
    """Its exception reaches the caller, and no second terminal call follows."""
    log = CallbackLog(raising=raising)
    outcome = read(kind, [sse(*HELLO, done=True) if raising == "on_finish" else b""], "text", log.callbacks)

    assert type(outcome.error) is LookupError
    assert log.terminal == [raising]


@both
def test_closing_from_a_callback(kind: str) -> None:
    """A callback may close the stream: nothing is read after it, and the abort is told once."""
    log = CallbackLog("on_abort")
    streams: list[Any] = []

    async def run() -> list[str]:
        async def stop(_: str) -> None:
            await streams[0].close()

        client = async_client(Body([sse(*HELLO)]))
        told = Callbacks(on_text=stop, on_abort=log.callbacks.on_abort)
        streams.append(AsyncChatStream(client.chat.completions.create(**CHAT), told))
        return [piece async for piece in streams[0].text_stream]

    if kind == "async":
        texts = anyio.run(run)
    else:
        told = Callbacks(on_text=lambda _: streams[0].close(), on_abort=log.callbacks.on_abort)
        streams.append(ChatStream(sync_client(Body([sse(*HELLO)])).chat.completions.create(**CHAT), told))
        texts = list(streams[0].text_stream)

    assert texts == ["Hel"]
    assert log.names == ["on_abort"]


@both
def test_errors_while_opening_are_told(kind: str) -> None:
    """A function or an awaitable that fails to open goes to `on_error`, and is raised unchanged."""
    log = CallbackLog()
    refusal = httpx2.Response(401, json={"error": {"message": "no key"}})

    async def run() -> BaseException:
        with pytest.raises(Exception, match="no key") as raised:
            async with AsyncChatStream(async_client(refusal).chat.completions.create(**CHAT), log.callbacks):
                pass
        return raised.value

    if kind == "async":
        error = anyio.run(run)
    else:
        client = sync_client(refusal)
        with (
            pytest.raises(Exception, match="no key") as raised,
            ChatStream(lambda: client.chat.completions.create(**CHAT), log.callbacks),
        ):
            pass
        error = raised.value

    assert log.calls == [("on_error", error)]


def test_async_callbacks_need_an_async_stream() -> None:
    """Nobody would await them: a `TypeError` that names the callback, whatever form the function has."""

    async def later(_: Any) -> None:
        pass

    def looks_sync(piece: Any) -> Any:
        return later(piece)

    class Later:
        async def __call__(self, _: Any) -> None:
            pass

    for function in (later, functools.partial(later), Later()):
        with pytest.raises(TypeError, match="on_text is an async function: use AsyncChatStream"):
            ChatStream(list(HELLO), Callbacks(on_text=function))
    with pytest.raises(TypeError, match="is async: use AsyncChatStream"):
        ChatStream(list(HELLO), Callbacks(on_text=looks_sync)).until_done()


def test_callbacks_are_frozen_and_named() -> None:
    """A mistyped name is an error at once."""
    with pytest.raises(TypeError, match="on_txt"):
        Callbacks(on_txt=print)  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        Callbacks().on_text = print  # type: ignore[misc]


# Whole tool calls


def call(arguments: str, index: int = 0, **more: Any) -> dict[str, Any]:
    return tool({"index": index, "id": f"c{index}", "function": {"name": f"f{index}", "arguments": arguments}}, **more)


def told(*chunks: Any, done: bool = True) -> list[tuple[int, str]]:
    """Return after which chunk (from 1) each call was told, and its arguments."""
    log = CallbackLog("on_chunk", "on_tool_call")
    read("sync", [sse(*chunks, done=done)], "chunks", log.callbacks)
    result: list[tuple[int, str]] = []
    count = 0
    for name, argument in log.calls:
        count += name == "on_chunk"
        if name == "on_tool_call":
            result.append((count, argument.function.arguments))
    return result


def test_a_call_is_told_when_the_next_begins() -> None:
    """Parallel calls can be started early."""
    assert told(call('{"a":'), call("1}"), call("{}", 1), finish("tool_calls")) == [(3, '{"a":1}'), (4, "{}")]


def test_an_incomplete_call_waits_for_the_finish() -> None:
    """Interleaved pieces: a call is whole only when its arguments are."""
    assert told(call("{"), call("{", 1), call("}"), call("}", 1), finish("tool_calls")) == [(5, "{}"), (5, "{}")]


def test_a_call_without_arguments_is_whole_at_the_finish() -> None:
    """Empty arguments are valid, but only the finish says that none will come."""
    assert told(call(""), call("{}", 1), finish("tool_calls")) == [(3, ""), (3, "{}")]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_a_call_that_was_cut_is_not_told(reason: str) -> None:
    """Cut arguments may be valid JSON by chance, and must not be executed (vllm#53269, open-interpreter#291)."""
    assert told(call("1"), finish(reason)) == []


def test_a_call_with_broken_arguments_is_not_told() -> None:
    """What is not JSON cannot be executed; it is in the completion."""
    assert told(call('{"a":'), finish("tool_calls")) == []


def test_a_call_of_a_broken_stream_is_not_told() -> None:
    """A stream cut before its finish says nothing about its last call."""
    assert told(call("{}"), done=False) == []


def test_a_call_is_whole_when_the_stream_is() -> None:
    """Some hosts send `[DONE]` without a finish reason."""
    assert told(call("{}")) == [(1, "{}")]


def test_callbacks_of_a_cancelled_task() -> None:
    """A task that is cancelled while it waits still closes and tells its abort, once."""
    log = CallbackLog(is_async=True)

    class Silent(Body):
        async def __aiter__(self) -> Any:
            yield sse(*HELLO[:2], done=False)
            await anyio.sleep_forever()

    body = Silent([])

    async def run() -> None:
        stream = AsyncChatStream(async_client(body).chat.completions.create(**CHAT), log.callbacks)
        with anyio.move_on_after(0.05):
            async for _ in stream:
                pass

    anyio.run(run)

    assert body.closed
    assert log.terminal == ["on_abort"]


def test_truncation_carries_its_text_to_on_error() -> None:
    """What the callback gets has what had come."""
    log = CallbackLog("on_error")
    read("sync", [sse(*HELLO[:2], done=False)], "text", log.callbacks)

    (error,) = log.arguments("on_error")
    assert type(error) is StreamTruncatedError
    assert error.partial.choices[0].message.content == "Hel"
