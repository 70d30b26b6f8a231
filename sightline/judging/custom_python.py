"""The user's metrics written in Python, by window, version and segment.

The function is called on the window's rows, and again without each bucket of them for a jackknife interval.

SQL metrics are aggregated by dbt; a Python function needs the rows themselves. They are read one window at a time and
only as many as `MAX_CELLS` allows. What goes wrong in a function is the reason of that metric's judgement and stops
nothing else; one that hangs is interrupted, and not tried again on the other windows of the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import polars as pl
from polars.exceptions import PanicException

from metrics_py.failures import told_failure
from metrics_py.intervals import N_SEGMENT_BUCKETS, t_quantile
from metrics_py.quality.custom import estimate_rows
from metrics_py.registry import Metric
from metrics_py.results import Estimate
from sightline.errors import SightlineError
from sightline.home import MonitorPaths
from sightline.judging.frames import SIGN
from sightline.judging.marts import ALL_VERSIONS
from sightline.judging.time_limit import TimeLimitExceeded, metric_seconds, time_limit
from sightline.lake.store.schema import lake_schema, literal, quote
from sightline.spec.field_types import NUMBER_TASKS
from sightline.spec.judging_sections import CustomMetric
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import is_production, production_sql
from sightline.user_metrics import python_metrics
from sightline.warehouse.settings import negative_class

TABLE = {
    "window_start": pl.Datetime("us"),
    **dict.fromkeys(("model_version", "segment", "metric", "status", "reason", "reason_code"), pl.String),
    **dict.fromkeys(("value", "ci_low", "ci_high", "stabilised_value", "variance"), pl.Float64),
    "n": pl.Int64,
}
"""The columns of `metrics_py.quality.table.quality_table` that judgements and evidence use."""

MAX_CELLS = 200_000_000
"""Rows x columns of one window in memory; the jackknife needs about twice as much."""

FAILED = "the metric failed"
"""So begin the reasons that somebody should look into (code ``metric_failed``): the function or its module is broken.
"""

LARGE_KINDS = ("text", "embedding")


@dataclass(frozen=True)
class Loaded:
    """A metric of the spec with its function, or why there is none."""

    metric: CustomMetric
    entry: Metric | None
    reason: str | None = None


@dataclass(frozen=True)
class Own:
    """Results in shape `TABLE`; worse side (-1 below, 1 above, 0 both) and range per metric."""

    table: pl.DataFrame
    directions: Mapping[str, int]
    limits: Mapping[str, tuple[float, float]]


def evaluate(
    spec: MonitorSpec,
    paths: MonitorPaths,
    con: duckdb.DuckDBPyConnection,
    keys: Sequence[str],
    *,
    needs_label: bool,
    min_rows: int,
) -> Own:
    """Evaluate the Python metrics that need a label, or those that need none.

    Parameters
    ----------
    spec, paths
        The monitor.
    con : duckdb.DuckDBPyConnection
        Its warehouse; the views of schema ``raw`` are read.
    keys : sequence of str
        Window keys. A window without predictions has no result.
    needs_label : bool
        Which metrics; with labels the rows are those with a current label (all, where `labels.silence` is
        ``negative``), and have the columns `label` and `is_positive`.
    min_rows : int
        Fewer rows: ``insufficient_data``.
    """
    wanted = [m for m in spec.metrics if m.python is not None and m.needs_label == needs_label]
    if not wanted:
        return Own(pl.DataFrame(schema=TABLE), {}, {})
    with python_metrics.importable(paths.home):
        loaded = [_load(metric) for metric in wanted]
        top = _top_values(spec, con)
        parts: list[dict[str, Any]] = []
        for key in keys:
            rows, hung = _window(spec, con, key, loaded, top, needs_label, min_rows)
            parts += rows
            loaded = [Loaded(e.metric, None, hung[e.metric.name]) if e.metric.name in hung else e for e in loaded]
    directions = {found.metric.name: SIGN[_direction(found)] for found in loaded}
    limits = {found.metric.name: found.entry.range for found in loaded if found.entry}
    return Own(pl.DataFrame(parts, schema=TABLE), directions, limits)


def _load(metric: CustomMetric) -> Loaded:
    try:
        with time_limit(metric_seconds()):
            return Loaded(metric, python_metrics.load(str(metric.python)))
    except SightlineError as error:
        return Loaded(metric, None, f"{FAILED}: {error.what}")
    except TimeLimitExceeded:
        return Loaded(metric, None, f"{FAILED}: no end of its module's import within {metric_seconds():g} s")


def _direction(found: Loaded) -> str:
    """The monitor's word goes before the decorator's."""
    if "direction" in found.metric.model_fields_set or found.entry is None:
        return found.metric.direction
    return found.entry.direction


def _window(
    spec: MonitorSpec,
    con: duckdb.DuckDBPyConnection,
    key: str,
    loaded: Sequence[Loaded],
    top: Mapping[str, list[str]],
    needs_label: bool,
    min_rows: int,
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows of one window, and the functions that hung in it: they are not called again in this run."""
    [(n_rows, n_own)] = con.sql(
        f"select count(*), count(*) filter (where {production_sql(spec)}) from raw.inferences "  # noqa: S608 (quoted)
        "where window_key = ?",
        params=[key],
    ).fetchall()
    done: list[dict[str, Any]] = []
    hung: dict[str, str] = {}
    if not n_rows:
        return done, hung
    start = spec.window_start(key).replace(tzinfo=None)
    whole = {"window_start": start, "model_version": ALL_VERSIONS, "segment": "all"}
    usable: list[tuple[CustomMetric, Metric, list[str]]] = []
    for each in loaded:
        names = _columns(spec, each.metric)
        if each.entry is None:
            done.append({**whole, **_result(each.metric, _failed(str(each.reason), n_rows))})
        elif n_rows * len(names) > MAX_CELLS:
            reason = (
                f"{FAILED}: {n_rows} rows x {len(names)} columns are too many for a Python metric; "
                "name those it reads under `columns`, or write it as `sql`"
            )
            done.append({**whole, **_result(each.metric, _failed(reason, n_rows))})
        else:
            usable.append((each.metric, each.entry, names))
    for metric, entry, names in usable:
        rows = _rows(spec, con, key, names, needs_label)
        found: list[dict[str, Any]] = []
        try:
            with time_limit(metric_seconds()):
                for cell, part in _cells(spec, rows, top, has_production=n_own > 0):
                    given = part.select(name for name in part.columns if name in names)
                    result = _estimate(entry, given, min_rows, needs_label)
                    found.append({**whole, **cell, **_result(metric, result, given["bucket"])})
        except TimeLimitExceeded:
            hung[metric.name] = (
                f"{FAILED}: no end of its window {key} within {metric_seconds():g} s "
                f"({len(found)} versions and segments were done)"
            )
            found = [{**whole, **_result(metric, _failed(hung[metric.name], len(rows)))}]
        done += found
    return done, hung


