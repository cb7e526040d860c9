"""OpenTelemetry's openai-v2: its instrumentor on spans in memory, which may hold texts."""

from __future__ import annotations

import os

from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor

from . import Tool
from .spans import Spans, SpanTool, read_genai


def switch_on() -> Tool:
    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "gen_ai_latest_experimental"
    os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "SPAN_ONLY"
    spans = Spans()
    OpenAIInstrumentor().instrument(tracer_provider=spans.provider())
    return SpanTool(spans, read_genai)
