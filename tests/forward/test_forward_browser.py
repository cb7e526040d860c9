"""The chat page in a real browser, against the recipes that serve it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cassette
import pytest
import requirements
from sockets import SLACK, eventually
from web import (
    BROWSER_REQUEST,
    CHROMIUM_FLAGS,
    HAIKU,
    RunningRecipe,
    answer_events,
    serve_recipe,
    unused_port,
    write_cassette,
)

from tensorloop_stream.replay import ReplayServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

GATEWAY = unused_port()
RECONNECTS_AFTER = 50


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    requirements.module("playwright", "web")
    chromium = requirements.program("chromium", "chromium-browser", "google-chrome")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def page(browser: Browser) -> Page:
    """Return a page that is used again: opening one takes longer than most tests."""
    opened = browser.new_page()
    opened.set_default_timeout(5000)
    return opened


@pytest.fixture(scope="module")
def site(browser: Browser) -> Iterator[RunningRecipe]:
    with serve_recipe("starlette", GATEWAY) as served:
        yield served


@pytest.fixture(scope="module")
def eventsource(browser: Browser) -> Iterator[RunningRecipe]:
    with serve_recipe("eventsource", GATEWAY) as served:
        yield served


def gateway(path: Path = cassette.FOLDER / "chat/haiku.yaml", **faults: Any) -> ReplayServer:
    return ReplayServer(path, port=GATEWAY, **faults)


def send(page: Page, site: RunningRecipe) -> None:
    """Open the page and send the message that stands there."""
    page.goto(site.url)
    page.get_by_role("button", name="Send").click()


def ended(page: Page) -> None:
    page.wait_for_selector(".assistant:not([aria-busy])")


def shown(page: Page) -> str:
    return page.eval_on_selector(".assistant:last-child p", "p => p.textContent")  # type: ignore[no-any-return]


def note(page: Page) -> str:
    return page.locator(".assistant .note").inner_text()


@contextmanager
def gets(page: Page) -> Iterator[list[str]]:
    """Note the answers that the page asks for by GET."""
    seen: list[str] = []

    def look(request: Request) -> None:
        if "/chat/" in request.url:
            seen.append(request.url)

    page.on("request", look)
    yield seen
    page.remove_listener("request", look)


def test_the_answer_grows(page: Page, site: RunningRecipe) -> None:
    """Step by step, in one text node that is appended to."""
    with gateway(delay=0.02):
        page.goto(site.url)
        page.evaluate(
            """() => {
                window.steps = [];
                const look = (changes) => steps.push(...changes.map(({ target }) => [target.length, Date.now()]));
                const what = { characterData: true, subtree: true };
                new MutationObserver(look).observe(document.getElementById("talk"), what);
            }"""
        )
        page.get_by_role("button", name="Send").click()
        ended(page)
        steps = page.evaluate("steps")

    assert shown(page) == HAIKU
    assert len({length for length, _ in steps}) > 10
    assert steps[-1][1] - steps[0][1] > 200
    assert page.locator(".note").count() == 0


@pytest.mark.parametrize("recipe", ["site", "eventsource"])
def test_awkward_bytes_are_read(page: Page, tmp_path: Path, recipe: str, request: pytest.FixtureRequest) -> None:
    """CRLF, comments, characters cut between reads; and what looks like HTML is text."""
    pieces = ["Größe 缓存 ", "🙂", "\u2028", "<img src=x onerror=alert(1)>", "\n& so on"]
    path = write_cassette(tmp_path / "odd.yaml", b": hello\n\n", *answer_events(*pieces))

    with gateway(path, crlf=True, split=7, ping=0.01, delay=0.02):
        send(page, request.getfixturevalue(recipe))
        ended(page)

    assert shown(page) == "".join(pieces)
    assert page.locator(".note, #talk img").count() == 0


def test_a_conversation_is_remembered(page: Page, site: RunningRecipe) -> None:
    """What was said before goes with the next question."""
    with gateway() as upstream:
        send(page, site)
        ended(page)
        page.get_by_label("Your message").fill("And one about queues.")
        page.keyboard.press("Enter")
        assert eventually(lambda: len(upstream.requests) == 2)
        sent = upstream.requests[1].body["messages"]

    assert sent == [
        *BROWSER_REQUEST["messages"],
        {"role": "assistant", "content": HAIKU},
        {"role": "user", "content": "And one about queues."},
    ]


def test_a_question_without_an_answer_is_left_out(page: Page, site: RunningRecipe) -> None:
    """Its error stays in sight, but the next question does not bring it along."""
    with gateway(status=401):
        send(page, site)
        ended(page)
    page.get_by_label("Your message").fill(BROWSER_REQUEST["messages"][0]["content"])
    with gateway():
        page.keyboard.press("Enter")
        page.wait_for_selector(".assistant:last-child:not([aria-busy])")

    assert shown(page) == HAIKU
    assert page.locator(".note").count() == 1
    assert page.get_by_role("button", name="Try again").count() == 0


@pytest.mark.parametrize("recipe", ["site", "eventsource"])
def test_stop_reaches_the_gateway(page: Page, recipe: str, request: pytest.FixtureRequest) -> None:
    """The text that had come stays, and nobody pays for the rest."""
    with gateway(stall_after=8) as upstream:
        send(page, request.getfixturevalue(recipe))
        page.wait_for_function("document.querySelector('.assistant p').textContent.length > 5")
        page.get_by_role("button", name="Stop").click()
        ended(page)

        assert eventually(lambda: len(upstream.disconnects) == 1, 2 * SLACK)
    assert note(page) == "Stopped."
    assert HAIKU.startswith(shown(page))


def test_a_new_chat_ends_the_answer(page: Page, site: RunningRecipe) -> None:
    """Nothing of the old one is left, nor paid for."""
    with gateway(stall_after=8) as upstream:
        send(page, site)
        page.wait_for_function("document.querySelector('.assistant p').textContent.length > 5")
        page.get_by_role("button", name="New chat").click()
        assert eventually(lambda: len(upstream.disconnects) == 1, 2 * SLACK)
    page.get_by_label("Your message").fill(BROWSER_REQUEST["messages"][0]["content"])
    with gateway() as upstream:
        page.get_by_role("button", name="Send").click()
        ended(page)
        sent = upstream.requests[0].body["messages"]

    assert sent == BROWSER_REQUEST["messages"]
    assert page.locator("article").count() == 2


@pytest.mark.parametrize("fault", [{"stall_after": 3}, {"first_delay": 30}], ids=["stalled", "silent"])
@pytest.mark.parametrize("recipe", ["site", "eventsource"])
def test_a_closed_tab_reaches_the_gateway(
    browser: Browser, recipe: str, fault: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    """In the middle of an answer, and before it begins."""
    with gateway(**fault) as upstream:
        tab = browser.new_page()
        send(tab, request.getfixturevalue(recipe))
        assert eventually(lambda: len(upstream.requests) == 1, 2 * SLACK)
        tab.close()

        assert eventually(lambda: len(upstream.disconnects) == 1, 2 * SLACK)
        assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("faults", "title", "says"),
    [
        ({"status": 401}, "The server answered 401", "401 Unauthorized"),
        ({"status": 429, "retry_after": 0.01}, "Too many requests", "429 Too Many Requests"),
        ({"status": 503, "retry_after": 0.01}, "The server answered 503", "503 Service Unavailable"),
        ({"error_after": 5}, "The answer broke off", "The server had an error while processing your request"),
        ({"cut_after": 5}, "The answer broke off", "connection cut after 5 chunks"),
        ({"end_after": 5}, "The answer broke off", "no finish_reason and no DONE"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_failure_is_shown_as_what_it_is(
    page: Page, site: RunningRecipe, faults: dict[str, Any], title: str, says: str
) -> None:
    """What had come stays, the reason stands below it, and the question can be asked again."""
    with gateway(**faults):
        send(page, site)
        ended(page)
        explained, partial = note(page), shown(page)
    with gateway():
        page.get_by_role("button", name="Try again", exact=True).click()
        page.wait_for_function("!document.querySelector('[aria-busy], .note')")

    assert explained.startswith(title)
    assert says in explained
    assert HAIKU.startswith(partial)
    assert bool(partial) == ("status" not in faults)
    assert shown(page) == HAIKU


def test_a_429_says_how_long_to_wait(page: Page, site: RunningRecipe) -> None:
    """The seconds of its `retry-after` are counted down; above two minutes the SDK does not wait itself."""
    with gateway(status=429, retry_after=125):
        send(page, site)
        ended(page)

        assert "Try again in 12" in note(page)
    assert page.locator(".note button").is_disabled()


@pytest.mark.parametrize("recipe", ["starlette", "eventsource"])
def test_a_server_that_goes_away_is_shown(page: Page, recipe: str) -> None:
    """In the middle of an answer, and when it is asked again."""
    with gateway(stall_after=8), serve_recipe(recipe, GATEWAY) as doomed:
        send(page, doomed)
        page.wait_for_function("document.querySelector('.assistant p').textContent.length > 5")
        doomed.kill()
        ended(page)
        lost = note(page)
        page.get_by_role("button", name="Try again").click()
        page.wait_for_selector("text=The server cannot be reached")

    assert lost.startswith("The connection was lost")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits(page: Page, site: RunningRecipe, tmp_path: Path, width: int, scheme: Any) -> None:
    """Nothing runs out of a phone or a desk, not even a long word; light and dark differ."""
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=scheme)
    with gateway(write_cassette(tmp_path / "long.yaml", *answer_events("long " * 500, "x" * 500))):
        send(page, site)
        ended(page)
    wide = page.evaluate("[document.documentElement, document.getElementById('room')].map((e) => e.scrollWidth)")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")

    assert max(wide) <= width
    assert page.get_by_role("button", name="Send").bounding_box() is not None
    # The end of the answer is what the reader sees.
    assert page.evaluate("(room => room.scrollHeight - room.scrollTop - room.clientHeight)(room)") < 2
    assert (int(background.strip("rgb()").split(",")[0]) > 128) == (scheme == "light")


# EventSource


def quick_to_reconnect(tmp_path: Path) -> Path:
    """Return a cassette whose answer tells an EventSource to ask again soon."""
    return write_cassette(tmp_path / "quick.yaml", b"retry: %d\n\n" % RECONNECTS_AFTER, *answer_events("Hel", "lo"))


@pytest.mark.parametrize("faults", [{}, {"error_after": 1}, {"cut_after": 1}, {"end_after": 1}], ids=str)
def test_an_eventsource_does_not_ask_again(
    page: Page, eventsource: RunningRecipe, tmp_path: Path, faults: dict[str, Any]
) -> None:
    """However the answer ends, the page closes it."""
    with gateway(quick_to_reconnect(tmp_path), **faults) as upstream, gets(page) as asked:
        send(page, eventsource)
        ended(page)
        page.wait_for_timeout(6 * RECONNECTS_AFTER)
        requests = upstream.requests

    assert shown(page) == ("Hel" if faults else "Hello")
    assert page.locator(".note", has_text="The answer broke off").count() == (1 if faults else 0)
    assert len(asked) == len(requests) == 1


def test_an_eventsource_that_cannot_begin_is_shown(page: Page, eventsource: RunningRecipe) -> None:
    """It tells no status, and the page says so."""
    with gateway(status=401), gets(page) as asked:
        send(page, eventsource)
        ended(page)

    assert note(page).startswith("The answer could not begin")
    assert len(asked) == 1


def test_a_page_that_forgets_to_close_pays_once(page: Page, eventsource: RunningRecipe, tmp_path: Path) -> None:
    """The EventSource asks again when the answer has ended, and the server's 204 makes it stop."""
    with gateway(quick_to_reconnect(tmp_path)) as upstream, gets(page) as asked:
        page.goto(eventsource.url)
        closed = page.evaluate(
            """async (asked) => {
                const response = await fetch("/chat", { method: "POST", body: JSON.stringify(asked) });
                const source = new EventSource(`/chat/${(await response.json()).id}`);
                while (source.readyState !== EventSource.CLOSED) await new Promise((done) => setTimeout(done, 20));
                return true;
            }""",
            BROWSER_REQUEST,
        )
        requests = upstream.requests

    assert closed
    assert len(asked) == 2
    assert len(requests) == 1
