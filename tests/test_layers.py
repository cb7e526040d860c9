from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tensorloop_stream

PACKAGE = Path(tensorloop_stream.__file__).parent
# Which rooms each room may enter. Arrows run one way: nothing below enters anything above it.
FLOORS = [
    (
        "_errors",
        "_picture",
        "_markdown",
        "_settings",
        "_callbacks",
        "_watchdog",
        "_fields",
        "_template",
        "_limits",
    ),
    ("_timing", "_shown", "_sources", "_sse", "_chunks", "_tool_calls"),
    ("_logprobs", "_failures", "_copies"),
    ("_choice", "_prompts"),
    ("_accumulation", "_answer_file"),
    ("_alike", "_accumulator", "_telling"),
    ("_core",),
    ("_passage", "_view"),
    ("_stream", "_async_stream"),
    ("_resources", "_forward"),
    ("_client", "_forward_app"),
    ("_printer", "prompts"),
    ("notebook", "prompts_dask", "__init__"),
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
# What waits, listens, reads files or variables belongs to the edge.
WAITS = {"anyio", "asyncio", "socket", "ssl", "threading", "os", "dotenv", "httpx2"}
PURE = (
    "_sse",
    "_chunks",
    "_fields",
    "_tool_calls",
    "_logprobs",
    "_template",
    "_copies",
    "_alike",
    "_choice",
    "_accumulation",
    "_accumulator",
    "_telling",
    "_failures",
    "_prompts",
    "_core",
    "_passage",
    "_timing",
    "_picture",
    "_markdown",
    "_shown",
)


def imports(path: Path) -> set[str]:
    """Return what a module imports when it runs, `_name` for its own package."""
    found = set()
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_arrows_run_one_way(path: Path) -> None:
    """A module enters only rooms on floors below its own."""
    entered = {name for name in imports(path) if name in FLOOR}

    assert path.stem in FLOOR, f"{path.name} has no floor yet"
    assert all(FLOOR[name] < FLOOR[path.stem] for name in entered), entered


@pytest.mark.parametrize("name", PURE)
def test_the_core_knows_no_waiting(name: str) -> None:
    """Decisions are made without sockets, event loops, threads, files or variables."""
    assert not imports(PACKAGE / f"{name}.py") & WAITS


@pytest.mark.parametrize("name", PURE)
def test_the_core_has_no_await(name: str) -> None:
    """Sync and async share every decision."""
    tree = ast.parse((PACKAGE / f"{name}.py").read_text("utf-8"))

    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.Await, ast.AsyncFor, ast.AsyncWith))]


# As above, for the package of its own.
RESUMABLE_FLOORS = [
    ("_entries", "_commands"),
    ("_keys", "_reading"),
    ("_log",),
    ("_follower", "_producer"),
    ("_hub",),
    ("_streams",),
    ("__init__",),
]
RESUMABLE = {name: number for number, names in enumerate(RESUMABLE_FLOORS) for name in names}


@pytest.mark.parametrize("name", RESUMABLE)
def test_arrows_run_one_way_in_the_resumable_streams(name: str) -> None:
    """A module enters only rooms on floors below its own, and what decides knows no waiting."""
    entered = imports(PACKAGE / f"resumable/{name}.py")

    assert {path.stem for path in PACKAGE.glob("resumable/*.py")} == set(RESUMABLE)
    assert all(RESUMABLE[other] < RESUMABLE[name] for other in entered if other in RESUMABLE)
    assert name != "_entries" or not entered & WAITS


def test_the_replay_knows_nothing_of_the_streams() -> None:
    """A server that tests clients must not share their code."""
    for path in sorted(PACKAGE.glob("replay/*.py")):
        names = imports(path)

        assert not names & (set(FLOOR) | {"openai", "httpx2", "tensorloop_stream"} - {"__init__"}), path.name


def test_the_public_names_are_sorted_and_there() -> None:
    """`__all__` is the public interface, and nothing else is in the package's top."""
    constants = [name for name in tensorloop_stream.__all__ if name.isupper()]
    others = [name for name in tensorloop_stream.__all__ if not name.isupper()]

    assert tensorloop_stream.__all__ == [*sorted(constants), *sorted(others)]
    assert all(getattr(tensorloop_stream, name).__doc__ for name in tensorloop_stream.__all__)
