"""Realised quality of every window, segment and model version from the warehouse's label-side aggregates.

One call judges all groups: counts are spread into dense arrays (group, bucket, ...), every metric is evaluated on the
sums and on all delete-one-bucket replicates at once, and the result is one tidy table with an interval per row.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit, logit

from metrics_py.averaged_intervals import averaged_interval
from metrics_py.intervals import (
    N_BUCKETS,
    N_SEGMENT_BUCKETS,
    NO_SPREAD,
    ROUNDING,
    JackknifeInterval,
    jackknife_from_replicates,
    proportion_interval,
    t_quantile,
    wilson,
)
from metrics_py.quality.aggregates import (
    Buckets,
    as_numbers,
    available_needs,
    chunks,
    name_aggregates,
    spread,
)
from metrics_py.quality.definition import Aggregates, QualityMetric
from metrics_py.quality.metrics import BY_TASK, metric_of_sums
from metrics_py.quality.probabilities import improper_words
from metrics_py.reasons import ReasonCode
from metrics_py.skewed_intervals import bucket_skewness, has_heavy_tail, skewed_interval
from metrics_py.wording import count

FloatArray = NDArray[np.float64]

DEFAULT_BY = ("window_key", "window_start", "model_version", "segment")
FORMULA_FLOOR_ROWS = 64
HEAVY_TAIL = "heavy tail: a few rows decide the value and no interval holds; mae and its interval do"
NO_INTERVAL = ("heavy_tail", "no_spread")
"""Reason codes under which the value is good and only its interval is missing."""

Columns = dict[str, NDArray[Any]]
_RESULT_SCHEMA = {
    "metric": pl.String,
    "value": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "n": pl.Int64,
    "status": pl.String,
    "reason": pl.String,
    "reason_code": pl.String,
    "stabilised_value": pl.Float64,
    "variance": pl.Float64,
    "binning_bound": pl.Float64,
}


def quality_table(
    confusion: pl.DataFrame | None = None,
    score_bins: pl.DataFrame | None = None,
    sums: pl.DataFrame | None = None,
    custom: pl.DataFrame | None = None,
    label_counts: pl.DataFrame | None = None,
    *,
    task: str,
    positive: str = "1",
    min_labels: int = 100,
    by: Sequence[str] = DEFAULT_BY,
    bounded: Collection[str] = (),
    exact: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Realised quality with intervals, one row per group and metric.

    Parameters
    ----------
    confusion : DataFrame, optional
        ``bucket, predicted_class, actual_class, n`` (classification). Rows without a class on either side do not count.
    score_bins : DataFrame, optional
        ``bucket, class_name, score_bin, is_positive, n``; 256 equal-width bins of the score, `class_name` '' when
        binary. With ``sum_score``, the sum of the scores, the calibration error is that of the scores themselves.
    sums : DataFrame, optional
        ``bucket, n, n_score`` and the sums of the mart `quality_sums`, which run over the `n_score` labelled rows with
        a forecast (score or prediction); error is forecast minus label. Where ``n_improper``, rows whose class scores
        do not sum to 1, is not 0 (or null), log loss and Brier score are undefined.
    custom : DataFrame, optional
        ``bucket, metric, n, sum_value``: means of per-row values; ``value`` becomes `business_value` (per prediction)
        and `business_value_total`.
    label_counts : DataFrame, optional
        ``n_labelled``: makes groups known that have predictions but no labels yet.
    task : str
        binary_classification, multiclass_classification, regression or ranking (custom metrics only).
    positive : str, default "1"
        The positive class in `predicted_class` and `actual_class` (binary).
    min_labels : int, default 100
        Fewer rows behind a metric give ``insufficient_data``; the value is still shown where it is defined.
    by : sequence of str
        Key columns, all present in every table. Rows with equal keys are added up.
    bounded : collection of str, optional
        Custom metrics whose per-row values all lie between 0 and 1; their intervals do, too.
    exact : DataFrame, optional
        ``metric, value`` by `by`: values of the raw scores, which replace those of the binned ones where they are
        given; the standard error stays that of the bins, and there is no `binning_bound`.

    Returns
    -------
    DataFrame
        `by` columns, then
        ``metric, value, ci_low, ci_high, n, status, reason, reason_code, stabilised_value, variance,
        binning_bound``. `n` is the
        denominator of a proportion, else the rows behind the metric. `stabilised_value` (arcsine, logit, log; see
        `metrics_py.quality.definition`) and its sampling `variance` feed the alert engine; null unless status is ok, or
        only the interval is missing (reason codes `no_spread` and `heavy_tail`).

    Raises
    ------
    ValueError
        If the task is unknown, a column is missing, or a bucket, bin or count is out of its range.

    Notes
    -----
    Intervals are 95 %: Wilson on the effective sample size for proportions, else delete-one-bucket jackknife t (64
    buckets, 16 where `segment` is not 'all'), for areas and F1 on the logit scale, for errors and custom means with the
    ends moved by the skewness of the buckets (`metrics_py.skewed_intervals`). They are widened by `binning_bound`: the
    guaranteed distance to the value of the raw scores. Where fewer than 64 rows carry the information of an area, its
    standard error is not taken below DeLong's. Means of precision, recall or F1 over classes have no interval narrower
    than that of independent rows (Donner & Zou): a class that was decided once has a precision of 0 or 1, whatever
    it is in the long run. The lower bound of the calibration error allows for what noise adds to it. Where a few rows
    decide the mean squared error, RMSE and R2 have no interval; MAE's beside them holds. Nor has a mean of values that
    are all equal.

    Rows of one entity stand in one bucket; buckets are independent. An interval is that of one window: reading many
    windows in a row for one that stands out needs the alert engine. Custom means have no limits, so their interval may
    leave a range that the values keep to.

    References
    ----------
    Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 11. Wilson (1927), JASA 22:209. Franco, Little,
    Louis & Slud (2019), JSSAM 7:334. DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837. Anscombe (1948),
    Biometrika 35:246 (arcsine). Donner & Zou (2002), Biometrics 58:209. Hall (1992), JRSS B 54:221 (skewness).

    Examples
    --------
    Two buckets of 100 rows: 181 of 200 right, 129 predicted positive, 120 of them positive.

    >>> confusion = pl.DataFrame(
    ...     {
    ...         "day": ["Mon"] * 8,
    ...         "bucket": [0, 0, 0, 0, 1, 1, 1, 1],
    ...         "predicted_class": ["1", "1", "0", "0"] * 2,
    ...         "actual_class": ["1", "0", "1", "0"] * 2,
    ...         "n": [62, 4, 5, 29, 58, 5, 5, 32],
    ...     }
    ... )
    >>> found = quality_table(confusion, task="binary_classification", by=["day"])
    >>> chosen = found.filter(pl.col("metric").is_in(["accuracy", "precision"]))
    >>> chosen.select("day", "metric", pl.col("value").round(4), "n").rows()
    [('Mon', 'accuracy', 0.905, 200), ('Mon', 'precision', 0.9302, 129)]
    """
    if task not in BY_TASK:
        raise ValueError(f"quality_table: task={task!r} is unknown; allowed: {', '.join(sorted(BY_TASK))}")
    by = list(by)
    tables = {
        "confusion": _checked("confusion", confusion, [*by, "bucket", "predicted_class", "actual_class", "n"]),
        "score_bins": _checked(
            "score_bins", score_bins, [*by, "bucket", "class_name", "score_bin", "is_positive", "n"]
        ),
        "sums": _checked("sums", sums, [*by, "bucket", "n"]),
        "custom": _checked("custom", custom, [*by, "bucket", "metric", "n", "sum_value"]),
        "label_counts": _checked("label_counts", label_counts, [*by, "n_labelled"]),
    }
    known = _checked("exact", exact, [*by, "metric", "value"])
    present = {name: table for name, table in tables.items() if table is not None}
    if not present:
        raise ValueError("quality_table: no aggregates given; pass at least one table")
    groups = pl.concat([t.select(by) for t in present.values()], how="vertical_relaxed").unique().sort(by)
    segmented = groups["segment"] != "all" if "segment" in by else pl.repeat(False, groups.height, eager=True)
    results = [groups.clear().hstack(pl.DataFrame(schema=_RESULT_SCHEMA))]
    for n_buckets, members in ((N_BUCKETS, groups.filter(~segmented)), (N_SEGMENT_BUCKETS, groups.filter(segmented))):
        if members.height:
            keyed = members.with_row_index("_group")
            results.append(_judge(keyed, present, by, task, positive, min_labels, n_buckets, bounded, known))
    return pl.concat(results, how="vertical_relaxed").sort([*by, "metric"])


