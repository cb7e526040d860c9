"""Compare our parsers with others' on random bytes: python tests/fuzz/differential.py sse http --seconds 60 [--seed N]

`sse`: `SSEDecoder` against the decoder of httpx2 and, where node finds it, `eventsource-parser` of npm (`--node FOLDER`
names the folder of its `node_modules`). `http`: the parser of the replay server against h11. The inputs are those of
`tests/fuzz/corpus`, changed. An input on which two parsers differ is saved under `.fuzz/`; once the fault is mended, it
belongs into the corpus, which `tests/stream/test_differential.py` reads.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT)]

import h11  # noqa: E402 - after the path
import httpx2  # noqa: E402

from tensorloop_stream import SSEDecoder  # noqa: E402
from tensorloop_stream.replay._http import BadRequestError, RequestParser  # noqa: E402

CORPUS = HERE / "corpus"
FOUND = ROOT / ".fuzz"
FRAMING = re.compile(rb"content-length:|transfer-encoding:", re.IGNORECASE)
FOLDED = re.compile(rb"\n[ \t]")
BOM = b"\xef\xbb\xbf"
SSE_TOKENS = (
    b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"data", b"data:", b"data: ", b"event: x\n", b"event\n", b"id: 7\n",
    b"id\n", b"id: \0\n", b"retry: 5\n", b": c\n", b":\n", b"  ", b"\t", BOM, b"\xe2\x80\xa8", b"\0",
)  # fmt: skip
HTTP_TOKENS = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b":", b",", b";", b"0\r\n\r\n", b"5\r\nhello\r\n", b"\0", b"\xff",
    b"POST /v1 HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n", b"Host: a\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n",
    b"Content-Length: +5\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"Connection: close\r\n", b"Expect: 100-continue\r\n", b"X : y\r\n", b" folded\r\n", b"5;a=b\r\nhello\r\n",
)  # fmt: skip


def corpus(kind: str) -> list[bytes]:
    """Return the kept inputs of a kind."""
    return [path.read_bytes() for path in sorted((CORPUS / kind).iterdir())]


def changed(inputs: Sequence[bytes], tokens: Sequence[bytes], rng: random.Random) -> bytes:
    """Return one of the inputs after a few changes."""
    data = rng.choice(inputs)
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        at = rng.randint(0, len(data))
        end = min(len(data), at + rng.choice((0, 0, 1, 2, 9)))
        other = rng.choice(inputs)
        start = rng.randint(0, len(other))
        data = (
            data[:at]
            + rng.choice((rng.choice(tokens), rng.choice(tokens), b"", other[start : start + 30]))
            + data[end:]
        )
    return data[:2000]


def cut(data: bytes, rng: random.Random) -> list[bytes]:
    """Return the data in up to four reads."""
    places = sorted(rng.randint(0, len(data)) for _ in range(rng.choice((0, 1, 3))))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


# Server-sent events: the type, the data and the last id of each event that has data

Events = list[tuple[str, str, str]]


def finished(data: bytes) -> bytes:
    """Return bytes that end in a whole line: the others take the end of the bytes for the end of a line.

    Bytes that are not UTF-8 are an error of ours alone.
    """
    return data.decode("utf-8", "ignore").encode() + b":\n"


def events_of_ours(reads: Sequence[bytes]) -> Events:
    decoder = SSEDecoder()
    events = [event for read in reads for event in decoder.feed(read)]
    return [(event.event, event.data, event.id) for event in events if event.data]


def events_of_httpx(reads: Sequence[bytes]) -> Events:
    # The byte order mark, which the standard drops, is a character to httpx2.
    content = b"".join(reads).removeprefix(BOM)
    response = httpx2.Response(
        200,
        headers={"content-type": "text/event-stream; charset=utf-8"},
        content=content,
        request=httpx2.Request("GET", "http://a"),
    )
    return [(event.event, event.data, event.id) for event in httpx2.EventSource(response, None) if event.data]


NODE = """
import { createParser } from 'eventsource-parser'
import { createInterface } from 'node:readline'
for await (const line of createInterface({ input: process.stdin })) {
  const events = [], decoder = new TextDecoder()
  const parser = createParser({ onEvent: (event) => events.push([event.event ?? 'message', event.data]) })
  for (const read of JSON.parse(line)) parser.feed(decoder.decode(Buffer.from(read, 'base64'), { stream: true }))
  console.log(JSON.stringify(events.filter((event) => event[1])))
}
"""


class NodeParser:
    """`eventsource-parser` in a process of node; its events have no last id."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            ["node", "--input-type=module", "-e", NODE],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def events(self, reads: Sequence[bytes]) -> list[tuple[str, str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([base64.b64encode(read).decode() for read in reads]).encode() + b"\n")
        self._process.stdin.flush()
        return [(kind, data) for kind, data in json.loads(self._process.stdout.readline())]

    def close(self) -> None:
        self._process.communicate()


def check_sse(reads: Sequence[bytes], node: NodeParser | None = None) -> None:
    """Check that the decoders find the same events; `reads` are `finished`."""
    ours, httpx = events_of_ours(reads), events_of_httpx(reads)
    assert ours == httpx, f"ours {ours}, httpx2 {httpx}"
    if node is not None:
        plain = [event[:2] for event in ours]
        theirs = node.events(reads)
        assert plain == theirs, f"ours {plain}, eventsource-parser {theirs}"


