"""Opik: its own recording in memory."""

from __future__ import annotations

import os
from typing import Any

import opik
from opik.integrations.openai import track_openai

from . import Record, Tool, text_of_output, usage_of


class Opik(Tool):
    def __init__(self) -> None:
        # Held, or it would end when it is collected.
        self._recording = opik.record_traces_locally()
        self._kept = self._recording.__enter__()
        self._taken = 0

    def client(self, client: Any) -> Any:
        return track_openai(client)

    def taken(self) -> list[Record]:
        spans = [span for trace in self._kept.trace_trees for span in trace.spans]
        new, self._taken = spans[self._taken :], len(spans)
        return [_record_of(span) for span in new]


def _record_of(span: Any) -> Record:
    record = Record(ended=span.end_time is not None, error=span.error_info is not None)
    if choices := (span.output or {}).get("choices"):
        record.text = choices[0]["message"]["content"]
        record.finish_reason = choices[0].get("finish_reason")
    elif output := (span.output or {}).get("output"):
        record.text, record.finish_reason = text_of_output(output), span.metadata.get("status")
    usage = span.usage or {}
    record.usage = usage_of(usage.get("prompt_tokens"), usage.get("completion_tokens"))
    return record


def switch_on() -> Tool:
    os.environ |= {"OPIK_URL_OVERRIDE": "http://127.0.0.1:9/api", "OPIK_SENTRY_ENABLE": "false"}
    return Opik()
