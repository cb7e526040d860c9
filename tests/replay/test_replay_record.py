"""Recording: a gateway on loopback, the recorder before it, and a replay of what was recorded."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import vcr  # type: ignore[import-untyped]  # vcrpy publishes no types
import yaml
from cassette_files import CHAT, PATIENCE, Reply, cassette_file, chat, completion, events, interaction
from clients import SSL
from hypothesis import HealthCheck, given, settings, strategies as st

from tensorloop_stream.replay import ReplayServer
from tensorloop_stream.replay._answers import Answer, frames_of
from tensorloop_stream.replay._cli import main
from tensorloop_stream.replay._faults import Faults
from tensorloop_stream.replay._http import Request
from tensorloop_stream.replay._pace import Pace
from tensorloop_stream.replay._record.cassette_file import CassetteFiles
from tensorloop_stream.replay._record.recorder import RecordingServer
from tensorloop_stream.replay._record.recording import Recording
from tensorloop_stream.replay._record.scrub import Scrubber
from tensorloop_stream.replay._record.upstream import Upstream

KEY = "tl_a_key_that_nobody_may_read"
STREAM = events({"role": "assistant", "content": ""}, {"content": "Grüße"}, {"content": " 👋🏽\u2028"})
FRAMES = [frame.data for frame in frames_of(STREAM.encode())]
ASKED = chat("What is the time?", stream=True)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[ReplayServer]:
    """A gateway that answers one prompt with a stream, one with a whole answer, one with an error."""
    error = {"error": {"message": f"bad key {KEY}, tl_a...read, {hashlib.sha256(KEY.encode()).hexdigest()}"}}
    path = cassette_file(
        tmp_path / "gateway.yaml",
        interaction(ASKED, STREAM),
        interaction(chat("Whole?"), completion("Whole.")),
        interaction(chat("Wrong?"), error, status=401),
    )
    with ReplayServer(path) as server:
        yield server


class Lines(list[str]):
    """The lines of a recorder, in their order."""

    def wait_for(self, count: int) -> None:
        eventually(lambda: len(self) >= count)


@pytest.fixture
def lines() -> Lines:
    return Lines()


@contextmanager
def recording(path: Path, upstream: str, lines: Lines, **options: Any) -> Iterator[RecordingServer]:
    with RecordingServer(path, upstream, report=lines.append, **options) as server:
        yield server


def eventually(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def ask(port: int, body: Any, *, path: str = CHAT, method: str = "POST", **headers: str) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    given = {"authorization": f"Bearer {KEY}", "content-type": "application/json", **headers}
    try:
        connection.request(method, path, None if body is None else json.dumps(body).encode(), given)
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())
    finally:
        connection.close()


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.yaml"))


def kept_in(path: Path) -> dict[str, Any]:
    (only,) = yaml.safe_load(path.read_text("utf-8"))["interactions"]
    kept: dict[str, Any] = only
    return kept


def reads_of(port: int, body: Any, count: int) -> list[bytes]:
    """Return the chunks of a chunked answer, as many as are asked for, and then leave."""
    data = json.dumps(body).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(data)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(head.encode() + data)
        with connection.makefile("rb") as lines:
            while count and lines.readline().strip():
                pass
            sizes = (int(lines.readline(), 16) for _ in range(count))
            return [lines.read(size + 2)[:size] for size in sizes]


# Through the recorder, and back


def test_a_recorded_stream_replays_byte_for_byte(gateway: ReplayServer, tmp_path: Path, lines: Lines) -> None:
    """The bytes through the recorder, and those of its replay, are those of the gateway."""
    with recording(tmp_path / "mine", gateway.base_url, lines) as recorder:
        through = ask(recorder.port, ASKED)
    with ReplayServer(tmp_path / "mine") as replay:
        again = ask(replay.port, ASKED)

    assert through.body == again.body == STREAM.encode()
    assert through.headers["content-type"] == again.headers["content-type"] == "text/event-stream"


def test_a_whole_answer_and_an_error_replay_too(gateway: ReplayServer, tmp_path: Path, lines: Lines) -> None:
    """With status and body; the error without what it says of the key."""
    bodies = chat("Whole?"), chat("Wrong?")
    with recording(tmp_path / "mine", gateway.base_url, lines) as recorder:
        through = [ask(recorder.port, body) for body in bodies]
    with ReplayServer(tmp_path / "mine") as replay:
        again = [ask(replay.port, body) for body in bodies]

    assert [reply.status for reply in through] == [reply.status for reply in again] == [200, 401]
    assert through[0].body == again[0].body
    assert KEY in through[1].error["message"]
    assert again[1].error["message"] == "bad key [key], [key], [key]"


def test_events_pass_through_as_they_come(gateway: ReplayServer, tmp_path: Path, lines: Lines) -> None:
    """The gateway stalls after two events: the client has both."""
    with recording(tmp_path / "mine", gateway.base_url, lines) as recorder:
        body = {**ASKED, "model": "gpt-4o-mini?stall-after=2"}

        assert reads_of(recorder.port, body, 2) == FRAMES[:2]


def test_a_client_that_leaves_early_closes_the_upstream(gateway: ReplayServer, tmp_path: Path, lines: Lines) -> None:
    """The upstream closes at once, even while it is silent; the replay is cut after the events so far."""
    body = {**ASKED, "model": "gpt-4o-mini?stall-after=2"}
    with recording(tmp_path / "mine", gateway.base_url, lines) as recorder:
        reads_of(recorder.port, body, 2)
        eventually(lambda: gateway.disconnects)
        lines.wait_for(1)
    kept = kept_in(*files_in(tmp_path / "mine"))

    assert gateway.disconnects[0].events == 2
    assert kept["replay"]["cut"] is True
    assert kept["response"]["body"]["string"].encode() == b"".join(FRAMES[:2])
    assert "2 events, cut, in" in lines[0]


def test_a_client_that_leaves_after_the_end_has_the_whole(gateway: ReplayServer, tmp_path: Path, lines: Lines) -> None:
    """The gateway lingers after `[DONE]`, which is the end for every client."""
    body = {**ASKED, "model": "gpt-4o-mini?linger=60"}
    with recording(tmp_path / "mine", gateway.base_url, lines) as recorder:
        reads_of(recorder.port, body, len(FRAMES))
        lines.wait_for(1)

    assert "cut" not in kept_in(*files_in(tmp_path / "mine"))["replay"]


def test_a_stream_that_the_gateway_cuts_is_cut_again(gateway: ReplayServer, tmp_path: Path, lines: Lines) -> None:
    """The client of the recorder sees the cut, and so does the client of the replay."""
    body = {**ASKED, "model": "gpt-4o-mini?cut-after=3"}
    with recording(tmp_path / "mine", gateway.base_url, lines) as recorder, pytest.raises(http.client.IncompleteRead):
        ask(recorder.port, body)
    path = files_in(tmp_path / "mine")[0]
    path.write_text(path.read_text("utf-8").replace("?cut-after=3", ""), "utf-8")
    with ReplayServer(path) as replay, pytest.raises(http.client.IncompleteRead) as caught:
        ask(replay.port, ASKED)

    assert caught.value.partial == b"".join(FRAMES[:3])


def test_many_at_once_are_kept_in_the_order_of_asking(gateway: ReplayServer, tmp_path: Path, lines: Lines) -> None:
    """The first to be asked ends last; an equal request plays in that order."""
    with recording(tmp_path / "mine", gateway.base_url, lines) as recorder:
        slow = threading.Thread(target=ask, args=(recorder.port, {**ASKED, "model": "gpt-4o-mini?first-delay=0.3"}))
        slow.start()
        eventually(lambda: gateway.requests)
        ask(recorder.port, ASKED)
        slow.join()
    models = [json.loads(kept_in(path)["request"]["body"])["model"] for path in files_in(tmp_path / "mine")]

    assert models == ["gpt-4o-mini?first-delay=0.3", "gpt-4o-mini"]


def test_what_is_sent_reaches_the_gateway(gateway: ReplayServer, tmp_path: Path, lines: Lines) -> None:
    """With its key and its own headers; a compressed answer is not asked for."""
    with recording(tmp_path / "mine", gateway.base_url, lines) as recorder:
        ask(recorder.port, ASKED, **{"x-mine": "1", "accept-encoding": "gzip", "connection": "close"})
    received = gateway.requests[0]

    assert received.body == ASKED
    assert received.headers["authorization"] == "Bearer ***"
    assert received.headers["x-mine"] == "1"
    assert received.headers["accept-encoding"] == "identity"
    assert received.headers["host"] == f"127.0.0.1:{gateway.port}"
    assert "connection" not in received.headers


def test_a_gateway_that_cannot_be_reached_is_a_502(tmp_path: Path, lines: Lines) -> None:
    """With its name and the cause; nothing is kept, which is said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with recording(tmp_path / "mine", f"http://127.0.0.1:{port}/v1", lines) as recorder:
        reply = ask(recorder.port, ASKED)

    assert reply.status == 502
    assert reply.error["message"] == f"127.0.0.1:{port} did not answer: ConnectionRefusedError: Connection refused"
    assert lines == ["POST /v1/chat/completions gpt-4o-mini: not kept, for there was no answer"]
    assert not (tmp_path / "mine").exists()


