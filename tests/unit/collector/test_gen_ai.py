"""Real exporters of OpenTelemetry against the real collector: calls of language models, evaluations, refusals."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import StatusCode

from sightline.collector.formats import otlp_protobuf
from sightline.home import Home
from sightline.lake.intake.load import intake
from sightline.spec.loader import load_monitor
from sightline.spec.model import MonitorSpec
from tests.support.collector_server import Running, running

MONITOR = """\
model: {id: assistant, task: text_generation, owner: ml@example.com}
columns:
  prediction_id: id
  timestamp: at
  latency_ms: latency_ms
  status: status
  model_version: model
  entity_id: conversation
  llm:
    prompt: question
    response: answer
    documents: documents
    input_tokens: tokens_in
    output_tokens: tokens_out
    finish_reason: finish_reason
    prices: {"gpt-4o*": {input: 2.5, output: 10}}
    OTLP
  features: {gen_ai.request.temperature: numeric}
labels: {column: helpfulness, feedback: [1, 5]}
reference: {kind: window, start: 2026-01-01, end: 2026-02-01}
"""
ASKED = json.dumps([
    {"role": "system", "parts": [{"type": "text", "content": "Be kind."}]},
    {"role": "user", "parts": [{"type": "text", "content": "How long may I return shoes?"}]},
])  # fmt: skip
ANSWERED = json.dumps([
    {"role": "assistant", "parts": [{"type": "text", "content": "You may return them within thirty days."}],
     "finish_reason": "stop"},
])  # fmt: skip
CALL: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.request.temperature": 0.5,
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 20,
    "gen_ai.conversation.id": "c-1",
    "gen_ai.input.messages": ASKED,
    "gen_ai.output.messages": ANSWERED,
    "gen_ai.retrieval.documents": '["Return within thirty days of delivery.","Keep the box."]',
    "vendor.unknown": "whatever",
}


@pytest.fixture
def spec(tmp_path: Path, request: pytest.FixtureRequest) -> MonitorSpec:
    home = Home(tmp_path / "home")
    home.monitors.mkdir(parents=True)
    file = home.monitors / "assistant.yaml"
    file.write_text(MONITOR.replace("OTLP", getattr(request, "param", "otlp: spans")), encoding="utf-8")
    return load_monitor(file, home=home)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


@pytest.fixture
def served(spec: MonitorSpec, tmp_path: Path, stack: ExitStack) -> Running:
    return stack.enter_context(running(Home(tmp_path / "home")))


def base(server: Running) -> str:
    return f"http://127.0.0.1:{server.port}/v1/monitors/assistant/otlp"


def tracer(server: Running) -> Any:
    provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=f"{base(server)}/v1/traces")))
    return provider.get_tracer("test")


def logger(server: Running) -> Any:
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter(endpoint=f"{base(server)}/v1/logs")))
    return provider.get_logger("test")


def evaluation(answer: str, name: str = "helpfulness", **score: Any) -> LogRecord:
    told = {f"gen_ai.evaluation.score.{key}": value for key, value in score.items()}
    said = {"gen_ai.evaluation.name": name, "gen_ai.response.id": answer, **told}
    return LogRecord(timestamp=time.time_ns(), event_name="gen_ai.evaluation.result", attributes=said)


def stored(spec: MonitorSpec, tmp_path: Path, stack: ExitStack, kind: str) -> pl.DataFrame:
    """What is in the lake once the collector has stopped."""
    stack.close()
    home = Home(tmp_path / "home")
    paths = home.monitor("assistant")
    for each in ("inferences", "labels"):
        intake(spec, paths, each, home)
    files = sorted((paths.root / "lake" / kind).rglob("*.parquet"))
    return pl.concat([pl.read_parquet(file, hive_partitioning=False) for file in files]) if files else pl.DataFrame()


def test_spans_become_rows_and_evaluations_their_labels(
    spec: MonitorSpec, served: Running, tmp_path: Path, stack: ExitStack
):
    trace = tracer(served)
    with trace.start_as_current_span("invoke_agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
        with trace.start_as_current_span("chat gpt-4o", attributes={**CALL, "gen_ai.response.id": "r-1"}):
            pass
        with trace.start_as_current_span("execute_tool", attributes={"gen_ai.operation.name": "execute_tool"}):
            pass
        with trace.start_as_current_span("chat gpt-4o", attributes={"gen_ai.operation.name": "chat"}) as failed:
            failed.set_attribute("error.type", "timeout")
            failed.set_status(StatusCode.ERROR)
    log = logger(served)
    log.emit(evaluation("r-1", value=2))
    log.emit(evaluation("r-1", value=4))
    log.emit(evaluation("r-1", name="toxicity", value=0.1))
    log.emit(evaluation("r-unknown", value=9))

    rows = stored(spec, tmp_path, stack, "inferences").sort("is_error")
    assert rows.height == 2, "agents and tools are no calls"
    call, error = rows.to_dicts()
    assert call["prediction_id"] == "r-1" and call["model_version"] == "gpt-4o-2024-08-06"
    assert call["entity_id"] == "c-1" and call["latency_ms"] >= 0 and call["status"] is None
    assert call["f_question"] == "How long may I return shoes?"
    assert call["f_answer"] == "You may return them within thirty days."
    assert (call["f_tokens_in"], call["f_tokens_out"], call["f_finish_reason"]) == (100, 20, "stop")
    assert call["f_gen_ai.request.temperature"] == 0.5 and call["f_documents.count"] == 2
    assert call["f_answer.cost"] == pytest.approx((100 * 2.5 + 20 * 10) / 1e6)
    assert call["f_answer.context_overlap"] == pytest.approx(1 / 5), "within thirty days"
    assert not call["f_answer.is_empty"] and not call["f_answer.is_truncated"]
    assert error["is_error"] and error["status"] == "timeout" and error["f_answer.is_empty"] is None
    assert error["prediction_id"].count(":") == 1, "ids of trace and span where there is no id of a response"

    labels = stored(spec, tmp_path, stack, "labels")
    assert labels.filter(pl.col("prediction_id") == "r-1")["label_value"].sort().to_list() == [2.0, 4.0]
    assert labels["label_value"].max() == 4.0, "a rating out of its range is refused, another evaluation passed over"


@pytest.mark.parametrize("spec", ["otlp: both"], indirect=True)
def test_texts_in_events_join_their_spans(spec: MonitorSpec, served: Running, tmp_path: Path, stack: ExitStack):
    texts = {"gen_ai.input.messages", "gen_ai.output.messages"}
    known = {"gen_ai.response.id": "r-1"}
    bare = {key: value for key, value in CALL.items() if key not in texts} | known
    with tracer(served).start_as_current_span("chat", attributes=bare):
        pass
    said = {key: CALL[key] for key in texts} | known | {"gen_ai.operation.name": "chat"}
    details = "gen_ai.client.inference.operation.details"
    logger(served).emit(LogRecord(timestamp=time.time_ns(), event_name=details, attributes=said))
    [row] = stored(spec, tmp_path, stack, "inferences").to_dicts()
    assert row["f_answer"].startswith("You may") and row["f_tokens_out"] == 20 and row["latency_ms"] is not None


def request_of(*attributes: dict[str, Any]) -> ExportTraceServiceRequest:
    """Spans without ids."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for each in attributes:
        span = spans.add(name="chat", start_time_unix_nano=time.time_ns())
        for key, value in each.items():
            span.attributes.add(key=key).value.string_value = value
    return request


