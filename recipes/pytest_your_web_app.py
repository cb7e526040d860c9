"""Test a web app that streams to browsers, without a key or a network: python recipes/pytest_your_web_app.py

Longer than a page, since a browser that leaves needs a true server: a test client reads every answer to its end.
"""

import threading
import time
from pathlib import Path
from urllib.request import urlopen

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from starlette.testclient import TestClient

from tensorloop_stream import AsyncTensorloop, ForwardApp
from tensorloop_stream.replay import ReplayServer

CASSETTES = next(path for parent in Path(__file__).parents if (path := parent / "cassettes").is_dir())


def make_app(model: str = "gpt-4o-mini") -> Starlette:
    """Return an app that stands for yours; as a function, it can be imported without a key."""
    client = AsyncTensorloop(max_retries=0)

    async def haiku(_: Request) -> ForwardApp:
        messages = [{"role": "user", "content": "Stream a haiku about caching."}]
        return ForwardApp(client, {"model": model, "messages": messages})

    return Starlette(routes=[Route("/haiku", haiku)])


@pytest.mark.parametrize(("fault", "end"), [("", "[DONE]"), ("cut-after=7", "upstream_error"), ("status=429", "429")])
def test_browser_gets_the_answer_or_an_error(fault: str, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model name requests the fault; the browser gets the complete answer, or an error that it can see."""
    with ReplayServer(CASSETTES) as server:
        monkeypatch.setenv("TENSORLOOP_BASE_URL", server.base_url)  # these override your .env and its real key
        monkeypatch.setenv("TENSORLOOP_KEY", "none")
        with TestClient(make_app(f"gpt-4o-mini?{fault}")) as browser:  # requests of one block share an event loop
            assert end in browser.get("/haiku").text.rstrip().splitlines()[-1]
        assert server.unmatched == []  # every request was recorded


def test_browser_that_leaves_ends_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway stops, also while the model is silent; nobody pays for the rest."""
    with ReplayServer(CASSETTES, stall_after=7) as gateway:
        monkeypatch.setenv("TENSORLOOP_BASE_URL", gateway.base_url)
        monkeypatch.setenv("TENSORLOOP_KEY", "none")
        site = uvicorn.Server(uvicorn.Config(make_app(), port=0, log_level="warning"))
        thread = threading.Thread(target=site.run)
        thread.start()
        while not site.started:
            time.sleep(0.01)
        host, port = site.servers[0].sockets[0].getsockname()
        try:
            with urlopen(f"http://{host}:{port}/haiku") as answer:
                answer.readline()
            gateway.wait_until_idle()
            assert len(gateway.disconnects) == 1
        finally:
            site.should_exit = True
            thread.join()


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-W", "ignore::pytest.PytestAssertRewriteWarning"]))
