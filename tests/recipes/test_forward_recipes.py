"""The forwarding recipes, each under its real server, against a gateway that replays."""

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

# Every recipe forwards to this port, where each test puts a gateway with the faults it is about.
GATEWAY = unused_port()
PAGES = [name for name in SITES if name != "eventsource"]
ASGI = [name for name in PAGES if name != "flask"]
# The servers that are the same to a test that reads to the end are not all started for it.
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
def test_the_haiku_arrives_as_it_is_made(site: RunningRecipe) -> None:
    """Byte for byte, a part for each event, over the time that the model takes."""
    with gateway(delay=0.02) as upstream:
        arrival = site.ask()
        requests = upstream.requests
    events = HAIKU_BODY.count("\n\n")

    assert arrival.status == 200
    assert arrival.body.decode() == HAIKU_BODY
    assert len(arrival.parts) > events / 2
    assert arrival.duration > 0.02 * events / 2
    assert arrival.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert arrival.headers["cache-control"] == "no-cache, no-transform"
    assert arrival.headers["x-accel-buffering"] == "no"
    assert [request.body for request in requests] == [GATEWAY_REQUEST]


@sites(PAGES)
@pytest.mark.parametrize("status", [401, 429, 503])
def test_an_error_reaches_the_browser(site: RunningRecipe, status: int) -> None:
    """With its status, its JSON and, where there is one, its `retry-after`."""
    retry_after = {} if status == 401 else {"retry_after": 0.05}
    with gateway(status=status, **retry_after) as upstream:
        arrival = site.ask()
        requests = upstream.requests

    assert arrival.status == status
    assert json.loads(arrival.body)["error"]["code"] == str(status)
    assert arrival.headers.get("retry-after") == (None if status == 401 else "0.05")
    assert len(requests) == (1 if status == 401 else 2)


@sites([*ONE_EACH, "eventsource"])
@pytest.mark.parametrize(
    "wish",
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
def test_a_browser_decides_on_messages_alone(site: RunningRecipe, wish: dict[str, Any]) -> None:
    """Whatever else it wishes for, it is refused or left out: the gateway never sees it."""
    with gateway() as upstream:
        arrival = site.ask({**BROWSER_REQUEST, **wish}, authorization="Bearer tl_other", cookie="a=b")
        if arrival.status == 200 and arrival.headers["content-type"] == "application/json":
            site.get(f"/chat/{json.loads(arrival.body)['id']}")
        requests = upstream.requests

    assert arrival.status in {200, 422}
    assert [request.body for request in requests] == ([GATEWAY_REQUEST] if arrival.status == 200 else [])
    assert not [request for request in requests if "cookie" in request.headers]


@sites([*ONE_EACH, "eventsource"])
@pytest.mark.parametrize(
    "asked",
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
    ids=lambda asked: str(asked)[:40],
)
def test_other_messages_are_refused(site: RunningRecipe, asked: Any) -> None:
    """Few, short texts of the two speakers, or nothing is asked."""
    with gateway() as upstream:
        arrival = site.ask(asked)
        requests = upstream.requests

    assert arrival.status == 422
    assert requests == []


@sites(["starlette", "fastapi", "flask", "eventsource"])
def test_a_body_without_an_end_is_not_read(site: RunningRecipe) -> None:
    """The server's memory is no browser's to fill (Django reads larger bodies into a file)."""
    assert site.ask(b'{"messages": "' + b"x" * 1_000_000 + b'"}').status == 413


@sites([*PAGES, "eventsource"])
def test_the_page_is_served(site: RunningRecipe) -> None:
    """The same file in each."""
    page = site.get("/")

    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    assert b"<title>Chat</title>" in page.body


def test_the_page_needs_nothing_else() -> None:
    """No build step, nothing from elsewhere, and no text of a model that becomes HTML."""
    page = (ROOT / "recipes/chat.html").read_text("utf-8")

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
    """In every phase: the gateway sees it at once, and nothing is asked for nobody."""
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
def test_a_browser_that_leaves_a_thread_is_noticed_with_the_next_piece(site: RunningRecipe) -> None:
    """As the recipe says; while the model is silent, nothing tells the thread."""
    with gateway(delay=0.05) as upstream, RawBrowser(site.port) as visitor:
        visitor.read_until(b"data: ")
        visitor.leave()

        assert eventually(lambda: len(upstream.disconnects) == 1, 2 * SLACK)


@sites([*PAGES])
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_slow_reader_holds_the_gateway_back(site: RunningRecipe) -> None:
    """What the gateway sends fits into the sockets between: the forwarder's memory stays flat."""
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
    """`on_finish` gets the whole message, once."""
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
    """`on_finish` gets the whole message, once."""
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
    """An EventSource asks again by itself; a 204 makes it stop, and the gateway is asked once."""
    with gateway(delay=0.02) as upstream:
        path = f"/chat/{json.loads(site.ask().body)['id']}"
        with RawBrowser(site.port, path=path, method="GET") as visitor:
            visitor.read_until(b"data: ")
            while_it_runs = site.get(path)
            visitor.read_until(b"[DONE]")
        afterwards = site.get(path)
        asked = len(upstream.requests)

    assert HAIKU_BODY.split("\n\n")[0].encode() in visitor.got
    assert while_it_runs.status == 204
    assert afterwards.status == 204
    assert site.get("/chat/unknown").status == 204
    assert asked == 1
