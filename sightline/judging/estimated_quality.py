"""Quality before labels: estimated for every window as it closes, from what the reference's labels taught."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from metrics_py.estimation.cbpe import Z95
from sightline.judging import maturity, weighted_estimates
from sightline.judging.estimate_record import with_caveats
from sightline.judging.estimators import BinaryEstimator, Estimator, estimator_of, untold
from sightline.judging.frames import BY, EVIDENCE, SIGN, Judged, Work, conform
from sightline.judging.marts import has_mart, read_mart, with_all_versions
from sightline.judging.reference_bounds import with_bounds
from sightline.spec.flows import is_weighted
from sightline.spec.plan import ESTIMATED_AS
from sightline.spec.shadows import is_production
from sightline.spec.windows import closes_at, keys_between, matures_at, next_key, reference_keys, settled_at
from sightline.warehouse.reference import load_reference
from sightline.warehouse.row_samples import LABELLED, labelled_rows

ASSET = "estimated_quality"
ALIKE = "its interval takes the rows of a window as independent: the reference has too few windows to tell"

FROZEN_BEFORE = (
    "the reference was frozen by an earlier release, which did not count what estimates learn from: materialize "
    "`reference` with the config `rebuild: true`"
)
FROZEN_WITHOUT_ROWS = (
    "the reference was frozen without the rows that are weighted to each window's inputs: materialize `reference` with "
    "the config `rebuild: true`"
)


def judge(work: Work) -> Judged:
    """Estimates for every window of a run, and whether the audits of earlier windows validate them.

    They raise no evidence, as a change of the concept moves none of them.
    """
    spec, nothing = work.spec, pl.DataFrame(schema=EVIDENCE)
    estimator = estimator_of(spec)
    if estimator is None or not has_mart(work.con, estimator.marts[0]):
        return Judged(conform(pl.DataFrame(schema=dict.fromkeys(BY, pl.String))), nothing)
    counts = with_all_versions(spec, estimator.counts(work.con, work.keys))
    tables = [
        _estimated(work, estimator, counts.filter(pl.col("window_key").is_in(list(keys))), known)
        for known, keys in references(work, estimator)
    ]
    table = pl.concat(tables).with_columns(column=pl.lit(""), metric=ESTIMATED_AS + pl.col("metric"))
    worse = {ESTIMATED_AS + name: SIGN[metric.direction] for name, metric in estimator.metrics.items()}
    limits = {ESTIMATED_AS + name: metric.range for name, metric in estimator.metrics.items()}
    judged = conform(table)
    bounded = _assumed(with_bounds(spec, work.paths, ASSET, judged, worse, limits), judged)
    return Judged(with_caveats(spec, work.paths, bounded), nothing)


def _assumed(bounded: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
    """Of a value beyond the reference's windows, too, say what it assumes."""
    key = [*BY, "metric"]
    joined = bounded.join(judged.select(*key, said="reason"), on=key, how="left", maintain_order="left")
    is_beyond = pl.col("reason_code") == "beyond_reference"
    reason = pl.when(is_beyond).then(pl.format("{}; {}", "reason", "said")).otherwise("reason")
    return joined.with_columns(reason=reason).drop("said")


@dataclass(frozen=True)
class Known:
    """What the reference tells.

    Parameters
    ----------
    model : object
        As the estimator learnt it.
    between : mapping of metric to float, or None
        Variance between windows beyond that of independent outcomes; None where there are too few windows.
    rows : DataFrame or None
        A sample of its labelled rows, where estimates are made from weighted ones.
    """

    model: Any
    between: Mapping[str, float] | None = None
    rows: pl.DataFrame | None = None


