"""Rows of the marts by what the delay of a label may depend on, and the weighted tables that metrics are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import duckdb
import polars as pl

from metrics_py.class_names import class_text
from metrics_py.quality.completed import Evaluate, Tables
from metrics_py.quality.score_histograms import N_SCORE_BINS
from metrics_py.quality.table import quality_table
from sightline.judging.frames import BY
from sightline.judging.marts import ALL_VERSIONS, has_mart, read_mart, with_all_versions
from sightline.judging.maturity import NEGATIVE, POSITIVE, by_outcome
from sightline.judging.not_corrected import never_corrected
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import production_sql

CELLS, BINS, CUSTOM = "cells", "bins", "custom:"
"""Kinds of rows; those of a custom metric are of a kind of their own."""


def joint_rows(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> pl.DataFrame:
    """Labelled rows of some windows as `metrics_py.quality.completed.weigh` takes them.

    Parameters
    ----------
    spec : MonitorSpec
    con : duckdb.DuckDBPyConnection
        The monitor's warehouse.
    keys : sequence of str
        Window keys.

    Returns
    -------
    DataFrame
        Rows of `quality_cells` (kind ``cells``), of the score histograms of classes (``bins``), and of `custom_cells`
        (``custom:`` and the name of the metric). An earlier release has not kept all of them.
    """
    cells = _of_kind(spec, con, "quality_cells", keys, pl.lit(CELLS), actual_class=pl.col("label_class"))
    found = [by_outcome(spec, cells)]
    if spec.model.task == "binary_classification":
        outcome = pl.when("is_positive").then(pl.lit(POSITIVE)).otherwise(pl.lit(NEGATIVE))
        group = (pl.col("score_bin") // 8).cast(pl.Int32)
        found.append(
            _of_kind(spec, con, "score_label_bins", keys, pl.lit(BINS), label_class=outcome, score_group=group)
        )
    elif has_mart(con, "class_score_cells"):
        is_positive = pl.col("label_class") == pl.col("class_name")
        found.append(_of_kind(spec, con, "class_score_cells", keys, pl.lit(BINS), is_positive=is_positive))
    if has_mart(con, "custom_cells") and not spec.is_silence_negative:
        own = _of_kind(spec, con, "custom_cells", keys, pl.lit(CUSTOM) + pl.col("metric"))
        found.append(by_outcome(spec, own))
    return pl.concat(found, how="diagonal_relaxed")


def _of_kind(
    spec: MonitorSpec,
    con: duckdb.DuckDBPyConnection,
    name: str,
    keys: Sequence[str],
    kind: pl.Expr,
    **columns: pl.Expr,
) -> pl.DataFrame:
    return with_all_versions(spec, read_mart(con, name, keys)).with_columns(kind=kind, **columns)


def not_kept(
    spec: MonitorSpec, con: duckdb.DuckDBPyConnection, keys: Sequence[str], rows: pl.DataFrame
) -> pl.DataFrame:
    """Windows of which some kind of rows was not kept, as an earlier release worked them up.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        The monitor's warehouse.
    keys : sequence of str
        Window keys.
    rows : DataFrame
        Result of `joint_rows`.

    Returns
    -------
    DataFrame
        ``window_start, kind``: there are fewer rows of this kind than the metric has.
    """
    wholes = {
        "quality_sums": f"'{CELLS}'",
        "score_label_bins": f"'{BINS}'",
        "custom_sums": f"'{CUSTOM}' || metric",
    }
    query = " union all ".join(
        f"select window_start, {kind} as kind, sum(n)::bigint as n from marts.{mart} "  # noqa: S608 (our own names)
        f"where segment = 'all' and {production_sql(spec)} and window_key in (select unnest($keys::varchar[])) "
        "group by all"
        for mart, kind in wholes.items()
    )
    wanted = con.sql(query, params={"keys": list(keys)}).pl()
    whole = rows.filter(pl.col("segment") == "all", pl.col("model_version") == ALL_VERSIONS)
    kept = whole.group_by("window_start", "kind").agg(kept=pl.col("n").sum())
    joined = wanted.join(kept, on=["window_start", "kind"], how="left")
    return joined.filter(pl.col("kept").fill_null(0) < pl.col("n")).select("window_start", "kind")


def tables_of(spec: MonitorSpec) -> Callable[[pl.DataFrame], Tables]:
    """How weighted rows become the tables of `quality_table`.

    Parameters
    ----------
    spec : MonitorSpec
        Whose value matrix is a metric of the decisions.
    """
    matrix = pl.DataFrame(
        [
            (class_text(predicted), class_text(actual), float(value))
            for predicted, row in (spec.value_matrix or {}).items()
            for actual, value in row.items()
        ],
        schema={"predicted_class": pl.String, "actual_class": pl.String, "worth": pl.Float64},
        orient="row",
    )

    def tables(rows: pl.DataFrame) -> Tables:
        keys = [name for name in (*BY, "moved") if name in rows.columns]
        w = pl.col("weight")
        cells = rows.filter(pl.col("kind") == CELLS)
        sums = [name for name in cells.columns if name.startswith("sum_") and name != "sum_value"]
        sums += ["n_improper"] if "n_improper" in cells.columns else []
        decided = cells.filter(pl.col("predicted_class") != "", pl.col("actual_class") != "")
        confusion = decided.group_by(*keys, "bucket", "predicted_class", "actual_class").agg((pl.col("n") * w).sum())
        found = {
            "sums": cells.group_by(*keys, "bucket").agg((pl.col("n", "n_score", *sums) * w).sum()),
            "confusion": confusion,
        }
        bins = rows.filter(pl.col("kind") == BINS)
        if not bins.is_empty():
            grouped = bins.group_by(*keys, "bucket", "class_name", "score_bin", "is_positive")
            middles = pl.col("n") * (pl.col("score_bin") + 0.5) / N_SCORE_BINS  # rows of an earlier release
            scores = pl.coalesce("sum_score", middles) if "sum_score" in bins.columns else middles
            found["score_bins"] = grouped.agg((pl.col("n") * w).sum(), sum_score=(scores * w).sum())
        valued = confusion.join(matrix, on=["predicted_class", "actual_class"]).select(
            *keys, "bucket", "n", metric=pl.lit("value"), sum_value=pl.col("n") * pl.col("worth")
        )
        own = valued.group_by(*keys, "bucket", "metric").agg(pl.col("n", "sum_value").sum())
        if "sum_value" in rows.columns:
            custom = rows.filter(pl.col("kind").str.starts_with(CUSTOM))
            grouped = custom.group_by(*keys, "bucket", "metric")
            own = pl.concat([own, grouped.agg((pl.col("n", "sum_value") * w).sum())], how="vertical_relaxed")
        if not own.is_empty():
            found["custom"] = own
        return found

    return tables


def evaluation_of(spec: MonitorSpec) -> Evaluate:
    """How these tables are judged: all metrics but those that are never corrected.

    Parameters
    ----------
    spec : MonitorSpec
    """
    task, never = spec.model.task, list(never_corrected(spec))

    def evaluate(tables: Tables, by: Sequence[str]) -> pl.DataFrame:
        def judged(**given: pl.DataFrame | None) -> pl.DataFrame:
            least = spec.quality.min_labels
            aggregates = [given.get(name) for name in ("confusion", "score_bins", "sums", "custom")]
            return quality_table(*aggregates, task=task, positive=spec.positive_class, min_labels=least, by=list(by))

        confusion = tables["confusion"] if task in ("binary_classification", "multiclass_classification") else None
        bins = tables.get("score_bins")
        whole = {"confusion": confusion, "sums": tables["sums"], "custom": tables.get("custom")}
        if task == "binary_classification":
            found = judged(**whole, score_bins=bins)
        else:  # histograms of several classes are kept by fewer buckets: nothing may join both
            found = pl.concat([judged(**whole), *([] if bins is None else [judged(score_bins=bins)])])
        return found.filter(~pl.col("metric").is_in(never))

    return evaluate