def _checked(name: str, table: pl.DataFrame | None, needed: list[str]) -> pl.DataFrame | None:
    if table is None or not table.width:
        return None
    missing = [column for column in needed if column not in table.columns]
    if missing:
        raise ValueError(
            f"quality_table: the table {name} lacks the column {missing[0]!r}; it has {', '.join(table.columns)}"
        )
    return table


def _judge(
    groups: pl.DataFrame,
    tables: dict[str, pl.DataFrame],
    by: list[str],
    task: str,
    positive: str,
    min_labels: int,
    n_buckets: int,
    bounded: Collection[str],
    exact: pl.DataFrame | None,
) -> pl.DataFrame:
    """Result rows of the groups that share a number of buckets."""
    keyed = {
        name: table.join(groups, on=by, how="inner", nulls_equal=True).sort("_group") for name, table in tables.items()
    }
    cells = spread(keyed, task, positive, n_buckets)
    labelled = np.zeros(groups.height)
    if "label_counts" in keyed:
        np.add.at(labelled, keyed["label_counts"]["_group"].to_numpy(), as_numbers(keyed["label_counts"]["n_labelled"]))
    names = sorted(keyed["custom"]["metric"].unique().to_list()) if "custom" in keyed else []
    parts: list[Columns] = []
    for start, stop in chunks(groups.height, cells, n_buckets):
        dense = {name: c.dense(start, stop, n_buckets) for name, c in cells.items()}
        standard = Buckets(name_aggregates(dense, task))
        known = np.maximum(labelled[start:stop], standard.labelled() if standard.total else 0)
        available = available_needs(cells)
        parts += [
            _evaluate(metric, standard, start, known, min_labels, _exact_values(exact, groups, by, metric, start, stop))
            for metric in BY_TASK[task]
            if available.issuperset(metric.needs)
        ]
        for index, name in enumerate(names):
            own = Buckets({"sum_value": dense["custom"][..., index, 0], "n": dense["custom"][..., index, 1]})
            metric = metric_of_sums(name, task, is_bounded=name in bounded)
            judged = _evaluate(metric, own, start, known, min_labels)
            parts += [judged, _total(judged)] if name == "value" else [judged]
    return _tidy(groups.select(by), parts)


