"""Quality aggregates of a labelled reference file, in the shape of the label-side marts."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from metrics_py.intervals import N_SEGMENT_BUCKETS
from metrics_py.profile.column_profile import ColumnProfile
from metrics_py.profile.resolution import decision_threshold
from metrics_py.quality.areas import areas_of_scores
from metrics_py.quality.probabilities import is_improper
from metrics_py.quality.queries import ranking_sums
from metrics_py.quality.rows import of_several_classes
from sightline.spec.flows import is_estimated
from sightline.spec.model import MonitorSpec
from sightline.warehouse.reference_data import ReferenceData
from sightline.warehouse.settings import negative_class

KEYS = {"window_key": "reference", "model_version": "reference"}
N_SCORE_BINS = 256


def quality_aggregates(
    spec: MonitorSpec, data: ReferenceData, segments: pl.DataFrame, prediction: ColumnProfile | None = None
) -> dict[str, pl.DataFrame]:
    """Sums of the labelled rows of a reference file.

    They are ``confusion``, ``score_label_bins``, ``class_label_bins``, ``score_areas``, ``quality_sums``,
    ``custom_sums`` and ``error_bins``.

    Parameters
    ----------
    spec : MonitorSpec
        Task, threshold, value matrix, quantiles. User metrics in SQL are left to the marts.
    data : ReferenceData
        From `file_data`.
    segments : polars.DataFrame
        ``segment_column, value`` with a segment of their own.
    prediction : ColumnProfile, optional
        Bins of a regression's prediction; without them ``error_bins`` has no rows.

    Returns
    -------
    dict of str to polars.DataFrame
        Columns as in the marts; window and version are called ``reference``, window_start is null.
    """
    if data.frame is None:
        raise ValueError("quality_aggregates: the data are not those of a file")
    return aggregates_of(spec, data.frame, segments, prediction)


def aggregates_of(
    spec: MonitorSpec, frame: pl.DataFrame, segments: pl.DataFrame, prediction: ColumnProfile | None = None
) -> dict[str, pl.DataFrame]:
    """As `quality_aggregates`, of rows in lake columns with ``bucket``, ``label_class`` and ``label_value``."""
    everything = outcomes_by_segment(spec, frame, segments)
    custom = _custom(spec, everything)
    if spec.model.task == "ranking":
        custom = pl.concat([custom, _queries(spec, outcomes_by_segment(spec, frame, segments, with_unlabelled=True))])
    return {
        **_items(spec, frame),
        "confusion": _confusion(spec, everything),
        "score_label_bins": _score_bins(spec, everything),
        "class_label_bins": _class_bins(spec, everything),
        "score_areas": _score_areas(spec, everything),
        "quality_sums": _sums(everything),
        "custom_sums": custom,
        "error_bins": _errors(spec, everything, prediction),
    }


def scored_rows(spec: MonitorSpec, frame: pl.DataFrame, segments: pl.DataFrame) -> pl.DataFrame:
    """Scores beside what came true, in each segment: ``segment, bucket, class_name, score, is_positive``.

    Parameters
    ----------
    spec : MonitorSpec
    frame : DataFrame
        As of `aggregates_of`.
    segments : DataFrame
        As of `aggregates_of`.
    """
    return _scored(spec, outcomes_by_segment(spec, frame, segments))


def outcomes_by_segment(
    spec: MonitorSpec, frame: pl.DataFrame, segments: pl.DataFrame, *, with_unlabelled: bool = False
) -> pl.DataFrame:
    """Labelled rows with their outcomes, once for the whole and once for their value of each segment column.

    Parameters
    ----------
    spec, frame, segments
        As of `aggregates_of`.
    with_unlabelled : bool, default False
        Rows without a label, too.
    """
    rows = _outcomes(spec, frame)
    if not with_unlabelled:
        rows = rows.filter(pl.col("actual_class").is_not_null() | pl.col("outcome").is_not_null())
    parts = [rows.with_columns(segment=pl.lit("all"))]
    for name in spec.columns.segments:
        known = segments.filter(pl.col("segment_column") == name)["value"]
        column = pl.col(f"g_{name}")
        value = (
            pl.when(column.is_null())
            .then(pl.lit("(null)"))
            .when(column.is_in(known.implode()))
            .then(column)
            .otherwise(pl.lit("(other)"))
        )
        parts.append(rows.with_columns(segment=pl.lit(f"{name}=") + value, bucket=pl.col("bucket") % N_SEGMENT_BUCKETS))
    return pl.concat(parts)


def decided_class(spec: MonitorSpec) -> pl.Expr:
    """The class that a row decides for: as it is logged, else by the score and the threshold (binary)."""
    decided, score = pl.col("predicted_class"), pl.col("score")
    if spec.model.task != "binary_classification":
        return decided
    return pl.coalesce(
        decided,
        pl.when(score >= decision_threshold(spec.quality.threshold)).then(pl.lit(spec.positive_class)),
        pl.when(score.is_not_null()).then(pl.lit(negative_class(spec))),
    )


def _outcomes(spec: MonitorSpec, frame: pl.DataFrame) -> pl.DataFrame:
    """Decision, forecast, outcome and losses per row; null where one side is unknown."""
    task, null = spec.model.task, pl.lit(None, pl.Float64)
    score = pl.col("score")
    log_loss = brier = null
    improper = pl.lit(value=False)
    if task == "binary_classification":
        outcome, forecast = pl.col("label_value"), score
        log_loss = -_clipped(pl.when(outcome == 1).then(score).otherwise(1 - score)).log()
        brier = (score - outcome) ** 2
    elif task == "multiclass_classification" and spec.columns.class_scores:
        columns = {name: f"p_{name}" for name in spec.columns.class_scores}
        outcome = null
        forecast, brier = of_several_classes(pl.col("label_class"), columns)
        log_loss = -_clipped(forecast).log()
        improper = is_improper(list(columns.values())) & forecast.is_not_null()
    else:
        outcome, forecast = pl.col("label_value"), pl.col("prediction")
    return frame.with_columns(
        decided_class=decided_class(spec),
        actual_class=pl.col("label_class"),
        outcome=outcome,
        forecast=forecast,
        log_loss=log_loss,
        brier=brier,
        is_improper=improper,
    ).with_columns(bucket=pl.col("bucket").cast(pl.Int32))


def _clipped(p: pl.Expr) -> pl.Expr:
    return p.clip(1e-15, 1 - 1e-15)


def _keyed(frame: pl.DataFrame) -> pl.DataFrame:
    keys = [pl.lit(value).alias(name) for name, value in KEYS.items()]
    return frame.select(*keys, pl.lit(None, pl.Datetime("us")).alias("window_start"), pl.all())


def _confusion(spec: MonitorSpec, rows: pl.DataFrame) -> pl.DataFrame:
    by = ["segment", "bucket", "predicted_class", "actual_class"]
    known = rows.with_columns(predicted_class=pl.col("decided_class")).drop_nulls(["predicted_class", "actual_class"])
    if spec.model.task not in ("binary_classification", "multiclass_classification"):
        known = known.clear()
    return _keyed(known.group_by(by).agg(n=pl.len().cast(pl.Int64)).sort(by))


def _scored(spec: MonitorSpec, rows: pl.DataFrame) -> pl.DataFrame:
    """Labelled rows by class: ``segment, bucket, class_name, score, is_positive``."""
    named: dict[str, tuple[str, str]] = {}
    if spec.model.task == "binary_classification":
        named = {"": ("score", spec.positive_class)}
    elif spec.model.task == "multiclass_classification":
        named = {c: (f"p_{c}", c) for c in spec.columns.class_scores}
    parts = [
        rows.drop_nulls([column, "actual_class"]).select(
            "segment",
            "bucket",
            class_name=pl.lit(name),
            score=pl.col(column),
            is_positive=pl.col("actual_class") == positive,
        )
        for name, (column, positive) in named.items()
    ]
    empty = pl.DataFrame(
        schema={
            "segment": pl.String,
            "bucket": pl.Int32,
            "class_name": pl.String,
            "score": pl.Float64,
            "is_positive": pl.Boolean,
        }
    )
    return pl.concat([empty, *parts])


def _score_bins(spec: MonitorSpec, rows: pl.DataFrame) -> pl.DataFrame:
    by = ["segment", "bucket", "class_name", "score_bin", "is_positive"]
    score_bin = (pl.col("score") * N_SCORE_BINS).floor().clip(0, N_SCORE_BINS - 1).cast(pl.Int32)
    binned = _scored(spec, rows).with_columns(score_bin=score_bin)
    return _keyed(binned.group_by(by).agg(n=pl.len().cast(pl.Int64), sum_score=pl.col("score").sum()).sort(by))


def _class_bins(spec: MonitorSpec, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with a probability of each of several classes, by decision, class, its score and whether it came true."""
    by = ["segment", "predicted_class", "class_name", "score_bin", "is_positive"]
    types: list[type[pl.DataType]] = [pl.String, pl.String, pl.String, pl.Int32, pl.Boolean]
    parts = [pl.DataFrame(schema=dict(zip(by, types, strict=True)))]
    if is_estimated(spec) and spec.model.task == "multiclass_classification":
        names = list(spec.columns.class_scores)
        highest = pl.max_horizontal(f"p_{name}" for name in names)
        first = [pl.when(pl.col(f"p_{name}") == highest).then(pl.lit(name)) for name in names]
        is_scored = pl.all_horizontal(pl.col(f"p_{name}").is_finite().fill_null(False) for name in names)
        known = rows.filter(is_scored & pl.col("actual_class").is_not_null())
        known = known.with_columns(predicted_class=pl.coalesce("decided_class", *first))
        parts += [
            known.select(
                "segment",
                "predicted_class",
                class_name=pl.lit(name),
                score_bin=(pl.col(f"p_{name}") * N_SCORE_BINS).floor().clip(0, N_SCORE_BINS - 1).cast(pl.Int32),
                is_positive=pl.col("actual_class") == name,
            )
            for name in names
        ]
    return _keyed(pl.concat(parts).group_by(by).agg(n=pl.len().cast(pl.Int64)).sort(by))


