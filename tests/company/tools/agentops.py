"""AgentOps: its instrumentor of the SDK on spans in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentops.instrumentation.providers.openai import OpenaiInstrumentor

from . import Record, Tool, usage_of
from .spans import Spans, SpanTool


def _read(attributes: Mapping[str, Any], record: Record) -> None:
    record.text = attributes.get("gen_ai.completion.0.content")
    record.finish_reason = attributes.get("gen_ai.completion.0.finish_reason")
    record.usage = usage_of(
        attributes.get("gen_ai.usage.prompt_tokens"), attributes.get("gen_ai.usage.completion_tokens")
    )


def switch_on() -> Tool:
    spans = Spans()
    OpenaiInstrumentor().instrument(tracer_provider=spans.provider())
    return SpanTool(spans, _read)
