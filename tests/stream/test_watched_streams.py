"""Tracing tools hear of our streams: by each mechanism, however a stream is read and left."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from unittest import mock

import httpx2
import openai
import pytest
from chunks import HELLO, event, sse, usage
from clients import CHAT, Body, responding_with
from openai.resources.chat.completions import AsyncCompletions, Completions

from tensorloop_stream import (
    AsyncChatStream,
    AsyncTensorloop,
    ChatStream,
    StreamProviderError,
    StreamTruncatedError,
    Tensorloop,
)

WHOLE = sse(*HELLO, usage())
CHUNKS = len(HELLO) + 1
READINGS = ("loop", "text_stream", "final", "wrapped")
every_reading = pytest.mark.parametrize("reading", READINGS)
both = pytest.mark.parametrize("kind", ["sync", "async"])


class Log:
    """The chunks that a tool saw, its errors, and how often its record ended."""

    def __init__(self) -> None:
        self.chunks: list[Any] = []
        self.errors: list[BaseException] = []
        self.ends = 0


def client_of(kind: str, body: bytes = WHOLE, *, ours: bool = True, **settings: Any) -> Any:
    handler = responding_with(Body([body]))
    settings = {"api_key": "none", "base_url": "https://gateway.test/v1", "max_retries": 0, **settings}
    sync: Any = Tensorloop if ours else openai.OpenAI
    if kind == "sync":
        return sync(http_client=httpx2.Client(transport=httpx2.MockTransport(handler)), **settings)
    asynchronous: Any = AsyncTensorloop if ours else openai.AsyncOpenAI
    return asynchronous(http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(handler)), **settings)


async def text_of(client: Any, reading: str) -> str:
    """Read a stream of the client in one of the ways, and return its text."""
    if isinstance(client, Tensorloop):
        stream: Any = client.chat.completions.create(**CHAT)
        stream = ChatStream(stream) if reading == "wrapped" else stream
        if reading == "loop":
            return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        if reading == "final":
            return stream.get_final_completion().choices[0].message.content or ""
        return "".join(stream.text_stream)
    stream = await client.chat.completions.create(**CHAT)
    stream = AsyncChatStream(stream) if reading == "wrapped" else stream
    if reading == "loop":
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    if reading == "final":
        return (await stream.get_final_completion()).choices[0].message.content or ""
    return "".join([text async for text in stream.text_stream])


def follow(items: Any, log: Log) -> Iterator[Any]:
    """Record what passes, as a tool does whose record ends with its generator."""
    try:
        for item in items:
            log.chunks.append(item)
            yield item
    except Exception as error:
        log.errors.append(error)
        raise
    finally:
        log.ends += 1


async def follow_async(items: Any, log: Log) -> AsyncIterator[Any]:
    try:
        async for item in items:
            log.chunks.append(item)
            yield item
    except Exception as error:
        log.errors.append(error)
        raise
    finally:
        log.ends += 1


class Foreign:
    """An object that a tool returns in place of a stream: it iterates, and knows nothing else."""

    def __init__(self, stream: Any, log: Log) -> None:
        self._stream = stream
        self._log = log

    def __iter__(self) -> Iterator[Any]:
        return follow(self._stream, self._log)

    def __aiter__(self) -> AsyncIterator[Any]:
        return follow_async(self._stream, self._log)


def wrap_create(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any]) -> None:
    """Wrap `create` of the SDK's classes, as most tools do."""
    for owner in (Completions, AsyncCompletions):
        plain: Any = owner.create

        @functools.wraps(plain)
        def create(self: Any, *, _plain: Any = plain, **kwargs: Any) -> Any:
            return change(_plain(self, **kwargs))

        @functools.wraps(plain)
        async def create_async(self: Any, *, _plain: Any = plain, **kwargs: Any) -> Any:
            return change(await _plain(self, **kwargs))

        monkeypatch.setattr(owner, "create", create if owner is Completions else create_async)


