"""The APIs whose streams are compared: how a stream is asked for, and where its texts are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensorloop_stream import AsyncChatStream, AsyncResponseStream, ChatStream, ResponseStream


@dataclass(frozen=True)
class API:
    """An API of the SDK that streams."""

    resource: Callable[[Any], Any]
    # What a request says beside the model.
    asked: dict[str, Any]
    stream_class: Any
    async_stream_class: Any
    get_final: str
    # Of an item of a plain loop, of one of the SDK's helper, and of a whole or partial result.
    text_of_item: Callable[[Any], str | None]
    text_of_event: Callable[[Any], str | None]
    text_of_result: Callable[[Any], str | None]


def _text_of_chunk(chunk: Any) -> str | None:
    return chunk.choices[0].delta.content if chunk.choices else None


def _text_of_delta(event: Any) -> str | None:
    return event.delta if event.type in {"content.delta", "response.output_text.delta"} else None


APIS = {
    "chat": API(
        resource=lambda client: client.chat.completions,
        asked={"messages": [{"role": "user", "content": "hello"}], "stream_options": {"include_usage": True}},
        stream_class=ChatStream,
        async_stream_class=AsyncChatStream,
        get_final="get_final_completion",
        text_of_item=_text_of_chunk,
        text_of_event=_text_of_delta,
        text_of_result=lambda completion: completion.choices[0].message.content,
    ),
    "responses": API(
        resource=lambda client: client.responses,
        asked={"input": "hello"},
        stream_class=ResponseStream,
        async_stream_class=AsyncResponseStream,
        get_final="get_final_response",
        text_of_item=_text_of_delta,
        text_of_event=_text_of_delta,
        text_of_result=lambda response: response.output_text,
    ),
}
