"""The API reference: every public name, and links in docstrings."""

from __future__ import annotations

import importlib
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import requirements
from test_public_names import MODULES, NEEDS, names

DOCS = Path(__file__).parents[2] / ".docs"
# The results of `forward_chat` and `aforward_chat` have no public names, but must be documented; the types of the
# streams' sources have none either.
BESIDES = {
    "tensorloop_stream.AsyncEventsOpened",
    "tensorloop_stream.AsyncOpened",
    "tensorloop_stream.Chunks",
    "tensorloop_stream.Events",
    *(f"tensorloop_stream._forward.responses.{kind}" for kind in ("AsyncForwardedChat", "ForwardedChat")),
}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation, built with warnings as errors: a link to no page, or to no heading of it, is one."""
    for module in ("sphinx", "furo", "myst_parser"):
        requirements.module(module, "docs")
    for module, extra in NEEDS.values():
        requirements.module(module, extra)
    folder = tmp_path_factory.mktemp("reference")
    # In a process of its own: Sphinx imports what it documents, and what it documents counts its imports.
    arguments = ["-q", "-W", "--keep-going", "-d", str(folder / "trees"), str(DOCS), str(folder)]
    built = subprocess.run([sys.executable, "-m", "sphinx", *arguments], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder


def test_the_reference_holds_every_public_name_and_no_other(reference: Path) -> None:
    """A name outside of the reference is not public, and every name in it is promised."""
    listed = zlib.decompress((reference / "objects.inv").read_bytes().split(b"\n", 4)[4]).decode().splitlines()
    objects = {line.split()[0] for line in listed if line.split()[1].startswith("py:")}
    public = {f"{module}.{name.path}" for module in MODULES for name in names(module)} | set(MODULES)
    besides = {name for name in objects if name.startswith(tuple(BESIDES))}
    # A name is also listed under the module that defines it.
    offered = [
        getattr(importlib.import_module(module), name.path, None) for module in MODULES for name in names(module)
    ]
    elsewhere = {f"{kind.__module__}.{kind.__qualname__}" for kind in offered if isinstance(kind, type)} - public

    assert objects - besides - elsewhere == public
    assert besides >= BESIDES


def test_names_in_docstrings_are_links(reference: Path) -> None:
    """Docstrings name things in single backticks, for readers of the source."""
    page = (reference / "reference/streams.html").read_text("utf-8")

    assert 'href="errors.html#tensorloop_stream.StreamTruncatedError"' in page
    assert "<code" in page
    assert "`" not in page.partition("<article")[2].partition("</article>")[0]
