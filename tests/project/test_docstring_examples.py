"""The examples in docstrings: every public class has one, and each runs against recorded answers.

An example is an indented block behind a line that ends with a colon. It may use the public names of the package, and
`client`, `async_client`, `request` (a model and messages), `openai`, `suppress`, and `redis`.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import re
import textwrap
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cassette
import openai
import pages
import pytest
import requirements
from redis_servers import redis_server
from test_public_names import MODULES, NEEDS
from web import unused_port

from tensorloop_stream import AsyncTensorloop, Tensorloop
from tensorloop_stream.replay import ReplayServer

REQUEST = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Stream a haiku about caching."}]}
_EXAMPLE = re.compile(r"^[^\n]*:\n\n(?P<code>(?: {4}[^\n]*\n|\n)+)", re.MULTILINE)


class Example(NamedTuple):
    """An example: the module and the name that it documents, and its code."""

    module: str
    name: str
    code: str


def examples_in(docstring: str) -> list[str]:
    """Return the indented blocks of a docstring that are Python, and no command."""
    found = _EXAMPLE.finditer(inspect.cleandoc(docstring) + "\n")
    return [code for each in found if not (code := textwrap.dedent(each["code"])).lstrip().startswith("python -m ")]


def public(module: str) -> dict[str, Any]:
    """Return the public names of a module; none where its extra is not installed."""
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError:
        assert module in NEEDS
        return {}
    return {name: getattr(loaded, name) for name in loaded.__all__}


NAMES = {name: value for module in MODULES for name, value in public(module).items()}
CLASSES = [(module, name) for module in MODULES for name, value in public(module).items() if inspect.isclass(value)]
EXAMPLES = [Example(module, name, code) for module, name in CLASSES for code in examples_in(NAMES[name].__doc__ or "")]


@pytest.mark.parametrize(("module", "name"), CLASSES)
def test_every_public_class_has_an_example(module: str, name: str) -> None:
    """A reader sees how a class is used before the list of its members."""
    assert [example for example in EXAMPLES if example.name == name]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ReplayServer]:
    """A replay of the recorded answers, for clients of this package and of the SDK, in a folder with cassettes."""
    with ReplayServer(cassette.FOLDER) as server:
        for service in ("TENSORLOOP", "OPENAI"):
            monkeypatch.setenv(f"{service}_BASE_URL", server.base_url)
        monkeypatch.setenv("TENSORLOOP_KEY", "none")
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        (tmp_path / "cassettes").symlink_to(cassette.FOLDER)
        monkeypatch.chdir(tmp_path)
        yield server


@contextlib.asynccontextmanager
async def redis_for(module: str) -> AsyncIterator[Any]:
    """Open a client of a Redis server for the module that needs one."""
    if module != "tensorloop_stream.resumable":
        yield None
        return
    from redis.asyncio import Redis

    port = unused_port()
    with redis_server(port, "--maxmemory-policy", "noeviction"):
        async with Redis(port=port) as redis:
            yield redis


async def run(example: Example) -> None:
    """Run an example, which may await."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(f"from __future__ import annotations\n{example.code}", example.name, "exec", flags)
    async with redis_for(example.module) as redis, AsyncTensorloop() as async_client:
        with Tensorloop() as client:
            names = {**NAMES, "client": client, "async_client": async_client, "request": REQUEST, "redis": redis}
            names |= {"openai": openai, "OpenAI": openai.OpenAI, "AsyncOpenAI": openai.AsyncOpenAI}
            names |= {"suppress": contextlib.suppress}
            running = eval(code, names)
            if inspect.isawaitable(running):
                await running


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
async def test_an_example_runs(example: Example, server: ReplayServer) -> None:
    """A copy from the reference works, and asks for recorded answers."""
    if example.module in NEEDS:
        requirements.module(*NEEDS[example.module])
    with pages.closing_clients():
        await run(example)

    assert server.unmatched == []


async def test_an_example_that_is_wrong_is_found(server: ReplayServer) -> None:
    """Blocks are found behind a colon alone, commands are left out, and what an example raises is raised."""
    docstring = """Do it.

    A command:

        python -m it

    For example:

        if client:
            nothing()

    Not behind one.

        x = 1
    """

    assert examples_in(docstring) == ["if client:\n    nothing()\n\n"]
    with pytest.raises(NameError, match="nothing"):
        await run(Example("tensorloop_stream", "It", examples_in(docstring)[0]))
