"""The OpenAPI 3.1 document, made from the types that validate the requests."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import msgspec

import sightline
from sightline.alerts.acting import ALLOWED, Fields
from sightline.alerts.life import SEVERITIES, STATES
from sightline.collector.candidates import FORMATS, MAX_BYTES, PART_BYTES
from sightline.collector.formats import ADAPTERS
from sightline.collector.formats.marks import MARK
from sightline.collector.formats.native import NativeInference, NativeLabel
from sightline.collector.formats.otlp_protobuf import MEDIA_TYPE, REJECTED
from sightline.collector.incidents import MOST
from sightline.collector.ingest import OTLP_SIGNALS, Answer
from sightline.version_names import LONGEST

INTERNAL_FIELDS = ("part", "received_at", "source")
TIMES = {"at", "predicted_at"}
NUMBER_SINCE_1970 = {"type": "number", "description": "Since 1970, in s, ms, us or ns, whichever puts it before 2200."}
OTHER_FORMATS = {
    "cloudevents": "CloudEvents 1.0: binary, structured or batch; KServe's and Seldon's payload loggers; marks.",
    "open_inference": "Open Inference Protocol v1 and v2 bodies.",
    "mlflow": "MLflow /invocations bodies.",
    "databricks": "Rows of Databricks inference tables.",
    "sagemaker": "SageMaker data capture and ground truth.",
    "bentoml": "Records of BentoML's monitoring.",
    "otlp": "OTLP/HTTP logs or traces in JSON.",
    "otlp/v1/traces": "OTLP/HTTP traces, JSON or protobuf; the answer is an ExportTraceServiceResponse.",
    "otlp/v1/logs": "OTLP/HTTP logs, JSON or protobuf; the answer is an ExportLogsServiceResponse.",
}
PROTOBUF = {"type": "string", "format": "binary"}
A_MARK = {
    "specversion": "1.0",
    "type": MARK,
    "id": "build-1041",
    "source": "ci",
    "time": "2026-01-31T06:00:00Z",
    "data": {"text": "deployed 4.2"},
}
ERRORS = {
    "400": "The body as a whole cannot be read.",
    "401": "No valid token.",
    "403": "The token may not write.",
    "404": "No such monitor.",
    "405": "Not a POST.",
    "408": "The body did not arrive in time.",
    "413": "Body, decompressed body or number of rows is too large.",
    "415": "Content-Type or Content-Encoding is not supported.",
    "421": "The Host is not served here.",
    "429": "Too much waits for this monitor's disk: see Retry-After.",
    "503": "Overloaded, starting, stopping, or out of disk space: see Retry-After.",
}


OF_INCIDENTS = {
    "400": "A parameter, or the body, is not right.",
    "403": "The token may not read incidents, or not say anything of one.",
    "404": "No such monitor, incident or action.",
    "405": "Another method is wanted.",
    "409": "The incident is not in a state that takes this.",
    "429": "Too many words on this monitor wait: see Retry-After.",
    "503": "What became of the word is not known: see the incident's timeline.",
}

OF_REGISTRY = {
    "401": "No valid signature, or no secret is set for this monitor.",
    "409": "This call has come before.",
    "422": "The call is no event.",
}

OF_CANDIDATES = {
    "400": "A parameter is not right, or the part has another size.",
    "403": "The token may not bring candidates.",
    "409": "Parts are missing, or the version's folder holds a file that was put there by hand.",
    "422": "The parts together have another hash.",
    "429": "Too many sets are half sent: see Retry-After.",
}


@cache
def openapi_document() -> dict[str, Any]:
    """The document; the same for every home folder, since monitors are a path parameter."""
    _, components = msgspec.json.schema_components(
        (NativeInference, NativeLabel, Answer, Fields), ref_template="#/components/schemas/{name}"
    )
    for name in ("NativeInference", "NativeLabel"):
        for internal in INTERNAL_FIELDS:
            components[name]["properties"].pop(internal, None)
        for moment in TIMES & components[name]["properties"].keys():
            components[name]["properties"][moment]["anyOf"].append(NUMBER_SINCE_1970)
    components["Problem"] = {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}, "fix": {"type": "string"}},
    }
    native = {
        "inferences": ("NativeInference", "Log predictions."),
        "labels": ("NativeLabel", "Log the truth about predictions."),
    }
    paths: dict[str, Any] = {
        f"/v1/monitors/{{monitor}}/{name}": {"post": _post(name, text, schema)}
        for name, (schema, text) in native.items()
    }
    for name in ADAPTERS:
        if name not in native:
            paths[f"/v1/monitors/{{monitor}}/{name}"] = {"post": _post(name, OTHER_FORMATS.get(name, name), None)}
    paths["/"] = {"post": _sink()}
    paths |= _of_incidents()
    paths |= _of_candidates()
    paths |= _of_registry()
    for path, text in (
        ("/", "Paths of this service."),
        ("/healthz", "Is the process alive?"),
        ("/readyz", "Are events taken?"),
        ("/metrics", "Metrics in the Prometheus text format."),
        ("/openapi.json", "This document."),
    ):
        paths.setdefault(path, {})["get"] = _get(path, text)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sightline collector", "version": sightline.__version__},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"token": []}],
    }


def _post(name: str, text: str, schema: str | None) -> dict[str, Any]:
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    row: dict[str, Any] = {"$ref": f"#/components/schemas/{schema}"} if schema else {}
    body: dict[str, Any] = {
        "application/json": {"schema": {"anyOf": [row, {"type": "array", "items": row}]} if schema else {}}
    }
    if name == "cloudevents":
        body |= {f"application/{media}+json": {"schema": {}} for media in ("cloudevents", "cloudevents-batch")}
        told = "Something was done to the model or its surroundings. The same id and source count once."
        body["application/cloudevents+json"]["examples"] = {"mark": {"summary": told, "value": A_MARK}}
    if schema:
        body["application/x-ndjson"] = {"schema": {"type": "string"}}
    if name in OTLP_SIGNALS:
        body[MEDIA_TYPE] = {"schema": PROTOBUF}
        problem = {**problem, MEDIA_TYPE: {"schema": PROTOBUF}}
    retry = {"Retry-After": {"schema": {"type": "integer"}}}
    return {
        "operationId": f"post_{name}",
        "summary": text,
        "parameters": [
            {"name": "monitor", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}},
            {
                "name": "Content-Encoding",
                "in": "header",
                "schema": {"type": "string", "enum": ["gzip", "zstd", "identity"]},
            },
        ],
        "requestBody": {"required": True, "content": body},
        "responses": {
            "200": {
                "description": "Every row is on disk: accepted, known already, or rejected and in quarantine.",
                "content": _told(name),
            },
            **{
                status: {
                    "description": what,
                    "content": problem,
                    **({"headers": retry} if status in ("429", "503") else {}),
                }
                for status, what in ERRORS.items()
            },
        },
    }


def _told(name: str) -> dict[str, Any]:
    """Body of a 200; to OpenTelemetry's exporters it is OTLP's own, which names only what was rejected."""
    if name not in OTLP_SIGNALS:
        return {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}}
    fields = {REJECTED[OTLP_SIGNALS[name]]: {"type": "string", "pattern": r"^\d+$"}, "errorMessage": {"type": "string"}}
    partial = {"type": "object", "required": list(fields), "properties": fields, "additionalProperties": False}
    answer = {"type": "object", "properties": {"partialSuccess": partial}, "additionalProperties": False}
    return {"application/json": {"schema": answer}, MEDIA_TYPE: {"schema": PROTOBUF}}


def _sink() -> dict[str, Any]:
    """The sink of CloudEvents at the root, where payload loggers are pointed to."""
    monitor = "Monitor of the events; else that of the name ce-inferenceservicename with _ for -, else the only one."
    posted = _post("cloudevents", f"A CloudEvents 1.0 sink: {OTHER_FORMATS['cloudevents']}", None)
    posted["parameters"][0] = {
        "name": "X-Sightline-Monitor",
        "in": "header",
        "description": monitor,
        "schema": {"type": "string"},
    }
    return {**posted, "operationId": "post_index"}


def _of_incidents() -> dict[str, Any]:
    """Reading incidents, and saying something of one."""
    base = "/v1/monitors/{monitor}/incidents"
    named = [_parameter("monitor"), _parameter("incident")]
    told = ("400", "401", "403", "404", "421")
    moment = {"type": "string", "description": "A day or moment (UTC)."}
    query: dict[str, Any] = {
        "open": {"type": "string", "enum": ["true", "false"]},
        "status": {"type": "array", "items": {"type": "string", "enum": list(STATES)}},
        "severity": {"type": "array", "items": {"type": "string", "enum": list(SEVERITIES)}},
        "owner": {"type": "string", "description": "Empty: assigned to nobody."},
        "since": moment,
        "until": moment,
        "stream": {"type": "string", "description": "A member, or a pattern with *."},
        "limit": {"type": "integer", "minimum": 1, "maximum": MOST},
    }
    filters = [{"name": name, "in": "query", "schema": schema} for name, schema in query.items()]
    act = _operation(
        "act_on_incident",
        "Say something of an incident; a token of scope act tells who.",
        [*named, _parameter("action", list(ALLOWED))],
        (*told, "405", "408", "409", "413", "415", "429", "503"),
    )
    body = {"application/json": {"schema": {"$ref": "#/components/schemas/Fields"}}}
    return {
        base: {"get": _operation("list_incidents", "Incidents, newest first.", [named[0], *filters], told)},
        f"{base}/{{incident}}": {"get": _operation("get_incident", "All of one incident.", named, told)},
        f"{base}/{{incident}}/{{action}}": {"post": {**act, "requestBody": {"content": body}}},
    }


def _of_candidates() -> dict[str, Any]:
    """Bringing the evaluation set of a candidate in parts."""
    query: dict[str, Any] = {
        "version": {"type": "string", "minLength": 1, "maxLength": LONGEST},
        "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "bytes": {"type": "integer", "minimum": 1, "maximum": MAX_BYTES},
        "format": {"type": "string", "enum": list(FORMATS)},
    }
    needed = [_parameter("monitor")]
    needed += [{"name": name, "in": "query", "required": True, "schema": schema} for name, schema in query.items()]
    text = f"Number of a part of {PART_BYTES} bytes; without it the set is put together and lands."
    part = {"name": "part", "in": "query", "description": text, "schema": {"type": "integer", "minimum": 0}}
    common = ("400", "401", "403", "404", "405", "421")
    get = _operation(
        "look_at_candidate", "Which parts of an evaluation set are there.", needed, (*common, "503"), OF_CANDIDATES
    )
    more = ("408", "409", "413", "415", "422", "429", "503")
    text = "Bring a part of an evaluation set, or land it."
    post = _operation("bring_candidate", text, [*needed, part], common + more, OF_CANDIDATES)
    body: dict[str, Any] = {"application/octet-stream": {"schema": {}}}
    return {"/v1/monitors/{monitor}/candidates": {"get": get, "post": {**post, "requestBody": {"content": body}}}}


def _of_registry() -> dict[str, Any]:
    """A signed call of a model registry."""
    text = "A signed call of the model registry (MLflow 3's webhooks): it is looked at at once."
    names = ("X-MLflow-Signature", "X-MLflow-Delivery-Id", "X-MLflow-Timestamp")
    given = [{"name": name, "in": "header", "required": True, "schema": {"type": "string"}} for name in names]
    errors = ("401", "404", "405", "408", "409", "413", "415", "421", "422", "429", "503")
    post = _operation("call_of_registry", text, [_parameter("monitor"), *given], errors, OF_REGISTRY)
    body = {"application/json": {"schema": {"type": "object"}}}
    return {"/v1/monitors/{monitor}/registry": {"post": {**post, "requestBody": {"content": body}}}}


def _parameter(name: str, values: list[str] | None = None) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "minLength": 1, **({"enum": values} if values else {})}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _operation(
    name: str,
    text: str,
    parameters: list[dict[str, Any]],
    errors: tuple[str, ...],
    told: Mapping[str, str] = MappingProxyType(OF_INCIDENTS),
) -> dict[str, Any]:
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        "operationId": name,
        "summary": text,
        "parameters": parameters,
        "responses": {
            "200": {"description": text, "content": {"application/json": {"schema": {"type": "object"}}}},
            **{status: {"description": {**ERRORS, **told}[status], "content": problem} for status in errors},
        },
    }


def _get(path: str, text: str) -> dict[str, Any]:
    media = "text/plain" if path == "/metrics" else "application/json"
    responses: dict[str, Any] = {
        "200": {"description": text, "content": {media: {}}},
        "421": {"description": ERRORS["421"], "content": {"application/json": {}}},
    }
    if path == "/readyz":
        responses["503"] = {"description": "Not now.", "content": {media: {}}}
    if path == "/metrics":
        responses["401"] = {"description": "No valid token.", "content": {"application/json": {}}}
    name = path.strip("/").partition(".")[0] or "index"
    return {"operationId": f"get_{name}", "summary": text, "responses": responses}
