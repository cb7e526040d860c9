"""A client in another process, or in another event loop, shares no connection with the first."""

from __future__ import annotations

import asyncio
import multiprocessing
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pages
import pytest
import requirements
from chunks import finish, sse, text
from clients import SSL
from sockets import write_cassette

from tensorloop_stream import AsyncTensorloop, Tensorloop
from tensorloop_stream.replay import ReplayServer

WORDS = [f"word{number}" for number in range(4)]

# Ways to make a second client that holds the HTTP client of the first.
SHARING: dict[str, Callable[[Any], Any]] = {
    "with_options": lambda client: client.with_options(timeout=5),
    "copy of a copy": lambda client: client.copy(max_retries=0).copy(timeout=5),
    "http_client": lambda client: type(client)(
        api_key="none", base_url=client.base_url, max_retries=0, http_client=client._client
    ),
}
sharing = pytest.mark.parametrize("share", SHARING.values(), ids=SHARING)
both_reads = pytest.mark.parametrize("direct_reads", [True, False])

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
@both_reads
@sharing
@pytest.mark.parametrize("is_copied_first", [True, False])
def test_children_of_a_copy_get_their_own_answers(
    is_copied_first: bool, share: Callable[[Any], Any], direct_reads: bool, server: ReplayServer
) -> None:
    """The connections are the parent's whichever client has opened them."""
    with Tensorloop(api_key="none", base_url=server.base_url, max_retries=0, direct_reads=direct_reads) as client:
        copies = [share(client)] if is_copied_first else []
        assert ask(client, "word0") == "word0" * 8
        other = (copies or [share(client)])[0]
        before = server.connections

        assert ask_in_children(other, WORDS[1:]) == {word: word * 8 for word in WORDS[1:]}
        assert server.connections == before + 3
        assert ask(other, "word0") == "word0" * 8
        assert ask(client, "word1") == "word1" * 8


@needs_fork
def test_a_given_http_client_of_two_clients_in_a_child_is_an_error(server: ReplayServer) -> None:
    """It is the parent's, although one of the clients was not used."""
    with httpx2.Client(verify=SSL) as http_client:
        settings: dict[str, Any] = {"api_key": "none", "base_url": server.base_url, "max_retries": 0}
        client, other = (Tensorloop(**settings, http_client=http_client) for _ in range(2))
        assert ask(client, "word0") == "word0" * 8

        assert ask_in_children(other, WORDS[1:2])["word1"].startswith("OpenAIError: this client was used before a fork")
        assert ask(other, "word0") == "word0" * 8


@needs_fork
def test_a_client_that_was_not_used_before_a_fork_works_in_a_child(server: ReplayServer) -> None:
    """A pool without connections is nobody's."""
    with Tensorloop(
        api_key="none", base_url=server.base_url, max_retries=0, http_client=httpx2.Client(verify=SSL)
    ) as client:
        assert ask_in_children(client, WORDS[:1]) == {"word0": "word0" * 8}


