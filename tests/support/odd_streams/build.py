"""The form of an odd stream, and helpers to build one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chunks import DONE, ENVELOPE, HELLO, event

ROLE = HELLO[0]
HEL = HELLO[:2]
NINE_TOKENS = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
PARIS = '{"city":"Paris"}'


@dataclass(frozen=True, slots=True)
class Silence:
    """A silence of this number of seconds; with `pings`, comments keep the connection alive."""

    seconds: float
    pings: bool = False


@dataclass(frozen=True, slots=True)
class OddStream:
    """A stream as a service sends it, read by read, and the expected result.

    `seen` names the thread, the capture or the service; "by hand" marks a stream that follows from a standard or a
    source alone. `expected` is the completion, or the partial completion of `error`: `choices` and `usage` are compared
    as a whole, of other fields those that are given. `about` names the fields that a reader must not lose, beside text,
    calls and finish reason. With `needs_request` the chunks alone do not say all.
    """

    name: str
    seen: str
    parts: tuple[bytes | Exception | Silence, ...]
    expected: dict[str, Any]
    reasoning: str = ""
    error: str = ""
    code: str | None = None
    idle_timeout: float | None = None
    about: tuple[str, ...] = field(default=())
    needs_request: bool = False

    @property
    def reads(self) -> tuple[bytes | Exception, ...]:
        """The reads without the silences."""
        return tuple(part for part in self.parts if not isinstance(part, Silence))

    @property
    def is_silent(self) -> bool:
        """Whether the stream needs a connection that stays open."""
        return len(self.reads) < len(self.parts)

    @property
    def text(self) -> str:
        """The text of choice 0."""
        content = self.expected["choices"][0]["message"]["content"] if self.expected["choices"] else None
        if isinstance(content, list):
            return "".join(part["text"] for part in content if part["type"] == "text")
        return content or ""


def message(content: Any = "Hello", **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def answer(
    content: Any = "Hello",
    finish_reason: str | None = "stop",
    *,
    used: dict[str, Any] | None = None,
    choice: dict[str, Any] | None = None,
    top: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return a completion with one choice; `more` goes into the message."""
    whole = {"index": 0, "finish_reason": finish_reason, "message": message(content, **more), **(choice or {})}
    return {"choices": [whole], **({"usage": used} if used else {}), **(top or {})}


def calling(*calls: tuple[str | None, str, str], finish_reason: str = "tool_calls", **more: Any) -> dict[str, Any]:
    """Return a completion that calls functions, each given as id, name and arguments."""
    return answer(None, finish_reason, tool_calls=[call(*one) for one in calls], **more)


def call(call_id: str | None, name: str, arguments: str, **more: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {**({"id": call_id} if call_id else {}), "type": "function", "function": function, **more}


def call_delta(arguments: Any = None, *, name: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a delta of a tool call with the given fields."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**more, "function": function}


def joined_lines(*lines: str) -> bytes:
    return "\n".join(lines).encode()


def streamed(*chunks: Any, done: bool = True) -> tuple[bytes, ...]:
    """Return each chunk as its own read, as a slow model sends them."""
    return (*map(event, chunks), *((DONE,) if done else ()))


def litellm(*deltas: Any, **more: Any) -> tuple[dict[str, Any], ...]:
    """Return chunks with the envelope of LiteLLM's captures, which has no null fields."""
    return tuple({**ENVELOPE, "system_fingerprint": "fp_stub0001", "choices": [delta], **more} for delta in deltas)


def litellm_error(message: str, kind: str | None, code: str = "500") -> bytes:
    """Return an error as LiteLLM's proxy writes it."""
    return event({"error": {"message": message, "type": kind, "param": None, "code": code}})


SAFE = {"hate": {"filtered": False, "severity": "safe"}}
STUB_USAGE = {"completion_tokens": 5, "prompt_tokens": 11, "total_tokens": 16}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
OPENING = {"delta": {"role": "assistant", "content": ""}, "index": 0}
