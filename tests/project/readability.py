"""Print the sentences of each page of prose: how many, how long on average, and the longest.

Run: `python tests/project/readability.py [FILE ...]`; without files, README.md and the Markdown pages of the
documentation. The longest sentence of a page is printed with `--longest`.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST_WORDS = 30
FEWEST_WORDS = 4
# What is no prose: code, comments, directives, tables of figures, pictures.
_BLOCKS = re.compile(r"^(```+|:::+|~~~+).*?^\1\s*$|<!--.*?-->|<picture>.*?</picture>", re.DOTALL | re.MULTILINE)
_LINKS = re.compile(r"!?\[((?:[^\[\]]|\[[^\]]*\])*)\]\([^)]*\)")
_ENDS = re.compile(r"(?<=[.!?])[\"”)*]*\s+")
_ABBREVIATIONS = re.compile(r"\b(e\.g|i\.e|etc|vs|cf)\.")
_MARKS = re.compile(r"^(?:#+|[-*+]|\d+\.|>)\s+")


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs, list items and table cells of a Markdown text, without its code."""
    text = re.sub(r"`[^`\n]+`", "`code`", _BLOCKS.sub("\n\n", text))
    text = _LINKS.sub(lambda found: "" if found[0].startswith("!") else found[1], text)
    found: list[str] = [""]
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", stripped.strip("|"))]
            # A name or a figure is no sentence.
            found += [cell for cell in cells if words(cell) >= FEWEST_WORDS] + [""]
        elif not stripped or stripped.startswith("#"):
            found.append("")
        elif _MARKS.match(stripped):
            found.append(_MARKS.sub("", stripped))
        else:
            found[-1] += f" {stripped}"
    return [paragraph.strip() for paragraph in found if re.search(r"[a-z]{2}", paragraph)]


def sentences(text: str) -> list[str]:
    """Return the sentences of a Markdown text: those of its paragraphs, lists and tables, and none of its code."""
    found = (_ENDS.split(_ABBREVIATIONS.sub(r"\1", paragraph)) for paragraph in paragraphs(text))
    return [sentence.strip() for each in found for sentence in each if sentence.strip()]


def words(sentence: str) -> int:
    """Return the number of words; code in backticks is one."""
    return len([word for word in sentence.split() if re.search(r"\w", word)])


def pages() -> list[Path]:
    """Return README.md and the Markdown pages of the documentation, but for those of figures and changes."""
    found = sorted((ROOT / ".docs").rglob("*.md"))
    return [ROOT / "README.md", *(path for path in found if path.name != "changelog.md")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--longest", action="store_true", help="also print the longest sentence of each page")
    arguments = parser.parse_args()
    print("sentences  average  longest  page")
    for path in arguments.files or pages():
        found = sentences(path.read_text("utf-8"))
        counts = [words(sentence) for sentence in found] or [0]
        shown = path.resolve().relative_to(ROOT) if path.resolve().is_relative_to(ROOT) else path
        print(f"{len(found):9}  {sum(counts) / len(counts):7.1f}  {max(counts):7}  {shown.as_posix()}")
        if arguments.longest and found:
            print(f"           {max(found, key=words)}")


if __name__ == "__main__":
    main()