def _score_areas(spec: MonitorSpec, rows: pl.DataFrame) -> pl.DataFrame:
    return _keyed(areas_of_scores(_scored(spec, rows), ["segment", "class_name"]))


def _sums(rows: pl.DataFrame) -> pl.DataFrame:
    outcome, forecast = pl.col("outcome"), pl.col("forecast")
    error = forecast - outcome
    both = forecast.is_not_null() & outcome.is_not_null()
    by = ["segment", "bucket"]
    sums = rows.group_by(by).agg(
        n=pl.len().cast(pl.Int64),
        sum_label=outcome.filter(both).sum(),
        sum_label_sq=(outcome.filter(both) ** 2).sum(),
        sum_score=forecast.sum(),
        sum_error=error.sum(),
        sum_abs_error=error.abs().sum(),
        sum_squared_error=(error**2).sum(),
        sum_log_loss=pl.col("log_loss").sum(),
        sum_brier=pl.col("brier").sum(),
        n_score=forecast.count().cast(pl.Int64),
        n_improper=pl.col("is_improper").sum().cast(pl.Int64),
    )
    return _keyed(sums.sort(by))


def _errors(spec: MonitorSpec, rows: pl.DataFrame, prediction: ColumnProfile | None) -> pl.DataFrame:
    """Sizes of a regression's errors by bin of the prediction."""
    both = rows.drop_nulls(["forecast", "outcome"]).filter(pl.col("forecast").is_finite())
    bins = pl.Series(np.zeros(len(both)), dtype=pl.Int32)
    if prediction is None or spec.model.task != "regression":
        both, bins = both.clear(), bins.clear()
    else:
        ends, bin_of_end = prediction.cuts()
        bins = pl.Series(bin_of_end[np.searchsorted(ends, both["forecast"].to_numpy())], dtype=pl.Int32)
    error = pl.col("forecast") - pl.col("outcome")
    sums = (
        both.with_columns(prediction_bin=bins)
        .group_by("segment", "prediction_bin")
        .agg(
            n=pl.len().cast(pl.Int64),
            sum_prediction=pl.col("forecast").sum(),
            sum_abs_error=error.abs().sum(),
            sum_squared_error=(error**2).sum(),
            sum_fourth_error=(error**4).sum(),
        )
    )
    return _keyed(sums.sort("segment", "prediction_bin"))


