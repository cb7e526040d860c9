"""Chunks to one completion: what the same request with `stream=False` would have returned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .accumulation import Accumulation
from .models import as_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageToolCallUnion

__all__ = ["ChatAccumulator"]


class ChatAccumulator:
    """Accumulate the chunks of one stream, however odd, into a `ChatCompletion`.

    Nothing is invented: no id, usage or finish reason that did not come. Linear in the number of chunks.
    """

    __slots__ = ("_accumulation",)

    def __init__(self) -> None:
        self._accumulation = Accumulation()

    def add(self, chunk: ChatCompletionChunk | Mapping[str, object]) -> None:
        """Take one chunk, or the equivalent mapping, into the completion.

        Raises `TypeError` for a value of another type and `ValueError` for a mapping that is no chunk.
        """
        self._accumulation.add(chunk if type(chunk) is dict else as_mapping(chunk))

    @property
    def completion(self) -> ChatCompletion:
        """The completion so far; never raises, not even with nothing added."""
        return self._accumulation.completion

    @property
    def text(self) -> str:
        """The text of choice 0 so far."""
        return self._accumulation.text

    @property
    def reasoning(self) -> str:
        """The reasoning of choice 0 so far, whatever name the gateway gives it."""
        return self._accumulation.reasoning

    @property
    def refusal(self) -> str:
        """The refusal of choice 0 so far."""
        return self._accumulation.refusal

    @property
    def tool_calls(self) -> list[ChatCompletionMessageToolCallUnion]:
        """The tool calls of choice 0 so far; the last may be incomplete."""
        return self._accumulation.tool_calls

    @property
    def usage(self) -> CompletionUsage | None:
        """The last usage that came."""
        return self._accumulation.usage

    @property
    def finish_reason(self) -> str | None:
        """The finish reason of choice 0."""
        return self._accumulation.finish_reason

    @property
    def finished(self) -> bool:
        """Whether there is a choice and each seen has a finish reason."""
        return self._accumulation.finished