def _columns(spec: MonitorSpec, metric: CustomMetric) -> list[str]:
    """Lake columns (and label columns) the function gets: those it names, else all but text and embeddings."""
    large = {f"f_{name}" for name, feature in spec.columns.features.items() if feature.kind in LARGE_KINDS}
    named = metric.columns or [name for name in lake_schema(spec, "inferences") if name not in large]
    labels = python_metrics.LABEL_COLUMNS if metric.needs_label else ()
    return list(dict.fromkeys([*named, *labels, "bucket"]))


def _rows(
    spec: MonitorSpec, con: duckdb.DuckDBPyConnection, key: str, names: Sequence[str], needs_label: bool
) -> pl.DataFrame:
    """Rows of one window: the columns that are asked for, those of the cells, and the current label."""
    cells = ["window_key", "model_version", *(f"g_{name}" for name in spec.columns.segments)]
    wanted = [n for n in dict.fromkeys([*names, *cells]) if n not in python_metrics.LABEL_COLUMNS]
    selected = ", ".join(f"rows.{quote(name)}" for name in wanted)
    if not needs_label:
        query = f"select {selected} from raw.inferences as rows where window_key = ?"  # noqa: S608 (all quoted)
        return con.sql(query, params=[key]).pl()
    label = "label_value" if spec.model.task in NUMBER_TASKS else "label_class"
    join, said, named = "inner join", f"labels.{label}", "labels.label_class"
    if spec.is_silence_negative and spec.model.task == "ranking":
        join, said = "left join", f"coalesce({said}, 0.0)"
    elif spec.is_silence_negative:
        join, said = "left join", f"coalesce({said}, {literal(negative_class(spec))})"
        named = said
    return con.sql(
        f"""
        select {selected}, {said} as label, {named} = $positive as is_positive
        from raw.inferences as rows {join} raw.current_labels as labels
        on rows.prediction_id = labels.prediction_id and labels.window_key = $key
        where rows.window_key = $key and {said} is not null
        """,  # noqa: S608 (all quoted)
        params={"key": key, "positive": spec.positive_class},
    ).pl()


