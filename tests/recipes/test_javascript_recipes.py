"""The JavaScript recipes under node, against recorded streams."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import cassette
import httpx2
import pytest
import recorded
import requirements
from clients import SSL
from npm import npm_install
from sockets import run_in_threads
from web import run_server, unused_port

from tensorloop_stream.replay import ReplayServer

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes/javascript"
NODE_TESTS = ROOT / "tests/javascript"
HAIKU = recorded.text("chat/haiku")
PRINTED = f"{HAIKU}\n--- final ({len(HAIKU)} chars) ---\n"
# The text of the first seven events.
BEGUN = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in recorded.chunks("chat/haiku")[:7])
TIMEOUT = 60

with_and_without_sdk = pytest.mark.parametrize("recipe", ["stream.mjs", "raw_fetch.mjs"])
all_programs = pytest.mark.parametrize("recipe", ["stream.mjs", "stream.ts", "raw_fetch.mjs"])


def gateway(**faults: Any) -> ReplayServer:
    return ReplayServer([cassette.FOLDER / "chat/haiku.yaml"], **faults)


def environment(**added: str) -> dict[str, str]:
    """Return this environment without the variables of any service."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TENSORLOOP", "OPENAI"))}
    return kept | added


def run(
    command: list[Any], *, cwd: Path = ROOT, timeout: float = TIMEOUT, **added: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env=environment(**added), capture_output=True, text=True, timeout=timeout, check=False
    )


# Packages for node: the SDK, and TypeScript for a node that does not run it


@cache
def runs_typescript(node: str) -> bool:
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    major, minor = map(int, version.removeprefix("v").split(".")[:2])
    return (major, minor) >= (22, 18)


@pytest.fixture(scope="session")
def node() -> str:
    return requirements.program("node")


