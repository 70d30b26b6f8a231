"""The audit of the estimates: once labels are in, it tells whether the realised value lies where it was expected.

An estimate assumes that P(y | score) has not changed. Realised minus estimated is therefore the alarm for a change of
the concept, which no estimate can see; and an estimator whose intervals miss too often is told to be unvalidated.
"""

from __future__ import annotations

import polars as pl

from metrics_py.estimation.cbpe import Z95
from sightline.home import MonitorPaths
from sightline.judging.estimate_record import with_record
from sightline.judging.frames import BY, EVIDENCE, Judged, conform
from sightline.judging.marts import ALL_VERSIONS
from sightline.results.judgements import read_judgements
from sightline.spec import plan
from sightline.spec.model import MonitorSpec
from sightline.spec.plan import AUDITED_AS, ESTIMATED_AS


def audit(spec: MonitorSpec, paths: MonitorPaths, realised: pl.DataFrame) -> Judged:
    """Realised minus estimated quality of some windows whose labels are all in.

    Parameters
    ----------
    spec : MonitorSpec
    paths : MonitorPaths
        Estimates, and the audits of other windows, are read from its published judgements.
    realised : DataFrame
        Shape `JUDGED`: realised quality.

    Returns
    -------
    Judged
        Rows ``estimation_error_<metric>`` for the primary metric where that is estimated, else for the ROC AUC, with
        the estimate's interval around the difference. Warns while the estimates are not validated; among them are
        those of later windows whose record these windows change. One stream.
    """
    metric = plan.audited_metric(spec)
    if metric is None or realised.is_empty():
        return Judged(conform(pl.DataFrame(schema=dict.fromkeys(BY, pl.String))), pl.DataFrame(schema=EVIDENCE))
    final = realised.filter(metric=metric, column="").filter(pl.col("status").is_in(["ok", "warn"]))
    errors = _errors(spec, paths, metric, final)
    judged = conform(with_record(spec, paths, metric, errors, realised["window_start"].unique()))
    return Judged(judged, _stream(errors))


def _errors(spec: MonitorSpec, paths: MonitorPaths, metric: str, final: pl.DataFrame) -> pl.DataFrame:
    """Differences and their standard errors, by group.

    Zero lies in the interval of a difference where the realised value lies in that of the estimate. An interval that
    ends where the metric does is cut there: the standard error is that of its longer side.
    """
    start, end = final["window_start"].min(), final["window_start"].max()
    nothing = pl.lit(None, dtype=pl.Float64)
    empty = final.clear().with_columns(se=nothing)
    if final.is_empty():
        return empty
    asked = {"asset": "estimated_quality", "metric": ESTIMATED_AS + metric, "start": start}
    known = read_judgements(paths, **asked, end=end + spec.window)  # pyright: ignore
    estimates = known.filter(pl.col("status") != "insufficient_data").select(
        *BY, estimate="value", below=pl.col("value") - pl.col("ci_low"), above=pl.col("ci_high") - pl.col("value")
    )
    joined = final.join(estimates, on=list(BY), how="inner")
    difference = pl.col("value") - pl.col("estimate")
    told = pl.format("realised {} by the labels, estimated {} before", pl.col("value").round(4), "estimate_told")
    return (
        joined.with_columns(estimate_told=pl.col("estimate").round(4))
        .with_columns(
            metric=pl.lit(AUDITED_AS + metric),
            value=difference,
            ci_low=difference - pl.col("above"),
            ci_high=difference + pl.col("below"),
            se=pl.max_horizontal("below", "above") / Z95,
            reference_value=nothing,
            bound_low=nothing,
            bound_high=nothing,
            naive_value=nothing,
            maturity=nothing,
            status=pl.lit("ok"),
            reason=told,
            reason_code=pl.lit("audited"),
        )
        .drop("estimate", "estimate_told", "below", "above")
    )


def _stream(errors: pl.DataFrame) -> pl.DataFrame:
    rows = errors.filter(segment="all", model_version=ALL_VERSIONS)
    return rows.select(
        asset=pl.lit("model_quality"),
        column=pl.lit(""),
        statistic="metric",
        window_start="window_start",
        value="value",
        display_value="value",
        n=pl.col("n").cast(pl.Float64),
        variance=pl.col("se") ** 2,
        reason=pl.lit(None, dtype=pl.String),
        reason_code=pl.lit(None, dtype=pl.String),
    ).cast(EVIDENCE)
