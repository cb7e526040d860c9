"""The replay server on a real socket: matching, faults, connections and the log."""

import asyncio
import http.client
import json
import re
import socket
import struct
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, cast

import httpx2
import pytest
import yaml

from tensorloop_stream.replay import ReplayServer
from tensorloop_stream.replay._faults import OPTIONS, FaultOptions
from tensorloop_stream.replay._http import BadRequestError, Request, RequestParser

EVENTS = [
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n',
    'data: {"choices":[{"index":0,"delta":{"content":"Grüße \u2028"}}]}\n\n'.encode(),
    'data: {"choices":[{"index":0,"delta":{"content":"👋🏽"}}]}\n\n'.encode(),
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    b"data: [DONE]\n\n",
]
STREAM = b"".join(EVENTS)
IN_BAND_ERROR = (
    b'data: {"error": {"message": "litellm.APIConnectionError: APIConnectionError: OpenAIException - '
    b'The server had an error while processing your request", '
    b'"type": null, "param": null, "code": "500"}}\n\n'
)
CHAT = "/v1/chat/completions"
TIMEOUT = 10


def chat(prompt: str = "Hi", model: str = "gpt-4o-mini", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": True, **more}


def recorded(
    body: Any = None,
    answer: bytes | str = STREAM,
    *,
    method: str = "POST",
    path: str = CHAT,
    status: int = 200,
    **headers: str,
) -> dict[str, Any]:
    named = {"content_type": "text/event-stream", "x_litellm_call_id": "42"} | headers
    return {
        "request": {
            "method": method,
            "uri": f"https://litellm.tensorloop.tech{path}",
            "body": body if body is None or isinstance(body, str) else json.dumps(body),
            "headers": {},
        },
        "response": {
            "status": {"code": status, "message": http.client.responses[status]},
            "headers": {name.replace("_", "-"): [value] for name, value in named.items()},
            "body": {"string": answer if isinstance(answer, str) else answer.decode()},
        },
    }


def cassette(path: Path, *interactions: dict[str, Any]) -> Path:
    text = yaml.safe_dump({"version": 1, "interactions": list(interactions)}, allow_unicode=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def one_stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cassette(tmp_path_factory.mktemp("cassettes") / "hello.yaml", recorded(chat()))


@pytest.fixture
def server(one_stream: Path) -> Iterator[ReplayServer]:
    with ReplayServer(one_stream) as server:
        yield server


class Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        return cast("dict[str, Any]", json.loads(self.body)["error"])


def ask(
    server: ReplayServer,
    body: Any = None,
    *,
    method: str = "POST",
    path: str = CHAT,
    headers: dict[str, str] | None = None,
) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
    try:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, headers or {})
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())
    finally:
        connection.close()


def connect(server: ReplayServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT)


def request_bytes(body: Any, *headers: str, version: str = "1.1") -> bytes:
    data = json.dumps(body).encode()
    lines = [f"POST {CHAT} HTTP/{version}", "Host: replay", f"Content-Length: {len(data)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + data


def read_until(connection: socket.socket, end: bytes) -> bytes:
    read = b""
    while not read.endswith(end):
        part = connection.recv(65536)
        assert part, f"the connection ended after {read!r}"
        read += part
    return read


class Wire(NamedTuple):
    """A response as its bytes on the socket, read until the connection closes."""

    head: bytes
    chunks: list[bytes]
    ended: bool

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)


def wire(server: ReplayServer, body: Any) -> Wire:
    with connect(server) as connection:
        connection.sendall(request_bytes(body, "Connection: close"))
        read = b""
        while part := connection.recv(65536):
            read += part
    head, _, rest = read.partition(b"\r\n\r\n")
    chunks: list[bytes] = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        if size == b"0":
            assert rest == b"\r\n"
            return Wire(head, chunks, ended=True)
        chunks.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) :].removeprefix(b"\r\n")
    return Wire(head, chunks, ended=False)


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


# Matching


def test_a_recorded_stream_is_sent_byte_for_byte_with_its_headers(server: ReplayServer) -> None:
    """The server neither parses nor rewrites the body."""
    reply = ask(server, chat())

    assert reply.status == 200
    assert reply.body == STREAM
    assert reply.headers["content-type"] == "text/event-stream"
    assert reply.headers["x-litellm-call-id"] == "42"
    assert reply.headers["transfer-encoding"] == "chunked"


def test_each_event_is_one_http_chunk(server: ReplayServer) -> None:
    """A client that shows every read shows every event."""
    assert wire(server, chat()).chunks == EVENTS


def test_bodies_are_compared_by_value(tmp_path: Path) -> None:
    """The order of keys is ignored, and JavaScript's 0 equals Python's 0.0."""
    with ReplayServer(cassette(tmp_path / "a.yaml", recorded(chat(temperature=0.0)))) as server:
        same = ask(server, dict(reversed(chat(temperature=0).items())))
        other = ask(server, chat(temperature=0) | {"stream": 1})

    assert same.body == STREAM
    assert other.status == 404
    assert "stream was sent as 1, but recorded as true" in other.error["message"]


def test_stream_false_matches_a_request_without_stream(tmp_path: Path) -> None:
    """Both request the same answer."""
    whole = {name: value for name, value in chat().items() if name != "stream"}
    recordings = recorded(chat()), recorded(whole, "{}", content_type="application/json")
    with ReplayServer(cassette(tmp_path / "a.yaml", *recordings)) as server:
        assert [ask(server, body).body for body in (whole, {**whole, "stream": False})] == [b"{}", b"{}"]
        assert ask(server, chat()).body == STREAM


def test_unmatched_requests_are_recorded(server: ReplayServer) -> None:
    """A program may take the 404 for another error of its gateway, and its test must still fail."""
    ask(server, chat())
    assert server.unmatched == []

    reply = ask(server, chat("Bye"))
    assert server.unmatched == [reply.error["message"]]


def test_404_says_what_differs_from_the_nearest_request(tmp_path: Path) -> None:
    """The nearest recorded request has the fewest differences, and among equals the most similar values."""
    path = cassette(
        tmp_path / "a.yaml",
        recorded(chat("Tell me a joke", seed=1)),
        recorded(chat("What is the capital of France?")),
        recorded(chat("Count to ten")),
    )
    with ReplayServer(path) as server:
        reply = ask(server, chat("What is the capital of Spain?"))

    assert reply.status == 404
    assert reply.error["type"] == "invalid_request_error"
    assert reply.error["message"] == (
        f"no recorded POST /v1/chat/completions has this body; the nearest ({path}) differs: "
        'messages.0.content was sent as "What is the capital of Spain?", '
        'but recorded as "What is the capital of France?"'
    )


