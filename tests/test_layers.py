"""The house: which part of the package may import which, and which parts do no I/O."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tensorloop_stream

PACKAGE = Path(tensorloop_stream.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# Each part, and the parts that it may import beside those that these may import. A part is a folder or a module.
ALLOWED: dict[str, set[str]] = {
    "_errors": set(),
    "_timing_chart": set(),
    "_callbacks": set(),
    "_stream.settings": set(),
    "_stream.watchdog": set(),
    "replay": set(),
    "_sse": {"_errors"},
    "_timing": {"_timing_chart"},
    "_stream": {"_sse", "_errors", "_callbacks", "_timing", "_stream.settings", "_stream.watchdog"},
    "_chat": {"_stream"},
    "_forward": {"_chat"},
    "_display": {"_chat"},
    "_stream_classes": {"_chat"},
    "_client": {"_stream_classes"},
    "check": {"_client"},
    "notebook": {"_display"},
    "prompts": {"_chat"},
    "prompts_dask": {"prompts", "_client"},
    "resumable": {"_forward"},
}
# What waits, listens, reads files or variables belongs to the edge.
WAITS = {"anyio", "asyncio", "socket", "ssl", "threading", "os", "dotenv", "httpx2"}
PURE = (
    "_callbacks",
    "_sse",
    "_timing",
    "_timing_chart",
    "_stream.state",
    "_stream.translate",
    "_forward.observer",
    "_display.answer_view",
    "_display.markdown",
    "prompts.jsonl",
    "resumable._log_format",
    *(f"_chat.{path.stem}" for path in PACKAGE.glob("_chat/[!_]*.py")),
    *(f"_chat.fast_path.{path.stem}" for path in PACKAGE.glob("_chat/fast_path/[!_]*.py")),
)
# Arrows of the old house that the next steps turn round.
NOT_YET = {"_stream.state", "_stream.translate", "_telling", "_timing_chart"}


def name_of(path: Path) -> str:
    """Return the dotted name of a module inside the package; empty for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in MODULES}


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of each module that a module imports, `tensorloop_stream` and all; for types too."""
    package = ["tensorloop_stream", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            # `from package import module` imports that module.
            yield from (f"{module}.{alias.name}" for alias in node.names)


def ours(path: Path) -> set[str]:
    """Return which modules of the package a module imports."""
    found = set()
    for name in imports(path):
        inside = name.partition("tensorloop_stream")[2].strip(".") if name.startswith("tensorloop_stream") else None
        while inside is not None and inside not in NAMES:
            inside = inside.rpartition(".")[0]
        if inside:
            found.add(inside)
    return found - {name_of(path)}


def part_of(name: str) -> str:
    """Return the part that a module belongs to: itself where it has rules of its own, else its folder."""
    return name if name in ALLOWED else name.partition(".")[0]


def reachable(part: str) -> set[str]:
    """Return the parts that a part may import, directly or through those that it may import."""
    found = set(ALLOWED[part])
    for other in ALLOWED[part]:
        found |= reachable(other)
    return found


@pytest.mark.parametrize("name", [name for name in NAMES if name and name not in NOT_YET])
def test_a_module_imports_only_parts_below_its_own(name: str) -> None:
    """Arrows run one way, as the folders say."""
    part = part_of(name)
    entered = {part_of(other) for other in ours(NAMES[name])} - {part}

    assert part in ALLOWED, f"{name} belongs to no part"
    assert entered <= reachable(part)


def test_the_top_level_is_small() -> None:
    """A reader meets at most twelve modules beside the packages."""
    assert len(list(PACKAGE.glob("*.py"))) <= 13  # with `__init__`


@pytest.mark.parametrize("name", PURE)
def test_what_decides_does_no_io(name: str) -> None:
    """Decisions are made without sockets, event loops, threads, files or variables; sync and async share them."""
    tree = ast.parse(NAMES[name].read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    used = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    used |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}

    assert not {module.partition(".")[0] for module in used} & WAITS
    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.Await, ast.AsyncFor, ast.AsyncWith))]


def test_the_replay_shares_no_code_with_what_it_tests() -> None:
    """A server that tests clients must not agree with them by construction."""
    for path in sorted(PACKAGE.glob("replay/**/*.py")):
        names = {name.partition(".")[0] for name in imports(path)}

        assert not names & {"openai", "httpx2"}, path.name
        assert all(part_of(name) == "replay" for name in ours(path)), path.name


def test_the_public_names_are_sorted_and_there() -> None:
    """`__all__` is the public interface, and nothing else is in the package's top."""
    constants = [name for name in tensorloop_stream.__all__ if name.isupper()]
    others = [name for name in tensorloop_stream.__all__ if not name.isupper()]

    assert tensorloop_stream.__all__ == [*sorted(constants), *sorted(others)]
    assert all(getattr(tensorloop_stream, name).__doc__ for name in tensorloop_stream.__all__)
