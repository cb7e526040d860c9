"""Search for bytes that break an invariant: python tests/fuzz/fuzz.py --inputs 10000000 [--seed N]

Coverage guides the search (atheris, from the extra `fuzz`). It begins with the cassettes' bodies and the odd streams,
with their own envelopes, short ones and none, and changes bytes, wire tokens, events and single JSON values. It keeps
inputs that reach new code under `.fuzz/corpus`. A finding is shortened, saved under `.fuzz/` and printed as a line to
copy. `tests/stream/test_fuzz.py` is the short form.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore] # of the extra `fuzz`
import yaml

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

with atheris.instrument_imports(include=["tensorloop_stream"]):
    from invariants import EMPTY_COMPLETION, REQUEST, check_clients, check_decoder, check_read, check_state, check_typed

    from tensorloop_stream import StreamError
from odd_streams import ODD_STREAMS  # noqa: E402 - beside the tests

FOUND = ROOT / ".fuzz"
# Inputs that are worth keeping, also for `differential.py`.
KEPT = Path(__file__).parent / "corpus/sse"
# The inputs that reached new code, in this run and earlier ones.
CORPUS = FOUND / "corpus"
# Long enough for a handful of chunks, short enough for thousands of inputs in a second.
MAX_LENGTH = 600
# Every input is read in several reads. Checks that take several reads, or clients, run for one input in so many.
COMPARED, TYPED, CLIENTS = 32, 12, 1024
# The shortest values: the SDK's types require these fields.
ENVELOPE = {"id": "c", "created": 1, "model": "m", "object": "chat.completion.chunk"}
TOKENS = (
    b"\n\n", b"\r\n", b"\r", b"\n", b"data: ", b"data:", b"event: error\n", b"id: 7\n", b"retry: 5\n", b": ping\n\n",
    b"data: [DONE]\n\n", b"data: null\n\n", b"error: {", b'data: {"error":', b"\xef\xbb\xbf", b"\xf0\x9f", b"\xff",
    b"\\ud83d", b"\\ude00", b"null", b"[]", b"{}", b'""', b"1e999", b"NaN", b"-1", b"9" * 20, b"[" * 40, b"]" * 40,
    b'{"choices":[{"index":0,"delta":{"content":"a"}}]}', b'"tool_calls":[{"index":0,"id":"a","function":',
    b'"finish_reason":"stop"', b'"usage":{"total_tokens":9}', b'"reasoning_content":"a"', b'"object":"error"',
)  # fmt: skip
NAMES = (
    "index", "delta", "role", "content", "refusal", "tool_calls", "function", "custom", "arguments", "input", "name",
    "id", "type", "finish_reason", "logprobs", "usage", "reasoning", "reasoning_content", "reasoning_details",
    "thinking_blocks", "thinking", "signature", "text", "function_call", "audio", "data", "transcript", "message",
    "error", "choices", "annotations", "provider_specific_fields", "code", "error_code", "own", "_fields_set",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, 0, 1, -1, 2**70, 1.5, float("inf"), "", "a", "\ud83d", "\ude00", "stop", "length", "assistant",
    "function", "custom", "thinking", "text", "0", "{}", [], {}, [None], ["a"], {"a": None},
    [{"type": "text", "text": "a"}], [{"type": "thinking", "thinking": "a"}],
    [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}],
    [{"index": 0, "function": {"arguments": "}"}}],
    {"text": "a"}, {"arguments": "a"}, {"thinking_blocks": [{"thinking": "a"}]}, {"content": [{"token": "a"}]},
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield the bodies of cassettes and odd streams, a few events at a time, with long, short and no envelopes."""
    bodies = [b"".join(part for part in odd.reads if isinstance(part, bytes)) for odd in ODD_STREAMS]
    for path in sorted(ROOT.glob("cassettes/**/*.yaml")):
        interactions = yaml.safe_load(path.read_text("utf-8"))["interactions"]
        bodies += [interaction["response"]["body"]["string"].encode() for interaction in interactions]
    bodies += [path.read_bytes() for path in sorted(KEPT.iterdir())]
    for body in bodies:
        events = [event + b"\n\n" for event in body.split(b"\n\n") if event]
        for every in (events, *([within(envelope, event) for event in events] for envelope in (ENVELOPE, {}))):
            yield b"".join(every)[-MAX_LENGTH:]
            for start in range(0, min(len(every), 12), 2):
                yield b"".join(every[start : start + 4])[:MAX_LENGTH]


def within(envelope: dict[str, Any], event: bytes) -> bytes:
    try:
        chunk = json.loads(event.removeprefix(b"data: "))
        own = {name: value for name, value in chunk.items() if name not in {*ENVELOPE, "system_fingerprint"}}
    except (ValueError, AttributeError):
        return event
    return line({**envelope, **own})


def line(chunk: Any) -> bytes:
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


# Changes


def changed(data: bytes, limit: int, seed: int) -> bytes:
    """Return the input after a few changes, by this file or by libFuzzer, which knows the coverage."""
    rng = random.Random(seed)
    if rng.random() < 0.3:
        return bytes(atheris.Mutate(data, limit))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(CHANGES)(data, rng)
    return data[:limit]


