"""Chat completions as a dialect of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorloop_stream._errors import StreamDecodeError
from tensorloop_stream._http.error_object import is_failure
from tensorloop_stream._stream.error_events import bare_error, with_code

from . import models
from .accumulator import ChatAccumulation
from .fast_path.matcher import FastPath

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai.types.chat import ChatCompletionChunk


class ChatDialect:
    """The stream of `chat.completions.create(..., stream=True)`: chunks to one `ChatCompletion`."""

    stream_name = "ChatStream"
    item_name = "chunk"
    result_name = "completion"
    unfinished = "no finish_reason and no [DONE]"
    is_named = False
    retried_codes: frozenset[str] | None = None
    unfinished_result = "[DONE] and no choice"
    new_accumulation = ChatAccumulation
    new_fast_path = FastPath

    @staticmethod
    def build(payload: bytes, mapping: Mapping[str, Any]) -> ChatCompletionChunk:
        """Return the chunk of an event; raises `StreamDecodeError` if the SDK could not build one."""
        return models.typed_chunk(payload, mapping)

    @staticmethod
    def as_first(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the first event of a stream as it is to be built: a whole completion becomes a chunk."""
        return models.chunk_of_completion(mapping)

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
    def named(mapping: Mapping[str, Any], name: str) -> Mapping[str, Any]:  # noqa: ARG004 - of other dialects
        """Return the chunk: the name of its event says nothing."""
        return mapping

    @staticmethod
    def is_heartbeat(mapping: Mapping[str, Any]) -> bool:  # noqa: ARG004 - of other dialects
        """Return `False`: heartbeats of this API are no chunks."""
        return False

    @staticmethod
    def is_item(mapping: Mapping[str, Any]) -> bool:  # noqa: ARG004 - of other dialects
        """Return `False`: an error is no chunk."""
        return False

    @staticmethod
    def error_of(mapping: Mapping[str, Any]) -> Any:
        """Return the error object that an event holds, `None` if it holds none.

        An event is an error if one of these is true; whatever else stands beside choices is a warning, and harmless:

        - It has an `error` (OpenAI), or one of its choices has (OpenRouter); one whose fields are all empty, or whose
          code and message are those of a success, is none.
        - It has a `base_resp` whose `status_code` is not 0 (MiniMax).
        - It has no choice, but the type or object `error` (older vLLM), a field that is not empty and has the name of
          an error (FastChat, hermes-agent#65631, AWS), `success: false` (Cloudflare), or a `detail` (FastAPI).
        - It has no choice, but a `message` or `msg` beside a `code` or `status` other than that of a success. Where the
          code is a number, the message may stand in an object beside it, or both in one object.

        A code of success beside it says that it is none. The code of an error may stand beside it.

        Raises `StreamDecodeError` for an event of the Responses API.
        """
        error = mapping.get("error")
        if _is_error(error):
            return error if mapping.get("choices") else with_code(error, mapping)
        status = mapping.get("base_resp")
        if isinstance(status, dict) and is_failure(status.get("status_code")):
            return status
        choices = mapping.get("choices")
        if choices:
            return _error_of_choices(choices)
        if (bare := bare_error(mapping)) is not None:
            return bare
        if str(mapping.get("type")).startswith("response."):
            raise StreamDecodeError(
                f"{mapping['type']} is an event of the Responses API, and this reads chat completions: use "
                "ResponseStream"
            )
        return None


def _error_of_choices(choices: Any) -> Any:
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and _is_error(choice.get("error")):
            return choice["error"]
    return None


def _is_error(error: Any) -> bool:
    """Tell whether the value of a field `error` is one."""
    if not isinstance(error, dict):
        return bool(error)
    code, message = error.get("code"), error.get("message")
    # Some hosts send zero in every chunk. An error without a code, or with the words of one, is one.
    is_success = code is not None and code != "" and not is_failure(code) and not (message and is_failure(message))
    return any(error.values()) and not (is_success and not error.get("type"))


def _delta_of(mapping: Mapping[str, Any]) -> Any:
    choices = mapping.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice.get("delta") if isinstance(choice, dict) else None


CHAT = ChatDialect()
