"""Quality before labels: estimated for every window as it closes, from its scores and the reference's calibration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from metrics_py.estimation.calibration import Calibration, calibrate
from metrics_py.estimation.cbpe import ESTIMATED, estimate
from metrics_py.quality.metrics import quality_metric
from sightline.judging import maturity
from sightline.judging.frames import BY, EVIDENCE, SIGN, Judged, Work, conform
from sightline.judging.marts import has_mart, read_mart, with_all_versions
from sightline.judging.reference_bounds import with_bounds
from sightline.spec.model import MonitorSpec
from sightline.spec.plan import ESTIMATED_AS
from sightline.spec.windows import closes_at, keys_between, matures_at, next_key
from sightline.warehouse.reference import load_reference

ASSET = "estimated_quality"
NOT_KNOWN = "the reference has no labels of both classes yet: how often a score comes true is not known"


def judge(work: Work) -> Judged:
    """Estimates for every window of a run; they raise no evidence, as a change of the concept moves none of them."""
    spec, nothing = work.spec, pl.DataFrame(schema=EVIDENCE)
    if not has_mart(work.con, "score_bins"):
        return Judged(conform(pl.DataFrame(schema=dict.fromkeys(BY, pl.String))), nothing)
    scores = with_all_versions(spec, read_mart(work.con, "score_bins", work.keys))
    tables = [
        _estimated(spec, scores.filter(pl.col("window_key").is_in(list(keys))), calibration)
        for calibration, keys in calibrations(work)
    ]
    table = pl.concat(tables).with_columns(column=pl.lit(""), metric=ESTIMATED_AS + pl.col("metric"))
    metrics = {name: quality_metric(name, spec.model.task) for name in ESTIMATED}
    worse = {ESTIMATED_AS + name: SIGN[metric.direction] for name, metric in metrics.items()}
    limits = {ESTIMATED_AS + name: metric.range for name, metric in metrics.items()}
    return Judged(with_bounds(spec, work.paths, ASSET, conform(table), worse, limits), nothing)


def calibrations(work: Work) -> Iterator[tuple[Calibration | None, Sequence[str]]]:
    """The calibration of the reference, and the windows of the run that it is for.

    That of a rolling reference is each window's own, from the windows before it whose labels were due when it closed:
    so it is the same whenever it is judged.
    """
    spec, reference = work.spec, work.spec.reference
    if reference.kind == "file":
        frozen = load_reference(work.paths)
        bins = frozen.quality.get("score_label_bins") if frozen else None
        yield None if bins is None else calibrate(bins.filter(pl.col("segment") == "all")), work.keys
        return
    if reference.kind == "window":
        known = maturity.delays(spec, work.con, work.now)
        keys = [key for key in _reference_keys(spec) if work.now >= matures_at(spec, key)]
        late = set(maturity.immature(spec, keys, work.now, known))
        yield _learnt(work, [k for k in keys if spec.window_start(k).replace(tzinfo=None) not in late]), work.keys
        return
    for key in work.keys:
        first = spec.key(spec.window_start(key) - reference.length)
        before = keys_between(spec, first, next_key(spec, key, -1))
        yield _learnt(work, [k for k in before if matures_at(spec, k) <= closes_at(spec, key)]), [key]


def _reference_keys(spec: MonitorSpec) -> list[str]:
    start, end = spec.reference.start, spec.reference.end
    assert start is not None and end is not None
    return [key for key in keys_between(spec, spec.key(start), spec.key(end)) if spec.window_start(key) < end]


def _learnt(work: Work, keys: Sequence[str]) -> Calibration | None:
    if not keys or not has_mart(work.con, "score_label_bins"):
        return None
    return calibrate(read_mart(work.con, "score_label_bins", keys).filter(pl.col("segment") == "all"))


def _estimated(spec: MonitorSpec, scores: pl.DataFrame, calibration: Calibration | None) -> pl.DataFrame:
    if calibration is not None:
        return estimate(scores, calibration, positive=spec.positive_class, min_rows=spec.quality.min_labels, by=BY)
    unknown = scores.group_by(BY).agg(n=pl.col("n").sum()).join(pl.DataFrame({"metric": ESTIMATED}), how="cross")
    number = pl.lit(None, dtype=pl.Float64)
    return unknown.select(
        *BY,
        "metric",
        value=number,
        ci_low=number,
        ci_high=number,
        n="n",
        status=pl.lit("insufficient_data"),
        reason=pl.lit(NOT_KNOWN),
        reason_code=pl.lit("no_labels"),
        variance=number,
    )
