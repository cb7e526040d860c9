"""Build the documentation, with `python -m sphinx -W .docs DIRECTORY`."""  # noqa: INP001

from __future__ import annotations

import importlib
import pkgutil
import re
from importlib import metadata
from typing import TYPE_CHECKING

import tensorloop_stream

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "tensorloop_stream"
release = metadata.version(project)
html_title = f"{project} {release}"
html_theme = "furo"
html_show_copyright = False
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["site.css"]
extensions = ["sphinx.ext.autodoc", "myst_parser"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# Of links to other sites, by hand: `python -m sphinx -b linkcheck .docs DIRECTORY`.
linkcheck_anchors = False
linkcheck_ignore = [r"https?://(localhost|127\.0\.0\.1|litellm\.tensorloop\.tech)\b"]
nitpicky = True
nitpick_ignore_regex = [("py:class", ".*")]  # the types of the SDK and of Python, which have references of their own
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 80
python_trailing_comma_in_multi_line_signatures = False
toc_object_entries_show_parents = "hide"

OPTIONAL = sorted(each.name for each in pkgutil.iter_modules(tensorloop_stream.__path__) if each.name[0] != "_")
MODULES = [project, *(f"{project}.{name}" for name in OPTIONAL)]
PUBLIC = {name: f"{module}.{name}" for module in MODULES for name in importlib.import_module(module).__all__}


def _as_restructured_text(*event: list[str]) -> None:
    # Docstrings are written for readers of the source: code has single backticks, and examples are indented.
    lines = event[-1]
    text = re.sub(r"`([^`]+)`", _code, "\n".join(lines) + "\n")
    lines[:] = re.sub(r"^((?: {4}.+\n)(?:\n| {4}.+\n)*)", r"::\n\n\1\n", text, flags=re.MULTILINE).split("\n")


def _code(found: re.Match[str]) -> str:
    words = found[1]
    return f":py:obj:`{words} <{PUBLIC[words]}>`\\ " if words in PUBLIC else f"``{words}``\\ "


def setup(app: Sphinx) -> None:
    """Convert each docstring to reStructuredText before Sphinx reads it."""
    app.connect("autodoc-process-docstring", _as_restructured_text)
