"""No network beyond loopback, no recording that is not played, and cassettes by name."""

from __future__ import annotations

import gc
import ipaddress
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import cassette
import httpx2
import pages
import pytest
from cassette import Play
from clients import SSL

from tensorloop_stream import AsyncTensorloop, Tensorloop

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
    # A shell that runs the suite in the background has it ignore Ctrl-C, which some tests press.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the whole suite on several cores, a file on each: half of it is waiting. Some of it runs in one process."""
    options = config.option
    if hasattr(config, "workerinput"):
        return  # one of those cores: it would start as many again, and so would they
    if config.args_source is config.ArgsSource.TESTPATHS and options.numprocesses is None:
        options.numprocesses, options.maxprocesses, options.dist = "auto", 4, "loadfile"


def pytest_collection_finish() -> None:
    """Set apart what was imported: where a test collects garbage, all that need not be looked at each time."""
    gc.freeze()


def pytest_sessionfinish() -> None:
    if "hypothesis" not in sys.modules:
        gc.unfreeze()  # it is imported to report, and looks then for what refers to what


@pytest.fixture(scope="session", autouse=True)
def _one_ssl_context() -> Iterator[None]:
    """Clients that bring none share one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpcore2.default_ssl_context", lambda **_: SSL, raising=False)
        yield


@pytest.fixture(scope="module", autouse=True)
def _own_garbage() -> Iterator[None]:
    """What a module leaves open fails its own last test, and not one of another module."""
    yield
    pages.collect_garbage()
    gc.freeze()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio; those about trio say so themselves."""
    return "asyncio"


@pytest.fixture
def play(request: pytest.FixtureRequest) -> Iterator[Play]:
    """Play a cassette until the test ends; an interaction that is not played fails the test."""
    played = request.node.stash.setdefault(_PLAYED, [])
    with ExitStack() as stack:

        def start(name: str) -> None:
            played.append(stack.enter_context(cassette.cassettes("none").use_cassette(f"{name}.yaml")))

        yield start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    result = yield
    for one in item.stash.get(_PLAYED, []):
        # A cassette that is not there would count as played.
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