@contextmanager
def answering(head: bytes, body: bytes) -> Iterator[str]:
    """A gateway that gives one answer, in bytes, and closes the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + body)
                connection.shutdown(socket.SHUT_WR)
                # A request that is not read to its end would reset the connection.
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        thread.join()


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"content-type: application/json\r\ncontent-length: 100", "the answer is not whole, and no stream"),
        (b"content-type: application/json\r\ncontent-encoding: br", "the body is compressed by br"),
    ],
)
def test_what_cannot_be_kept_is_said(head: bytes, why: str, tmp_path: Path, lines: Lines) -> None:
    """A cassette would hold something else."""
    with answering(head, b'{"a":1}') as upstream, recording(tmp_path / "mine", upstream, lines) as recorder:
        try:
            ask(recorder.port, ASKED)
        except http.client.HTTPException:
            assert b"content-length" in head  # the client sees the cut too
        lines.wait_for(1)

    assert why in lines[0]
    assert not (tmp_path / "mine").exists()


def test_a_base_path_other_than_v1_is_that_of_the_gateway(tmp_path: Path, lines: Lines) -> None:
    """The replay serves it where its clients look for it."""
    path = cassette_file(
        tmp_path / "a.yaml", interaction(chat(), completion("Hi"), path="/api/openai/chat/completions")
    )
    with (
        ReplayServer(path) as gateway,
        recording(tmp_path / "mine", f"http://127.0.0.1:{gateway.port}/api/openai/", lines) as recorder,
    ):
        ask(recorder.port, chat(), path=f"{CHAT}?api-version=2&api_key=abc")
    kept = kept_in(*files_in(tmp_path / "mine"))
    with ReplayServer(tmp_path / "mine") as replay:
        assert ask(replay.port, chat()).text == "Hi"

    assert kept["request"]["uri"] == f"http://127.0.0.1:{gateway.port}/api/openai/chat/completions?api-version=2"
    assert kept["replay"]["path"] == CHAT


# What a cassette holds


def test_no_key_is_kept(gateway: ReplayServer, tmp_path: Path, lines: Lines) -> None:
    """In no header and no body, whole, shortened or hashed; of headers those that somebody reads."""
    with recording(tmp_path / "mine", gateway.base_url, lines) as recorder:
        ask(recorder.port, chat("Wrong?", user=KEY), cookie="session=1")
        ask(recorder.port, chat("Wrong?"), **{"x-api-key": "another-secret"})
    text = "".join(path.read_text("utf-8") for path in files_in(tmp_path / "mine"))

    assert KEY not in text
    assert "tl_" not in text
    assert hashlib.sha256(KEY.encode()).hexdigest() not in text
    assert "secret" not in text
    assert "cookie" not in text
    assert "authorization" not in text
    assert '"user": "[key]"' in text


def test_keys_are_taken_out_wherever_they_stand() -> None:
    """A prompt that holds the key of another service loses it; hashes are only taken out of errors."""
    scrubber = Scrubber.of({"authorization": f"Bearer {KEY}", "api-key": "short"})
    digest = "0" * 64

    assert scrubber.body(f"{KEY} sk-proj-12345678 {digest} short task-force-one".encode()).decode() == (
        f"[key] [key] {digest} short task-force-one"
    )
    assert scrubber.body(f"hash {digest}".encode(), is_error=True) == b"hash [hash]"
    assert scrubber.uri(f"https://me:pw@host/v1?key=1&a=2&b={KEY}#x") == "https://host/v1?a=2&b=[key]"


def test_a_cassette_can_be_read_by_people(gateway: ReplayServer, tmp_path: Path, lines: Lines) -> None:
    """Named by its number and the prompt; the body is laid out, and the times are on one line."""
    with recording(tmp_path / "mine", gateway.base_url, lines) as recorder:
        ask(recorder.port, chat("What is the time?", stream=True))
        ask(recorder.port, None, method="GET", path="/v1/models")
    first, second = files_in(tmp_path / "mine")

    assert (first.name, second.name) == ("0001_what_is_the_time.yaml", "0002_models.yaml")
    assert '        "messages": [\n' in first.read_text("utf-8")
    assert "    times: [0." in first.read_text("utf-8")


def test_each_event_of_a_cassette_is_a_line() -> None:
    """With its emoji."""
    dumped = CassetteFiles(Path("never-written"))._dump({"string": "data: 1\n\ndata: 👋🏽\n\n"})

    assert dumped == "string: |+\n  data: 1\n\n  data: 👋🏽\n\n...\n"


def test_a_path_that_ends_in_yaml_is_one_file(gateway: ReplayServer, tmp_path: Path, lines: Lines) -> None:
    """vcrpy needs one file for each test."""
    with recording(tmp_path / "mine.yaml", gateway.base_url, lines) as recorder:
        for body in (ASKED, chat("Whole?")):
            ask(recorder.port, body)
    with ReplayServer(tmp_path / "mine.yaml") as replay:
        assert [ask(replay.port, body).status for body in (ASKED, chat("Whole?"))] == [200, 200]

    assert len(yaml.safe_load((tmp_path / "mine.yaml").read_text("utf-8"))["interactions"]) == 2


def test_nothing_is_overwritten(gateway: ReplayServer, tmp_path: Path, lines: Lines) -> None:
    """In a folder the numbers go on; a file that is there is refused."""
    for _ in range(2):
        with recording(tmp_path / "mine", gateway.base_url, lines) as recorder:
            ask(recorder.port, ASKED)
    (tmp_path / "mine.yaml").write_text("mine")
    with pytest.raises(ValueError, match=r"mine\.yaml: there is such a file already"):
        RecordingServer(tmp_path / "mine.yaml", gateway.base_url)

    assert [path.name[:4] for path in files_in(tmp_path / "mine")] == ["0001", "0002"]


def test_vcrpy_plays_a_recorded_cassette(gateway: ReplayServer, tmp_path: Path, lines: Lines) -> None:
    """The same request to the recorded address gets the same bytes."""
    with recording(tmp_path / "mine.yaml", gateway.base_url, lines) as recorder:
        ask(recorder.port, ASKED)
    matching = ("method", "scheme", "host", "port", "path", "query", "body")
    with vcr.use_cassette(str(tmp_path / "mine.yaml"), record_mode="none", match_on=matching) as played:
        with httpx2.Client(verify=SSL) as client:
            response = client.post(f"{gateway.base_url}/chat/completions", json=ASKED)
        assert played.play_count == 1

    assert response.content == STREAM.encode()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text() | st.text("\n\r \tda:{}\x85\u2028\ufeff👋"))
def test_any_text_is_kept_as_it_is(text: str) -> None:
    """YAML has many line breaks, and blanks that it folds."""
    cassette = CassetteFiles(Path("never-written"))._dump(
        {"text": text, "bytes": b"\xff", "times": [0.1, 2.0], "none": []}
    )

    read = {"text": text, "bytes": b"\xff", "times": [0.1, 2.0], "none": []}
    assert yaml.safe_load(cassette.encode("utf-8", "surrogatepass")) == read


# The pace


def recorded(reads: Sequence[bytes], clock: Iterator[float], *, content_type: str = "text/event-stream") -> list[float]:
    """Return the times of an exchange that was answered in these reads."""
    request = Request("POST", CHAT, {}, b"{}", is_http_1_0=False)
    made = Recording(request, f"https://host{CHAT}", next(clock))
    made.begin(200, "OK", [("content-type", content_type)], next(clock))
    for data in reads:
        made.add(data, next(clock))
    times: list[float] = made.interaction()["replay"]["times"]
    return times


def test_an_event_has_the_time_of_its_last_byte() -> None:
    """Two in one read have the same; one in two reads has that of the second; the headers come first."""
    body = b"data: 1\n\ndata: 2\n\ndata: 3\n\n"
    clock = iter([10.0, 10.5, 11.0, 11.25, 12.0004])

    assert recorded([body[:18], body[18:20], body[20:]], clock) == [0.5, 1.0, 1.0, 2.0]


def test_a_whole_answer_has_the_time_of_its_last_byte() -> None:
    """It is played at once."""
    assert recorded([b"{", b"}"], itertools.count(1.0), content_type="application/json") == [1.0, 3.0]


def test_the_recorded_pace_is_played(gateway: ReplayServer, tmp_path: Path, lines: Lines) -> None:
    """A clock that goes on by one second at each look: so are the times of the reads, and the waits of the replay."""
    clock = itertools.count(100.0)
    with recording(tmp_path / "mine", gateway.base_url, lines, clock=lambda: next(clock)) as recorder:
        ask(recorder.port, {**ASKED, "model": "gpt-4o-mini?delay=0.05"})
    times = kept_in(*files_in(tmp_path / "mine"))["replay"]["times"]

    assert len(times) == 1 + len(FRAMES)
    assert times[0] == 1.0
    assert times == sorted(times)
    assert times[-1] > len(FRAMES) / 2  # several may share a read on a busy machine


def paced(times: tuple[float, ...] | None, **faults: Any) -> Pace:
    answer = Answer(200, "OK", (), frames=tuple(frames_of(b"data: 1\n\ndata: 2\n\n")), times=times)
    return Pace.of(answer, Faults(**faults))


def test_a_part_waits_until_it_is_due() -> None:
    """Counted from the request, so that lateness does not add up."""
    pace = paced((0.5, 1.0, 3.0), speed=1)

    assert pace.until_head == 0.5
    assert [pace.before(0, 0.5), pace.before(1, 1.25), pace.before(1, 9.0)] == [0.5, 1.75, 0.0]


def test_speed_shortens_all_waits() -> None:
    """Twice as fast is half as long."""
    pace = paced((0.5, 1.0, 3.0), speed=2)

    assert (pace.until_head, pace.before(1, 0.0), pace.until_whole) == (0.25, 1.5, 1.5)


@pytest.mark.parametrize(("times", "speed"), [(None, 1), ((0.5, 1.0, 3.0), None)])
def test_without_times_or_speed_the_delay_is_the_pace(times: tuple[float, ...] | None, speed: float | None) -> None:
    """Tests wait for nothing."""
    pace = paced(times, speed=speed, delay=0.25)

    assert (pace.until_head, pace.until_whole) == (0.0, 0.0)
    assert [pace.before(0, 0.0), pace.before(1, 0.0)] == [0.0, 0.25]


def test_a_delay_that_is_asked_for_takes_the_place_of_the_recorded_pace() -> None:
    """In the name of a model; and a speed there that of the delay."""
    assert Faults(speed=1).changed({"delay": 0.1}).speed is None
    assert Faults(delay=1).changed({"speed": 2.0}).speed == 2.0


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_replay_plays_recorded_times_if_it_is_told_to(tmp_path: Path, stream: bool) -> None:
    """A client that leaves has the events that were due; a server that is given no speed does not wait."""
    answer = STREAM if stream else completion("Hi")
    times = [0.0, 0.0, 0.0, *[1e6] * (len(FRAMES) - 2)] if stream else [0.0, 1e6]
    body = chat(stream=stream)
    path = cassette_file(tmp_path / "a.yaml", interaction(body, answer, replay={"times": times}))
    with ReplayServer(path, speed=2) as server:
        assert reads_of(server.port, body, 2 if stream else 0) == (FRAMES[:2] if stream else [])
        eventually(lambda: server.disconnects)
        assert server.disconnects[0].events == (2 if stream else 0)
    with ReplayServer(path) as server:
        assert ask(server.port, body).status == 200


# The address of the service


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://gateway.example/v1", "keys would be sent in the clear"),
        ("gateway.example", "it must begin with https://"),
        ("ftp://gateway.example", "it must begin with https://"),
    ],
)
def test_an_upstream_that_keys_must_not_go_to_is_refused(url: str, problem: str) -> None:
    """The recorder refuses the address as the client does."""
    with pytest.raises(ValueError, match=problem):
        Upstream.at(url)


@pytest.mark.parametrize("url", ["http://localhost:1/v1", "http://127.0.0.1/v1", "https://gateway.example/v1"])
def test_this_machine_and_https_are_taken(url: str) -> None:
    """A gateway under test has no certificate."""
    assert Upstream.at(url).base.hostname


def test_a_proxy_is_asked_for_a_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one in the environment, with its password."""
    monkeypatch.setenv("https_proxy", "http://me:p%40ss@proxy.example:3128")
    monkeypatch.setenv("no_proxy", "other.example")
    request = Request("POST", CHAT, {}, b"", is_http_1_0=False)
    proxied = Upstream.at("https://gateway.example/v1").call(request)._connection
    direct = Upstream.at("https://other.example/v1").call(request)._connection

    assert (proxied.host, proxied.port) == ("proxy.example", 3128)
    assert (proxied._tunnel_host, proxied._tunnel_port) == ("gateway.example", 443)  # type: ignore[attr-defined]
    assert proxied._tunnel_headers["proxy-authorization"] == "Basic bWU6cEBzcw=="  # type: ignore[attr-defined]
    assert (direct.host, direct.port) == ("other.example", 443)


