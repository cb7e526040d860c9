"""Odd but real streams of the Responses API become the answer that they should, in both clients, however cut."""

from __future__ import annotations

import json

import pytest
from clients import Body
from odd_responses import ODD_RESPONSES, OddResponse
from test_response_stream import MODES, both, client_of, read

from tensorloop_stream import StreamError

every = pytest.mark.parametrize("odd", ODD_RESPONSES, ids=[odd.name for odd in ODD_RESPONSES])


@every
@both
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [7, 100_000])
async def test_an_odd_stream_is_read_right(odd: OddResponse, kind: str, mode: str, size: int) -> None:
    """Its text, its calls, its reasoning and its end."""
    parts = [odd.body[start : start + size] for start in range(0, len(odd.body), size)]
    client = client_of(kind, Body(parts))
    opened, items, error = await read(kind, lambda: client.responses.create(model="m", input="x", stream=True), mode)
    calls = [(each.name, json.loads(each.arguments)) for each in opened.tool_calls]

    assert isinstance(error, StreamError) == odd.is_broken
    assert (opened.text, opened.reasoning, opened.refusal) == (odd.text, odd.reasoning, odd.refusal)
    assert calls == [(name, json.loads(arguments)) for name, arguments in odd.calls]
    assert odd.status in {None, opened.status}
    if mode == "text":
        assert "".join(items) == (odd.text if odd.told is None else odd.told)
    assert {name: getattr(opened.snapshot, name) for name in odd.fields} == odd.fields
