"""The recipe for OpenTelemetry, with the real SDK and exporters in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cassette
import openai
import pages
import pytest
import recorded
import requirements

from tensorloop_stream import ChatStream, Tensorloop
from tensorloop_stream.replay import ReplayServer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

RECIPE = Path(__file__).parents[2] / "recipes/trace_opentelemetry.py"
HAIKU = recorded.text("chat/usage")
ASK = {name: value for name, value in recorded.request("chat/usage").items() if not name.startswith("stream")}
CHUNKS = recorded.chunks("chat/usage")
USAGE = CHUNKS[-1]["usage"]


@pytest.fixture(scope="module")
def gateway() -> Iterator[ReplayServer]:
    with ReplayServer(cassette.FOLDER / "chat/usage.yaml") as server:
        yield server


@pytest.fixture
def client(gateway: ReplayServer) -> Iterator[Tensorloop]:
    with Tensorloop(base_url=gateway.base_url, api_key="tl_none", max_retries=0) as client:
        yield client


class Recorded:
    """The spans and metrics that the recipe records during a test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        requirements.module("opentelemetry", "opentelemetry")
        from opentelemetry import metrics, trace
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        self._spans, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        spans = TracerProvider(shutdown_on_exit=False)
        spans.add_span_processor(SimpleSpanProcessor(self._spans))
        # The global providers can be set once in a process.
        monkeypatch.setattr(trace, "get_tracer", spans.get_tracer)
        monkeypatch.setattr(metrics, "get_meter", MeterProvider([self._reader], shutdown_on_exit=False).get_meter)
        self.traced: Callable[..., ChatStream] = pages.run_recipe("trace_opentelemetry", "<run_path>")["traced"]

    @property
    def span(self) -> ReadableSpan:
        (span,) = self._spans.get_finished_spans()
        return span

    @property
    def metrics(self) -> dict[str, Any]:
        """The data points of each metric, by its name."""
        data = json.loads(cast("Any", self._reader.get_metrics_data()).to_json())
        (scope,) = data["resource_metrics"][0]["scope_metrics"]
        return {metric["name"]: metric | {"points": metric["data"]["data_points"]} for metric in scope["metrics"]}

    @property
    def everything(self) -> str:
        return f"{self.span.to_json()}{json.dumps(self.metrics)}"


