"""The chat page in a real browser, served by the recipes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cassette
import pytest
import requirements
from events import HELLO, ended as last_event, event, message, stream
from sockets import SLACK, eventually
from web import (
    BROWSER_REQUEST,
    CHROMIUM_FLAGS,
    HAIKU,
    ROOT,
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
FAILED = event("failed", response={"status": "failed", "output": [], "error": {"message": "Boom."}})


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
    """Return a page for all tests: opening one takes longer than most tests."""
    opened = browser.new_page()
    opened.set_default_timeout(30_000)
    # The page keeps its conversation over a reload; here each test begins a new one.
    opened.add_init_script("sessionStorage.clear()")
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
    """Open the page and send the message in its input field."""
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
    """Record the answers that the page requests by GET."""
    seen: list[str] = []

    def look(request: Request) -> None:
        if "/chat/" in request.url:
            seen.append(request.url)

    page.on("request", look)
    yield seen
    page.remove_listener("request", look)


def test_the_answer_grows(page: Page, site: RunningRecipe) -> None:
    """The text grows in steps, in one text node."""
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
    """CRLF, comments and split characters are decoded, and HTML is shown as text."""
    texts = ["Größe 缓存 ", "🙂", "\u2028", "<img src=x onerror=alert(1)>", "\n& so on"]
    path = write_cassette(tmp_path / "odd.yaml", b": hello\n\n", *answer_events(*texts))

    with gateway(path, crlf=True, split=7, ping=0.01, delay=0.02):
        send(page, request.getfixturevalue(recipe))
        ended(page)

    assert shown(page) == "".join(texts)
    assert page.locator(".note, #talk img").count() == 0


@pytest.mark.parametrize(
    ("last", "noted"),
    [
        (last_event(message("Hello")), []),
        (
            last_event(status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
            ["Cut at the limit of tokens."],
        ),
        (FAILED, ["The answer broke off\nBoom.\nTry again"]),
        ({"type": "error", "code": "server_error", "message": "Boom."}, ["The answer broke off\nBoom.\nTry again"]),
    ],
)
def test_events_of_the_responses_api_are_read(
    page: Page, site: RunningRecipe, tmp_path: Path, last: Any, noted: list[str]
) -> None:
    """The page needs no other code for the other API."""
    path = write_cassette(tmp_path / "response.yaml", stream(*HELLO[:5], last))
    with gateway(path):
        send(page, site)
        ended(page)

    assert shown(page) == "Hello"
    assert page.locator(".assistant .note").all_inner_texts() == noted


def test_a_conversation_is_remembered(page: Page, site: RunningRecipe) -> None:
    """The next request contains the earlier messages."""
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
    """Its error stays visible, but the next request does not contain the question."""
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
    """The text so far stays visible, and the gateway generates no more."""
    with gateway(stall_after=8) as upstream:
        send(page, request.getfixturevalue(recipe))
        page.wait_for_function("document.querySelector('.assistant p').textContent.length > 5")
        page.get_by_role("button", name="Stop").click()
        ended(page)

        assert eventually(lambda: len(upstream.disconnects) == 1, 2 * SLACK)
    assert note(page) == "Stopped."
    assert HAIKU.startswith(shown(page))


def test_a_new_chat_ends_the_answer(page: Page, site: RunningRecipe) -> None:
    """The new request contains nothing of the old chat, and the gateway stops the old answer."""
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
    """The tab may close in the middle of an answer or before it begins."""
    with gateway(**fault) as upstream:
        tab = browser.new_page()
        send(tab, request.getfixturevalue(recipe))
        assert eventually(lambda: len(upstream.requests) == 1, 2 * SLACK)
        tab.close()

        assert eventually(lambda: len(upstream.disconnects) == 1, 2 * SLACK)
        assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("faults", "title", "message"),
    [
        ({"status": 401}, "The server answered 502", "the service is not available"),
        ({"status": 429, "retry_after": 0.01}, "Too many requests", "429 Too Many Requests"),
        ({"status": 503, "retry_after": 0.01}, "The server answered 503", "503 Service Unavailable"),
        ({"error_after": 5}, "The answer broke off", "The server had an error while processing your request"),
        ({"cut_after": 5}, "The answer broke off", "connection cut after 5 chunks"),
        ({"end_after": 5}, "The answer broke off", "no finish_reason and no DONE"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_failure_is_shown_with_its_reason(
    page: Page, site: RunningRecipe, faults: dict[str, Any], title: str, message: str
) -> None:
    """The text so far stays visible above the reason, and the question can be sent again."""
    with gateway(**faults):
        send(page, site)
        ended(page)
        explained, partial = note(page), shown(page)
    with gateway():
        page.get_by_role("button", name="Try again", exact=True).click()
        page.wait_for_function("!document.querySelector('[aria-busy], .note')")

    assert explained.startswith(title)
    assert message in explained
    assert HAIKU.startswith(partial)
    assert bool(partial) == ("status" not in faults)
    assert shown(page) == HAIKU


@pytest.mark.parametrize("recipe", ["chat", "chat_resumable"])
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, '{"error": {"message": "deployment eu-7 of team-a", "type": null, "param": null, "code": "429"}}'),
        (200, 'data: {"error": {"message": "deployment eu-7 of team-a", "type": null, "code": "429"}}\n\n'),
    ],
    ids=["refused", "broken"],
)
def test_a_reader_elsewhere_gets_the_words_of_the_page(page: Page, recipe: str, status: int, body: str) -> None:
    """The gateway's own words are for operators: away from one's own machine, the code chooses the words."""
    html = (ROOT / f"recipes/{recipe}.html").read_text("utf-8")
    kind = "text/event-stream" if status == 200 else "application/json"
    page.route("http://chat.test/", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.route("http://chat.test/chat**", lambda route: route.fulfill(status=status, body=body, content_type=kind))
    page.goto("http://chat.test/")
    page.get_by_role("button", name="Send").click()
    ended(page)
    explained = note(page)
    page.unroute_all()

    assert "The service is busy: try again in a minute." in explained
    assert "eu-7" not in explained


def test_a_429_says_how_long_to_wait(page: Page, site: RunningRecipe) -> None:
    """The page counts down the seconds of `retry-after`; above two minutes the SDK does not retry by itself."""
    with gateway(status=429, retry_after=125):
        send(page, site)
        ended(page)

        assert "Try again in 12" in note(page)
    assert page.locator(".note button").is_disabled()


@pytest.mark.parametrize("recipe", ["starlette", "eventsource"])
def test_a_server_that_goes_away_is_shown(page: Page, recipe: str) -> None:
    """The server may end in the middle of an answer or before a retry."""
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
    """The page has no horizontal overflow on a phone or a desktop, even with a long word; light and dark differ."""
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=scheme)
    with gateway(write_cassette(tmp_path / "long.yaml", *answer_events("long " * 500, "x" * 500))):
        send(page, site)
        ended(page)
    wide = page.evaluate("[document.documentElement, document.getElementById('room')].map((e) => e.scrollWidth)")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")

    assert max(wide) <= width
    assert page.get_by_role("button", name="Send").bounding_box() is not None
    # The page is scrolled to the end of the answer.
    assert page.evaluate("(room => room.scrollHeight - room.scrollTop - room.clientHeight)(room)") < 2
    assert (int(background.strip("rgb()").split(",")[0]) > 128) == (scheme == "light")


# EventSource


def quick_to_reconnect(tmp_path: Path) -> Path:
    """Return a cassette whose answer makes an EventSource reconnect early."""
    return write_cassette(tmp_path / "quick.yaml", b"retry: %d\n\n" % RECONNECTS_AFTER, *answer_events("Hel", "lo"))


@pytest.mark.parametrize("faults", [{}, {"error_after": 1}, {"cut_after": 1}, {"end_after": 1}], ids=str)
def test_an_eventsource_does_not_reconnect(
    page: Page, eventsource: RunningRecipe, tmp_path: Path, faults: dict[str, Any]
) -> None:
    """The page closes it after every kind of ending."""
    with gateway(quick_to_reconnect(tmp_path), **faults) as upstream, gets(page) as urls:
        send(page, eventsource)
        ended(page)
        page.wait_for_timeout(6 * RECONNECTS_AFTER)
        requests = upstream.requests

    assert shown(page) == ("Hel" if faults else "Hello")
    assert page.locator(".note", has_text="The answer broke off").count() == (1 if faults else 0)
    assert len(urls) == len(requests) == 1


def test_an_eventsource_that_cannot_begin_is_shown(page: Page, eventsource: RunningRecipe) -> None:
    """An EventSource has no status, so the page shows a general message."""
    with gateway(status=401), gets(page) as urls:
        send(page, eventsource)
        ended(page)

    assert note(page).startswith("The answer could not begin")
    assert len(urls) == 1


def test_a_page_that_does_not_close_its_eventsource_pays_once(
    page: Page, eventsource: RunningRecipe, tmp_path: Path
) -> None:
    """The EventSource reconnects after the answer, and the server's 204 stops it."""
    with gateway(quick_to_reconnect(tmp_path)) as upstream, gets(page) as urls:
        page.goto(eventsource.url)
        closed = page.evaluate(
            """async (asked) => {
                const headers = { "Content-Type": "application/json" };
                const response = await fetch("/chat", { method: "POST", headers, body: JSON.stringify(asked) });
                const source = new EventSource(`/chat/${(await response.json()).id}`);
                while (source.readyState !== EventSource.CLOSED) await new Promise((done) => setTimeout(done, 20));
                return true;
            }""",
            BROWSER_REQUEST,
        )
        requests = upstream.requests

    assert closed
    assert len(urls) == 2
    assert len(requests) == 1


