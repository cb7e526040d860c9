"""`python -m tensorloop_stream.check`: what it says of a gateway, alone and behind nginx."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requirements
from cassette_files import cassette_file, chat, events, interaction
from web import run_server, unused_port

from tensorloop_stream.check import main
from tensorloop_stream.check._findings import Observed, findings_of
from tensorloop_stream.replay import ReplayServer

KEY = "tl_a_key_that_nobody_may_read"
WORDS = [f"{number}, " for number in range(1, 61)]
NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{gateway}; {setting} }}
    }}
}}
"""


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TENSORLOOP_KEY", KEY)


@pytest.fixture
def gateway(tmp_path: Path) -> ReplayServer:
    """A gateway that counts to sixty, whatever it is asked."""
    answer = events({"role": "assistant"}, *({"content": word} for word in WORDS))
    path = cassette_file(tmp_path / "a.yaml", interaction(chat("Any", stream=True), answer))
    return ReplayServer(strict=False, fallback=path)


def check(capsys: pytest.CaptureFixture[str], base_url: str, *arguments: str) -> tuple[int, dict[str, str]]:
    """Return the exit status, and what is said under each label."""
    status = main(["--base-url", base_url, *arguments])
    output = capsys.readouterr().out
    assert KEY not in output
    return status, {line[:12].strip(): line[13:] for line in output.splitlines()}


def findings(**observed: Any) -> dict[str, tuple[str, bool]]:
    stream = Observed(duration=9.0, content_type="text/event-stream", **observed)
    return {each.label: (each.text, each.is_problem) for each in findings_of(stream, "gpt-4o-mini")}


def reads(*moments: tuple[float, int]) -> tuple[tuple[float, bytes], ...]:
    """Return reads: at each time so many events."""
    event = b'data: {"choices":[{"index":0,"delta":{"content":"1"}}]}\n\n'
    return tuple((at, event * count) for at, count in moments)


# The whole report


def test_a_good_gateway_passes(gateway: ReplayServer, capsys: pytest.CaptureFixture[str]) -> None:
    """About ten lines, and status 0."""
    with gateway as server:
        status, said = check(capsys, server.base_url, "--model", "gpt-4o-mini?delay=0.01")

    assert status == 0
    assert list(said) == ["base URL", "reachable", "key", "events", "delivery", "finish", "[DONE]", "usage", "repaired"]
    assert said["base URL"] == server.base_url
    assert said["key"] == "accepted, for 1 model"
    assert said["events"].startswith("64 over ")  # with the role, the finish reason, the usage and [DONE]
    assert (said["finish"], said["[DONE]"]) == ("stop", "yes")
    assert said["usage"].endswith(" answered")
    assert said["repaired"] == "nothing needs it"