def test_404_names_missing_and_additional_fields(server: ReplayServer) -> None:
    """The message shows a parameter that an SDK adds by itself."""
    body = chat(seed=7, messages=[*chat()["messages"], {"role": "user", "content": "x" * 100}])
    del body["stream"]

    message = ask(server, body).error["message"]

    assert "stream was not sent, but recorded as true" in message
    assert "seed was sent as 7, but not recorded" in message
    assert re.search(r'messages\.1 was sent as \{"role": "user", "content": "x+…, but not', message)


def test_a_404_fits_on_a_screen_and_the_log_has_it_in_full(tmp_path: Path) -> None:
    """Long values are shown from about where they differ; a client prints the error."""
    long = "You are a patient teacher. " * 8
    path = cassette(tmp_path / "a.yaml", recorded(chat(f"{long}Today is Monday. {long}", seed=1, user="a", n=1)))
    asked = chat(f"{long}Today is Tuesday. {long}")
    with ReplayServer(path) as server:
        message = ask(server, asked).error["message"]
        (full,) = server.unmatched

    assert re.search("was sent as …[^…]*Tuesday[^…]*…, but recorded as …[^…]*Monday[^…]*…; ", message)
    assert message.endswith("; and 1 more")
    assert json.dumps(asked["messages"][0]["content"]) in full
    assert full.endswith("n was not sent, but recorded as 1")


@pytest.mark.parametrize("path", [CHAT, f"/{'x' * 900}"])
def test_no_error_of_a_replay_is_longer_than_a_screen(server: ReplayServer, path: str) -> None:
    """Paths, names of fields and options are as long as a client makes them."""
    long = "x" * 900
    bodies = {**chat(), long: 1}, chat(model=f"m?{long}"), chat(long)
    replies = [ask(server, body, path=path) for body in bodies]

    assert all(len(reply.error["message"]) <= 640 for reply in replies)
    assert long in server.unmatched[0]


def test_404_for_another_path_names_the_recorded_ones(server: ReplayServer) -> None:
    """The usual reason is a base URL without /v1."""
    message = ask(server, chat(), path="/chat/completions").error["message"]

    assert message == "nothing is recorded for POST /chat/completions, only for POST /v1/chat/completions"


def test_a_missing_body_equals_none(tmp_path: Path) -> None:
    """A GET has no body; the query is no part of the path."""
    models = recorded(None, "{}", method="GET", path="/v1/models?limit=1", content_type="application/json")
    with ReplayServer(cassette(tmp_path / "a.yaml", models)) as server:
        reply = ask(server, method="GET", path="/v1/models")

    assert (reply.status, reply.body) == (200, b"{}")


def test_a_body_that_is_not_json_matches_as_text(tmp_path: Path) -> None:
    """A cassette may contain the gateway's answer to invalid JSON; otherwise the server answers with an error."""
    error = recorded('{"model":', '{"error":{}}', status=400, content_type="application/json")
    with ReplayServer(cassette(tmp_path / "a.yaml", error)) as server:
        known, unknown = ask(server, b'{"model":'), ask(server, b"[" * 100_000)

    assert (known.status, known.body) == (400, b'{"error":{}}')
    assert (unknown.status, unknown.error["param"]) == (400, "request_body")


def test_a_recorded_body_that_is_not_json_is_named(tmp_path: Path) -> None:
    """One comma too many is hard to see in a comparison of two texts."""
    path = cassette(tmp_path / "a.yaml", recorded('{"model": "m",}', "{}", content_type="application/json"))
    with ReplayServer(path) as server:
        message = ask(server, chat()).error["message"]

    assert message.endswith(f'that of the nearest ({path}) is no JSON: {{"model": "m",}}')


def test_recorded_errors_have_their_status_headers_and_body(tmp_path: Path) -> None:
    """The example is the rate limit of a key, as the proxy sends it."""
    body = '{"error":{"message":"Rate limit exceeded","type":"throttling_error","param":null,"code":"429"}}'
    limit = recorded(chat(), body, status=429, content_type="application/json", retry_after="60")
    with ReplayServer(cassette(tmp_path / "a.yaml", limit)) as server:
        reply = ask(server, chat())

    assert (reply.status, reply.body.decode()) == (429, body)
    assert reply.headers["retry-after"] == "60"
    assert reply.headers.get_all("content-length") == [str(len(body))]


def test_equal_requests_play_in_order_and_the_last_repeats(tmp_path: Path) -> None:
    """A recorded retry is a failure, then an answer; files and folders are ordered by name."""
    cassette(tmp_path / "b.yml", recorded(chat(), "data: second\n\n"))
    cassette(tmp_path / "a.yaml", recorded(chat(), "{}", status=503, content_type="application/json"))
    with ReplayServer(str(tmp_path)) as server:
        replies = [ask(server, chat()) for _ in range(3)]

    assert [reply.status for reply in replies] == [503, 200, 200]
    assert [reply.body for reply in replies] == [b"{}", b"data: second\n\n", b"data: second\n\n"]


# Faults, of the whole server or in the name of the model


def with_faults(path: Path, where: str, **faults: Any) -> tuple[ReplayServer, dict[str, Any]]:
    if where == "server":
        return ReplayServer(path, **faults), chat()
    options = "&".join(
        name.replace("_", "-") + ("" if value is True else f"={value}") for name, value in faults.items()
    )
    return ReplayServer(path), chat(model=f"gpt-4o-mini?{options}")


either_way = pytest.mark.parametrize("where", ["server", "model"])


@either_way
@pytest.mark.parametrize("events", [0, 3, 4])
def test_cut_after_omits_the_end_of_the_body(one_stream: Path, where: str, events: int) -> None:
    """The events arrive, but not the HTTP chunk that ends the body."""
    server, body = with_faults(one_stream, where, cut_after=events)
    with server:
        read = wire(server, body)

    assert read.chunks == EVENTS[:events]
    assert not read.ended
    assert server.disconnects == []


