"""Streams that several threads or tasks hold, and streams that an interrupt or a silence ends."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import openai
import pytest
from chunks import HELLO, chunk, sse, text, usage
from clients import CHAT, SSL, Body, async_client, read, sync_client
from sockets import EVENTS, chat, eventually, write_cassette

from tensorloop_stream import (
    AsyncChatStream,
    AsyncTensorloop,
    Callbacks,
    ChatStream,
    StreamError,
    StreamTimeoutError,
    StreamTruncatedError,
    Tensorloop,
)
from tensorloop_stream._chat.dialect import CHAT as DIALECT
from tensorloop_stream._stream.settings import StreamSettings
from tensorloop_stream._stream.state import GRACE_SECONDS, StreamState
from tensorloop_stream.replay import ReplayServer

both = pytest.mark.parametrize("kind", ["sync", "async"])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ReplayServer]:
    with ReplayServer(write_cassette(tmp_path / "hello.yaml", hello=EVENTS)) as server:
        yield server


def tensorloop(server: ReplayServer, **settings: Any) -> Tensorloop:
    return Tensorloop(
        api_key="none", base_url=server.base_url, max_retries=0, http_client=httpx2.Client(verify=SSL), **settings
    )


def async_tensorloop(server: ReplayServer, **settings: Any) -> AsyncTensorloop:
    http_client = httpx2.AsyncClient(verify=SSL)
    return AsyncTensorloop(api_key="none", base_url=server.base_url, max_retries=0, http_client=http_client, **settings)


def terminal_callbacks(calls: list[str], **more: Any) -> Callbacks:
    """Return callbacks that note which terminal one is called."""
    return Callbacks(
        on_finish=lambda _: calls.append("finish"),
        on_error=lambda _: calls.append("error"),
        on_abort=lambda _: calls.append("abort"),
        **more,
    )


# Several threads and tasks


def test_a_close_from_another_thread_is_an_error_between_two_reads(server: ReplayServer) -> None:
    """The reader must not take the end for that of a whole answer."""
    with tensorloop(server) as client:
        stream = ChatStream(client.chat.completions.create(**chat("delay=0.01")))
        next(stream)
        next(stream)
        closing = threading.Thread(target=stream.close)
        closing.start()
        closing.join()
        with pytest.raises(StreamTruncatedError, match="closed early, after 2 chunks") as raised:
            next(stream)

    assert raised.value.partial.choices[0].message.content == "Hel"


async def test_a_close_from_another_task_is_an_error_between_two_reads(server: ReplayServer) -> None:
    """The same for tasks."""
    async with async_tensorloop(server) as client:
        stream = AsyncChatStream(client.chat.completions.create(**chat("delay=0.01")))
        await anext(stream)
        await anext(stream)
        await asyncio.create_task(stream.close())
        with pytest.raises(StreamTruncatedError, match="closed early, after 2 chunks"):
            await anext(stream)


@both
def test_a_stream_that_its_reader_closes_ends_quietly(kind: str, server: ReplayServer) -> None:
    """A loop may close the stream that it reads."""

    async def run() -> None:
        async with async_tensorloop(server) as client:
            stream = AsyncChatStream(client.chat.completions.create(**chat()))
            async for _ in stream:
                await stream.close()

    if kind == "async":
        asyncio.run(run())
        return
    with tensorloop(server) as client:
        stream = ChatStream(client.chat.completions.create(**chat()))
        for _ in stream:
            stream.close()


def test_two_threads_on_one_stream_get_one_clear_error(server: ReplayServer) -> None:
    """The second reader is told so, and the first one goes on."""
    with tensorloop(server) as client:
        stream = ChatStream(client.chat.completions.create(**chat("delay=0.2")))
        texts: list[str] = []
        reading = threading.Thread(target=lambda: texts.extend(stream.text_stream))
        reading.start()
        assert eventually(lambda: bool(texts))
        with pytest.raises(RuntimeError, match="is being read by another thread"):
            next(stream)
        reading.join()
        stream.close()

    assert stream.completion.choices[0].finish_reason == "stop"


async def test_two_tasks_on_one_stream_get_one_clear_error(server: ReplayServer) -> None:
    """The same while the stream is opened, and while it is read."""
    async with async_tensorloop(server) as client:
        for faults in ("first-delay=0.3", "delay=0.2"):
            stream = AsyncChatStream(client.chat.completions.create(**chat(faults)))
            reading = asyncio.create_task(stream.get_final_text())
            await asyncio.sleep(0.1)
            with pytest.raises(RuntimeError, match="is being read by another task"):
                await anext(stream)

            assert await reading == "Hello"


# Interrupts


class Interrupting(dict[str, Any]):
    """A field whose first look, once it is armed, is interrupted."""

    is_armed = False

    def items(self) -> Any:
        if self.is_armed:
            self.is_armed = False
            raise KeyboardInterrupt
        return super().items()


def test_an_interrupt_while_the_result_is_built_loses_no_terminal_callback() -> None:
    """Ctrl-C may come at any moment, and exactly one of three callbacks is called all the same."""
    calls: list[str] = []
    field = Interrupting(a=1)

    def source() -> Iterator[Any]:
        yield chunk({"role": "assistant", "content": "x", "vendor": {"inner": field}})
        yield HELLO[-1]
        field.is_armed = True

    with pytest.raises(KeyboardInterrupt), ChatStream(source(), terminal_callbacks(calls)) as stream:
        stream.until_done()

    assert calls == ["finish"]


def test_an_interrupt_in_on_usage_loses_no_terminal_callback() -> None:
    """The usage is handed over right before the terminal callback, and once."""
    calls: list[str] = []

    def interrupt(_: Any) -> None:
        calls.append("usage")
        raise KeyboardInterrupt

    source = [*HELLO, usage()]
    with (
        pytest.raises(KeyboardInterrupt),
        ChatStream(source, terminal_callbacks(calls, on_usage=interrupt)) as stream,
    ):
        stream.until_done()

    assert calls == ["usage", "finish"]


# Silences


def state_with(now: list[float]) -> StreamState:
    state = StreamState(DIALECT, None, StreamSettings(), clock=lambda: now[0])
    state.receive(sse(*HELLO, done=False), "bytes")
    while state.next(typed=False) is not None:
        pass
    return state


@pytest.mark.parametrize("one_by_one", [True, False])
def test_heartbeats_after_the_finish_reason_end_the_stream(one_by_one: bool) -> None:
    """After the finish reason only usage and the end can follow, and some gateways send neither (bifrost#6784)."""
    now = [100.0]
    state = state_with(now)
    ended = []
    for _ in range(7):
        now[0] += 1
        if one_by_one:
            state.feed_one(b": ping\n\n", "bytes", typed=False)
        else:
            state.receive(b": ping\n\n: ping\n\n", "bytes")
            state.next(typed=False)
        ended.append(state.done)

    assert ended == [seconds > GRACE_SECONDS for seconds in range(1, 8)]
    assert not state.timing.chunk_times[0]


def test_usage_within_the_grace_is_taken() -> None:
    """Each chunk begins the grace anew."""
    now = [100.0]
    state = state_with(now)
    now[0] += GRACE_SECONDS - 1
    state.receive(sse(usage(), done=False), "bytes")

    assert state.next(typed=False) is not None
    now[0] += 2
    state.receive(b": ping\n\n", "bytes")
    state.next(typed=False)
    assert not state.done


def test_heartbeats_before_the_finish_reason_end_nothing() -> None:
    """A model may think for long."""
    now = [100.0]
    state = StreamState(DIALECT, None, StreamSettings(), clock=lambda: now[0])
    state.receive(sse(*HELLO[:2], done=False), "bytes")
    while state.next(typed=False) is not None:
        pass
    now[0] += 600
    state.receive(b": ping\n\n", "bytes")
    state.next(typed=False)

    assert not state.done


@both
def test_total_timeout_limits_a_stream_that_never_stalls(kind: str, server: ReplayServer) -> None:
    """The limit holds although each chunk arrives in time, and the error has the partial answer."""
    faults = "delay=0.15&ping=0.05"

    async def run() -> StreamError:
        async with async_tensorloop(server) as client:
            stream = AsyncChatStream(client.chat.completions.create(**chat(faults)), total_timeout=0.4)
            with pytest.raises(StreamTimeoutError) as raised:
                await stream.until_done()
            return raised.value

    if kind == "async":
        error: StreamError = asyncio.run(run())
    else:
        with tensorloop(server, total_timeout=0.4) as client:
            stream = client.chat.completions.create(**chat(faults))
            with pytest.raises(StreamTimeoutError) as raised:
                list(stream)
            error = raised.value

    assert "not complete within 0.4 s (total_timeout), after " in str(error)
    assert error.partial.choices[0].finish_reason is None


def test_total_timeout_permits_no_restart_beyond_it() -> None:
    """A back-off that ends after the limit is not begun."""
    now = [100.0]
    settings = StreamSettings(total_timeout=0.2, restarts=3)
    state = StreamState(DIALECT, None, settings, clock=lambda: now[0])

    assert state.restart_delay(StreamTruncatedError("cut")) is None


# Errors and warnings that the SDK's users know


@both
@pytest.mark.parametrize(
    "error", [anyio.EndOfStream("end"), httpx2.DecodingError("gzip"), httpx2.RemoteProtocolError("cut")]
)
def test_a_broken_read_is_a_connection_error(kind: str, error: Exception) -> None:
    """`except openai.APIConnectionError` catches it, as with the SDK."""
    outcome = read(kind, [sse(*HELLO[:2], done=False), error])

    assert isinstance(outcome.error, openai.APIConnectionError)
    assert isinstance(outcome.error, StreamError)
    assert outcome.error.partial.choices[0].message.content == "Hel"


@both
def test_a_response_closed_by_hand_gives_no_warning(kind: str) -> None:
    """The SDK's helpers close the response, and not the stream."""

    async def leave() -> None:
        stream: Any = await AsyncTensorloop(
            api_key="none", http_client=async_client(Body([sse(*HELLO)]))._client
        ).chat.completions.create(**CHAT)
        await anext(stream)
        await stream.response.aclose()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if kind == "async":
            asyncio.run(leave())
        else:
            client = Tensorloop(api_key="none", http_client=sync_client(Body([sse(*HELLO)]))._client)
            stream: Any = client.chat.completions.create(**CHAT)
            next(stream)
            stream.response.close()
            del stream
        gc.collect()


def test_a_large_text_behind_a_small_one_takes_memory_of_its_own_size() -> None:
    """A pattern that goes back over the text would keep 144 bytes for each character of it."""
    import tracemalloc

    large = "A" * 2**20
    parts = [sse(HELLO[0], text("a"), done=False), sse(text(large), done=False), sse(HELLO[-1])]
    read("sync", list(parts), "text")
    tracemalloc.start()
    try:
        outcome = read("sync", list(parts), "text")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert outcome.items == ["a", large]
    assert peak < 12 * 2**20
