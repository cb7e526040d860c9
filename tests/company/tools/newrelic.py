"""New Relic: in developer mode, which sends nothing; a hook keeps the events of a transaction."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from newrelic import agent
from newrelic.api.transaction import Transaction

from . import Record, Tool, usage_of


class NewRelic(Tool):
    def __init__(self, application: Any) -> None:
        self._application = application
        self._events: list[tuple[str, dict[str, Any]]] = []
        self._keep_events()

    def action(self) -> AbstractContextManager[object]:
        return agent.BackgroundTask(self._application, name="action")

    def taken(self) -> list[Record]:
        events, self._events = self._events, []
        summaries = [event for kind, event in events if kind == "LlmChatCompletionSummary"]
        texts = [event for kind, event in events if kind == "LlmChatCompletionMessage" and event.get("is_response")]
        return [_record_of(summary, texts) for summary in summaries]

    def _keep_events(self) -> None:
        record = Transaction.record_custom_event

        def record_custom_event(transaction: Any, event_type: str, params: dict[str, Any]) -> Any:
            self._events.append((event_type, params))
            return record(transaction, event_type, params)

        Transaction.record_custom_event = record_custom_event


def _record_of(summary: dict[str, Any], texts: list[dict[str, Any]]) -> Record:
    text = next((event["content"] for event in texts if event["completion_id"] == summary["id"]), None)
    tokens = ("response.usage.prompt_tokens", "response.usage.completion_tokens")
    return Record(
        ended=True,
        error=bool(summary.get("error")),
        text=text,
        finish_reason=summary.get("response.choices.finish_reason"),
        usage=usage_of(*(summary.get(name) for name in tokens)),
    )


def switch_on() -> Tool:
    settings = agent.global_settings()
    settings.developer_mode = True
    settings.license_key = "0" * 40
    settings.app_name = "company"
    settings.ai_monitoring.enabled = True
    settings.ai_monitoring.streaming.enabled = True
    agent.initialize()
    return NewRelic(agent.register_application(timeout=10))
