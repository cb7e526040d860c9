"""The prose of the pages: no sentence that must be read twice for its length."""

from __future__ import annotations

from pathlib import Path

import pytest
from readability import MOST_WORDS, ROOT, pages, sentences, words

# Its sentences say how a figure was measured.
OF_FIGURES = {"performance.md"}
PAGES = [path for path in pages() if path.name not in {*OF_FIGURES, "README.md"}]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_sentence_is_too_long(path: Path) -> None:
    """A sentence has one idea."""
    found = sentences(path.read_text("utf-8"))

    assert [sentence for sentence in found if words(sentence) > MOST_WORDS] == []


def test_sentences_are_those_of_paragraphs_lists_and_tables() -> None:
    """Code and pictures are no prose, and a link is its text."""
    text = """# A heading

One sentence, with `code that. has words`
on two lines. Another [one](https://example.com/a.b)!

```python
print("No. Sentence.")
```

- an item of a list
- its next item, e.g. this one

| name | meaning of the name |
|---|---|
| `a` | the first of four words |

![A picture. Of words.](picture.png)
"""

    assert sentences(text) == [
        "One sentence, with `code` on two lines.",
        "Another one!",
        "an item of a list",
        "its next item, e.g this one",
        "meaning of the name",
        "the first of four words",
    ]
