"""BentoML's ``monitor().log(value, name, role, data_type)`` records: one object per request, as its collectors ship them.

Two shapes: flat records with a schema beside them (``{"schema": [{"name", "role", "type"}], "records": [...]}``), and a
list of logged fields per request (``{"request_id": ..., "timestamp": ..., "fields": [{"name", "role", "value"}]}``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightline.collector.formats import bodies, rows
from sightline.errors import SightlineError
from sightline.log.events import InferenceEvent, LabelEvent, RejectedEvent
from sightline.spec.model import MonitorSpec

ROLES = ("feature", "prediction", "target")


def parse(
    headers: Mapping[str, str], body: bytes, spec: MonitorSpec
) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    """Adapter: features and predictions become an inference, a target becomes a label with the same id."""
    document = bodies.decode_json(body, "body")
    if isinstance(document, Mapping) and "schema" in document:
        roles = {}
        for i, field in enumerate(document["schema"] if isinstance(document["schema"], list) else []):
            if not isinstance(field, Mapping) or "name" not in field or field.get("role") not in ROLES:
                raise SightlineError(f"expected name and role ({', '.join(ROLES)})", where=f"schema[{i}]")
            roles[str(field["name"])] = str(field["role"])
        records = document.get("records")
        if not isinstance(records, list):
            raise SightlineError("`records` is no array", where="records")
        calls = [_from_flat(r, roles, f"records[{i}]") for i, r in enumerate(records)]
    else:
        items = document if isinstance(document, list) else [document]
        calls = [_from_fields(item, f"body[{i}]") for i, item in enumerate(items)]
    return [event for i, call in enumerate(calls) for event in _events(spec, *call, where=f"record {i}")]


def _from_flat(record: Any, roles: Mapping[str, str], where: str) -> tuple[str | None, Any, dict[str, dict[str, Any]]]:
    if not isinstance(record, Mapping):
        raise SightlineError("a record is an object", where=where)
    by_role: dict[str, dict[str, Any]] = {role: {} for role in ROLES}
    for name, value in record.items():
        if name in roles:
            by_role[roles[name]][name] = value
    identity = record.get("request_id") or record.get("id")
    return (str(identity) if identity else None), record.get("timestamp"), by_role


def _from_fields(item: Any, where: str) -> tuple[str | None, Any, dict[str, dict[str, Any]]]:
    if not isinstance(item, Mapping) or not isinstance(item.get("fields"), list):
        raise SightlineError("expected an object with `fields`", where=where)
    by_role: dict[str, dict[str, Any]] = {role: {} for role in ROLES}
    for i, field in enumerate(item["fields"]):
        if not isinstance(field, Mapping) or "name" not in field or field.get("role") not in ROLES:
            raise SightlineError(f"expected name, value and role ({', '.join(ROLES)})", where=f"{where}.fields[{i}]")
        by_role[field["role"]][str(field["name"])] = field.get("value")
    identity = item.get("request_id") or item.get("id")
    return (str(identity) if identity else None), item.get("timestamp"), by_role


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
