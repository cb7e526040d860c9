"""Forward a gateway's stream to a browser, byte for byte, with the key, the retries and the errors of an SDK client."""

from __future__ import annotations

import inspect
import logging
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

import anyio
import openai
from openai import AsyncStream, Stream

from tensorloop_stream._callbacks import require_sync
from tensorloop_stream._http.key_filter import KeyFilter
from tensorloop_stream._http.library import httpx, is_http_error, is_timeout
from tensorloop_stream._http.redact import redactor_of
from tensorloop_stream._http.request_keys import redactor_for
from tensorloop_stream._stream.settings import StreamSettings
from tensorloop_stream._stream.sources import END, AsyncSource, Source, alarm_of, async_bytes_of, bytes_of
from tensorloop_stream._stream.waiting import in_time, opened_in_time

from .apis import CHAT_API, RESPONSES_API, Api
from .headers import error_answer, is_refusal_of_server, request_body, stream_headers, unavailable_answer
from .observer import observer_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Mapping
    from types import TracebackType

    from tensorloop_stream._callbacks import AnyCallbacks, Call, Callbacks
    from tensorloop_stream._http.redact import Redactor
    from tensorloop_stream._stream.watchdog import Alarm

__all__ = [
    "AsyncForwardedChat",
    "ForwardedChat",
    "aforward_chat",
    "aforward_response",
    "forward_chat",
    "forward_response",
]

_T = TypeVar("_T")
_log = logging.getLogger("tensorloop_stream")
_EMPTY = "the gateway ended its answer before the first byte"
# The bytes of an answer that wait in the kernel for a browser that does not read. Without a limit the kernel lets them
# grow to megabytes (tcp_rmem), which uvloop reads at once, up to 32 times 256 kB, whatever its reader can take.
_RECEIVE_BUFFER = 256 * 1024
# The characters of a reason that are logged: cut after the key is hidden, since half a key is not recognized.
_MOST_LOGGED = 500
_CUT = "the connection to the gateway was cut before the first byte"


class _Forwarded:
    """The status and the headers of an answer to a browser, and its first bytes."""

    status_code: int
    """The gateway's, 502 if it could not be reached, 504 if it did not begin in time."""
    headers: dict[str, str]
    """The headers for the browser: `SSE_HEADERS` or an error's content type, the gateway's ids and `retry-after`."""
    is_over: bool
    """Whether all bytes for the browser were handed out, so that what is raised now concerns no browser."""

    def __init__(
        self,
        callbacks: AnyCallbacks[Any, Any, Any, Any] | None,
        settings: StreamSettings,
        *,
        hide_refusals: bool = False,
        api: Api = CHAT_API,
    ) -> None:
        self._api = api
        self._observer = observer_of(api, callbacks, settings)
        self._hides_refusals = hide_refusals
        self._source: Any = None
        # The first read of a stream, or the whole body of an error.
        self._first = b""
        # What a callback raised at the end, while there is something to send; it is raised after that.
        self._raised: Exception | None = None
        self.is_over = False
        self._redactor = redactor_of()
        self._filter = KeyFilter(self._redactor)

    def _begin(self, first: Any) -> None:
        # LiteLLM sends its headers with the first byte: waiting for it costs nothing, and an answer that never
        # begins is an error with a status instead of an empty 200.
        response = self._source.response
        if first is END:
            raise openai.APIConnectionError(message=_EMPTY, request=response.request)
        self._first = first
        self._redactor = redactor_for(response.request)
        self._filter = KeyFilter(self._redactor)
        self.status_code = response.status_code
        self.headers = stream_headers(response.headers, self._redactor)

    def _refuse(self, error: openai.APIError) -> list[Call]:
        redactor = redactor_for(error.request)
        if self._hides_refusals and is_refusal_of_server(error):
            _log.error("the gateway refused this server: %s", _loggable(str(error), redactor))
            answer = unavailable_answer()
        else:
            _log.warning("a forwarded answer did not begin: %s", _loggable(str(error), redactor))
            answer = error_answer(error, redactor)
        self.status_code, self.headers, self._first = answer
        return self._observer.open_failed(error)

    def _end(self) -> None:
        """Note that the browser has got everything, and raise what a callback raised at the end."""
        self.is_over = True
        self._raise_kept()

    def _raise_kept(self) -> None:
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised

    def _log_break(self) -> None:
        """Log why the answer broke after its first byte: its status says nothing of it."""
        if reason := self._observer.broken:
            self._observer.broken = ""
            _log.warning("a forwarded answer broke: %s", _loggable(reason, self._redactor))