@either_way
def test_end_after_ends_the_body_early(one_stream: Path, where: str) -> None:
    """The body ends as that of a host that omits the rest."""
    server, body = with_faults(one_stream, where, end_after=2)
    with server:
        read = wire(server, body)

    assert read.chunks == EVENTS[:2]
    assert read.ended


@either_way
def test_error_after_sends_an_error_event(one_stream: Path, where: str) -> None:
    """The bytes are LiteLLM's own, followed by a clean end without [DONE]."""
    server, body = with_faults(one_stream, where, error_after=2)
    with server:
        read = wire(server, body)

    assert read.chunks == [*EVENTS[:2], IN_BAND_ERROR]
    assert read.ended


@either_way
def test_stall_after_keeps_the_connection_silent(one_stream: Path, where: str) -> None:
    """The server waits until the client leaves."""
    server, body = with_faults(one_stream, where, stall_after=2)
    with server, connect(server) as connection:
        connection.sendall(request_bytes(body))
        read_until(connection, EVENTS[1] + b"\r\n")
        connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.close()
        wait_until(lambda: server.disconnects)

    assert [left.events for left in server.disconnects] == [2]


@either_way
def test_pings_continue_during_a_stall(one_stream: Path, where: str) -> None:
    """Comments that keep a proxy awake must not make a client wait for ever."""
    server, body = with_faults(one_stream, where, stall_after=1, ping=0.01)
    with server, connect(server) as connection:
        connection.sendall(request_bytes(body))
        read = read_until(connection, b"8\r\n: ping\n\n\r\n" * 3)

    assert EVENTS[0] in read


@either_way
def test_split_splits_characters(one_stream: Path, where: str) -> None:
    """Chunks of two bytes split every character of four bytes."""
    server, body = with_faults(one_stream, where, split=2)
    with server:
        read = wire(server, body)

    assert read.body == STREAM
    assert max(map(len, read.chunks)) == 2
    with pytest.raises(UnicodeDecodeError):
        [chunk.decode() for chunk in read.chunks]


@either_way
def test_crlf_replaces_line_ends(one_stream: Path, where: str) -> None:
    """U+2028 in a text is not replaced."""
    server, body = with_faults(one_stream, where, crlf=True, error_after=4)
    with server:
        read = wire(server, body)

    assert read.body == (b"".join(EVENTS[:4]) + IN_BAND_ERROR).replace(b"\n", b"\r\n")


@either_way
def test_delay_waits_between_events(one_stream: Path, where: str) -> None:
    """Five events have four pauses between them."""
    server, body = with_faults(one_stream, where, delay=0.02)
    start = time.monotonic()
    with server:
        read = wire(server, body)

    assert read.body == STREAM
    assert time.monotonic() - start >= 0.08


@either_way
def test_first_delay_delays_the_headers(one_stream: Path, where: str) -> None:
    """The proxy sends its headers with the first chunk of the model."""
    server, body = with_faults(one_stream, where, first_delay=0.05)
    with server, connect(server) as connection:
        start = time.monotonic()
        connection.sendall(request_bytes(body))
        first = connection.recv(1)
        waited = time.monotonic() - start
        read = first + read_until(connection, b"0\r\n\r\n")

    assert waited >= 0.05
    assert b"x-litellm-call-id: 42" in read


@either_way
def test_first_delay_with_pings_sends_the_headers_early(one_stream: Path, where: str) -> None:
    """A proxy with keepalive_seconds does the same, and sends no headers about the model."""
    server, body = with_faults(one_stream, where, first_delay=0.1, ping=0.03)
    with server:
        read = wire(server, body)

    assert b"content-type: text/event-stream" in read.head
    assert b"x-litellm" not in read.head
    assert read.chunks == [b": ping\n\n"] * 3 + EVENTS


@either_way
def test_linger_keeps_the_connection_open_after_the_last_event(one_stream: Path, where: str) -> None:
    """[DONE] is sent, but not the end of the body; a client that leaves now has everything."""
    server, body = with_faults(one_stream, where, linger=60)
    with server, connect(server) as connection:
        connection.sendall(request_bytes(body))
        read_until(connection, EVENTS[-1] + b"\r\n")
        connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.close()
        wait_until(lambda: json.loads(ask(server, method="GET", path="/stats").body)["active"] == 0)

    assert server.disconnects == []


@either_way
def test_linger_ends_cleanly(one_stream: Path, where: str) -> None:
    """The stream ends as recorded after its seconds."""
    server, body = with_faults(one_stream, where, linger=0.02)
    with server:
        assert wire(server, body) == wire(server, body)
        assert wire(server, body).ended


@either_way
def test_status_fails_always_without_a_count(one_stream: Path, where: str) -> None:
    """The error has OpenAI's shape, with the code as a string, as the gateway sends it."""
    server, body = with_faults(one_stream, where, status=429, retry_after=0.5)
    with server:
        replies = [ask(server, body) for _ in range(3)]

    assert [reply.status for reply in replies] == [429, 429, 429]
    assert replies[0].headers["retry-after"] == "0.5"
    assert replies[0].error == {
        "message": "429 Too Many Requests, as the replay was asked to answer",
        "type": "rate_limit_error",
        "param": None,
        "code": "429",
    }


@either_way
def test_fails_counts_each_distinct_request(tmp_path: Path, where: str) -> None:
    """Every request fails twice before its answer."""
    path = cassette(tmp_path / "a.yaml", recorded(chat("Hi")), recorded(chat("Ho")))
    server, body = with_faults(path, where, status=503, fails=2)
    with server:
        first = [ask(server, body).status for _ in range(4)]
        second = [ask(server, chat("Ho", model=body["model"])).status for _ in range(3)]

    assert first == [503, 503, 200, 200]
    assert second == [503, 503, 200]


@either_way
def test_fails_counts_broken_streams_too(one_stream: Path, where: str) -> None:
    """A client that requests the stream again after a connection error receives all of it."""
    server, body = with_faults(one_stream, where, cut_after=0, fails=1)
    with server:
        reads = [wire(server, body) for _ in range(2)]

    assert [read.ended for read in reads] == [False, True]
    assert reads[1].body == STREAM


