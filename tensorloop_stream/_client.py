"""Configure the SDK's clients for Tensorloop; their streams are this package's.

Of the SDK's clients, this module alone touches private API. It overrides `_should_retry`, `_parse_retry_after_header`,
`_make_status_error`, `_prepare_options` and `_send_request`. It sets `_custom_headers` and `_client`, calls
`_build_headers`, reads `_enforce_credentials`, and takes types from `openai._base_client` and `openai._models`.

With an SDK that has another name for one of these, a client does what the SDK does; but it refuses to send what the
OPENAI_* variables hold. `tests/project/test_sdk_drift.py` makes such an SDK for each name.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import openai
from openai import NOT_GIVEN, AsyncOpenAI, NotGiven, OpenAI, OpenAIError, _base_client

from ._credentials import OTHER_SERVICES, require_safe, require_sendable, resolve_credentials
from ._http.error_body import aread_error, read_error
from ._http.error_object import error_message
from ._http.error_texts import explain_connection_error, explain_status
from ._http.library import httpx
from ._http.openai_headers import credential_headers, openai_headers
from ._http.pools import is_at_home, successor_of
from ._http.redirects import guard
from ._http.request_keys import holds_key, redactor_for
from ._retry import is_budget_spent, retry_after
from ._stream.foreign import replaceable_property
from ._stream.settings import StreamSettings
from ._stream.waiting import deadline
from ._transport.http_clients import AsyncStreamHttpxClient, StreamHttpxClient, reads_directly

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from typing import TypedDict, Unpack

    from openai._base_client import BaseClient
    from openai._models import FinalRequestOptions
    from openai.resources.chat import AsyncChat, Chat
    from openai.resources.responses import AsyncResponses, Responses

    _SDKClient = BaseClient[Any, Any]

    class _SDKOptions(TypedDict, total=False):
        """The arguments of the SDK's clients that this package passes on as they are."""

        admin_api_key: str | None
        workload_identity: Any
        organization: str | None
        project: str | None
        webhook_secret: str | None
        provider: Any
        data_residency: Any
        websocket_base_url: str | httpx.URL | None
        max_retries: int
        default_query: Mapping[str, object] | None
        _strict_response_validation: bool
        _enforce_credentials: bool

    class _SyncOptions(_SDKOptions, total=False):
        """The same of `OpenAI`."""

        http_client: httpx.Client | None

    class _AsyncOptions(_SDKOptions, total=False):
        """The same of `AsyncOpenAI`."""

        http_client: httpx.AsyncClient | None
else:
    _SDKClient = object

__all__ = ["AsyncTensorloop", "Tensorloop"]

# The SDK waits 600 s for the next byte. Between the chunks of a stream, a minute of silence is a stall.
_STREAM_TIMEOUT = httpx.Timeout(600, connect=5.0, read=60)