# The command line

PROGRAM = """
import os, urllib.request
body = b'{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Whole?"}]}'
headers = {"Authorization": "Bearer " + os.environ["TENSORLOOP_KEY"]}
request = urllib.request.Request(os.environ["TENSORLOOP_BASE_URL"] + "/chat/completions", body, headers)
print(urllib.request.urlopen(request).status)
"""


@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_program_is_recorded_by_one_command_and_played_by_another(
    gateway: ReplayServer, tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With its own key; the upstream is an option or that of the environment."""
    monkeypatch.setenv("TENSORLOOP_KEY", KEY)
    monkeypatch.setenv("TENSORLOOP_BASE_URL", gateway.base_url if by == "environment" else "http://127.0.0.1:1/v1")
    upstream = ["--upstream", gateway.base_url] if by == "option" else []
    command = ["--", sys.executable, "-c", PROGRAM]
    mine = tmp_path / "mine"
    assert main(["--record", str(mine), *upstream, *command]) == 0
    assert main([str(mine), "--strict", *command]) == 0
    output, said = capfd.readouterr()

    assert output == "200\n200\n"
    assert f"kept in {mine}/0001_whole.yaml\n" in said
    assert said.endswith(f"record: 1 exchange kept; to play: python -m tensorloop_stream.replay {mine} -- COMMAND\n")


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("", "/chat/completions answered 404 each time: does the address of the upstream end in /v1?\n"),
        ("/v1", "/v1/chat/completions answered 404 each time\n"),
    ],
)
def test_an_address_that_answers_404_alone_is_told(
    gateway: ReplayServer, tmp_path: Path, base: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The usual reason is a base URL without its version; the exchange is kept, as any other."""
    upstream = f"http://127.0.0.1:{gateway.port}"
    code = PROGRAM.replace("Whole?", "Never recorded").replace('os.environ["TENSORLOOP_KEY"]', '"any"')
    main(["--record", str(tmp_path / "mine"), "--upstream", upstream + base, "--", sys.executable, "-c", code])

    assert f"record: {upstream}{said}record: 1 exchange kept" in capfd.readouterr().err


def test_an_address_that_answered_once_is_not_told(gateway: ReplayServer, tmp_path: Path, lines: Lines) -> None:
    """A 404 of its own is for one prompt, and a GET may look for what is gone."""
    with recording(tmp_path / "mine", f"http://me:pw@127.0.0.1:{gateway.port}/v1", lines) as recorder:
        ask(recorder.port, chat("Never recorded"))
        ask(recorder.port, None, method="GET", path="/v1/files/gone")
        lines.wait_for(2)
        before = recorder.not_found
        ask(recorder.port, chat("Whole?"))
        lines.wait_for(3)

        assert before == [f"http://127.0.0.1:{gateway.port}/v1/chat/completions answered 404 each time"]
        assert recorder.not_found == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--record", "x", "cassettes"], "--record only passes requests on, and takes no cassettes"),
        (["--record", "x", "--cut-after", "1"], "--record only passes requests on, and takes no --cut-after"),
        (["--record", "x", "--strict"], "--record only passes requests on, and takes no --strict"),
        (["--upstream", "https://host/v1"], "--upstream goes with --record"),
        (["--record", "x", "--upstream", "http://host/v1"], "the upstream is http://host: keys would be sent"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And status 2."""
    assert main([*arguments, "--", "true"]) == 2
    assert complaint in capsys.readouterr().err


def test_recording_says_that_the_service_did_not_answer(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The program asked where it should: the address of the service is what is wrong."""
    program = (
        "import os, urllib.request\n"
        "url = os.environ['TENSORLOOP_BASE_URL'] + '/chat/completions'\n"
        "try: urllib.request.urlopen(url, b'{}')\n"
        "except urllib.error.HTTPError: pass"
    )
    dead = "http://user:secret@127.0.0.1:9/v1"
    main(["--record", str(tmp_path / "mine"), "--upstream", dead, "--", sys.executable, "-c", program])

    said = capfd.readouterr().err
    assert "record: 0 of 1 exchanges kept: http://127.0.0.1:9/v1 gave no answer that can be kept" in said
    assert "secret" not in said
    assert "nothing was asked" not in said


def test_recording_serves_until_ctrl_c(gateway: ReplayServer, tmp_path: Path) -> None:
    """A program in another shell may use its own key."""
    command = [sys.executable, "-m", "tensorloop_stream.replay", "--record", str(tmp_path / "mine"), "--port", "0"]
    with subprocess.Popen(
        [*command, "--upstream", gateway.base_url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        os.killpg(process.pid, signal.SIGINT)
        rest, said = process.communicate(timeout=PATIENCE)

    assert lines[0].startswith(f"Recording {gateway.base_url} on http://127.0.0.1:")
    assert "TENSORLOOP_BASE_URL=" in lines[2]
    assert rest == ""
    assert said.startswith("record: 0 exchanges kept")
    assert process.returncode == 0
