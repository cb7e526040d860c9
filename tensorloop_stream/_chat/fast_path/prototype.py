"""Copy a chunk with another text, which costs less than to build one from JSON.

Touches private API: the slots of a pydantic model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorloop_stream._chat.models import valid_logprobs
from tensorloop_stream._stream.model_copy import ModelCopy

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionChunk


class ChunkPrototype:
    """A chunk of one choice, of which others are copies with a text of their own."""

    __slots__ = ("_call", "_choice", "_chunk", "_delta", "_function", "_is_padded", "_is_padding_known", "_name")

    def __init__(self, chunk: ChatCompletionChunk, name: str) -> None:
        (choice,) = chunk.choices
        self._name = name
        # A field of the SDK since openai 3.
        extra = chunk.__pydantic_extra__ or {}
        self._is_padded = getattr(chunk, "obfuscation", None) is not None
        self._is_padding_known = "obfuscation" not in extra
        self._chunk = ModelCopy(chunk, "choices")
        self._choice = ModelCopy(choice, "delta", "logprobs")
        self._delta = ModelCopy(choice.delta, "tool_calls")
        self._call = self._function = None
        if choice.delta.tool_calls:
            (call,) = choice.delta.tool_calls
            self._call, self._function = ModelCopy(call, "function"), ModelCopy(call.function)

    def copy_with(self, piece: str, logprobs: bytes, padding: bytes) -> ChatCompletionChunk | None:
        """Return a chunk with this piece, which shares nothing that can be changed.

        `logprobs` are its log probabilities as JSON, empty if it has none; `None` if they are none. `padding` is its
        obfuscation, if it has one.
        """
        typed = None
        if logprobs:
            typed = valid_logprobs(logprobs)
            if typed is None:
                return None
        if self._call is not None and self._function is not None:
            delta = self._delta.copy_with(
                "tool_calls", [self._call.copy_with("function", self._function.copy_with(self._name, piece))]
            )
        elif self._name == "content":
            delta = self._delta.copy_with("content", piece)
        else:
            delta = self._delta.copy_with_extra(self._name, piece)
        choice = self._choice.copy_with("delta", delta)
        if typed is not None:
            vars(choice)["logprobs"] = typed
        chunk = self._chunk.copy_with("choices", [choice])
        if self._is_padded:
            fields = vars(chunk) if self._is_padding_known else chunk.__pydantic_extra__
            fields["obfuscation"] = padding.decode()
        return chunk  # type: ignore[no-any-return] # of the kind of the first


def build_prototype(
    chunk: ChatCompletionChunk, name: str, piece: str, logprobs: bytes, padding: bytes
) -> ChunkPrototype | None:
    """Return the prototype of a chunk whose text stands in the field `name`; `None` if a copy would not equal it."""
    try:
        prototype = ChunkPrototype(chunk, name)
        copy = prototype.copy_with(piece, logprobs, padding)
    except (AttributeError, TypeError, ValueError):
        return None
    return prototype if copy is not None and copy == chunk and _sets(copy) == _sets(chunk) else None


def _sets(chunk: ChatCompletionChunk) -> list[Any]:
    """Return what equality does not look at: which fields were sent."""
    (choice,) = chunk.choices
    parts: list[Any] = [chunk, choice, choice.delta]
    for call in choice.delta.tool_calls or ():
        parts += [call, call.function]
    return [(part.__pydantic_fields_set__, part.__pydantic_extra__, part.__pydantic_private__) for part in parts]
