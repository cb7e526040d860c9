"""Langfuse: its client on spans in memory; importing `langfuse.openai` is what patches the SDK."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from typing import Any

from langfuse import Langfuse
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from . import Record, Tool, text_of_output, usage_of
from .spans import Spans, SpanTool


def _read(attributes: Mapping[str, Any], record: Record) -> None:
    usage = json.loads(attributes.get("langfuse.observation.usage_details", "{}"))
    record.error = attributes.get("langfuse.observation.level") == "ERROR"
    record.text = attributes.get("langfuse.observation.output")
    if record.text is not None and record.text.startswith("{"):  # of the Responses API
        record.text = text_of_output([json.loads(record.text)])
        record.finish_reason = attributes.get("langfuse.observation.metadata.status")
    names = ("prompt_tokens", "completion_tokens") if "prompt_tokens" in usage else ("input_tokens", "output_tokens")
    record.usage = usage_of(*map(usage.get, names))


def switch_on() -> Tool:
    os.environ |= {"LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk", "LANGFUSE_HOST": "http://127.0.0.1:9"}
    spans = Spans()
    Langfuse(tracer_provider=spans.provider(), span_exporter=InMemorySpanExporter())
    importlib.import_module("langfuse.openai")
    return SpanTool(spans, _read)
