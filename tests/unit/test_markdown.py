"""Markdown from an untrusted model, rendered as front ends render it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
import requirements
from hypothesis import example, given, settings, strategies as st

from tensorloop_stream._display.markdown import closing_fence, code_block, harmless, plain

TAGS = [
    "<img src=u>",
    "<img/src=u onerror=x>",
    "<script>x</script>",
    "<iframe src=u>",
    "<svg onload=x>",
    "<style>@import u",
    "<!--",
]
LINES = [
    *TAGS,
    "```",
    "````",
    "~~~",
    "```html",
    "``` x`",
    "  ```",
    "    ```",
    "- ```",
    "> ```",
    "> ~~~",
    "1. ```",
    "- a",
    "> q",
]
LINES += [
    "",
    "    ",
    "text",
    "![a](u)",
    "![a][r]",
    "![r]",
    "[r]: u",
    '[r]: u "',
    '"',
    "$$",
    "$",
    "\\[",
    "\\]",
    "---",
    "!!! note",
]
LINES += [
    "\\begin{a}",
    "\\end{a}",
    "| a | b |\n|---|---|",
    "[^1]: a",
    ":::",
    "</pre>",
    "</code></pre>",
    "<pre>",
    "`",
    "``",
    "*a",
]
BITS = [
    *TAGS,
    "`",
    "``",
    "```",
    "\\",
    "!",
    "[",
    "]",
    "(u)",
    "![a](u)",
    "![](u)",
    "|",
    "$",
    "$$",
    "<",
    ">",
    " ",
    "a",
    "&lt;",
    "\0",
    "\r",
]
BITS += [
    "<img src=`",
    "`>",
    "*",
    "_",
    "<https://a.test/<img>",
    "\u2028",
    "\N{NO-BREAK SPACE}",
    "@@0@@",
    "\\(",
    "\\)",
    "~~~",
]
HOSTILE = st.lists(
    st.one_of(st.sampled_from(LINES), st.lists(st.sampled_from(BITS), max_size=8).map("".join)), max_size=14
)
# The elements that our own Markdown, and a model's without HTML and images, can produce.
ALLOWED = {"p", "a", "br", "hr", "pre", "code", "ul", "ol", "li", "blockquote", "em", "strong", "del", "s", "span"}
ALLOWED |= {"h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "section", "sup", "div"}
ATTRIBUTES = {"href", "title", "class", "start", "style", "id"}
Reader = Callable[[str], str]


class Elements(HTMLParser):
    """The elements of a page, as a browser parses them, and the text in `code`."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.code: list[str] = []
        self._in_code = 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "code":
            self._in_code += 1
            self.code.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_code -= tag == "code"

    def handle_data(self, data: str) -> None:
        if self._in_code > 0:
            self.code[-1] += data

    def handle_comment(self, data: str) -> None:
        self.tags.add("!--")


def commonmark() -> Reader:
    requirements.module("markdown_it", "jupyter")
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render


def formulas_first() -> Reader:
    """Imitate front ends with MathJax, which take out formulas greedily before they read Markdown."""
    formula = re.compile(r"(\$\$?)[^$]*\1|\\\[.*?\\\]|\\\(.*?\\\)|\\begin.*?\\end\{a\}", re.DOTALL)
    render = commonmark()
    return lambda text: render(formula.sub("0", text))


def long_titles() -> Reader:
    """Imitate marked, JupyterLab's reader, which lets the title of a definition extend over any number of lines."""
    definition = re.compile(r'^ {0,3}\[\w+\]: *\S+ +"[^"]*"', re.DOTALL | re.MULTILINE)
    render = commonmark()
    return lambda text: render(definition.sub("", text))


def nbconvert() -> Reader:
    """Render as `jupyter nbconvert --to html` does."""
    requirements.module("nbconvert", "jupyter")
    from nbconvert.filters.markdown_mistune import markdown2html_mistune

    return markdown2html_mistune


@pytest.fixture(params=[commonmark, formulas_first, long_titles, nbconvert], scope="module")
def render(request: pytest.FixtureRequest) -> Reader:
    return request.param()  # type: ignore[no-any-return]


@settings(max_examples=requirements.scaled(200), deadline=None)
@given(HOSTILE)
@example(["- a", "", "  ```", "text", "  ```", "b", "  ```", "<img src=u>"])
@example(['[r]: u "', "```", '"', "<img src=u>", "```"])
@example(["$", "```", "$", "<img src=u>", "```"])
@example(["```", "$", "```", "$", "```", "<img src=u>", "```"])
@example(["| a | b |\n|---|---|", "|`|<img src=u>`|"])
@example(["!!![a](u) \\![a](u) \\\\![a](u)"])
@example(["> ```", "```", "<img src=u>", "```"])
def test_no_image_tag_or_handler_of_a_model_reaches_the_page(render: Reader, lines: list[str]) -> None:
    """Hostile Markdown produces only the elements and attributes that our own Markdown may produce."""
    elements = Elements(render(harmless("\n".join(lines))))

    assert elements.tags <= ALLOWED
    assert elements.attributes <= ATTRIBUTES


