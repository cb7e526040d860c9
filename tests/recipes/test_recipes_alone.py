"""Each recipe runs where it was copied to: an empty folder, under the replay, without a key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cassette
import httpx2
import pytest
import requirements
from clients import SSL
from web import run_server, unused_port

from tensorloop_stream.recipes import _cli, _files
from tensorloop_stream.replay import ReplayServer

# Servers, which run until they are stopped, with the address that answers to a GET.
SITES = {
    "forward_django": ("django", "/"),
    "forward_eventsource": ("starlette", "/"),
    "forward_fastapi": ("fastapi", "/"),
    "forward_flask": ("flask", "/"),
    "forward_starlette": ("starlette", "/"),
    "forward_ai_sdk": ("starlette", "/api/chat"),
    "chat_websocket": ("starlette", "/chat"),
}
# What a recipe imports beside the package's own dependencies, and the extra that brings it.
MODULES = {
    "langchain_or_litellm": ("langchain_openai", "langchain"),
    "many_prompts": ("tqdm", "prompts"),
    "many_prompts_dask": ("distributed", "dask"),
    "many_streams": ("aiohttp", "aiohttp"),
    "pytest_your_web_app": ("starlette", "starlette"),
    "terminal_markdown": ("rich", "rich"),
    "trace_opentelemetry": ("opentelemetry.sdk", "opentelemetry"),
}
# These need a program or a large framework of their own.
ELSEWHERE = {
    "forward_resumable": "a Redis server: test_resumable_browser.py",
    "chat_streamlit": "streamlit, which is no light dependency",
    "chat_gradio": "gradio, which is no light dependency",
}
ARGUMENTS = {name: ["prompts.txt", "answers.jsonl"] for name in ("many_prompts", "many_prompts_dask")}
PROGRAMS = sorted(
    Path(name).stem
    for name in _files.names()
    if name.endswith(".py") and Path(name).stem not in SITES and Path(name).stem not in ELSEWHERE
)
# Each takes a second or two, most of it for importing the SDK.
TRIED = PROGRAMS if requirements.REQUIRE_ALL else PROGRAMS[::5]


def environment(**added: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TENSORLOOP", "OPENAI"))}
    return kept | added


@pytest.mark.parametrize("name", TRIED)
def test_a_recipe_runs_in_an_empty_folder(name: str, tmp_path: Path) -> None:
    """It ends with status 0, prints something, and shows no traceback."""
    if name in MODULES:
        requirements.module(*MODULES[name])
    assert _cli.main(["copy", name, "--to", str(tmp_path)]) == 0
    (tmp_path / "prompts.txt").write_text("What is a cache?\nName a colour.\n", "utf-8")
    replay = [sys.executable, "-m", "tensorloop_stream.replay", str(cassette.FOLDER), "--delay", "0", "--"]
    done = subprocess.run(
        [*replay, sys.executable, f"{name}.py", *ARGUMENTS.get(name, [])],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() or (tmp_path / "answers.jsonl").exists()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", SITES)
def test_a_server_runs_in_an_empty_folder(name: str, tmp_path: Path) -> None:
    """It listens, and has its page beside it."""
    module, path = SITES[name]
    requirements.module(module, module)
    assert _cli.main(["copy", name, "--to", str(tmp_path)]) == 0
    port = unused_port()
    with ReplayServer([cassette.FOLDER], strict=False) as gateway:
        settings = environment(TENSORLOOP_BASE_URL=gateway.base_url, TENSORLOOP_KEY="tl_none", PORT=str(port))
        with run_server([sys.executable, f"{name}.py"], port, settings, tmp_path):
            answer = httpx2.get(f"http://127.0.0.1:{port}{path}", verify=SSL, timeout=15)

    if path == "/":
        assert answer.status_code == 200
        assert "<!doctype html>" in answer.text
    else:
        assert answer.status_code in {404, 405}


def test_every_recipe_is_tried_or_excused() -> None:
    """A name that no file has any more would excuse nothing."""
    assert {*SITES, *ELSEWHERE, *MODULES} <= {Path(name).stem for name in _files.names()}


def test_the_list_has_a_sentence_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    """A name alone would not tell what to choose."""
    assert _cli.main([]) == 0
    listed = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line[:1].islower()][:-1]

    assert len(listed) > 40
    assert all(len(line) == 2 for line in listed)


def test_a_recipe_is_shown_as_it_is(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Its output is the file, so that it can be redirected."""
    assert _cli.main(["show", "recipes/stream.py"]) == 0
    assert capfdbinary.readouterr().out == (_files.folder() / "stream.py").read_bytes()


@pytest.mark.parametrize("arguments", [["show", "strem"], ["copy", "stream", "--to", "."]])
def test_a_wrong_name_or_a_file_that_exists_is_one_sentence(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The status is 2, and nothing is overwritten."""
    (tmp_path / "stream.py").write_text("mine", "utf-8")
    monkeypatch.chdir(tmp_path)

    assert _cli.main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / "stream.py").read_text("utf-8") == "mine"


def test_the_ai_sdk_gets_its_parts(tmp_path: Path) -> None:
    """The events are those of the UI message stream, also for an answer that breaks."""
    requirements.module("starlette", "starlette")
    port = unused_port()
    body = {"messages": [{"role": "user", "parts": [{"type": "text", "text": "Stream a haiku about caching."}]}]}
    parts = []
    for cut_after in (None, 7):
        with ReplayServer([cassette.FOLDER], cut_after=cut_after) as gateway:
            settings = environment(TENSORLOOP_BASE_URL=gateway.base_url, TENSORLOOP_KEY="tl_none", PORT=str(port))
            program = str(_files.folder() / "forward_ai_sdk.py")
            with run_server([sys.executable, program], port, settings, tmp_path):
                answer = httpx2.post(f"http://127.0.0.1:{port}/api/chat", json=body, verify=SSL, timeout=15)
        events = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
        assert events.pop() == "[DONE]"
        parts.append([json.loads(event) for event in events])

    whole, cut = parts
    kinds = [part["type"] for part in whole]
    assert kinds == ["start", "text-start", *["text-delta"] * (len(kinds) - 4), "text-end", "finish"]
    assert whole[-1]["finishReason"] == "stop"
    assert cut[-1]["type"] == "error"
    assert cut[-1]["errorText"].startswith("connection cut after 7 chunks")
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
