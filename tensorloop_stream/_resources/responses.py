"""The SDK's `responses`, streamed as `ResponseStream`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from openai.resources.responses.responses import AsyncResponses, Responses

from tensorloop_stream._responses.streams import AsyncResponseStream, ResponseStream

from .creating import AsyncCreatesStreams, CreatesStreams, OuterResource, held_by


class TensorloopResponses(CreatesStreams, Responses):
    """`create(..., stream=True)` returns a `ResponseStream`, whatever tool is in between; all else is the SDK's."""

    _kind = ResponseStream
    _sdk_class = Responses

    if not TYPE_CHECKING:

        @functools.wraps(Responses.create, updated=())
        def create(self, *args: Any, **kwargs: Any) -> Any:
            return self._create(super().create, *args, **kwargs)


class AsyncTensorloopResponses(AsyncCreatesStreams, AsyncResponses):
    """`create(..., stream=True)` returns an `AsyncResponseStream`; all else is the SDK's."""

    _kind = AsyncResponseStream
    _sdk_class = AsyncResponses

    if not TYPE_CHECKING:

        @functools.wraps(AsyncResponses.create, updated=())
        async def create(self, *args: Any, **kwargs: Any) -> Any:
            return await self._create(super().create, *args, **kwargs)


def outer_responses(responses: Any) -> Any:
    """Return what a client keeps as `responses` where somebody sets it to this, as `outer_chat` does."""
    if isinstance(responses, (CreatesStreams, AsyncCreatesStreams)):
        return responses
    ours = held_by(responses, (CreatesStreams, AsyncCreatesStreams))
    return responses if ours is None else OuterResource(responses, ours)