class _GatewayClient(_SDKClient):
    """The rules that both clients add to the SDK's: stream timeouts, spent budgets, the upstream's `retry-after`."""

    _stream_timeouts: dict[str, float | None]
    _allow_http: bool = False
    _direct_reads: bool = True
    _client: Any

    if not TYPE_CHECKING:  # type checkers see the SDK's signature

        def copy(self, *, _extra_kwargs: Mapping[str, Any] | None = None, **kwargs: Any) -> Any:
            """Return a copy of this client with other settings, as the SDK does."""
            self._leave_shared_connections(is_request=False)
            ours = {**self._stream_timeouts, "allow_http": self._allow_http, "direct_reads": self._direct_reads}
            return super().copy(_extra_kwargs={**ours, **(_extra_kwargs or {})}, **kwargs)

        with_options = copy

        @property
        def base_url(self) -> httpx.URL:
            """The base URL; one that would send the key in the clear is refused."""
            return super().base_url

        @base_url.setter
        def base_url(self, url: httpx.URL | str) -> None:
            require_safe(url, allow_http=self._allow_http)
            # By the SDK's own class, which has rules of its own for some clients.
            super(_GatewayClient, type(self)).base_url.__set__(self, url)

        def __setattr__(self, name: str, value: Any) -> None:
            if name in {"chat", "responses"}:
                # The client class of a tool puts an object of its own there (PostHog).
                value = _outer_resource(name, value)
            super().__setattr__(name, value)

    def _leave_shared_connections(self, *, is_request: bool) -> None:
        """Take another pool where the one at hand belongs to another process, or to another event loop.

        A child process inherits the connections of its parent: their answers would mix (openai-python#579). A
        connection of one asyncio loop fails in another. The old pool stays as it is, since it may be in use. An HTTP
        client of the caller's own cannot be replaced: then `OpenAIError` is raised in a child process.
        """
        is_async = isinstance(self, AsyncOpenAI)
        # An SDK that keeps its pool elsewhere has one for each client.
        pool: Any = getattr(self, "_client", self)
        if is_at_home(pool, is_async=is_async, is_request=is_request):
            return
        if isinstance(pool, _sdk_pools()):
            self._client = successor_of(pool, is_async=is_async, is_request=is_request)
            self._guard_redirects()
        elif not is_at_home(pool, is_async=False, is_request=False):
            raise OpenAIError(
                "this client was used before a fork, with an HTTP client that was passed in: its connections are the "
                "parent process's. Make a client in each process, or leave out http_client="
            )

    def _guard_redirects(self) -> None:
        """Keep a prompt from another host, unless the caller's own HTTP client sends it there."""
        pool: Any = getattr(self, "_client", None)
        if isinstance(pool, _sdk_pools()):
            guard(pool, is_async=isinstance(self, AsyncOpenAI))

    def _require_sendable_keys(self, options: FinalRequestOptions) -> None:
        """Raise `OpenAIError` if a key of a request came after the client was made, and no header can hold it."""
        key: Any = getattr(self, "api_key", None)
        headers: dict[str, tuple[str, Any]] = {"authorization": ("", key)}
        for given in (getattr(self, "default_headers", None), getattr(options, "headers", None)):
            if isinstance(given, Mapping):
                headers.update((name.lower(), (name, value)) for name, value in given.items())
        for name, value in headers.values():
            # The SDK makes this header of the key.
            is_of_client = str(value).removeprefix("Bearer ") == key
            if is_of_client or holds_key(name):
                require_sendable(value, header="" if is_of_client else name)

    def _should_retry(self, response: httpx.Response) -> bool:
        # `_send_request` has read the body: this method cannot await it in async code.
        if response.status_code == 429 and is_budget_spent(_body_of(response)):
            return False
        until, wait = deadline.get(), retry_after(response.headers, time.time())
        if until is not None and wait is not None and time.monotonic() + wait >= until:
            # The caller would get a timeout, and not learn why.
            return False
        return super()._should_retry(response)

    def _parse_retry_after_header(self, response_headers: httpx.Headers | None = None) -> float | None:
        wait = super()._parse_retry_after_header(response_headers)
        if wait is None and response_headers is not None:
            wait = retry_after(response_headers, time.time())
        return wait

    def _make_status_error(self, err_msg: str, *, body: object, response: httpx.Response) -> openai.APIStatusError:
        if isinstance(body, list):
            # Google's array around an error, of which the SDK says nothing (magentic#382).
            body = next((item for item in body if isinstance(item, dict)), body)
        message = error_message(body)
        if message and message not in err_msg and isinstance(body, dict):
            err_msg += f" - {message}"
        if is_budget_spent(body):
            err_msg += (
                " (The budget of this key is spent: a retry does not help before the budget is raised or its next "
                "period begins.)"
            )
        else:
            err_msg += explain_status(body, response)
        # A gateway that refuses a key may repeat it.
        redactor = redactor_for(response.request)
        return super()._make_status_error(redactor.text(err_msg), body=redactor.value(body), response=response)


if TYPE_CHECKING:
    from openai._base_client import AsyncHttpxClientWrapper, SyncHttpxClientWrapper
else:
    # They close what a program forgets to close.
    SyncHttpxClientWrapper = getattr(_base_client, "SyncHttpxClientWrapper", object)
    AsyncHttpxClientWrapper = getattr(_base_client, "AsyncHttpxClientWrapper", object)


