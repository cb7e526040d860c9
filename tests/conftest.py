"""Fixtures and hooks: loopback alone, cassettes by name, and no unplayed interaction."""

from __future__ import annotations

import gc
import importlib
import ipaddress
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import openai

if "httpx2" not in openai.DefaultHttpxClient.__mro__[1].__module__:
    # openai 2 has the older library, whose names are the same; the tests use one name for both.
    for library in ("httpx", "httpcore"):
        sys.modules[f"{library}2"] = importlib.import_module(library)

import cassette
import httpx2
import pages
import pytest
from cassette import Play
from clients import SSL
from direct_reads import read_directly
from hypothesis import settings

from tensorloop_stream import AsyncTensorloop, Tensorloop

# No test asserts a duration: a busy machine would fail it.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")

_PLAYED = pytest.StashKey[list[Any]]()


def _is_loopback(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    if host in {None, "", "localhost"}:
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if not _is_loopback(host):
        raise RuntimeError(f"a test reached for the network: {event} {host!r}")


sys.addaudithook(_guard)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # In the background of a shell the suite would ignore SIGINT, which some tests send.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the whole suite in several processes, a file in each; a selection runs in one process.

    One process more than there are cores: many tests wait.
    """
    options = config.option
    if hasattr(config, "workerinput"):
        return  # a worker must not start workers
    if config.args_source is config.ArgsSource.TESTPATHS and options.numprocesses is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        options.numprocesses, options.dist = min(cores + 1, 5), "loadfile"


def pytest_collection_finish() -> None:
    """Exclude imported objects from garbage collection, because tests that collect would scan them each time."""
    gc.freeze()


def pytest_sessionfinish() -> None:
    if "hypothesis" not in sys.modules:
        gc.unfreeze()  # hypothesis reports at the end, and searches for referrers


@pytest.fixture(scope="session", autouse=True)
def _one_ssl_context() -> Iterator[None]:
    """Share one SSL context between clients that bring none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpcore2.default_ssl_context", lambda **_: SSL, raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _direct_reads() -> Iterator[None]:
    """Let every HTTP client of the suite read directly, where the environment asks for it."""
    with pytest.MonkeyPatch.context() as patch:
        if os.environ.get("TENSORLOOP_STREAM_TEST_DIRECT_READS"):
            read_directly(patch)
        yield


@pytest.fixture(scope="module", autouse=True)
def _own_garbage() -> Iterator[None]:
    """Collect garbage after each module, so that a leak fails a test of its own module."""
    yield
    pages.collect_garbage()
    gc.freeze()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests on asyncio; tests of trio choose it themselves."""
    return "asyncio"


@pytest.fixture
def play(request: pytest.FixtureRequest) -> Iterator[Play]:
    """Play a cassette until the test ends; an unplayed interaction fails the test."""
    played = request.node.stash.setdefault(_PLAYED, [])
    with ExitStack() as stack:

        def start(name: str) -> None:
            played.append(stack.enter_context(cassette.cassettes("none").use_cassette(f"{name}.yaml")))

        yield start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    result = yield
    for one in item.stash.get(_PLAYED, []):
        # A missing cassette would count as played.
        assert one.requests, f"{one._path} holds no interaction"
        unplayed = len(one.requests) - one.play_count
        assert unplayed <= 0, f"{unplayed} of {len(one.requests)} interactions of {one._path} were not played"
    return result


@pytest.fixture
def tensorloop() -> Iterator[Tensorloop]:
    """A client for cassettes."""
    with Tensorloop(api_key="tl_none", http_client=httpx2.Client(verify=SSL), max_retries=0) as client:
        yield client


@pytest.fixture
def async_tensorloop() -> AsyncTensorloop:
    """An async client for cassettes."""
    return AsyncTensorloop(api_key="tl_none", http_client=httpx2.AsyncClient(verify=SSL), max_retries=0)
