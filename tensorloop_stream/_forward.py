"""A gateway's stream to a browser, byte for byte, through the SDK's client: its key, retries and errors."""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import anyio
import httpx2
import openai
from openai import AsyncStream, Stream

from ._passage import SSE_HEADERS, Passage, SilentPassage, passed_on, refusal, request_body
from ._sources import END, AsyncSource, Source, async_bytes_of, bytes_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
    from types import TracebackType

    from ._callbacks import Call, Callbacks

    Message = MutableMapping[str, Any]

__all__ = ["AsyncForwardedChat", "ForwardApp", "ForwardedChat", "aforward_chat", "forward_chat"]

_PATH = "/chat/completions"
_EMPTY = "the gateway ended its answer before the first byte"
_CUT = "the connection to the gateway was cut before the first byte"


class _Forwarded:
    """What an answer to a browser says before its bytes."""

    status_code: int
    """The gateway's, 502 if it could not be reached, 504 if it did not begin in time."""
    headers: dict[str, str]
    """For the browser: `SSE_HEADERS` or an error's content type, and the gateway's ids and `retry-after`."""

    def __init__(self, callbacks: Callbacks | None) -> None:
        self._passage = SilentPassage() if callbacks is None else Passage(callbacks)
        self._source: Any = None
        # The first read of a stream, or the whole body of an error.
        self._first = b""

    def _begin(self, first: Any) -> None:
        # LiteLLM sends its headers with the first byte: waiting for it costs nothing, and an answer that never
        # begins is an error with a status instead of an empty 200.
        response = self._source.response
        if first is END:
            raise openai.APIConnectionError(message=_EMPTY, request=response.request)
        self._first = first
        self.status_code = response.status_code
        self.headers = {**SSE_HEADERS, **passed_on(response.headers)}

    def _refuse(self, error: openai.APIError) -> list[Call]:
        self.status_code, self.headers, self._first = refusal(error)
        return self._passage.refused(error)


