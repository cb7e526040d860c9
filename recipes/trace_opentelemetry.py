"""Trace and measure answers with OpenTelemetry, but record no text: python recipes/trace_opentelemetry.py

Longer than a page, since the conventions for GenAI require it: those of opentelemetry-semantic-conventions 0.66,
which calls them experimental.
"""

from itertools import pairwise
from typing import Any

from openai import OpenAIError
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider, export as metric_export
from opentelemetry.sdk.trace import TracerProvider, export as span_export

from tensorloop_stream import Callbacks, ChatStream, Tensorloop, print_stream

tracer, meter = trace.get_tracer("chat"), metrics.get_meter("chat")
SECONDS: dict[str, Any] = {"unit": "s", "explicit_bucket_boundaries_advisory": [0.01 * 2**n for n in range(14)]}
TOKENS: dict[str, Any] = {"unit": "{token}", "explicit_bucket_boundaries_advisory": [4**n for n in range(14)]}
duration = meter.create_histogram("gen_ai.client.operation.duration", **SECONDS)
first_chunk = meter.create_histogram("gen_ai.client.operation.time_to_first_chunk", **SECONDS)
next_chunk = meter.create_histogram("gen_ai.client.operation.time_per_output_chunk", **SECONDS)
tokens = meter.create_histogram("gen_ai.client.token.usage", **TOKENS)


def traced(client: Tensorloop, **request: Any) -> ChatStream:
    """Return a stream that records a span and metrics when it ends: complete, broken or left early."""
    url, model = client.base_url, request["model"]
    labels: dict[str, Any] = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"}
    labels |= {"gen_ai.request.model": model, "server.address": url.host, "server.port": url.port or 443}
    request |= {"stream": True, "stream_options": {"include_usage": True}}
    asked = {f"gen_ai.request.{n}": request[n] for n in ("stream", "temperature", "max_tokens") if n in request}
    span = tracer.start_span(f"chat {model}", kind=trace.SpanKind.CLIENT, attributes=labels | asked)

    def end(outcome: Any) -> None:
        answer, usage, times = stream.completion, stream.usage, stream.timing.chunk_times
        if times:
            labels["gen_ai.response.model"] = answer.model
            first_chunk.record(times[0], labels)
            span.set_attributes(
                labels | {"gen_ai.response.id": answer.id, "gen_ai.response.time_to_first_chunk": times[0]}
            )
            missing = "error" if isinstance(outcome, Exception) else None  # leaving a stream early is no error
            if reasons := list(filter(None, (choice.finish_reason or missing for choice in answer.choices))):
                span.set_attribute("gen_ai.response.finish_reasons", reasons)
        for earlier, later in pairwise(times):
            next_chunk.record(later - earlier, labels)
        for kind, count in (("input", usage.prompt_tokens), ("output", usage.completion_tokens)) if usage else ():
            tokens.record(count, labels | {"gen_ai.token.type": kind})
            span.set_attribute(f"gen_ai.usage.{kind}_tokens", count)
        if isinstance(outcome, Exception):  # record no text of the error: it may quote the conversation
            labels["error.type"] = str(getattr(outcome, "status_code", None) or type(outcome).__name__)
            span.set_attribute("error.type", labels["error.type"])
            span.set_status(trace.StatusCode.ERROR)
        duration.record(stream.timing.duration, labels)
        span.end()

    callbacks = Callbacks(on_finish=end, on_error=end, on_abort=end)
    stream = ChatStream(lambda: client.chat.completions.create(**request), callbacks)
    return stream


if __name__ == "__main__":
    try:
        client = Tensorloop()
        trace.set_tracer_provider(spans := TracerProvider())
        spans.add_span_processor(span_export.BatchSpanProcessor(span_export.ConsoleSpanExporter()))
        reader = metric_export.PeriodicExportingMetricReader(metric_export.ConsoleMetricExporter())
        metrics.set_meter_provider(MeterProvider([reader]))
        ask = [{"role": "user", "content": "Stream a haiku about caching."}]
        print_stream(traced(client, model="gpt-4o-mini", messages=ask))
    except OpenAIError as error:
        raise SystemExit(f"{error}") from None
