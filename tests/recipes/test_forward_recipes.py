"""The forwarding recipes under their real servers, in front of a replay server."""

from __future__ import annotations

import importlib
import json
import re
import sys
import time
from collections.abc import Iterator
from typing import Any

import cassette
import httpx2
import pytest
import requirements
from sockets import SLACK, eventually
from web import (
    BROWSER_REQUEST,
    GATEWAY_REQUEST,
    HAIKU,
    HAIKU_BODY,
    ROOT,
    SITES,
    EndlessGateway,
    RawBrowser,
    RunningRecipe,
    serve_recipe,
    unused_port,
)

from tensorloop_stream.replay import ReplayServer

# Every recipe forwards to this port, where each test starts a gateway with its faults.
GATEWAY = unused_port()
PAGES = [name for name in SITES if name != "eventsource"]
ASGI = [name for name in PAGES if name != "flask"]
# One server per framework, for tests that read to the end.
ONE_EACH = ["starlette", "fastapi", "django", "flask"]


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest) -> Iterator[RunningRecipe]:
    with serve_recipe(request.param, GATEWAY) as served:
        yield served


def sites(names: list[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("site", names, indirect=True, scope="module")


def gateway(**faults: Any) -> ReplayServer:
    return ReplayServer(cassette.FOLDER / "chat/haiku.yaml", port=GATEWAY, **faults)


@sites(PAGES)
def test_the_haiku_is_forwarded_event_by_event(site: RunningRecipe) -> None:
    """The bytes are unchanged, and take as long as the model's."""
    with gateway(delay=0.02) as upstream:
        response = site.ask()
        requests = upstream.requests
    events = HAIKU_BODY.count("\n\n")

    assert response.status == 200
    assert response.body.decode() == HAIKU_BODY
    assert len(response.parts) > events / 2
    assert response.duration > 0.02 * events / 2
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert response.headers["x-accel-buffering"] == "no"
    assert [request.body for request in requests] == [GATEWAY_REQUEST]


@sites(PAGES)
@pytest.mark.parametrize("status", [401, 429, 503])
def test_an_error_reaches_the_browser(site: RunningRecipe, status: int) -> None:
    """The status, the JSON and any `retry-after` are kept; that the server's key was refused is not told."""
    shown = 502 if status == 401 else status
    retry_after = {} if status == 401 else {"retry_after": 0.05}
    with gateway(status=status, **retry_after) as upstream:
        response = site.ask()
        requests = upstream.requests

    assert response.status == shown
    assert json.loads(response.body)["error"]["code"] == str(shown)
    assert response.headers.get("retry-after") == (None if status == 401 else "0.05")
    assert len(requests) == (1 if status == 401 else 2)


@sites([*ONE_EACH, "eventsource"])
@pytest.mark.parametrize(
    "fields",
    [
        {"model": "gpt-4o"},
        {"max_tokens": 1_000_000},
        {"max_completion_tokens": 1_000_000},
        {"n": 50},
        {"extra_body": {"model": "gpt-4o"}},
        {"api_key": "tl_other", "base_url": "https://example.test/v1", "user": "x"},
        {"messages": [{**BROWSER_REQUEST["messages"][0], "name": "x", "tool_calls": []}]},
    ],
    ids="+".join,
)
def test_a_browser_may_set_only_messages(site: RunningRecipe, fields: dict[str, Any]) -> None:
    """Other fields are refused or removed before the gateway sees them."""
    with gateway() as upstream:
        response = site.ask({**BROWSER_REQUEST, **fields}, authorization="Bearer tl_other", cookie="a=b")
        if response.status == 200 and response.headers["content-type"] == "application/json":
            site.get(f"/chat/{json.loads(response.body)['id']}")
        requests = upstream.requests

    assert response.status in {200, 422}
    assert [request.body for request in requests] == ([GATEWAY_REQUEST] if response.status == 200 else [])
    assert not [request for request in requests if "cookie" in request.headers]


@sites([*ONE_EACH, "eventsource"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        {},
        {"messages": []},
        {"messages": "hello"},
        {"messages": BROWSER_REQUEST["messages"] * 21},
        {"messages": [{"role": "user", "content": "x" * 4001}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": [{"role": "user\n", "content": "hello"}]},
        {"messages": [{"role": "system", "content": "hello"}]},
        {"messages": [{"role": "tool", "tool_call_id": "1", "content": "hello"}]},
        {"messages": ["hello"]},
    ],
    ids=lambda body: str(body)[:40],
)
def test_other_messages_are_refused(site: RunningRecipe, body: Any) -> None:
    """Only a few short texts of the two roles are accepted."""
    with gateway() as upstream:
        response = site.ask(body)
        requests = upstream.requests

    assert response.status == 422
    assert requests == []


@sites(["starlette", "fastapi", "flask", "eventsource"])
def test_a_large_body_is_refused(site: RunningRecipe) -> None:
    """A browser must not fill the server's memory (Django reads larger bodies into a file)."""
    assert site.ask(b'{"messages": "' + b"x" * 1_000_000 + b'"}').status == 413


@sites([*PAGES, "eventsource"])
def test_the_page_is_served(site: RunningRecipe) -> None:
    """Each recipe serves the same file."""
    page = site.get("/")

    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    assert b"<title>Chat</title>" in page.body


def test_both_pages_show_markdown_by_the_same_code() -> None:
    """Each page is a file of its own, and what makes one of them safe makes the other."""
    parts = []
    for name in ("chat", "chat_resumable"):
        page = (ROOT / f"recipes/{name}.html").read_text("utf-8")
        found = re.search(r"(/\*\* Add a text to an answer: .*?\n\}\);\n).*?(<script>\n/\*.*)", page, re.DOTALL)
        assert found is not None
        parts.append(found.groups())

    assert parts[0] == parts[1]


def test_both_pages_tell_errors_in_the_same_words() -> None:
    """Each page is a file of its own, and shows a reader no word of the gateway."""
    pages = [(ROOT / f"recipes/{name}.html").read_text("utf-8") for name in ("chat", "chat_resumable")]
    told = [re.search(r"const IS_OWN = .*?const told = .*?;\n", page, re.DOTALL) for page in pages]

    assert told[0] is not None
    assert told[1] is not None
    assert told[0][0] == told[1][0]


@pytest.mark.parametrize("name", ["chat", "chat_resumable"])
def test_a_page_is_self_contained_and_safe(name: str) -> None:
    """A page needs no build step and no other host, and inserts no text as HTML."""
    page = (ROOT / f"recipes/{name}.html").read_text("utf-8")
    # But for the libraries in it, which begin with their licences.
    page, libraries = re.subn(r"<script>\n/\*.*?</script>", "", page, flags=re.DOTALL)

    assert libraries == 2
    assert not re.search(r"https?:|//[a-z]+\.| src=|@import|<link(?! rel=\"icon\" href=\"data:,\")", page)
    assert not re.search(r"innerHTML *=|outerHTML|insertAdjacentHTML|document\.write|eval\(", page)


PHASES: dict[str, dict[str, Any]] = {
    "mid-stream": {"delay": 0.05},
    "stalled": {"stall_after": 3},
    "before the first byte": {"first_delay": 30},
    "waiting to retry": {"status": 429, "retry_after": 0.4},
}


@sites(ASGI)
@pytest.mark.parametrize("phase", PHASES)
def test_a_browser_that_leaves_ends_the_request(site: RunningRecipe, phase: str) -> None:
    """In every phase the gateway sees the disconnect at once, and no retry follows."""
    with gateway(**PHASES[phase]) as upstream, RawBrowser(site.port) as visitor:
        if phase in {"mid-stream", "stalled"}:
            visitor.read_until(b"data: ")
        assert eventually(lambda: len(upstream.requests) == 1)
        time.sleep(0.05)
        visitor.leave()
        if phase == "waiting to retry":
            time.sleep(0.6)
        else:
            assert eventually(lambda: len(upstream.disconnects) == 1, 2 * SLACK)

        assert len(upstream.requests) == 1


@sites(["flask"])
def test_a_browser_that_leaves_flask_ends_the_request_with_the_next_event(site: RunningRecipe) -> None:
    """A thread cannot detect the disconnect before it writes."""
    with gateway(delay=0.05) as upstream, RawBrowser(site.port) as visitor:
        visitor.read_until(b"data: ")
        visitor.leave()

        assert eventually(lambda: len(upstream.disconnects) == 1, 2 * SLACK)


@sites([*PAGES])
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_slow_reader_holds_the_gateway_back(site: RunningRecipe) -> None:
    """Data waits in the sockets between, and the forwarder's memory stays constant."""
    with EndlessGateway(GATEWAY) as upstream, RawBrowser(site.port, buffer=4096) as visitor:
        visitor.read_until(b"data: ")
        before = site.memory()
        assert eventually(lambda: upstream.is_stalled(0.2), 5 * SLACK)
        sent = upstream.sent
        for _ in range(20):
            visitor.read(1024)
            time.sleep(0.01)

        assert upstream.sent - sent < 1_000_000
        assert sent < 30_000_000
        assert site.memory() - before < 10_000_000


@pytest.mark.parametrize("recipe", ["forward_starlette", "forward_fastapi", "forward_django", "forward_eventsource"])
async def test_the_finished_message_is_saved(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`on_finish` receives the whole message once."""
    framework = recipe.removeprefix("forward_").replace("eventsource", "starlette")
    requirements.module(framework, framework)
    with gateway() as upstream:
        module = imported(recipe, upstream, monkeypatch)
        transport = httpx2.ASGITransport(module.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as browser:
            answer = await browser.post("/chat", json=BROWSER_REQUEST)
            if "id" in answer.text[:5]:
                answer = await browser.get(f"/chat/{answer.json()['id']}")
        await module.client.close()

    assert answer.text == HAIKU_BODY
    assert [saved.choices[0].message.content for saved in module.saved] == [HAIKU]


def test_the_finished_message_is_saved_by_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """`on_finish` receives the whole message once."""
    requirements.module("flask", "flask")
    with gateway() as upstream:
        module = imported("forward_flask", upstream, monkeypatch)
        answer = module.app.test_client().post("/chat", json=BROWSER_REQUEST)
        text = answer.get_data(as_text=True)
        answer.close()
        module.client.close()

    assert text == HAIKU_BODY
    assert [saved.choices[0].message.content for saved in module.saved] == [HAIKU]


def imported(recipe: str, upstream: ReplayServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TENSORLOOP_BASE_URL", upstream.base_url)
    monkeypatch.setenv("TENSORLOOP_KEY", "tl_none")
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    return importlib.import_module(recipe)


@sites(["eventsource"])
def test_an_answer_is_streamed_to_one_get(site: RunningRecipe) -> None:
    """An EventSource reconnects by itself; a 204 stops it, and one request reaches the gateway."""
    with gateway(delay=0.02) as upstream:
        path = f"/chat/{json.loads(site.ask().body)['id']}"
        with RawBrowser(site.port, path=path, method="GET") as visitor:
            visitor.read_until(b"data: ")
            while_it_runs = site.get(path)
            visitor.read_until(b"[DONE]")
        afterwards = site.get(path)
        requests = len(upstream.requests)

    assert HAIKU_BODY.split("\n\n")[0].encode() in visitor.got
    assert while_it_runs.status == 204
    assert afterwards.status == 204
    assert site.get("/chat/unknown").status == 204
    assert requests == 1