@pytest.fixture(scope="session")
def installed(node: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the recipes with their packages, which are downloaded only if everything is required."""
    folder = tmp_path_factory.mktemp("npm") / "javascript"
    shutil.copytree(RECIPES, folder, ignore=shutil.ignore_patterns("node_modules"))
    if requirements.REQUIRE_ALL:
        npm_install(folder)
    elif (RECIPES / "node_modules/openai").is_dir():
        (folder / "node_modules").symlink_to(RECIPES / "node_modules")
    else:
        requirements.unmet("needs the packages of the recipes: npm install --prefix recipes/javascript")
    return folder


@pytest.fixture(scope="session")
def compiled(installed: Path) -> Path:
    """The TypeScript recipes as JavaScript, for a node that does not run TypeScript."""
    script = json.loads((installed / "package.json").read_text())["scripts"]["check"]
    tsc, *options = script.replace("--noEmit", "--outDir compiled --rootDir .").split()
    build = run([installed / "node_modules/.bin" / tsc, *options], cwd=installed)
    assert build.returncode == 0, build.stdout + build.stderr
    return installed / "compiled"


@pytest.fixture
def program(node: str, request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """A function that returns the path of a recipe that node can run, installed or compiled if necessary."""

    def find(recipe: str) -> Path:
        if recipe.endswith(".ts") and not runs_typescript(node):
            folder: Path = request.getfixturevalue("compiled")
            return (folder / recipe).with_suffix(".js")
        uses_sdk = 'from "openai"' in (RECIPES / recipe).read_text("utf-8")
        return (request.getfixturevalue("installed") if uses_sdk else RECIPES) / recipe

    return find


# The programs


@all_programs
def test_a_program_prints_the_haiku_as_it_arrives(recipe: str, node: str, program: Callable[[str], Path]) -> None:
    """The request equals that of recipes/stream.py."""
    with gateway(delay=0.01) as server:
        settings = environment(TENSORLOOP_BASE_URL=server.base_url, TENSORLOOP_KEY="tl_none")
        process = subprocess.Popen([node, program(recipe)], env=settings, stdout=subprocess.PIPE)
        assert process.stdout is not None
        reads = []
        while read := os.read(process.stdout.fileno(), 65536):
            reads.append(read)
        process.stdout.close()

        assert process.wait() == 0
        assert b"".join(reads).decode() == PRINTED
        # Two texts may share a read on a busy machine; output that is printed at the end would take one read.
        assert len(reads) > len(recorded.chunks("chat/haiku")) / 2
        assert [request.body for request in server.requests] == [recorded.request("chat/haiku")]


@with_and_without_sdk
def test_a_program_prints_the_haiku_for_any_reads(recipe: str, node: str, program: Callable[[str], Path]) -> None:
    """The reads are single bytes with CRLF, or comments during a silence."""
    path = program(recipe)

    def check(faults: dict[str, Any]) -> None:
        with gateway(**faults) as server:
            done = run([node, path], TENSORLOOP_BASE_URL=server.base_url, TENSORLOOP_KEY="tl_none")

        assert (done.returncode, done.stdout, done.stderr) == (0, PRINTED, "")

    run_in_threads(check, [{"split": 1, "crlf": True}, {"first_delay": 0.4, "ping": 0.1}])


BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "cut": ({"cut_after": 7}, BEGUN, "The connection was cut before the answer was whole"),
    "ended": ({"end_after": 7}, BEGUN, "The stream ended "),
    "failed": ({"error_after": 7}, BEGUN, "The server had an error while processing your request"),
    "401": ({"status": 401}, "", "401 "),
    "429": ({"status": 429, "retry_after": 0.001}, "", "429 "),
}


@with_and_without_sdk
def test_a_program_reports_a_broken_stream(recipe: str, node: str, program: Callable[[str], Path]) -> None:
    """The partial text stays printed, followed by one sentence and the status 1, without a stack."""
    path = program(recipe)

    def check(fault: str) -> None:
        faults, printed, message = BROKEN[fault]
        with gateway(**faults) as server:
            done = run([node, path], TENSORLOOP_BASE_URL=server.base_url, TENSORLOOP_KEY="tl_none")

        assert (done.returncode, done.stdout) == (1, printed)
        assert done.stderr.count("\n") == 1
        assert message in done.stderr
        # The SDK retries a 429.
        assert len(server.requests) == (3 if (recipe, fault) == ("stream.mjs", "429") else 1)

    run_in_threads(check, list(BROKEN))


@all_programs
def test_a_program_without_a_key_names_the_remedies(recipe: str, node: str, program: Callable[[str], Path]) -> None:
    """One sentence names the variable and the replay command, even if there is a key for OpenAI."""
    done = run([node, program(recipe)], OPENAI_API_KEY="sk-none")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "TENSORLOOP_KEY" in done.stderr
    assert f"python -m tensorloop_stream.replay cassettes -- node recipes/javascript/{recipe}" in done.stderr


@with_and_without_sdk
@pytest.mark.parametrize("faults", [{"first_delay": 600}, {"stall_after": 7}], ids=["silent", "mid-stream"])
def test_ctrl_c_ends_the_request(
    recipe: str, faults: dict[str, Any], node: str, program: Callable[[str], Path]
) -> None:
    """The gateway sees the disconnect at once."""
    with gateway(**faults) as server:
        settings = environment(TENSORLOOP_BASE_URL=server.base_url, TENSORLOOP_KEY="tl_none")
        process = subprocess.Popen(
            [node, program(recipe)], env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        wait_for(lambda: server.requests)
        if "stall_after" in faults:
            assert process.stdout is not None
            process.stdout.read(len(BEGUN))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=TIMEOUT)
        wait_for(lambda: server.disconnects)

        if recipe == "raw_fetch.mjs":
            assert (process.returncode, errors) == (1, "Stopped.\n")
        else:
            assert (process.returncode, errors) == (-signal.SIGINT, "")


def wait_for(happened: Callable[[], Any]) -> None:
    end = time.monotonic() + TIMEOUT
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.005)


# Functions to copy, and types


def test_the_recipes_are_typed(installed: Path) -> None:
    """`npm run check` is strict, and rejects syntax that node's type stripping does not support."""
    check = run([requirements.program("npm"), "run", "--silent", "check"], cwd=installed)

    assert (check.returncode, check.stdout) == (0, "")


def test_stream_chat_reads_any_stream(node: str) -> None:
    """The function in raw_fetch.mjs handles every cut of the bytes, every line end and every failure."""
    done = run([node, "--test", NODE_TESTS / "raw_fetch.test.mjs"], RECIPE=str(RECIPES / "raw_fetch.mjs"))

    assert done.returncode == 0, done.stdout


def test_the_forwarders_forward_bytes_status_and_disconnects(node: str, program: Callable[[str], Path]) -> None:
    """The forwarders are the Next.js route and the edge handler."""
    route, edge = program("next/app/api/chat/route.ts").as_uri(), (RECIPES / "edge.mjs").as_uri()
    faults: dict[str, dict[str, Any]] = {
        "whole": {"delay": 0.005},
        "cut": {"cut_after": 7},
        "ending": {"end_after": 7},
        "failing": {"error_after": 7},
        "stalling": {"stall_after": 3},
        "silent": {"first_delay": 600},
        "429": {"status": 429, "retry_after": 7},
    }
    with ExitStack() as stack:
        gateways = {name: stack.enter_context(gateway(**fault)) for name, fault in faults.items()}
        urls = json.dumps({name: server.base_url for name, server in gateways.items()})
        done = run([node, "--test", NODE_TESTS / "forward.test.mjs"], GATEWAYS=urls, ROUTE=route, EDGE=edge)

    assert done.returncode == 0, done.stdout
    sent = [request for server in gateways.values() for request in server.requests]
    assert all(request.body == recorded.request("chat/haiku") for request in sent)
    assert not any("cookie" in request.headers for request in sent)


@pytest.mark.parametrize(
    "recipe",
    [
        path
        for path in sorted(RECIPES.rglob("*.*s"))
        if "node_modules" not in path.parts and path.suffix in {".mjs", ".ts"}
    ],
    ids=lambda path: path.name,
)
def test_a_recipe_says_how_it_is_run(recipe: Path) -> None:
    """The first line is a sentence with the command, and both settings come from the two variables."""
    text = recipe.read_text("utf-8")

    assert re.match(r"// [A-Z].*: (node|bun|npx) \S+", text)
    assert "TENSORLOOP_KEY" in text
    assert "TENSORLOOP_BASE_URL" in text
    assert max(map(len, text.splitlines())) <= 120


# A real Next.js app, which is large, and therefore optional

if os.environ.get("TENSORLOOP_STREAM_NEXT"):

    @pytest.fixture(scope="module")
    def next_app(node: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("next")
        shutil.copytree(RECIPES / "next", folder, dirs_exist_ok=True)
        (folder / "package.json").write_text('{"private": true}')
        npm_install(folder, "next", "react", "react-dom", "typescript", "@types/node", "@types/react")
        command = [node, "node_modules/next/dist/bin/next", "build"]
        build = run(command, cwd=folder, timeout=300, NEXT_TELEMETRY_DISABLED="1")
        assert build.returncode == 0, build.stdout + build.stderr
        return folder

    @contextmanager
    def served(node: str, app: Path, **faults: Any) -> Iterator[tuple[str, ReplayServer, httpx2.Client]]:
        """Start the app in front of a gateway, and yield the address of its route."""
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        with gateway(**faults) as server, httpx2.Client(verify=SSL) as browser:
            settings = {
                "TENSORLOOP_BASE_URL": server.base_url,
                "TENSORLOOP_KEY": "tl_none",
                "NEXT_TELEMETRY_DISABLED": "1",
            }
            command = [node, "node_modules/next/dist/bin/next", "start", "-H", "127.0.0.1", "-p", str(port)]
            process = subprocess.Popen(command, cwd=app, env=environment(**settings), stdout=subprocess.PIPE, text=True)
            try:
                assert process.stdout is not None
                assert any("Ready" in line for line in process.stdout)
                yield f"http://127.0.0.1:{port}/api/chat", server, browser
            finally:
                process.terminate()
                process.communicate()

    def browser_request() -> dict[str, Any]:
        return {"messages": recorded.request("chat/haiku")["messages"]}

    def test_a_real_next_app_streams(node: str, next_app: Path) -> None:
        """Events arrive one by one, also in a browser that accepts gzip."""
        headers = {"accept-encoding": "gzip"}
        with (
            served(node, next_app, delay=0.03) as (url, _, browser),
            browser.stream("POST", url, json=browser_request(), headers=headers) as answer,
        ):
            reads = list(answer.iter_raw())

        assert b"".join(reads).decode() == recorded.interactions("chat/haiku")[0]["response"]["body"]["string"]
        assert len(reads) > len(recorded.chunks("chat/haiku")) / 2
        assert answer.headers["cache-control"] == "no-cache, no-transform"
        assert answer.headers["x-accel-buffering"] == "no"

    def test_a_real_next_app_forwards_failures(node: str, next_app: Path) -> None:
        """A refusal keeps its status, and a connection error becomes an event."""
        with served(node, next_app, status=429, retry_after=7) as (url, _, browser):
            refused = browser.post(url, json=browser_request())
        with served(node, next_app, cut_after=7) as (url, _, browser):
            cut = browser.post(url, json=browser_request())

        assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert json.loads(cut.text.split("\n\n")[-2].removeprefix("data: "))["error"]["code"] == "502"

    @pytest.mark.parametrize("faults", [{"first_delay": 600}, {"stall_after": 3}], ids=["silent", "mid-stream"])
    def test_a_real_next_app_ends_the_request_when_the_browser_leaves(
        faults: dict[str, Any], node: str, next_app: Path
    ) -> None:
        """The gateway sees the disconnect at once, also before the model sends anything."""
        with served(node, next_app, **faults) as (url, server, browser):
            with pytest.raises(httpx2.ReadTimeout):
                browser.post(url, json=browser_request(), timeout=1)
            left = time.monotonic()
            wait_for(lambda: server.disconnects)
            seen = server.disconnects[0].time - left
            print(f"seen after {seen * 1000:.1f} ms")

        assert seen < 1
        assert len(server.requests) == 1


# useChat of the AI SDK

ASK = """
import { DefaultChatTransport, readUIMessageStream } from "ai";
const transport = new DefaultChatTransport({ api: process.argv[2] });
const messages = [{ id: "1", role: "user", parts: [{ type: "text", text: "Stream a haiku about caching." }] }];
const stream = await transport.sendMessages({ chatId: "c", messages, trigger: "submit-message" });
let last;
let error;
const onError = (failure) => (error = failure.message);
for await (const message of readUIMessageStream({ stream, onError })) last = message;
console.log(JSON.stringify({ text: last.parts[0].text, error }));
"""


@pytest.mark.parametrize("cut_after", [None, 7])
def test_the_ai_sdk_reads_what_the_recipe_sends(cut_after: int | None, node: str, tmp_path: Path) -> None:
    """The reader behind `useChat` gets the text as it came, and the sentence of an answer that broke."""
    requirements.module("starlette", "starlette")
    if not requirements.REQUIRE_ALL:
        requirements.unmet("needs the package ai from npm, which is downloaded only if everything is required")
    npm_install(tmp_path, "ai@>=5")
    (tmp_path / "ask.mjs").write_text(ASK, "utf-8")
    port = unused_port()
    with gateway(cut_after=cut_after) as server:
        settings = environment(TENSORLOOP_BASE_URL=server.base_url, TENSORLOOP_KEY="tl_none", PORT=str(port))
        with run_server([sys.executable, str(RECIPES.parent / "forward_ai_sdk.py")], port, settings, tmp_path):
            done = run([node, "ask.mjs", f"http://127.0.0.1:{port}/api/chat"], cwd=tmp_path)
    got = json.loads(done.stdout)

    assert got["text"] == (HAIKU if cut_after is None else BEGUN)
    assert ("error" in got) == (cut_after is not None)
