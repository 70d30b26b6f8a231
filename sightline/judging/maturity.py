"""Windows whose labels are still coming: the delay law of a monitor, corrected quality, and how mature a number is.

A number is *mature* when nearly all labels of every kind of row are in; until then it is *provisional*: corrected for
which labels come first, with an interval that knows what is missing, and the naive value beside it. Where too few
labels of some kind are in, or nobody knows yet how late labels come, there is no number, and the reason says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import duckdb
import polars as pl

from metrics_py.quality.completed import IDENTIFIABLE_SHARE, MATURE_SHARE, Completed, Evaluate, Tables, complete, weigh
from metrics_py.quality.delay_law import DelayLaw, fit
from metrics_py.quality.table import quality_table
from metrics_py.wording import percent
from sightline.judging.frames import BY
from sightline.judging.marts import has_mart, read_mart, with_all_versions
from sightline.spec.model import MonitorSpec
from sightline.spec.windows import matures_at

LEARNT_FROM = 180
"""Windows that the law is learnt from; twice `labels.give_up_after` where that is longer."""

ALL_IN = 0.999
"""Share of the labels of every kind of row from which on nothing is corrected."""

NAIVE = "naive_value"
POSITIVE, NEGATIVE = "positive", "negative"
NO_LAW = "the labels are not due yet, and how they come is not known yet: not corrected"
NOT_CORRECTED = "not corrected for the labels that are missing"
"""What is said of metrics whose sums are not kept by what the delay depends on."""


def delay_law(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, now: datetime) -> DelayLaw | None:
    """How the labels of a monitor arrive, learnt from its latest windows.

    Parameters
    ----------
    spec : MonitorSpec
    con : duckdb.DuckDBPyConnection
        The monitor's warehouse.
    now : datetime
        Up to when arrivals are known.

    Returns
    -------
    DelayLaw or None
        None without labels, or in a warehouse that no run of this release has worked on.
    """
    if spec.labels is None or not has_mart(con, "label_arrivals"):
        return None
    n = max(LEARNT_FROM, 2 * math.ceil(spec.labels.give_up_after / spec.window))
    since = now.replace(tzinfo=None) - n * spec.window
    newest = con.sql("select max(window_start) as newest from marts.label_arrivals").pl()["newest"][0]
    if newest is None:
        return None
    since = min(since, newest - n * spec.window)
    until = known_until(con, now)
    arrivals = con.sql(
        "select window_start, label_class, score_group, delay_bin, sum(n)::bigint as n from marts.label_arrivals "
        "where segment = 'all' and window_start >= ? group by all",
        params=[since],
    ).pl()
    windows = con.sql("select distinct window_start from marts.label_counts where window_start >= ?", params=[since])
    ages = _with_age(spec, windows.pl(), until)
    law = fit(_by_outcome(spec, arrivals), ages, longest=_give_up(spec))
    return law if law.n_cells else None


def known_until(con: duckdb.DuckDBPyConnection, now: datetime) -> datetime:
    """Up to when labels are known: when the latest one was observed; `now` without any.

    So labels that come in batches, or have ceased to come, are not taken for all there are.
    """
    latest = con.sql("select max(observed_at) as latest from raw.labels").pl()["latest"][0]
    return now if latest is None else min(now, latest.replace(tzinfo=UTC))


def immature(
    spec: MonitorSpec, con: duckdb.DuckDBPyConnection, keys: Sequence[str], now: datetime, law: DelayLaw | None
) -> list[datetime]:
    """Windows (naive UTC) with labels of some kind of row still to come; without a law those that are not due."""
    if law is None:
        late = [key for key in keys if spec.labels is not None and now < matures_at(spec, key)]
    else:
        until = known_until(con, now)
        late = [key for key in keys if _is_young(spec, law, key, until, MATURE_SHARE)]
    return [spec.window_start(key).replace(tzinfo=None) for key in late]


def only_told(judged: pl.DataFrame, windows: Sequence[datetime]) -> pl.DataFrame:
    """Say of what depends on all labels, and is not corrected, that it is provisional in these windows."""
    waits = pl.col("window_start").is_in(list(windows)) & pl.col("status").is_in(["ok", "warn"])
    return judged.with_columns(
        status=pl.when(waits).then(pl.lit("provisional")).otherwise("status"),
        reason=pl.when(waits).then(pl.lit(f"labels are still coming: {NOT_CORRECTED}")).otherwise("reason"),
        reason_code=pl.when(waits).then(pl.lit("provisional")).otherwise("reason_code"),
    )


def corrected(
    spec: MonitorSpec,
    con: duckdb.DuckDBPyConnection,
    keys: Sequence[str],
    now: datetime,
    naive: pl.DataFrame,
    law: DelayLaw | None,
) -> pl.DataFrame:
    """Quality of some windows as all their labels will tell it.

    Parameters
    ----------
    spec : MonitorSpec
    con : duckdb.DuckDBPyConnection
        The monitor's warehouse.
    keys : sequence of str
        Window keys.
    now : datetime
        Up to when labels are known.
    naive : DataFrame
        Result of `quality_table` and rows like its own, from the labels that are there.
    law : DelayLaw or None
        Result of `delay_law`.

    Returns
    -------
    DataFrame
        `naive` with ``naive_value`` and ``maturity`` (labels in, of those expected; both null where nothing is
        missing), and with the corrected value, interval and status where labels are missing.
    """
    plain = naive.with_columns(pl.lit(None, dtype=pl.Float64).alias(NAIVE), maturity=pl.lit(None, dtype=pl.Float64))
    if law is None:
        return _not_due(spec, plain, keys, now)
    now = known_until(con, now)
    young = [key for key in keys if _is_young(spec, law, key, now)]
    if not young or not has_mart(con, "quality_cells"):
        return plain
    rows = _joint_rows(spec, con, young)
    if rows.is_empty():
        return plain
    ages = _with_age(spec, rows.select("window_start").unique(), now)
    found = complete(
        weigh(rows, law, ages, [*BY, "kind"]),
        _tables,
        _evaluate(spec),
        law,
        BY,
        pl.col("segment") == "all",
        "window_start",
    )
    return _joined(spec, law, plain, found)


def _not_due(spec: MonitorSpec, plain: pl.DataFrame, keys: Sequence[str], now: datetime) -> pl.DataFrame:
    """While no law is known, what the labels say before they are due is provisional."""
    if spec.labels is None:
        return plain
    early = [spec.window_start(key).replace(tzinfo=None) for key in keys if now < matures_at(spec, key)]
    waits = (pl.col("status") == "ok") & pl.col("window_start").is_in(early)
    return plain.with_columns(
        status=pl.when(waits).then(pl.lit("provisional")).otherwise("status"),
        reason=pl.when(waits).then(pl.lit(NO_LAW)).otherwise("reason"),
        reason_code=pl.when(waits).then(pl.lit("provisional")).otherwise("reason_code"),
    )


def _is_young(spec: MonitorSpec, law: DelayLaw, key: str, now: datetime, share: float = ALL_IN) -> bool:
    age = (now - spec.window_start(key)) / spec.window
    return age < _give_up(spec) and (law.hides_a_tail or float(law.completion(age)[0].min()) < share)


def _give_up(spec: MonitorSpec) -> float:
    """Delay, in windows from the start of one, after which its labels are not waited for."""
    assert spec.labels is not None
    return spec.labels.give_up_after / spec.window + 1


def _with_age(spec: MonitorSpec, windows: pl.DataFrame, now: datetime) -> pl.DataFrame:
    at = pl.lit(now.replace(tzinfo=None), dtype=pl.Datetime("us"))
    unit = spec.window / timedelta(microseconds=1)
    age = (at - pl.col("window_start").cast(pl.Datetime("us"))).dt.total_microseconds() / unit
    return windows.with_columns(age=age.clip(0))


def _by_outcome(spec: MonitorSpec, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows by the outcome that the delay depends on: of two classes, whether it is the positive one."""
    if spec.model.task != "binary_classification":
        return rows
    outcome = pl.when(pl.col("label_class") == spec.positive_class).then(pl.lit(POSITIVE)).otherwise(pl.lit(NEGATIVE))
    return rows.with_columns(label_class=outcome)


