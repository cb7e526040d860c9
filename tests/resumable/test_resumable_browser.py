"""The page that resumes its answer after a reload, in a real browser."""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import cassette
import httpx2
import pytest
import requirements
from clients import SSL
from redis_servers import redis_server
from sockets import eventually
from web import (
    BROWSER_REQUEST,
    CHROMIUM_FLAGS,
    GATEWAY_REQUEST,
    HAIKU,
    ROOT,
    TIMEOUT,
    answer_events,
    run_server,
    unused_port,
    write_cassette,
)

from tensorloop_stream.replay import ReplayServer

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

GATEWAY, REDIS = unused_port(), unused_port()
SOME = "document.querySelector('.assistant p')?.textContent.length > 5"


@contextmanager
def web(port: int, database: int = REDIS) -> Iterator[Any]:
    environment = {
        **os.environ,
        "PORT": str(port),
        "REDIS_URL": f"redis://127.0.0.1:{database}",
        "TENSORLOOP_BASE_URL": f"http://127.0.0.1:{GATEWAY}/v1",
        "TENSORLOOP_KEY": "tl_none",
    }
    with run_server([sys.executable, str(ROOT / "recipes/forward_resumable.py")], port, environment) as process:
        yield process


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    requirements.module("starlette", "starlette")
    port = unused_port()
    with redis_server(REDIS), web(port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def page(site: str) -> Iterator[Page]:
    requirements.module("playwright", "web")
    chromium = requirements.program("chromium", "chromium-browser", "google-chrome")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        opened = browser.new_page()
        opened.set_default_timeout(1000 * TIMEOUT)
        yield opened
        browser.close()


@pytest.fixture(autouse=True)
def _fresh(page: Page, site: str) -> None:
    page.goto(site)
    page.evaluate("sessionStorage.clear()")
    page.goto(site)


def gateway(path: Path = cassette.FOLDER / "chat/haiku.yaml", **faults: Any) -> ReplayServer:
    return ReplayServer(path, port=GATEWAY, **faults)


def send(page: Page) -> None:
    page.get_by_role("button", name="Send").click()


def ended(page: Page) -> None:
    page.wait_for_selector(".assistant:last-child:not([aria-busy])")


def shown(page: Page) -> str:
    return page.eval_on_selector(".assistant:last-child p", "p => p.textContent")  # type: ignore[no-any-return]


def test_a_reload_resumes_the_answer(page: Page) -> None:
    """After several reloads the text is complete, and one request was made."""
    with gateway(delay=0.1) as upstream:
        send(page)
        for _ in range(3):
            page.wait_for_function(SOME)
            page.reload()
        ended(page)
        requests, disconnects = len(upstream.requests), len(upstream.disconnects)

    assert shown(page) == HAIKU
    assert (requests, disconnects) == (1, 0)
    assert page.locator(".user").count() == page.locator(".assistant").count() == 1
    assert page.locator(".note").count() == 0


def test_an_answer_becomes_markdown_and_can_be_copied(page: Page) -> None:
    """After a reload, too."""
    with gateway():
        send(page)
        ended(page)
    before = page.locator(".assistant .blocks").inner_html()
    page.reload()

    assert page.locator(".assistant .blocks p").count() >= 1
    assert page.locator(".assistant .blocks").inner_html() == before
    assert page.get_by_role("button", name="Copy").count() == 1


def test_a_conversation_survives_a_reload(page: Page) -> None:
    """The next request contains the earlier messages."""
    with gateway() as upstream:
        send(page)
        ended(page)
        page.reload()
        page.get_by_label("Your message").fill("And one about queues.")
        page.keyboard.press("Enter")
        assert eventually(lambda: len(upstream.requests) == 2, TIMEOUT)
        sent = upstream.requests[1].body["messages"]

    assert sent == [
        *BROWSER_REQUEST["messages"],
        {"role": "assistant", "content": HAIKU},
        {"role": "user", "content": "And one about queues."},
    ]


def test_the_page_resumes_after_its_replica_was_restarted(page: Page) -> None:
    """The producer is another process; the page continues from its last event."""
    name, port = str(uuid.uuid4()), unused_port()
    with gateway(delay=0.15) as upstream, web(producer := unused_port()), httpx2.Client(verify=SSL) as client:
        with client.stream("POST", f"http://127.0.0.1:{producer}/chat/{name}", json=BROWSER_REQUEST):
            pass
        with web(port):
            page.goto(f"http://127.0.0.1:{port}")
            kept = json.dumps({"messages": BROWSER_REQUEST["messages"], "id": name})
            page.evaluate("(kept) => sessionStorage.setItem('chat', kept)", kept)
            page.reload()
            page.wait_for_function(SOME)
        with web(port):
            ended(page)
            asked = [request.body for request in upstream.requests]

    assert shown(page) == HAIKU
    assert asked == [GATEWAY_REQUEST]
    assert page.locator(".note").count() == 0


def test_stop_reaches_the_gateway_after_a_reload(page: Page) -> None:
    """The text so far stays visible, and the gateway generates no more."""
    with gateway(stall_after=8) as upstream:
        send(page)
        page.wait_for_function(SOME)
        page.reload()
        page.wait_for_function(SOME)
        page.get_by_role("button", name="Stop").click()
        ended(page)

        assert eventually(lambda: len(upstream.disconnects) == 1, TIMEOUT)
    assert page.locator(".assistant .note").inner_text() == "Stopped."
    assert HAIKU.startswith(shown(page))


def test_stop_works_after_a_failure_of_redis(page: Page) -> None:
    """The page repeats both the question and the stop, in any order, and the gateway generates no more."""
    database, port = unused_port(), unused_port()
    with gateway(stall_after=8) as upstream, web(port, database):
        page.goto(f"http://127.0.0.1:{port}")
        with (
            page.expect_response(lambda response: response.request.method == "POST") as asked,
            page.expect_response(lambda response: response.request.method == "DELETE") as stopped,
        ):
            send(page)
            page.get_by_role("button", name="Stop").click()
        with redis_server(database):
            ended(page)
            left = eventually(lambda: len(upstream.disconnects) == len(upstream.requests), TIMEOUT)

    assert (asked.value.status, stopped.value.status) == (503, 503)
    assert page.locator(".assistant .note").inner_text() == "Stopped."
    assert left


def test_a_closed_tab_cancels_nothing(page: Page, site: str) -> None:
    """The answer continues, for the database and for the next tab."""
    with gateway(delay=0.05) as upstream:
        browser = page.context.browser
        assert browser is not None
        tab = browser.new_page()
        tab.goto(site)
        send(tab)
        tab.wait_for_function(SOME)
        kept = tab.evaluate("sessionStorage.getItem('chat')")
        tab.close()
        page.evaluate("(kept) => sessionStorage.setItem('chat', kept)", kept)
        page.reload()
        ended(page)
        requests, disconnects = len(upstream.requests), len(upstream.disconnects)

    assert shown(page) == HAIKU
    assert (requests, disconnects) == (1, 0)


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"status": 401}, "the service is not available"),
        ({"status": 429, "retry_after": 0.01}, "429 Too Many Requests"),
        ({"error_after": 5}, "The server had an error while processing your request"),
        ({"cut_after": 5}, "connection cut after "),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_failure_is_shown_with_its_reason(page: Page, faults: dict[str, Any], message: str) -> None:
    """The text so far stays visible above the reason, and the question can be sent again."""
    with gateway(**faults):
        send(page)
        ended(page)
        explained, partial = page.locator(".assistant .note").inner_text(), shown(page)
    with gateway():
        page.get_by_role("button", name="Try again", exact=True).click()
        page.wait_for_function("!document.querySelector('[aria-busy], .note')")

    assert message in explained
    assert HAIKU.startswith(partial)
    assert bool(partial) == ("status" not in faults)
    assert shown(page) == HAIKU


