"""Service health and data quality.

Volume, errors and latency; per column missing, unseen, out-of-range and constant values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import gammaln

from metrics_py.drift.measures import Z
from metrics_py.profile.column_profile import ColumnProfile
from metrics_py.quality.ranking_metrics import RECOMMENDED
from metrics_py.quality.table import quality_table
from sightline.judging import custom_python, custom_sql, precision
from sightline.judging.columns import judge_columns
from sightline.judging.frames import BY, MIN_RATE_ROWS, SIGN, Judged, Work, conform, quality_evidence, window_frame
from sightline.judging.marts import read_mart, with_all_versions
from sightline.judging.reference_bounds import BOUND_LEVEL, with_bounds
from sightline.judging.scales import on_scale, scales
from sightline.judging.service import LATENCY_QUANTILES, judge_service, service_evidence
from sightline.spec import plan
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import is_production
from sightline.spec.windows import closes_at

FloatArray = NDArray[np.float64]
ASSET = "data_quality"
RATE_LIMITS = dict.fromkeys(
    ("error_rate", "rejected_rate", "null_rate", "not_finite_rate", "unseen_rate", "out_of_range_rate"), (0.0, 1.0)
)
DIRECTIONS: Mapping[str, int] = {
    "n_rows": 0,
    "error_rate": 1,
    "rejected_rate": 1,
    **dict.fromkeys(LATENCY_QUANTILES, 1),
    "null_rate": 1,
    "not_finite_rate": 1,
    "unseen_rate": 1,
    "out_of_range_rate": 1,
}
LIMITS = {**RATE_LIMITS, "n_rows": (0.0, np.inf), **dict.fromkeys(LATENCY_QUANTILES, (0.0, np.inf))}


def judge(work: Work) -> Judged:
    """Service health and data quality of every window of a run."""
    spec, paths, con, keys, profiles, now = work.spec, work.paths, work.con, work.keys, work.profiles, work.now
    windows = window_frame(spec, keys).with_columns(
        closed=pl.Series([now >= closes_at(spec, key) for key in keys], dtype=pl.Boolean)
    )
    health = read_mart(con, "service_health", keys)
    service = judge_service(spec, con, keys, health, windows)
    moments = with_all_versions(spec, read_mart(con, "column_moments", keys))
    bins = with_all_versions(spec, read_mart(con, "column_bins", keys))
    columns = judge_columns(spec, moments, bins, profiles)
    python = custom_python.evaluate(spec, paths, con, keys, needs_label=False, min_rows=MIN_RATE_ROWS)
    own_sql = _custom(spec, con, keys)
    own = health.filter(is_production(spec), segment="all")
    counts = own.group_by("window_start").agg(n=pl.col("n_rows").sum().cast(pl.Int64))
    gaps = custom_sql.without_value(con, spec, own_sql, counts, needs_label=False)
    custom = pl.concat([own_sql, gaps, python.table], how="diagonal")
    judged = pl.concat([service, conform(custom.with_columns(column=pl.lit(""))), columns])
    own = {metric.name: SIGN[metric.direction] for metric in spec.metrics if not metric.needs_label}
    shown = {m.name: m for m in RECOMMENDED if m.name in plan.input_metrics(spec)}
    worse = {**DIRECTIONS, **own, **{name: SIGN[m.direction] for name, m in shown.items()}, **python.directions}
    ranges = {**LIMITS, **{name: m.range for name, m in shown.items()}, **python.limits}
    judged = with_bounds(spec, paths, ASSET, judged, worse, ranges)
    judged = _expected_outside(_expected_unseen(judged, profiles), profiles)
    judged = _hard_rules(spec, judged)
    found = Judged(
        judged, pl.concat([service_evidence(spec, judged), quality_evidence(on_scale(custom, scales(spec)), ASSET)])
    )
    return precision.withheld(found, precision.imprecise(spec, con, keys, profiles))


def _custom(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> pl.DataFrame:
    """The user's metrics that need no label, with jackknife intervals."""
    sums = with_all_versions(spec, read_mart(con, "custom_input_sums", keys))
    if sums.is_empty():
        return pl.DataFrame(schema=custom_python.TABLE)
    return quality_table(custom=sums, task=spec.model.task, min_labels=MIN_RATE_ROWS, by=BY)


def _expected_unseen(judged: pl.DataFrame, profiles: Mapping[str, ColumnProfile]) -> pl.DataFrame:
    """New categories are compared with the share that is expected without any drift (Good-Turing), not with zero."""
    expected = pl.DataFrame(
        {
            "column": list(profiles),
            "metric": ["unseen_rate"] * len(profiles),
            "expected": [p.expected_unseen for p in profiles.values()],
            "doubt": [Z * p.expected_unseen_error for p in profiles.values()],
        },
        schema={"column": pl.String, "metric": pl.String, "expected": pl.Float64, "doubt": pl.Float64},
    )
    frame = judged.join(expected, on=["column", "metric"], how="left")
    value = pl.col("value")
    noise = ((value - pl.col("ci_low")) ** 2 + pl.col("doubt") ** 2).sqrt()  # the expected share is an estimate as well
    tolerable = (value - pl.col("expected") <= noise).fill_null(False) & (pl.col("status") == "warn")
    return conform(
        frame.with_columns(
            reference_value=pl.coalesce("expected", "reference_value"),
            bound_high=pl.max_horizontal("bound_high", "expected"),
            status=pl.when(tolerable).then(pl.lit("ok")).otherwise("status"),
            reason=pl.when(tolerable).then(None).otherwise("reason"),
            reason_code=pl.when(tolerable).then(None).otherwise("reason_code"),
        )
    )


