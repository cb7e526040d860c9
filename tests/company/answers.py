"""The events of an answer, in each of the APIs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

# Input tokens and output tokens.
TOKENS = (7, 13)
_ERROR = {"message": "The model is overloaded", "code": "503"}


class Answer(Protocol):
    """The events of one answer: before its text, for its text, and for its end."""

    def begin(self) -> list[dict[str, Any]]: ...

    def text(self, word: str) -> dict[str, Any]: ...

    def end(self, words: Sequence[str]) -> list[dict[str, Any]]: ...

    def fail(self) -> list[dict[str, Any]]: ...


class ChatAnswer:
    """An answer of chat completions."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self._with_usage = bool((asked.get("stream_options") or {}).get("include_usage"))

    def begin(self) -> list[dict[str, Any]]:
        return [self._chunk({"role": "assistant", "content": ""})]

    def text(self, word: str) -> dict[str, Any]:
        return self._chunk({"content": word})

    def end(self, words: Sequence[str]) -> list[dict[str, Any]]:
        usage = {"prompt_tokens": TOKENS[0], "completion_tokens": TOKENS[1], "total_tokens": sum(TOKENS)}
        last = [self._chunk(None) | {"usage": usage}] if self._with_usage else []
        return [self._chunk({}, "stop"), *last]

    def fail(self) -> list[dict[str, Any]]:
        return [{"error": {**_ERROR, "type": "server_error"}}]

    def _chunk(self, delta: dict[str, Any] | None, finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        chunk = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_764_200_000,
            "model": "gpt-4o-mini",
            "choices": [] if delta is None else [choice],
        }
        return chunk | {"usage": None} if self._with_usage else chunk


class ResponseAnswer:
    """An answer of the Responses API: one message with one text."""

    def __init__(self) -> None:
        self._number = 0

    def begin(self) -> list[dict[str, Any]]:
        item = _message("in_progress")
        return [
            self._event("created", response=_response("in_progress")),
            self._event("in_progress", response=_response("in_progress")),
            self._event("output_item.added", output_index=0, item=item),
            self._event("content_part.added", **_PLACE, part=_part("")),
        ]

    def text(self, word: str) -> dict[str, Any]:
        return self._event("output_text.delta", **_PLACE, delta=word, logprobs=[])

    def end(self, words: Sequence[str]) -> list[dict[str, Any]]:
        part = _part("".join(words))
        item = _message("completed", part)
        return [
            self._event("output_text.done", **_PLACE, text=part["text"], logprobs=[]),
            self._event("content_part.done", **_PLACE, part=part),
            self._event("output_item.done", output_index=0, item=item),
            self._event("completed", response=_response("completed", item) | {"usage": _usage()}),
        ]

    def fail(self) -> list[dict[str, Any]]:
        return [self._event("failed", response=_response("failed") | {"error": {**_ERROR, "code": "server_error"}})]

    def _event(self, kind: str, **fields: Any) -> dict[str, Any]:
        self._number += 1
        return {"type": f"response.{kind}", "sequence_number": self._number - 1, **fields}


_PLACE = {"item_id": "msg_1", "output_index": 0, "content_index": 0}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _message(status: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": status, "content": list(parts)}


def _usage() -> dict[str, Any]:
    return {
        "input_tokens": TOKENS[0],
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": TOKENS[1],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": sum(TOKENS),
    }


def _response(status: str, *output: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_764_200_000,
        "model": "gpt-4o-mini",
        "status": status,
        "output": list(output),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "temperature": 1.0,
        "top_p": 1.0,
        "usage": None,
    }
