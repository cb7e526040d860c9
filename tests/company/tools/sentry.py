"""Sentry: a transaction around the work, whose spans a transport of our own keeps."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import sentry_sdk
from sentry_sdk.integrations.openai import OpenAIIntegration
from sentry_sdk.transport import Transport

from . import Record, Tool, usage_of


class _Kept(Transport):
    """Keep what would be sent."""

    envelopes: list[Any]

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.envelopes = []

    def capture_envelope(self, envelope: Any) -> None:
        self.envelopes.append(envelope)


class Sentry(Tool):
    def __init__(self, transport: _Kept) -> None:
        self._transport = transport

    def action(self) -> AbstractContextManager[object]:
        return sentry_sdk.start_transaction(name="action", op="test")

    def taken(self) -> list[Record]:
        sentry_sdk.flush()
        envelopes, self._transport.envelopes = self._transport.envelopes, []
        records = []
        for envelope in envelopes:
            for item in envelope.items:
                body = item.payload.json
                if item.type == "span":
                    records += [_record_of(span) for span in body["items"]]
                elif item.type == "transaction":
                    # Spans that are still open are not sent, but counted.
                    unsent = body.get("_meta", {}).get("spans", {}).get("", {}).get("len", 0)
                    records += [Record(ended=False)] * unsent
        return records


def _record_of(span: dict[str, Any]) -> Record:
    attributes = {name: attribute["value"] for name, attribute in span["attributes"].items()}
    tokens = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
    return Record(
        ended=True,
        error=span["status"] != "ok",
        text=attributes.get("gen_ai.response.text"),
        usage=usage_of(*(attributes.get(name) for name in tokens)),
    )


def switch_on() -> Tool:
    sentry_sdk.init(
        dsn="http://key@127.0.0.1:9/1",
        traces_sample_rate=1.0,
        send_default_pii=True,
        transport=_Kept,
        integrations=[OpenAIIntegration()],
        default_integrations=False,
        auto_enabling_integrations=False,
    )
    transport = sentry_sdk.get_client().transport
    assert isinstance(transport, _Kept)
    return Sentry(transport)