class _OwnHttpClient(StreamHttpxClient, SyncHttpxClientWrapper):
    """The HTTP client that `Tensorloop` makes for itself."""


class _OwnAsyncHttpClient(AsyncStreamHttpxClient, AsyncHttpxClientWrapper):
    """The HTTP client that `AsyncTensorloop` makes for itself."""


def _http_client(given: Any, kind: Any, *, direct_reads: bool) -> Any:
    """Return the HTTP client to give to the SDK: the caller's, else one of ours, else `None` for the SDK's own."""
    return kind() if given is None and direct_reads and reads_directly() else given


class Tensorloop(_GatewayClient, OpenAI):
    """`openai.OpenAI` with the defaults of Tensorloop: key, base URL and read timeout; every SDK argument wins.

    The key is `api_key`, else `TENSORLOOP_KEY` from the environment, else from the nearest `.env` file. The base URL
    is found in the same order, under `TENSORLOOP_BASE_URL`. Streams wait at most 60 seconds for the next byte, where
    the SDK waits 600. `chat.completions.create(..., stream=True)` returns a `ChatStream`, and
    `responses.create(..., stream=True)` a `ResponseStream`. `first_chunk_timeout`,
    `idle_timeout` and `total_timeout` apply to each stream of this client that sets no timeouts of its own, also to
    those that are forwarded. An asynchronous `create()` waits no longer for the headers of a stream either.
    `allow_http=True` permits a base URL that begins with `http://` and names another machine, inside of a private
    network. Streams are read directly from the socket; `direct_reads=False`, `TENSORLOOP_DIRECT_READS=0` in the
    environment, or an `http_client` of the caller's leaves them to the HTTP library.

    Raises `openai.OpenAIError` if there is no key, or if the base URL would expose it; `ValueError` for a timeout that
    is not a number of seconds above 0.

    For example:

        client = Tensorloop(idle_timeout=30)
        with client.chat.completions.create(**request, stream=True) as stream:
            for chunk in stream:
                print(chunk.choices[0].delta.content or "", end="")
    """

    def __init__(
        self,
        *,
        api_key: str | Callable[[], str] | None = None,
        base_url: str | httpx.URL | NotGiven | None = NOT_GIVEN,
        timeout: float | httpx.Timeout | NotGiven | None = NOT_GIVEN,
        default_headers: Mapping[str, str] | None = None,
        first_chunk_timeout: float | None = None,
        idle_timeout: float | None = None,
        total_timeout: float | None = None,
        allow_http: bool = False,
        direct_reads: bool = True,
        **kwargs: Unpack[_SyncOptions],
    ) -> None:
        self._stream_timeouts = _checked_timeouts(first_chunk_timeout, idle_timeout, total_timeout)
        self._allow_http, self._direct_reads = allow_http, direct_reads
        credentials = resolve_credentials(api_key, base_url, kwargs, allow_http=allow_http)
        given = kwargs.get("http_client")
        kwargs["http_client"] = pool = _http_client(given, _OwnHttpClient, direct_reads=direct_reads)
        super().__init__(timeout=timeout, default_headers=default_headers, **credentials, **kwargs)
        if pool is not None and pool is not given:
            # As the SDK makes its own; a copy of this client is given it.
            pool.base_url, pool.timeout = self.base_url, self.timeout
        _drop_openai_settings(self, default_headers, credentials["api_key"], kwargs)
        self._guard_redirects()
        self.timeout: float | httpx.Timeout | None = _stream_timeout(timeout, self.timeout)

    if not TYPE_CHECKING:  # as above

        def request(self, *args: Any, **kwargs: Any) -> Any:
            """Send a request, as the SDK does; a connection error names the host and the cause."""
            try:
                return super().request(*args, **kwargs)
            except openai.APIConnectionError as error:
                explain_connection_error(error)
                raise

        def post(self, path: str, *, stream_cls: Any = None, **kwargs: Any) -> Any:
            """Send a POST request, as the SDK does; the streams of chat and of responses are this package's."""
            return super().post(path, stream_cls=_our_stream_class(stream_cls), **kwargs)

        def get(self, path: str, *, stream_cls: Any = None, **kwargs: Any) -> Any:
            """Send a GET request, as the SDK does; a response that is taken up again is streamed as in `post`."""
            return super().get(path, stream_cls=_our_stream_class(stream_cls), **kwargs)

    @replaceable_property
    def chat(self) -> Chat:
        """Chat completions; their streams are `ChatStream`s."""
        from ._resources.chat import TensorloopChat  # noqa: PLC0415 - late, as the SDK loads its resources

        # Else a test put something else in the place of the SDK's class.
        is_usual = _is_used("openai.resources.chat", "Chat", TensorloopChat)
        return TensorloopChat(self) if is_usual else super().chat

    @replaceable_property
    def responses(self) -> Responses:
        """The Responses API; its streams are `ResponseStream`s."""
        from ._resources.responses import TensorloopResponses  # noqa: PLC0415 - as above

        # Else a test put something else in the place of the SDK's class.
        is_usual = _is_used("openai.resources.responses", "Responses", TensorloopResponses)
        return TensorloopResponses(self) if is_usual else super().responses

    def _prepare_options(self, options: FinalRequestOptions) -> FinalRequestOptions:
        self._leave_shared_connections(is_request=True)
        options = super()._prepare_options(options)
        self._require_sendable_keys(options)
        return _unstreamed_timeout(options, self.timeout)

    def _send_request(self, request: httpx.Request, **kwargs: Any) -> httpx.Response:
        response = super()._send_request(request, **kwargs)
        return response if response.status_code < 400 or response.is_closed else read_error(response)