MARKDOWN = """# Caches

A **cache** keeps *answers*:

| kind | where |
| --- | --- |
| browser | near |

```python
print("<b>fast</b>")

print(2)
```

1. one

2. two

<img src="http://evil.test/x.png" onerror="alert(1)"> <script>alert(2)</script>

![a picture](http://evil.test/y.png) [run](javascript:alert(3)) [go](https://example.test/)
"""


def test_markdown_is_shown_and_nothing_runs(page: Page, site: RunningRecipe, tmp_path: Path) -> None:
    """Blocks become elements; HTML stays text, an image is a link, and nothing is loaded from elsewhere."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    path = write_cassette(
        tmp_path / "markdown.yaml", *answer_events(*(MARKDOWN[at : at + 5] for at in range(0, 500, 5)))
    )
    with gateway(path):
        send(page, site)
        ended(page)
    blocks = page.locator(".assistant .blocks")

    assert blocks.locator("h1").inner_text() == "Caches"
    assert blocks.locator("td").all_inner_texts() == ["browser", "near"]
    assert blocks.locator("pre").inner_text().strip() == 'print("<b>fast</b>")\n\nprint(2)'
    assert blocks.locator("li").all_inner_texts() == ["one", "two"]
    assert blocks.locator("ol").evaluate_all("lists => lists.map((list) => list.start)") == [1, 2]
    assert blocks.locator("img, script, [onerror]").count() == 0
    assert "onerror=" in blocks.inner_text()
    assert [link.get_attribute("href") for link in blocks.locator("a").all()] == [
        "http://evil.test/y.png",
        None,
        "https://example.test/",
    ]
    assert not [url for url in asked if not url.startswith((site.url, "data:"))]


def test_a_conversation_outlives_a_reload(browser: Browser, site: RunningRecipe) -> None:
    """The answers are shown as before, and the next request has them."""
    opened = browser.new_page()
    with gateway() as server:
        send(opened, site)
        ended(opened)
        opened.reload()
        after = (shown(opened), opened.locator(".user").count(), opened.locator("#says").input_value())
        opened.fill("#says", "Another.")
        opened.get_by_role("button", name="Send").click()
        opened.wait_for_selector(".assistant:nth-of-type(4) .note")
        sent = [message["role"] for message in server.requests[-1].body["messages"]]
    opened.close()

    assert after == (HAIKU, 1, "")
    assert sent == ["user", "assistant", "user"]


def test_an_answer_can_be_copied(browser: Browser, site: RunningRecipe) -> None:
    """The clipboard has the Markdown, as the model wrote it."""
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    opened = context.new_page()
    with gateway():
        send(opened, site)
        ended(opened)
        opened.get_by_role("button", name="Copy").click()
        opened.get_by_text("Copied").wait_for()
        copied = opened.evaluate("navigator.clipboard.readText()")
    context.close()

    assert copied == HAIKU