def test_an_expired_answer_is_shown_as_such(page: Page) -> None:
    """The question can be sent again."""
    kept = json.dumps({"messages": BROWSER_REQUEST["messages"], "id": str(uuid.uuid4())})
    page.evaluate("(kept) => sessionStorage.setItem('chat', kept)", kept)
    page.reload()
    ended(page)
    explained = page.locator(".assistant .note").inner_text()
    with gateway():
        page.get_by_role("button", name="Try again").click()
        page.wait_for_function("!document.querySelector('[aria-busy], .note')")

    assert "it was never started, or it has expired" in explained
    assert shown(page) == HAIKU


def test_awkward_bytes_are_read(page: Page, tmp_path: Path) -> None:
    """Split characters and comments are decoded, and HTML is shown as text."""
    texts = ["Größe 缓存 ", "🙂", "\u2028", "<img src=x onerror=alert(1)>", "\n& so on"]
    path = write_cassette(tmp_path / "odd.yaml", b": hello\n\n", *answer_events(*texts))

    with gateway(path, crlf=True, split=7, ping=0.01, delay=0.02):
        send(page)
        ended(page)

    assert shown(page) == "".join(texts)
    assert page.locator(".note, #talk img").count() == 0


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits(page: Page, tmp_path: Path, width: int) -> None:
    """The page has no horizontal overflow on a phone or a desktop, even with a long word."""
    page.set_viewport_size({"width": width, "height": 844})
    with gateway(write_cassette(tmp_path / "long.yaml", *answer_events("long " * 500, "x" * 500))):
        send(page)
        ended(page)
    wide = page.evaluate("[document.documentElement, document.getElementById('room')].map((e) => e.scrollWidth)")

    assert max(wide) <= width
    assert page.evaluate("(room => room.scrollHeight - room.scrollTop - room.clientHeight)(room)") < 2