def test_the_asked_model_is_asked(gateway: ReplayServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The request asks for a short answer, with usage."""
    with gateway as server:
        check(capsys, server.base_url, "--model", "gpt-4o")
    asked = server.requests[-1].body

    assert (asked["model"], asked["max_tokens"]) == ("gpt-4o", 200)
    assert asked["stream_options"] == {"include_usage": True}


def test_it_runs_as_a_module(gateway: ReplayServer) -> None:
    """With the status for scripts."""
    with gateway as server:
        command = [sys.executable, "-m", "tensorloop_stream.check", "--base-url", server.base_url, "--model"]
        good, bad = (
            subprocess.run([*command, f"gpt-4o-mini?{fault}"], capture_output=True, text=True, check=False)
            for fault in ("delay=0.01", "end-after=9")
        )

    assert (good.returncode, bad.returncode) == (0, 1)
    assert "finish       stop\n" in good.stdout
    assert good.stderr == ""


# Before the stream


def test_without_a_key_nothing_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, and status 2."""
    monkeypatch.delenv("TENSORLOOP_KEY")
    monkeypatch.chdir(tmp_path)
    status = main([])
    output, complaint = capsys.readouterr()

    assert (status, output) == (2, "")
    assert "TENSORLOOP_KEY" in complaint
    assert complaint.count("\n") == 1


def test_a_host_that_does_not_answer_is_named_with_the_cause(capsys: pytest.CaptureFixture[str]) -> None:
    """The SDK's own message is `Connection error.`"""
    status, said = check(capsys, f"http://127.0.0.1:{unused_port()}/v1")

    assert status == 1
    assert said["reachable"] == "no: 127.0.0.1 does not answer: [Errno 111] Connection refused"
    assert list(said) == ["base URL", "reachable"]


def test_a_refused_key_ends_the_check(gateway: ReplayServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing else would be true."""
    with ReplayServer(strict=False, status=401) as server:
        status, said = check(capsys, server.base_url)

    assert status == 1
    assert said["reachable"].startswith("yes, ")
    assert said["key"].startswith("refused: 401: ")
    assert list(said)[-1] == "key"


def test_a_base_url_without_v1_is_pointed_at(
    tmp_path: Path, gateway: ReplayServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The usual reason for a 404."""
    path = cassette_file(tmp_path / "b.yaml", interaction(chat(), {}))
    with ReplayServer(path) as server:
        status, said = check(capsys, server.base_url.removesuffix("/v1"))

    assert status == 1
    assert "most base URLs end in /v1, and this one does not" in said["key"]
    assert said["stream"].startswith("none of gpt-4o-mini: 404: ")


def test_a_proxy_is_shown_without_its_password(
    gateway: ReplayServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one that the environment names for the address."""
    monkeypatch.setenv("http_proxy", f"http://me:{KEY}@127.0.0.1:{unused_port()}")
    status, said = check(capsys, "http://127.0.0.1:1/v1")

    assert status == 1
    assert said["proxy"].startswith("http://127.0.0.1:")


def test_a_web_page_is_no_gateway(capsys: pytest.CaptureFixture[str]) -> None:
    """An address that answers everything with HTML."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html>")

        do_POST = do_GET  # noqa: N815  # named by http.server

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        status, said = check(capsys, f"http://127.0.0.1:{server.server_address[1]}/v1")
        server.shutdown()

    assert status == 1
    assert said["key"] == "not known yet: the list of models is none: is the base URL right?"
    assert said["stream"] == "the answer is text/html, not an event stream: is the base URL right?"


def test_a_gateway_that_refuses_stream_options_is_asked_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some do; then there is no usage."""
    error = {"error": {"message": "Unknown parameter: stream_options", "code": "400"}}
    with_options = chat(stream=True, stream_options={"include_usage": True})
    path = cassette_file(
        tmp_path / "a.yaml",
        interaction(with_options, error, status=400, replay={"match": ["stream_options"]}),
        interaction(chat(stream=True), events({"content": "1"}), replay={"match": ["stream"]}),
    )
    with ReplayServer(path) as server:
        status, said = check(capsys, server.base_url)

    assert status == 0
    assert said["usage"] == "none: the gateway refuses stream_options"


# The stream


@pytest.mark.parametrize(
    ("fault", "label", "text"),
    [
        ("cut-after=20", "stream", "cut after 20 events: peer closed connection"),
        ("end-after=20", "finish", "no finish reason: a StreamTruncatedError here, and silence in the SDK"),
        ("error-after=20", "stream", "the gateway sent an error inside the stream: litellm.APIConnectionError"),
        ("end-after=0", "stream", "no event arrived"),
        ("cut-after=0", "stream", "no event arrived: peer closed connection"),
    ],
)
def test_a_broken_stream_fails(
    gateway: ReplayServer, fault: str, label: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what is wrong, in the words of this package."""
    with gateway as server:
        status, said = check(capsys, server.base_url, "--model", f"gpt-4o-mini?{fault}")

    assert status == 1
    assert said[label].startswith(text)


def test_a_gateway_that_limits_the_rate_is_quoted(gateway: ReplayServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Once: nothing is asked again."""
    with gateway as server:
        status, said = check(capsys, server.base_url, "--model", "gpt-4o-mini?status=429&retry-after=60")

    assert status == 1
    assert said["stream"].startswith("none of gpt-4o-mini?status=429&retry-after=60: 429: ")
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("{not json", "an event is not JSON: '{not json'"),
        ("[1]", "an event is no chunk: '[1]'"),
        ('{"error": "overloaded"}', "the gateway sent an error inside the stream: overloaded"),
        ('{"code": 503, "msg": "overloaded"}', "the gateway sent an error inside the stream: overloaded"),
    ],
)
def test_an_event_that_is_no_chunk_fails(data: str, text: str) -> None:
    """The rest of the stream is worth nothing."""
    assert findings(reads=((0.1, f"data: {data}\n\ndata: [DONE]\n\n".encode()),))["stream"] == (text, True)


def test_bytes_that_are_no_text_fail() -> None:
    """The check fails as a stream does, with a StreamDecodeError."""
    assert findings(reads=((0.1, b"data: \xff\n\n"),))["stream"][1]


@pytest.mark.parametrize(
    ("moments", "said"),
    [
        pytest.param([(0.1 * n, 1) for n in range(60)], "each event comes when it is made", id="one by one"),
        pytest.param([(0.1 * n, 3) for n in range(20)], "each event comes when it is made", id="three at a time"),
        pytest.param([(0.002 * n, 1) for n in range(200)], "each event comes when it is made", id="fast"),
        pytest.param([(5.0, 60)], "collapsed: 60 events arrived in 1 burst: ", id="at the end"),
        pytest.param([(1.0, 20), (2.0, 20), (3.0, 20)], "collapsed: 60 events arrived in 3 bursts: ", id="in buffers"),
        pytest.param(
            [(5.0 + n * 1e-5, 1) for n in range(60)], "collapsed: 60 events arrived in 1 burst: ", id="many reads"
        ),
        pytest.param([(0.1, 60)], "not known: the whole answer arrived at once", id="at once"),
        pytest.param([(5.0, 5)], "not known: 5 events are too few to tell", id="few"),
    ],
)
def test_a_collapsed_stream_is_known_by_its_bursts(moments: list[tuple[float, int]], said: str) -> None:
    """Events that arrive together count as one burst, however often they are read."""
    text, is_problem = findings(reads=reads(*moments))["delivery"]

    assert text.startswith(said)
    assert is_problem == said.startswith("collapsed")
    assert ("X-Accel-Buffering: no" in text) == is_problem


@pytest.mark.parametrize(
    ("chunk", "said"),
    [
        ({"choices": None}, "2 chunks without choices or delta, on which the SDK's accumulator raises"),
        ({"choices": [{"index": 0, "delta": None}]}, "2 chunks without choices or delta"),
        ({"choices": [{"index": 0, "delta": {"role": "assistant"}}]}, "the role in 2 chunks, which the SDK's"),
        ({"choices": [{"delta": {}}]}, "2 of 2 chunks that are not as the SDK's types say (choices.index, created, id"),
    ],
)
def test_what_is_repaired_is_named(chunk: dict[str, Any], said: str) -> None:
    """A chunk of each kind, twice."""
    text = f"data: {json.dumps(chunk)}\n\n" * 2

    assert said in findings(reads=((0.1, text.encode()),))["repaired"][0]


def test_comments_are_counted() -> None:
    """They keep a connection alive, and a reader waiting."""
    read = b": ping\n\n: ping\n\ndata: {}\n\n"

    assert "2 comments, which idle_timeout does not take" in findings(reads=((0.1, read),))["repaired"][0]


# Behind nginx


@pytest.mark.parametrize(
    ("setting", "header", "collapses"),
    [
        pytest.param("", False, True, id="as it comes"),
        pytest.param("proxy_buffering off;", False, False, id="buffering off"),
        pytest.param("", True, False, id="with the header"),
    ],
)
def test_behind_nginx(
    tmp_path: Path, setting: str, header: bool, collapses: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """It buffers by default, and stops for the header that the check recommends."""
    nginx = requirements.program("nginx", "/usr/sbin/nginx")
    answer = interaction(chat("Any", stream=True), events(*({"content": word} for word in WORDS)))
    if header:
        answer["response"]["headers"]["x-accel-buffering"] = ["no"]
    port = unused_port()
    configuration = tmp_path / "nginx.conf"
    with ReplayServer(strict=False, fallback=cassette_file(tmp_path / "a.yaml", answer), delay=0.02) as server:
        configuration.write_text(NGINX.format(folder=tmp_path, port=port, gateway=server.port, setting=setting))
        command = [nginx, "-e", "stderr", "-p", str(tmp_path), "-c", str(configuration)]
        with run_server(command, port):
            status, said = check(capsys, f"http://127.0.0.1:{port}/v1")

    assert said["delivery"].startswith("collapsed: ") == collapses
    assert status == int(collapses)
    assert said["finish"] == "stop"
