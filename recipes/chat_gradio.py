"""Chat on a Gradio page: python recipes/chat_gradio.py

Longer than a page, since a refused key or a spent budget is for the log, and not for the page.
"""

import logging
from collections.abc import Iterator
from typing import Any

import gradio as gr
from openai import APIError, AuthenticationError, OpenAIError, PermissionDeniedError

from tensorloop_stream import ChatStream, Tensorloop

SPENT = {"budget_exceeded", "insufficient_quota"}  # where waiting does not help
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
        raise gr.Error(error_text(error)) from None


def error_text(error: OpenAIError) -> str:
    """Return the sentence for the page; that the gateway refused this server's key or budget is for the log."""
    is_ours = isinstance(error, (AuthenticationError, PermissionDeniedError))
    if is_ours or (isinstance(error, APIError) and SPENT & {error.type, error.code}):
        logging.getLogger("chat").error("the gateway refused this server: %s", error)
        return "the service is not available: its operator can see the reason in the log"
    return f"{error}"


def text_of(content: Any) -> str:
    """Return the text of a message, which Gradio 6 keeps in parts."""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


if __name__ == "__main__":
    try:
        client = Tensorloop()
    except OpenAIError as error:
        raise SystemExit(f"{error}") from None
    gr.ChatInterface(answer, title="Chat").launch()
