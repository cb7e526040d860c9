"""The parts of the recording that need no model and no proxy."""

import json
import sys
from collections.abc import Iterator
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path
from typing import Any

import pytest
import yaml
from vcr.request import Request  # type: ignore[import-untyped]  # vcrpy publishes no types

sys.path.insert(0, str(Path(__file__).parents[1] / "recording"))

import cassette
from anthropic_script import EVENTS
from catalogue import CATALOGUE
from entry import Origin
from readme import README, tables
from responses_script import response_events
from script import Script
from scripts import SCRIPTS
from upstream import Upstream, upstream

LOOPBACK = "http://127.0.0.1:8123/v1"
PROMPT = "What is the weather in Zürich?"
DONE = "data: [DONE]\n\n"
STREAMED = {name: script for name, script in SCRIPTS.items() if script.status == 200}


def a_request(uri: str = f"{cassette.SERVICE}/chat/completions", **body: Any) -> Request:
    headers = {"Content-Type": "application/json", "Authorization": "Bearer tl_0123456789", "X-Stainless-OS": "Linux"}
    return Request("POST", uri, json.dumps(body), headers)


def a_response(body: str = "", **headers: str) -> dict[str, Any]:
    named = {name.replace("_", "-"): [value] for name, value in headers.items()}
    return {"status": {"code": 200, "message": "OK"}, "headers": named, "body": {"string": body.encode()}}


def on_one_request(text: str) -> dict[str, Any]:
    return {"version": 1, "interactions": [{"response": {"body": {"string": text}}}]}


def text_of(cassette_text: str) -> Any:
    return yaml.safe_load(cassette_text)["interactions"][0]["response"]["body"]["string"]


@pytest.fixture
def server() -> Iterator[Upstream]:
    with upstream({PROMPT: SCRIPTS["forced_call"], "Stop.": SCRIPTS["mid_stream_cut"]}) as running:
        yield running


def answer(server: Upstream, prompt: str, *, stream: bool) -> bytes:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=5)
    body = {"messages": [{"role": "user", "content": prompt}], "stream": stream}
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    try:
        return connection.getresponse().read()
    finally:
        connection.close()


def payloads(stream: bytes) -> list[Any]:
    events = stream.decode().removesuffix("\n\n").split("\n\n")
    return [event.removeprefix("data: ") for event in events]


def test_a_request_keeps_its_content_type_and_a_readable_body() -> None:
    """Keys, user agents and details of the machine are removed."""
    scrubbed = cassette.scrub_request(a_request(model="gpt-4o-mini", stream=True))

    assert dict(scrubbed.headers) == {"Content-Type": "application/json"}
    assert scrubbed.body == b'{\n  "model": "gpt-4o-mini",\n  "stream": true\n}'


def test_scrubbing_a_request_twice_changes_nothing() -> None:
    """vcrpy calls the hooks again when it loads a cassette."""
    once = cassette.scrub_request(a_request(content="🌊 Zürich"))
    body, headers = once.body, dict(once.headers)

    twice = cassette.scrub_request(once)

    assert (twice.body, dict(twice.headers)) == (body, headers)


def test_only_allowed_headers_are_kept() -> None:
    """A list names the allowed headers, so an unexpected header is removed."""
    response = a_response(
        set_cookie="session=1", Content_Type="text/event-stream", x_ratelimit_remaining_requests="59", server="uvicorn"
    )

    assert cassette.scrub_response(response)["headers"] == {
        "content-type": ["text/event-stream"],
        "x-ratelimit-remaining-requests": ["59"],
    }


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("Received API Key = sk-...9999, Key Hash", "Received API Key = [key], Key Hash"),
        ("for api_key: tl_.... Limit type", "for api_key: [key]. Limit type"),
        ("Incorrect API key provided: sk-proj-****wxyz.", "Incorrect API key provided: [key]."),
        ("the key tl_0123456789abcdef expired", "the key [key] expired"),
        (f"Key Hash (Token) ={'0a' * 32}.", "Key Hash (Token) =[hash]."),
        ("a risk-averse sk- and desk-...", "a risk-averse sk- and desk-..."),
    ],
)
def test_every_form_of_a_key_in_an_error_is_removed(message: str, kept: str) -> None:
    """Gateways repeat keys: whole, shortened with dots or stars, or hashed."""
    once = cassette.scrub_response(a_response(message))

    assert once["body"]["string"].decode() == kept
    assert cassette.scrub_response(once) == once


def test_the_recording_host_is_recorded_as_the_service(tmp_path: Path) -> None:
    """A cassette replays under the address that users have."""
    recorder = cassette.cassettes("once", recorded_at=LOOPBACK)
    request = a_request(f"{LOOPBACK}/chat/completions", model="gpt-4o-mini")

    with recorder.use_cassette(tmp_path / "new.yaml") as tape:
        tape.append(request, a_response("{}"))

    written = yaml.safe_load((tmp_path / "new.yaml").read_text(encoding="utf-8"))
    assert written["interactions"][0]["request"]["uri"] == f"{cassette.SERVICE}/chat/completions"
    assert request.uri == f"{LOOPBACK}/chat/completions"


def test_another_host_is_not_taken_for_the_service() -> None:
    """A replay rewrites nothing, so a request to a wrong host finds no answer."""
    replay = cassette.cassettes("none")

    with replay.use_cassette(cassette.FOLDER / "chat" / "haiku.yaml") as tape:
        recorded = tape.requests[0]
        elsewhere = Request(recorded.method, f"{LOOPBACK}/chat/completions", recorded.body, recorded.headers)

        assert tape.can_play_response_for(recorded)
        assert not tape.can_play_response_for(elsewhere)


