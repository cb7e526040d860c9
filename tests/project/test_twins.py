"""The twins: synchronous and asynchronous streams are the same but for the waiting."""

from __future__ import annotations

import ast
import difflib
import re
from pathlib import Path

import tensorloop_stream

ENGINE = Path(tensorloop_stream.__file__).parent / "_stream"
# The words of asynchronous code, and those of the same in synchronous code.
SUBSTITUTIONS = [
    (r"\bawait ", ""),
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bAsyncStreamBase\b", "SyncStream"),
    (r"\bAsyncReader\b", "SyncReader"),
    (r"\bAsync(Stream|Source|Iterator|Iterable)\b", r"\1"),
    (r"\bStopAsyncIteration\b", "StopIteration"),
    (r"\basync_source_of_sdk\b", "source_of_sdk"),
    (r"\bopen_async_source\b", "open_source"),
    (r"\b_current_task\b", "get_ident"),
    (r"\b__a(iter|next|enter|exit)__\b", r"__\1__"),
    (r"\ba(iter|next)\(", r"\1("),
]
# The parts that may differ, and the reason.
MAY_DIFFER = {
    "_read": "a blocked read is woken by an alarm here, and cancelled there",
    "open": "an awaitable opens a stream, too",
    "_from_sdk": "timeouts need a socket in synchronous code alone",
    "begin": "timeouts need a socket in synchronous code alone",
    "_drain": "the time to drain is limited by an alarm here, and by a cancel scope there",
    "_run": "a callback may be awaited",
    "_close_source": "an opening that is awaited is cancelled",
    "_close": "closing is shielded from cancellation, and a generator is closed by another name",
    "_leave": "a coroutine that is closed must not wait",
    "__init__": "a reader has an alarm here, and an opening there",
    "__del__": "a connection cannot be closed there",
    "_take_over": "a new timeout needs an alarm",
    "_set_timeouts": "a new timeout needs an alarm",
    "_recover": "the back-off blocks here",
    "text_stream": "an asynchronous generator that is left ends in another task (openai-python#503)",
}
ONLY_SYNC: set[str] = set()
ONLY_ASYNC = {"_opened", "aclose"}


def functions(path: Path) -> dict[str, list[str]]:
    """Return the methods of the readers and the streams, by class and name, as lines without docstrings."""
    text = path.read_text("utf-8")
    for pattern, replacement in SUBSTITUTIONS:
        text = re.sub(pattern, replacement, text)
    found: dict[str, list[str]] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef) and node.name in {"SyncReader", "SyncStream"}:
            for each in node.body:
                if isinstance(each, ast.FunctionDef):
                    body = each.body[1:] if ast.get_docstring(each) else each.body
                    lines = [ast.unparse(each.args), *(ast.unparse(statement) for statement in body)]
                    found[f"{node.name}.{each.name}"] = "\n".join(lines).splitlines()
    return found


SYNC, ASYNC = (
    functions(ENGINE / f"{kind}_reader.py") | functions(ENGINE / f"{kind}_stream.py") for kind in ("sync", "async")
)


def test_the_twins_have_the_same_methods_in_the_same_order() -> None:
    """A reader of one finds their way in the other."""
    in_sync = [name for name in SYNC if name.partition(".")[2] not in ONLY_SYNC]
    in_async = [name for name in ASYNC if name.partition(".")[2] not in ONLY_ASYNC]

    assert in_sync == in_async


def test_the_twins_differ_only_where_they_may() -> None:
    """A decision that one of them has alone is a bug in the other."""
    differences = [
        line
        for name in SYNC.keys() & ASYNC.keys()
        if name.partition(".")[2] not in MAY_DIFFER
        for line in difflib.unified_diff(SYNC[name], ASYNC[name], f"sync {name}", f"async {name}", lineterm="", n=0)
    ]

    assert differences == []


def test_every_exception_is_one() -> None:
    """A part that has become the same leaves the list."""
    differ = {name.partition(".")[2] for name in SYNC.keys() & ASYNC.keys() if SYNC[name] != ASYNC[name]}

    assert differ == set(MAY_DIFFER)


def test_the_transports_have_the_same_methods_in_the_same_order() -> None:
    """The transport for asyncio does what the other one does; the decisions are in modules without I/O."""
    found = []
    for name in ("sync_transport", "async_transport"):
        text = (ENGINE.parent / "_transport" / f"{name}.py").read_text("utf-8")
        for pattern, replacement in (*SUBSTITUTIONS, (r"\b(handle_)async_", r"\1"), (r"\baclose\b", "close")):
            text = re.sub(pattern, replacement, text)
        classes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
        found.append(
            [
                (each.name.replace("Async", ""), method.name)
                for each in classes
                for method in each.body
                if isinstance(method, ast.FunctionDef) and method.name not in {"__init__", "__next__"}
            ]
        )

    assert found[0] == found[1]