@settings(max_examples=requirements.scaled(200), deadline=None)
@given(HOSTILE)
def test_a_tag_begins_only_in_a_plain_code_block(lines: list[str]) -> None:
    """Outside of a block that begins and ends at the start of a line, only our own tags begin with `<` and a letter."""
    text = re.sub(r"^(```+)[\w+#.-]*\n(?:(?!```).*\n)*?\1$", "", harmless("\n".join(lines)), flags=re.MULTILINE)
    text = re.sub(r"</?(?:pre|code)>", "", text)

    assert not re.search(r"<[a-zA-Z/!?]|!\[", text)


@settings(max_examples=requirements.scaled(200), deadline=None)
@given(
    st.lists(
        st.sampled_from(["a < b", "List<String>", "<b>", "$x", "![a](u)", "  x = [1]", "", "`", "&lt;", "a && b", "|"]),
        min_size=1,
    )
)
def test_a_code_block_shows_its_code_unchanged(lines: list[str]) -> None:
    """The shown code contains no entity and no added space."""
    code = "\n".join(["first", *lines])
    elements = Elements(commonmark()(harmless(f"So:\n\n```java\n{code}\n```\n\nand so on.")))

    assert [shown.rstrip("\n") for shown in elements.code] == [code.rstrip("\n")]


@pytest.mark.parametrize(
    "text",
    [
        "if a < b and c <= d: `x < y`, 1 <2, <= and 3 > 2\n\n> quoted *and* **so on**",
        "```html\n<img src=x>\n```\nand\n\n```c++\nstd::vector<int> a;\n```",
        "| a | `b` |\n|---|---|\n| 1 | [link](http://a.test) |",
        "- one\n\n  ```python\n  print('one')\n  ```\n- two!",
        "$a + b$ and $$c$$",
    ],
)
def test_harmless_markdown_is_unchanged(text: str) -> None:
    """Comparisons, code, tables, links and formulas stay as they are."""
    assert re.sub(r"\n+", "\n", harmless(text)) == re.sub(r"\n+", "\n", text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a <b>c</b>", "a &lt;b>c&lt;/b>"),
        ("\\<b>", "&lt;b>"),
        ("![A dog](http://a.test/1.png)", "[A dog](http://a.test/1.png)"),
        ("![](http://a.test/1.png)", "[image](http://a.test/1.png)"),
        ("![A dog][dog]", "[A dog][dog]"),
        ("vec![1, 2]", "vec&#33;[1, 2]"),
        ("!![a](u)", "!&#33;[a](u)"),
        ("`List<String>` and `a < b`", "<code>List&#60;String&#62;</code> and `a < b`"),
        ("$a<b$", "$a< b$"),
        ("<https://a.test/b>", "https://a.test/b"),
        ("- a\n  ```\n  <b>\n  ```", "- a\n  <pre><code>&#60;b&#62;</code></pre>\n"),
        ("> ```\n> <b>\n> ```", "> <pre><code>&#60;b&#62;</code></pre>\n>"),
        ("```html\n<b>", "```html\n<b>\n```"),
    ],
)
def test_html_images_and_doubtful_code_are_replaced(text: str, shown: str) -> None:
    """HTML becomes text, an image a link, doubtful code our own HTML; a formula gets a space."""
    assert harmless(text) == shown


def test_an_open_block_is_closed() -> None:
    """Text after an answer that ends inside a code block must not look like code."""
    assert closing_fence("a\n````python\nb\n```") == "\n````"
    assert closing_fence("- ~~~\n  b") == "\n  ~~~"
    assert closing_fence("```\nb\n```\n") == ""
    assert closing_fence("") == ""


def test_a_code_block_holds_fences() -> None:
    """Arguments of a tool call stay in their block, also if they contain fences."""
    assert code_block('{"a": 1}', "json") == '```json\n{"a": 1}\n```'
    assert code_block("```\n<b>", "").startswith("<pre><code>&#96;&#96;&#96;\n&#60;b&#62;</code></pre>")


def test_plain_text_stays_plain() -> None:
    """Escaped text contains no Markdown, HTML or formula."""
    text = "# *a* _b_ [c](d) <e> `f` $g$ | ~h~ &amp; \\i http://j.test www.k.test ![k](l)\n- m 1. n\n1. o\n---\n=\n"

    assert Elements(commonmark()(plain(text))).tags == {"p"}
    assert not re.search(r"[*_`<$|\[\]]", plain(text))


def test_hostile_markdown_is_processed_in_linear_time() -> None:
    """An answer is processed again at each update; a hostile 100 kB must not stop a kernel."""
    begun = time.process_time()
    for bit in ("`", "<", "![", "> ", "- ", "```\n", "$", "\\", "[a]", "`a ", "!\n", "---\n"):
        harmless(bit * (100_000 // len(bit)))

    assert time.process_time() - begun < 10
