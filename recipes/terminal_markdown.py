"""Print an answer's Markdown in the terminal, each finished block once: python recipes/terminal_markdown.py"""

from openai import OpenAIError
from rich.console import Console
from rich.markdown import Markdown

from tensorloop_stream import ChatStream, Tensorloop, print_stream


def parted(text: str) -> tuple[str, str]:
    """Part the finished blocks, up to the last empty line outside of code, from the rest."""
    end, at, in_code = 0, 0, False
    for line in text.splitlines(keepends=True):
        at += len(line)
        in_code ^= line.lstrip().startswith(("```", "~~~"))
        if not in_code and line.isspace() and line.endswith("\n"):
            end = at
    return text[:end], text[end:]


CONTROLS = dict.fromkeys({*range(32), *range(127, 160)} - {9, 10})  # they would set the terminal's title, its clipboard
console, rest = Console(), ""
try:
    ask = "Explain streaming to a new developer, in three paragraphs."
    answer = Tensorloop().chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": ask}], temperature=0.2, max_tokens=400, stream=True
    )
    if not console.is_terminal:  # a pipe or a file gets the Markdown itself
        print_stream(answer)
        raise SystemExit
    with ChatStream(answer) as stream:
        try:
            for text in stream.text_stream:
                done, rest = parted(rest + text.translate(CONTROLS))
                if done:
                    console.print(Markdown(done), "")
        finally:  # the last block, also of a stream that broke or was stopped
            console.print(Markdown(rest))
except OpenAIError as error:
    raise SystemExit(f"{error}") from None