def _joint_rows(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> pl.DataFrame:
    """Rows of `quality_cells`, and for two classes those of `score_label_bins` with what their delay depends on."""
    cells = with_all_versions(spec, read_mart(con, "quality_cells", keys))
    cells = cells.with_columns(actual_class=pl.col("label_class"), kind=pl.lit("cells"))
    if spec.model.task != "binary_classification":
        return cells
    bins = with_all_versions(spec, read_mart(con, "score_label_bins", keys))
    outcome = pl.when("is_positive").then(pl.lit(POSITIVE)).otherwise(pl.lit(NEGATIVE))
    bins = bins.with_columns(
        label_class=outcome, score_group=(pl.col("score_bin") // 8).cast(pl.Int32), kind=pl.lit("bins")
    )
    return pl.concat([_by_outcome(spec, cells), bins], how="diagonal_relaxed")


def _tables(rows: pl.DataFrame) -> Tables:
    """Weighted tables of `quality_table`."""
    keys = [name for name in (*BY, "moved") if name in rows.columns]
    w = pl.col("weight")
    cells = rows.filter(pl.col("kind") == "cells")
    sums = [name for name in cells.columns if name.startswith("sum_") or name == "n_score"]
    decided = cells.filter(pl.col("predicted_class") != "", pl.col("actual_class") != "")
    tables = {
        "sums": cells.group_by(*keys, "bucket").agg((pl.col("n", *sums) * w).sum()),
        "confusion": decided.group_by(*keys, "bucket", "predicted_class", "actual_class").agg((pl.col("n") * w).sum()),
    }
    bins = rows.filter(pl.col("kind") == "bins")
    if not bins.is_empty():
        grouped = bins.group_by(*keys, "bucket", "class_name", "score_bin", "is_positive")
        tables["score_bins"] = grouped.agg((pl.col("n") * w).sum())
    return tables


def _evaluate(spec: MonitorSpec) -> Evaluate:
    def evaluate(tables: Tables, by: Sequence[str]) -> pl.DataFrame:
        is_classes = spec.model.task != "regression"
        return quality_table(
            tables["confusion"] if is_classes else None,
            tables.get("score_bins"),
            tables["sums"],
            task=spec.model.task,
            positive=spec.positive_class,
            min_labels=spec.quality.min_labels,
            by=list(by),
        )

    return evaluate


def _joined(spec: MonitorSpec, law: DelayLaw, naive: pl.DataFrame, found: Completed) -> pl.DataFrame:
    """The naive table with corrected numbers and states where labels are missing."""
    names = ("value", "ci_low", "ci_high", "stabilised_value", "variance")
    news = found.table.select(
        *BY, "metric", *(pl.col(name).alias(f"_{name}") for name in names), "final_half", _status="status", is_new=True
    )
    joined = naive.join(news, on=[*BY, "metric"], how="left", maintain_order="left").join(
        found.states, on=list(BY), how="left", maintain_order="left"
    )
    is_young = pl.col("slowest").is_not_null()
    is_new = pl.col("is_new").fill_null(False) & (pl.col("status") == "ok")
    is_blind = is_young & ((pl.col("slowest") < IDENTIFIABLE_SHARE) | pl.lit(law.hides_a_tail))
    settled = pl.col("final_half") <= pl.max_horizontal(pl.lit(0.01), (pl.col("_ci_high") - pl.col("_ci_low")) / 6)
    is_mature = (pl.col("slowest") >= MATURE_SHARE) & (settled | ~is_new).fill_null(False)
    keeps = is_young & (pl.col("status") == "ok")
    few = is_young & (pl.col("status") == "insufficient_data")
    provisional = keeps & ~is_blind & ~is_mature
    blind = keeps & is_blind
    share = pl.col("share_in").map_elements(percent, return_dtype=pl.String)
    told = pl.format("{} of the labels that are expected are in; ", share)
    words = pl.when(is_new).then(pl.lit("corrected for which come first")).otherwise(pl.lit(NOT_CORRECTED))
    unknown = (
        f"labels still come after {law.known_to:.0f} windows, the oldest that are known: how late they come at last is "
        "not known yet"
        if law.hides_a_tail
        else f"of some kind of row less than {percent(IDENTIFIABLE_SHARE)} of the labels are in"
    )
    return joined.with_columns(
        pl.when(is_young).then("value").alias(NAIVE),
        maturity=pl.when(is_young).then("share_in"),
        **{
            name: pl.when(blind | few).then(None).when(is_new & is_young).then(f"_{name}").otherwise(name)
            for name in names
        },
        status=pl.when(blind)
        .then(pl.lit("insufficient_data"))
        .when(provisional)
        .then(pl.lit("provisional"))
        .otherwise("status"),
        reason=pl.when(blind)
        .then(pl.lit(unknown))
        .when(provisional)
        .then(pl.concat_str(told, words))
        .otherwise("reason"),
        reason_code=pl.when(blind)
        .then(pl.lit("not_identifiable"))
        .when(provisional)
        .then(pl.lit("provisional"))
        .otherwise("reason_code"),
    ).drop("is_new", "_status", "final_half", "slowest", "share_in", *(f"_{name}" for name in names))
