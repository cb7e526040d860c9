"""Test an app that streams, without a key or a network: python recipes/pytest_your_app.py"""

from pathlib import Path

import pytest
import vcr  # type: ignore[import-untyped] # publishes no types

from tensorloop_stream import ChatStream, StreamError, Tensorloop
from tensorloop_stream.replay import ReplayServer

HAIKU = next(path for each in Path(__file__).parents if (path := each / "cassettes/chat/haiku.yaml").exists())


def poem(client: Tensorloop, ask: str = "Stream a haiku about caching.") -> str:
    """Return a poem, or the part of it that arrived; stands for your app."""
    answer = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": ask}], stream=True
    )
    try:
        return ChatStream(answer).get_final_text()
    except StreamError as error:
        return f"{error.text} ..."


@pytest.mark.parametrize(("cut_after", "end"), [(None, "a way to cherish."), (7, "meadow, a ..."), (0, " ...")])
def test_with_a_server(cut_after: int | None, end: str) -> None:
    """A real socket serves a recorded answer, complete or cut after some events; other faults are stall_after, ..."""
    with ReplayServer(HAIKU, cut_after=cut_after) as server:
        assert poem(Tensorloop(base_url=server.base_url, api_key="none")).endswith(end)
        assert not server.unmatched  # every request was recorded; an app may hide the error of one that was not


def test_with_vcrpy() -> None:
    """A cassette needs no server; to record, delete the cassette and omit `api_key`: your key is not recorded."""
    with vcr.use_cassette(str(HAIKU), match_on=("method", "path", "body"), filter_headers=["authorization"]):
        assert poem(Tensorloop(api_key="none")).endswith("a way to cherish.")


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-W", "ignore::pytest.PytestAssertRewriteWarning"]))
