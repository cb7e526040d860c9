"""Logfire: configured to send nothing, with its spans in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import logfire

from . import Record, Tool
from .spans import Spans, SpanTool, read_genai


def _read(attributes: Mapping[str, Any], record: Record) -> None:
    record.error = attributes.get("logfire.level_num", 0) >= 17
    read_genai(attributes, record)


def switch_on() -> Tool:
    spans = Spans()
    logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[spans])
    logfire.instrument_openai()
    return SpanTool(spans, _read)
