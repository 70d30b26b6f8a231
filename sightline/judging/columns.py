"""Data quality of the columns: missing, not finite, unseen, out-of-range and constant values, contracts, moments."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from metrics_py.profile.column_profile import ColumnProfile
from metrics_py.quality.regression import SMALLEST_RELATIVE_VARIANCE
from sightline.judging.frames import BY, conform, rate
from sightline.spec.columns import Feature
from sightline.spec.model import MonitorSpec


def judge_columns(
    spec: MonitorSpec, moments: pl.DataFrame, bins: pl.DataFrame, profiles: Mapping[str, ColumnProfile]
) -> pl.DataFrame:
    """Judgements of all columns, shape `JUDGED`, before they are compared with the reference.

    Parameters
    ----------
    spec : MonitorSpec
    moments, bins : DataFrame
        The marts `column_moments` and `column_bins`, with the rows of all versions together.
    profiles : mapping of column to ColumnProfile
        The frozen reference.
    """
    constants = _constants(bins, moments, profiles, spec.drift.min_rows)
    return pl.concat([_column_rates(spec, moments), _bin_rates(bins, profiles), constants])


def _column_rates(spec: MonitorSpec, moments: pl.DataFrame) -> pl.DataFrame:
    by = [*BY, "column"]
    counts = ["n_rows", "n_null", "n_not_finite", "n_contract", "sum_x", "sum_xx", "n_true"]
    sums = (
        moments.rename({"column_name": "column"})
        .group_by(by)
        .agg(pl.col(counts).sum(), pl.col("min_x").min(), pl.col("max_x").max(), numbers=pl.col("sum_x").count() > 0)
    )
    whole = sums.filter(pl.col("segment") == "all")
    parts = [rate(sums, "null_rate", "n_null", "n_rows", by)]
    numeric = whole.filter("numbers")
    parts.append(rate(numeric, "not_finite_rate", "n_not_finite", "n_rows", by))
    bound = [name for name, feature in spec.columns.features.items() if has_contract(feature)]
    parts.append(rate(whole.filter(pl.col("column").is_in(bound)), "contract_rate", "n_contract", "n_rows", by))
    truth = [name for name, feature in spec.columns.features.items() if feature.kind == "boolean"]
    known = whole.filter(pl.col("column").is_in(truth)).with_columns(n_known=pl.col("n_rows") - pl.col("n_null"))
    parts.append(rate(known, "true_rate", "n_true", "n_known", by))
    finite = numeric.with_columns(n=pl.col("n_rows") - pl.col("n_null") - pl.col("n_not_finite")).filter(
        pl.col("n") > 0
    )
    mean = pl.col("sum_x") / pl.col("n")
    facts = {"mean": mean, "minimum": pl.col("min_x"), "maximum": pl.col("max_x")}
    for metric, value in facts.items():
        rows = finite.select(*by, metric=pl.lit(metric), value=value, n="n").filter(pl.col("value").is_finite())
        parts.append(conform(rows.with_columns(status=pl.lit("ok"))))
    return pl.concat([*parts, _deviations(finite)])


def _deviations(finite: pl.DataFrame) -> pl.DataFrame:
    """Standard deviations from sums: 0 of equal values, and none where the sums are too coarse to tell."""
    square = pl.col("sum_xx") / pl.col("n")
    variance = square - (pl.col("sum_x") / pl.col("n")) ** 2
    deviation = (variance * pl.col("n") / (pl.col("n") - 1)).sqrt()
    is_constant = pl.col("min_x") == pl.col("max_x")
    is_known = is_constant | (variance > SMALLEST_RELATIVE_VARIANCE * square)
    rows = finite.filter((pl.col("n") > 1) & square.is_finite()).select(
        *BY,
        "column",
        metric=pl.lit("standard_deviation"),
        value=pl.when(is_constant).then(0.0).when(is_known).then(deviation),
        n="n",
        status=pl.when(is_known).then(pl.lit("ok")).otherwise(pl.lit("insufficient_data")),
        reason=pl.when(~is_known).then(
            pl.lit("the values vary too little beside their size for sums of squares to tell")
        ),
        reason_code=pl.when(~is_known).then(pl.lit("undefined")),
    )
    return conform(rows)


def has_contract(feature: Feature) -> bool:
    """Whether the spec bounds the values of this feature."""
    return feature.min is not None or feature.max is not None or feature.allowed is not None or not feature.nullable


def _bin_rates(bins: pl.DataFrame, profiles: Mapping[str, ColumnProfile]) -> pl.DataFrame:
    """Shares of the rows with a value that fall outside the reference's range or in categories it does not hold."""
    by = [*BY, "column"]
    kinds = pl.concat(
        [pl.DataFrame(schema={"column_name": pl.String, "bin_id": pl.Int32, "bin_kind": pl.String})]
        + [p.to_frame().select("column_name", "bin_id", "bin_kind") for p in profiles.values()]
    )
    whole = (
        bins.filter(pl.col("segment") == "all")
        .join(kinds, on=["column_name", "bin_id"])
        .rename({"column_name": "column"})
    )
    outside, unseen, missing = (
        pl.col("bin_kind").is_in(["below", "above"]),
        pl.col("bin_kind") == "unseen",
        pl.col("bin_kind").is_in(["null", "not_finite"]),
    )
    sums = whole.group_by(by).agg(
        n_outside=pl.col("n").filter(outside).sum(),
        n_unseen=pl.col("n").filter(unseen).sum(),
        n_known=pl.col("n").filter(~missing).sum(),
    )
    numeric = [name for name, profile in profiles.items() if profile.kind == "numeric"]
    categorical = [name for name, profile in profiles.items() if profile.kind == "categorical"]
    return pl.concat(
        [
            rate(sums.filter(pl.col("column").is_in(numeric)), "out_of_range_rate", "n_outside", "n_known", by),
            rate(sums.filter(pl.col("column").is_in(categorical)), "unseen_rate", "n_unseen", "n_known", by),
        ]
    )