def insert_token(data: bytes, rng: random.Random) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + rng.choice(TOKENS) + data[at:]


def cut_out(data: bytes, rng: random.Random) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + data[at + rng.choice((1, 2, 9, 60)) :]


def move_event(data: bytes, rng: random.Random) -> bytes:
    events = data.split(b"\n\n")
    events.insert(rng.randrange(len(events)), rng.choice(events))
    if rng.random() < 0.5:
        events.pop(rng.randrange(len(events)))
    return b"\n\n".join(events)


def other_line_ends(data: bytes, rng: random.Random) -> bytes:
    return data.replace(b"\n", rng.choice((b"\r", b"\r\n")), rng.choice((-1, 1, 3)))


def change_value(data: bytes, rng: random.Random) -> bytes:
    """Change one value of one event's JSON."""
    events = data.split(b"\n\n")
    at = rng.randrange(len(events))
    try:
        chunk = json.loads(events[at].removeprefix(b"data: "))
        places = list(containers(chunk))
        if not places:
            return data
        place = rng.choice(places)
        if isinstance(place, list):
            value = rng.choice((*VALUES, *place))
            if place and rng.random() < 0.5:
                place[rng.randrange(len(place))] = value
            else:
                place.append(value)
        elif place and rng.random() < 0.2:
            del place[rng.choice(list(place))]
        else:
            name = rng.choice(list(place)) if place and rng.random() < 0.5 else rng.choice(NAMES)
            place[name] = rng.choice(VALUES)
        events[at] = line(chunk)[:-2]
    except (ValueError, RecursionError):
        return insert_token(data, rng)
    return b"\n\n".join(events)


def containers(value: Any) -> Iterator[Any]:
    if isinstance(value, (dict, list)):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from containers(item)


CHANGES = (insert_token, cut_out, move_event, other_line_ends, change_value, change_value, change_value)


# Checks


def check(data: bytes, *, everything: bool = False) -> None:
    """Check the invariants, the costly ones for a fixed part of the inputs."""
    chance = zlib.crc32(data)
    places = [chance >> shift & 0x3FF for shift in (12, 21)]
    check_read(data, places, typed=chance % 4 == 0)
    if everything or chance % COMPARED == 0:
        check_decoder(data, places)
        check_state(data, places)
    if everything or chance % TYPED == 0:
        check_typed(data)
    if everything or chance % CLIENTS == 0:
        check_clients(data, places)


def same_finding(data: bytes, where: str) -> bool:
    try:
        check(data, everything=True)
    except Exception as error:  # noqa: BLE001 - any is a finding
        return place_of(error) == where
    return False


def place_of(error: BaseException) -> str:
    """Name a finding by the class of the error and the line that raised it."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"


def shortest(data: bytes, holds: Callable[[bytes], bool]) -> bytes:
    """Remove parts of decreasing size while the finding stays the same."""
    size = len(data) // 2
    while size:
        at = 0
        while at < len(data):
            shorter = data[:at] + data[at + size :]
            if holds(shorter):
                data = shorter
            else:
                at += size
        size //= 2
    return data


class Run:
    """A counter of inputs and findings, which ends the process after the given number."""

    def __init__(self, inputs: int) -> None:
        self.inputs = inputs
        self.done = 0
        self.found: set[str] = set()
        self.began = time.monotonic()

    def __call__(self, data: bytes) -> None:
        try:
            check(data)
        except Exception as error:  # noqa: BLE001 - any is a finding
            if (where := place_of(error)) not in self.found:
                self.found.add(where)
                report(data, where, error)
        self.done += 1
        if self.done % 50_000 == 0 or self.done >= self.inputs:
            rate = self.done / (time.monotonic() - self.began)
            print(f"{self.done:,} inputs, {len(self.found)} findings, {rate:,.0f} a second", flush=True)
        if self.done >= self.inputs:
            # libFuzzer would end the process with its own status.
            os._exit(1 if self.found else 0)


def report(data: bytes, where: str, error: Exception) -> None:
    if same_finding(data, where):
        data = shortest(data, lambda shorter: same_finding(shorter, where))
    FOUND.mkdir(exist_ok=True)
    path = FOUND / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    print(f"\n{where}: {str(error)[:600]}\n    check({data!r}, everything=True)  # saved in {path}\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("saved", nargs="*", type=Path, help="only check these files again")
    arguments = parser.parse_args()
    if arguments.saved:
        for path in arguments.saved:
            check(path.read_bytes(), everything=True)
        return
    # Building an inner error, which the state replaces, would cost more than reading the input.
    StreamError.__init__.__kwdefaults__ = dict.fromkeys(("request_id", "body")) | {
        "partial": EMPTY_COMPLETION,
        "request": REQUEST,
    }
    CORPUS.mkdir(parents=True, exist_ok=True)
    for seed in seeds():
        (CORPUS / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    settings = [f"-seed={arguments.seed}", f"-max_len={MAX_LENGTH}", "-len_control=0", "-reload=0", "-verbosity=0"]
    # libFuzzer saves inputs that kill or hang the process.
    settings += ["-timeout=10", f"-artifact_prefix={FOUND}/"]
    atheris.Setup([sys.argv[0], *settings, str(CORPUS)], Run(arguments.inputs), custom_mutator=changed)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
