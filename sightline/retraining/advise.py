"""The advice: how fast models age, how often a retraining pays, whether it pays now, and what to learn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

import polars as pl

from metrics_py.evaluation.areas import deleted_areas
from metrics_py.evaluation.differences import differences
from metrics_py.results import Estimate
from metrics_py.retraining.cadence import Cadence, Saving, cadence, saving
from metrics_py.retraining.decay import Decay, decay
from metrics_py.retraining.paired import mean_difference
from sightline.errors import SightlineError
from sightline.home import MonitorPaths
from sightline.results.learnt_delays import with_learnt_delays
from sightline.retraining.backtest import LENGTHS, SHARES, WEEK, Backtest, backtest, losses_of
from sightline.retraining.losses import NO_SEGMENTS, TABLES, metric_of, point_of, rules_of, sign_of, without_segments
from sightline.retraining.versions import RECENT_WINDOWS, Version, Versions, versions
from sightline.spec import plan
from sightline.spec.evaluation_sections import Retraining
from sightline.spec.model import MonitorSpec
from sightline.warehouse.reference_quality import aggregates_of, scored_rows

State = Literal["pays", "does_not_pay", "cannot_say"]


@dataclass(frozen=True)
class Gap:
    """Loss of the version in service minus that of a fresh model, with its interval, and where it comes from."""

    value: float
    ci_low: float
    ci_high: float
    source: str


@dataclass(frozen=True)
class Comparison:
    """Two ways of training, judged on the same blocks.

    Attributes
    ----------
    kind : {"rows", "length"}
    first, second : str
        In words.
    found : Estimate
        Loss of the second minus that of the first.
    n_rows : tuple of float
        Rows per training, on average.
    is_shorter : bool
        The second way sees less history.
    """

    kind: Literal["rows", "length"]
    first: str
    second: str
    found: Estimate
    n_rows: tuple[float, float]
    is_shorter: bool = False


@dataclass(frozen=True)
class Advice:
    """What is known and advised; `sightline.retraining.words` says it.

    Attributes
    ----------
    monitor, metric : str
    sign, point : float
        A loss is the metric times `sign`; so much of it is one point.
    rules : Retraining
        The monitor's section.
    source : {"versions", "backtest"}
    n_fits : int
    decay : Decay
        Loss per week of age.
    served : Version or None
        In service.
    age : float or None
        Its age in weeks.
    cadence : Cadence or None
    gap : Gap or None
    horizon : float or None
        Weeks.
    saving : Saving or None
    state : {"pays", "does_not_pay", "cannot_say"}
        Of a retraining now.
    reason : str
        Why nothing can be said.
    comparisons : tuple of Comparison
    cells : DataFrame
        What the decay was computed from.
    notes : tuple of str
        What was left out, and where the numbers end.
    """

    monitor: str
    metric: str
    sign: float
    point: float
    rules: Retraining
    source: Literal["versions", "backtest"]
    n_fits: int
    decay: Decay
    served: Version | None
    age: float | None
    cadence: Cadence | None
    gap: Gap | None
    horizon: float | None
    saving: Saving | None
    state: State
    reason: str
    comparisons: tuple[Comparison, ...]
    cells: pl.DataFrame
    notes: tuple[str, ...]


def advise(
    spec: MonitorSpec,
    paths: MonitorPaths,
    *,
    now: datetime,
    with_backtest: bool = False,
    tell: Callable[[int, int], object] = lambda done, total: None,
) -> Advice:
    """Measure and advise.

    Parameters
    ----------
    spec, paths
        The monitor.
    now : datetime
        Decides whose labels are due.
    with_backtest : bool, default False
        Train `retraining.estimator` over the lake instead of comparing versions of the log.
    tell : callable
        Called with trainings done and planned.

    Raises
    ------
    SightlineError
        Quality cannot be judged at all, or as `sightline.retraining.backtest.backtest`.
    """
    spec = with_learnt_delays(spec, paths)
    if not plan.is_evaluated(spec):
        fix = "declare `labels`, and a score or prediction"
        raise SightlineError(f"{spec.id} has no metric of quality, so nobody can tell what a retraining gains", fix=fix)
    naive = now.replace(tzinfo=None)
    if not with_backtest:
        known = versions(spec, paths, now=now)
        found = decay(known.cells)
        return _advice(
            spec, found, known.served, naive, _gap_of_versions(known), "versions", known.cells, notes=known.notes
        )
    run = backtest(spec, paths, now=now, tell=tell)
    return _advice(
        spec,
        decay(run.cells),
        run.history.version,
        naive,
        _gap_of_backtest(spec, run),
        "backtest",
        run.cells,
        n_fits=run.n_fits,
        comparisons=_comparisons(run),
        notes=_notes(spec, run),
    )


def _advice(
    spec: MonitorSpec,
    found: Decay,
    served: Version | None,
    now: datetime,
    gap: Gap | None,
    source: Literal["versions", "backtest"],
    cells: pl.DataFrame,
    *,
    n_fits: int = 0,
    comparisons: tuple[Comparison, ...] = (),
    notes: tuple[str, ...] = (),
) -> Advice:
    rules, metric = rules_of(spec), metric_of(spec)
    age = max((now - served.trained_at) / WEEK, 0.0) if served is not None else None
    point = point_of(spec, metric)
    rhythm = saved = horizon = None
    gap = gap or _gap_by_age(found, age)
    state: State = "cannot_say"
    reason = "no cost is stated: `retraining: {cost: ..., value_per_point: ...}`"
    if rules.cost is not None and rules.value_per_point is not None:
        value = rules.value_per_point / point
        if found.change == "worse" and found.slope and found.ci_low and found.ci_high:
            rhythm = cadence(found.slope, found.ci_low, found.ci_high, cost=rules.cost, value=value)
        horizon = rules.horizon / WEEK if rules.horizon else rhythm.interval / 2 if rhythm else None
        if gap is None:
            reason = _no_gap(found, served)
        elif horizon is None:
            reason = "without a measurable decay there is no horizon to count a gain up to: name `retraining.horizon`"
        else:
            saved = saving(gap.value, gap.ci_low, gap.ci_high, cost=rules.cost, value=value, horizon=horizon)
            state, reason = ("pays", "") if saved.pays else ("does_not_pay", "")
    return Advice(
        spec.id,
        metric,
        sign_of(spec, metric),
        point,
        rules,
        source,
        n_fits,
        found,
        served,
        age,
        rhythm,
        gap,
        horizon,
        saved,
        state,
        reason,
        comparisons,
        cells,
        notes,
    )


def _no_gap(found: Decay, served: Version | None) -> str:
    if found.reason is not None:
        return found.reason
    if served is None:
        return "no version in service has labelled rows"
    return "the decay is not measurable, and no fresher model judged the newest rows of the version in service"


def _gap_by_age(found: Decay, age: float | None) -> Gap | None:
    """What the version in service has lost by its age, if models age steadily."""
    if age is None or found.change != "worse" or not (found.slope and found.ci_low and found.ci_high):
        return None
    return Gap(
        *(each * age for each in (found.slope, found.ci_low, found.ci_high)), source=f"its age of {age:.1f} weeks"
    )


def _gap_of_versions(known: Versions) -> Gap | None:
    """Against the version that was trained last, on the newest windows that both judged."""
    if known.served is None:
        return None
    later = [each for each in known.known.values() if each.trained_at > known.served.trained_at]
    for fresh in sorted(later, key=lambda each: each.trained_at, reverse=True):
        wide = known.cells.filter(pl.col("version").is_in([fresh.name, known.served.name]))
        both = wide.pivot("version", index="window", values="loss")
        if not {fresh.name, known.served.name} <= set(both.columns):
            continue
        both = both.drop_nulls().sort("window").tail(RECENT_WINDOWS)
        found = mean_difference(both[fresh.name].to_numpy(), both[known.served.name].to_numpy())
        if found.value is not None and found.ci_low is not None and found.ci_high is not None:
            source = f"version {fresh.name} beside it in {found.n} windows"
            return Gap(found.value, found.ci_low, found.ci_high, source)
    return None


def _gap_of_backtest(spec: MonitorSpec, run: Backtest) -> Gap | None:
    """Against the newest training, on the same rows of the newest block."""
    if run.freshest is None:
        return None
    names = [name for name in run.history.served.columns if name != "prediction_id"]
    old = run.freshest.drop(names, strict=False).join(run.history.served, on="prediction_id", maintain_order="left")
    new = run.freshest.filter(pl.col("prediction_id").is_in(old["prediction_id"].implode()))
    metric, plain = metric_of(spec), without_segments(spec)
    tables: list[dict[str, pl.DataFrame]] = []
    exact: list[pl.DataFrame] = []
    for frame in (old, new):
        found = aggregates_of(plain, frame, NO_SEGMENTS)
        tables.append({name: found[mart] for mart, name in TABLES.items() if not found[mart].is_empty()})
        if spec.model.task in ("binary_classification", "multiclass_classification"):
            exact.append(deleted_areas(scored_rows(plain, frame, NO_SEGMENTS), spec.model.task))
    compared = differences(
        tables[0],
        tables[1],
        task=spec.model.task,
        positive=spec.positive_class,
        min_labels=spec.quality.min_labels,
        exact=(exact[0], exact[1]) if exact else None,
    ).filter(metric=metric, status="ok")
    if compared.is_empty():
        return None
    row = compared.row(0, named=True)
    sign = -sign_of(spec, metric)
    low, high = sorted(sign * row[name] for name in ("ci_low", "ci_high"))
    first = run.plan.moments[-1]
    saw = f"{run.n_freshest:,} rows" if run.n_freshest >= run.n_known else f"{run.n_freshest:,} of {run.n_known:,} rows"
    source = f"a model trained on {first:%Y-%m-%d} on {saw}, on the same {len(new):,} rows after it"
    return Gap(sign * row["difference"], low, high, source)


def _comparisons(run: Backtest) -> tuple[Comparison, ...]:
    """More rows against fewer, and other lengths against the usual one."""
    usual = f"the last {_length(run.plan.length)}"
    ways = [f"{share:g}" for share in SHARES] + ["usual"]
    names = {way: f"{float(way):.0%} of the rows" for way in ways[:-1]} | {"usual": "all rows"}
    found = [_compared(run, "rows", one, other, names) for one, other in pairwise(ways)]
    for way, times in LENGTHS.items():
        length = "all history" if times is None else f"the last {_length(run.plan.length * times)}"
        found.append(_compared(run, "length", "usual", way, {"usual": usual, way: length}))
    return tuple(found)


def _compared(
    run: Backtest, kind: Literal["rows", "length"], one: str, other: str, names: dict[str, str]
) -> Comparison:
    both = losses_of(run.blocks, (one, other))
    estimate = mean_difference(both[f"loss_{one}"].to_numpy(), both[f"loss_{other}"].to_numpy())
    rows = [float(both[f"n_rows_{way}"].mean() or 0) for way in (one, other)]  # type: ignore[arg-type]
    return Comparison(kind, names[one], names[other], estimate, (rows[0], rows[1]), is_shorter=other == "half")


def _length(span: timedelta) -> str:
    days = span / timedelta(days=1)
    return f"{days / 7:.0f} weeks" if days >= 28 else f"{days:.0f} days"


def _notes(spec: MonitorSpec, run: Backtest) -> tuple[str, ...]:
    told = [*run.history.notes, *dict.fromkeys(run.skipped)]
    if run.is_capped:
        told.append(
            f"trainings saw {rules_of(spec).max_rows:,} rows at most (retraining.max_rows): a longer history then is "
            "an older one, not a larger one"
        )
    if run.n_freshest < run.n_known:
        told.append("the fresh model saw a sample: with all rows it may be better, and the gap larger")
    if run.history.is_sampled:
        told.append(f"{len(run.history.rows):,} of {run.history.n_rows:,} predictions were read, always the same ones")
    return tuple(told)