def test_an_exceeded_budget_differs_from_a_rate_limit_by_its_type(server: ReplayServer) -> None:
    """Both have the status 429, and only one is worth a retry."""
    reply = ask(server, chat(model="gpt-4o-mini?status=429&error-type=budget_exceeded"))

    assert reply.error["type"] == "budget_exceeded"


def test_an_error_inside_a_stream_may_have_a_type(server: ReplayServer) -> None:
    """It is its code, too, because the Responses API has no type there."""
    read = wire(server, chat(model="gpt-4o-mini?error-after=2&error-type=rate_limit_exceeded"))
    error = json.loads(read.chunks[-1].removeprefix(b"data: "))["error"]

    assert (error["type"], error["code"]) == ("rate_limit_exceeded", "rate_limit_exceeded")
    assert error["message"].endswith(" - rate_limit_exceeded, as the replay was asked to send")


def test_a_failure_needs_no_recording(server: ReplayServer) -> None:
    """A gateway that refuses a request does not read its prompt either."""
    assert ask(server, chat("never recorded", model="any?status=401")).status == 401
    assert server.unmatched == []


def test_a_request_after_its_failures_needs_a_recording(server: ReplayServer) -> None:
    """A retry asks for an answer, and a test that nobody recorded it for must learn that."""
    body = chat("never recorded", model="any?status=503&fails=1")
    statuses = [ask(server, body).status for _ in range(2)]

    assert statuses == [503, 404]
    assert len(server.unmatched) == 1


def test_a_fault_that_no_answer_reaches_is_told(one_stream: Path) -> None:
    """Such a test tests nothing: its server says so, and warns at its end."""

    def test_of_an_app() -> None:
        with ReplayServer(one_stream, cut_after=7) as server:
            ask(server, chat())

    with pytest.warns(UserWarning, match="^the answer had 5 events, so cut-after=7 changed nothing$") as warned:
        test_of_an_app()

    assert warned[0].filename == __file__


def test_a_test_that_fails_for_an_unused_fault_is_told(one_stream: Path) -> None:
    """The exception that leaves the block has it as a note."""

    def test_of_an_app() -> None:
        with ReplayServer(one_stream, cut_after=7) as server:
            ask(server, chat())
            raise LookupError

    with pytest.raises(LookupError) as caught:
        test_of_an_app()

    assert caught.value.__notes__ == ["the answer had 5 events, so cut-after=7 changed nothing"]


