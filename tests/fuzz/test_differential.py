"""Our parsers and others' agree on the kept inputs, and on some random ones; `differential.py` is the long form."""

from __future__ import annotations

import random

import pytest
import requirements
from differential import (
    HTTP_TOKENS,
    SSE_TOKENS,
    changed,
    check_http,
    check_sse,
    corpus,
    cut,
    events_of_ours,
    finished,
    requests_of_ours,
)


@pytest.mark.parametrize("seed", range(4))
def test_the_decoder_agrees_with_that_of_httpx2(seed: int) -> None:
    """Both find the same events, wherever the reads are cut."""
    rng, inputs = random.Random(seed), corpus("sse")
    inputs += [changed(inputs, SSE_TOKENS, rng) for _ in range(requirements.scaled(1000))]

    for data in inputs:
        check_sse(cut(finished(data), rng))


@pytest.mark.parametrize("seed", range(4))
def test_the_replay_parser_agrees_with_h11(seed: int) -> None:
    """Both find the same requests, and refuse the same bytes."""
    rng, inputs = random.Random(seed), corpus("http")
    inputs += [changed(inputs, HTTP_TOKENS, rng) for _ in range(requirements.scaled(1000))]

    for data in inputs:
        check_http(cut(data, rng))


@pytest.mark.parametrize("read_size", [1, 2, 3, 7])
def test_the_cut_changes_nothing(read_size: int) -> None:
    """The kept inputs give the same events and requests in reads of any size."""
    for kind, parse in (("sse", events_of_ours), ("http", requests_of_ours)):
        for data in map(finished, corpus(kind)) if kind == "sse" else corpus(kind):
            reads = [data[start : start + read_size] for start in range(0, len(data), read_size)]

            assert parse(reads) == parse([data])
