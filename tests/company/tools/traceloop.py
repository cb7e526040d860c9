"""Traceloop (OpenLLMetry): its instrumentor on spans in memory."""

from __future__ import annotations

from opentelemetry.instrumentation.openai import OpenAIInstrumentor

from . import Tool
from .spans import Spans, SpanTool, read_genai


def switch_on() -> Tool:
    spans = Spans()
    OpenAIInstrumentor().instrument(tracer_provider=spans.provider())
    return SpanTool(spans, read_genai)