def unused(path: Path, body: Any, **faults: Any) -> list[str]:
    """Return what a server warns of, asked by a client that leaves once it has `[DONE]` or the end."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with ReplayServer(path, **faults) as server, connect(server) as connection:
            connection.sendall(request_bytes(body, "Connection: close"))
            read = b""
            while b"[DONE]" not in read and (part := connection.recv(65536)):
                read += part
            connection.close()
            server.wait_until_idle()
    return [str(each.message) for each in warned]


@pytest.mark.parametrize("fault", ["cut_after", "end_after", "stall_after", "error_after"])
def test_a_fault_behind_done_is_unused(one_stream: Path, fault: str) -> None:
    """A client reads up to `[DONE]` and no further."""
    said = f"the answer had 5 events, [DONE] the last, so {fault.replace('_', '-')}=5 changed nothing"

    assert unused(one_stream, chat(), **{fault: 5}) == [said]


@pytest.mark.parametrize("fault", ["cut_after", "end_after", "error_after"])
def test_a_fault_before_done_is_used(one_stream: Path, fault: str) -> None:
    """A client misses `[DONE]` at least."""
    assert unused(one_stream, chat(), **{fault: 4}) == []


def test_an_unused_fault_is_told_although_its_client_left(one_stream: Path) -> None:
    """A client that has `[DONE]` does not wait for the end of the connection."""
    said = unused(one_stream, chat(), cut_after=7, linger=60)

    assert said == ["the answer had 5 events, so cut-after=7 changed nothing"]


def test_a_clean_end_behind_the_last_event_is_unused(tmp_path: Path) -> None:
    """An answer without `[DONE]`, such as one of the Responses API, ends there in any case."""
    path = cassette(tmp_path / "a.yaml", recorded(chat(), b"".join(EVENTS[:2])))

    assert unused(path, chat(), end_after=2) == ["the answer had 2 events, so end-after=2 changed nothing"]
    assert unused(path, chat(), cut_after=2) == []


@pytest.mark.parametrize(
    ("answer", "faults", "said"),
    [
        (STREAM, {"end_after": 4}, "end-after=4 left out [DONE] alone: "),
        (b"".join(EVENTS[:2]), {"cut_after": 2}, "cut-after=2 came after the last event, where a client may have "),
    ],
)
def test_a_test_that_fails_for_a_late_fault_is_told(
    tmp_path: Path, answer: bytes, faults: dict[str, Any], said: str
) -> None:
    """Some clients notice the fault, so there is a note, and no warning."""
    path = cassette(tmp_path / "a.yaml", recorded(chat(), answer))

    def test_of_an_app() -> None:
        with ReplayServer(path, **faults) as server:
            wire(server, chat())
            raise LookupError

    with pytest.raises(LookupError) as caught:
        test_of_an_app()

    assert caught.value.__notes__[0].startswith(said)


@pytest.mark.parametrize("first", [b": hello\n\n", b"event: response.created\n", b"id: 1\n", b"\ndata:{}\n\n"])
def test_an_answer_without_headers_is_a_stream_by_its_first_line(tmp_path: Path, first: bytes) -> None:
    """Any field of an event, or a comment, shows it: faults count its events."""
    body = first.decode() + "data: {}\n\ndata: [DONE]\n\n"
    by_hand = recorded(chat(), body)
    del by_hand["response"]["headers"]
    path = cassette(tmp_path / "a.yaml", by_hand)
    with ReplayServer(path) as server:
        reply = ask(server, chat())

    assert reply.headers["content-type"] == "text/event-stream"


def test_a_fault_that_one_answer_reaches_is_used(one_stream: Path) -> None:
    """The answers after it may be shorter."""
    with warnings.catch_warnings(record=True) as warned, ReplayServer(one_stream, end_after=1, fails=1) as server:
        replies = [ask(server, chat()) for _ in range(2)]

    assert len(replies[0].body) < len(replies[1].body)
    assert not warned


def test_faults_of_a_request_replace_those_of_the_server(one_stream: Path) -> None:
    """The two may be of different kinds."""
    with ReplayServer(one_stream, status=429, retry_after=9, fails=7, crlf=True) as server:
        read = wire(server, chat(model="gpt-4o-mini?end-after=2&crlf=no"))

    assert read.chunks == EVENTS[:2]
    assert read.ended


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("cutt-after=7", "unknown option 'cutt-after': there are delay, first-delay, "),
        ("cut-after=soon", "cut-after must be a number of events, 0 or more, not 'soon'"),
        ("cut-after=-1", "cut-after must be a number of events, 0 or more, not -1"),
        ("delay=nan", "delay must be a number of seconds, 0 or more, not nan"),
        ("ping=0", "ping must be a number of seconds above 0, not 0.0"),
        ("split=0", "split must be a number of bytes, 1 or more, not 0"),
        ("status=200", "status must be an HTTP status from 400 to 599, not 200"),
        ("crlf=perhaps", "crlf must be yes or no, not 'perhaps'"),
        ("delay=1&delay=2", "delay is given twice"),
        ("cut-after=1&cut_after=1", "cut_after is given twice"),
        ("cut-after=1&stall-after=2", "an answer fails in one way: cut-after and stall-after exclude each other"),
        ("retry-after=1", "retry-after needs a status"),
        ("error-type=a", "error-type needs a status or error-after"),
        ("cut-after=1&error-type=a", "error-type needs a status or error-after"),
        ("fails=1", "fails needs one of status, cut-after, end-after, stall-after, error-after"),
    ],
)
def test_400_names_the_invalid_option(server: ReplayServer, options: str, message: str) -> None:
    """A mistyped fault must not give a healthy stream."""
    reply = ask(server, chat(model=f"gpt-4o-mini?{options}"))

    assert (reply.status, reply.error["param"]) == (400, "model")
    assert reply.error["message"].startswith(message)


def test_invalid_faults_are_refused_by_the_constructor(one_stream: Path) -> None:
    """No socket is opened."""
    with pytest.raises(ValueError, match="cut-after and end-after exclude each other"):
        ReplayServer(one_stream, cut_after=1, end_after=1)
    with pytest.raises(ValueError, match="split must be a number of bytes, 1 or more, not 0"):
        ReplayServer(one_stream, split=0)
    with pytest.raises(ValueError, match="cut-after must be a number of events, 0 or more, not '3'"):
        ReplayServer(one_stream, cut_after="3")  # type: ignore[arg-type]
    misspelt: dict[str, Any] = {"stict": False}
    with pytest.raises(TypeError, match=r"unknown option 'stict': there are .*; did you mean strict\?$"):
        ReplayServer(one_stream, **misspelt)
    with pytest.raises(TypeError, match=r"unknown option 'cut': there are delay, first_delay, ping, .*cut_after"):
        ReplayServer(one_stream, cut=3)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="cors must be an origin such as http://localhost:5173"):
        ReplayServer(one_stream, cors="http://localhost:5173/")


def test_answers_without_events_have_only_delays_and_failures(tmp_path: Path) -> None:
    """A list of models has no events after which to fail, which is told."""
    models = recorded(None, "{}", method="GET", path="/v1/models", content_type="application/json")
    path = cassette(tmp_path / "a.yaml", models)
    with (
        pytest.warns(UserWarning, match="the answer is no event stream, so cut-after=0 changed nothing"),
        ReplayServer(path, cut_after=0, first_delay=0.01, crlf=True) as server,
    ):
        reply = ask(server, method="GET", path="/v1/models")

    assert (reply.status, reply.body) == (200, b"{}")


def test_the_typed_keywords_are_those_of_the_options() -> None:
    """Type checkers, the command line and model names accept the same options."""
    names = [option.name.replace("-", "_") for option in OPTIONS]

    assert names == list(FaultOptions.__annotations__)


def test_recorded_comments_are_no_events(tmp_path: Path) -> None:
    """Recorded pings are sent, but do not count; CR, CRLF and LF end lines."""
    stream = "data: 1\n\n: ping\n\ndata: 2\r\n\r\ndata: 3\r\rdata: 4\n\n"
    with ReplayServer(cassette(tmp_path / "a.yaml", recorded(chat(), stream)), end_after=3) as server:
        read = wire(server, chat())

    assert read.chunks == [b"data: 1\n\n", b": ping\n\n", b"data: 2\r\n\r\n", b"data: 3\r\r"]


# The log


def test_requests_are_logged_without_their_keys(server: ReplayServer) -> None:
    """The log shows only that a key was sent, and its scheme."""
    before = time.monotonic()
    ask(
        server,
        chat(),
        headers={"Authorization": "Bearer tl_secret", "X-Title": "Test", "Api-Key": "tl_secret"},
    )
    ask(server, method="GET", path="/v1/models")
    chatted, listed = server.requests

    assert (chatted.method, chatted.path, chatted.body) == ("POST", CHAT, chat())
    assert chatted.headers["authorization"] == "Bearer ***"
    assert chatted.headers["x-title"] == "Test"
    assert "tl_secret" not in repr(chatted)
    assert (listed.method, listed.path, listed.body) == ("GET", "/v1/models", None)
    assert before <= chatted.time <= listed.time <= time.monotonic()


@pytest.mark.parametrize(
    ("options", "events"),
    [("first-delay=60", 0), ("delay=60", 1), ("stall-after=3", 3), ("delay=60&ping=9", 1)],
)
@pytest.mark.parametrize("reset", [False, True])
def test_a_disconnect_is_recorded_while_the_server_is_silent(
    server: ReplayServer, options: str, events: int, *, reset: bool
) -> None:
    """The server need not write to detect it."""
    with connect(server) as connection:
        connection.sendall(request_bytes(chat(model=f"gpt-4o-mini?{options}")))
        if events:
            read_until(connection, EVENTS[events - 1] + b"\r\n")
        else:
            wait_until(lambda: server.requests)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        left_at = time.monotonic()
    wait_until(lambda: server.disconnects)
    (left,) = server.disconnects

    assert left.request == server.requests[0]
    assert left.events == events
    assert 0 <= left.time - left_at < 1


def test_wait_until_idle_waits_for_the_end_of_all_requests(one_stream: Path) -> None:
    """A disconnect is detected a moment later, so a test that checks at once would fail sometimes."""
    with ReplayServer(one_stream, stall_after=1) as server:
        for number in range(1, 6):
            with httpx2.stream("POST", server.base_url + "/chat/completions", json=chat()) as response:
                reads = response.iter_bytes()
                next(reads)
                with pytest.raises(TimeoutError, match=f"1 of {number} requests are still being answered"):
                    server.wait_until_idle(0.01)
            server.wait_until_idle()

            assert len(server.disconnects) == number


def test_stats_count_requests_and_disconnects(server: ReplayServer) -> None:
    """Times are in Unix time, for measurements in other processes."""
    ask(server, chat())
    before = time.time()
    with connect(server) as leaving, connect(server) as staying:
        leaving.sendall(request_bytes(chat(model="gpt-4o-mini?stall-after=1")))
        staying.sendall(request_bytes(chat(model="gpt-4o-mini?stall-after=2")))
        read_until(leaving, EVENTS[0] + b"\r\n")
        leaving.close()
        wait_until(lambda: server.disconnects)
        wait_until(lambda: len(server.requests) == 3)
        stats = json.loads(ask(server, method="GET", path="/stats").body)

    (left,) = stats.pop("left_early")
    assert stats == {"started": 3, "finished": 1, "active": 1}
    assert (left["path"], left["model"], left["events"]) == (CHAT, "gpt-4o-mini?stall-after=1", 1)
    assert before - 1 < left["started"] <= left["noticed"] < time.time() + 1
    assert len(server.requests) == 3


# Pages of another origin


def test_cors_answers_the_preflight_and_every_request(one_stream: Path) -> None:
    """Error responses have the header, too, or a page could not read them."""
    origin = "http://localhost:5173"
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang",
    }
    with ReplayServer(one_stream, cors=origin) as server:
        preflight = ask(server, method="OPTIONS", headers=asked)
        answers = [ask(server, body, headers={"Origin": origin}) for body in (chat(), chat("?"))]
        stats = ask(server, method="GET", path="/stats")

    assert (preflight.status, preflight.body) == (204, b"")
    assert preflight.headers["access-control-allow-methods"] == "POST"
    assert preflight.headers["access-control-allow-headers"] == asked["Access-Control-Request-Headers"]
    assert [answer.status for answer in answers] == [200, 404]
    assert {each.headers["access-control-allow-origin"] for each in (preflight, *answers, stats)} == {origin}
    assert [request.method for request in server.requests] == ["POST", "POST"]


def test_no_origin_is_allowed_without_cors(server: ReplayServer) -> None:
    """Pages of other origins cannot read the responses."""
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    replies = [ask(server, method="OPTIONS", headers=asked), ask(server, chat(), headers=asked)]

    assert [reply.status for reply in replies] == [404, 200]
    assert all("access-control-allow-origin" not in reply.headers for reply in replies)


# Connections


def test_a_connection_serves_many_requests(server: ReplayServer) -> None:
    """Streams, errors and statistics share it."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
    bodies = []
    for body in (chat(), chat("not recorded"), chat(model="gpt-4o-mini?end-after=1"), chat()):
        connection.request("POST", CHAT, json.dumps(body))
        bodies.append(connection.getresponse().read())
    connection.request("GET", "/stats")
    stats = json.loads(connection.getresponse().read())
    connection.close()

    assert (bodies[0], bodies[2], bodies[3]) == (STREAM, EVENTS[0], STREAM)
    assert stats["finished"] == 4
    assert server.connections == 1


