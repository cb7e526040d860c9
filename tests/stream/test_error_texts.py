"""The texts of errors before a stream: the address and the cause, and never the key."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from clients import CHAT

from tensorloop_stream import AsyncTensorloop, Tensorloop
from tensorloop_stream._forward.headers import error_answer
from tensorloop_stream._http.redact import redactor_of

KEY = "tl_secret_0123456789"
PAGE = "<html>\n<head><title>502 Bad\n Gateway</title></head></html>"
Handler = Callable[[httpx2.Request], httpx2.Response]


def fails(error: Exception) -> Handler:
    def handle(_: httpx2.Request) -> httpx2.Response:
        raise error

    return handle


def answers(status: int, body: Any) -> Handler:
    content = {"text": body} if isinstance(body, str) else {"json": body}
    return lambda _: httpx2.Response(status, **content)


async def error_of(handle: Handler, base_url: str, kind: type[Any]) -> openai.APIError:
    """Return the error of a request to a stand-in for the network."""
    settings: dict[str, Any] = {"api_key": KEY, "base_url": base_url, "max_retries": 0}
    transport = httpx2.MockTransport(handle)
    if not issubclass(kind, openai.AsyncOpenAI):
        client = kind(**settings, http_client=httpx2.Client(transport=transport))
        with pytest.raises(openai.APIError) as caught:
            client.chat.completions.create(**CHAT)
    else:
        async_client = kind(**settings, http_client=httpx2.AsyncClient(transport=transport))
        with pytest.raises(openai.APIError) as caught:
            await async_client.chat.completions.create(**CHAT)
    assert caught.value.message == str(caught.value)
    return caught.value


# The classes whose texts ours begin with: releases of the SDK word them differently.
THEIRS: dict[type[Any], type[Any]] = {Tensorloop: openai.OpenAI, AsyncTensorloop: openai.AsyncOpenAI}
both = pytest.mark.parametrize("kind", [Tensorloop, AsyncTensorloop])


@both
@pytest.mark.parametrize(
    "cause",
    [
        httpx2.ConnectError("[Errno 111] Connection refused"),
        httpx2.ConnectError("[Errno -2] Name or service not known"),
        httpx2.RemoteProtocolError("Server disconnected without sending a response."),
        httpx2.ProxyError("403 Forbidden"),
    ],
)
async def test_a_connection_error_names_host_and_cause(cause: Exception, kind: type[Any]) -> None:
    """The class and the beginning of the text are the SDK's; a password in the address is not shown."""
    error = await error_of(fails(cause), "https://me:password@gateway.test:8443/v1", kind)

    assert type(error) is openai.APIConnectionError
    assert str(error) == f"Connection error. No answer from https://gateway.test:8443: {cause}"
    assert error.__cause__ is cause


@both
async def test_a_connection_error_never_shows_the_key(kind: type[Any]) -> None:
    """The HTTP library repeats a header that it refuses."""
    error = await error_of(
        fails(httpx2.LocalProtocolError(f"Illegal header value b'Bearer {KEY}'")), "http://[::1]/v1", kind
    )

    assert str(error) == "Connection error. No answer from http://[::1]"


@both
@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (httpx2.ReadTimeout(""), "No answer from https://gateway.test within 60 s"),
        (httpx2.ConnectTimeout(""), "No connection to https://gateway.test within 5 s"),
        (httpx2.PoolTimeout(""), "No free connection to https://gateway.test within 600 s"),
        (httpx2.WriteTimeout(""), "No reading by https://gateway.test within 600 s"),
        (httpx2.TimeoutException(""), "No answer from https://gateway.test in time"),
    ],
    ids=lambda each: type(each).__name__,
)
async def test_a_timeout_names_host_and_seconds(cause: Exception, said: str, kind: type[Any]) -> None:
    """The class and the beginning of the text are the SDK's; a browser sees no more than that."""
    error = await error_of(fails(cause), "https://me:password@gateway.test/v1", kind)
    status, _, body = error_answer(error, redactor_of())

    assert (type(error), str(error)) == (openai.APITimeoutError, f"Request timed out. {said}")
    assert (status, json.loads(body)["error"]["message"]) == (504, "Request timed out.")


@both
@pytest.mark.parametrize("body", [{"detail": "Not Found"}, "404 page not found", "", "<h1>Not Found</h1>"])
async def test_a_404_of_a_base_url_without_v1_says_so(body: Any, kind: type[Any]) -> None:
    """The text has the address to try, for any kind of server."""
    error = await error_of(answers(404, body), "https://gateway.test/openai/", kind)

    assert type(error) is openai.NotFoundError
    assert "https://gateway.test/openai/chat/completions does not exist" in str(error)
    assert str(error).endswith("this one does not: try https://gateway.test/openai/v1)")


@both
async def test_a_404_of_another_base_url_names_the_address(kind: type[Any]) -> None:
    """No version is missing there."""
    error = await error_of(answers(404, {"detail": "Not Found"}), "https://gateway.test/api/v1beta", kind)

    assert str(error).startswith("Error code: 404")
    assert str(error).endswith(" (https://gateway.test/api/v1beta/chat/completions does not exist)")


@both
@pytest.mark.parametrize("status", [400, 404, 500, 502])
async def test_an_error_of_the_gateway_keeps_its_text(status: int, kind: type[Any]) -> None:
    """It has said what is wrong, also where the base URL has no version."""
    refused = answers(status, {"error": {"message": "no such model"}})
    error = await error_of(refused, "https://gateway.test", kind)

    assert str(error) == str(await error_of(refused, "https://gateway.test", THEIRS[kind]))
    assert "no such model" in str(error)


@both
@pytest.mark.parametrize("status", [403, 502, 503])
async def test_a_page_in_place_of_json_names_the_url(status: int, kind: type[Any]) -> None:
    """A proxy made it; the page itself stays in `.body`."""
    error = await error_of(answers(status, PAGE), "https://gateway.test/v1", kind)

    url = "https://gateway.test/v1/chat/completions"
    theirs = re.escape(str(await error_of(answers(status, PAGE), "https://gateway.test/v1", THEIRS[kind])))
    assert re.fullmatch(rf"{theirs} \({url} answered with a page, '502 Bad Gateway', .*\)", str(error))
    assert error.body == PAGE


@both
async def test_another_error_without_a_message_names_the_url(kind: type[Any]) -> None:
    """A load balancer may say nothing at all."""
    error = await error_of(answers(502, ""), "https://gateway.test/v1", kind)

    assert str(error) == "Error code: 502 (from https://gateway.test/v1/chat/completions)"


async def test_a_browser_does_not_get_the_address() -> None:
    """A forwarded error says that the gateway did not answer, and not where it is."""
    error = await error_of(fails(httpx2.ConnectError("refused")), "https://internal.test/v1", AsyncTensorloop)
    status, _, body = error_answer(error, redactor_of(KEY))

    assert status == 502
    assert b"internal.test" not in body
    assert b'"Connection error."' in body
