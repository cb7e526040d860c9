"""MLflow: autologging, with spans in memory, and an exporter in place of the one for OTLP."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import mlflow
from mlflow.tracing import provider
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from . import Record, Tool, text_of_output, usage_of
from .spans import Spans, SpanTool


def _read(attributes: Mapping[str, Any], record: Record) -> None:
    output = json.loads(attributes.get("mlflow.spanOutputs", "null")) or {}
    usage = json.loads(attributes.get("mlflow.chat.tokenUsage", "{}"))
    if choices := output.get("choices"):
        record.text = choices[0]["message"]["content"]
        record.finish_reason = choices[0]["finish_reason"]
    elif "output" in output:
        record.text, record.finish_reason = text_of_output(output["output"]), output["status"]
    record.usage = usage_of(usage.get("input_tokens"), usage.get("output_tokens"))


def switch_on() -> Tool:
    # With an endpoint, which is never asked, MLflow needs no database; and it adds to the provider that is there.
    os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = "http://127.0.0.1:9/v1/traces"
    os.environ["MLFLOW_USE_DEFAULT_TRACER_PROVIDER"] = "false"
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    provider.get_otlp_exporter = InMemorySpanExporter
    spans = Spans()
    trace.set_tracer_provider(spans.provider())
    mlflow.openai.autolog()
    return SpanTool(spans, _read)
