"""The ways to read a stream that are compared, and the ways in which it ends."""

from __future__ import annotations

import asyncio
import contextvars
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx2
import openai
from apis import API, APIS
from gateway import LEAVES_AFTER

from tensorloop_stream import AsyncTensorloop, StreamError, Tensorloop

# whole: to the end; left: a with block, left after some text; dropped: the same without a block; the others are what
# the gateway does. Of responses, those in which they end another way than chat completions.
ENDINGS = {
    "chat": ("whole", "left", "dropped", "truncated", "cut", "error", "stall"),
    "responses": ("whole", "left", "truncated", "cut", "error"),
}
# Much longer than the gateway takes for its first byte, also on a busy machine; every stall costs as much.
STALL_LIMIT = 0.4
# Building one costs 40 ms, which every client would pay.
_SSL = ssl.create_default_context()
_CLIENTS = {
    ("OpenAI", False): openai.OpenAI,
    ("OpenAI", True): openai.AsyncOpenAI,
    ("Tensorloop", False): Tensorloop,
    ("Tensorloop", True): AsyncTensorloop,
}


@dataclass(frozen=True)
class Reading:
    """An API, a client of it, how its stream is opened, and how it is read."""

    client: str
    way: str  # direct, raw, helper, wrapped, function
    how: str  # loop, text_stream, final
    is_async: bool
    api: str = "chat"

    @property
    def is_ours(self) -> bool:
        return self.client == "Tensorloop" or self.way in {"wrapped", "function"}

    def endings(self) -> list[str]:
        """Return the endings that make sense: `final` reads to the end, and the helper is its block."""
        never = {"left", "dropped"} if self.how == "final" else {"dropped"} if self.way == "helper" else set()
        if self.api == "responses" and self.way == "raw":
            # OpenTelemetry ends its span when the response closes, which is before the loop has `response.failed`.
            never |= {"error"}
        return [ending for ending in ENDINGS[self.api] if ending not in never]


_WAYS = {
    "chat": (
        ("OpenAI", "direct", "loop"),  # this one and the next two are what the others are compared with
        ("OpenAI", "helper", "loop"),
        ("OpenAI", "raw", "loop"),
        ("OpenAI", "wrapped", "loop"),
        ("OpenAI", "wrapped", "text_stream"),
        ("OpenAI", "wrapped", "final"),
        ("OpenAI", "function", "final"),
        ("Tensorloop", "direct", "loop"),
        ("Tensorloop", "direct", "text_stream"),
        ("Tensorloop", "direct", "final"),
        ("Tensorloop", "helper", "loop"),
        ("Tensorloop", "raw", "loop"),
        ("Tensorloop", "wrapped", "text_stream"),
    ),
    "responses": (
        ("OpenAI", "direct", "loop"),  # as above
        ("OpenAI", "raw", "loop"),
        ("OpenAI", "wrapped", "text_stream"),
        ("OpenAI", "function", "final"),
        ("Tensorloop", "direct", "loop"),
        ("Tensorloop", "direct", "text_stream"),
        ("Tensorloop", "direct", "final"),
        ("Tensorloop", "raw", "loop"),
    ),
}
READINGS = [
    Reading(client, way, how, is_async, api)
    for api, ways in _WAYS.items()
    for is_async in (False, True)
    for client, way, how in ways
]


