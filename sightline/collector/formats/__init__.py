"""Wire formats.

An adapter is pure: ``(headers, body, spec) -> events``, headers with lower-case names, body decompressed.

It returns events in the order of the body, with a `RejectedEvent` in the place of each row that cannot be
taken, and raises `SightlineError` if the body as a whole cannot be read. ``POST /v1/monitors/<id>/<name>``
uses the adapter of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sightline.collector.formats import bentoml, cloudevents, invocations, native, otlp, tables
from sightline.collector.formats.marks import MarkEvent
from sightline.log.events import InferenceEvent, LabelEvent, RejectedEvent
from sightline.spec.model import MonitorSpec

Adapter = Callable[
    [Mapping[str, str], bytes, MonitorSpec], Sequence[InferenceEvent | LabelEvent | RejectedEvent | MarkEvent]
]

ADAPTERS: dict[str, Adapter] = {
    "inferences": native.inferences,
    "labels": native.labels,
    "cloudevents": cloudevents.parse,
    "open_inference": invocations.open_inference,
    "mlflow": invocations.mlflow,
    "databricks": tables.databricks,
    "sagemaker": tables.sagemaker,
    "bentoml": bentoml.parse,
    "otlp": otlp.parse,
    "otlp/v1/traces": otlp.traces,
    "otlp/v1/logs": otlp.logs,
}
