"""Marts that Spark wrote as Parquet, loaded into the warehouse in one transaction after their contract was checked."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb

from sightline.engines.spark.sql_metrics import differing
from sightline.errors import SightlineError
from sightline.home import MonitorPaths
from sightline.lake.store.schema import below, quote
from sightline.spec.model import MonitorSpec
from sightline.warehouse.connection import connect

COUNTED = {"service_health": "n_rows", "label_counts": "n_predictions"}
"""Marts whose rows of segment ``all`` count every prediction of a window -> the column that does."""


def load_marts(
    spec: MonitorSpec,
    paths: MonitorPaths,
    manifest: Mapping[str, Any],
    done: set[str],
    folder: Path,
    refused: Mapping[str, str],
) -> dict[str, int]:
    """Replace the run's windows in the marts of the warehouse.

    Parameters
    ----------
    spec : MonitorSpec
        The monitor.
    paths : MonitorPaths
        Its warehouse.
    manifest : mapping
        dbt's, with the marts' contracts.
    done : set of str
        Ids of the models that were built.
    folder : Path
        One folder of Parquet files per mart.
    refused : mapping
        SQL metric -> why Spark was not asked for it; `control.refused_metrics` keeps them for the judgements.

    Returns
    -------
    dict
        Mart -> rows loaded.

    Raises
    ------
    SightlineError
        A mart breaks its contract, or counts other predictions than the lake holds. Nothing is loaded then.
    """
    marts = {
        node["name"]: node
        for key, node in sorted(manifest["nodes"].items())
        if key in done and node["resource_type"] == "model" and node["schema"] == "marts"
    }
    rows: dict[str, int] = {}
    with connect(paths) as con:
        con.execute("begin")
        try:
            con.execute("create schema if not exists marts")
            for name, node in marts.items():
                rows[name] = _load(con, name, node["columns"], folder / name)
            for name, column in COUNTED.items():
                if name in marts:
                    _require_all_rows(con, spec, name, column)
            for name, reason in [*refused.items(), *_refuse_differing(con, spec, set(marts), refused)]:
                con.execute("insert into control.refused_metrics values (?, ?)", [name, reason])
            con.execute("commit")
        except BaseException:
            con.execute("rollback")
            raise
    return rows


def _load(con: duckdb.DuckDBPyConnection, name: str, columns: Mapping[str, Any], folder: Path) -> int:
    wanted = {column: str(entry["data_type"]).upper() for column, entry in columns.items()}
    required = {c for c, entry in columns.items() if any(k["type"] == "not_null" for k in entry["constraints"])}
    source = f"read_parquet({below(folder, '*.parquet')}, hive_partitioning = false)"
    try:
        described = con.sql(f"select * from {source}")  # noqa: S608 (our own folder)
    except duckdb.IOException as error:
        where = f"mart {name}"
        fix = "every worker must write to the same folder: set `engine.work` to one that they share"
        raise SightlineError(
            f"Spark left no files of it: {str(error).splitlines()[0]}", where=where, fix=fix
        ) from error
    found = dict(zip(described.columns, map(str, described.types), strict=True))
    if found != wanted:
        odd = sorted(set(found.items()) ^ set(wanted.items()))
        raise SightlineError(f"Spark made {odd} against its contract", where=f"mart {name}")
    types = ", ".join(f"{quote(c)} {t}{' not null' if c in required else ''}" for c, t in wanted.items())
    con.execute(f"create table if not exists marts.{quote(name)} ({types})")
    have = con.sql(f"select * from marts.{quote(name)} limit 0")  # noqa: S608 (our own name)
    if dict(zip(have.columns, map(str, have.types), strict=True)) != wanted:
        raise SightlineError(
            "the mart in the warehouse has other columns", where=f"mart {name}", fix="`sightline migrate MONITOR`"
        )
    names = ", ".join(map(quote, wanted))
    con.execute(f"delete from marts.{quote(name)} where window_key in (select window_key from control.windows)")  # noqa: S608
    con.execute(f"insert into marts.{quote(name)} ({names}) select {names} from {source}")  # noqa: S608 (all quoted)
    [(n,)] = con.sql(f"select count(*) from {source}").fetchall()  # noqa: S608 (our own folder)
    return int(n)


def _refuse_differing(
    con: duckdb.DuckDBPyConnection, spec: MonitorSpec, marts: set[str], refused: Container[str]
) -> Iterator[tuple[str, str]]:
    """Take metrics out of the marts whose values are not DuckDB's."""
    for mart, metric, reason in list(differing(con, spec, marts, refused)):
        con.execute(
            f"delete from marts.{mart} where metric = ? "  # noqa: S608 (our own name)
            "and window_key in (select window_key from control.windows)",
            [metric],
        )
        yield metric, reason


def _require_all_rows(con: duckdb.DuckDBPyConnection, spec: MonitorSpec, name: str, column: str) -> None:
    """Every prediction of the lake must be counted: another engine that reads fewer files would say so nowhere."""
    odd = con.sql(
        f"""
        with here as (
            select window_key, sum({column}) as n from marts.{name}
            where segment = 'all' and window_key in (select window_key from control.windows) group by all
        ), lake as (
            select window_key, count(*) as n from raw.inferences
            where window_key in (select window_key from control.windows) group by all
        )
        select coalesce(here.window_key, lake.window_key), coalesce(here.n, 0), coalesce(lake.n, 0)
        from here full join lake on here.window_key = lake.window_key
        where coalesce(here.n, 0) <> coalesce(lake.n, 0) order by 1 limit 1
        """  # noqa: S608 (our own names)
    ).fetchall()
    for key, here, there in odd:
        raise SightlineError(
            f"Spark counted {int(here):,} predictions of window {key}, the lake holds {there:,}: nothing is loaded",
            where=f"monitor {spec.id}, mart {name}",
            fix="every worker must see the same lake as this machine; run it again",
        )
