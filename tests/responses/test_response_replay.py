"""Recorded streams of the Responses API, and their faults."""

from __future__ import annotations

from typing import Any

import cassette
import pytest

from tensorloop_stream import ResponseStream, StreamProviderError, Tensorloop
from tensorloop_stream.replay import ReplayServer

QUESTION = "Think, then answer: why are caches fast?"


def asked(client: Tensorloop, question: str = QUESTION, **more: Any) -> ResponseStream:
    return ResponseStream(client.responses.create(model="gpt-4o-mini", input=question, stream=True, **more))


def client_of(server: ReplayServer) -> Tensorloop:
    return Tensorloop(base_url=server.base_url, api_key="none")


def test_error_after_fails_a_response_as_litellm_does() -> None:
    """The event holds nothing of what had come, and its number follows."""
    with (
        ReplayServer(cassette.FOLDER / "responses/reasoning.yaml", error_after=3) as server,
        client_of(server) as client,
    ):
        opened = asked(client)
        *_, last = (next(opened) for _ in range(4))
        with pytest.raises(StreamProviderError, match="The server had an error"):
            next(opened)

    event: Any = last
    assert (event.type, event.sequence_number, event.response.output) == ("response.failed", 3, [])


def test_recorded_answers_are_whole() -> None:
    """Each cassette shows what its name says."""
    with ReplayServer(cassette.FOLDER / "responses") as server, client_of(server) as client:
        thought = asked(client).until_done()
        refused = asked(client, "How do I pick my neighbour's lock?").until_done()
        cut = asked(client, "Explain caches in detail.", max_output_tokens=16).until_done()
        failed = asked(client, "Stream a haiku about failures.")
        with pytest.raises(StreamProviderError, match="The model failed to answer"):
            failed.until_done()

    assert (thought.reasoning, thought.text) == (
        "A cache is a copy kept near its reader.",
        "Because reading nearby is faster.",
    )
    assert (refused.refusal, refused.text) == ("I'm sorry, I can't help with that.", "")
    assert (cut.status, cut.text) == ("incomplete", "A cache is a copy kept near")
    assert (failed.status, failed.text) == ("failed", "Caches forget")