def _expected_outside(judged: pl.DataFrame, profiles: Mapping[str, ColumnProfile]) -> pl.DataFrame:
    """A few values outside the range of the reference are expected without any drift: it is only the range of a sample.

    Of n values, those beyond the smallest and the largest of m others of the same continuous distribution are
    beta-binomial (n, 2, m - 1). A share warns when so many or more have a probability below that of any other bound.
    """
    known = {
        name: int(profile.n_reference.sum() - profile.n_reference[profile.where("null", "not_finite")].sum())
        for name, profile in profiles.items()
    }
    is_ours = (pl.col("metric") == "out_of_range_rate") & (pl.col("n") > 0)
    rows = judged.filter(is_ours)
    m = np.array([max(known.get(name, 2), 2) for name in rows["column"]], dtype=float)
    n = rows["n"].to_numpy().astype(float)
    chance = most_outside(n, m, 1 - BOUND_LEVEL) / np.maximum(n, 1)
    ours = rows.with_columns(chance=pl.Series(chance, dtype=pl.Float64))
    tolerable = (pl.col("status") == "warn") & (pl.col("value") <= pl.col("chance"))
    ours = ours.with_columns(
        bound_high=pl.max_horizontal("bound_high", "chance"),
        status=pl.when(tolerable).then(pl.lit("ok")).otherwise("status"),
        reason=pl.when(tolerable).then(None).otherwise("reason"),
        reason_code=pl.when(tolerable).then(None).otherwise("reason_code"),
    )
    return pl.concat([judged.filter(~is_ours.fill_null(False)), conform(ours)])


def most_outside(n: FloatArray, m: FloatArray, level: float) -> FloatArray:
    """The most of n values that lie beyond the second-smallest place of m others, but for a chance of `level`.

    The smallest k with P(K > k) <= level, K beta-binomial (n, 2, m - 1). More than k lie outside if at most one of the
    others is among the outermost k + 2 of all n + m: a hypergeometric probability, no sum over n terms.
    """
    low, high = np.zeros_like(n), n.copy()  # the answer lies in (low - 1, high]
    while (low < high).any():
        middle = np.floor((low + high) / 2)
        outermost = middle + 2
        ways = _log_choose(n + m, outermost)
        none_of_them = np.exp(_log_choose(n, outermost) - ways)
        one_of_them = np.exp(np.log(m) + _log_choose(n, outermost - 1) - ways)
        more = none_of_them + one_of_them
        high, low = np.where(more <= level, middle, high), np.where(more <= level, low, middle + 1)
    return high


def _log_choose(n: FloatArray, k: FloatArray) -> FloatArray:
    """Logarithm of the number of ways to choose k of n; -inf where k > n."""
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(np.maximum(n - k, 0) + 1)
    return np.where(k > n, -np.inf, ways)


def _hard_rules(spec: MonitorSpec, judged: pl.DataFrame) -> pl.DataFrame:
    """Deterministic rules outside the alert budget: no predictions, broken contract, too many missing values."""
    limits = pl.DataFrame(
        {
            "column": list(spec.alerts.max_null_rate),
            "metric": ["null_rate"] * len(spec.alerts.max_null_rate),
            "limit": list(spec.alerts.max_null_rate.values()),
        },
        schema={"column": pl.String, "metric": pl.String, "limit": pl.Float64},
    )
    frame = judged.join(limits, on=["column", "metric"], how="left")
    metric, value, whole = (
        pl.col("metric"),
        pl.col("value"),
        (pl.col("segment") == "all") & (pl.col("model_version") == "all"),
    )
    is_pause = pl.col("window_start").dt.date().is_in(list(spec.alerts.holidays))
    empty = (metric == "n_rows") & (value == 0) & (pl.col("status") != "insufficient_data")
    paused, empty = empty & is_pause, empty & ~is_pause
    broken = (metric == "contract_rate") & (value > 0)
    missing = (metric == "null_rate") & (value > pl.col("limit")).fill_null(False) & whole
    reason = (
        pl.when(empty).then(pl.lit("no predictions in a closed window"))
        .when(paused).then(pl.lit("no predictions on a day listed under alerts.holidays"))
        .when(broken).then(pl.format("{} of the rows break the column's contract", value.round(6)))
        .when(missing).then(pl.format("missing in {} of the rows, {} allowed", value.round(4), pl.col("limit")))
    )  # fmt: skip
    code = (
        pl.when(empty).then(pl.lit("no_predictions"))
        .when(paused).then(pl.lit("pause"))
        .when(broken).then(pl.lit("broken_contract"))
        .when(missing).then(pl.lit("too_many_missing"))
    )  # fmt: skip
    return conform(
        frame.with_columns(
            bound_high=pl.when(metric == "contract_rate")
            .then(0.0)
            .when(pl.col("limit").is_not_null())
            .then("limit")
            .otherwise("bound_high"),
            status=pl.when(empty | broken | missing)
            .then(pl.lit("alert"))
            .when(paused)
            .then(pl.lit("ok"))
            .otherwise("status"),
            reason=pl.coalesce(reason, "reason"),
            reason_code=pl.coalesce(code, "reason_code"),
        )
    )
