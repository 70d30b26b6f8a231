"""BentoML's ``monitor().log(value, name, role, data_type)`` records.

One object per request, as its collectors ship them.

Four shapes: the lines of its data files (``{"<name>": value, ..., "timestamp", "request_id", "trace_id"}``), whose
columns have the roles they have in the monitor's YAML; records of its OTLP monitor, which may hold their schema
(``bento_meta.schema``); the same with a schema beside them
(``{"schema": [{"name", "role", "type"}], "records": [...]}``); and a list of logged fields per request
(``{"request_id": ..., "timestamp": ..., "fields": [{"name", "role", "value"}]}``).
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sightline.collector.formats import bodies, lenient, rows
from sightline.errors import SightlineError
from sightline.log.events import InferenceEvent, LabelEvent, RejectedEvent
from sightline.narrowing import is_array, is_object
from sightline.spec.model import MonitorSpec

ROLES = ("feature", "prediction", "target")
RESERVED = frozenset({"timestamp", "request_id", "trace_id", "id", "bento_meta", "taskName"})
"""Fields of a record that are no columns (``taskName`` is added by Python's logging)."""


def parse(
    headers: Mapping[str, str], body: bytes, spec: MonitorSpec
) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    """Adapter: features and predictions become an inference, a target becomes a label with the same id."""
    roles, place = None, "body"
    if "ndjson" in headers.get("content-type", "") or b"\n{" in body.strip():
        found: Any = [line for line in lenient.lines(body) if line.strip()]
    else:
        found = bodies.decode_records(body, "body")
        if len(found) == 1 and is_object(found[0]) and "schema" in found[0]:
            roles, place, found = _roles(spec, found[0]["schema"]), "records", found[0].get("records")
    if not is_array(found):
        raise SightlineError("`records` is no array", where=place)
    lenient.check_rows(len(found), place)
    records = list[Any](found)
    for i, record in enumerate(records):
        with contextlib.suppress(SightlineError):  # what is no JSON is refused below, in its place
            records[i] = bodies.decode_record(record, place)
    numbered = ((f"{place}[{i}]", record) for i, record in enumerate(records))
    return rows.read_each(numbered, reader(records, roles, spec, "bentoml"), "bentoml")


def reader(
    records: Sequence[Any], roles: Mapping[str, str] | None, spec: MonitorSpec, source: str
) -> Callable[[str, Any], list[rows.Event]]:
    """How to read each of these records, in their order; the rows of one request share its id and are numbered.

    Parameters
    ----------
    records : sequence
        All records of a body.
    roles : dict of str to str, or None
        Roles by name of column; None: those of a record's own schema, else of the YAML.
    spec : MonitorSpec
        Names of the columns.
    source : str
        Name of the wire format.
    """
    times = Counter(_identity(record) for record in records if is_object(record) and "fields" not in record)
    rows_of = Counter[str]()

    def read(where: str, record: Any) -> list[rows.Event]:
        record = bodies.decode_record(record, where)
        if is_object(record) and "fields" in record:
            return _events(spec, *_from_fields(record, where), where=where, source=source)
        known = roles if roles is not None else _own_roles(spec, record)
        identity, at, by_role = _from_flat(record, known, where)
        if identity is not None and times[identity] > 1:  # one request, several rows
            rows_of[identity] += 1
            identity = f"{identity}:{rows_of[identity] - 1}"
        return _events(spec, identity, at, by_role, where=where, source=source)

    return read


def _roles(spec: MonitorSpec, schema: Any) -> dict[str, str]:
    """Roles by name from a schema: a list of columns, or what BentoML writes into its schema file or its records.

    BentoML logs columns of any other role too; they have the role of their name in the YAML.
    """
    fields = schema.get("columns", schema) if is_object(schema) else schema
    fields = list(fields.values()) if is_object(fields) else fields
    roles: dict[str, str | None] = {}
    for i, field in enumerate(fields if is_array(fields) else []):
        if not is_object(field) or "name" not in field or "role" not in field:
            raise SightlineError(f"expected name and role ({', '.join(ROLES)})", where=f"schema[{i}]")
        name = str(field["name"])
        roles[name] = str(field["role"]) if field["role"] in ROLES else _roles_by_name(spec, {name: None}).get(name)
    return {name: role for name, role in roles.items() if role is not None}


def _own_roles(spec: MonitorSpec, record: Any) -> dict[str, str]:
    """Roles of a record that has no schema beside it."""
    by_name = _roles_by_name(spec, record)
    meta = record.get("bento_meta") if is_object(record) else None
    schema = meta.get("schema") if is_object(meta) else None
    return {**by_name, **(_roles(spec, schema) if is_object(schema) else {})}


def _roles_by_name(spec: MonitorSpec, record: Any) -> dict[str, str]:
    """Roles of a line of BentoML's data file, whose schema is in another file: the monitor's YAML knows them too."""
    columns = spec.columns
    outputs = {columns.score, columns.prediction, *columns.class_scores.values()}
    target = spec.labels.column if spec.labels is not None else None
    return {
        name: "target" if name == target else "prediction" if name in outputs else "feature"
        for name in (record if is_object(record) else ())
        if name not in RESERVED
    }


def _identity(record: Mapping[str, Any]) -> str | None:
    identity = record.get("request_id") or record.get("id")
    return str(identity) if identity else None


def _from_flat(record: Any, roles: Mapping[str, str], where: str) -> tuple[str | None, Any, dict[str, dict[str, Any]]]:
    if not is_object(record):
        raise SightlineError("a record is an object", where=where)
    by_role: dict[str, dict[str, Any]] = {role: {} for role in ROLES}
    for name, value in record.items():
        if name in roles:
            by_role[roles[name]][name] = value
    return _identity(record), record.get("timestamp"), by_role


def _from_fields(item: Any, where: str) -> tuple[str | None, Any, dict[str, dict[str, Any]]]:
    if not is_object(item) or not is_array(item.get("fields")):
        raise SightlineError("expected an object with `fields`", where=where)
    by_role: dict[str, dict[str, Any]] = {role: {} for role in ROLES}
    for i, field in enumerate(item["fields"]):
        if not is_object(field) or "name" not in field or field.get("role") not in ROLES:
            raise SightlineError(f"expected name, value and role ({', '.join(ROLES)})", where=f"{where}.fields[{i}]")
        by_role[field["role"]][str(field["name"])] = field.get("value")
    return _identity(item), item.get("timestamp"), by_role


def _events(
    spec: MonitorSpec,
    identity: str | None,
    timestamp: Any,
    by_role: Mapping[str, dict[str, Any]],
    *,
    where: str,
    source: str,
) -> list[rows.Event]:
    identity = identity or next(
        (str(v[spec.columns.prediction_id]) for v in by_role.values() if spec.columns.prediction_id in v), None
    )
    if not identity:
        raise SightlineError(
            "no request_id", where=where, fix=f"log request_id or the column {spec.columns.prediction_id!r}"
        )
    at = rows.moment(timestamp, f"{where}.timestamp")
    events: list[rows.Event] = []
    if by_role["feature"] or by_role["prediction"]:
        events.append(
            rows.inference_event(spec, by_role["feature"], by_role["prediction"], id=identity, at=at, source=source)
        )
    if by_role["target"]:
        target = by_role["target"]
        row = target if len(target) != 1 or rows.RETRACTED in target else {"value": next(iter(target.values()))}
        events.append(rows.label_event(spec, row, id=identity, at=at, source=source))
    if not events:
        raise SightlineError("nothing was logged: no feature, prediction or target", where=where)
    return events
