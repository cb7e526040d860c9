"""The command line of the check."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from openai import OpenAIError

from tensorloop_stream._client import Tensorloop

from ._ask import ask_models, ask_stream, proxy_for
from ._findings import Finding, findings_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PROGRAM = "python -m tensorloop_stream.check"
_LABEL = 12


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check on the settings of a `Tensorloop` client; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        client = Tensorloop(base_url=options.base_url, max_retries=0, timeout=options.timeout)
    except OpenAIError as error:
        sys.stderr.write(f"{_PROGRAM}: {error}\n")
        return 2
    problems = 0
    with client:
        for finding in _check(client, options.model):
            sys.stdout.write(f"{finding.label:<{_LABEL}} {finding.text}\n")
            sys.stdout.flush()
            problems += finding.is_problem
    return 1 if problems else 0


def _check(client: Tensorloop, model: str) -> Iterator[Finding]:
    """Yield one finding after the other, as soon as it is known."""
    yield Finding("base URL", str(client.base_url).rstrip("/"))
    if proxy := proxy_for(client.base_url):
        yield Finding("proxy", proxy)
    for finding in ask_models(client):
        yield finding
        if finding.is_problem:
            return
    yield from findings_of(ask_stream(client, model), model)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Say in about ten lines what a base URL, a key and the proxies between make of a stream. The key "
        "is TENSORLOOP_KEY, also from a .env file. One short answer is asked for, at your cost. The exit status is 0 "
        "if the stream is as it should be, 1 if not, 2 if nothing could be asked.",
        allow_abbrev=False,
    )
    parser.add_argument("--base-url", metavar="URL", help="default: TENSORLOOP_BASE_URL, else Tensorloop's")
    parser.add_argument("--model", default="gpt-4o-mini", help="the model to ask (default: %(default)s)")
    parser.add_argument(
        "--timeout", metavar="S", type=float, default=60.0, help="seconds to wait for a byte (default: %(default)g)"
    )
    return parser