class AsyncTensorloop(_GatewayClient, AsyncOpenAI):
    """`openai.AsyncOpenAI` with the defaults of `Tensorloop`; its streams are the async ones.

    For example:

        async with AsyncTensorloop(idle_timeout=30) as client:
            async for chunk in await client.chat.completions.create(**request, stream=True):
                print(chunk.choices[0].delta.content or "", end="")
    """

    def __init__(
        self,
        *,
        api_key: str | Callable[[], Awaitable[str]] | None = None,
        base_url: str | httpx.URL | NotGiven | None = NOT_GIVEN,
        timeout: float | httpx.Timeout | NotGiven | None = NOT_GIVEN,
        default_headers: Mapping[str, str] | None = None,
        first_chunk_timeout: float | None = None,
        idle_timeout: float | None = None,
        total_timeout: float | None = None,
        allow_http: bool = False,
        direct_reads: bool = True,
        **kwargs: Unpack[_AsyncOptions],
    ) -> None:
        self._stream_timeouts = _checked_timeouts(first_chunk_timeout, idle_timeout, total_timeout)
        self._allow_http, self._direct_reads = allow_http, direct_reads
        credentials = resolve_credentials(api_key, base_url, kwargs, allow_http=allow_http)
        given = kwargs.get("http_client")
        kwargs["http_client"] = pool = _http_client(given, _OwnAsyncHttpClient, direct_reads=direct_reads)
        super().__init__(timeout=timeout, default_headers=default_headers, **credentials, **kwargs)
        if pool is not None and pool is not given:
            # As the SDK makes its own; a copy of this client is given it.
            pool.base_url, pool.timeout = self.base_url, self.timeout
        _drop_openai_settings(self, default_headers, credentials["api_key"], kwargs)
        self._guard_redirects()
        self.timeout: float | httpx.Timeout | None = _stream_timeout(timeout, self.timeout)

    if not TYPE_CHECKING:  # as above

        async def request(self, *args: Any, **kwargs: Any) -> Any:
            """Send a request, as the SDK does; a connection error names the host and the cause."""
            try:
                return await super().request(*args, **kwargs)
            except openai.APIConnectionError as error:
                explain_connection_error(error)
                raise

        # A coroutine function, as the SDK's is: a mock of it is one, too.
        async def post(self, path: str, *, stream_cls: Any = None, **kwargs: Any) -> Any:
            """Send a POST request, as the SDK does; the streams of chat and of responses are this package's."""
            ours = _our_stream_class(stream_cls)
            return await self._in_time(super().post(path, stream_cls=ours, **kwargs), ours, stream_cls, kwargs)

        async def get(self, path: str, *, stream_cls: Any = None, **kwargs: Any) -> Any:
            """Send a GET request, as the SDK does; a response that is taken up again is streamed as in `post`."""
            ours = _our_stream_class(stream_cls)
            return await self._in_time(super().get(path, stream_cls=ours, **kwargs), ours, stream_cls, kwargs)

    async def _in_time(self, opening: Awaitable[Any], ours: Any, theirs: Any, asked: Mapping[str, Any]) -> Any:
        """Return what a request returns; a stream of ours must begin within the timeouts of this client."""
        if not asked.get("stream") or ours is theirs:
            return await opening
        from ._stream_classes import requested_in_time  # noqa: PLC0415 - the SDK loads its resources late too

        return await requested_in_time(opening, ours, self._stream_timeouts, asked.get("options") or {})

    @replaceable_property
    def chat(self) -> AsyncChat:
        """Chat completions, whose streams are `AsyncChatStream`s."""
        from ._resources.chat import AsyncTensorloopChat  # noqa: PLC0415 - late, as the SDK loads its resources

        # Else a test put something else in the place of the SDK's class.
        is_usual = _is_used("openai.resources.chat", "AsyncChat", AsyncTensorloopChat)
        return AsyncTensorloopChat(self) if is_usual else super().chat

    @replaceable_property
    def responses(self) -> AsyncResponses:
        """The Responses API; its streams are `AsyncResponseStream`s."""
        from ._resources.responses import AsyncTensorloopResponses  # noqa: PLC0415 - as above

        # Else a test put something else in the place of the SDK's class.
        is_usual = _is_used("openai.resources.responses", "AsyncResponses", AsyncTensorloopResponses)
        return AsyncTensorloopResponses(self) if is_usual else super().responses

    async def _prepare_options(self, options: FinalRequestOptions) -> FinalRequestOptions:
        self._leave_shared_connections(is_request=True)
        options = await super()._prepare_options(options)
        self._require_sendable_keys(options)
        return _unstreamed_timeout(options, self.timeout)

    async def _send_request(self, request: httpx.Request, **kwargs: Any) -> httpx.Response:
        response = await super()._send_request(request, **kwargs)
        return response if response.status_code < 400 or response.is_closed else await aread_error(response)