class ForwardedChat(_Forwarded):
    """An answer for a browser: `status_code`, `headers`, and its bytes when iterated; `close()` it at the end."""

    def __init__(self, client: openai.OpenAI, body: Mapping[str, Any], callbacks: Callbacks | None) -> None:
        if callbacks is not None:
            callbacks.require_sync()
        super().__init__(callbacks)
        body = request_body(body)
        try:
            # The unread response: the SDK parses nothing of it, and any field may be in the body.
            response: Any = client.post(_PATH, body=body, cast_to=httpx2.Response, stream=True, stream_cls=Stream[Any])
            self._source = Source("bytes", bytes_of(response), response, None)
            self._passage.sent_to(response)
            with _as_openai_errors(response):
                first = next(self._source.reads, END)
            self._begin(first)
        except openai.APIError as error:
            self._close_source()
            self._run(self._refuse(error))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        if self._first:
            data, self._first = self._first, b""
            if self._source is not None:
                self._run(self._passage.pass_on(data))
            return data
        if self._source is None:
            raise StopIteration
        try:
            read = next(self._source.reads, END)
        except Exception as error:  # noqa: BLE001 - raised again, if it is no cut
            last, calls = self._passage.cut(error)
        except BaseException:
            self.close()
            raise
        else:
            if read is not END:
                self._run(self._passage.pass_on(read))
                return bytes(read)
            last, calls = self._passage.end()
        self._close_source()
        self._run(calls)
        if not last:
            raise StopIteration
        return last

    def close(self) -> None:
        """Close the upstream now; if the browser left before the end, `on_abort` is called."""
        self._close_source()
        self._run(self._passage.left())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, calls: list[Call]) -> None:
        for function, argument in calls:
            try:
                function(argument)
            except Exception as error:
                self._close_source()
                self._run(self._passage.refused(error))
                raise

    def _close_source(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()


class AsyncForwardedChat(_Forwarded):
    """An answer for a browser: `status_code`, `headers`, and its bytes when iterated; `aclose()` it at the end."""

    async def open(self, client: openai.AsyncOpenAI, body: Mapping[str, Any]) -> Self:
        """Send the body and wait for the first byte."""
        body = request_body(body)
        try:
            response: Any = await client.post(
                _PATH, body=body, cast_to=httpx2.Response, stream=True, stream_cls=AsyncStream[Any]
            )
            self._source = AsyncSource("bytes", async_bytes_of(response), response, None)
            self._passage.sent_to(response)
            with _as_openai_errors(response):
                first = await anext(self._source.reads, END)
            self._begin(first)
        except openai.APIError as error:
            await self._close_source()
            await self._run(self._refuse(error))
        except BaseException:
            # The browser left while the model was silent.
            await self.aclose()
            raise
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._first:
            data, self._first = self._first, b""
            if self._source is not None:
                await self._run(self._passage.pass_on(data))
            return data
        if self._source is None:
            raise StopAsyncIteration
        try:
            read = await anext(self._source.reads, END)
        except Exception as error:  # noqa: BLE001 - raised again, if it is no cut
            last, calls = self._passage.cut(error)
        except BaseException:
            await self.aclose()
            raise
        else:
            if read is not END:
                await self._run(self._passage.pass_on(read))
                return bytes(read)
            last, calls = self._passage.end()
        await self._close_source()
        await self._run(calls)
        if not last:
            raise StopAsyncIteration
        return last

    async def aclose(self) -> None:
        """Close the upstream now; if the browser left before the end, `on_abort` is called."""
        # Shielded, because the task of a browser that left is cancelled, and must still close and tell.
        with anyio.CancelScope(shield=True):
            await self._close_source()
            await self._run(self._passage.left())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(self, calls: list[Call]) -> None:
        for function, argument in calls:
            try:
                result = function(argument)
                if inspect.isawaitable(result):
                    await result
            except Exception as error:
                await self._close_source()
                await self._run(self._passage.refused(error))
                raise

    async def _close_source(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            await source.close()


def forward_chat(client: openai.OpenAI, body: Mapping[str, Any], callbacks: Callbacks | None = None) -> ForwardedChat:
    """Send `body`, streamed, through `client` and return the answer to pass on to a browser.

    The bytes are the gateway's, unchanged; a cut upstream is made visible by an error event after them. An error
    before the first byte becomes its status and JSON body. `callbacks` are told what passes.
    """
    return ForwardedChat(client, body, callbacks)


async def aforward_chat(
    client: openai.AsyncOpenAI, body: Mapping[str, Any], callbacks: Callbacks | None = None
) -> AsyncForwardedChat:
    """Send `body`, streamed, through `client` and return the answer to pass on; as `forward_chat`."""
    return await AsyncForwardedChat(callbacks).open(client, body)


class ForwardApp:
    """An ASGI application that answers one request with a forwarded stream; a Starlette response too.

    It opens the upstream only when it is run, and watches for the browser leaving all the while: also while the
    model is silent and while the SDK waits to retry (litellm#13774).
    """

    def __init__(self, client: openai.AsyncOpenAI, body: Mapping[str, Any], callbacks: Callbacks | None = None) -> None:
        self._client = client
        self._body = request_body(body)
        self._callbacks = callbacks

    async def __call__(
        self,
        scope: MutableMapping[str, Any],  # noqa: ARG002 - the ASGI signature
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        failed: list[Exception] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_leave_with, receive, tasks.cancel_scope)
            try:
                await self._answer(send)
            except Exception as error:  # noqa: BLE001 - raised below, not in a group
                failed.append(error)
            tasks.cancel_scope.cancel()
        if failed:
            raise failed[0]

    async def _answer(self, send: Callable[[Message], Awaitable[None]]) -> None:
        async with await aforward_chat(self._client, self._body, self._callbacks) as answer:
            headers = [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()
            ]
            await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
            async for data in answer:
                await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _leave_with(receive: Callable[[], Awaitable[Message]], scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


@contextmanager
def _as_openai_errors(response: httpx2.Response) -> Iterator[None]:
    try:
        yield
    except httpx2.TimeoutException as error:
        raise openai.APITimeoutError(response.request) from error
    except httpx2.HTTPError as error:
        raise openai.APIConnectionError(message=f"{_CUT}: {error}", request=response.request) from error
