"""BentoML's ``monitor().log(value, name, role, data_type)`` records: one object per request, as its collectors ship them.

Three shapes: the lines of its data files (``{"<name>": value, ..., "timestamp", "request_id", "trace_id"}``), whose columns have the
roles they have in the monitor's YAML; the same with a schema beside them (``{"schema": [{"name", "role", "type"}], "records": [...]}``);
and a list of logged fields per request (``{"request_id": ..., "timestamp": ..., "fields": [{"name", "role", "value"}]}``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sightline.collector.formats import bodies, rows
from sightline.errors import SightlineError
from sightline.log.events import InferenceEvent, LabelEvent, RejectedEvent
from sightline.spec.model import MonitorSpec

ROLES = ("feature", "prediction", "target")
RESERVED = frozenset({"timestamp", "request_id", "trace_id", "id"})


def parse(
    headers: Mapping[str, str], body: bytes, spec: MonitorSpec
) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    """Adapter: features and predictions become an inference, a target becomes a label with the same id."""
    is_lines = "ndjson" in headers.get("content-type", "") or b"\n{" in body.strip()
    lines = [line for line in body.split(b"\n") if line.strip()] if is_lines else []
    document = [bodies.decode_json(line, f"line {i + 1}") for i, line in enumerate(lines)] or bodies.decode_json(
        body, "body"
    )
    if isinstance(document, Mapping) and "schema" in document:
        roles = _roles(document["schema"])
        records = document.get("records")
        if not isinstance(records, list):
            raise SightlineError("`records` is no array", where="records")
        place = "records"
    else:
        roles, place = None, "body"
        records = document if isinstance(document, list) else [document]
    times = Counter(_identity(record) for record in records if isinstance(record, Mapping) and "fields" not in record)
    rows_of = Counter[str]()

    def read(where: str, record: Any) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
        if isinstance(record, Mapping) and "fields" in record:
            return _events(spec, *_from_fields(record, where), where=where)
        identity, at, by_role = _from_flat(record, roles or _roles_by_name(spec, record), where)
        if identity is not None and times[identity] > 1:  # one request, several rows
            rows_of[identity] += 1
            identity = f"{identity}:{rows_of[identity] - 1}"
        return _events(spec, identity, at, by_role, where=where)

    return rows.read_each(((f"{place}[{i}]", record) for i, record in enumerate(records)), read, "bentoml")


def _roles(schema: Any) -> dict[str, str]:
    """Roles by name from a schema: a list of columns, or what BentoML writes into its schema file."""
    fields = schema.get("columns") if isinstance(schema, Mapping) else schema
    roles = {}
    for i, field in enumerate(fields if isinstance(fields, list) else []):
        if not isinstance(field, Mapping) or "name" not in field or field.get("role") not in ROLES:
            raise SightlineError(f"expected name and role ({', '.join(ROLES)})", where=f"schema[{i}]")
        roles[str(field["name"])] = str(field["role"])
    return roles


def _roles_by_name(spec: MonitorSpec, record: Any) -> dict[str, str]:
    """Roles of a line of BentoML's data file, whose schema is in another file: the monitor's YAML knows them too."""
    columns = spec.columns
    outputs = {columns.score, columns.prediction, *columns.class_scores.values()}
    target = spec.labels.column if spec.labels is not None else None
    return {
        name: "target" if name == target else "prediction" if name in outputs else "feature"
        for name in (record if isinstance(record, Mapping) else ())
        if name not in RESERVED
    }


def _identity(record: Mapping[str, Any]) -> str | None:
    identity = record.get("request_id") or record.get("id")
    return str(identity) if identity else None


def _from_flat(record: Any, roles: Mapping[str, str], where: str) -> tuple[str | None, Any, dict[str, dict[str, Any]]]:
    if not isinstance(record, Mapping):
        raise SightlineError("a record is an object", where=where)
    by_role: dict[str, dict[str, Any]] = {role: {} for role in ROLES}
    for name, value in record.items():
        if name in roles:
            by_role[roles[name]][name] = value
    return _identity(record), record.get("timestamp"), by_role


def _from_fields(item: Any, where: str) -> tuple[str | None, Any, dict[str, dict[str, Any]]]:
    if not isinstance(item, Mapping) or not isinstance(item.get("fields"), list):
        raise SightlineError("expected an object with `fields`", where=where)
    by_role: dict[str, dict[str, Any]] = {role: {} for role in ROLES}
    for i, field in enumerate(item["fields"]):
        if not isinstance(field, Mapping) or "name" not in field or field.get("role") not in ROLES:
            raise SightlineError(f"expected name, value and role ({', '.join(ROLES)})", where=f"{where}.fields[{i}]")
        by_role[field["role"]][str(field["name"])] = field.get("value")
    return _identity(item), item.get("timestamp"), by_role


def _events(
    spec: MonitorSpec, identity: str | None, timestamp: Any, by_role: Mapping[str, dict[str, Any]], where: str
) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    identity = identity or next(
        (str(v[spec.columns.prediction_id]) for v in by_role.values() if spec.columns.prediction_id in v), None
    )
    if not identity:
        raise SightlineError(
            "no request_id", where=where, fix=f"log request_id or the column {spec.columns.prediction_id!r}"
        )
    at = rows.moment(timestamp, f"{where}.timestamp")
    events: list[InferenceEvent | LabelEvent | RejectedEvent] = []
    if by_role["feature"] or by_role["prediction"]:
        events.append(
            rows.inference_event(spec, by_role["feature"], by_role["prediction"], id=identity, at=at, source="bentoml")
        )
    if by_role["target"]:
        target = by_role["target"]
        row = target if len(target) != 1 else {"value": next(iter(target.values()))}
        events.append(rows.label_event(spec, row, id=identity, at=at, source="bentoml"))
    if not events:
        raise SightlineError("nothing was logged: no feature, prediction or target", where=where)
    return events
