"""A redirect to another host does not carry the prompt there."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai
import pytest
from chunks import HELLO, sse
from clients import CHAT

from tensorloop_stream import AsyncTensorloop, Tensorloop, aforward_chat, forward_chat
from tensorloop_stream._http.redirects import _refusal

KEY = "sk-tl-Ab3dEf6hIj9kLmN0pQ7r"
both = pytest.mark.parametrize("kind", ["sync", "async"])
# The same machine under another name, which resolves without a network.
OTHER = "localhost"


class Server:
    """A server that redirects to an address, or answers; it keeps what was sent to it."""

    def __init__(self, status: int = 200, location: str = "") -> None:
        self.bodies: list[bytes] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                server.bodies.append(self.rfile.read(int(self.headers.get("content-length", 0))))
                redirects = status != 200 and not self.path.endswith("/again")
                self.send_response(status if redirects else 200)
                if redirects:
                    self.send_header("location", location)
                body = b"moved" if redirects else sse(*HELLO)
                self.send_header("content-type", "text/event-stream")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST  # noqa: N815 - the name that the library calls

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._http.server_address[1]
        self.thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self.thread.join()


@contextmanager
def redirecting(status: int, location: str) -> Iterator[tuple[Server, Server]]:
    """Run a gateway that redirects to the other server; `{port}` in the location is that server's port."""
    other = Server()
    gateway = Server(status, location.format(port=other.port))
    try:
        yield gateway, other
    finally:
        gateway.close()
        other.close()


def ask(kind: str, port: int, **settings: Any) -> str:
    """Return the answer to a streamed request of a client that makes its own HTTP client."""
    settings = {"api_key": KEY, "base_url": f"http://127.0.0.1:{port}/v1", "max_retries": 2, **settings}
    if kind == "sync":
        with Tensorloop(**settings) as client, client.chat.completions.create(**CHAT) as stream:
            return stream.get_final_text()  # type: ignore[no-any-return]

    async def asking() -> str:
        async with AsyncTensorloop(**settings) as client, await client.chat.completions.create(**CHAT) as stream:
            return await stream.get_final_text()  # type: ignore[no-any-return]

    return asyncio.run(asking())


@both
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_an_error_that_names_both(kind: str, status: int) -> None:
    """Nothing reaches the other host, nothing is sent twice, and the error names the way out."""
    with redirecting(status, f"http://{OTHER}:{{port}}/v1/chat/completions") as (gateway, other):
        with pytest.raises(openai.APIStatusError) as caught:
            ask(kind, gateway.port)

        assert other.bodies == []
        assert len(gateway.bodies) == 1
        assert f"http://127.0.0.1:{gateway.port} redirects" in str(caught.value)
        assert f"http://{OTHER}:{other.port}" in str(caught.value)
        assert "base_url" in str(caught.value)
        assert (caught.value.status_code, caught.value.response.text) == (status, "moved")


@both
@pytest.mark.parametrize("location", ["/v1/again", "http://127.0.0.1:{port}/v1/chat/completions"])
def test_a_redirect_on_the_same_host_is_followed(kind: str, location: str) -> None:
    """A path, and another port of the same host, take the prompt with them."""
    with redirecting(308, location) as (gateway, other):
        text = ask(kind, gateway.port)
        sent = json.loads((gateway.bodies + other.bodies)[-1])

    assert text == "Hello"
    assert sent["messages"] == CHAT["messages"]


@both
def test_the_other_host_is_named_after_one_redirect_on_the_same_host(kind: str) -> None:
    """Each redirect of a chain is looked at."""
    with redirecting(307, f"http://{OTHER}:{{port}}/v1/again") as (last, other):
        first = Server(307, f"http://127.0.0.1:{last.port}/v1/chat/completions")
        try:
            with pytest.raises(openai.APIStatusError, match=rf"127\.0\.0\.1:{last.port} redirects"):
                ask(kind, first.port)
        finally:
            first.close()

        assert other.bodies == []


@both
def test_an_http_client_of_the_callers_own_follows_as_it_does(kind: str) -> None:
    """It is the way out that the error names."""
    own = openai.DefaultHttpxClient() if kind == "sync" else openai.DefaultAsyncHttpxClient()
    with redirecting(307, f"http://{OTHER}:{{port}}/v1/chat/completions") as (gateway, other):
        assert ask(kind, gateway.port, http_client=own) == "Hello"
        assert len(other.bodies) == 1


def test_a_copy_and_a_request_without_a_body_are_no_exceptions() -> None:
    """A copy refuses as its original does, and a GET has nothing to keep."""
    with redirecting(307, f"http://{OTHER}:{{port}}/v1/again") as (gateway, other):
        with Tensorloop(api_key=KEY, base_url=f"http://127.0.0.1:{gateway.port}/v1") as client:
            with pytest.raises(openai.APIStatusError, match="redirects"):
                client.with_options(max_retries=0).chat.completions.create(**CHAT)
            client.get("/models", cast_to=str)

        assert other.bodies == [b""]


@pytest.mark.parametrize(
    ("here", "location", "is_refused"),
    [
        ("http://gateway.test/v1", "https://gateway.test/v1", False),
        ("https://gateway.test/v1", "//gateway.test:8443/v1", False),
        ("https://gateway.test/v1", "https://GATEWAY.test/v1", False),
        ("https://gateway.test/v1", "http://gateway.test/v1", True),
        ("https://gateway.test/v1", "https://www.gateway.test/v1", True),
        ("https://gateway.test/v1", "https://gateway.test@evil.test/v1", True),
        ("https://gateway.test/v1", "//evil.test/v1", True),
        ("https://gateway.test/v1", "https://gateway.test.evil.test/v1", True),
    ],
)
def test_a_host_is_the_same_by_its_name(here: str, location: str, is_refused: bool) -> None:
    """Encryption may begin on the way, and may not end."""
    from tensorloop_stream._http.library import httpx

    response = httpx.Response(307, headers={"location": location}, request=httpx.Request("POST", here))

    assert bool(_refusal(response)) == is_refused


def test_the_error_does_not_name_the_key() -> None:
    """A host can have any name of small letters."""
    from tensorloop_stream._http.library import httpx

    headers = {"authorization": f"Bearer {KEY.lower()}", "location": f"https://{KEY.lower()}.evil.test/v1"}
    request = httpx.Request("POST", "https://gateway.test/v1", headers=headers)
    text = _refusal(httpx.Response(307, headers=headers, request=request))

    assert "https://***.evil.test" in text


@both
def test_a_browser_gets_a_502(kind: str) -> None:
    """A status of redirects would send a browser somewhere, and the other host is none of its business."""
    with redirecting(307, f"http://{OTHER}:{{port}}/v1/chat/completions") as (gateway, _):
        settings: dict[str, Any] = {"api_key": KEY, "base_url": f"http://127.0.0.1:{gateway.port}/v1"}
        if kind == "sync":
            with Tensorloop(**settings) as client, forward_chat(client, CHAT) as answer:
                status, body = answer.status_code, b"".join(answer)
        else:

            async def forwarding() -> tuple[int, bytes]:
                async with AsyncTensorloop(**settings) as client, await aforward_chat(client, CHAT) as answer:
                    return answer.status_code, b"".join([data async for data in answer])

            status, body = asyncio.run(forwarding())

    assert status == 502
    assert json.loads(body)["error"]["code"] == "502"
    assert OTHER.encode() not in body