def test_an_event_is_a_line_of_the_cassette() -> None:
    """Lines of any length and script are neither folded nor escaped."""
    events = [f"data: {'é' * 500}", 'data: {"content":"it\'s \\"日本語\\" 🌊 # : - "}', "data: [DONE]"]

    written = cassette.Serializer.serialize(on_one_request("".join(f"{event}\n\n" for event in events)))

    assert [line.strip() for line in written.splitlines() if "data:" in line] == events


@pytest.mark.parametrize("separator", ["\x85", "\u2028", "\u2029", "\ufeff", "\x7f", "\t", "\r\n"])
def test_separators_survive_and_keep_one_line_per_event(separator: str) -> None:
    """Line breaks of YAML 1.1, which YAML 1.2 does not have, are written as escapes."""
    body = f'data: a{separator}b 🌊\n\n data: \\{separator}"c\n\ndata: [DONE]\n\n'

    written = cassette.Serializer.serialize(on_one_request(body))

    assert text_of(written) == body
    assert yaml.load(written, Loader=yaml.CSafeLoader) == yaml.safe_load(written)
    assert len([line for line in written.split("\n") if "data: " in line]) == 3


@pytest.mark.parametrize(
    "body", ["", "\n", " \n x", "a \nb", "{}", '{"a":1}\n', "\n\na", "- a: b\n", "null", "---\n..."]
)
def test_any_body_survives(body: str) -> None:
    """A body may be empty, have spaces at line ends, or look like YAML."""
    written = cassette.Serializer.serialize(on_one_request(body))

    assert text_of(written) == body


def test_cassettes_are_utf_8_in_every_locale(tmp_path: Path) -> None:
    """vcrpy's own persister uses the encoding of the locale."""
    recorder = cassette.cassettes("once")

    with recorder.use_cassette(tmp_path / "new.yaml") as tape:
        tape.append(a_request(content="Zürich"), a_response("日本語 🌊"))

    assert "Zürich" in (tmp_path / "new.yaml").read_bytes().decode()
    assert "日本語 🌊" in (tmp_path / "new.yaml").read_bytes().decode()


@pytest.mark.parametrize("script", STREAMED.values(), ids=list(STREAMED))
def test_scripted_streams_are_server_sent_events(script: Script) -> None:
    """Each event is ``data: ``, one line and an empty line; all but ``[DONE]`` are JSON."""
    events = [event.decode() for event in script.events()]

    assert all(event.startswith("data: ") and event.endswith("\n\n") and event.count("\n") == 2 for event in events)
    assert all(json.loads(event[6:]) for event in events if event != DONE)
    assert (DONE in events) == (script.end in {"done", "finish with the last delta"})


def test_the_anthropic_script_names_its_events() -> None:
    """The Messages API repeats the type of each event in an ``event:`` line."""
    lines = [event.decode().split("\n") for event in EVENTS]

    assert all(
        json.loads(data.removeprefix("data: "))["type"] == name.removeprefix("event: ") for name, data, *_ in lines
    )


def test_the_upstream_streams_its_script(server: Upstream) -> None:
    """The deltas of the arguments make the whole arguments."""
    *chunks, end = payloads(answer(server, PROMPT, stream=True))

    calls = [call for chunk in chunks for call in json.loads(chunk)["choices"][0]["delta"].get("tool_calls", [])]
    assert "".join(call["function"]["arguments"] for call in calls) == '{"city":"Zürich"}'
    assert end == "[DONE]"


def test_the_upstream_answers_whole_without_stream(server: Upstream) -> None:
    """The twin of a streamed cassette has the same script."""
    message = json.loads(answer(server, PROMPT, stream=False))["choices"][0]["message"]

    assert message["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": '{"city":"Zürich"}'}


def test_the_upstream_cuts_the_connection_by_its_script(server: Upstream) -> None:
    """The last chunk of the transfer is missing, as when a host dies."""
    with pytest.raises(IncompleteRead) as cut:
        answer(server, "Stop.", stream=True)

    assert b"remember" in cut.value.partial
    assert b"[DONE]" not in cut.value.partial


@pytest.mark.parametrize(
    ("script", "text"), [("forced_call", '{"city":"Zürich"}'), ("mid_stream_cut", "Caches remember")]
)
def test_a_script_speaks_the_responses_api(script: str, text: str) -> None:
    """The deltas have the names of this API, events are numbered, and a truncated script has no end."""
    events = [json.loads(event.decode().split("\n")[1][6:]) for event in response_events(SCRIPTS[script])]

    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert "".join(event["delta"] for event in events if event["type"].endswith(".delta")) == text
    assert any(event["type"].endswith((".done", ".completed")) for event in events) == (script == "forced_call")


def test_each_script_has_its_own_prompt() -> None:
    """The upstream chooses the script by the prompt."""
    scripted = [one for one in CATALOGUE if one.script in SCRIPTS]
    by_prompt = {(one.prompt, one.script) for one in scripted}

    assert {name for one in scripted for name in (one.script, one.follow_up_script)} - {""} == set(SCRIPTS)
    assert len({prompt for prompt, _ in by_prompt}) == len(by_prompt)
    assert all(one.origin is Origin.SCRIPT for one in scripted)


def test_the_readme_has_the_tables_of_these_cassettes() -> None:
    """The recording writes both, so a difference means that a person edited one."""
    recorded = {
        path.relative_to(cassette.FOLDER).with_suffix("").as_posix() for path in cassette.FOLDER.rglob("*.yaml")
    }

    assert {one.name for one in CATALOGUE} == {name for name in recorded if not name.endswith("_by_hand")}
    assert tables() in README.read_text(encoding="utf-8")
