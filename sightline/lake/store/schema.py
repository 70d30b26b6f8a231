"""Columns of the lake: names, order and types, as Polars and as DuckDB see them, and a short fingerprint of both."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import polars as pl

from sightline.spec.model import MonitorSpec

TIMESTAMP = pl.Datetime("us")

FEATURE_TYPES: dict[str, pl.DataType] = {
    "numeric": pl.Float64(),
    "categorical": pl.String(),
    "boolean": pl.Boolean(),
    "datetime": TIMESTAMP,
    "text": pl.String(),
    "embedding": pl.List(pl.Float32),
}
DUCKDB_TYPES: dict[str, str] = {
    "String": "VARCHAR",
    "Float64": "DOUBLE",
    "Boolean": "BOOLEAN",
    "Int64": "BIGINT",
    "UInt8": "UTINYINT",
    "Datetime": "TIMESTAMP",
    "List": "FLOAT[]",
    "Binary": "BLOB",
}
LABEL_SCHEMA: dict[str, pl.DataType] = {
    "prediction_id": pl.String(),
    "predicted_at": TIMESTAMP,
    "window_start": TIMESTAMP,
    "label_class": pl.String(),
    "label_value": pl.Float64(),
    "observed_at": TIMESTAMP,
    "received_at": TIMESTAMP,
    "revision_order": pl.Int64(),
    "batch_id": pl.String(),
    "hinted_at": TIMESTAMP,
    "is_retracted": pl.Boolean(),
}
"""One row per label revision. ``hinted_at`` is the time of its prediction that came with the label, null without one.
In ``unmatched`` parts ``predicted_at`` is the same and ``window_start`` null. ``is_retracted``: the revision takes the
label back and has no value; null in parts that were written before labels could be taken back."""

REVISION_SCHEMA: dict[str, pl.DataType] = {
    "prediction_id": pl.String(),
    "model_version": pl.String(),
    "is_withdrawn": pl.Boolean(),
    "observed_at": TIMESTAMP,
    "received_at": TIMESTAMP,
    "row_number": pl.Int64(),
    "batch_id": pl.String(),
    "reaches_until": TIMESTAMP,
    "content": pl.String(),
    "is_waiting": pl.Boolean(),
}
"""One row per correction or withdrawal of a prediction. ``model_version`` is null where a withdrawal speaks of all
versions; it speaks of rows in windows that begin by ``reaches_until``; ``content`` is the MD5 of what a correction
says; ``is_waiting``: a withdrawal of a prediction that has not come yet."""

ROW_BITS = 32


def revision_order(seq: int, row_number: pl.Expr) -> pl.Expr:
    """The order in which label revisions arrived: the batch's number in the ledger, then the row's place in it."""
    return row_number + (seq << ROW_BITS)


def row_of_revision(order: pl.Expr) -> pl.Expr:
    """The row's place in its batch, from its `revision_order`."""
    return order & (2**ROW_BITS - 1)


HALF_SCHEMA: dict[str, pl.DataType] = {
    "seq": pl.Int64(),
    "prediction_id": pl.String(),
    "batch_id": pl.String(),
    "row_number": pl.Int64(),
    "received_at": TIMESTAMP,
    "event": pl.Binary(),
}
"""Requests or responses whose other half has not come yet; ``event`` is the MessagePack of the log's event."""

QUARANTINE_SCHEMA: dict[str, pl.DataType] = {
    "kind": pl.String(),
    "batch_id": pl.String(),
    "source": pl.String(),
    "row_number": pl.Int64(),
    "prediction_id": pl.String(),
    "predicted_at": TIMESTAMP,
    "window_start": TIMESTAMP,
    "column": pl.String(),
    "reason": pl.String(),
    "value": pl.String(),
    "severity": pl.String(),
    "payload": pl.String(),
    "received_at": TIMESTAMP,
}


def inference_schema(spec: MonitorSpec) -> dict[str, pl.DataType]:
    """Canonical inference columns of a monitor, in lake order.

    Parameters
    ----------
    spec : MonitorSpec
        Names the features (``f_<name>``), segments (``g_<column>``) and class scores (``p_<class>``).

    Returns
    -------
    dict of str to polars.DataType
    """
    text, number = pl.String(), pl.Float64()
    return {
        "prediction_id": text,
        "predicted_at": TIMESTAMP,
        "window_start": TIMESTAMP,
        "model_version": text,
        "entity_id": text,
        "query_id": text,
        "score": number,
        "prediction": number,
        "predicted_class": text,
        **{f"p_{name}": number for name in spec.columns.class_scores},
        "is_error": pl.Boolean(),
        "status": text,
        "latency_ms": number,
        "weight": number,
        "bucket": pl.UInt8(),
        "received_at": TIMESTAMP,
        "batch_id": text,
        "row_number": pl.Int64(),
        **{f"f_{name}": FEATURE_TYPES[feature.kind] for name, feature in spec.columns.features.items()},
        **{f"g_{name}": text for name in spec.columns.segments},
    }


def lake_schema(spec: MonitorSpec, kind: str) -> dict[str, pl.DataType]:
    """Schema of ``inferences``, ``replaced``, ``revisions``, ``labels`` or ``unmatched`` parts."""
    if kind == "revisions":
        return REVISION_SCHEMA
    return inference_schema(spec) if kind in ("inferences", "replaced") else LABEL_SCHEMA


def duckdb_schema(schema: dict[str, pl.DataType]) -> dict[str, str]:
    """Column name -> DuckDB type."""
    return {name: DUCKDB_TYPES[str(dtype.base_type())] for name, dtype in schema.items()}


def fingerprint(columns: dict[str, str]) -> str:
    """Eight hex digits for a name -> DuckDB type mapping.

    They are part of every file name, so that a glob finds one schema's parts.
    """
    return hashlib.md5(json.dumps(columns).encode(), usedforsecurity=False).hexdigest()[:8]


def quote(name: str) -> str:
    """A DuckDB identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def below(folder: Path, pattern: str) -> str:
    """String literal of a glob of DuckDB below a folder whose own name may hold signs of globs."""
    named = re.sub(r"[*?[]", r"[\g<0>]", folder.as_posix())
    return literal(f"{named}/{pattern}")