# HTTP/1.1: the requests, and whether the bytes after them are refused

Requests = tuple[list[tuple[str, str, list[tuple[str, str]], bytes]], bool]


def requests_of_ours(reads: Sequence[bytes]) -> Requests:
    parser = RequestParser()
    found = []
    try:
        for read in reads:
            parser.feed(read)
            while (request := parser.next_request()) is not None:
                target = f"{request.path}?{request.query}" if request.query else request.path
                found.append((request.method, target, sorted(request.headers.items()), request.body))
                if not request.keeps_connection:
                    return found, False
    except BadRequestError:
        return found, True
    return found, False


def requests_of_h11(data: bytes) -> Requests:
    found: list[Any] = []
    while True:
        # The empty line that a server ignores before a request (RFC 9112, section 2.2).
        data = data.removeprefix(b"\r\n") if data.startswith(b"\r\n") else data.removeprefix(b"\n")
        connection = h11.Connection(h11.SERVER)
        try:
            if data:  # to h11, no bytes are the end of the connection
                connection.receive_data(data)
            events: list[Any] = []
            while not events or type(events[-1]) is not h11.EndOfMessage:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    return found, False
                if isinstance(event, h11.Request) and is_refused(event):
                    return found, True
                events.append(event)
        except h11.RemoteProtocolError:
            return found, True
        request = events[0]
        body = b"".join(bytes(event.data) for event in events if isinstance(event, h11.Data))
        target = request.target.decode()
        found.append((request.method.decode(), target.removesuffix("?"), joined(request.headers), body))
        if connection.our_state is h11.MUST_CLOSE or connection.their_state is h11.MUST_CLOSE:
            return found, False
        data = connection.trailing_data[0]


def is_refused(request: Any) -> bool:
    """Tell whether a request that h11 takes is one that a server may refuse, and ours refuses."""
    names = [name for name, _ in request.headers]
    target = request.target
    return (
        not (target.startswith((b"/", b"http://")) or target == b"*")
        or not request.http_version.startswith(b"1.")
        or names.count(b"content-length") > 1
        or {b"content-length", b"transfer-encoding"} <= set(names)
    )


def joined(headers: Any) -> list[tuple[str, str]]:
    """Return the headers with repeated ones joined."""
    found: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return sorted(found.items())


def check_http(reads: Sequence[bytes]) -> None:
    """Check that the parsers find the same requests, and refuse the same bytes."""
    data = b"".join(reads)
    ours, theirs = requests_of_ours(reads), requests_of_h11(data)
    # Ours refuses a line at once and h11 a whole head; h11 refuses a first byte at once and ours a whole line.
    if ours[1] and not theirs[1]:
        theirs = requests_of_h11(data + b"\r\n\r\n")
    elif theirs[1] and not ours[1]:
        ours = requests_of_ours([*reads, b"\r\n\r\n"])
    shorter = min(len(ours[0]), len(theirs[0]))
    if ours[0][:shorter] == theirs[0][:shorter] and (FOLDED.search(data) or len(FRAMING.findall(data)) > 1):
        # Ours refuses a folded line, and a length that is repeated, which h11 joins; h11 checks the trailers' framing.
        return
    assert ours == theirs, f"ours {ours}, h11 {theirs}"


# The search


def report(kind: str, reads: Sequence[bytes], error: AssertionError) -> None:
    data = b"".join(reads)
    FOUND.mkdir(exist_ok=True)
    path = FOUND / f"{kind}-{hashlib.sha256(data).hexdigest()[:16]}"
    path.write_bytes(data)
    print(f"{kind}: {error}\n    {list(reads)!r}  # saved in {path}\n", flush=True)


def search(kind: str, check: Callable[[list[bytes]], None], rng: random.Random, seconds: float) -> int:
    """Check changed inputs for some time, and return the number of findings."""
    inputs, tokens = corpus(kind), SSE_TOKENS if kind == "sse" else HTTP_TOKENS
    until, done, findings = time.monotonic() + seconds, 0, 0
    while time.monotonic() < until and findings < 20:
        data = changed(inputs, tokens, rng)
        reads = cut(finished(data) if kind == "sse" else data, rng)
        try:
            check(reads)
        except AssertionError as error:
            findings += 1
            report(kind, reads, error)
        done += 1
    print(f"{kind}: {done:,} inputs, {findings} findings", flush=True)
    return findings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="+", choices=("sse", "http"))
    parser.add_argument("--seconds", type=float, default=60, help="for each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--node", type=Path, help="the folder in which eventsource-parser is installed")
    arguments = parser.parse_args()
    node = None if arguments.node is None else NodeParser(arguments.node)
    findings = 0
    for kind in arguments.kinds:
        check: Any = check_http if kind == "http" else lambda reads: check_sse(reads, node)
        findings += search(kind, check, random.Random(arguments.seed), arguments.seconds)
    if node is not None:
        node.close()
    raise SystemExit(findings > 0)


if __name__ == "__main__":
    main()
