"""Print an answer with the sources it cites: python recipes/citations.py"""

from typing import Any

from openai import OpenAIError
from openai.types.chat import ChatCompletionChunk

from tensorloop_stream import Callbacks, ChatStream, Tensorloop, print_stream

sources: dict[str, str] = {}  # title by address, in the order of their first mention


def collect(chunk: ChatCompletionChunk) -> None:
    """Take the sources of a chunk: OpenAI's `annotations` in a delta, or Perplexity's `citations` beside it."""
    for address in (chunk.model_extra or {}).get("citations") or []:
        sources.setdefault(address, address)
    for choice in chunk.choices:
        annotations: list[Any] = (choice.delta.model_extra or {}).get("annotations") or []
        for citation in (each["url_citation"] for each in annotations if each.get("type") == "url_citation"):
            sources[citation["url"]] = citation.get("title") or citation["url"]


try:
    answer = Tensorloop().chat.completions.create(
        model="gpt-4o-mini-search-preview",
        messages=[{"role": "user", "content": "What is new in HTTP caching?"}],
        stream=True,
    )
    print_stream(ChatStream(answer, Callbacks(on_chunk=collect)))
    for number, (address, title) in enumerate(sources.items(), 1):  # [1] in the text is the first of them
        print(f"[{number}] {title}: {address}" if title != address else f"[{number}] {address}")
    if not sources:
        print("(no sources)")
except OpenAIError as error:
    raise SystemExit(f"{error}") from None