def references(work: Work, estimator: Estimator) -> Iterator[tuple[Known | str, Sequence[str]]]:
    """What the reference tells, or why it tells nothing, and the windows of the run that it is for.

    That of a rolling reference is each window's own, from the windows before it whose labels were due when it closed
    (or whose silence was an answer, `labels.silence`): so it is the same whenever it is judged.
    """
    spec, reference = work.spec, work.spec.reference
    if reference.kind == "file":
        frozen = load_reference(work.paths)
        quality = frozen.quality if frozen else {}
        if quality and estimator.marts[1] not in quality:
            yield FROZEN_BEFORE, work.keys
            return
        model = estimator.learn(quality[estimator.marts[1]].filter(pl.col("segment") == "all")) if quality else None
        rows = quality.get(LABELLED)
        if is_weighted(spec) and model is not None and rows is None:
            yield FROZEN_WITHOUT_ROWS, work.keys
            return
        yield from _of_file(work, estimator, model, rows)
        return
    if reference.kind == "window":
        known = maturity.delays(spec, work.con, work.now)
        keys = [key for key in reference_keys(spec) if work.now >= matures_at(spec, key)]
        late = set(maturity.immature(spec, keys, work.now, known))
        yield (
            _learnt(work, estimator, [k for k in keys if spec.window_start(k).replace(tzinfo=None) not in late]),
            work.keys,
        )
        return
    until = maturity.delays(spec, work.con, work.now).until if spec.is_silence_negative else work.now
    for key in work.keys:
        seen = min(closes_at(spec, key), until) if spec.is_silence_negative else closes_at(spec, key)
        first = spec.key(spec.window_start(key) - reference.length)
        before = keys_between(spec, first, next_key(spec, key, -1))
        yield _learnt(work, estimator, [k for k in before if settled_at(spec, k) <= seen]), [key]


def _of_file(
    work: Work, estimator: Estimator, model: Any, rows: pl.DataFrame | None
) -> Iterator[tuple[Known | str, Sequence[str]]]:
    """A file has no windows: how much those differ, the first ones of the history tell, from when their labels are due.

    As many as the alert engine warms up on.
    """
    spec = work.spec
    if model is None:
        yield estimator.not_known, work.keys
        return
    first = spec.key(spec.first_window)
    early = keys_between(spec, first, next_key(spec, first, spec.warmup_windows - 1))
    due = settled_at(spec, early[-1])
    later = [key for key in work.keys if closes_at(spec, key) >= due]
    between = _between(work, estimator, early, model) if later else None
    for known, keys in ((None, [key for key in work.keys if key not in set(later)]), (between, later)):
        if keys:
            yield Known(model, known, rows), keys


def _between(work: Work, estimator: Estimator, keys: Sequence[str], model: Any) -> Mapping[str, float] | None:
    if not has_mart(work.con, estimator.marts[1]):
        return None
    is_whole = is_production(work.spec) & (pl.col("segment") == "all")
    counts = estimator.counts(work.con, keys).filter(is_whole)
    return estimator.between(counts, read_mart(work.con, estimator.marts[1], keys).filter(is_whole), model)


def _learnt(work: Work, estimator: Estimator, keys: Sequence[str]) -> Known | str:
    if not keys or not has_mart(work.con, estimator.marts[1]):
        return estimator.not_known
    known = read_mart(work.con, estimator.marts[1], keys).filter(is_production(work.spec), pl.col("segment") == "all")
    model = estimator.learn(known)
    if model is None:
        return estimator.not_known
    rows = labelled_rows(work.con, work.spec, work.paths, keys) if is_weighted(work.spec) else None
    return Known(model, _between(work, estimator, keys, model), rows)


def _estimated(work: Work, estimator: Estimator, counts: pl.DataFrame, known: Known | str) -> pl.DataFrame:
    if isinstance(known, str):
        return untold(estimator, counts, known, "no_labels")
    if isinstance(estimator, BinaryEstimator) and known.rows is not None:
        table = weighted_estimates.estimate(work, estimator, counts, known.model, known.rows)
    else:
        table = estimator.estimate(counts, known.model)
    return _widened(estimator, table, known.between)


def _widened(estimator: Estimator, table: pl.DataFrame, between: Mapping[str, float] | None) -> pl.DataFrame:
    """Intervals that know how much single windows differ, or the word that they do not."""
    known = {name: between.get(name) if between else None for name in estimator.metrics}
    more = pl.col("metric").replace_strict(known, return_dtype=pl.Float64)
    ranges = {name: metric.range for name, metric in estimator.metrics.items()}
    least, most = (
        pl.col("metric").replace_strict({name: float(r[i]) for name, r in ranges.items()}, return_dtype=pl.Float64)
        for i in (0, 1)
    )
    value, is_told, added = pl.col("value"), pl.col("value").is_not_null(), Z95**2 * more.fill_null(0.0)
    low = value - ((value - pl.col("ci_low")) ** 2 + added).sqrt()
    high = value + ((pl.col("ci_high") - value) ** 2 + added).sqrt()
    return table.with_columns(
        ci_low=pl.when(is_told).then(pl.max_horizontal(low, least)),
        ci_high=pl.when(is_told).then(pl.min_horizontal(high, most)),
        variance=pl.col("variance") + more.fill_null(0.0),
        reason=pl.when(is_told & more.is_null()).then(pl.format("{}; {}", "reason", pl.lit(ALIKE))).otherwise("reason"),
    )