def test_httpx2_reuses_its_connection(server: ReplayServer) -> None:
    """The client below the SDK accepts the framing, and replaces a connection that it left."""
    with httpx2.Client(base_url=server.base_url, trust_env=False) as client:
        for _ in range(3):
            with client.stream("POST", "/chat/completions", json=chat()) as response:
                read = b"".join(response.iter_bytes())
        connections_before = server.connections
        with client.stream("POST", "/chat/completions", json=chat(model="gpt-4o-mini?delay=60")) as response:
            next(response.iter_bytes())
        client.post("/chat/completions", json=chat())

    assert read == STREAM
    assert (connections_before, server.connections) == (1, 2)
    assert len(server.disconnects) == 1


def test_connection_close_is_obeyed(server: ReplayServer) -> None:
    """The response announces it."""
    read = wire(server, chat())

    assert b"connection: close" in read.head
    assert read.ended


def test_pipelined_requests_are_answered_in_turn(server: ReplayServer) -> None:
    """The second request waits in the buffer."""
    with connect(server) as connection:
        connection.sendall(
            request_bytes(chat(model="gpt-4o-mini?end-after=1&delay=0.01")) + request_bytes(chat(), "Connection: close")
        )
        read = b"".join(iter(lambda: connection.recv(65536), b""))

    assert read.count(b"HTTP/1.1 200 OK") == 2
    assert server.connections == 1


def test_http_1_0_gets_the_body_without_chunks(server: ReplayServer) -> None:
    """The end of the connection is the end of the body."""
    with connect(server) as connection:
        connection.sendall(request_bytes(chat(), version="1.0"))
        head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")

    assert b"transfer-encoding" not in head
    assert body == STREAM


def test_http_1_0_sees_a_cut_as_a_reset(server: ReplayServer) -> None:
    """An orderly close would look like the end of the body."""
    with connect(server) as connection:
        connection.sendall(request_bytes(chat(model="gpt-4o-mini?cut-after=2&delay=0.02"), version="1.0"))

        with pytest.raises(ConnectionResetError):
            b"".join(iter(lambda: connection.recv(65536), b""))


