"""The comparison finds what a tool lost of a stream, and what the caller did not get."""

from __future__ import annotations

from typing import Any

import pytest
from comparison import compare
from gateway import BREAKS_AFTER, LEAVES_AFTER, WORDS


def action(
    client: str = "OpenAI", ending: str = "whole", *, api: str = "chat", seen: Any = None, **record: Any
) -> dict[str, Any]:
    """Return what the program writes of a plain loop; by default all is well."""
    text = "".join(WORDS[: {"whole": len(WORDS), "left": LEAVES_AFTER}.get(ending, BREAKS_AFTER)])
    outcome = {"text": text, "error": None, "stream": "Stream", "partial": text}
    kinds = {"is_connection_error": False, "is_timeout_error": False, "is_stream_error": False}
    whole = {"ended": True, "error": False, "text": text, "finish_reason": "stop", "usage": [7, 13]}
    return {
        "reading": {"client": client, "way": "direct", "how": "loop", "is_async": False, "api": api},
        "ending": ending,
        "seen": {**outcome, **kinds, **(seen or {})},
        "records": [whole | record],
    }


def faults_of(*ours: dict[str, Any], api: str = "chat") -> list[str]:
    """Compare actions with the SDK's, in which all is well."""
    with_the_sdk = [action(ending=ending, api=api) for ending in ("whole", "left", "cut", "error")]
    return [str(fault) for fault in compare([*with_the_sdk, *ours], recorded=[api]).faults]


def test_comparison_accepts_the_same_record() -> None:
    """A record that equals the SDK's is no fault."""
    assert faults_of(action("Tensorloop")) == []


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        ({"ended": False}, "ended is False, not True"),
        ({"error": True}, "error is True, not False"),
        ({"text": "Never"}, f"text is 'Never', not {''.join(WORDS)!r}"),
        ({"finish_reason": None}, "finish_reason is None, not 'stop'"),
        ({"usage": None}, "usage is None, not [7, 13]"),
    ],
)
def test_comparison_finds_what_a_record_lacks(record: dict[str, Any], fault: str) -> None:
    """A span that stays open, or that has less than the SDK's, is a fault."""
    assert faults_of(action("Tensorloop", **record)) == [f"Tensorloop, loop, whole: {fault}"]


def test_comparison_finds_a_second_record() -> None:
    """A stream that is recorded twice is a fault."""
    twice = action("Tensorloop")
    twice["records"] *= 2

    assert faults_of(twice) == ["Tensorloop, loop, whole: 2 records, not 1"]


@pytest.mark.parametrize(
    ("seen", "fault"),
    [
        ({}, "raises nothing"),
        ({"error": "APIConnectionError"}, "raises APIConnectionError, which is no StreamError"),
        ({"error": "StreamError", "is_stream_error": True}, "raises StreamError"),
        (
            {"error": "E", "is_stream_error": True, "is_connection_error": True, "partial": None},
            ".partial has None",
        ),
    ],
)
def test_comparison_finds_what_an_error_lacks(seen: dict[str, Any], fault: str) -> None:
    """A cut without a connection error of ours, with all that had come, is a fault."""
    assert faults_of(action("Tensorloop", "cut", seen=seen)) == [f"Tensorloop, loop, cut: {fault}"]


def test_comparison_finds_a_tool_that_is_not_switched_on() -> None:
    """A tool that has nothing of the SDK's stream proves nothing of ours."""
    silent = [action(ending=ending, text=None) for ending in ("whole", "left", "cut")]

    assert [str(fault) for fault in compare(silent).faults] == [
        "OpenAI, loop, whole: the tool has no text of the SDK's stream"
    ]


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_comparison_keeps_the_apis_apart(api: str) -> None:
    """A record of a response is compared with one of a response, and its fault says so."""
    (fault,) = faults_of(action("Tensorloop", api=api, text=None), api=api)

    assert fault.startswith("Tensorloop, loop, whole" if api == "chat" else "Tensorloop, responses, loop, whole")


def test_comparison_takes_a_failed_response_for_a_break() -> None:
    """The SDK hands `response.failed` to its loop, and this package raises: a tool may have an error of it alone."""
    failed = {"error": "E", "is_stream_error": True, "partial": "".join(WORDS[:BREAKS_AFTER])}

    assert faults_of(action("Tensorloop", "error", api="responses", seen=failed, error=True), api="responses") == []


def test_comparison_asks_nothing_of_a_tool_without_an_api() -> None:
    """A tool that records nothing of the SDK's responses needs no record of ours."""
    theirs, ours = (action(client, api="responses") for client in ("OpenAI", "Tensorloop"))
    theirs["records"] = ours["records"] = []
    comparison = compare(
        [theirs, action(ending="left", api="responses"), action(ending="cut", api="responses"), ours], recorded=[]
    )

    assert comparison.faults == []
    assert comparison.recorded == {"responses": "nothing"}
