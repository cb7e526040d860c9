"""The sentences for an answer that the gateway ended before the model had finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion

_NOTES = {
    "length": "Cut off at the limit of tokens (finish reason: length).",
    "content_filter": "Stopped by the content filter (finish reason: content_filter).",
}


def finish_note(completion: ChatCompletion) -> str | None:
    """Return the sentence for the finish reason of choice 0, or `None` if nothing cut the answer."""
    return _NOTES.get(str(completion.choices[0].finish_reason)) if completion.choices else None
