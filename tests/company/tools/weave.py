"""Weave: its client, before a server of our own that keeps the calls."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

from weave.integrations.patch import patch_openai
from weave.trace import weave_client
from weave.trace.context import weave_client_context

from . import Record, Tool, text_of_output, usage_of


class _Server:
    """The part of the trace server that the client needs; each object gets its real digest."""

    def __init__(self) -> None:
        self.calls: dict[str, dict[str, Any]] = {}

    def call_start(self, request: dict[str, Any]) -> None:
        self.calls[request["start"]["id"]] = {}

    def call_end(self, request: dict[str, Any]) -> None:
        self.calls.setdefault(request["end"]["id"], {}).update(request["end"])

    def obj_create(self, request: dict[str, Any]) -> Any:
        return SimpleNamespace(digest=request["obj"]["expected_digest"] or "0" * 43)

    def file_create(self, request: dict[str, Any]) -> Any:
        return SimpleNamespace(digest=request.get("expected_digest") or "0" * 43)


class Weave(Tool):
    def __init__(self, client: Any, server: _Server) -> None:
        self._client = client
        self._server = server

    def taken(self) -> list[Record]:
        self._client.flush()
        calls, self._server.calls = self._server.calls, {}
        return [_record_of(call) for call in calls.values()]


def _record_of(call: dict[str, Any]) -> Record:
    output = call.get("output")
    if not isinstance(output, dict):
        output = {}
    record = Record(ended="ended_at" in call, error=bool(call.get("exception")))
    if choices := output.get("choices"):
        # The state of a stream that did not end is a chunk's.
        record.text = (choices[0].get("message") or choices[0]["delta"])["content"]
        record.finish_reason = choices[0]["finish_reason"]
    elif "output" in output:
        record.text, record.finish_reason = text_of_output(output["output"]), output.get("status")
    usage = output.get("usage") or {}
    names = ("prompt_tokens", "completion_tokens") if "prompt_tokens" in usage else ("input_tokens", "output_tokens")
    record.usage = usage_of(*map(usage.get, names))
    return record


def switch_on() -> Tool:
    os.environ["WEAVE_PRINT_CALL_LINK"] = "false"
    server = _Server()
    client = weave_client.WeaveClient("company", "company", server, ensure_project_exists=False)
    weave_client_context.set_weave_client_global(client)
    patch_openai()
    return Weave(client, server)
