"""Callbacks: their order, the one terminal call, and whole tool calls."""

from __future__ import annotations

import functools
from typing import Any

import anyio
import httpx2
import pytest
from callback_log import NAMES, CallbackLog
from chunks import HELLO, accumulate, chunk, event, finish, sse, text, tool, usage
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
def test_callbacks_are_called_in_order(kind: str, mode: Mode, is_async: bool) -> None:
    """`on_chunk` comes before the callbacks for its fields, and `on_usage` right before the one terminal call."""
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
    """Every callback is optional."""
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
def test_a_stream_makes_exactly_one_terminal_call(kind: str, mode: Mode, parts: list[Any], terminal: str) -> None:
    """Every ending makes one terminal call, and `on_error` receives the error that is raised."""
    log = CallbackLog()
    outcome = read(kind, parts, mode, log.callbacks)

    assert log.terminal == [terminal]
    assert log.names[-1] == terminal
    if outcome.error is not None:
        assert log.arguments("on_error") == [outcome.error]


@both
@pytest.mark.parametrize(("chunks", "terminal"), [(2, "on_abort"), (4, "on_finish")])
def test_leaving_a_stream_early_calls_on_abort_before_the_finish_reason(kind: str, chunks: int, terminal: str) -> None:
    """After the finish reason it calls `on_finish`; closing the stream again calls nothing."""
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
def test_an_exception_from_a_callback_closes_the_stream(kind: str, mode: Mode, raising: str) -> None:
    """`on_error` receives the exception, and the caller gets the same exception."""
    log = CallbackLog(raising=raising)
    outcome = read(kind, [sse(*EVERYTHING)], mode, log.callbacks)

    assert type(outcome.error) is LookupError
    assert log.terminal == ["on_error"]
    assert log.arguments("on_error") == [outcome.error]


@both
@pytest.mark.parametrize("raising", ["on_finish", "on_error"])
def test_an_exception_from_a_terminal_callback_reaches_the_caller(kind: str, raising: str) -> None:
    """No second terminal call follows."""
    log = CallbackLog(raising=raising)
    outcome = read(kind, [sse(*HELLO, done=True) if raising == "on_finish" else b""], "text", log.callbacks)

    assert type(outcome.error) is LookupError
    assert log.terminal == [raising]


@both
def test_a_callback_may_close_the_stream(kind: str) -> None:
    """The stream reads nothing more, and calls `on_abort` once."""
    log = CallbackLog("on_abort")
    streams: list[Any] = []

    async def run() -> list[str]:
        async def stop(_: str) -> None:
            await streams[0].close()

        client = async_client(Body([sse(*HELLO)]))
        callbacks = Callbacks(on_text=stop, on_abort=log.callbacks.on_abort)
        streams.append(AsyncChatStream(client.chat.completions.create(**CHAT), callbacks))
        return [text async for text in streams[0].text_stream]

    if kind == "async":
        texts = anyio.run(run)
    else:
        callbacks = Callbacks(on_text=lambda _: streams[0].close(), on_abort=log.callbacks.on_abort)
        streams.append(ChatStream(sync_client(Body([sse(*HELLO)])).chat.completions.create(**CHAT), callbacks))
        texts = list(streams[0].text_stream)

    assert texts == ["Hel"]
    assert log.names == ["on_abort"]


@both
def test_an_error_while_opening_calls_on_error(kind: str) -> None:
    """`on_error` receives the error of a function or an awaitable that fails to open the stream."""
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
    """A synchronous stream rejects every form of async function with a `TypeError` that names the callback."""

    async def later(_: Any) -> None:
        pass

    def looks_sync(text: Any) -> Any:
        return later(text)

    class Later:
        async def __call__(self, _: Any) -> None:
            pass

    for function in (later, functools.partial(later), Later()):
        with pytest.raises(TypeError, match="on_text is an async function: use AsyncChatStream"):
            ChatStream(list(HELLO), Callbacks(on_text=function))
    with pytest.raises(TypeError, match="is async: use AsyncChatStream"):
        ChatStream(list(HELLO), Callbacks(on_text=looks_sync)).until_done()


def test_callbacks_reject_unknown_names_and_assignment() -> None:
    """A mistyped name raises an error at once."""
    with pytest.raises(TypeError, match="on_txt"):
        Callbacks(on_txt=print)  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        Callbacks().on_text = print  # type: ignore[misc]


# Whole tool calls


def call(arguments: str, index: int = 0, **more: Any) -> dict[str, Any]:
    return tool({"index": index, "id": f"c{index}", "function": {"name": f"f{index}", "arguments": arguments}}, **more)


def tool_call_callbacks(*chunks: Any, done: bool = True) -> list[tuple[int, str]]:
    """Return the number of the chunk (from 1) that triggered each `on_tool_call`, and the arguments of the call."""
    log = CallbackLog("on_chunk", "on_tool_call")
    read("sync", [sse(*chunks, done=done)], "chunks", log.callbacks)
    result: list[tuple[int, str]] = []
    count = 0
    for name, argument in log.calls:
        count += name == "on_chunk"
        if name == "on_tool_call":
            result.append((count, argument.function.arguments))
    return result