def _custom(spec: MonitorSpec, rows: pl.DataFrame) -> pl.DataFrame:
    """Business value and pinball losses."""
    values: dict[str, pl.Expr] = {}
    if spec.value_matrix:
        pairs = [
            pl.when((pl.col("decided_class") == predicted) & (pl.col("actual_class") == actual)).then(
                pl.lit(float(value))
            )
            for predicted, row in spec.value_matrix.items()
            for actual, value in row.items()
        ]
        values["value"] = pl.coalesce(*pairs, pl.lit(None, pl.Float64))
    if spec.model.task == "regression":
        gap = pl.col("outcome") - pl.col("forecast")
        values |= {f"pinball_{q:g}": pl.max_horizontal(q * gap, (q - 1) * gap) for q in spec.quality.quantiles}
    by = ["segment", "bucket"]
    schema = {
        "segment": pl.String,
        "bucket": pl.Int32,
        "metric": pl.String,
        "n": pl.Int64,
        "sum_value": pl.Float64,
        "sum_value_sq": pl.Float64,
    }
    parts = [pl.DataFrame(schema=schema)]
    for name, value in values.items():
        found = rows.select(*by, value=value).drop_nulls("value").filter(pl.col("value").abs() < math.inf)
        sums = found.group_by(by).agg(
            n=pl.len().cast(pl.Int64), sum_value=pl.col("value").sum(), sum_value_sq=(pl.col("value") ** 2).sum()
        )
        parts.append(sums.select(*by, metric=pl.lit(name), n="n", sum_value="sum_value", sum_value_sq="sum_value_sq"))
    return _keyed(pl.concat(parts).sort([*by, "metric"]))


