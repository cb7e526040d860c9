"""Keep the log probabilities of one choice as JSON, and build the SDK's types on demand."""

from __future__ import annotations

import gc
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import jiter
from openai.types.chat import ChatCompletionTokenLogprob
from openai.types.chat.chat_completion import ChoiceLogprobs
from pydantic_core import to_json
from typing_extensions import TypedDict  # pydantic refuses that of typing before Python 3.12

from tensorloop_stream._stream.models import build_model, json_validator
from tensorloop_stream._stream.payload import parse_object

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Older vLLM sends those of the legacy completions instead: lists of another make (vllm#3179).
_TYPED = frozenset({"content", "refusal"})


class Logprobs:
    """The log probabilities of one choice so far; each is built once."""

    __slots__ = ("_lists", "_untyped")

    def __init__(self) -> None:
        # JSON is kept as its bytes: a fifth of the memory of its objects, and nothing for the garbage collector to
        # walk through.
        self._untyped: list[bytes | Mapping[str, Any]] = []
        self._lists: dict[str, list[Any]] = {}

    def add(self, logprobs: bytes | Mapping[str, Any]) -> None:
        """Take what one chunk brings: as an object, or as JSON that is `is_plain_json`."""
        if is_plain(logprobs):
            with suppress(ValueError):  # half a pair of characters
                logprobs = to_json(logprobs)
        self._untyped.append(logprobs)

    def to_model(self) -> ChoiceLogprobs:
        """Return all that has come, as the SDK's type."""
        # A hundred thousand objects, none of them garbage: the collector would walk through those that are there
        # again and again.
        collects = gc.isenabled()
        gc.disable()
        try:
            for logprobs in self._untyped:
                for name, entries in _typed(logprobs).items():
                    if isinstance(entries, list):
                        self._lists.setdefault(name, []).extend(entries)
        finally:
            if collects:
                gc.enable()
        self._untyped.clear()
        model = ChoiceLogprobs.construct()
        for name, entries in self._lists.items():
            setattr(model, name, list(entries))
        return model


def is_plain(logprobs: object) -> bool:
    """Tell whether these are log probabilities and nothing beside them."""
    return type(logprobs) is dict and logprobs.keys() <= _TYPED


def is_plain_json(logprobs: bytes) -> bool:
    """Tell the same of their JSON; `False` for what is none."""
    try:
        value = jiter.from_json(logprobs)
    except ValueError:
        return False
    return type(value) is dict and value.keys() <= _TYPED


class _Sent(TypedDict, total=False):
    content: list[ChatCompletionTokenLogprob] | None
    refusal: list[ChatCompletionTokenLogprob] | None


@cache
def _validate_json() -> Callable[..., _Sent]:
    return json_validator(_Sent)


def _typed(logprobs: bytes | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(logprobs, bytes):
        try:
            return _validate_json()(logprobs, strict=True)
        except ValueError:
            logprobs = parse_object(logprobs)
    return {
        name: [_typed_entry(entry) for entry in entries] if name in _TYPED and isinstance(entries, list) else entries
        for name, entries in logprobs.items()
    }


def _typed_entry(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    try:
        # As the SDK does with an optional field: by validation, which is in Rust, else as it came.
        return ChatCompletionTokenLogprob.model_validate(entry)
    except ValueError:
        return build_model(ChatCompletionTokenLogprob, entry)