def _exact_values(
    exact: pl.DataFrame | None, groups: pl.DataFrame, by: list[str], metric: QualityMetric, start: int, stop: int
) -> FloatArray:
    """Values of the raw scores of the groups in [start, stop); NaN where there is none."""
    if exact is None or metric.binning is None:
        return np.full(stop - start, np.nan)
    own = exact.filter(pl.col("metric") == metric.name).select(*by, "value")
    joined = groups[start:stop].join(own, on=by, how="left", nulls_equal=True, maintain_order="left")
    return joined["value"].fill_null(np.nan).to_numpy()


def _tidy(keys: pl.DataFrame, parts: list[Columns]) -> pl.DataFrame:
    """One table of all evaluated metrics; NaN becomes null."""
    if not parts:
        return keys.clear().hstack(pl.DataFrame(schema=_RESULT_SCHEMA))
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    rows = keys[joined.pop("group")]
    columns = [
        pl.Series(name, joined[name]).fill_nan(None)
        if dtype == pl.Float64
        else pl.Series(name, joined[name]).cast(dtype)
        if dtype == pl.Int64
        else pl.Series(name, joined[name].tolist(), dtype=dtype)
        for name, dtype in _RESULT_SCHEMA.items()
    ]
    return rows.hstack(columns)


def _evaluate(
    metric: QualityMetric,
    buckets: Buckets,
    first_group: int,
    labelled: FloatArray,
    min_labels: int,
    exact: FloatArray | None = None,
) -> Columns:
    """Result columns of one metric for the groups of a chunk."""
    total, bucket_rows = buckets.total, buckets.rows(metric.needs[0])
    rows = bucket_rows.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        value = np.asarray(metric.value(total), dtype=float)
        replicates = np.asarray(metric.value(buckets.replicates), dtype=float)
        is_exact = np.zeros(len(value), dtype=bool) if exact is None else np.isfinite(exact) & np.isfinite(value)
        value = value if exact is None else np.where(is_exact, exact, value)
        interval = jackknife_from_replicates(value, replicates, bucket_rows > 0)
        if metric.counts:
            successes, n = metric.counts(total)
            degrees = interval.degrees_of_freedom
            low, high, design_effect = proportion_interval(successes, n, interval.standard_error, degrees)
            stabilised = np.arcsin(np.sqrt((successes + 0.375) / (n + 0.75)))
            variance = (design_effect if metric.is_fraction else np.maximum(design_effect, 1.0)) / (4 * n)
        else:
            n = rows
            if metric.scale == "unit":
                low, high, standard_error = _unit_interval(metric, interval, total, rows)
            else:
                skewness, standard_error = bucket_skewness(replicates, bucket_rows > 0), interval.standard_error
                low, high = skewed_interval(interval, skewness)
            stabilised, variance = _stabilise(metric.scale, value, standard_error, rows)
        below, above = metric.binning(total) if metric.binning else (np.zeros(1), np.zeros(1))
        below, above = np.where(is_exact, 0.0, below), np.where(is_exact, 0.0, above)
        noise = metric.noise(total) if metric.noise else 0.0
        lowest, highest = metric.range
        low, high = np.clip(low - below - noise, lowest, highest), np.clip(high + above, lowest, highest)
        heavy = _heavy(metric, buckets, replicates, bucket_rows)
        low, high = (np.where(heavy, np.nan, end) for end in (low, high))
    improper = total.get("n_improper", np.zeros(len(value))) if metric.needs_probabilities else np.zeros(len(value))
    reasons = _reasons(metric, value, low, rows, labelled, min_labels, heavy, interval.standard_error, improper)
    ok = np.array([reason is None for reason in reasons])
    is_fed = np.array([reason is None or reason[0] in NO_INTERVAL for reason in reasons])
    return {
        "group": np.arange(first_group, first_group + len(value)),
        "metric": np.full(len(value), metric.name, dtype=object),
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "n": n,
        "status": np.where(ok, "ok", "insufficient_data").astype(object),
        "reason": np.array([why and why[1] for why in reasons], dtype=object),
        "reason_code": np.array([why and why[0] for why in reasons], dtype=object),
        "stabilised_value": np.where(is_fed, stabilised, np.nan),
        "variance": np.where(is_fed, variance, np.nan),
        "binning_bound": np.broadcast_to(np.maximum(below, above), value.shape),
    }


