"""No web recipe answers the page of another site: it would spend the key of the server."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import cassette
import pytest
import requirements
from redis_servers import redis_server
from web import BROWSER_REQUEST, ROOT, BrowserResponse, RunningRecipe, serve_recipe, unused_port

from tensorloop_stream.replay import ReplayServer

GATEWAY, REDIS = unused_port(), unused_port()
# The path of each recipe that a page posts to. The Next.js route has the same tests in forward.test.mjs.
POSTED = {
    "starlette": "/chat",
    "fastapi": "/chat",
    "django": "/chat",
    "flask": "/chat",
    "eventsource": "/chat",
    "ai_sdk": "/api/chat",
    "resumable": f"/chat/{uuid.UUID(int=7)}",
    "edge": "/",
}
SERVED = [*POSTED, "websocket"]
# Servers of frameworks that check by themselves who asks, tests, and the route above.
EXCUSED = {"chat_gradio.py", "chat_streamlit.py", "pytest_your_web_app.py", "route.ts"}
UI_MESSAGES = [{"role": "user", "parts": [{"type": "text", "text": BROWSER_REQUEST["messages"][0]["content"]}]}]
HANDSHAKE = {
    "connection": "upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}
JSON = {"content-type": "application/json"}
# What any page may send, and nothing.
FORM_TYPES = ["text/plain", "application/x-www-form-urlencoded", "text/plain; application/json", ""]
OWN_ORIGIN = "http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest) -> Iterator[tuple[str, RunningRecipe]]:
    name: str = request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDIS_URL", f"redis://127.0.0.1:{REDIS}")
        if name == "resumable":
            requirements.program("redis-server")
            with redis_server(REDIS), serve_recipe(name, GATEWAY) as served:
                yield name, served
        else:
            with serve_recipe(name, GATEWAY) as served:
                yield name, served


def sites(names: list[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("site", names, indirect=True, scope="module")


def send(site: tuple[str, RunningRecipe], headers: dict[str, str]) -> tuple[BrowserResponse, int]:
    """Send a question with these headers; return the answer, and how many requests reached the gateway."""
    name, served = site
    headers = {key: value.format(port=served.port) for key, value in headers.items()}
    body = {"messages": UI_MESSAGES} if name == "ai_sdk" else BROWSER_REQUEST
    with ReplayServer(cassette.FOLDER / "chat/haiku.yaml", port=GATEWAY) as upstream:
        if name == "websocket":
            answer = served.get("/chat", **HANDSHAKE, **headers)
        else:
            answer = served.post(POSTED[name], json.dumps(body).encode(), **headers)
        if name == "eventsource" and answer.status == 200:
            answer = served.get(f"/chat/{json.loads(answer.body)['id']}")
        return answer, len(upstream.requests)


@sites(SERVED)
@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site", "origin": "https://evil.test"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "https://evil.test"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "null"},
    ],
    ids=str,
)
def test_a_page_of_another_site_is_refused(site: tuple[str, RunningRecipe], headers: dict[str, str]) -> None:
    """A browser names the site of a page; an old one names its origin."""
    answer, requests = send(site, JSON | headers)

    assert (answer.status, requests) == (403, 0)


@sites([*POSTED])
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "text/plain; application/json", ""]
)
def test_a_body_that_needs_no_permission_is_refused(site: tuple[str, RunningRecipe], kind: str) -> None:
    """A form of any page may send other content types than JSON, and an old browser may name no origin."""
    answer, requests = send(site, {"content-type": kind})

    assert (answer.status, requests) == (415, 0)


@sites(SERVED)
@pytest.mark.parametrize("host", ["evil.test", "evil.test:{port}", "127.0.0.1.evil.test"])
def test_another_host_is_refused(site: tuple[str, RunningRecipe], host: str) -> None:
    """A name that leads here may be that of another site (DNS rebinding), whose pages are then of its origin."""
    answer, requests = send(site, JSON | {"host": host, "sec-fetch-site": "same-origin", "origin": f"http://{host}"})

    assert (answer.status, requests) == (400, 0)


@sites([*POSTED])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "same-origin", "origin": OWN_ORIGIN},
        {"origin": OWN_ORIGIN},
        {"content-type": "Application/JSON; charset=utf-8", "sec-fetch-site": "none"},
    ],
    ids=str,
)
def test_the_own_page_is_answered(
    site: tuple[str, RunningRecipe], headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser of any age, and a program that sends no such header."""
    monkeypatch.setitem(POSTED, "resumable", f"/chat/{uuid.uuid4()}")
    answer, requests = send(site, JSON | headers)

    assert (answer.status, requests) == (200, 1)


def test_the_own_page_opens_a_websocket() -> None:
    """The handshake of a page of the site itself is accepted."""
    requirements.module("websockets", "web")
    from websockets.sync.client import connect
    from websockets.typing import Origin

    with serve_recipe("websocket", GATEWAY) as served, ReplayServer(cassette.FOLDER / "chat", port=GATEWAY):
        address = f"127.0.0.1:{served.port}"
        with connect(f"ws://{address}/chat", origin=Origin(f"http://{address}")) as socket:
            socket.send(json.dumps(BROWSER_REQUEST))
            first: Any = json.loads(socket.recv(timeout=15))

    assert "text" in first


@pytest.mark.parametrize("name", ["ai_sdk", "websocket"])
def test_a_refusal_of_the_server_is_hidden(name: str) -> None:
    """The page gets one sentence, which names neither the status nor the key."""
    with serve_recipe(name, GATEWAY) as served, ReplayServer(cassette.FOLDER / "chat", port=GATEWAY, status=401):
        if name == "ai_sdk":
            said = served.post("/api/chat", json.dumps({"messages": UI_MESSAGES}).encode(), **JSON).body.decode()
        else:
            requirements.module("websockets", "web")
            from websockets.sync.client import connect

            with connect(f"ws://127.0.0.1:{served.port}/chat") as socket:
                socket.send(json.dumps(BROWSER_REQUEST))
                said = str(socket.recv(timeout=15))

    assert "the service is not available: its operator can see the reason in the log" in said
    assert "401" not in said


def test_each_web_recipe_is_tested() -> None:
    """A recipe that serves pages stands in a list of this file."""
    files = [
        path
        for kind in ("*.py", "*.mjs", "*.ts")
        for path in (ROOT / "recipes").rglob(kind)
        if "node_modules" not in path.parts
    ]
    pattern = r"(?m)^import (uvicorn|gradio|streamlit)|^from flask|^from starlette|^export "
    found = {path.name for path in files if re.search(pattern, path.read_text("utf-8"))}

    assert found == EXCUSED | {
        "edge.mjs",
        "chat_websocket.py",
        *(f"forward_{name}.py" for name in POSTED if name != "edge"),
    }
