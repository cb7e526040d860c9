"""The spans of an OpenTelemetry SDK, kept in memory from their start."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.trace import StatusCode

from . import Record, Tool, usage_of


class Spans(SpanProcessor):
    """Keep each span that starts, so that one that never ends is seen too."""

    def __init__(self) -> None:
        self._started: list[Span] = []
        self._lock = threading.Lock()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        with self._lock:
            self._started.append(span)

    def on_end(self, span: ReadableSpan) -> None:
        """Do nothing: a span is the same object from its start to its end."""

    def shutdown(self) -> None:
        """Keep what came."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True

    def provider(self) -> TracerProvider:
        """Return a provider whose spans come here."""
        provider = TracerProvider()
        provider.add_span_processor(self)
        return provider

    def taken(self) -> list[Span]:
        """Return the spans that started since the last call."""
        with self._lock:
            taken, self._started = self._started, []
        return taken


class SpanTool(Tool):
    """A tool whose spans have what is compared in their attributes."""

    def __init__(self, spans: Spans, read: Callable[[Mapping[str, Any], Record], None]) -> None:
        self._spans = spans
        self._read = read

    def taken(self) -> list[Record]:
        return [self._record_of(span) for span in self._spans.taken()]

    def _record_of(self, span: Span) -> Record:
        record = Record(ended=span.end_time is not None, error=span.status.status_code is StatusCode.ERROR)
        self._read(span.attributes or {}, record)
        return record


def read_genai(attributes: Mapping[str, Any], record: Record) -> None:
    """Read what the GenAI conventions call for: messages in JSON, finish reasons, token counts."""
    messages = json.loads(attributes.get("gen_ai.output.messages", "[]"))
    texts = [part["content"] for message in messages for part in message["parts"] if part["type"] == "text"]
    record.text = "".join(texts) if texts else None
    reasons = attributes.get("gen_ai.response.finish_reasons", ())
    record.finish_reason = ", ".join(json.loads(reasons) if isinstance(reasons, str) else reasons) or None
    if record.finish_reason is None and messages:
        record.finish_reason = messages[0].get("finish_reason")
    record.usage = usage_of(attributes.get("gen_ai.usage.input_tokens"), attributes.get("gen_ai.usage.output_tokens"))