def test_expect_100_continue_is_answered(server: ReplayServer) -> None:
    """A client may wait for this answer before it sends the body (curl does, above a megabyte)."""
    head, _, body = request_bytes(chat(), "Expect: 100-continue", "Connection: close").partition(b"\r\n\r\n")
    with connect(server) as connection:
        connection.sendall(head + b"\r\n\r\n")
        interim = read_until(connection, b"\r\n\r\n")
        connection.sendall(body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_head_request_has_no_body(server: ReplayServer) -> None:
    """A body would desynchronize the connection."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
    statuses = []
    for path in ("/stats", "/v1/models", "/stats"):
        connection.request("HEAD", path)
        response = connection.getresponse()
        assert response.read() == b""
        statuses.append(response.status)
    connection.close()

    assert statuses == [200, 404, 200]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET /stats\r\n\r\n", 400),
        (b"GET stats HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://[ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /stats HTTP/2.0\r\n\r\n", 505),
        (b"GET /stats HTTP/1.1\r\nHost: a\r\nno header\r\n\r\n", 400),
        (b"GET /stats HTTP/1.1\r\nHost: a\r\nA: 1\r\n folded\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 413),
        (b"GET /\tstats HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /stats HTTP/1.1\r\n\r\n", 400),
        (b"GET /stats HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /stats HTTP/1.1\r\nHost: a\r\nA: 1\rB: 2\r\n\r\n", 400),
        (b"GET /stats HTTP/1.1\r\nHost: a\r\nA: \0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nno header\r\n\r\n", 400),
        (b"GET /" + b"x" * 70_000, 431),
        (b"GET / HTTP/1.1\r\n" + b"A: 12345678\r\n" * 7_000, 431),
    ],
)
def test_a_bad_request_is_answered_and_the_connection_closed(server: ReplayServer, sent: bytes, status: int) -> None:
    """The error has OpenAI's shape, and arrives although the client still sends."""
    with connect(server) as connection:
        connection.sendall(sent)
        head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert json.loads(body)["error"]["code"] == str(status)
    assert server.requests == []


def test_requests_may_arrive_in_any_reads() -> None:
    """Single bytes and chunked bodies, as node sends them, are accepted."""
    sent = (
        b"\r\nPOST http://host/v1/x?y=1 HTTP/1.1\r\nHost: a\r\nA: 1\r\na:2\r\nTransfer-Encoding: Chunked\r\n\r\n"
        b'3;name=value\r\n{"a\r\n4\r\n":1}\r\n0\r\nTrailer: 1\r\n\r\nGET / HTTP/1.0\r\n\r\n'
    )
    by_byte, in_one_read = RequestParser(), RequestParser()
    parsed = []
    for byte in sent:
        by_byte.feed(bytes([byte]))
        parsed += [request] if (request := by_byte.next_request()) else []
    in_one_read.feed(sent)

    headers = {"host": "a", "a": "1, 2", "transfer-encoding": "Chunked"}
    assert parsed == [
        Request("POST", "/v1/x", headers, b'{"a":1}', is_http_1_0=False, query="y=1"),
        Request("GET", "/", {}, b"", is_http_1_0=True),
    ]
    assert parsed == [in_one_read.next_request(), in_one_read.next_request()]
    assert in_one_read.next_request() is None


def test_the_parser_shows_the_line_that_it_refuses() -> None:
    """The message shows the beginning of the line."""
    parser = RequestParser()
    parser.feed(b"\x16\x03\x01 TLS\r\n")

    with pytest.raises(BadRequestError, match=r"not a request line: '\\x16\\x03\\x01 TLS'"):
        parser.next_request()


def test_the_server_stops_in_the_middle_of_streams(one_stream: Path) -> None:
    """Clients see the connection end, and no disconnect is recorded."""
    with ExitStack() as stack:
        with ReplayServer(one_stream, stall_after=1) as server:
            connections = [stack.enter_context(connect(server)) for _ in range(5)]
            for connection in connections:
                connection.sendall(request_bytes(chat()))
                read_until(connection, EVENTS[0] + b"\r\n")
            start = time.monotonic()
        took = time.monotonic() - start

        assert took < 2
        assert [connection.recv(1) for connection in connections] == [b""] * 5
    assert server.disconnects == []
    with pytest.raises(ConnectionRefusedError):
        connect(server)


def test_base_url_is_known_inside_the_with_block_only(one_stream: Path) -> None:
    """Two servers can run at the same time; a used port is an OSError."""
    outside = ReplayServer(one_stream)
    with ReplayServer(one_stream) as first, ReplayServer([one_stream]) as second:
        assert first.base_url == f"http://127.0.0.1:{first.port}/v1"
        assert first.port != second.port
        with pytest.raises(OSError, match="in use"), ReplayServer(one_stream, port=first.port):
            pass

    with pytest.raises(RuntimeError, match="inside its with block"):
        _ = outside.base_url


def test_300_concurrent_clients_are_served_on_one_thread(one_stream: Path) -> None:
    """Each client receives its events at its own pace."""

    async def read_one(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_bytes(chat(), "Connection: close"))
        read = await reader.read()
        writer.close()
        await writer.wait_closed()
        return read

    async def read_all(port: int) -> list[bytes]:
        return await asyncio.gather(*(read_one(port) for _ in range(300)))

    with ReplayServer(one_stream, delay=0.1) as server:
        start = time.monotonic()
        reads = asyncio.run(read_all(server.port))
        took = time.monotonic() - start

    assert all(read.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") for read in reads)
    assert server.connections == 300
    assert took < 300 * 0.4 / 10


# Cassettes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: b: c", "not YAML in line 1: "),
        ("a: \x07", "not YAML: "),
        (b"\xff\xfe\xff", "not YAML: "),
        ("!!python/object/apply:os.getcwd []", "not YAML in line 1: could not determine a constructor"),
        ("just text", "not a cassette of vcrpy, it has no list of interactions"),
        ("", "not a cassette of vcrpy, it has no list of interactions"),
        ("version: 1\ninteractions: []", "no interaction was recorded"),
        ("version: 2\ninteractions: [1]", "a cassette of version 2, not 1"),
        ("interactions: [1]", "it does not say version: 1, as the cassettes of vcrpy do"),
        ("version: 1\ninteractions: [1]", "interaction 1: there is no request"),
        ("version: 1\ninteractions: [{request: {method: GET}}]", "interaction 1: there is no request.uri"),
    ],
)
def test_a_foreign_cassette_is_refused_in_one_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    """The message names the file and the fault."""
    path = tmp_path / "foreign.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(ValueError, match=re.escape(f"{path}: {message}")) as caught:
        ReplayServer(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("request", "body"), {"a": 1}, "request.body is neither text nor bytes"),
        (("request", "uri"), None, "there is no request.uri"),
        (("response", "status"), None, "there is no response.status"),
        (("response", "status"), 200, "response.status is 200, where response.status.code is wanted"),
        (("response", "status", "code"), "200", "response.status.code is '200', not an HTTP status"),
        (("response", "body"), "text", "response.body is 'text', where response.body.string is wanted"),
        (("response", "headers", "content-encoding"), ["gzip"], "a compressed event stream: record it with"),
        (("response", "headers", "x"), ["a\r\nb: c"], "response.headers has a line that cannot be sent: "),
    ],
)
def test_an_invalid_interaction_is_refused(tmp_path: Path, where: tuple[str, ...], value: Any, message: str) -> None:
    """The message names its number in the file."""
    broken = recorded(chat())
    part = broken
    for name in where[:-1]:
        part = part[name]
    part[where[-1]] = value
    path = cassette(tmp_path / "broken.yaml", recorded(chat()), broken)

    with pytest.raises(ValueError, match=re.escape(f"{path}: interaction 2: {message}")):
        ReplayServer(path)