def test_on_tool_call_comes_when_the_next_call_begins() -> None:
    """A program can start parallel calls early."""
    assert tool_call_callbacks(call('{"a":'), call("1}"), call("{}", 1), finish("tool_calls")) == [
        (3, '{"a":1}'),
        (4, "{}"),
    ]


def test_on_tool_call_waits_for_the_finish_reason_when_calls_are_interleaved() -> None:
    """A call is whole only when its arguments are."""
    assert tool_call_callbacks(call("{"), call("{", 1), call("}"), call("}", 1), finish("tool_calls")) == [
        (5, "{}"),
        (5, "{}"),
    ]


def test_on_tool_call_waits_for_the_finish_reason_when_arguments_are_empty() -> None:
    """Only the finish reason confirms that no arguments follow; where none were sent, they are an empty object."""
    unsaid = tool({"index": 0, "id": "call_0", "type": "function", "function": {"name": "f"}})
    for nothing, arguments in ((unsaid, "{}"), (call(""), ""), (call("{}"), "{}")):
        assert tool_call_callbacks(nothing, call("{}", 1), finish("tool_calls")) == [(3, arguments), (3, "{}")]


ABNORMAL = ["length", "content_filter", "error", "abort", "max_tokens", "SAFETY", "insufficient_system_resource"]


@pytest.mark.parametrize(
    "reason", ["stop", "tool_calls", "function_call", "eos", "end_turn", "tool_use", "STOP", "Tool_Calls"]
)
def test_on_tool_call_is_called_after_a_reason_of_whole_answers(reason: str) -> None:
    """Six reasons, in any case, mean that the answer is whole (qwen-code#9884)."""
    assert tool_call_callbacks(call("1"), finish(reason)) == [(2, "1")]


@both
@pytest.mark.parametrize(("arguments", "reason"), [("1", "SAFETY"), ('{"a":', "tool_calls"), ('{"a":', "length")])
def test_an_unusable_call_is_told_once(kind: str, arguments: str, reason: str) -> None:
    """`on_unusable_tool_call` gets the call and the reason, and the stream lists it; `on_tool_call` gets nothing."""
    log = CallbackLog()
    outcome = read(kind, [sse(call(arguments), finish(reason), usage())], callbacks=log.callbacks)
    (told,) = log.arguments("on_unusable_tool_call")

    assert told == outcome.stream.unusable_tool_calls[0]
    assert told.tool_call.function.arguments == arguments
    assert (reason if reason != "tool_calls" else "not valid JSON") in told.reason
    assert log.arguments("on_tool_call") == []
    assert log.names[-3:] == ["on_unusable_tool_call", "on_usage", "on_finish"]


def test_an_unfinished_call_is_not_unusable_yet() -> None:
    """Before the end, more arguments may come; a call that was handed over is not in the list."""
    whole, open_call = call("{}"), call('{"a":', 1)

    assert accumulate(whole, open_call).unusable_tool_calls == []
    (left,) = accumulate(call('{"b":1}'), open_call, finish("length")).unusable_tool_calls
    assert left.tool_call.to_dict()["function"] == {"name": "f1", "arguments": '{"a":'}


@pytest.mark.parametrize("reason", ABNORMAL)
def test_on_tool_call_is_not_called_when_the_answer_is_truncated(reason: str) -> None:
    """Truncated arguments may be valid JSON by chance, and must not be executed (vllm#53269, open-interpreter#291)."""
    assert tool_call_callbacks(call("1"), finish(reason)) == []


def test_on_tool_call_is_not_called_when_arguments_are_not_json() -> None:
    """Arguments that are not JSON cannot be executed; the completion contains them."""
    assert tool_call_callbacks(call('{"a":'), finish("tool_calls")) == []


def test_on_tool_call_is_not_called_when_the_stream_breaks() -> None:
    """A stream that ends before its finish reason leaves its last call unconfirmed."""
    assert tool_call_callbacks(call("{}"), done=False) == []


def test_on_tool_call_comes_at_done_without_a_finish_reason() -> None:
    """Some hosts send `[DONE]` without a finish reason."""
    assert tool_call_callbacks(call("{}")) == [(1, "{}")]


def test_a_cancelled_task_calls_on_abort() -> None:
    """A task that is cancelled while it waits closes the stream and calls `on_abort` once."""
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


def test_on_error_receives_the_partial_completion() -> None:
    """The error of a truncated stream carries the text so far."""
    log = CallbackLog("on_error")
    read("sync", [sse(*HELLO[:2], done=False)], "text", log.callbacks)

    (error,) = log.arguments("on_error")
    assert type(error) is StreamTruncatedError
    assert error.partial.choices[0].message.content == "Hel"
