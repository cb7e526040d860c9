"""Braintrust: its logger over a background that keeps the rows, as in its own tests."""

from __future__ import annotations

from typing import Any

import braintrust
from braintrust import logger
from braintrust.test_helpers import init_test_logger
from braintrust.util import LazyValue

from . import Record, Tool, text_of_output, usage_of


class Braintrust(Tool):
    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def client(self, client: Any) -> Any:
        return braintrust.wrap_openai(client)

    def taken(self) -> list[Record]:
        return [_record_of(row) for row in self._rows.pop()]


def _record_of(row: dict[str, Any]) -> Record:
    metrics = row["metrics"]
    record = Record(ended="end" in metrics, error=bool(row.get("error")))
    output = row.get("output") or [{}]
    if "message" in output[0]:
        record.text = output[0]["message"]["content"]
        record.finish_reason = output[0]["finish_reason"]
    elif "content" in output[0]:
        record.text, record.finish_reason = text_of_output(output), output[0].get("status")
    record.usage = usage_of(metrics.get("prompt_tokens"), metrics.get("completion_tokens"))
    return record


def switch_on() -> Tool:
    rows = logger._MemoryBackgroundLogger()
    logger._state._global_bg_logger = LazyValue(lambda: rows, use_mutex=False)
    init_test_logger("company")
    return Braintrust(rows)