@dataclass
class Seen:
    """The result that the caller of a stream gets."""

    text: str = ""
    stream: str | None = None
    error: str | None = None
    is_connection_error: bool = False
    is_timeout_error: bool = False
    is_stream_error: bool = False
    partial: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Action:
    """One reading with one ending, against a gateway, with a tool's clients."""

    reading: Reading
    ending: str
    base_url: str
    tool: Any
    seen: Seen = field(default_factory=Seen)

    def run(self) -> Seen:
        """Run it in a context of its own: some tools leave a span in it that never ends."""
        context = contextvars.copy_context()
        context.run(lambda: asyncio.run(self._run_async()) if self.reading.is_async else self._run())
        return self.seen

    def _run(self) -> None:
        with self.tool.action(), self._client() as client:
            try:
                self._read(self.tool.client(client))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
                self._note(error)

    async def _run_async(self) -> None:
        with self.tool.action():
            async with self._client() as client:
                try:
                    await self._read_async(self.tool.client(client))
                except Exception as error:  # noqa: BLE001 - as above
                    self._note(error)

    def _client(self) -> Any:
        kind = self.tool.client_class(_CLIENTS[self.reading.client, self.reading.is_async])
        make_http_client = httpx2.AsyncClient if self.reading.is_async else httpx2.Client
        settings: dict[str, Any] = {
            "api_key": "none",
            "base_url": self.base_url,
            "max_retries": 0,
            "http_client": make_http_client(verify=_SSL),
        }
        if self.reading.client == "Tensorloop":
            return kind(**settings, idle_timeout=self._idle_timeout)
        # The SDK has no limit but the one on the next byte.
        limit = STALL_LIMIT if self.ending == "stall" and not self.reading.is_ours else 5
        return kind(**settings, timeout=httpx2.Timeout(5, read=limit))

    @property
    def _idle_timeout(self) -> float | None:
        return STALL_LIMIT if self.ending == "stall" else None

    @property
    def _asked(self) -> dict[str, Any]:
        return {"model": "whole" if self._leaves else self.ending, **self._api.asked}

    @property
    def _api(self) -> API:
        return APIS[self.reading.api]

    @property
    def _leaves(self) -> bool:
        return self.ending in {"left", "dropped"}

    @property
    def _has_block(self) -> bool:
        if self.ending == "dropped":
            return False
        return self.ending == "left" or self.reading.way in {"helper", "wrapped", "function"}

    def _note(self, error: Exception) -> None:
        self.seen.error = type(error).__name__
        self.seen.is_connection_error = isinstance(error, openai.APIConnectionError)
        self.seen.is_timeout_error = isinstance(error, openai.APITimeoutError)
        self.seen.is_stream_error = isinstance(error, StreamError)
        if isinstance(error, StreamError):
            self.seen.partial = self._api.text_of_result(error.partial)
        elif not isinstance(error, openai.APIError):
            self.seen.error += f": {error}"

    def _text_of(self, item: Any) -> str | None:
        return self._api.text_of_event(item) if self.reading.way == "helper" else self._api.text_of_item(item)

    # Sync

    def _open(self, client: Any) -> Any:
        resource, asked, ours = self._api.resource(client), self._asked, self._api.stream_class
        match self.reading.way:
            case "helper":
                return resource.stream(**asked)
            case "raw":
                return resource.with_raw_response.create(**asked, stream=True).parse()
            case "wrapped":
                return ours(resource.create(**asked, stream=True), idle_timeout=self._wrapped_timeout)
            case "function":
                return self._api.stream_class(
                    lambda: resource.create(**asked, stream=True), idle_timeout=self._wrapped_timeout
                )
        return resource.create(**asked, stream=True)

    @property
    def _wrapped_timeout(self) -> float | None:
        # The stream of a Tensorloop client has the client's.
        return self._idle_timeout if self.reading.client == "OpenAI" else None

    def _read(self, client: Any) -> None:
        with ExitStack() as block:
            stream = self._open(client)
            self.seen.stream = type(stream).__name__
            if self._has_block:
                stream = block.enter_context(stream)
            if self.reading.how == "final":
                self.seen.text = self._api.text_of_result(getattr(stream, self._api.get_final)()) or ""
                return
            for number, text in enumerate(self._texts(stream), 1):
                self.seen.text += text
                if self._leaves and number == LEAVES_AFTER:
                    break

    def _texts(self, stream: Any) -> Iterator[str]:
        if self.reading.how == "text_stream":
            return stream.text_stream  # type: ignore[no-any-return] # a client's stream is Any here
        return (text for item in stream if (text := self._text_of(item)))

    # Async

    async def _open_async(self, client: Any) -> Any:
        resource, asked, ours = self._api.resource(client), self._asked, self._api.async_stream_class
        match self.reading.way:
            case "helper":
                return resource.stream(**asked)
            case "raw":
                return (await resource.with_raw_response.create(**asked, stream=True)).parse()
            case "wrapped":
                return self._api.async_stream_class(
                    resource.create(**asked, stream=True), idle_timeout=self._wrapped_timeout
                )
            case "function":
                return ours(lambda: resource.create(**asked, stream=True), idle_timeout=self._wrapped_timeout)
        return await resource.create(**asked, stream=True)

    async def _read_async(self, client: Any) -> None:
        async with AsyncExitStack() as block:
            stream = await self._open_async(client)
            self.seen.stream = type(stream).__name__
            if self._has_block:
                stream = await block.enter_async_context(stream)
            if self.reading.how == "final":
                self.seen.text = self._api.text_of_result(await getattr(stream, self._api.get_final)()) or ""
                return
            number = 0
            async for text in self._texts_async(stream):
                self.seen.text += text
                number += 1
                if self._leaves and number == LEAVES_AFTER:
                    break

    def _texts_async(self, stream: Any) -> AsyncIterator[str]:
        if self.reading.how == "text_stream":
            return stream.text_stream  # type: ignore[no-any-return] # as above
        return (text async for item in stream if (text := self._text_of(item)))