def _constants(
    bins: pl.DataFrame, moments: pl.DataFrame, profiles: Mapping[str, ColumnProfile], min_rows: int
) -> pl.DataFrame:
    """1 where a column that varied in the reference holds a single value in a window, else 0."""
    by = [*BY, "column"]
    varied = [
        name
        for name, profile in profiles.items()
        if profile.n_distinct > 1 and profile.kind in ("numeric", "categorical", "boolean")
    ]
    ends = (
        moments.filter(pl.col("segment") == "all")
        .rename({"column_name": "column"})
        .group_by(by)
        .agg(
            pl.col("min_x").min(),
            pl.col("max_x").max(),
            n=(pl.col("n_rows") - pl.col("n_null") - pl.col("n_not_finite")).sum(),
        )
    )
    single = [
        p.to_frame().filter(pl.col("bin_kind") == "category").select("column_name", "bin_id") for p in profiles.values()
    ]
    named = pl.concat([pl.DataFrame(schema={"column_name": pl.String, "bin_id": pl.Int32}), *single]).with_columns(
        is_one=pl.lit(True)
    )
    used = (
        bins.filter(pl.col("segment") == "all")
        .join(named, on=["column_name", "bin_id"], how="left")
        .rename({"column_name": "column"})
    )
    levels = used.group_by(by).agg(
        levels=pl.col("bin_id").filter(pl.col("is_one").fill_null(False)).n_unique(),
        others=pl.col("n").filter(pl.col("is_one").is_null()).sum(),
    )
    rows = ends.filter(pl.col("column").is_in(varied), pl.col("n") >= min_rows).join(levels, on=by, how="left")
    constant = (
        pl.when(pl.col("min_x").is_not_null())
        .then(pl.col("min_x") == pl.col("max_x"))
        .otherwise((pl.col("levels") == 1) & (pl.col("n") > 0))
    )
    rows = rows.with_columns(constant=constant.fill_null(False))
    return conform(
        rows.select(
            *by,
            metric=pl.lit("is_constant"),
            value=pl.col("constant").cast(pl.Float64),
            n="n",
            reference_value=pl.lit(0.0),
            status=pl.when("constant").then(pl.lit("warn")).otherwise(pl.lit("ok")),
            reason=pl.when("constant").then(pl.lit("a single value; the reference holds several")),
            reason_code=pl.when("constant").then(pl.lit("constant")),
        )
    )