@pytest.fixture
def telemetry(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    return Recorded(monkeypatch)


def labels(gateway: ReplayServer, model: str = "gpt-4o-mini", **more: Any) -> dict[str, Any]:
    """Return the attributes of every span and metric."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": model,
        "server.address": "127.0.0.1",
        "server.port": gateway.port,
        **{name.replace("__", "."): value for name, value in more.items()},
    }


def test_a_whole_answer_has_a_span(telemetry: Recorded, client: Tensorloop, gateway: ReplayServer) -> None:
    """Its name and attributes follow the conventions."""
    with telemetry.traced(client, **ASK) as stream:
        answer = stream.get_final_completion()
    span = telemetry.span

    assert answer.choices[0].message.content == HAIKU
    assert span.name == "chat gpt-4o-mini"
    assert span.kind.name == "CLIENT"
    assert span.status.status_code.name == "UNSET"
    assert dict(span.attributes or {}) == {
        **labels(gateway),
        "gen_ai.request.stream": True,
        "gen_ai.response.id": CHUNKS[0]["id"],
        "gen_ai.response.model": "gpt-4o-mini",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": stream.timing.time_to_first_chunk,
        "gen_ai.usage.input_tokens": USAGE["prompt_tokens"],
        "gen_ai.usage.output_tokens": USAGE["completion_tokens"],
    }


def test_a_whole_answer_has_metrics(telemetry: Recorded, client: Tensorloop, gateway: ReplayServer) -> None:
    """Names, units, bounds and attributes follow the conventions; each further chunk is one measurement."""
    with telemetry.traced(client, **ASK) as stream:
        stream.until_done()
    metrics, common = telemetry.metrics, labels(gateway, gen_ai__response__model="gpt-4o-mini")
    operation = {
        name.removeprefix("gen_ai.client.operation."): metrics[name] for name in metrics if ".operation." in name
    }
    seconds = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]

    assert {name: [(point["count"], point["sum"]) for point in one["points"]] for name, one in operation.items()} == {
        "duration": [(1, stream.timing.duration)],
        "time_to_first_chunk": [(1, stream.timing.chunk_times[0])],
        "time_per_output_chunk": [
            (len(CHUNKS) - 1, pytest.approx(stream.timing.chunk_times[-1] - stream.timing.chunk_times[0]))
        ],
    }
    for metric in operation.values():
        assert metric["unit"] == "s"
        assert metric["points"][0]["attributes"] == common
        assert metric["points"][0]["explicit_bounds"] == seconds
    tokens = metrics["gen_ai.client.token.usage"]
    assert tokens["unit"] == "{token}"
    assert {point["attributes"].pop("gen_ai.token.type"): point["sum"] for point in tokens["points"]} == {
        "input": USAGE["prompt_tokens"],
        "output": USAGE["completion_tokens"],
    }
    for point in tokens["points"]:
        assert point["attributes"] == common
        assert point["explicit_bounds"] == [4**n for n in range(14)]


@pytest.mark.parametrize(
    ("faults", "error_type", "reasons"),
    [
        ("end-after=7", "StreamTruncatedError", ("error",)),
        ("cut-after=7", "StreamConnectionError", ("error",)),
        ("error-after=7", "500", ("error",)),
        ("status=429", "429", None),
        ("cut-after=0", "StreamConnectionError", None),
    ],
)
def test_a_failure_has_a_type(
    faults: str, error_type: str, reasons: Any, telemetry: Recorded, client: Tensorloop
) -> None:
    """The span and the duration have the status or the class, and attributes from before the failure."""
    model = f"gpt-4o-mini?{faults}"
    with pytest.raises(openai.APIError), telemetry.traced(client, **{**ASK, "model": model}) as stream:
        stream.until_done()
    attributes = dict(telemetry.span.attributes or {})
    (duration,) = telemetry.metrics["gen_ai.client.operation.duration"]["points"]

    assert telemetry.span.status.status_code.name == "ERROR"
    assert attributes["error.type"] == duration["attributes"]["error.type"] == error_type
    assert attributes.get("gen_ai.response.finish_reasons") == reasons
    assert ("gen_ai.client.operation.time_to_first_chunk" in telemetry.metrics) == (reasons is not None)


def test_an_answer_that_is_left_is_recorded(telemetry: Recorded, client: Tensorloop) -> None:
    """Leaving is no error, and gives no finish reason."""
    with telemetry.traced(client, **ASK) as stream:
        next(stream)
    attributes = dict(telemetry.span.attributes or {})

    assert telemetry.span.status.status_code.name == "UNSET"
    assert attributes["gen_ai.response.id"] == CHUNKS[0]["id"]
    assert "gen_ai.response.finish_reasons" not in attributes
    assert "error.type" not in attributes
    assert "gen_ai.client.token.usage" not in telemetry.metrics


def test_no_prompt_and_no_error_text_is_recorded(telemetry: Recorded, client: Tensorloop) -> None:
    """The text of an error may quote the prompt."""
    secret = {"role": "user", "content": "My name is Rumpelstiltskin."}
    with (
        pytest.raises(openai.NotFoundError, match="Rumpelstiltskin"),
        telemetry.traced(client, **{**ASK, "messages": [secret]}),
    ):
        pass

    assert "Rumpelstiltskin" not in telemetry.everything
    assert telemetry.span.events == ()
    assert telemetry.span.status.description is None


def test_no_word_of_the_answer_is_recorded(telemetry: Recorded, client: Tensorloop) -> None:
    """The checked words of the haiku occur in no attribute name."""
    with telemetry.traced(client, **ASK) as stream:
        stream.until_done()

    assert not [word for word in ("world", "currency", "humble", "moment", "haiku") if word in telemetry.everything]


def test_the_recipe_prints_the_answer_the_span_and_the_metrics(gateway: ReplayServer) -> None:
    """Span and metrics are printed as JSON."""
    requirements.module("opentelemetry", "opentelemetry")
    environment = {**os.environ, "TENSORLOOP_BASE_URL": gateway.base_url, "TENSORLOOP_KEY": "tl_none"}
    ran = subprocess.run([sys.executable, RECIPE], env=environment, capture_output=True, text=True, check=True)

    assert ran.stdout.startswith(f"{HAIKU}\n{{")
    assert '"name": "chat gpt-4o-mini"' in ran.stdout
    assert '"name": "gen_ai.client.operation.duration"' in ran.stdout
    assert ran.stderr == ""


def test_the_recipe_without_a_key_names_the_variable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is one sentence, and nothing is recorded."""
    requirements.module("opentelemetry", "opentelemetry")
    for name in ("TENSORLOOP_KEY", "TENSORLOOP_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"^No Tensorloop key: set TENSORLOOP_KEY [^\n]+$"):
        pages.run_recipe("trace_opentelemetry")

    assert capsys.readouterr().out == ""
