"""The layers of the package: allowed imports between its parts, and the parts without I/O."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tensorloop_stream

PACKAGE = Path(tensorloop_stream.__file__).parent
# In a wheel the recipes stand in the package, as files to copy.
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE / "recipes/files")

# Each part, and the parts that it may import directly. A part is a folder or a module.
ALLOWED: dict[str, set[str]] = {
    "_http": set(),
    "_transport": {"_http"},
    "_errors": {"_http"},
    "_timing_chart": set(),
    "_stream.dialect": set(),
    "_callbacks": {"_stream.dialect"},
    "_stream.settings": set(),
    "_stream.watchdog": set(),
    "replay": set(),
    "recipes": set(),
    "_sse": {"_errors"},
    "_retry": {"_errors"},
    "_timing": {"_timing_chart"},
    "_stream": {
        "_sse",
        "_retry",
        "_errors",
        "_http",
        "_callbacks",
        "_timing",
        "_stream.dialect",
        "_stream.settings",
        "_stream.watchdog",
    },
    "_chat": {"_stream"},
    "_responses": {"_stream"},
    "_forward": {"_chat", "_responses", "_http", "_retry"},
    "_display": {"_chat", "_responses"},
    "_stream_classes": {"_chat", "_responses"},
    "_credentials": {"_http"},
    "_resources": {"_stream_classes"},
    "_client": {"_credentials", "_resources", "_stream_classes", "_http", "_retry", "_transport"},
    "check": {"_client", "_http"},
    "notebook": {"_display"},
    "prompts": {"_chat", "_retry"},
    "prompts_dask": {"prompts", "_client"},
    "resumable": {"_forward"},
}
# Modules that wait, listen, or read files or variables belong to the edge.
WAITS = {"anyio", "asyncio", "socket", "ssl", "threading", "os", "dotenv", "httpx2"}
PURE = (
    "_callbacks",
    "_http.openai_headers",
    *(
        f"_http.{name}"
        for name in ("error_object", "key_filter", "key_patterns", "redact", "redact_errors", "request_keys")
    ),
    "_retry",
    "_sse",
    "_timing",
    "_timing_chart",
    "_stream.state",
    "_stream.dialect",
    "_stream.error_events",
    "_stream.payload",
    "_stream.translate",
    "_forward.apis",
    "_transport.chunked",
    "_transport.held_bytes",
    "_forward.headers",
    "_forward.observer",
    "_display.answer_view",
    "_display.markdown",
    "prompts.jsonl",
    "resumable._log_format",
    *(f"_chat.{path.stem}" for path in PACKAGE.glob("_chat/[!_]*.py") if path.stem != "streams"),
    *(f"_responses.{path.stem}" for path in PACKAGE.glob("_responses/[!_]*.py") if path.stem != "streams"),
    *(f"_chat.fast_path.{path.stem}" for path in PACKAGE.glob("_chat/fast_path/[!_]*.py")),
)
# What others do not promise to keep, and the modules that may use it.
PRIVATE_API = re.compile(
    r"_should_retry|_parse_retry_after|_make_status_error|_custom_headers|_prepare_options|_send_request|"
    r"_build_headers|_make_sse_decoder|_iter_events|is_stream_consumed|gi_running|gi_code|__pydantic_\w+|"
    r"_BaseModel__cls|_init_transport|_init_proxy_transport|self\._pool"
)
MAY_TOUCH_PRIVATE_API = {
    "_client",
    "_chat.models",
    "_chat.fast_path.prototype",
    "_stream.foreign",
    "_stream.model_copy",
    "_stream.models",
    "_stream.sources",
    "_transport.async_transport",
    "_transport.http_clients",
    "_transport.sync_transport",
}


def name_of(path: Path) -> str:
    """Return the dotted name of a module inside the package; empty for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in MODULES}


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of each module that a module imports, from `tensorloop_stream` on, also for types."""
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
    """Return the modules of the package that a module imports."""
    found = set()
    for name in imports(path):
        inside = name.partition("tensorloop_stream")[2].strip(".") if name.startswith("tensorloop_stream") else None
        while inside is not None and inside not in NAMES:
            inside = inside.rpartition(".")[0]
        if inside:
            found.add(inside)
    return found - {name_of(path)}


def part_of(name: str) -> str:
    """Return the part of a module: itself if it has its own rules, else its folder."""
    return name if name in ALLOWED else name.partition(".")[0]


def reachable(part: str) -> set[str]:
    """Return the parts that a part may import, directly or through others."""
    found = set(ALLOWED[part])
    for other in ALLOWED[part]:
        found |= reachable(other)
    return found


@pytest.mark.parametrize("name", [name for name in NAMES if name])
def test_a_module_imports_only_parts_below_its_own(name: str) -> None:
    """Imports between parts run in one direction."""
    part = part_of(name)
    entered = {part_of(other) for other in ours(NAMES[name])} - {part}

    assert part in ALLOWED, f"{name} belongs to no part"
    assert entered <= reachable(part)


def test_no_two_modules_import_each_other() -> None:
    """There is no circle, not even for types; `__init__` modules of private packages import nothing."""
    arrows = {name: ours(path) for name, path in NAMES.items() if name}
    left = dict(arrows)
    while ready := [name for name, others in left.items() if not others & left.keys()]:
        for name in ready:
            del left[name]

    assert not left, {name: others & left.keys() for name, others in left.items()}
    assert not [name for name in arrows if NAMES[name].stem == "__init__" and name[0] == "_" and arrows[name]]


@pytest.mark.parametrize("name", [name for name in NAMES if name and name not in MAY_TOUCH_PRIVATE_API])
def test_private_api_of_others_stays_in_a_few_modules(name: str) -> None:
    """A release of the SDK, of pydantic or of an HTTP library can break these modules alone."""
    assert not PRIVATE_API.findall(NAMES[name].read_text("utf-8"))


@pytest.mark.parametrize("name", sorted(MAY_TOUCH_PRIVATE_API))
def test_a_module_says_that_it_touches_private_api(name: str) -> None:
    """The docstring of the module names what a new release may break."""
    text = NAMES[name].read_text("utf-8")

    assert PRIVATE_API.findall(text)
    assert "private API" in (ast.get_docstring(ast.parse(text)) or "")


def test_the_top_level_is_small() -> None:
    """The package has at most twelve modules beside its folders."""
    assert len(list(PACKAGE.glob("*.py"))) <= 13  # with `__init__`


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_does_no_io(name: str) -> None:
    """Sync and async code share decisions, which use no sockets, event loops, threads, files or variables."""
    tree = ast.parse(NAMES[name].read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    used = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    used |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}

    assert not {module.partition(".")[0] for module in used} & WAITS
    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.Await, ast.AsyncFor, ast.AsyncWith))]


def test_the_replay_shares_no_code_with_the_clients() -> None:
    """A server that tests clients must not agree with them by construction."""
    for path in sorted(PACKAGE.glob("replay/**/*.py")):
        names = {name.partition(".")[0] for name in imports(path)}

        assert not names & {"openai", "httpx2"}, path.name
        assert all(part_of(name) == "replay" for name in ours(path)), path.name


def test_the_public_names_are_sorted_and_documented() -> None:
    """`__all__` is the public interface of the package's top."""
    constants = [name for name in tensorloop_stream.__all__ if name.isupper()]
    others = [name for name in tensorloop_stream.__all__ if not name.isupper()]

    assert tensorloop_stream.__all__ == [*sorted(constants), *sorted(others)]
    assert all(getattr(tensorloop_stream, name).__doc__ for name in tensorloop_stream.__all__)