def _loggable(text: str, redactor: Redactor) -> str:
    """Return a reason as one line that any log can hold: a gateway may send line ends and halves of surrogate pairs."""
    line = " ".join(redactor.text(text).split())
    return line[:_MOST_LOGGED].encode("utf-8", "backslashreplace").decode()


class ForwardedChat(_Forwarded):
    """An answer for a browser: `status_code`, `headers`, and its bytes when iterated; `close()` it at the end."""

    def __init__(
        self,
        client: openai.OpenAI,
        body: Mapping[str, Any],
        callbacks: AnyCallbacks[Any, Any, Any, Any] | None,
        settings: StreamSettings,
        *,
        hide_refusals: bool = False,
        api: Api = CHAT_API,
    ) -> None:
        if isinstance(client, openai.AsyncOpenAI):
            raise TypeError(f"{type(client).__name__} is an async client: use aforward_chat, or a sync one")
        super().__init__(callbacks, settings, hide_refusals=hide_refusals, api=api)
        require_sync(callbacks)
        body = request_body(body)
        self._alarm: Alarm | None = None
        try:
            # The unread response: the SDK parses nothing of it, and any field may be in the body.
            response: Any = client.post(
                api.path, body=body, cast_to=httpx.Response, stream=True, stream_cls=Stream[Any]
            )
            self._source = Source("bytes", bytes_of(response), response, None)
            self._observer.set_response(response)
            self._alarm = alarm_of(self._source, is_needed=settings.has_timeout)
            with _as_openai_errors(response):
                first = self._read()
            self._begin(first)
        except openai.APIError as error:
            self._close_source()
            self._run_last(self._refuse(error))
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        while not (data := self._next()):
            pass
        return data

    def _next(self) -> bytes:
        """Return the next bytes to pass on, none if an event is not complete."""
        if self._first:
            data, self._first = self._first, b""
            if self._source is None:
                return data
            self._run(self._observer.feed(data))
            return self._filter.feed(data)
        if self._source is None:
            self._end()
            raise StopIteration
        try:
            read = self._read()
        except Exception as error:  # noqa: BLE001 - raised again, if it is no cut
            last, calls = self._observer.read_failed(error)
        except BaseException:
            self.close()
            raise
        else:
            if read is not END:
                self._run(self._observer.feed(read))
                return self._filter.feed(bytes(read))
            last, calls = self._observer.end()
        self._close_source()
        self._run_last(calls)
        last = self._filter.finish() + last
        if not last:
            self._end()
            raise StopIteration
        return last

    def _read(self) -> Any:
        until = self._observer.wait_until()
        if until is None or self._alarm is None:
            return next(self._source.reads, END)
        self._alarm.set(until)
        try:
            read = next(self._source.reads, END)
        except Exception:
            if self._alarm.clear():
                raise self._observer.timed_out() from None
            raise
        if self._alarm.clear() and read is END:
            raise self._observer.timed_out()
        return read

    def close(self) -> None:
        """Close the upstream now; if the browser left before the end, `on_abort` is called."""
        self._close_source()
        self._run(self._observer.abandoned())
        self._raise_kept()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.close()

    def _run_last(self, calls: list[Call]) -> None:
        """Call the last callbacks; what one raises waits until the browser has got what is left for it."""
        try:
            self._run(calls)
        except Exception as error:  # noqa: BLE001 - raised by `_raise_kept`
            self._raised = error

    def _run(self, calls: list[Call]) -> None:
        for function, argument in calls:
            try:
                function(argument)
            except Exception as error:
                self._close_source()
                self._run(self._observer.open_failed(error))
                raise

    def _close_source(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            self._log_break()
            if self._alarm is not None:
                self._alarm.drop()
            source.close()


class AsyncForwardedChat(_Forwarded):
    """An answer for a browser: `status_code`, `headers`, and its bytes when iterated; `aclose()` it at the end."""

    async def open(self, client: openai.AsyncOpenAI, body: Mapping[str, Any]) -> Self:
        """Send the body and wait for the first byte."""
        require_async(client)
        body = request_body(body)
        try:
            opening: Any = client.post(
                self._api.path, body=body, cast_to=httpx.Response, stream=True, stream_cls=AsyncStream[Any]
            )
            response = await opened_in_time(opening, self._observer.wait_until(), self._observer.timed_out)
            self._source = AsyncSource("bytes", async_bytes_of(response), response, None)
            _bound_receive_buffer(response)
            self._observer.set_response(response)
            with _as_openai_errors(response):
                first = await self._in_time(anext(self._source.reads, END))
            self._begin(first)
        except openai.APIError as error:
            await self._close_source()
            await self._run_last(self._refuse(error))
        except BaseException:
            # The browser left while the model was silent.
            await self.aclose()
            raise
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not (data := await self._next()):
            pass
        return data

    async def _next(self) -> bytes:
        """Return the next bytes to pass on, none if an event is not complete."""
        if self._first:
            data, self._first = self._first, b""
            if self._source is None:
                return data
            await self._run(self._observer.feed(data))
            return self._filter.feed(data)
        if self._source is None:
            self._end()
            raise StopAsyncIteration
        try:
            read = await self._in_time(anext(self._source.reads, END))
        except Exception as error:  # noqa: BLE001 - raised again, if it is no cut
            last, calls = self._observer.read_failed(error)
        except BaseException:
            await self.aclose()
            raise
        else:
            if read is not END:
                await self._run(self._observer.feed(read))
                return self._filter.feed(bytes(read))
            last, calls = self._observer.end()
        await self._close_source()
        await self._run_last(calls)
        last = self._filter.finish() + last
        if not last:
            self._end()
            raise StopAsyncIteration
        return last

    async def _in_time(self, waiting: Awaitable[_T]) -> _T:
        until = self._observer.wait_until()
        return await waiting if until is None else await in_time(waiting, until, self._observer.timed_out)

    async def aclose(self) -> None:
        """Close the upstream now; if the browser left before the end, `on_abort` is called."""
        # Shielded, because the task of a browser that left is cancelled, and must still close and tell.
        with anyio.CancelScope(shield=True):
            await self._close_source()
            await self._run(self._observer.abandoned())
        self._raise_kept()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run_last(self, calls: list[Call]) -> None:
        """Call the last callbacks; what one raises waits until the browser has got what is left for it."""
        try:
            await self._run(calls)
        except Exception as error:  # noqa: BLE001 - raised by `_raise_kept`
            self._raised = error

    async def _run(self, calls: list[Call]) -> None:
        for function, argument in calls:
            try:
                result = function(argument)
                if inspect.isawaitable(result):
                    await result
            except Exception as error:
                await self._close_source()
                await self._run(self._observer.open_failed(error))
                raise

    async def _close_source(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            self._log_break()
            await source.close()


def forward_chat(
    client: openai.OpenAI,
    body: Mapping[str, Any],
    callbacks: Callbacks | None = None,
    *,
    first_chunk_timeout: float | None = None,
    idle_timeout: float | None = None,
    hide_refusals: bool = False,
) -> ForwardedChat:
    """Send `body`, streamed, through `client` and return the answer to pass on to a browser.

    The bytes are the gateway's, unchanged but for the key, if an error repeats it. A cut upstream is made visible by
    an error event after them, which is `{"error": {"message", "type", "param", "code"}}` with the type
    `upstream_error` or `timeout_error`. An error before the first byte becomes its status and JSON body, without the
    key. With `hide_refusals`, a gateway that
    refuses the key, or whose budget is spent, becomes a 502 with one plain sentence, and the reason is logged.
    `callbacks` are called for what passes; one that raises ends the answer there, but the last ones (`on_finish`,
    `on_error`) only after the browser has got the status, or the event, that tells of the end. The timeouts are those
    of `ChatStream`, in seconds; without them, the client's own hold.

    Raises `TypeError` for an async client or callback and a body that is no mapping, `ValueError` for timeouts
    where reads cannot be woken.
    """
    settings = settings_for(client, first_chunk_timeout, idle_timeout)
    return ForwardedChat(client, body, callbacks, settings, hide_refusals=hide_refusals)


async def aforward_chat(
    client: openai.AsyncOpenAI,
    body: Mapping[str, Any],
    callbacks: Callbacks | None = None,
    *,
    first_chunk_timeout: float | None = None,
    idle_timeout: float | None = None,
    hide_refusals: bool = False,
) -> AsyncForwardedChat:
    """Send `body`, streamed, through `client` and return the answer to pass on; as `forward_chat`.

    It waits for the first byte, and does not see a browser that leaves meanwhile: `ForwardApp` does.
    """
    settings = settings_for(client, first_chunk_timeout, idle_timeout)
    return await AsyncForwardedChat(callbacks, settings, hide_refusals=hide_refusals).open(client, body)


def forward_response(
    client: openai.OpenAI,
    body: Mapping[str, Any],
    callbacks: AnyCallbacks[Any, Any, Any, Any] | None = None,
    *,
    first_chunk_timeout: float | None = None,
    idle_timeout: float | None = None,
    hide_refusals: bool = False,
) -> ForwardedChat:
    """Send `body` to the Responses API, streamed, and return the answer to pass on; as `forward_chat`.

    A cut upstream becomes the event `error` of that API, numbered after the last one.
    """
    settings = settings_for(client, first_chunk_timeout, idle_timeout)
    return ForwardedChat(client, body, callbacks, settings, hide_refusals=hide_refusals, api=RESPONSES_API)


async def aforward_response(
    client: openai.AsyncOpenAI,
    body: Mapping[str, Any],
    callbacks: AnyCallbacks[Any, Any, Any, Any] | None = None,
    *,
    first_chunk_timeout: float | None = None,
    idle_timeout: float | None = None,
    hide_refusals: bool = False,
) -> AsyncForwardedChat:
    """Send `body` to the Responses API, streamed, and return the answer to pass on; as `aforward_chat`."""
    settings = settings_for(client, first_chunk_timeout, idle_timeout)
    forwarded = AsyncForwardedChat(callbacks, settings, hide_refusals=hide_refusals, api=RESPONSES_API)
    return await forwarded.open(client, body)


def settings_for(client: object, first_chunk_timeout: float | None, idle_timeout: float | None) -> StreamSettings:
    """Return the settings of a stream: its own timeouts, and those of a client of this package where it has none."""
    timeouts = getattr(client, "_stream_timeouts", None)
    theirs = StreamSettings(**timeouts) if isinstance(timeouts, dict) else StreamSettings()
    return StreamSettings(first_chunk_timeout, idle_timeout).over(theirs)


def require_async(client: object) -> None:
    """Raise `TypeError` for a sync client, whose answers nobody can wait for."""
    if isinstance(client, openai.OpenAI):
        raise TypeError(f"{type(client).__name__} is a sync client: use an async one, such as AsyncTensorloop")


def _bound_receive_buffer(response: Any) -> None:
    """Let no more of an answer wait than a slow browser needs; of a connection that several answers share, nothing."""
    network = response.extensions.get("network_stream")
    if network is None or response.http_version == "HTTP/2":
        return
    raw = network.get_extra_info("socket")
    if raw is not None:
        with suppress(OSError):  # it is closed already
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)


@contextmanager
def _as_openai_errors(response: httpx.Response) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if is_timeout(error):
            raise openai.APITimeoutError(response.request) from error
        if is_http_error(error):
            raise openai.APIConnectionError(message=f"{_CUT}: {error}", request=response.request) from error
        raise
