"""LangSmith: a client that keeps the runs where it would send them."""

from __future__ import annotations

import os
from typing import Any

import langsmith
from langsmith.wrappers import wrap_openai

from . import Record, Tool, text_of_output, usage_of


class _Client(langsmith.Client):
    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", api_key="none", auto_batch_tracing=False, info={})
        self.kept: dict[Any, dict[str, Any]] = {}

    def create_run(self, name: str, inputs: Any, run_type: Any, **run: Any) -> None:
        self.kept[run["id"]] = run

    def update_run(self, run_id: Any, **run: Any) -> None:
        self.kept.setdefault(run_id, {}).update(run)


class LangSmith(Tool):
    def __init__(self) -> None:
        self._client = _Client()

    def client(self, client: Any) -> Any:
        return wrap_openai(client, tracing_extra={"client": self._client})

    def taken(self) -> list[Record]:
        runs, self._client.kept = self._client.kept, {}
        return [_record_of(run) for run in runs.values()]


def _record_of(run: dict[str, Any]) -> Record:
    outputs = run.get("outputs") or {}
    usage = outputs.get("usage_metadata") or {}
    record = Record(ended=run.get("end_time") is not None, error=bool(run.get("error")))
    if choices := outputs.get("choices"):
        record.text = choices[0]["message"]["content"]
        record.finish_reason = choices[0].get("finish_reason")
    elif isinstance(outputs.get("output"), list):
        record.text, record.finish_reason = text_of_output(outputs["output"]), outputs.get("status")
    record.usage = usage_of(usage.get("input_tokens"), usage.get("output_tokens"))
    return record


def switch_on() -> Tool:
    os.environ["LANGSMITH_TRACING"] = "true"
    return LangSmith()
