"""Schema ``raw``: views over the lake and the quarantine, one branch per schema that parts were written with.

Pruning: ``window_key`` is the hive folder, so ``WHERE window_key = '2026-01-31'``, ``BETWEEN``, ``IN`` and joins with a
small table of keys open only the files of those windows. Filters on ``predicted_at`` open every file.
"""

from __future__ import annotations

import duckdb

from sightline.home import MonitorPaths
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.parts import recover_if_needed
from sightline.lake.store.schema import (
    QUARANTINE_SCHEMA,
    below,
    duckdb_schema,
    fingerprint,
    lake_schema,
    literal,
    quote,
)
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import production_sql
from sightline.warehouse.current_labels import CURRENT_LABELS

CASTABLE = {"VARCHAR", "DOUBLE", "BOOLEAN", "BIGINT", "UTINYINT", "TIMESTAMP"}


def prepare(con: duckdb.DuckDBPyConnection, spec: MonitorSpec, paths: MonitorPaths) -> None:
    """Create or refresh the views of schema ``raw``.

    ``inferences``, ``labels``, ``unmatched`` and ``quarantine`` show the parts that count, ``production`` the
    inferences that are no shadow's, ``current_labels`` one label per prediction.

    They work on an empty lake, and on parts that were written before a column of the spec existed (null) or
    when it had another kind (cast; null where a value will not go). A commit that a killed process left
    half visible is finished first.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        A writing connection from `connect`.
    spec : MonitorSpec
        Decides the columns.
    paths : MonitorPaths
        Where the lake is; the views hold its absolute path.
    """
    recover_if_needed(paths)
    con.execute("CREATE SCHEMA IF NOT EXISTS raw")
    with open_ledger(paths.ledger, create=False) as ledger:
        for kind in ("inferences", "labels", "unmatched"):
            columns = duckdb_schema(lake_schema(spec, kind))
            view = _lake_view(paths, kind, columns, ledger.schemas(kind))
            _replace(con, kind, view)
            if kind == "inferences":
                own = f"SELECT * FROM raw.inferences WHERE {production_sql(spec)}"  # noqa: S608 (quoted)
                _replace(con, "production", own, made_over=view)
        has_rows = bool(ledger.parts("quarantine"))
    _replace(con, "current_labels", CURRENT_LABELS)
    _replace(con, "quarantine", _quarantine_view(paths, has_rows))


def _replace(con: duckdb.DuckDBPyConnection, name: str, query: str, made_over: str = "") -> None:
    """Replace a view if its text, or that of the view it is made over, changed: else the catalogue needs no write."""
    found = con.sql(
        "SELECT comment FROM duckdb_views() WHERE schema_name = 'raw' AND view_name = ?", params=[name]
    ).fetchall()
    mark = fingerprint({"query": query + made_over})
    if found == [(mark,)]:
        return
    con.execute(f"CREATE OR REPLACE VIEW raw.{name} AS {query}")
    con.execute(f"COMMENT ON VIEW raw.{name} IS {literal(mark)}")


def _lake_view(paths: MonitorPaths, kind: str, columns: dict[str, str], schemas: dict[str, dict[str, str]]) -> str:
    is_partitioned = kind != "unmatched"
    key = ', "window" AS window_key' if is_partitioned else ""
    options = (
        ", hive_partitioning = true, hive_types = {'window': VARCHAR}"
        if is_partitioned
        else ", hive_partitioning = false"
    )
    branches: list[str] = []
    for mark, have in sorted(schemas.items()):
        pattern = below(paths.lake / kind, f"{'window=*/' if is_partitioned else ''}*-{mark}.parquet")
        selected = ", ".join(_column(name, wanted, have.get(name)) for name, wanted in columns.items())
        source = f"read_parquet({pattern}{options})"
        branches.append(f"SELECT {selected}{key} FROM {source}")  # noqa: S608 (all quoted)
    if not branches:
        return _empty({**columns, **({"window_key": "VARCHAR"} if is_partitioned else {})})
    return " UNION ALL ".join(branches)


def _column(name: str, wanted: str, have: str | None) -> str:
    if have == wanted:
        return quote(name)
    if have in CASTABLE and wanted in CASTABLE:
        return f"TRY_CAST({quote(name)} AS {wanted}) AS {quote(name)}"
    return f"NULL::{wanted} AS {quote(name)}"


def _quarantine_view(paths: MonitorPaths, has_rows: bool) -> str:
    columns = duckdb_schema(QUARANTINE_SCHEMA)
    if not has_rows:
        return _empty(columns)
    selected = ", ".join(map(quote, columns))
    source = f"read_parquet({below(paths.quarantine, '*.parquet')}, hive_partitioning = false)"
    return f"SELECT {selected} FROM {source}"  # noqa: S608 (all quoted)


def _empty(columns: dict[str, str]) -> str:
    return "SELECT " + ", ".join(f"NULL::{dtype} AS {quote(name)}" for name, dtype in columns.items()) + " WHERE false"
