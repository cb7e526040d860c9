"""Chat on a Gradio page: python recipes/chat_gradio.py"""

from collections.abc import Iterator
from typing import Any

import gradio as gr
from openai import OpenAIError

from tensorloop_stream import ChatStream, Tensorloop

NOTES = {"length": "Cut off at the limit of tokens.", "content_filter": "Stopped by the content filter."}
client: Tensorloop


def answer(question: str, history: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the answer so far; Gradio's stop button closes this generator, and the block the connection."""
    messages: list[Any] = [{"role": each["role"], "content": text_of(each["content"])} for each in history]
    messages.append({"role": "user", "content": question})
    try:
        with ChatStream(client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)) as stream:
            for _ in stream.text_stream:
                yield stream.text
        if note := NOTES.get(str(stream.completion.choices[0].finish_reason)):
            gr.Warning(note)
    except OpenAIError as error:
        raise gr.Error(f"{error}") from None


def text_of(content: Any) -> str:
    """Return the text of a message, which Gradio 6 keeps in parts."""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


if __name__ == "__main__":
    try:
        client = Tensorloop()
    except OpenAIError as error:
        raise SystemExit(f"{error}") from None
    gr.ChatInterface(answer, title="Chat").launch()
