"""Markdown that nobody vouches for, made harmless: showing it makes no front end fetch or run anything.

Front ends read Markdown each in their own way, so no reading is relied on. A `<` that may begin a tag and the `![`
of an image come through in one place only, a code block that no front end can mistake. In all other code the signs
are written as numbers inside HTML of our own, which shows the same, and is harmless if it is no code after all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["closing_fence", "code_block", "harmless", "plain"]

_HARM = re.compile(r"<(?![\s\d=])|!(?=\[)")
_FENCE = re.compile(r"(?P<before>[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*)(?P<marks>`{3,}|~{3,})(?P<info>[^\n]*)")
_PLAIN_FENCE = re.compile(r"`{3,}[\w+#.-]{0,30}")
# What is taken out before Markdown is read, even from code: formulas. And lines that only some front ends split.
_BEFORE_CODE = r"\$|\\[(\[]|\\begin|\\end|@@|```|~~~|[\x85\u2028\u2029]"
_IN_CODE = re.compile(_BEFORE_CODE)
# What may swallow a code block behind it: a definition, whose title may go over many lines, a block of some
# dialect, the head of a file.
_IN_PROSE = re.compile(
    rf"{_BEFORE_CODE}|\]:|^[^\w\n]{{0,40}}(?::::|///|!!!|\?\?\?|\{{%)|\A\s*(?:---|\+\+\+)", re.MULTILINE
)
_FORMULA = re.compile(r"\$\$|\\[(\[]|\\begin")
_TICKS = re.compile(r"`+")
_IMAGE = re.compile(r"(?<![\\!])!\[(?P<words>[^\[\]\n]*)\](?=\(|\[[^\]\n])")
_ADDRESS = re.compile(r"<(https?://[\w./?=&%#:~+,;-]+)>")
_ESCAPABLE = re.compile(r"(?<!\\)(\\*)(<|!(?=\[))")
_ENTITIES = {"<": "&lt;", "!": "&#33;"}
# What is Markdown anywhere, addresses that become links, and what is Markdown at the beginning of a line.
_SIGN = re.compile(r"[&<>`*_\[\]\\$|~!#@{}^]|:(?=/)|(?<=www)\.|^[ \t]*(?:[-+=:?/%]|\d+[.)])", re.MULTILINE)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def harmless(text: str) -> str:
    """Return Markdown with its images as links and its HTML as text; code is shown as it is.

    The beginning of a text gives the beginning of its result, but for the last line or code block: what was shown
    stays while an answer grows.
    """
    text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n").replace("\r", "\n"))
    done: list[str] = []
    is_clear = True
    in_formula = False
    for piece in _pieces(text):
        if isinstance(piece, str):
            lines = []
            for line in piece.split("\n"):
                in_formula = in_formula or _FORMULA.search(line) is not None
                lines.append(_prose(line, in_formula=in_formula))
            prose = "\n".join(lines)
            is_clear = is_clear and _IN_PROSE.search(prose) is None
            done.append(prose)
            continue
        is_clear = is_clear and piece.is_plain
        if not _HARM.search(piece.content):
            done.append(piece.as_fence())
            continue
        if done and not piece.before:
            # Without a blank line, not all front ends see the end of what stands before.
            done.append("")
        done.append(piece.as_fence() if is_clear else piece.as_html())
    return "\n".join(done)


def closing_fence(text: str) -> str:
    """Return what ends the code block that `text` leaves open, if it does."""
    *_, last = "", *_pieces(text)
    return f"\n{last.inside}{last.marks}" if isinstance(last, _Block) and not last.end else ""


def code_block(code: str, language: str) -> str:
    """Return a code block that is harmless whatever stands before it."""
    block = _Block("", "```", language, "", code.split("\n"))
    return block.as_html() if _HARM.search(code) or _IN_CODE.search(code) else block.as_fence()


def plain(text: str) -> str:
    """Return text that shows as it is, in Markdown and in HTML: its signs as numbers."""
    return _SIGN.sub(lambda found: f"{found[0][:-1]}&#{ord(found[0][-1])};", _CONTROL.sub("", text))


@dataclass(slots=True)
class _Block:
    """A fenced code block, wherever it stands: `inside` is what its container puts before each line."""

    before: str
    marks: str
    info: str
    inside: str
    lines: list[str]
    end: str = ""

    @property
    def content(self) -> str:
        return "\n".join((self.info, *self.lines))

    @property
    def is_plain(self) -> bool:
        """Whether every front end reads it as code, if what stands before it leaves it alone."""
        return (
            not self.before
            and self.end in {"", self.marks}
            and _PLAIN_FENCE.fullmatch(self.marks + self.info) is not None
            and _IN_CODE.search("\n".join(self.lines)) is None
        )

    def as_fence(self) -> str:
        lines = (f"{self.inside}{line}" for line in self.lines)
        # An open one is closed: not every front end shows it as code.
        return "\n".join((f"{self.before}{self.marks}{self.info}", *lines, self.end or f"{self.inside}{self.marks}"))

    def as_html(self) -> str:
        first, *rest = map(plain, self.lines or [""])
        lines = (f"{self.inside}{line}" for line in rest)
        return "\n".join((f"{self.before}<pre><code>{first}", *lines)) + f"</code></pre>\n{self.inside.rstrip()}"


def _pieces(text: str) -> Iterator[str | _Block]:
    """Part a text into prose and code blocks."""
    prose: list[str] = []
    block: _Block | None = None
    for line in text.split("\n"):
        if block is not None and ">" in block.inside and not line.lstrip().startswith(">"):
            # A quote ends with its lines.
            yield block
            block = None
        if block is not None:
            content = _without(block.inside, line)
            if (mark := content.strip()).startswith(block.marks) and not mark.strip(block.marks[0]):
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
        inside = re.sub(r"[^\s>]", " ", fence["before"])
        block = _Block(fence["before"], fence["marks"], fence["info"], inside, [])
    if block is not None:
        yield block
    elif prose:
        yield "\n".join(prose)


def _without(inside: str, line: str) -> str:
    if line.startswith(inside):
        return line[len(inside) :]
    return line.lstrip(" \t>" if ">" in inside else " \t")


def _prose(line: str, *, in_formula: bool) -> str:
    if not _HARM.search(line):
        return line
    if in_formula or "$" in line:
        # An entity would show in a formula; a space does not, and a tag does not begin with one.
        return _HARM.sub(r"\g<0> ", line)
    done: list[str] = []
    at = 0
    for start, end, code in _code_spans(line):
        if _HARM.search(code):
            done += _escaped(line[at:start]), f"<code>{plain(code.strip())}</code>"
        else:
            done += _escaped(line[at:start]), line[start:end]
        at = end
    return "".join((*done, _escaped(line[at:])))


def _code_spans(line: str) -> Iterator[tuple[int, int, str]]:
    """Return where code begins and ends in a line, and what it is: between two equal runs of backticks."""
    runs = [run.span() for run in _TICKS.finditer(line)]
    # Where the runs of each length begin, the next one last: a line of nothing else must not take quadratic time.
    ahead: dict[int, list[int]] = {}
    for start, end in reversed(runs):
        ahead.setdefault(end - start, []).append(start)
    at = 0
    for start, end in runs:
        closing = ahead[end - start]
        while closing and closing[-1] <= max(start, at - 1):
            closing.pop()
        if start >= at and closing and line[start - 1 : start] != "\\":
            at = closing[-1] + end - start
            yield start, at, line[end : closing[-1]]


def _escaped(text: str) -> str:
    text = _ADDRESS.sub(r"\1", text)
    text = _IMAGE.sub(lambda image: f"[{image['words'].strip() or 'image'}]", text)
    # A backslash before either would escape the entity instead.
    return _ESCAPABLE.sub(lambda sign: sign[1][: len(sign[1]) // 2 * 2] + _ENTITIES[sign[2]], text)