def _is_used(module: str, name: str, ours: type) -> bool:
    """Tell whether the class that the SDK would use now is the one that ours extends."""
    return getattr(importlib.import_module(module), name) in ours.__mro__


def _outer_resource(name: str, value: Any) -> Any:
    """Return what a client keeps as `chat` or `responses` where somebody sets it to this value."""
    if name == "chat":
        from ._resources.chat import outer_chat  # noqa: PLC0415 - the SDK loads its resources late too

        return outer_chat(value)
    from ._resources.responses import outer_responses  # noqa: PLC0415 - as above

    return outer_responses(value)


def _our_stream_class(stream_cls: Any) -> Any:
    if stream_cls is None:
        return None
    from ._stream_classes import stream_class  # noqa: PLC0415 - the SDK loads its resources late too

    return stream_class(stream_cls)


def _sdk_pools() -> tuple[Any, ...]:
    """Return the classes of the HTTP clients that a client makes by itself."""
    names = ("SyncHttpxClientWrapper", "AsyncHttpxClientWrapper")
    theirs = [kind for name in names if (kind := getattr(_base_client, name, None)) is not None]
    return _OwnHttpClient, _OwnAsyncHttpClient, *theirs


def _show_signature(ours: Any, theirs: Any) -> None:
    """Show the SDK's parameters, and those of this package beside them, to `inspect.signature`."""
    own = inspect.signature(ours.__init__).parameters
    every = {**inspect.signature(theirs).parameters, **{name: own[name] for name in own if name not in _UNNAMED}}
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in every.values()]
    ours.__signature__ = inspect.Signature(parameters)
    inherited = ours.copy

    def copy(self: Any, **kwargs: Any) -> Any:
        return inherited(self, **kwargs)

    ours.copy = ours.with_options = functools.wraps(theirs.copy)(copy)