def _queries(spec: MonitorSpec, rows: pl.DataFrame) -> pl.DataFrame:
    """Metrics of ranking, by segment: a list is the rows of one query and model version."""
    names = [name for name in ("query_id", "model_version") if name in rows.columns]
    lists = rows.filter(pl.col("query_id").is_not_null()).select(
        "segment",
        "bucket",
        "score",
        query=pl.concat_str(*names, separator="\x1f", ignore_nulls=True),
        relevance=pl.col("label_value").clip(0),
    )
    schema = {**dict.fromkeys(("segment", "metric"), pl.String), "bucket": pl.Int32, "n": pl.Int64}
    schema |= dict.fromkeys(("sum_value", "sum_value_sq"), pl.Float64)
    order = ["segment", "bucket", "metric", "n", "sum_value", "sum_value_sq"]
    parts = [pl.DataFrame(schema=schema).select(order)]
    for (segment,), part in lists.group_by("segment"):
        sums = ranking_sums(part.sort("query"), k=spec.quality.k).filter(pl.col("n") > 0)
        parts.append(sums.with_columns(segment=pl.lit(str(segment))).select(order))
    return _keyed(pl.concat(parts).sort(order[:3]))


def _items(spec: MonitorSpec, frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """How many rows recommend each item, where the file names it."""
    column = f"f_{spec.quality.item}"
    if spec.model.task != "ranking" or spec.quality.item is None or column not in frame.columns:
        return {}
    counts = frame.drop_nulls(column).group_by(item=pl.col(column).cast(pl.String)).agg(n=pl.len().cast(pl.Int64))
    return {"items": counts.sort("item")}
