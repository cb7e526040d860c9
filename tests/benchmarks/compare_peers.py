"""Read every odd stream with this package and with its peers, and print as Markdown which of them are right.

Each peer reads the same bytes from the same loopback server in its own process, the way its documentation reads a
stream: `ChatStream(...).get_final_completion()`, openai's `.stream()` helper, litellm's `completion` with
`stream_chunk_builder`, langchain-openai's `astream` with the chunks added up, pydantic-ai's `model_request_stream`.
The same rules hold for all, and in doubt they favour the peer:

- A whole answer is **right** if the text, the names, arguments and ids of the tool calls and the finish reason are
  right, and with them the field that the stream is about. Arguments are equal if their JSON is; in the SDK's own form
  they must be text. A peer may use its own words for a finish reason, but not invent one; it may invent a missing id.
- The field that the stream is about counts under any name and in any place of the peer's result: all its values must
  be found. A field that neither the answer nor the next turn needs (an id, a fingerprint, a field of the gateway's
  own) may also be missing, but not wrong.
- A broken stream is **right** if the peer raises any error about it; partial data need not be present. A programming
  error (`TypeError`, `IndexError`, `AssertionError` and the like) is **raises**, no error is **unnoticed**.
- For whole answers, a wrong result is **wrong**, an exception is **raises**. More than four seconds is **hangs**.

Streams that were made by hand are omitted. Run: `python tests/benchmarks/compare_peers.py`, after
`pip install -e .[test,peers]`. A peer that cannot be imported beside the rest (litellm needs another openai) gets
its own environment under `.recording/peers`, made in the first run. `--summary` prints the totals alone, `--reasons`
also the faults; `--environment NAME=FOLDER` uses an existing environment. `--page > .docs/comparison.md` writes the
page of the documentation.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

from chunks import HELLO, sse  # noqa: E402
from odd_server import OddServer  # noqa: E402 - beside the tests
from odd_streams import ODD_STREAMS, OddStream  # noqa: E402

STREAMS = [odd for odd in ODD_STREAMS if not odd.seen.startswith("by hand")]
PLAIN = OddStream("nothing odd", "", (sse(*HELLO),), {})
HANGS_AFTER = 4
# Some take long for their import and their first answer.
BEGINS_WITHIN = 120
RIGHT, WRONG, RAISES, UNNOTICED, HANGS = "right", "wrong", "raises", "unnoticed", "hangs"
# A conversation cannot continue without these, or its answer is not the requested one.
NEEDED = {
    "annotations",
    "audio",
    "content",
    "extra_content",
    "function_call",
    "images",
    "logprobs",
    "reasoning",
    "reasoning_details",
    "refusal",
    "thinking_blocks",
}
# Fields that distinguish, and carry no content.
LABELS = {"type", "format", "index", "id", "bytes", "logprob", "expires_at"}
# The only such field that must be sent back unchanged.
KEPT_LABEL = "format"
PROGRAMMING = {"AssertionError", "AttributeError", "IndexError", "KeyError", "TypeError", "UnboundLocalError"}
FINISH_REASONS = {"stop", "length", "tool_calls", "content_filter", "function_call"}
OWN_WORDS = {"tool_call": "tool_calls", "function_call": "tool_calls"}


@dataclass(frozen=True, slots=True)
class Peer:
    """A library, the module that shows whether it is installed, and the packages to install otherwise."""

    name: str
    module: str
    requirement: str = ""


PEERS = (
    Peer("tensorloop_stream", "tensorloop_stream"),
    Peer("openai", "openai"),
    Peer("litellm", "litellm", "litellm==1.110.2"),
    Peer("langchain-openai", "langchain_openai", "langchain-openai==1.7.4"),
    Peer("pydantic-ai", "pydantic_ai", "pydantic-ai-slim[openai]==2.68.0"),
)


@dataclass(slots=True)
class Reader:
    """The process in which a peer reads, restarted after a hang."""

    name: str
    python: str
    # The address of a stream that is not odd.
    plain: str = ""
    version: str = ""
    _process: subprocess.Popen[str] | None = None
    _answers: queue.Queue[str] = field(default_factory=queue.Queue)

    def read(self, url: str, odd: OddStream) -> dict[str, Any] | None:
        """Return the peer's result for a stream, or `None` if the peer hangs."""
        process = self._process or self._begun()
        self._ask(process, url, odd.idle_timeout, max(1, len(odd.expected["choices"])))
        try:
            answer: dict[str, Any] = json.loads(self._answers.get(timeout=HANGS_AFTER))
        except queue.Empty:
            self.close()
            return None
        return answer

    def _ask(self, process: subprocess.Popen[str], url: str, timeout: float | None, count: int) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps({"url": url, "timeout": timeout, "count": count}) + "\n")
        process.stdin.flush()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _begun(self) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
        process = subprocess.Popen(
            [self.python, str(ROOT / "tests/benchmarks/peers.py"), self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self._process, self._answers = process, queue.Queue()
        threading.Thread(target=_forward, args=(process, self._answers), daemon=True).start()
        self.version = json.loads(self._answers.get(timeout=BEGINS_WITHIN))
        self._ask(process, self.plain, None, 1)
        self._answers.get(timeout=BEGINS_WITHIN)
        return process


def _forward(process: subprocess.Popen[str], answers: queue.Queue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        answers.put(line)


# Judging


def judge(odd: OddStream, answer: dict[str, Any] | None) -> tuple[str, str]:
    """Return the verdict and its reason."""
    if answer is None:
        return HANGS, f"nothing within {HANGS_AFTER} s"
    error = answer.get("error")
    if odd.error:
        if error is None:
            return UNNOTICED, f"no error, text {answer['text']!r}, finish reason {answer.get('finish_reason')!r}"
        return (RAISES, told(answer)) if error in PROGRAMMING else (RIGHT, "")
    if error is not None:
        # For an answer that reports itself as broken, returning it and raising are both right.
        says_so = bool(odd.expected["choices"]) and odd.expected["choices"][0]["finish_reason"] == "error"
        return (RIGHT, "") if says_so and error not in PROGRAMMING else (RAISES, told(answer))
    reasons = [reason for check in CHECKS for reason in check(odd, answer)]
    return (WRONG, "; ".join(reasons)) if reasons else (RIGHT, "")


def told(answer: dict[str, Any]) -> str:
    return f"{answer['error']}: {answer.get('says', '')}"


def check_text(odd: OddStream, answer: dict[str, Any]) -> Iterator[str]:
    if answer["text"] != odd.text:
        yield f"text {answer['text']!r}, not {odd.text!r}"


def check_choices(odd: OddStream, answer: dict[str, Any]) -> Iterator[str]:
    wanted = [choice["message"]["content"] for choice in odd.expected["choices"]]
    if len(wanted) > 1 and answer.get("choices") != wanted:
        yield f"choices {answer.get('choices')}, not {wanted}"


def check_tool_calls(odd: OddStream, answer: dict[str, Any]) -> Iterator[str]:
    wanted = [called(call) for call in odd.expected["choices"][0]["message"].get("tool_calls", ())]
    # Some peers keep them raw and parsed: either may be right.
    forms = [answer[form] for form in ("tool_calls", "parsed_calls") if form in answer]
    got = [[(known and str(known), name, as_json(text)) for known, name, text in form] for form in forms]
    if not any(agree(wanted, form) for form in got or [[]]):
        yield f"tool calls {got}, not {wanted}"


def agree(wanted: list[tuple[Any, ...]], got: list[tuple[Any, ...]]) -> bool:
    """Tell whether the calls are equal; a peer may invent a missing id."""
    fair = [(known[0] or one[0], *known[1:]) for known, one in zip(wanted, got, strict=False)]
    return len(wanted) == len(got) and fair == got


def called(call: dict[str, Any]) -> tuple[Any, Any, Any]:
    inner = call.get("function") or call["custom"]
    return call.get("id"), inner["name"], as_json(inner.get("arguments", inner.get("input")))


def as_json(arguments: Any) -> Any:
    """Return the value of arguments that are JSON; missing arguments equal empty ones."""
    if not isinstance(arguments, str):
        return "" if arguments is None else arguments
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def check_finish_reason(odd: OddStream, answer: dict[str, Any]) -> Iterator[str]:
    choice = odd.expected["choices"][0]
    wanted, got = choice["finish_reason"], answer.get("finish_reason")
    if wanted and wanted not in FINISH_REASONS:
        return
    fair = {wanted, OWN_WORDS.get(wanted, wanted)}
    if choice["message"].get("tool_calls"):
        # The same service sends it without streaming, too.
        fair.add("tool_calls")
    if choice["message"].get("refusal"):
        fair.add("content_filter")
    if OWN_WORDS.get(str(got), got) not in fair:
        yield f"finish reason {got!r}, not {wanted!r}"


def check_told(odd: OddStream, answer: dict[str, Any]) -> Iterator[str]:
    choice = odd.expected["choices"][0]
    calls = choice["message"].get("tool_calls", ())
    places = ({"reasoning": odd.reasoning}, choice["message"], choice, odd.expected, *calls)
    for name in odd.about:
        wanted: Any = next((place[name] for place in places if name in place), None)
        if name == "usage":
            used, elsewhere = counts(wanted), [counts(one) for one in named(answer["dump"], name)]
            if answer.get("usage") != used and used not in elsewhere:
                yield f"usage {answer.get('usage')}, not {used}"
        elif name in NEEDED:
            missing = [leaf for leaf in leaves(wanted) if leaf not in list(leaves(answer["dump"]))]
            if missing:
                yield f"{name} lost: {missing}"
            label, labels = next(named(wanted, KEPT_LABEL), None), list(named(answer["dump"], KEPT_LABEL))
            if label and labels and label not in labels:
                yield f"{KEPT_LABEL} {labels}, not {label!r}"
        elif wanted is not None:
            found = list(named(answer["dump"], name))
            if any(found) and wanted not in found:
                yield f"{name} {found}, not {wanted!r}"


def counts(usage: Any) -> list[Any] | None:
    """Return the tokens that a usage in the SDK's form counts."""
    return [usage.get("prompt_tokens"), usage.get("completion_tokens")] if isinstance(usage, dict) else None


def leaves(value: Any) -> Iterator[Any]:
    """Yield the values in a structure that are not empty."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name not in LABELS:
                yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif value not in (None, ""):
        yield value


def named(value: Any, name: str) -> Iterator[Any]:
    """Yield the values under a name anywhere in a structure."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == name:
                yield item
            else:
                yield from named(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from named(item, name)


CHECKS: tuple[Callable[[OddStream, dict[str, Any]], Iterator[str]], ...] = (
    check_text,
    check_choices,
    check_tool_calls,
    check_finish_reason,
    check_told,
)

# Running


def python_for(peer: Peer, environments: dict[str, str]) -> str:
    """Return the interpreter of an environment that has the peer."""
    if peer.name in environments:
        return str(Path(environments[peer.name], "bin/python"))
    if importlib.util.find_spec(peer.module):
        return sys.executable
    folder = ROOT / ".recording/peers" / peer.name
    ready = folder / "installed.txt"
    if not ready.exists() or ready.read_text() != peer.requirement:
        print(f"making {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin/python", "-m", "pip", "--quiet", "install", peer.requirement], check=True)
        # Written last, so that an interrupted installation is repeated.
        ready.write_text(peer.requirement)
    return str(folder / "bin/python")


def compare(readers: Sequence[Reader], streams: Sequence[OddStream]) -> list[list[tuple[str, str]]]:
    """Return the verdicts, a row for each stream."""
    with OddServer((*streams, PLAIN)) as server:
        for reader in readers:
            reader.plain = server.url(len(streams))
        return [
            [judge(odd, reader.read(server.url(number), odd)) for reader in readers]
            for number, odd in enumerate(streams)
        ]


def table(readers: Sequence[Reader], streams: Sequence[OddStream], rows: list[list[tuple[str, str]]]) -> Iterator[str]:
    yield "| stream | " + " | ".join(f"{reader.name} {reader.version}" for reader in readers) + " |"
    yield "|---" * (len(readers) + 1) + "|"
    for odd, row in zip(streams, rows, strict=True):
        yield f"| {odd.name} | " + " | ".join(classify_error for classify_error, _ in row) + " |"
    yield (
        f"| **right, of {len(rows)}** | "
        + " | ".join(f"**{count(rows, at, RIGHT)}**" for at in columns(readers))
        + " |"
    )


def summary(readers: Sequence[Reader], rows: list[list[tuple[str, str]]]) -> Iterator[str]:
    kinds = (RIGHT, WRONG, UNNOTICED, RAISES, HANGS)
    yield f"| of {len(rows)} streams | " + " | ".join(kinds) + " |"
    yield "|---" * (len(kinds) + 1) + "|"
    for at, reader in enumerate(readers):
        yield f"| {reader.name} {reader.version} | " + " | ".join(str(count(rows, at, kind)) for kind in kinds) + " |"


def page(readers: Sequence[Reader], streams: Sequence[OddStream], rows: list[list[tuple[str, str]]]) -> Iterator[str]:
    """Yield the lines of the documentation's page."""
    yield "# Who gets it right"
    yield ""
    yield f"{len(rows)} odd but real streams, from the same server, read by each library as its documentation says."
    yield "`tests/support/odd_streams` says where each was seen."
    yield ""
    yield from summary(readers, rows)
    yield ""
    yield f"`python tests/benchmarks/compare_peers.py --page`, {told_of_run()}"
    yield ""
    yield "*Unnoticed* is a broken stream that was returned as if it were whole. *Raises* is a programming error, such"
    yield "as a `TypeError`, or any error about a whole answer."
    yield ""
    yield "The list was chosen here, and this package was mended against it: its own column is by construction."
    yield "The rule by which a result is judged stands in the script. In doubt it is for the peer."
    yield ""
    yield "[How events become one response](events.rst) has the same comparison for the Responses API."
    yield ""
    yield "## Stream by stream"
    yield ""
    yield from table(readers, streams, rows)


def told_of_run() -> str:
    return f"Python {sys.version.split()[0]}, {datetime.now(UTC):%Y-%m-%d}."


def columns(readers: Sequence[Reader]) -> range:
    return range(len(readers))


def count(rows: list[list[tuple[str, str]]], at: int, kind: str) -> int:
    return sum(row[at][0] == kind for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--summary", action="store_true", help="print the totals alone")
    parser.add_argument("--page", action="store_true", help="print the page of the documentation")
    parser.add_argument("--reasons", action="store_true", help="also say what was wrong")
    parser.add_argument("--environment", action="append", default=[], metavar="NAME=FOLDER", help="use this one")
    arguments = parser.parse_args()
    environments = dict(one.split("=", 1) for one in arguments.environment)
    readers = [Reader(peer.name, python_for(peer, environments)) for peer in PEERS]
    try:
        rows = compare(readers, STREAMS)
    finally:
        for reader in readers:
            reader.close()
    if arguments.page:
        print("\n".join(page(readers, STREAMS, rows)))
        return
    if not arguments.summary:
        print("\n".join(table(readers, STREAMS, rows)), end="\n\n")
    print("\n".join(summary(readers, rows)))
    print(f"\n{told_of_run()}")
    if arguments.reasons:
        for odd, row in zip(STREAMS, rows, strict=True):
            for reader, (classify_error, reason) in zip(readers, row, strict=True):
                if reason:
                    print(f"\n{odd.name}\n  {reader.name}: {classify_error}: {reason}")


if __name__ == "__main__":
    main()
