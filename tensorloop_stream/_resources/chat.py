"""The SDK's `chat`, with completions that stream as `ChatStream`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from openai.resources.chat.chat import AsyncChat, Chat
from openai.resources.chat.completions.completions import AsyncCompletions, Completions

from tensorloop_stream._chat.streams import AsyncChatStream, ChatStream
from tensorloop_stream._stream.foreign import replaceable_property

from .creating import AsyncCreatesStreams, CreatesStreams, OuterResource, Resource, held_by


class TensorloopCompletions(CreatesStreams, Completions):
    """`create(..., stream=True)` returns a `ChatStream`, whatever tool is in between; all else is the SDK's."""

    _kind = ChatStream
    _sdk_class = Completions

    if not TYPE_CHECKING:

        @functools.wraps(Completions.create, updated=())
        def create(self, *args: Any, **kwargs: Any) -> Any:
            return self._create(super().create, *args, **kwargs)


class AsyncTensorloopCompletions(AsyncCreatesStreams, AsyncCompletions):
    """`create(..., stream=True)` returns an `AsyncChatStream`, whatever tool is in between; all else is the SDK's."""

    _kind = AsyncChatStream
    _sdk_class = AsyncCompletions

    if not TYPE_CHECKING:

        @functools.wraps(AsyncCompletions.create, updated=())
        async def create(self, *args: Any, **kwargs: Any) -> Any:
            return await self._create(super().create, *args, **kwargs)


class TensorloopChat(Resource, Chat):
    """The SDK's `chat`, with these completions."""

    @replaceable_property
    def completions(self) -> Completions:
        """Chat completions, streamed as `ChatStream`."""
        return TensorloopCompletions(self._gateway_client)


class AsyncTensorloopChat(Resource, AsyncChat):
    """The SDK's `chat`, with these completions."""

    @replaceable_property
    def completions(self) -> AsyncCompletions:
        """Chat completions, streamed as `AsyncChatStream`."""
        return AsyncTensorloopCompletions(self._gateway_client)


class _OuterChat:
    """The `chat` that a tool's client class puts in place of ours, with our `create` around the tool's (PostHog)."""

    def __init__(self, theirs: Any, ours: Any) -> None:
        self._theirs = theirs
        self._ours = ours

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._theirs, name)
        return OuterResource(value, self._ours.completions) if name == "completions" else value


def outer_chat(chat: Any) -> Any:
    """Return what a client keeps as `chat` where somebody sets it to this.

    An object that holds our `chat` is a tool's around it; a mock that does is left alone.
    """
    ours = held_by(chat, (TensorloopChat, AsyncTensorloopChat))
    return chat if ours is None or isinstance(chat, (Chat, AsyncChat)) else _OuterChat(chat, ours)
