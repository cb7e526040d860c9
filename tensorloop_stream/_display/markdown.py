"""Make untrusted Markdown harmless: a front end that shows the result fetches and runs nothing.

Front ends parse Markdown in different ways, so this module relies on no single one. A `<` that may begin a tag and
the `![` of an image pass in one place only: in a code block that no front end can mistake. All other code is written
as HTML with numeric entities. It looks the same, and is harmless even where a front end does not take it for code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["closing_fence", "code_block", "harmless", "plain"]

# The start of a tag, or of an image.
_HARM = re.compile(r"<(?![\s\d=])|!(?=\[)")
_FENCE = re.compile(r"(?P<before>[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*)(?P<marks>`{3,}|~{3,})(?P<info>[^\n]*)")
_PLAIN_FENCE = re.compile(r"`{3,}[\w+#.-]{0,30}")
# Some front ends extract formulas before they parse Markdown, even from code; some split lines at more characters.
_PARSED_BEFORE_CODE = r"\$|\\[(\[]|\\begin|\\end|@@|```|~~~|[\x85\u2028\u2029]"
_UNSAFE_IN_FENCE = re.compile(_PARSED_BEFORE_CODE)
# These may swallow the code block after them: a link definition, whose title may span lines, a block of some
# dialect, and the front matter of a file.
_UNSAFE_BEFORE_FENCE = re.compile(
    rf"{_PARSED_BEFORE_CODE}|\]:|^[^\w\n]{{0,40}}(?::::|///|!!!|\?\?\?|\{{%)|\A\s*(?:---|\+\+\+)", re.MULTILINE
)
_FORMULA = re.compile(r"\$\$|\\[(\[]|\\begin")
_TICKS = re.compile(r"`+")
_IMAGE = re.compile(r"(?<![\\!])!\[(?P<words>[^\[\]\n]*)\](?=\(|\[[^\]\n])")
_ADDRESS = re.compile(r"<(https?://[\w./?=&%#:~+,;-]+)>")
_ESCAPABLE = re.compile(r"(?<!\\)(\\*)(<|!(?=\[))")
_ENTITIES = {"<": "&lt;", "!": "&#33;"}
# Characters that are Markdown anywhere, that make an address a link, or that are Markdown at the start of a line.
_MARKUP = re.compile(r"[&<>`*_\[\]\\$|~!#@{}^]|:(?=/)|(?<=www)\.|^[ \t]*(?:[-+=:?/%]|\d+[.)])", re.MULTILINE)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def harmless(text: str) -> str:
    """Return Markdown with its images as links and its HTML as text; code looks the same.

    While an answer grows, the result only grows too, except for its last line or code block.
    """
    text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n").replace("\r", "\n"))
    done: list[str] = []
    # Whether every front end takes the next fence for the start of a code block.
    fence_is_safe = True
    in_formula = False
    for part in _split(text):
        if isinstance(part, str):
            lines = []
            for line in part.split("\n"):
                in_formula = in_formula or _FORMULA.search(line) is not None
                lines.append(_harmless_line(line, in_formula=in_formula))
            prose = "\n".join(lines)
            fence_is_safe = fence_is_safe and _UNSAFE_BEFORE_FENCE.search(prose) is None
            done.append(prose)
            continue
        fence_is_safe = fence_is_safe and part.is_unmistakable
        if not _HARM.search(part.content):
            done.append(part.as_fence())
            continue
        if done and not part.before:
            # Some front ends end the paragraph before a code block only at a blank line.
            done.append("")
        done.append(part.as_fence() if fence_is_safe else part.as_html())
    return "\n".join(done)


def closing_fence(text: str) -> str:
    """Return the line that closes the last code block of `text`; empty if it is not open."""
    *_, last = "", *_split(text)
    return f"\n{last.line_prefix}{last.marks}" if isinstance(last, _Block) and not last.end else ""


def keep_lines(text: str) -> str:
    """Return Markdown whose lines of prose stay lines, as in a poem: each ends with a hard line break.

    Two blanks before a line break mean one in every dialect, and nothing where no line of prose follows.
    """
    done: list[str] = []
    in_html = False
    for part in _split(text):
        if not isinstance(part, str):
            done.append(part.as_fence())
            continue
        lines = part.split("\n")
        for number, line in enumerate(lines[:-1]):
            in_html = ("<pre>" in line or in_html) and "</pre>" not in line
            if line.strip() and lines[number + 1].strip() and not in_html and not line.endswith(("  ", "\\", ">")):
                lines[number] = f"{line}  "
        done.append("\n".join(lines))
    return "\n".join(done)


def code_block(code: str, language: str) -> str:
    """Return a code block that is harmless after any text."""
    block = _Block("", "```", language, "", code.split("\n"))
    return block.as_html() if _HARM.search(code) or _UNSAFE_IN_FENCE.search(code) else block.as_fence()


def plain(text: str) -> str:
    """Return text that looks the same in Markdown and in HTML: all markup as numeric entities."""
    return _MARKUP.sub(lambda found: f"{found[0][:-1]}&#{ord(found[0][-1])};", _CONTROL.sub("", text))


@dataclass(slots=True)
class _Block:
    """A fenced code block, perhaps inside a list or a quote, which puts `line_prefix` before each line."""

    before: str
    """The list or quote marks before the opening fence."""
    marks: str
    """The backticks or tildes of the fence."""
    info: str
    line_prefix: str
    lines: list[str]
    end: str = ""
    """The closing line; empty while the block is open."""

    @property
    def content(self) -> str:
        return "\n".join((self.info, *self.lines))

    @property
    def is_unmistakable(self) -> bool:
        """Whether every front end reads the block as code, provided that the text before it is safe."""
        return (
            not self.before
            and self.end in {"", self.marks}
            and _PLAIN_FENCE.fullmatch(self.marks + self.info) is not None
            and _UNSAFE_IN_FENCE.search("\n".join(self.lines)) is None
        )

    def as_fence(self) -> str:
        lines = (f"{self.line_prefix}{line}" for line in self.lines)
        # Close an open block: not every front end shows an open one as code.
        end = self.end or f"{self.line_prefix}{self.marks}"
        return "\n".join((f"{self.before}{self.marks}{self.info}", *lines, end))

    def as_html(self) -> str:
        first, *rest = map(plain, self.lines or [""])
        lines = (f"{self.line_prefix}{line}" for line in rest)
        return "\n".join((f"{self.before}<pre><code>{first}", *lines)) + f"</code></pre>\n{self.line_prefix.rstrip()}"


def _split(text: str) -> Iterator[str | _Block]:
    """Split a text into prose and code blocks, in order."""
    prose: list[str] = []
    block: _Block | None = None
    for line in text.split("\n"):
        if block is not None and ">" in block.line_prefix and not line.lstrip().startswith(">"):
            # A quote ends at the first line without `>`, and its code block with it.
            yield block
            block = None
        if block is not None:
            content = _without_prefix(block.line_prefix, line)
            fence_end = content.strip()
            if fence_end.startswith(block.marks) and not fence_end.strip(block.marks[0]):
                block.end = line
                yield block
                block = None
            else:
                block.lines.append(content)
            continue
        fence = _FENCE.fullmatch(line)
        if fence is None or "`" in fence["info"]:
            prose.append(line)
            continue
        if prose:
            yield "\n".join(prose)
            prose = []
        line_prefix = re.sub(r"[^\s>]", " ", fence["before"])
        block = _Block(fence["before"], fence["marks"], fence["info"], line_prefix, [])
    if block is not None:
        yield block
    elif prose:
        yield "\n".join(prose)


def _without_prefix(prefix: str, line: str) -> str:
    if line.startswith(prefix):
        return line[len(prefix) :]
    return line.lstrip(" \t>" if ">" in prefix else " \t")


def _harmless_line(line: str, *, in_formula: bool) -> str:
    if not _HARM.search(line):
        return line
    if in_formula or "$" in line:
        # A formula would show an entity. It does not show a space, and no tag begins with one.
        return _HARM.sub(r"\g<0> ", line)
    done: list[str] = []
    position = 0
    for start, end, code in _code_spans(line):
        done.append(_escape(line[position:start]))
        done.append(f"<code>{plain(code.strip())}</code>" if _HARM.search(code) else line[start:end])
        position = end
    return "".join((*done, _escape(line[position:])))


def _code_spans(line: str) -> Iterator[tuple[int, int, str]]:
    """Yield the start, the end and the code of each code span: text between two equal runs of backticks."""
    runs = [run.span() for run in _TICKS.finditer(line)]
    # The starts of the runs of each length, the next one last: a line of only backticks must take linear time.
    starts_ahead: dict[int, list[int]] = {}
    for start, end in reversed(runs):
        starts_ahead.setdefault(end - start, []).append(start)
    position = 0
    for start, end in runs:
        closing = starts_ahead[end - start]
        while closing and closing[-1] <= max(start, position - 1):
            closing.pop()
        if start >= position and closing and line[start - 1 : start] != "\\":
            position = closing[-1] + end - start
            yield start, position, line[end : closing[-1]]


def _escape(text: str) -> str:
    text = _ADDRESS.sub(r"\1", text)
    text = _IMAGE.sub(lambda image: f"[{image['words'].strip() or 'image'}]", text)
    # Keep an even number of backslashes: an odd one would escape the entity.
    return _ESCAPABLE.sub(lambda sign: sign[1][: len(sign[1]) // 2 * 2] + _ENTITIES[sign[2]], text)
