"""Published tables as DuckDB views: what a query of a user's page may read, and the files that stand for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.datatypes import DataTypeClass

from metrics_py.alerting.tables import INCIDENTS_SCHEMA, MEMBERS_SCHEMA, STREAMS_SCHEMA
from sightline.dashboard.masking import HIDDEN, VALUES
from sightline.home import MonitorPaths
from sightline.lake.store.schema import below, literal, quote
from sightline.results.append_only import live_files
from sightline.results.distributions import DISTRIBUTION_SCHEMA
from sightline.results.evidence import EVIDENCE_SCHEMA
from sightline.results.judgements import JUDGEMENT_KEY, JUDGEMENT_SCHEMA
from sightline.results.withdrawn import WITHDRAWN

PolarsDataType = pl.DataType | DataTypeClass

Schema = dict[str, pl.DataType]
KINDS = {
    "String": "VARCHAR",
    "Float64": "DOUBLE",
    "Int32": "INTEGER",
    "Int64": "BIGINT",
    "UInt32": "UINTEGER",
    "Boolean": "BOOLEAN",
    "Datetime": "TIMESTAMP",
    "Date": "DATE",
}


@dataclass(frozen=True)
class Table:
    """One published table.

    Parameters
    ----------
    schema : dict
        Columns of its files.
    files : callable
        Files of a monitor, those that count.
    key : sequence of str
        Of rows with one key the one with the largest `order` counts; empty: every row counts.
    order : str
        Column; ``filename``: the newest file.
    """

    schema: Schema
    files: Callable[[MonitorPaths], list[Path]]
    key: tuple[str, ...] = ()
    order: str = ""


def _judgements(paths: MonitorPaths) -> list[Path]:
    base = paths.results / "judgements"
    folders = sorted(each for each in base.iterdir() if each.is_dir()) if base.is_dir() else []
    return [file for folder in folders for file in live_files(folder)]


def _snapshot(name: str) -> Callable[[MonitorPaths], list[Path]]:
    def files(paths: MonitorPaths) -> list[Path]:
        file = paths.results / "snapshots" / f"{name}.parquet"
        return [file] if file.is_file() else []

    return files


TABLES: dict[str, Table] = {
    "judgements": Table(JUDGEMENT_SCHEMA, _judgements, tuple(JUDGEMENT_KEY), "revision"),
    "evidence": Table(EVIDENCE_SCHEMA, lambda paths: live_files(paths.results / "evidence")),
    "distributions": Table(
        DISTRIBUTION_SCHEMA,
        lambda paths: live_files(paths.results / "distributions"),
        ("window_start", "column"),
        "filename",
    ),
    "incidents": Table(dict(INCIDENTS_SCHEMA), _snapshot("incidents")),
    "incident_members": Table(dict(MEMBERS_SCHEMA), _snapshot("incident_members")),
    "alert_streams": Table(dict(STREAMS_SCHEMA), _snapshot("alert_streams")),
}
"""What a query may read, by name; each has a column `monitor` as well."""


def files_of(names: Iterable[str], monitors: Iterable[MonitorPaths]) -> dict[str, dict[str, list[Path]]]:
    """Files that stand for some tables: table -> monitor -> files; monitors without any are left out."""
    known = list(monitors)
    listed = {name: {paths.root.name: TABLES[name].files(paths) for paths in known} for name in names}
    return {name: {monitor: files for monitor, files in by.items() if files} for name, by in listed.items()}


def view_sql(name: str, by_monitor: dict[str, list[Path]], hidden: Mapping[str, Sequence[str]]) -> str:
    """``CREATE VIEW`` of a table over the files of its monitors; without any it is empty.

    Of the columns that are `hidden`, by monitor, it holds no judgement that is a value of somebody, and no word on what
    moved.
    """
    table = TABLES[name]
    parts = [_empty(table)]
    for monitor, files in by_monitor.items():
        kept = _of_monitor(table, monitor, files)
        columns = hidden.get(monitor, ())
        if columns and "metric" in table.schema:
            gone, of = (", ".join(map(literal, each)) for each in (VALUES, columns))
            told = (
                f"CASE WHEN \"column\" IN ({of}) AND status IN ('warn', 'alert') THEN {literal(HIDDEN)} ELSE reason END"
            )
            rows = f"SELECT * REPLACE ({told} AS reason) FROM {kept}"  # noqa: S608 (as below)
            kept = f'({rows} WHERE NOT (metric IN ({gone}) AND "column" IN ({of})))'
        parts.append(kept)
    return f"CREATE VIEW {quote(name)} AS {' UNION ALL BY NAME '.join(parts)}"


def _empty(table: Table) -> str:
    kinds = {"monitor": "VARCHAR", **{name: _kind(dtype) for name, dtype in table.schema.items()}}
    columns = ", ".join(f"CAST(NULL AS {kind}) AS {quote(column)}" for column, kind in kinds.items())
    return f"(SELECT {columns} WHERE false)"


def _kind(dtype: PolarsDataType) -> str:
    """DuckDB's type of a published column."""
    if isinstance(dtype, pl.List):
        return f"{_kind(dtype.inner)}[]"
    return KINDS[str(dtype.base_type())]


def _of_monitor(table: Table, monitor: str, files: list[Path]) -> str:
    """Rows of one monitor that count: the newest of each key, without what was withdrawn."""
    listed = ", ".join(below(file.parent, file.name) for file in files)
    how = "union_by_name = true, hive_partitioning = false, filename = true"
    rows = f"SELECT * FROM read_parquet([{listed}], {how})"  # noqa: S608 (literals and identifiers are quoted)
    if table.key:
        keys = ", ".join(quote(column) for column in table.key)
        rows += f" QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {quote(table.order)} DESC) = 1"
    ours = "filename, monitor" if "monitor" in table.schema else "filename"
    chosen = f"SELECT {literal(monitor)} AS monitor, * EXCLUDE ({ours}) FROM ({rows})"  # noqa: S608 (as above)
    if table.key and "reason_code" in table.schema:
        chosen += f" WHERE reason_code IS DISTINCT FROM {literal(WITHDRAWN)}"
    return f"({chosen})"
