"""Streams of the Responses API on their way to a browser."""

from __future__ import annotations

import json
from typing import Any

import anyio
import httpx2
import pytest
from clients import Body, responding_with
from events import HELLO, delta, event, stream

from tensorloop_stream import (
    AsyncTensorloop,
    Callbacks,
    ForwardApp,
    ResponseStream,
    StreamProviderError,
    Tensorloop,
    aforward_response,
    forward_response,
)

ASK: dict[str, Any] = {"model": "gpt-4o-mini", "input": "Hello?"}
SETTINGS: dict[str, Any] = {"api_key": "none", "base_url": "https://gateway.test/v1", "max_retries": 0}
both = pytest.mark.parametrize("kind", ["sync", "async"])
FAILED = event("failed", response={"status": "failed", "output": [], "error": {"code": "server_error", "message": "x"}})


async def forwarded(kind: str, *parts: Any, callbacks: Callbacks | None = None) -> tuple[str, bytes]:
    """Return the path that was asked, and the bytes for the browser."""
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        return responding_with(Body(parts))(request)

    transport = httpx2.MockTransport(answer)
    if kind == "sync":
        client = Tensorloop(**SETTINGS, http_client=httpx2.Client(transport=transport))
        return asked[0] if (body := b"".join(forward_response(client, ASK, callbacks))) and asked else "", body
    async_client = AsyncTensorloop(**SETTINGS, http_client=httpx2.AsyncClient(transport=transport))
    async_answer = await aforward_response(async_client, ASK, callbacks)
    return asked[0], b"".join([data async for data in async_answer])


@both
@pytest.mark.parametrize("events", [HELLO, (*HELLO[:5], FAILED)])
@pytest.mark.parametrize("with_callbacks", [True, False])
async def test_a_whole_stream_is_forwarded_as_it_is(kind: str, events: Any, with_callbacks: bool) -> None:
    """A failure that the gateway reports is the browser's to read."""
    whole = stream(*events)
    callbacks = Callbacks(on_text=print) if with_callbacks else None
    path, body = await forwarded(
        kind, *(whole[start : start + 60] for start in range(0, len(whole), 60)), callbacks=callbacks
    )

    assert (path, body) == ("/v1/responses", whole)


@both
@pytest.mark.parametrize("with_callbacks", [True, False])
@pytest.mark.parametrize("end", [(), (httpx2.ReadError("cut"),)])
async def test_a_broken_stream_ends_with_an_error_of_its_api(kind: str, with_callbacks: bool, end: Any) -> None:
    """Its number follows that of the last event, and our own stream raises it."""
    callbacks = Callbacks(on_text=lambda _: None) if with_callbacks else None
    _, body = await forwarded(kind, stream(*HELLO[:5]), *end, callbacks=callbacks)
    *_, name, data = body.decode().strip().splitlines()
    error = json.loads(data.removeprefix("data: "))

    assert name == "event: error"
    assert {key: error[key] for key in ("type", "code", "param", "sequence_number")} == {
        "type": "error",
        "code": "server_error",
        "param": None,
        "sequence_number": 5,
    }
    assert read_again(body).text == "Hello"


def read_again(body: bytes) -> StreamProviderError:
    """Return the error of a reader of these bytes."""
    transport = httpx2.MockTransport(responding_with(Body([body])))
    client = Tensorloop(**SETTINGS, http_client=httpx2.Client(transport=transport))
    with pytest.raises(StreamProviderError) as caught:
        ResponseStream(client.responses.create(**ASK, stream=True)).get_final_response()
    return caught.value


@both
async def test_callbacks_hear_of_a_response(kind: str) -> None:
    """Callbacks get the texts, and the response at the end."""
    log: list[Any] = []
    callbacks = Callbacks(on_text=log.append, on_finish=log.append)
    await forwarded(kind, stream(*HELLO), callbacks=callbacks)

    assert log[:2] == ["Hel", "lo"]
    assert log[2].output_text == "Hello"  # type: ignore[unreachable, unused-ignore]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"messages": []}, "/v1/chat/completions"),
        ({"messages": [], "input": "x"}, "/v1/chat/completions"),
        ({"input": "x"}, "/v1/responses"),
        ({"previous_response_id": "resp_1"}, "/v1/responses"),
        ({}, "/v1/chat/completions"),
    ],
)
async def test_an_app_takes_the_api_from_the_body(body: dict[str, Any], path: str) -> None:
    """Messages are chat; an input without them is for the Responses API."""
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        return responding_with(Body([stream(*HELLO, delta("x"))]))(request)

    async def receive() -> Any:
        await anyio.sleep_forever()

    async def send(message: Any) -> None:
        del message

    client = AsyncTensorloop(**SETTINGS, http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(answer)))
    await ForwardApp(client, {"model": "m", **body})({}, receive, send)

    assert asked == [path]
