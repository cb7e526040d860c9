"""PostHog: its client class over ours or the SDK's, and a hook that keeps the events and drops them."""

from __future__ import annotations

from typing import Any

import openai
from posthog import Posthog
from posthog.ai.openai import AsyncOpenAI, OpenAI

from . import Record, Tool, usage_of


class PostHog(Tool):
    def __init__(self) -> None:
        self._events: list[dict[str, Any]] = []
        self._posthog = Posthog("none", host="http://127.0.0.1:9", before_send=self._keep, sync_mode=True)

    def client_class(self, kind: type[Any]) -> type[Any]:
        theirs = AsyncOpenAI if issubclass(kind, openai.AsyncOpenAI) else OpenAI
        posthog_client = self._posthog

        def __init__(self: Any, **settings: Any) -> None:  # noqa: N807 - of a class made here
            theirs.__init__(self, posthog_client=posthog_client, **settings)

        return type(kind.__name__, (theirs, kind), {"__init__": __init__})

    def _keep(self, event: dict[str, Any]) -> None:
        self._events.append(event["properties"])

    def taken(self) -> list[Record]:
        events, self._events = self._events, []
        return [_record_of(event) for event in events]


def _record_of(event: dict[str, Any]) -> Record:
    parts = [part for choice in event["$ai_output_choices"] for part in choice["content"]]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    return Record(
        ended=True,
        error=bool(event.get("$ai_is_error")),
        text="".join(texts) if texts else None,
        finish_reason=event.get("$ai_stop_reason"),
        usage=usage_of(event.get("$ai_input_tokens"), event.get("$ai_output_tokens")),
    )


def switch_on() -> Tool:
    return PostHog()
