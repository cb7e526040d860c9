"""A client in another process, or in another event loop, shares no connection with the first."""

from __future__ import annotations

import asyncio
import multiprocessing
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pages
import pytest
import requirements
from chunks import finish, sse, text
from clients import SSL
from sockets import write_cassette

from tensorloop_stream import AsyncTensorloop, Tensorloop
from tensorloop_stream.replay import ReplayServer

WORDS = [f"word{number}" for number in range(4)]

needs_fork = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork a process"
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ReplayServer]:
    streams = {word: [sse(text(word), done=False)] * 8 + [sse(finish())] for word in WORDS}
    with ReplayServer(write_cassette(tmp_path / "words.yaml", **streams), delay=0.005) as server:
        yield server


def ask(client: Any, word: str) -> str:
    messages: Any = [{"role": "user", "content": word}]
    try:
        with client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True) as stream:
            return str(stream.get_final_text())
    except Exception as error:  # noqa: BLE001 - a child reports it
        return f"{type(error).__name__}: {error}"


def ask_in_children(client: Any, words: list[str]) -> dict[str, str]:
    """Return the answer that a forked child gets to each word."""
    context = multiprocessing.get_context("fork")
    answers = context.Queue()

    def run(word: str) -> None:
        answers.put((word, ask(client, word)))

    with warnings.catch_warnings():
        # Python 3.12 warns of threads in a process that forks; the server's do nothing in the child.
        warnings.simplefilter("ignore", DeprecationWarning)
        children = [context.Process(target=run, args=(word,)) for word in words]
        for child in children:
            child.start()
    got = dict(answers.get(timeout=30) for _ in children)
    for child in children:
        child.join(30)
    return got


@needs_fork
def test_children_get_their_own_answers(server: ReplayServer) -> None:
    """A connection that two processes read gives each a part of the other's answer."""
    with Tensorloop(api_key="none", base_url=server.base_url, max_retries=0) as client:
        # On a busy machine the children take longer than an idle connection is kept.
        client._client._transport._pool._keepalive_expiry = None
        assert ask(client, "word0") == "word0" * 8
        before = server.connections
        rounds = requirements.scaled(40)
        for _ in range(rounds):
            assert ask_in_children(client, WORDS[1:]) == {word: word * 8 for word in WORDS[1:]}

        assert ask(client, "word0") == "word0" * 8
        assert server.connections == before + 3 * rounds


@needs_fork
def test_a_given_http_client_in_a_child_is_an_error(server: ReplayServer) -> None:
    """Its connections cannot be replaced, and must not be shared."""
    with Tensorloop(
        api_key="none", base_url=server.base_url, max_retries=0, http_client=httpx2.Client(verify=SSL)
    ) as client:
        assert ask(client, "word0") == "word0" * 8
        got = ask_in_children(client, WORDS[1:2])

        assert got["word1"].startswith("OpenAIError: this client was used before a fork")
        assert ask(client, "word0") == "word0" * 8


@needs_fork
def test_a_client_that_was_not_used_before_a_fork_works_in_a_child(server: ReplayServer) -> None:
    """A pool without connections is nobody's."""
    with Tensorloop(
        api_key="none", base_url=server.base_url, max_retries=0, http_client=httpx2.Client(verify=SSL)
    ) as client:
        assert ask_in_children(client, WORDS[:1]) == {"word0": "word0" * 8}


def test_an_async_client_works_in_a_second_event_loop(server: ReplayServer) -> None:
    """A program may run a loop for each of its tasks, with one client."""
    client = AsyncTensorloop(api_key="none", base_url=server.base_url, max_retries=0)

    async def run(client: AsyncTensorloop, word: str) -> str:
        messages: Any = [{"role": "user", "content": word}]
        stream: Any = await client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)
        return str(await stream.get_final_text())

    with warnings.catch_warnings():
        # Each loop ends with its connection in the pool.
        warnings.simplefilter("ignore", ResourceWarning)
        got = [asyncio.run(run(client, word)) for word in WORDS]
        del client
        pages.collect_garbage()

    assert got == [word * 8 for word in WORDS]
