"""OpenInference: its instrumentor on spans in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openinference.instrumentation.openai import OpenAIInstrumentor

from . import Record, Tool, usage_of
from .spans import Spans, SpanTool


def _read(attributes: Mapping[str, Any], record: Record) -> None:
    message = "llm.output_messages.0.message"
    record.text = attributes.get(f"{message}.content", attributes.get(f"{message}.contents.0.message_content.text"))
    record.finish_reason = attributes.get("llm.finish_reason")
    record.usage = usage_of(attributes.get("llm.token_count.prompt"), attributes.get("llm.token_count.completion"))


def switch_on() -> Tool:
    spans = Spans()
    OpenAIInstrumentor().instrument(tracer_provider=spans.provider())
    return SpanTool(spans, _read)