_UNNAMED = {"self", "kwargs"}
_show_signature(Tensorloop, OpenAI)
_show_signature(AsyncTensorloop, AsyncOpenAI)


def _checked_timeouts(
    first_chunk_timeout: float | None, idle_timeout: float | None, total_timeout: float | None
) -> dict[str, float | None]:
    """Return the timeouts of all streams of a client; raises `ValueError` unless they are above 0 or `None`."""
    StreamSettings(first_chunk_timeout, idle_timeout, total_timeout)
    return {
        "first_chunk_timeout": first_chunk_timeout,
        "idle_timeout": idle_timeout,
        "total_timeout": total_timeout,
    }


def _drop_openai_settings(
    client: OpenAI | AsyncOpenAI, default_headers: Mapping[str, str] | None, api_key: object, given: Mapping[str, Any]
) -> None:
    """Drop the settings that the SDK read from the OPENAI_* variables: they belong to another service.

    Raises `OpenAIError` if the client would send one nevertheless, as with an SDK that keeps them elsewhere.
    """
    client._custom_headers = dict(default_headers or {})  # noqa: SLF001 - OPENAI_CUSTOM_HEADERS may hold a key
    client.admin_api_key = given.get("admin_api_key")
    client.organization = given.get("organization")
    client.project = given.get("project")
    if any(given.get(name) is not None for name in OTHER_SERVICES):
        return
    foreign = openai_headers(os.environ)
    if foreign:
        credentials = (api_key, *map(given.get, ("admin_api_key", "organization", "project")))
        for name, value in [*(default_headers or {}).items(), *credential_headers(*credentials)]:
            foreign.pop((name.lower(), value), None)
    if foreign and (sent := sorted({foreign[each] for each in _sent_of(foreign, client)})):
        raise OpenAIError(
            f"openai {openai.VERSION} would send {' and '.join(sent)} to {client.base_url.host}, another service: "
            "unset the variable, or install a version of openai that tensorloop_stream was tested with"
        )


def _sent_of(headers: Collection[tuple[str, object]], client: OpenAI | AsyncOpenAI) -> set[tuple[str, object]]:
    """Return which of these headers a client sends: in a request that it builds, else in what it shows."""
    sent: list[tuple[str, object]] = []
    with suppress(Exception):  # of private names; and a key that is a function is asked for true requests alone
        from openai._models import FinalRequestOptions  # noqa: PLC0415 - another SDK may have none

        sent += client._build_headers(FinalRequestOptions(method="post", url="/chat/completions")).items()  # noqa: SLF001 - as above
    if not sent and hasattr(client, "default_headers") and hasattr(client, "auth_headers"):
        sent += [*client.default_headers.items(), *client.auth_headers.items()]
    # Without any header, nothing shows that these are not sent.
    return {(name.lower(), value) for name, value in sent} & set(headers) if sent else set(headers)


def _stream_timeout(given: object, current: Any) -> Any:
    """Return the client's timeout: this package's, unless the caller or the HTTP client set one."""
    is_default = isinstance(given, NotGiven) and current == openai.DEFAULT_TIMEOUT
    # Without this hook, requests that are not streamed would be cut after a minute, too.
    return _STREAM_TIMEOUT if is_default and hasattr(OpenAI, "_prepare_options") else current


def _body_of(response: httpx.Response) -> object:
    try:
        return response.json()
    except (ValueError, RuntimeError):  # no JSON; or not read yet
        return None


def _unstreamed_timeout(options: FinalRequestOptions, timeout: object) -> FinalRequestOptions:
    """Give a request that is not streamed the SDK's own timeout: its first byte comes with the complete answer."""
    body = getattr(options, "json_data", None)
    streamed = isinstance(body, dict) and body.get("stream")
    if not streamed and isinstance(getattr(options, "timeout", None), NotGiven) and timeout == _STREAM_TIMEOUT:
        options.timeout = openai.DEFAULT_TIMEOUT
    return options
