"""Langfuse: its client on spans in memory; importing `langfuse.openai` is what patches the SDK."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from typing import Any

from langfuse import Langfuse
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from . import Record, Tool, usage_of
from .spans import Spans, SpanTool


def _read(attributes: Mapping[str, Any], record: Record) -> None:
    usage = json.loads(attributes.get("langfuse.observation.usage_details", "{}"))
    record.error = attributes.get("langfuse.observation.level") == "ERROR"
    record.text = attributes.get("langfuse.observation.output")
    record.usage = usage_of(usage.get("prompt_tokens"), usage.get("completion_tokens"))


def switch_on() -> Tool:
    os.environ |= {"LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk", "LANGFUSE_HOST": "http://127.0.0.1:9"}
    spans = Spans()
    Langfuse(tracer_provider=spans.provider(), span_exporter=InMemorySpanExporter())
    importlib.import_module("langfuse.openai")
    return SpanTool(spans, _read)