def replace_iterator(log: Log) -> Callable[[Any], Any]:
    def change(stream: Any) -> Any:
        follows = follow_async if isinstance(stream, openai.AsyncStream) else follow
        stream._iterator = follows(stream._iterator, log)
        return stream

    return change


@pytest.fixture
def log() -> Log:
    return Log()


@both
@every_reading
async def test_a_replaced_iterator_is_read(kind: str, reading: str, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentry, Langfuse and MLflow put a generator of their own into the stream."""
    wrap_create(monkeypatch, replace_iterator(log))

    assert await text_of(client_of(kind), reading) == "Hello"
    assert (len(log.chunks), log.ends, log.errors) == (CHUNKS, 1, [])


@both
@every_reading
async def test_an_object_in_place_of_a_stream_is_read(
    kind: str, reading: str, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenTelemetry, AgentOps and Weave return one: a client's stream has the methods of ours all the same."""
    wrap_create(monkeypatch, lambda stream: Foreign(stream, log))

    assert await text_of(client_of(kind), reading) == "Hello"
    assert (len(log.chunks), log.ends) == (CHUNKS, 1)


@both
@every_reading
async def test_a_patched_iteration_of_the_class_is_used(
    kind: str, reading: str, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opik records in `Stream.__iter__` the streams that it marked."""
    plain: Any = openai.Stream.__iter__
    plain_async: Any = openai.AsyncStream.__aiter__

    def iterate(self: Any) -> Iterator[Any]:
        return follow(plain(self), log) if hasattr(self, "marked") else plain(self)

    def iterate_async(self: Any) -> AsyncIterator[Any]:
        return follow_async(plain_async(self), log) if hasattr(self, "marked") else plain_async(self)

    def mark(stream: Any) -> Any:
        stream.marked = True
        return stream

    monkeypatch.setattr(openai.Stream, "__iter__", iterate)
    monkeypatch.setattr(openai.AsyncStream, "__aiter__", iterate_async)
    wrap_create(monkeypatch, mark)

    assert await text_of(client_of(kind), reading) == "Hello"
    assert (len(log.chunks), log.ends) == (CHUNKS, 1)


LIFE = ["close", "exit", "enter"]


@both
@pytest.mark.parametrize("name", LIFE)
@pytest.mark.parametrize("form", ["client's", "taken over", "of the SDK"])
async def test_a_patched_method_of_the_life_of_the_class_is_called(
    kind: str, name: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tool may end its span in `Stream.close` or `Stream.__exit__`: it gets the stream that it knows, once."""
    sync = kind == "sync"
    owner: Any = openai.Stream if sync else openai.AsyncStream
    method = name if name == "close" else f"__{name}__" if sync else f"__a{name}__"
    plain, called, made = getattr(owner, method), [], []

    def call(self: Any, *given: Any) -> Any:
        called.append(self)
        return plain(self, *given)

    def remember(stream: Any) -> Any:
        made.append(stream)
        return stream

    monkeypatch.setattr(owner, method, call)
    wrap_create(monkeypatch, remember)
    client = client_of(kind, ours=form != "of the SDK")
    if sync:
        opened: Any = client.chat.completions.create(**CHAT)
        with opened if form == "client's" else ChatStream(opened) as stream:
            next(iter(stream))
    else:
        opened = await client.chat.completions.create(**CHAT)
        async with opened if form == "client's" else AsyncChatStream(opened) as stream:
            await anext(aiter(stream))

    assert opened.response.is_closed
    # Nobody enters the SDK's own stream.
    assert called == ([] if form == "of the SDK" and name != "close" else made)


@both
@pytest.mark.parametrize("name", LIFE)
async def test_a_method_of_the_life_that_calls_no_other_closes_all_the_same(
    kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is closed, whatever a test's mock of the class does; without a connection, it is not called."""
    sync = kind == "sync"
    owner: Any = openai.Stream if sync else openai.AsyncStream
    method = name if name == "close" else f"__{name}__" if sync else f"__a{name}__"
    fake = (mock.Mock if sync else mock.AsyncMock)(return_value=None)
    monkeypatch.setattr(owner, method, fake)
    if sync:
        opened: Any = client_of(kind).chat.completions.create(**CHAT)
        with opened:
            next(iter(opened))
        with ChatStream([]):
            pass
    else:
        opened = await client_of(kind).chat.completions.create(**CHAT)
        async with opened:
            await anext(aiter(opened))
        async with AsyncChatStream([]):
            pass

    assert opened.response.is_closed
    assert fake.call_count == 1


@both
@every_reading
async def test_patched_events_of_the_class_are_used(
    kind: str, reading: str, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New Relic reads the server-sent events of `Stream._iter_events`."""
    plain: Any = openai.Stream._iter_events
    plain_async: Any = openai.AsyncStream._iter_events
    monkeypatch.setattr(openai.Stream, "_iter_events", lambda self: follow(plain(self), log))
    monkeypatch.setattr(openai.AsyncStream, "_iter_events", lambda self: follow_async(plain_async(self), log))

    assert await text_of(client_of(kind), reading) == "Hello"
    assert len(log.chunks) == CHUNKS + 1
    assert log.chunks[-1].data == "[DONE]"


@both
@every_reading
async def test_a_subclass_of_the_stream_class_is_read(
    kind: str, reading: str, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logfire makes a class of the one in the request, and overrides `__stream__`."""

    def change(stream_cls: Any) -> Any:
        class Recorded(stream_cls):  # type: ignore[misc]
            def __stream__(self) -> Any:
                follows = follow_async if isinstance(self, openai.AsyncStream) else follow
                return follows(super().__stream__(), log)

        return Recorded

    for owner in (openai.OpenAI, openai.AsyncOpenAI):
        plain: Any = owner.request
        monkeypatch.setattr(
            owner,
            "request",
            lambda self, *args, _plain=plain, stream_cls, **kw: _plain(
                self, *args, stream_cls=change(stream_cls), **kw
            ),
        )

    assert await text_of(client_of(kind), reading) == "Hello"
    assert (len(log.chunks), log.ends) == (CHUNKS, 1)


@every_reading
async def test_a_wrapped_create_of_one_client_is_used(reading: str, log: Log) -> None:
    """LangSmith and Braintrust wrap the method of one client; ours stays around it."""
    client = client_of("sync")
    plain = client.chat.completions.create

    @functools.wraps(plain)
    def create(**kwargs: Any) -> Any:
        return Foreign(plain(**kwargs), log)

    client.chat.completions.create = create

    assert await text_of(client, reading) == "Hello"
    assert (len(log.chunks), log.ends) == (CHUNKS, 1)


class Proxy(Foreign):
    """An object in place of a stream that passes all else on to the stream."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@every_reading
async def test_an_object_in_place_of_the_create_of_one_client_is_used(reading: str, log: Log) -> None:
    """Braintrust puts a callable object there, which looks for itself at the client when it is called."""
    client = client_of("sync")
    completions = client.chat.completions

    class Traced:
        __wrapped__ = completions.create

        def __call__(self, **kwargs: Any) -> Any:
            assert vars(completions)["create"] is self
            return Proxy(self.__wrapped__(**kwargs), log)

    completions.create = Traced()

    assert await text_of(client, reading) == "Hello"
    assert (len(log.chunks), log.ends) == (CHUNKS, 1)


@both
@every_reading
async def test_a_client_class_with_a_chat_of_its_own_is_used(kind: str, reading: str, log: Log) -> None:
    """PostHog's client class replaces `chat` by an object around the one that was there."""

    class Resource:
        def __init__(self, original: Any) -> None:
            self.original = original

        def __getattr__(self, name: str) -> Any:
            return getattr(self.original, name)

    class TracedChat(Resource):
        @property
        def completions(self) -> Any:
            return TracedCompletions(self.original.completions)

    class TracedCompletions(Resource):
        def create(self, **kwargs: Any) -> Any:
            made = self.original.create(**kwargs)
            if kind == "sync":
                return Proxy(made, log)

            async def create_async() -> Any:
                return Proxy(await made, log)

            return create_async()

    client = client_of(kind)
    client.chat = TracedChat(client.chat)

    assert await text_of(client, reading) == "Hello"
    assert (len(log.chunks), log.ends) == (CHUNKS, 1)


def test_a_mocked_chat_stays_the_mock() -> None:
    """A test suite asks its mock what it was called with."""
    client = client_of("sync")
    chat = mock.MagicMock()
    chat.wrapped = client.chat
    client.chat = chat
    client.chat.completions.create(model="m")

    assert client.chat is chat
    chat.completions.create.assert_called_once_with(model="m")


@both
async def test_an_object_whose_block_must_be_left_is_left(kind: str, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """The span of AgentOps ends with a `with` block alone, that of OpenTelemetry's openai-v2 not with `aclose`."""

    class Spanned:
        def __init__(self, stream: Any) -> None:
            self.kept = stream

        def __iter__(self) -> Iterator[Any]:
            return iter(self.kept)

        def __aiter__(self) -> AsyncIterator[Any]:
            return aiter(self.kept)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            log.ends += 1

        async def __aenter__(self) -> Any:
            return self

        async def __aexit__(self, *_: object) -> None:
            log.ends += 1

        def __getattr__(self, name: str) -> Any:
            return getattr(self.kept, name)

    wrap_create(monkeypatch, Spanned)
    handler = responding_with(Body([WHOLE]))
    settings: dict[str, Any] = {"api_key": "none", "base_url": "https://gateway.test/v1"}
    if kind == "sync":
        client = openai.OpenAI(http_client=httpx2.Client(transport=httpx2.MockTransport(handler)), **settings)
        with ChatStream(client.chat.completions.create(**CHAT)) as stream:
            next(stream)
        response = stream.response
    else:
        async_client = openai.AsyncOpenAI(
            http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(handler)), **settings
        )
        async with AsyncChatStream(async_client.chat.completions.create(**CHAT)) as async_stream:
            await anext(async_stream)
        response = async_stream.response

    assert log.ends == 1
    assert response is not None
    assert response.is_closed


@both
async def test_a_tool_sees_the_error_that_the_caller_gets(kind: str, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error inside the stream passes the tool, with the partial answer."""
    wrap_create(monkeypatch, replace_iterator(log))
    body = sse(*HELLO[:2], done=False) + event({"error": {"message": "overloaded", "code": "503"}})
    with pytest.raises(StreamProviderError) as raised:
        await text_of(client_of(kind, body), "final")

    assert log.errors == [raised.value]
    assert raised.value.partial.choices[0].message.content == "Hel"


@both
async def test_a_truncated_stream_behind_an_object_is_an_error(
    kind: str, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrapper cannot hide that an answer has no end."""
    wrap_create(monkeypatch, lambda stream: Foreign(stream, log))
    with pytest.raises(StreamTruncatedError) as raised:
        await text_of(client_of(kind, sse(*HELLO[:3], done=False)), "final")

    assert raised.value.partial.choices[0].message.content == "Hello"


async def test_a_stream_left_early_ends_the_record_of_a_tool(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """The generator of a tool is closed with the stream, and not by the garbage collector."""
    wrap_create(monkeypatch, replace_iterator(log))
    with client_of("sync").chat.completions.create(**CHAT) as stream:
        next(stream)

    assert log.ends == 1

    async with await client_of("async").chat.completions.create(**CHAT) as stream:
        await anext(stream)

    assert log.ends == 2


def test_chunks_that_a_tool_hides_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weave asks for the usage, keeps its chunk to itself, and stops there."""

    class Hiding:
        def __init__(self, stream: Any) -> None:
            self._stream = stream

        def __iter__(self) -> Iterator[Any]:
            for chunk in self._stream:
                if not chunk.choices:
                    return
                yield chunk

    wrap_create(monkeypatch, Hiding)
    stream: Any = client_of("sync").chat.completions.create(**CHAT)

    assert stream.get_final_text() == "Hello"
    assert stream.usage.total_tokens == 9


def test_a_mocked_create_returns_the_mock() -> None:
    """Test suites replace `create` of the SDK's class by a mock of a stream."""
    stream = mock.MagicMock(spec=openai.Stream)
    with mock.patch.object(Completions, "create", return_value=stream):
        assert client_of("sync").chat.completions.create(**CHAT) is stream


def test_a_stream_of_the_sdk_that_a_tool_watches_is_read_through_it(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ChatStream` around the stream of an `OpenAI` client keeps the tool's record, too."""
    wrap_create(monkeypatch, replace_iterator(log))
    transport = httpx2.MockTransport(responding_with(Body([WHOLE])))
    client = openai.OpenAI(
        api_key="none", base_url="https://gateway.test/v1", http_client=httpx2.Client(transport=transport)
    )
    with ChatStream(client.chat.completions.create(**CHAT)) as stream:
        assert stream.get_final_text() == "Hello"

    assert (len(log.chunks), log.ends) == (CHUNKS, 1)


@pytest.mark.parametrize("opens", [False, True])
@pytest.mark.parametrize("name", ["stream", "chat", "_iterator"])
@both
async def test_an_object_of_the_callers_may_change_what_passes(kind: str, name: str, opens: bool) -> None:
    """A filter around one of our streams is read, and the stream inside is not, whatever the filter calls it."""

    class Loud:
        def __init__(self, stream: Any) -> None:
            setattr(self, name, stream)

        def __iter__(self) -> Iterator[Any]:
            for chunk in getattr(self, name):
                yield self._loud(chunk)

        async def __aiter__(self) -> AsyncIterator[Any]:
            async for chunk in getattr(self, name):
                yield self._loud(chunk)

        def _loud(self, chunk: Any) -> Any:
            for choice in chunk.choices:
                choice.delta.content = choice.delta.content and choice.delta.content.upper()
            return chunk

    if kind == "sync":
        loud = Loud(client_of("sync").chat.completions.create(**CHAT))
        stream: Any = ChatStream((lambda: loud) if opens else loud)
        got = "".join(stream.text_stream)
    else:
        loud = Loud(await client_of("async").chat.completions.create(**CHAT))
        async_stream = AsyncChatStream((lambda: loud) if opens else loud)
        got, stream = "".join([text async for text in async_stream.text_stream]), async_stream

    assert got == stream.text == "HELLO"
    with pytest.raises(ValueError, match="continue_broken is 1, and the source names no request"):
        (ChatStream if kind == "sync" else AsyncChatStream)(loud, continue_broken=1)


def test_timeouts_of_a_client_hold_where_no_read_can_be_woken() -> None:
    """A program with an `idle_timeout` can be tested with a mock transport."""
    client = client_of("sync", idle_timeout=5.0, first_chunk_timeout=5.0, total_timeout=60.0)
    assert client.chat.completions.create(**CHAT).get_final_text() == "Hello"
    with client.chat.completions.create(**CHAT) as stream, pytest.raises(ValueError, match="idle_timeout"):
        ChatStream(stream, idle_timeout=5.0)


@both
async def test_the_iterator_of_a_stream_can_be_closed(kind: str) -> None:
    """A tool closes what it finds in `_iterator` as it closes a generator: the stream is closed then."""
    if kind == "sync":
        stream: Any = client_of("sync").chat.completions.create(**CHAT)
        next(stream)
        stream._iterator.close()
    else:
        stream = await client_of("async").chat.completions.create(**CHAT)
        await anext(stream)
        await stream._iterator.aclose()

    assert stream.response.is_closed
    assert repr(stream).endswith(" closed, 1 chunk>")


@pytest.mark.parametrize("how", ["subclass", "class of one stream"])
@both
async def test_a_subclass_may_extend_the_iteration(kind: str, how: str) -> None:
    """`super().__iter__()` and `super().__aiter__()` give the items, as in a subclass of the SDK's stream."""

    class Recorded(ChatStream):
        def __iter__(self) -> Iterator[Any]:
            yield from super().__iter__()

    class AsyncRecorded(AsyncChatStream):
        async def __aiter__(self) -> AsyncIterator[Any]:
            async for chunk in super().__aiter__():
                yield chunk

    if kind == "sync":
        stream: Any = client_of("sync").chat.completions.create(**CHAT)
        if how == "subclass":
            stream = Recorded(stream)
        else:
            stream.__class__ = Recorded
        count = len(list(stream))
    else:
        stream = await client_of("async").chat.completions.create(**CHAT)
        if how == "subclass":
            stream = AsyncRecorded(stream)
        else:
            stream.__class__ = AsyncRecorded
        count = len([chunk async for chunk in stream])

    assert count == CHUNKS
    assert stream.text == "Hello"


class Span:
    """An object of a tool that is iterator, wrapper and block in one."""

    def __init__(self, inner: Any, log: Log) -> None:
        self.inner = inner
        self.log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __iter__(self) -> Any:
        return self

    def __aiter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return next(self.inner)

    async def __anext__(self) -> Any:
        return await anext(self.inner)

    def __enter__(self) -> Any:
        return self

    async def __aenter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.log.ends += 1
        self.inner.close()

    async def __aexit__(self, *_: object) -> None:
        self.log.ends += 1
        await self.inner.close()


class ClosedSpan(Span):
    def close(self) -> None:
        self.__exit__()


@pytest.mark.parametrize("way", ["block", "close", "close in a block"])
@pytest.mark.parametrize("wraps", [False, True])
@both
async def test_an_object_of_a_tool_ends_once(
    kind: str, wraps: bool, way: str, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object that is iterator, wrapper and block in one is closed or left once, however many streams are around."""

    wrap_create(monkeypatch, lambda stream: (ClosedSpan if kind == "sync" else Span)(stream, log))
    if kind == "sync":
        stream: Any = client_of("sync").chat.completions.create(**CHAT)
        stream = ChatStream(stream) if wraps else stream
        if way == "close":
            stream.close()
        else:
            with stream:
                next(stream)
                if way != "block":
                    stream.close()
    else:
        stream = await client_of("async").chat.completions.create(**CHAT)
        stream = AsyncChatStream(stream) if wraps else stream
        if way == "close":
            await stream.close()
        else:
            async with stream:
                await anext(stream)
                if way != "block":
                    await stream.close()

    assert log.ends == 1


@both
async def test_a_close_that_a_tool_put_into_a_stream_is_called_once(kind: str, log: Log) -> None:
    """A stream around a watched one closes that one, which calls the tool."""
    if kind == "sync":
        inner: Any = client_of("sync").chat.completions.create(**CHAT)
        plain = inner.close

        def close() -> None:
            log.ends += 1
            plain()

        inner.close = close
        with ChatStream(inner) as stream:
            stream.until_done()
    else:
        inner = await client_of("async").chat.completions.create(**CHAT)
        plain = inner.close

        async def close_async() -> None:
            log.ends += 1
            await plain()

        inner.close = close_async
        async with AsyncChatStream(inner) as async_stream:
            await async_stream.until_done()

    assert log.ends == 1


@pytest.mark.parametrize("how", ["read", "iter_lines", "iter_bytes", "iter_raw", "_iter_events"])
@both
async def test_an_unread_response_may_be_read_by_hand(kind: str, how: str) -> None:
    """The response of a stream is the SDK's until the stream is read: its body can be had past the stream."""
    if kind == "sync":
        stream: Any = client_of("sync").chat.completions.create(**CHAT)
        if how == "read":
            got = stream.response.read()
        else:
            got = list(stream._iter_events() if how == "_iter_events" else getattr(stream.response, how)())
    else:
        stream = await client_of("async").chat.completions.create(**CHAT)
        if how == "read":
            got = await stream.response.aread()
        else:
            got = [
                each
                async for each in (
                    stream._iter_events() if how == "_iter_events" else getattr(stream.response, f"a{how}")()
                )
            ]

    assert len(got) == {"read": len(WHOLE), "iter_lines": 2 * (CHUNKS + 1), "_iter_events": CHUNKS + 1}.get(how, 1)


@both
async def test_a_stream_whose_response_was_read_whole_gives_its_items(kind: str) -> None:
    """A tool logs the body before the caller reads the stream."""
    if kind == "sync":
        stream: Any = client_of("sync").chat.completions.create(**CHAT)
        stream.response.read()
        stream.until_done()
    else:
        stream = await client_of("async").chat.completions.create(**CHAT)
        await stream.response.aread()
        await stream.until_done()

    assert stream.text == "Hello"


def read_ahead(items: Any, count: int) -> Iterator[Any]:
    held = []
    for item in items:
        held.append(item)
        if len(held) > count:
            yield held.pop(0)
    yield from held


async def read_ahead_async(items: Any, count: int) -> AsyncIterator[Any]:
    held = []
    async for item in items:
        held.append(item)
        if len(held) > count:
            yield held.pop(0)
    for item in held:
        yield item


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("count", [0, 1, 99])
@both
async def test_texts_are_those_of_the_items_that_a_tool_returns(kind: str, count: int, begun: bool) -> None:
    """Behind an iterator that reads ahead, `text_stream` gives what a loop over the items gives."""
    if kind == "sync":
        stream: Any = client_of("sync").chat.completions.create(**CHAT)
        stream._iterator = read_ahead(stream._iterator, count)
        if begun:
            next(stream)
        texts = list(stream.text_stream)
    else:
        stream = await client_of("async").chat.completions.create(**CHAT)
        stream._iterator = read_ahead_async(stream._iterator, count)
        if begun:
            await anext(stream)
        texts = [text async for text in stream.text_stream]

    assert texts == ["Hel", "lo"]


def test_texts_behind_a_tool_are_of_one_choice() -> None:
    """An item of another choice has no text for `text_stream`, read ahead or not."""
    other = {"index": 1, "delta": {"content": "Other"}}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [other]}
    stream: Any = client_of("sync", sse(HELLO[0], chunk, *HELLO[1:])).chat.completions.create(**CHAT)
    stream._iterator = iter(list(stream._iterator))

    assert list(stream.text_stream) == ["Hel", "lo"]


@pytest.mark.parametrize("attribute", ["OpenAI.chat", "resources.chat.Chat.completions", "OpenAI.responses"])
@both
def test_a_mocked_resource_of_the_sdks_class_is_used(kind: str, attribute: str) -> None:
    """No request is sent where a test replaced the attribute of the class, and the mock is gone after it."""
    owner, name = attribute.rsplit(".", 1)
    target = f"openai.{owner}.{name}" if kind == "sync" else f"openai.{owner.replace('OpenAI', 'AsyncOpenAI')}.{name}"
    target = target.replace(".Chat.", ".AsyncChat.") if kind == "async" else target
    client = client_of(kind)
    with mock.patch(target) as replaced:
        found = client.chat.completions if name == "completions" else getattr(client, name)
        assert found is replaced

    after = client.chat.completions if name == "completions" else getattr(client, name)
    assert "tensorloop" in type(after).__module__


def test_a_mocked_property_of_the_sdks_class_is_used() -> None:
    """A `PropertyMock` is asked, as with the SDK's client."""
    with mock.patch("openai.OpenAI.chat", new_callable=mock.PropertyMock, return_value="mocked"):
        assert client_of("sync").chat == "mocked"