def test_what_cannot_be_read_is_counted_and_the_rest_is_kept(served: Running):
    request = request_of(
        {"gen_ai.operation.name": "chat", "gen_ai.response.id": "a"}, {"gen_ai.operation.name": "chat"}
    )
    headers = {"content-type": "application/x-protobuf"}
    url = f"{base(served)}/v1/traces"
    answer = httpx.post(url, content=request.SerializeToString(), headers=headers)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/x-protobuf"
    told = ExportTraceServiceResponse.FromString(answer.content)
    assert told.partial_success.rejected_spans == 1
    assert "gen_ai.response.id" in told.partial_success.error_message

    again = httpx.post(url, content=request_of({"x": "y"}).SerializeToString(), headers=headers)
    assert again.status_code == 200 and again.content == b"", "spans of others are passed over"

    broken = httpx.post(url, content=b"\xff\xff\xff", headers=headers)
    assert broken.status_code == 400 and b"no OTLP request" in broken.content

    logs = ExportLogsServiceRequest()
    record = logs.resource_logs.add().scope_logs.add().log_records.add(event_name="gen_ai.evaluation.result")
    record.attributes.add(key="gen_ai.response.id").value.string_value = "a"
    record.attributes.add(key="gen_ai.evaluation.name").value.string_value = "helpfulness"
    answer = httpx.post(f"{base(served)}/v1/logs", content=logs.SerializeToString(), headers=headers)
    assert ExportLogsServiceResponse.FromString(answer.content).partial_success.rejected_log_records == 1


def test_json_says_the_same_and_is_answered_in_json(
    served: Running, spec: MonitorSpec, tmp_path: Path, stack: ExitStack
):
    moment = int(datetime.now(UTC).timestamp() * 1e9)
    attributes = [
        {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
        {"key": "gen_ai.response.id", "value": {"stringValue": "j-1"}},
        {"key": "gen_ai.usage.completion_tokens", "value": {"intValue": "7"}},
        {"key": "gen_ai.response.finish_reasons",
         "value": {"arrayValue": {"values": [{"stringValue": "length"}]}}},
    ]  # fmt: skip
    span = {"name": "chat", "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331",
            "startTimeUnixNano": str(moment), "endTimeUnixNano": str(moment + 250_000_000),
            "attributes": attributes, "status": {}}  # fmt: skip
    bad = {**span, "attributes": attributes[:1], "traceId": "", "spanId": ""}
    document = {"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": [span, bad]}]}]}
    answer = httpx.post(f"{base(served)}/v1/traces", json=document)
    assert answer.status_code == 200
    assert answer.json()["partialSuccess"]["rejectedSpans"] == "1"
    [row] = stored(spec, tmp_path, stack, "inferences").to_dicts()
    assert row["prediction_id"] == "j-1" and row["latency_ms"] == pytest.approx(250)
    assert row["f_tokens_out"] == 7, "an earlier name of the same thing"
    assert row["f_answer.is_truncated"] and row["f_answer.is_empty"] is None, "its text was not logged"


def test_a_request_that_is_too_large_is_refused_whole(served: Running):
    headers = {"content-type": "application/x-protobuf"}
    many = ExportTraceServiceRequest()
    span = many.resource_spans.add().scope_spans.add().spans.add()
    span.attributes.add(key="long").value.string_value = "x" * otlp_protobuf.MAX_BYTES
    answer = httpx.post(f"{base(served)}/v1/traces", content=many.SerializeToString(), headers=headers)
    assert answer.status_code == 413
    wrong = httpx.post(base(served), content=many.SerializeToString(), headers=headers)
    assert wrong.status_code == 400 and b"otlp/v1/traces" in wrong.content
