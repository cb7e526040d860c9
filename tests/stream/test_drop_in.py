"""The same unmodified program on the SDK's client and on this package's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cassette
import drop_in_program
import httpx2
import openai
import pytest
from clients import SSL

from tensorloop_stream import AsyncTensorloop, Tensorloop
from tensorloop_stream.replay import ReplayServer

HAIKU: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Stream a haiku about caching."}],
}


CUTS_ARE_THE_SDKS_ERRORS = pytest.mark.skipif(
    tuple(map(int, openai.__version__.split(".")[:2])) < (3, 14), reason="before openai 3.14 they were httpx2's"
)


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with ReplayServer([cassette.FOLDER]) as server:
        yield server.base_url


@pytest.fixture
def both(base_url: str) -> Iterator[tuple[openai.OpenAI, Tensorloop]]:
    """Give the SDK's client and this package's: the one line that a program changes."""
    settings: dict[str, Any] = {"base_url": base_url, "api_key": "none", "max_retries": 0, "timeout": 5}
    with (
        openai.OpenAI(**settings, http_client=httpx2.Client(verify=SSL)) as before,
        Tensorloop(**settings, http_client=httpx2.Client(verify=SSL)) as after,
    ):
        yield before, after


@pytest.mark.parametrize("name", ["loop", "with_block", "helper", "raw", "not_streamed"])
def test_the_same_program_has_the_same_results(name: str, both: Any) -> None:
    """Loops, blocks, the SDK's helper and raw responses work unchanged."""
    before, after = (getattr(drop_in_program, name)(client, HAIKU) for client in both)

    assert after == before


@pytest.mark.parametrize(
    ("fault", "caught"),
    [
        ("", None),
        ("?status=401", "status 401"),
        ("?status=429", "rate limit 429"),
        ("?status=503", "status 503"),
        ("?error-after=3", None),
        pytest.param("?cut-after=0&first-delay=0", None, marks=CUTS_ARE_THE_SDKS_ERRORS),
    ],
)
def test_the_same_except_clauses_catch(fault: str, caught: str | None, both: Any) -> None:
    """Existing `except openai.…` clauses catch the same errors."""
    ask = {**HAIKU, "model": f"gpt-4o-mini{fault}"}
    before, after = (drop_in_program.catches(client, ask) for client in both)

    assert after == before
    assert caught in {None, after}


@pytest.mark.parametrize(
    ("fault", "caught"),
    [("?cut-after=5", "connection"), ("?stall-after=5", "timeout"), ("?error-after=5", "error 500")],
)
def test_except_clauses_catch_broken_streams(fault: str, caught: str, both: Any) -> None:
    """A connection error, a stall and an error event reach the clauses that are meant for them."""
    client = both[1].with_options(timeout=0.3)
    result = drop_in_program.catches(client, {**HAIKU, "model": f"gpt-4o-mini{fault}"})

    assert result.startswith(caught)


@pytest.mark.parametrize("name", ["async_loop", "async_helper"])
async def test_the_same_async_program_has_the_same_results(name: str, base_url: str) -> None:
    """Asynchronous loops and the SDK's asynchronous helper work unchanged."""
    results = []
    for kind in (openai.AsyncOpenAI, AsyncTensorloop):
        async with kind(base_url=base_url, api_key="none", http_client=httpx2.AsyncClient(verify=SSL)) as client:
            results.append(await getattr(drop_in_program, name)(client, HAIKU))

    assert results[1] == results[0]
