"""Print an answer as Markdown in the terminal, block by block: python recipes/terminal_markdown.py

Longer than a page, since it decides which blocks are finished.
"""

from openai import OpenAIError
from rich.console import Console
from rich.markdown import Markdown

from tensorloop_stream import ChatStream, Tensorloop, print_stream


def split_finished(text: str) -> tuple[str, str]:
    """Split a text after its finished blocks: after the last empty line outside of code."""
    end, position, in_code = 0, 0, False
    for line in text.splitlines(keepends=True):
        position += len(line)
        in_code ^= line.lstrip().startswith(("```", "~~~"))  # a fence begins or ends a code block
        if not in_code and line.isspace() and line.endswith("\n"):
            end = position
    return text[:end], text[end:]


CONTROLS = dict.fromkeys({*range(32), *range(127, 160)} - {9, 10})  # they change the terminal's title and clipboard
CONTROLS |= dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xE0000, 0xE0080)])  # they hide text
console, rest = Console(), ""
try:
    ask = "Explain streaming to a new developer, in three paragraphs."
    answer = Tensorloop().chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": ask}], temperature=0.2, max_tokens=400, stream=True
    )
    if not console.is_terminal:  # a pipe or a file gets the Markdown source
        print_stream(answer)
        raise SystemExit
    with ChatStream(answer) as stream:
        try:
            for text in stream.text_stream:
                finished, rest = split_finished(rest + text.translate(CONTROLS))
                if finished:
                    console.print(Markdown(finished), "")
        finally:  # print the last block, also of a stream that broke or was stopped
            console.print(Markdown(rest))
    if (reason := stream.completion.choices[0].finish_reason) in {"length", "content_filter"}:
        console.print(f"(cut: {reason})")
except OpenAIError as error:
    raise SystemExit(f"{error}") from None