@pytest.mark.parametrize(
    ("where", "right", "wrong"),
    [
        (("response", "body"), "string", "strng"),
        (("response", "body"), "string", "String"),
        (("response",), "body", "boddy"),
        (("response",), "headers", "header"),
        (("response", "status"), "message", "mesage"),
        (("response", "status"), "code", "cod"),
        (("request",), "body", "bdy"),
        (("request",), "uri", "url"),
        ((), "response", "respons"),
    ],
)
def test_a_misspelt_key_is_refused(tmp_path: Path, where: tuple[str, ...], right: str, wrong: str) -> None:
    """Unread, it would give an empty answer; the sentence names the file, the key and the right one."""
    by_hand = recorded(chat())
    part = by_hand
    for name in where:
        part = part[name]
    part[wrong] = part.pop(right)
    path = cassette(tmp_path / "a.yaml", by_hand)
    key = ".".join([*where, wrong])

    with pytest.raises(ValueError, match=re.escape(f"{path}: interaction 1: {key} is unknown: did you mean {right}?")):
        ReplayServer(path)


def test_a_misspelt_replay_key_is_refused(tmp_path: Path) -> None:
    """Its rules would have no effect, at the top of a file and in an interaction."""
    of_one = cassette(tmp_path / "a.yaml", {**recorded(chat()), "reply": {"ignore": ["seed"]}})
    of_file = tmp_path / "b.yaml"
    of_file.write_text(yaml.safe_dump({"version": 1, "replays": {}, "interactions": [recorded(chat())]}))

    with pytest.raises(ValueError, match=r"a\.yaml: interaction 1: reply is unknown: did you mean replay\?"):
        ReplayServer(of_one)
    with pytest.raises(ValueError, match=r"b\.yaml: replays is unknown: did you mean replay\?"):
        ReplayServer(of_file)


@pytest.mark.parametrize("body", [{"text": STREAM.decode()}, {"base64_string": "e30=", "encoding": "utf-8"}])
def test_an_answer_without_its_text_is_refused(tmp_path: Path, body: dict[str, str]) -> None:
    """Keys that are like no other are named too, where the text is missing."""
    by_hand = recorded(chat())
    by_hand["response"]["body"] = body
    path = cassette(tmp_path / "a.yaml", by_hand)

    with pytest.raises(ValueError, match=f"response.body has {', '.join(body)}, where string is wanted"):
        ReplayServer(path)


def test_keys_of_other_recorders_pass(tmp_path: Path) -> None:
    """Nothing that a replay reads is missing."""
    foreign = {**recorded(chat()), "recorded_at": "Sat, 28 Nov 2026", "request_id": 7}
    foreign["request"] |= {"protocol": "https", "host": "host", "url": "https://host/v1"}
    foreign["response"] |= {"http_version": None, "status_code": 200, "url": "https://host/v1", "protocol": "h2"}
    foreign["response"]["body"] |= {"encoding": "utf-8", "base64_string": ""}
    foreign["response"]["status"] |= {"reason": "OK"}
    empty = recorded(chat("Nothing?"))
    empty["response"]["body"] = {}
    with ReplayServer(cassette(tmp_path / "a.yaml", foreign, empty)) as server:
        assert [ask(server, chat()).body, ask(server, chat("Nothing?")).body] == [STREAM, b""]


def test_no_cassettes_are_an_error(tmp_path: Path) -> None:
    """A mistyped path must not start a server without recordings."""
    with pytest.raises(ValueError, match=r"no \.yaml or \.yml file in this folder"):
        ReplayServer(tmp_path)
    with pytest.raises(ValueError, match=r"gone\.yaml: No such file or directory$"):
        ReplayServer([tmp_path / "gone.yaml"])
    with pytest.raises(ValueError, match="no cassette was given"):
        ReplayServer([])


def test_the_folder_that_the_documentation_names_is_shown_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever installed the package is in another folder."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=r"^cassettes: No such file or directory; those of this package are in "
    ) as told:
        ReplayServer("cassettes")

    assert (Path(str(told.value).rpartition(" in ")[2]) / "chat/haiku.yaml").is_file()


def test_a_stream_written_by_hand_needs_no_headers(tmp_path: Path) -> None:
    """The body shows that it is a stream, so faults for events apply."""
    by_hand = recorded(chat())
    by_hand["response"]["headers"] = {}
    with ReplayServer(cassette(tmp_path / "by_hand.yaml", by_hand), end_after=2) as server:
        reply = ask(server, chat())

    assert reply.headers["content-type"] == "text/event-stream"
    assert reply.body == b"".join(EVENTS[:2])


PROJECT_CASSETTES = sorted((Path(__file__).parents[2] / "cassettes").rglob("*.yaml"))


@pytest.mark.parametrize("path", PROJECT_CASSETTES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_cassettes_of_this_project_replay(path: Path) -> None:
    """Each request receives its recorded answer, in order, in reads of five bytes."""
    cassette = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    with ReplayServer(path, split=5) as server:
        for interaction in cassette["interactions"]:
            asked, answered = interaction["request"], interaction["response"]
            body = asked["body"]
            reply = ask(
                server,
                body.encode() if isinstance(body, str) else body,
                method=asked["method"],
                path=re.sub("^https?://[^/]+", "", asked["uri"]),
            )
            content = answered["body"]["string"]

            assert reply.status == answered["status"]["code"]
            assert reply.body == (content.encode() if isinstance(content, str) else content)
