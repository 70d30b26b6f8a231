"""What the reference's own windows show: the value to compare with, and the bounds of one more window."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from scipy.special import stdtrit

from metrics_py.profile.column_profile import BinKind
from metrics_py.quality.areas import exact_values
from metrics_py.quality.table import quality_table
from sightline.home import MonitorPaths
from sightline.judging.frames import conform
from sightline.judging.marts import ALL_VERSIONS
from sightline.judging.query_labels import with_incomplete
from sightline.results.judgements import read_judgements
from sightline.spec.model import MonitorSpec
from sightline.spec.stretches import SlidingWindow
from sightline.warehouse.reference import load_reference

MIN_REFERENCE_WINDOWS = 8
BOUND_LEVEL = 0.995
"""Each side of the predictive interval: one stable window in 200 lies beyond a bound."""


MISSING: tuple[tuple[str, BinKind], ...] = (("null_rate", "null"), ("not_finite_rate", "not_finite"))
"""Shares of a reference file's rows, and the bins that count them."""


def with_bounds(
    spec: MonitorSpec,
    paths: MonitorPaths,
    asset: str,
    judged: pl.DataFrame,
    direction: Mapping[str, int],
    limits: Mapping[str, tuple[float, float]],
    over: SlidingWindow | None = None,
) -> pl.DataFrame:
    """Compare with the reference's windows: reference value, bounds, and the status ``warn`` beyond them.

    The reference value is the mean over the reference's windows, weighted by `n`; the bounds are the predictive
    interval of one more window (mean, standard deviation and Student's t over the reference's windows). A reference
    file has no windows: its own values are the reference's, and the bounds come from the first windows of the history,
    as many as the alert engine warms up on. A value warns when it lies beyond a bound on its worse side and its own
    interval leaves out the reference value.

    Parameters
    ----------
    spec, paths
        The monitor; published judgements of reference windows outside the run are read from `paths.results`.
    asset : str
        Whose judgements.
    judged : DataFrame
        Shape `JUDGED`.
    direction : mapping of metric to {-1, 0, 1}
        Worse side: 1 above, -1 below, 0 both; metrics not named are never judged.
    limits : mapping of metric to (low, high)
        Range of the metric, to which bounds are cut.
    over : SlidingWindow, optional
        What the values are over. Only those of whole blocks within the reference are ordinary ones: windows that
        overlap vary together.

    Returns
    -------
    DataFrame
        Shape `JUDGED`; rows that already have a status other than ``ok`` keep it. Provisional ones say it, too.
    """
    told = pl.DataFrame(
        {
            "metric": list(direction),
            "side": list(direction.values()),
            "least": [limits.get(m, (-np.inf, np.inf))[0] for m in direction],
            "most": [limits.get(m, (-np.inf, np.inf))[1] for m in direction],
        },
        schema={"metric": pl.String, "side": pl.Int8, "least": pl.Float64, "most": pl.Float64},
    )
    facts = reference_facts(spec, paths, asset, judged, over)
    on = [name for name in ("window_start", "segment", "column", "metric") if name in facts.columns]
    frame = (
        judged.drop("reference_value", "bound_low", "bound_high")
        .join(facts, on=on, how="left")
        .join(told, on="metric", how="left")
    )
    half = pl.col("sd") * pl.col("t") * (1 + 1 / pl.col("k")).sqrt()
    enough = (pl.col("k") >= MIN_REFERENCE_WINDOWS) & pl.col("side").is_not_null()
    frame = frame.with_columns(
        bound_low=pl.when(enough & (pl.col("side") <= 0)).then(pl.max_horizontal(pl.col("mean") - half, "least")),
        bound_high=pl.when(enough & (pl.col("side") >= 0)).then(pl.min_horizontal(pl.col("mean") + half, "most")),
    )
    above = (pl.col("value") > pl.col("bound_high")) & (
        pl.col("ci_low").fill_null(pl.col("value")) > pl.col("reference_value")
    )
    below = (pl.col("value") < pl.col("bound_low")) & (
        pl.col("ci_high").fill_null(pl.col("value")) < pl.col("reference_value")
    )
    words = (
        pl.when(above)
        .then(pl.lit("above what the reference's windows show"))
        .otherwise(pl.lit("below what the reference's windows show"))
    )
    beyond = (pl.col("status") == "ok") & (above | below).fill_null(False)
    is_open = (pl.col("status") == "provisional") & (above | below).fill_null(False)
    return conform(
        frame.with_columns(
            status=pl.when(beyond).then(pl.lit("warn")).otherwise("status"),
            reason=pl.when(beyond)
            .then(words)
            .when(is_open)
            .then(pl.concat_str(words, "reason", separator="; ", ignore_nulls=True))
            .otherwise("reason"),
            reason_code=pl.when(beyond).then(pl.lit("beyond_reference")).otherwise("reason_code"),
        )
    )


