"""Chat completions as a dialect of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorloop_stream._errors import StreamDecodeError

from . import models
from .accumulator import ChatAccumulation
from .fast_path.matcher import FastPath

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai.types.chat import ChatCompletionChunk


class ChatDialect:
    """The stream of `chat.completions.create(..., stream=True)`: chunks to one `ChatCompletion`."""

    item_name = "chunk"
    result_name = "completion"
    unfinished = "no finish_reason and no [DONE]"
    # Some hosts send no finish reason (oh-my-pi#9433).
    done_marker_is_an_end = True
    new_accumulation = ChatAccumulation
    new_fast_path = FastPath

    @staticmethod
    def build(payload: bytes, mapping: Mapping[str, Any]) -> ChatCompletionChunk:
        """Return the chunk of an event; raises `StreamDecodeError` if the SDK could not build one."""
        return models.typed_chunk(payload, mapping)

    @staticmethod
    def as_mapping(item: ChatCompletionChunk | Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a chunk of any origin as a mapping; raises `TypeError`."""
        return models.as_mapping(item)

    @staticmethod
    def as_item(item: ChatCompletionChunk | Mapping[str, Any]) -> ChatCompletionChunk:
        """Return a chunk of any origin as the caller gets it."""
        return models.as_chunk(item)

    @staticmethod
    def continuation_of(body: Any, accumulation: ChatAccumulation) -> dict[str, Any] | None:
        """Return the body of a request whose last message is the answer so far, as the assistant's beginning.

        `None` for an answer with anything but text, or of several choices, and for a body without messages.
        """
        text, body = accumulation.plain_text, body if isinstance(body, dict) else {}
        messages = body.get("messages")
        if not isinstance(messages, (list, tuple)) or not text.strip() or body.get("n") not in {None, 1}:
            return None
        # Anthropic refuses white space at the end.
        text, messages = text.rstrip(), [*messages]
        last = messages[-1] if messages else None
        if isinstance(last, dict) and last.get("role") == "assistant" and isinstance(last.get("content"), str):
            # The caller began the answer.
            text = messages.pop()["content"] + text
        return {**body, "messages": [*messages, {"role": "assistant", "content": text}]}

    @staticmethod
    def text_of(mapping: Mapping[str, Any]) -> str:
        """Return the content of the first choice, if it is text."""
        delta = _delta_of(mapping)
        content = delta.get("content") if isinstance(delta, dict) else None
        return content if isinstance(content, str) else ""

    @staticmethod
    def without_text(mapping: Mapping[str, Any], count: int) -> Mapping[str, Any]:
        """Return a chunk without the first characters of the content of its first choice."""
        choice = mapping["choices"][0]
        delta = {**choice["delta"], "content": choice["delta"]["content"][count:]}
        return {**mapping, "choices": [{**choice, "delta": delta}, *mapping["choices"][1:]]}

    @staticmethod
    def error_of(mapping: Mapping[str, Any]) -> Any:
        """Return the error object that an event holds, `None` if it holds none.

        Raises `StreamDecodeError` for an event of the Responses API.
        """
        if mapping.get("error"):
            return mapping["error"]
        if "choices" in mapping:
            return None
        if mapping.get("object") == "error" or mapping.get("error_code"):
            # An error without an envelope: older vLLM, and FastChat.
            return dict(mapping)
        if str(mapping.get("type")).startswith("response."):
            raise StreamDecodeError(
                f"{mapping['type']} is an event of the Responses API, and this reads chat completions: iterate what "
                "responses.create(..., stream=True) returned as it is"
            )
        return None


def _delta_of(mapping: Mapping[str, Any]) -> Any:
    choices = mapping.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice.get("delta") if isinstance(choice, dict) else None


CHAT = ChatDialect()
