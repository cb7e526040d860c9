"""The log probabilities of one choice: kept as they came, and typed only when somebody asks for them."""

from __future__ import annotations

import gc
from contextlib import suppress
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

import jiter
import pydantic
from openai.types.chat import ChatCompletionTokenLogprob
from openai.types.chat.chat_completion import ChoiceLogprobs
from pydantic_core import to_json
from typing_extensions import TypedDict  # pydantic refuses that of typing before Python 3.12

from ._chunks import built, parse_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Older vLLM sends those of the legacy completions instead: lists of another make (vllm#3179).
_TYPED = frozenset({"content", "refusal"})


class Logprobs:
    """What has come of the log probabilities of one choice; typed once, however often it is asked for."""

    __slots__ = ("_lists", "_untyped")

    def __init__(self) -> None:
        # A whole chunk is kept as its bytes: a fifth of the memory of its objects, and nothing for the garbage
        # collector to walk through.
        self._untyped: list[bytes | Mapping[str, Any]] = []
        self._lists: dict[str, list[Any]] = {}

    def add(self, logprobs: bytes | Mapping[str, Any]) -> None:
        """Take what one chunk brings, or that chunk as its JSON if it has one choice and all that is `is_plain`."""
        if is_plain(logprobs):
            with suppress(ValueError):  # half a pair of characters
                logprobs = in_a_chunk(to_json(logprobs))
        self._untyped.append(logprobs)

    def to_model(self) -> ChoiceLogprobs:
        """Return all that has come, as the SDK's type."""
        for is_json, group in groupby(self._untyped, lambda one: type(one) is bytes):
            for logprobs in _typed_payloads(list(group)) if is_json else map(_typed_mapping, group):  # type: ignore[arg-type] # groupby tells them apart
                for name, entries in logprobs.items():
                    if isinstance(entries, list):
                        self._lists.setdefault(name, []).extend(entries)
        self._untyped.clear()
        model = ChoiceLogprobs.construct()
        for name, entries in self._lists.items():
            setattr(model, name, list(entries))
        return model


def is_plain(logprobs: object) -> bool:
    """Tell whether the bytes of a chunk may stand for these log probabilities."""
    return type(logprobs) is dict and logprobs.keys() <= _TYPED


def is_plain_json(logprobs: bytes) -> bool:
    """Tell the same of their JSON; `False` for what is none."""
    try:
        return is_plain(jiter.from_json(logprobs))
    except ValueError:
        return False


def in_a_chunk(logprobs: bytes) -> bytes:
    """Return the JSON of a chunk that has these log probabilities and nothing else."""
    return b'{"choices":[{"logprobs":%b}]}' % logprobs


class _Sent(TypedDict, total=False):
    content: list[ChatCompletionTokenLogprob] | None
    refusal: list[ChatCompletionTokenLogprob] | None


class _SentChoice(TypedDict):
    logprobs: _Sent


class _SentChunk(TypedDict):
    choices: list[_SentChoice]


@cache
def _chunks() -> pydantic.TypeAdapter[list[_SentChunk]]:
    # Built at the first use, since it takes some milliseconds.
    return pydantic.TypeAdapter(list[_SentChunk])


def _typed_payloads(payloads: list[bytes]) -> Iterable[Mapping[str, Any]]:
    whole, validate = b"[" + b",".join(payloads) + b"]", _chunks().validate_json
    # A hundred thousand objects in one call, none of them garbage: the collector would walk through those that are
    # there again and again.
    collects = gc.isenabled()
    gc.disable()
    try:
        # All at once, in Rust: what else the chunks hold is passed over.
        chunks = validate(whole)
    except ValueError:
        return [_typed_mapping(parse_object(payload)["choices"][0]["logprobs"]) for payload in payloads]
    finally:
        if collects:
            gc.enable()
    return [chunk["choices"][0]["logprobs"] for chunk in chunks]


def _typed_mapping(logprobs: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        name: [_typed(entry) for entry in entries] if name in _TYPED and isinstance(entries, list) else entries
        for name, entries in logprobs.items()
    }


def _typed(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    try:
        # As the SDK does with an optional field: by validation, which is in Rust, else as it came.
        return ChatCompletionTokenLogprob.model_validate(entry)
    except ValueError:
        return built(ChatCompletionTokenLogprob, entry)