def _unit_interval(
    metric: QualityMetric, jackknife: JackknifeInterval, total: Aggregates, rows: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Jackknife t interval on the logit scale, with the formula variance as floor; Wilson's where nothing varies."""
    value, standard_error = jackknife.value, jackknife.standard_error
    size = rows if metric.size is None else metric.size(total)
    if metric.formula_variance is not None:
        formula = np.sqrt(metric.formula_variance(total))
        floored = np.where(np.isnan(formula), standard_error, np.maximum(standard_error, formula))
        standard_error = np.where(size < FORMULA_FLOOR_ROWS, floored, standard_error)
    half = t_quantile(jackknife.degrees_of_freedom) * standard_error / (value * (1 - value))
    low, high = expit(logit(value) - half), expit(logit(value) + half)
    inside = (value > -ROUNDING) & (value < 1 + ROUNDING)  # sums of weights below 0 also give shares that are none
    flat = (standard_error == 0) & (size > 0) & inside
    rows = np.where(flat, size, 0.0)
    bound_low, bound_high = wilson(np.where(flat, np.clip(value, 0, 1), 0) * rows, rows)
    low, high = np.where(flat, bound_low, low), np.where(flat, bound_high, high)
    if metric.classes is not None:
        least, most = averaged_interval(*metric.classes(total))
        low, high = np.fmin(low, least), np.fmax(high, most)
        standard_error = np.fmax(standard_error, (most - least) / (2 * t_quantile(np.inf)))
    return low, high, standard_error


def _heavy(
    metric: QualityMetric, buckets: Buckets, replicates: FloatArray, bucket_rows: FloatArray
) -> NDArray[np.bool_]:
    """Groups in which a few rows decide the metric."""
    if metric.tail is None:
        return np.zeros(len(bucket_rows), dtype=bool)
    occupied = bucket_rows > 0
    squared = bucket_skewness(metric.tail(buckets.replicates)[0], occupied)
    skewness = np.fmax(squared, np.abs(bucket_skewness(replicates, occupied)))
    return has_heavy_tail(skewness, *metric.tail(buckets.total), bucket_rows.sum(axis=1), occupied.sum(axis=1))


def _stabilise(
    scale: str, value: FloatArray, standard_error: FloatArray, rows: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Value on a scale with roughly constant, symmetric noise, and its sampling variance there (delta method)."""
    if scale == "unit":
        shrunk = (value * rows + 0.5) / (rows + 1)
        floor = 1 / (4 * rows * shrunk * (1 - shrunk))
        return np.log(shrunk / (1 - shrunk)), np.maximum((standard_error / (shrunk * (1 - shrunk))) ** 2, floor / 4)
    if scale == "error":
        positive = np.maximum(value, np.finfo(float).tiny)
        return np.log(positive), (standard_error / positive) ** 2
    if scale == "skill":
        rest = np.maximum(1 - value, np.finfo(float).tiny)
        return -np.log(rest), (standard_error / rest) ** 2
    return value, standard_error**2


def _reasons(
    metric: QualityMetric,
    value: FloatArray,
    low: FloatArray,
    rows: FloatArray,
    labelled: FloatArray,
    min_labels: int,
    heavy: NDArray[np.bool_],
    standard_error: FloatArray,
    improper: FloatArray,
) -> list[tuple[ReasonCode, str] | None]:
    """Why each group has no (trustworthy) value, code and words; None where it has one."""
    reasons: list[tuple[ReasonCode, str] | None] = [None] * len(value)
    for i in np.flatnonzero((rows < min_labels) | np.isnan(value) | np.isnan(low)):
        if rows[i] == 0 and not metric.reads_labels:
            reasons[i] = "no_rows", f"no {metric.counted or 'rows'} with a value"
        elif rows[i] == 0:
            scored = metric.needs[0] in ("scores", "n_score")
            without_forecast = ("no_forecast", "no forecast on the labelled rows")
            reasons[i] = without_forecast if scored and labelled[i] else ("no_labels", "no labelled rows")
        elif improper[i] > 0:
            reasons[i] = "improper_scores", improper_words({"": improper[i]})
        elif np.isnan(value[i]):
            reasons[i] = "undefined", metric.undefined
        elif rows[i] < min_labels:
            what = metric.counted or ("labelled rows" if metric.reads_labels else "rows")
            reasons[i] = "too_few_rows", f"{count(int(rows[i]), what)}, {min_labels:,} needed"
        elif heavy[i]:
            reasons[i] = "heavy_tail", HEAVY_TAIL
        elif standard_error[i] == 0:
            reasons[i] = "no_spread", NO_SPREAD
        else:
            reasons[i] = "one_bucket", "everything the metric needs stands in one bucket of entities: no interval"
    return reasons


def _total(per_row: Columns) -> Columns:
    """Business value of all labelled rows together, given how many there were; no stream of its own."""
    scaled = {name: per_row[name] * per_row["n"] for name in ("value", "ci_low", "ci_high")}
    undefined = np.full(len(per_row["n"]), np.nan)
    named = np.full(len(undefined), "business_value_total", dtype=object)
    return per_row | scaled | {"metric": named, "stabilised_value": undefined, "variance": undefined}