def reference_facts(
    spec: MonitorSpec, paths: MonitorPaths, asset: str, judged: pl.DataFrame, over: SlidingWindow | None = None
) -> pl.DataFrame:
    """Mean, deviation and number of the reference's windows per segment, column and metric.

    Where it is rolling, per window too.
    """
    group = ["segment", "column", "metric"]
    span = reference_span(spec, judged)
    if span is None:
        numbers = dict.fromkeys(("reference_value", "mean", "sd", "k", "t"), pl.Float64)
        return pl.DataFrame(schema={**dict.fromkeys(group, pl.String), **numbers})
    start, end = span
    published = read_judgements(paths, asset=asset, start=start, end=end)
    columns = ["window_start", "model_version", "segment", "column", "metric", "value", "n", "status"]
    own = judged.select(columns)
    other = published.select(columns).join(own.select("window_start").unique(), on="window_start", how="anti")
    history = pl.concat([own, other]).filter(
        pl.col("model_version") == ALL_VERSIONS,
        pl.col("status") != "insufficient_data",
        pl.col("value").is_not_null(),
    )
    if spec.reference.kind == "rolling":
        return _rolling_facts(spec, history, group, over)
    if over is not None:
        history = history.filter(over.ends_block(spec, pl.col("window_start")))
        start += (over.n - 1) * spec.window
    inside = history.filter(pl.col("window_start").is_between(pl.lit(start), pl.lit(end), closed="left"))
    facts = _with_t(inside.group_by(group).agg(**_facts(pl.col("value"), pl.col("n"))))
    if spec.reference.kind != "file":
        return facts
    known = file_values(spec, paths, asset)
    if over is not None:
        known = known.with_columns(pl.col("metric") + over.ending)
    return facts.join(known, on=group, how="full", coalesce=True).with_columns(
        reference_value=pl.coalesce("known", "reference_value")
    )


def file_values(spec: MonitorSpec, paths: MonitorPaths, asset: str) -> pl.DataFrame:
    """What a reference file itself says: quality of its labelled rows, shares of its missing values (`known`)."""
    schema = {**dict.fromkeys(("segment", "column", "metric"), pl.String), "known": pl.Float64}
    frozen = load_reference(paths)
    if frozen is None:
        return pl.DataFrame(schema=schema)
    if asset == "model_quality" and frozen.quality:
        names = ("confusion", "score_label_bins", "quality_sums", "custom_sums")
        areas = frozen.quality.get("score_areas")  # a reference of an earlier release has none
        table = quality_table(
            *(frozen.quality.get(name) for name in names),
            task=spec.model.task,
            positive=spec.positive_class,
            min_labels=spec.quality.min_labels,
            by=["segment"],
            exact=exact_values(areas, ["segment"], spec.model.task) if areas is not None else None,
        )
        table = with_incomplete(table, ["segment"]) if spec.model.task == "ranking" else table
        known = table.filter(pl.col("value").is_not_null())
        return known.select("segment", column=pl.lit(""), metric="metric", known="value")
    if asset != "data_quality":
        return pl.DataFrame(schema=schema)
    rates = [
        {
            "segment": "all",
            "column": name,
            "metric": metric,
            "known": float(p.n_reference[p.where(kind)].sum()) / p.n_rows,
        }
        for name, p in frozen.columns.items()
        for metric, kind in MISSING
        if p.n_rows and name != "@label"
    ]
    return pl.DataFrame(rates, schema=schema)


def _facts(value: pl.Expr, n: pl.Expr) -> dict[str, pl.Expr]:
    weight = n.clip(1).cast(pl.Float64)
    return {
        "reference_value": pl.when(value.len() > 0).then((value * weight).sum() / weight.sum()),
        "mean": value.mean(),
        "sd": value.std(),
        "k": value.len().cast(pl.Float64),
    }


def _rolling_facts(
    spec: MonitorSpec, history: pl.DataFrame, group: list[str], over: SlidingWindow | None = None
) -> pl.DataFrame:
    """Facts of the `length` before each window; of sliding ones those of the blocks that had ended before it began."""
    reach = spec.reference.length
    period = reach if over is None else reach - (over.n - 1) * spec.window
    if period <= timedelta(0):
        history, period = history.clear(), reach
    rolled = history.sort("window_start").rolling(
        "window_start", period=period, offset=-reach, closed="left", group_by=group
    )
    counts = pl.lit(value=True) if over is None else over.ends_block(spec, pl.col("window_start"))
    return _with_t(rolled.agg(**_facts(pl.col("value").filter(counts), pl.col("n").filter(counts))))


def _with_t(facts: pl.DataFrame) -> pl.DataFrame:
    degrees = np.maximum(facts["k"].to_numpy() - 1, 1)
    return facts.with_columns(t=pl.Series(np.asarray(stdtrit(degrees, BOUND_LEVEL)), dtype=pl.Float64))


def reference_span(spec: MonitorSpec, judged: pl.DataFrame) -> tuple[datetime, datetime] | None:
    """Windows ``[start, end)`` (naive UTC) that tell what is ordinary: the reference's.

    Rolling: from `length` before the run's first window to its last; of a file: the first ones of the history. None
    where nothing was judged, or without a reference.
    """
    reference = spec.reference
    first, last = judged["window_start"].min(), judged["window_start"].max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        return None
    if reference.kind == "window" and reference.start and reference.end:
        return spec.floor(reference.start).replace(tzinfo=None), reference.end.replace(tzinfo=None)
    if reference.kind == "file":
        start = spec.first_window.replace(tzinfo=None)
        return start, start + spec.warmup_windows * spec.window
    return (first - reference.length, last) if reference.kind == "rolling" else None
