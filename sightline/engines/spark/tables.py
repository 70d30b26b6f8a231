"""What a session's catalogue begins with: schema ``raw`` over the lake, schema ``control`` of the run.

The twin of `sightline.warehouse.views` in Spark's words: one table per schema that parts were written with, and a view
over them. Only folders of the windows that a model asks for are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from sightline.home import MonitorPaths
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.schema import QUARANTINE_SCHEMA, duckdb_schema, lake_schema
from sightline.spec.model import MonitorSpec

TYPES = {
    "VARCHAR": "string",
    "DOUBLE": "double",
    "BOOLEAN": "boolean",
    "BIGINT": "bigint",
    "INTEGER": "int",
    "UTINYINT": "smallint",
    "TIMESTAMP": "timestamp_ntz",
    "FLOAT[]": "array<float>",
    "DOUBLE[]": "array<double>",
    "INTEGER[]": "array<int>",
    "VARCHAR[]": "array<string>",
    "BLOB": "binary",
}
"""DuckDB's types -> Spark's."""
CASTABLE = {"VARCHAR", "DOUBLE", "BOOLEAN", "BIGINT", "UTINYINT", "TIMESTAMP"}


def quote(name: str) -> str:
    """An identifier of Spark SQL."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """A string literal of Spark SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def raw_statements(spec: MonitorSpec, paths: MonitorPaths) -> Iterator[str]:
    """Statements that make ``raw.inferences``, ``raw.labels`` and ``raw.quarantine``.

    Parameters
    ----------
    spec : MonitorSpec
        Decides the columns.
    paths : MonitorPaths
        Where the lake is.
    """
    yield "create schema raw"
    with open_ledger(paths.ledger, create=False) as ledger:
        for kind in ("inferences", "labels"):
            columns = duckdb_schema(lake_schema(spec, kind))
            yield from _partitioned(paths.lake / kind, kind, columns, ledger.schemas(kind))
        has_rows = bool(ledger.parts("quarantine"))
    columns = duckdb_schema(QUARANTINE_SCHEMA)
    if has_rows:
        yield _over_files("quarantine", columns, f"{glob_literal(paths.quarantine)}/*.parquet", None)
    else:
        yield _view("quarantine", [_empty(columns)])


def control_statements(files: Mapping[str, Path], schemas: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Statements that make the control tables of their files; `schemas` has DuckDB's types."""
    yield "create schema control"
    for name, file in files.items():
        described = _described({**schemas[name], "row_order": "BIGINT"})
        yield f"create table control.{quote(name)} ({described}) using parquet options (path {literal(str(file))})"


def _partitioned(
    folder: Path, kind: str, columns: Mapping[str, str], schemas: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    branches: list[str] = []
    for mark, have in sorted(schemas.items()):
        pattern = f"{glob_literal(folder)}/window=*/*-{mark}.parquet"
        yield _over_files(f"{kind}_{mark}", {**have, "window": "VARCHAR"}, pattern, folder)
        selected = ", ".join(_column(name, wanted, have.get(name)) for name, wanted in columns.items())
        branches.append(f"select {selected}, `window` as window_key from raw.{quote(f'{kind}_{mark}')}")  # noqa: S608 (all quoted)
    yield _view(kind, branches or [_empty({**columns, "window_key": "VARCHAR"})])


def glob_literal(folder: Path) -> str:
    """A folder whose name holds signs of Hadoop's globs."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", folder.as_posix())


def _over_files(name: str, columns: Mapping[str, str], pattern: str, base: Path | None) -> str:
    """A table over Parquet files; below `base` the folders ``window=...`` are its partition."""
    options = {"path": pattern, **({"basePath": str(base)} if base else {})}
    written = ", ".join(f"{quote(key)} {literal(value)}" for key, value in options.items())
    partition = " partitioned by (`window`)" if base else ""
    return f"create table raw.{quote(name)} ({_described(columns)}) using parquet options ({written}){partition}"


def _described(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{quote(name)} {TYPES[dtype]}" for name, dtype in columns.items())


def _column(name: str, wanted: str, have: str | None) -> str:
    if have == wanted:
        return quote(name)
    if have in CASTABLE and wanted in CASTABLE:
        return f"try_cast({quote(name)} as {TYPES[wanted]}) as {quote(name)}"
    return f"cast(null as {TYPES[wanted]}) as {quote(name)}"


def _empty(columns: Mapping[str, str]) -> str:
    nulls = ", ".join(f"cast(null as {TYPES[dtype]}) as {quote(name)}" for name, dtype in columns.items())
    return f"select {nulls} where false"


def _view(name: str, branches: list[str]) -> str:
    return f"create view raw.{quote(name)} as " + " union all ".join(branches)
