"""The tracing tools, a module each: how one is switched on without a network, and what it has recorded."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Record:
    """One span or generation, in the terms that all tools share; `None` is what the tool does not record."""

    ended: bool
    error: bool = False
    text: str | None = None
    finish_reason: str | None = None
    usage: list[int] | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Tool:
    """A tool that is switched on for the whole process; this one records nothing."""

    def client_class(self, kind: type[Any]) -> type[Any]:
        """Return the class of clients to use in place of `kind`."""
        return kind

    def client(self, client: Any) -> Any:
        """Return the client to use in place of this one."""
        return client

    def action(self) -> AbstractContextManager[object]:
        """Return what a program of this tool's users has around its work, if anything."""
        return nullcontext()

    def taken(self) -> list[Record]:
        """Return what the tool has recorded since the last call."""
        raise NotImplementedError


def text_of_output(output: list[Any]) -> str | None:
    """Return the text of what the Responses API calls `output`; of an answer that has no end, some tools keep texts."""
    texts = [part["text"] for item in output if isinstance(item, dict) for part in item.get("content") or []]
    texts += [item for item in output if isinstance(item, str)]
    return "".join(texts) if texts else None


def usage_of(prompt_tokens: Any, completion_tokens: Any) -> list[int] | None:
    return None if prompt_tokens is None and completion_tokens is None else [prompt_tokens or 0, completion_tokens or 0]