@pytest.fixture
def _open_ends() -> Iterator[None]:
    """Allow loops to end with connections in the pool."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        pages.collect_garbage()


open_ends = pytest.mark.usefixtures("_open_ends")


async def aask(client: Any, word: str) -> str:
    messages: Any = [{"role": "user", "content": word}]
    stream: Any = await client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


async def aask_all(*clients: Any) -> list[str]:
    """Return the answers to as many clients, one after the other."""
    return [await aask(client, word) for client, word in zip(clients, WORDS, strict=False)]


async def aask_together(*clients: Any) -> list[str]:
    """Return the answers to as many clients, all at a time."""
    return await asyncio.gather(*[aask(client, word) for client, word in zip(clients, WORDS, strict=False)])


def answers(count: int) -> list[str]:
    return [word * 8 for word in WORDS[:count]]


def new_client(server: ReplayServer, **settings: Any) -> AsyncTensorloop:
    return AsyncTensorloop(api_key="none", base_url=server.base_url, max_retries=0, **settings)


@open_ends
def test_an_async_client_works_in_a_second_event_loop(server: ReplayServer) -> None:
    """A program may run a loop for each of its tasks, with one client."""
    client = new_client(server)

    assert [asyncio.run(aask(client, word)) for word in WORDS] == answers(4)


@open_ends
@both_reads
@sharing
def test_a_copy_of_no_loop_shares_the_connection_of_the_first(
    share: Callable[[Any], Any], direct_reads: bool, server: ReplayServer
) -> None:
    """A client that is made outside of an event loop has connections of the loop that it is first used in."""
    client = new_client(server, direct_reads=direct_reads)
    other = share(client)

    assert asyncio.run(aask_all(client, other, client)) == answers(3)
    assert server.connections == 1


@open_ends
@both_reads
@sharing
@pytest.mark.parametrize("run", [aask_all, aask_together])
def test_two_event_loops_serve_a_client_and_its_copy(
    run: Callable[..., Any], share: Callable[[Any], Any], direct_reads: bool, server: ReplayServer
) -> None:
    """Each loop serves both, in either order."""
    client = new_client(server, direct_reads=direct_reads)
    other = share(client)

    assert asyncio.run(run(client, other)) == answers(2)
    assert asyncio.run(run(other, client)) == answers(2)
    assert asyncio.run(run(client, other)) == answers(2)


@open_ends
@sharing
def test_a_client_and_its_copy_share_a_connection_in_each_loop(
    share: Callable[[Any], Any], server: ReplayServer
) -> None:
    """One of them leaves the pool of an earlier loop, and the other finds the new one."""
    client = new_client(server)
    other = share(client)

    for count in (1, 2, 3):
        assert asyncio.run(aask_all(other, client, other)) == answers(3)
        assert server.connections == count


@open_ends
@sharing
def test_a_copy_of_a_used_client_works_in_any_loop(share: Callable[[Any], Any], server: ReplayServer) -> None:
    """It may be made in the loop, between two loops, or in the second loop before its first request."""
    client = new_client(server)

    async def copy_in_loop() -> list[str]:
        return await aask_all(client, share(client))

    assert asyncio.run(copy_in_loop()) == answers(2)
    other = share(client)
    assert asyncio.run(aask_all(other, client)) == answers(2)

    async def copy_first() -> list[str]:
        return await aask_all(share(client), client, other)

    assert asyncio.run(copy_first()) == answers(3)


@open_ends
def test_a_pool_that_was_left_serves_its_other_holders(server: ReplayServer) -> None:
    """A loop in another thread takes nothing from a copy, and from a client of the SDK, in the loop at hand."""
    client = new_client(server)
    others = [
        client.with_options(timeout=5),
        openai.AsyncOpenAI(api_key="none", base_url=server.base_url, http_client=client._client),
    ]

    async def main() -> None:
        assert await aask_all(*others) == answers(2)
        assert await asyncio.to_thread(asyncio.run, aask(client, "word2")) == "word2" * 8

        assert await aask_all(*others) == answers(2)
        assert server.connections == 2

    asyncio.run(main())


@open_ends
@both_reads
def test_a_pool_that_was_left_is_freed_but_not_closed(
    direct_reads: bool, server: ReplayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK would close it in a loop that does not know its connections."""
    closed: list[object] = []

    async def aclose(pool: Any) -> None:
        closed.append(id(pool))

    client = new_client(server, direct_reads=direct_reads)
    assert asyncio.run(aask(client, "word0")) == "word0" * 8
    left = weakref.ref(client._client)
    monkeypatch.setattr(httpx2.AsyncClient, "aclose", aclose)

    async def main() -> None:
        assert await aask(client, "word1") == "word1" * 8
        pages.collect_garbage()
        await asyncio.sleep(0)

        assert left() is None
        assert closed == []

    asyncio.run(main())


@open_ends
def test_a_copy_works_in_a_loop_that_has_closed_the_first_client(server: ReplayServer) -> None:
    """No client is given a closed pool in place of an earlier loop's."""
    client = new_client(server)
    other = client.with_options(timeout=5)
    kind = type(client._client)
    assert asyncio.run(aask_all(client, other)) == answers(2)

    async def main() -> str:
        assert await aask(client, "word0") == "word0" * 8
        await client.close()
        return await aask(other, "word1")

    assert asyncio.run(main()) == "word1" * 8
    assert type(other._client) is kind


@open_ends
@sharing
def test_a_client_and_its_copy_may_have_a_loop_each(share: Callable[[Any], Any], server: ReplayServer) -> None:
    """One of them takes no pool from the other's loop."""
    client = new_client(server)
    other = share(client)

    for one in (client, other, client, client, other, other):
        assert asyncio.run(aask_all(one)) == answers(1)


@open_ends
@sharing
def test_a_copy_between_two_runs_of_a_loop_shares_its_connection(
    share: Callable[[Any], Any], server: ReplayServer
) -> None:
    """Code outside of an event loop does not tell which loop comes next."""
    client = new_client(server)
    with asyncio.Runner() as runner:
        assert runner.run(aask_all(client)) == answers(1)
        other = share(client)

        assert runner.run(aask_all(other, client)) == answers(2)
        assert server.connections == 1