def _cells(
    spec: MonitorSpec, rows: pl.DataFrame, top: Mapping[str, list[str]], *, has_production: bool
) -> Iterator[tuple[dict[str, str], pl.DataFrame]]:
    """Production's rows, those of each version, and those of each segment over all versions, as the marts name them."""
    everything, rows = rows, rows.filter(is_production(spec)).drop("window_key")
    if has_production:
        yield {}, rows
    if spec.columns.model_version is not None:
        for (version,), part in everything.drop("window_key").group_by(["model_version"]):
            yield {"model_version": str(version)}, part
    for column in spec.columns.segments if top else ():
        value = pl.col(f"g_{column}")
        known = pl.when(value.is_null()).then(pl.lit("(null)")).when(value.is_in(top.get(column, []))).then(value)
        labelled = rows.with_columns(
            pl.format("{}={}", pl.lit(column), known.otherwise(pl.lit("(other)"))).alias("@cell")
        )
        for (segment,), part in labelled.group_by(["@cell"]):
            yield {"segment": str(segment)}, part.with_columns(pl.col("bucket") % N_SEGMENT_BUCKETS)


def _top_values(spec: MonitorSpec, con: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """Values per segment column that are reported by name, as dbt was told."""
    if not spec.columns.segments:
        return {}
    rows = con.sql("select segment_column, value from control.segments").pl()
    return {str(column): part["value"].to_list() for (column,), part in rows.group_by(["segment_column"])}


def _estimate(entry: Metric, rows: pl.DataFrame, min_rows: int, needs_label: bool) -> Estimate:
    what = "labelled rows" if needs_label else "rows"
    if rows.is_empty():
        return Estimate(
            None, None, None, 0, "insufficient_data", f"no {what}", "no_labels" if needs_label else "no_rows"
        )
    try:
        found = estimate_rows(entry, rows, bucket="bucket")
    except (Exception, SystemExit, PanicException) as error:  # the function may raise anything: its metric's result
        return _failed(f"{FAILED}: {told_failure(error)}", len(rows))
    if (found.status == "ok" or found.reason_code == "no_spread") and len(rows) < min_rows:
        reason = f"{len(rows)} {what}, {min_rows} needed"
        return Estimate(found.value, found.ci_low, found.ci_high, found.n, "insufficient_data", reason, "too_few_rows")
    return found


def _failed(reason: str, n: int) -> Estimate:
    return Estimate(None, None, None, n, "insufficient_data", reason, "metric_failed")


def _result(metric: CustomMetric, found: Estimate, buckets: pl.Series | None = None) -> dict[str, Any]:
    variance = None
    if found.status == "ok" and found.ci_low is not None and found.ci_high is not None and buckets is not None:
        half = (found.ci_high - found.ci_low) / 2
        variance = (half / float(t_quantile(buckets.drop_nulls().n_unique() - 1))) ** 2
    return {
        "metric": metric.name,
        "value": found.value,
        "ci_low": found.ci_low,
        "ci_high": found.ci_high,
        "n": found.n,
        "status": found.status,
        "reason": found.reason,
        "reason_code": found.reason_code,
        "stabilised_value": found.value if found.status == "ok" or found.reason_code == "no_spread" else None,
        "variance": variance,
    }
