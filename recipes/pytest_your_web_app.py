"""Test a web app that streams to browsers, without a key or a network: python recipes/pytest_your_web_app.py"""

from pathlib import Path

import pytest
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


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-W", "ignore::pytest.PytestAssertRewriteWarning"]))
