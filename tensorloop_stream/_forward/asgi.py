"""A forwarded stream as an ASGI application, which sees the browser leave at any time; no framework is needed."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio

from .apis import api_of
from .headers import as_latin_1, request_body
from .responses import AsyncForwardedChat, require_async, settings_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    import openai

    from tensorloop_stream._callbacks import AnyCallbacks

    Message = MutableMapping[str, Any]

__all__ = ["ForwardApp"]


class ForwardApp:
    """An ASGI application that answers one request with a forwarded stream; Starlette takes it for a response.

    It opens the upstream only when it is run, and watches for the browser leaving all the while: also while the
    model is silent and while the SDK waits to retry (litellm#13774). Where the gateway refuses the key of this server,
    the browser gets a 502, and the reason is logged. `on_error` gets a `StreamError`, or before the stream an error of
    the SDK, which has no `.partial`. `headers` of your own go beside those of the stream; the rest is as in
    `aforward_chat`. A body without messages but with an input goes to the Responses API.

    For example:

        async def chat(request):  # a view of Starlette
            return ForwardApp(async_client, {"model": "gpt-4o-mini", **await request.json()})
    """

    # Any, so that a subclass of this and of Starlette's response has no two types for it.
    background: Any = None
    """An async function that is run when the answer has ended, as Starlette does it; FastAPI puts its tasks here."""

    def __init__(
        self,
        client: openai.AsyncOpenAI,
        body: Mapping[str, Any],
        callbacks: AnyCallbacks[Any, Any, Any, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        first_chunk_timeout: float | None = None,
        idle_timeout: float | None = None,
    ) -> None:
        require_async(client)
        self._client = client
        self._body = request_body(body)
        self._callbacks = callbacks
        self._own_headers = {} if headers is None else dict(headers)
        self._settings = settings_for(client, first_chunk_timeout, idle_timeout)
        self._has_started = False

    async def __call__(
        self,
        scope: MutableMapping[str, Any],  # noqa: ARG002 - the ASGI signature
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        failed: list[Exception] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_on_disconnect, receive, tasks.cancel_scope)
            try:
                await self._answer(send)
            except Exception as error:  # noqa: BLE001 - raised below, not in a group
                failed.append(error)
            tasks.cancel_scope.cancel()
        if failed:
            raise failed[0]
        if not self._has_started:
            await _send_client_closed_request(send)
        if self.background is not None:
            await self.background()

    async def _answer(self, send: Callable[[Message], Awaitable[None]]) -> None:
        api = api_of(self._body)
        forwarded = AsyncForwardedChat(self._callbacks, self._settings, hide_refusals=True, api=api)
        async with await forwarded.open(self._client, self._body) as answer:
            both = {**answer.headers, **{name: as_latin_1(value) for name, value in self._own_headers.items()}}
            headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in both.items()]
            self._has_started = True
            await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
            try:
                async for data in answer:
                    await send({"type": "http.response.body", "body": data, "more_body": True})
            except Exception:
                if answer.is_over:  # a callback raised at the end, after a whole answer or a visible failure
                    await _send_end(send)
                raise
            await _send_end(send)


async def _send_end(send: Callable[[Message], Awaitable[None]]) -> None:
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _cancel_on_disconnect(receive: Callable[[], Awaitable[Message]], scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _send_client_closed_request(send: Callable[[Message], Awaitable[None]]) -> None:
    """Answer a browser that left before the first byte (nginx's 499): middlewares wait for an answer."""
    with suppress(OSError):  # what ASGI servers may raise for a browser that is gone
        await send({"type": "http.response.start", "status": 499, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
