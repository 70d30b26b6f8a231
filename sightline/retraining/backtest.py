"""The backtest: an estimator trained at past moments on what was known then, judged on everything that came after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from sightline.errors import SightlineError
from sightline.home import MonitorPaths
from sightline.retraining.estimator import FewClassesError, Trained, load_estimator
from sightline.retraining.history import History, known_by, read_history
from sightline.retraining.losses import loss, metric_of, rules_of, without_segments
from sightline.spec.model import MonitorSpec
from sightline.user_metrics.python_metrics import importable

WEEK = timedelta(days=7)
FITS_PER_MOMENT = 6
"""Of each moment: the usual history, two parts of its rows, half of it, twice of it, and all."""
MOST_MOMENTS, FEWEST_MOMENTS = 6, 3
SHARES = (0.25, 0.5)
LENGTHS = {"half": 0.5, "twice": 2.0, "all": None}
"""Other lengths of history, as multiples of the usual one."""
EVALUATED_PER_FIT = 10
"""Rows that are judged at all, as a multiple of those of one training."""
Tell = Callable[[int, int], object]
FEWEST_LABELS = 30
"""Of a shorter or longer history than the usual one; with fewer there is no training worth a comparison."""


@dataclass(frozen=True)
class Plan:
    """When is trained, and on how much.

    Attributes
    ----------
    moments : tuple of datetime
        Trainings, evenly spaced (naive UTC).
    step : timedelta
        From one to the next: each is judged on the block up to the next one.
    unit : timedelta
        Windows with an effect of their own: a week of long histories, a day of shorter ones.
    length : timedelta
        History that a usual training sees.
    start, end : datetime
        Of the labelled history.
    """

    moments: tuple[datetime, ...]
    step: timedelta
    unit: timedelta
    length: timedelta
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Backtest:
    """What was measured.

    Attributes
    ----------
    plan : Plan
    cells : DataFrame
        ``version, window, age, loss``: usual trainings on each window after them, the age in weeks.
    blocks : DataFrame
        ``moment, way, n_rows, loss``: each way of training on the block after its moment. Ways are ``usual``, shares
        of its rows (``0.25``) and other lengths (``half``, ``twice``, ``all``).
    freshest : DataFrame or None
        Labelled rows of the newest block, scored by a training at its beginning; None where there is none.
    n_freshest : int
        Rows which that training saw.
    n_known : int
        Labelled rows which one without any limit would have seen, about.
    history : History
    n_fits : int
    is_capped : bool
        Some trainings saw a sample of their rows.
    skipped : tuple of str
        Trainings that were not possible, in words.
    """

    plan: Plan
    cells: pl.DataFrame
    blocks: pl.DataFrame
    freshest: pl.DataFrame | None
    n_freshest: int
    n_known: int
    history: History
    n_fits: int
    is_capped: bool
    skipped: tuple[str, ...] = field(default=())


def backtest(
    spec: MonitorSpec, paths: MonitorPaths, *, now: datetime, tell: Tell = lambda done, total: None
) -> Backtest:
    """Train and judge over the lake of a monitor.

    Parameters
    ----------
    spec, paths
        The monitor; `retraining.estimator` names the estimator.
    now : datetime
        Decides whose labels are due.
    tell : callable
        Called with trainings done and planned.

    Raises
    ------
    SightlineError
        No estimator is named, it fails, the history is too short, or no label had come at any of the moments.
    """
    rules = rules_of(spec)
    if rules.estimator is None:
        fix = "name one: retraining: {estimator: 'module:function'}"
        raise SightlineError(f"{spec.id} names no estimator to train", where="retraining.estimator", fix=fix)
    history = read_history(spec, paths, max_rows=rules.max_rows, now=now)
    with importable(paths.home):
        return over(spec, history, load_estimator(rules.estimator), tell)


def over(
    spec: MonitorSpec, history: History, make: Callable[[], Any], tell: Tell = lambda done, total: None
) -> Backtest:
    """Train and judge over a history that was read.

    Parameters
    ----------
    spec : MonitorSpec
    history : History
    make : callable
        Returns a new estimator.
    tell : callable
        Called with trainings done and planned.

    Raises
    ------
    SightlineError
        As `backtest`.
    """
    known = history.rows.filter(pl.any_horizontal(pl.col("label_class", "label_value").is_not_null()))
    if known.is_empty():
        raise SightlineError(f"no prediction of {spec.id} has a label that is due", fix="wait until some are")
    start = spec.floor(known["predicted_at"].min()).replace(tzinfo=None)  # type: ignore[arg-type]
    plan = plan_of(spec, start, history.until)
    return _Run(without_segments(spec), history, known, plan, make, tell).done()


def plan_of(spec: MonitorSpec, start: datetime, end: datetime) -> Plan:
    """When to train, within a history.

    Raises
    ------
    SightlineError
        It is too short for three trainings.
    """
    rules, span = rules_of(spec), end - start
    unit = WEEK if span >= 10 * WEEK else timedelta(days=1) if span >= timedelta(days=10) else spec.window
    unit = max(unit, spec.window)
    most = min(MOST_MOMENTS, rules.max_fits // FITS_PER_MOMENT)
    for n in range(most, FEWEST_MOMENTS - 1, -1):
        length = rules.training_window or span // (n + 1) // unit * unit
        step = (span - length) // n // unit * unit
        if length and step >= length:  # trainings that share rows are not independent of each other
            step = step if rules.training_window else length
            first = end - n * step
            return Plan(tuple(first + k * step for k in range(n)), step, unit, length, start, end)
    wanted = f" on {rules.training_window.days} days each" if rules.training_window else ""
    raise SightlineError(
        f"the labelled history of {spec.id} spans {span.days} days: too short for {FEWEST_MOMENTS} trainings{wanted} "
        "that share no rows, with something to judge after them",
        where="retraining.training_window",
        fix="wait for more history, or name a shorter training_window",
    )


class _Run:
    """State of one backtest."""

    def __init__(
        self,
        spec: MonitorSpec,
        history: History,
        known: pl.DataFrame,
        plan: Plan,
        make: Callable[[], Any],
        tell: Tell,
    ) -> None:
        self.spec, self.history, self.plan, self.make, self.tell = spec, history, plan, make, tell
        self.rules, self.metric = rules_of(spec), metric_of(spec)
        judged = known.filter(pl.col("predicted_at").is_between(plan.moments[0], plan.end, closed="left"))
        most = EVALUATED_PER_FIT * self.rules.max_rows
        if len(judged) > most:
            judged = judged.sort("sample_order").head(most).sort("predicted_at", "prediction_id")
        self.judged = judged.with_columns(
            window=_microseconds(pl.col("predicted_at") - plan.moments[0]) // (plan.unit // timedelta(microseconds=1))
        )
        self.cells: list[tuple[str, int, float, float | None]] = []
        self.blocks: list[tuple[datetime, str, int, float | None]] = []
        self.skipped: list[str] = []
        self.n_fits, self.n_planned, self.is_capped = 0, FITS_PER_MOMENT * len(plan.moments), False
        self.freshest: pl.DataFrame | None = None
        self.n_freshest = self.n_known = 0

    def done(self) -> Backtest:
        """Train and judge at every moment."""
        for number, moment in enumerate(self.plan.moments):
            self._moment(moment)
            self.tell((number + 1) * FITS_PER_MOMENT, self.n_planned)
        if not self.cells:
            where, fix = "labels.observed_at", None
            if self.spec.labels is not None and self.spec.labels.observed_at is None:
                fix = "where history was loaded at once, name the column that says when each label was known"
            raise SightlineError(f"no training was possible: {self.skipped[0]}", where=where, fix=fix)
        schema = {"version": pl.String, "window": pl.Int64, "age": pl.Float64, "loss": pl.Float64}
        blocks = {"moment": pl.Datetime("us"), "way": pl.String, "n_rows": pl.Int64, "loss": pl.Float64}
        return Backtest(
            self.plan,
            pl.DataFrame(self.cells, schema=schema, orient="row"),
            pl.DataFrame(self.blocks, schema=blocks, orient="row"),
            self.freshest,
            self.n_freshest,
            self.n_known,
            self.history,
            self.n_fits,
            self.is_capped,
            tuple(self.skipped),
        )

    def _moment(self, moment: datetime) -> None:
        plan = self.plan
        everything = known_by(self.spec, self.history, moment, plan.start)
        usual = everything.filter(pl.col("predicted_at") >= moment - plan.length)
        if not self._are_enough(usual, plan.length, moment, self.spec.quality.min_labels):
            return
        after = self.judged.filter(pl.col("predicted_at") >= moment)
        scored = self._way(moment, "usual", usual, after)
        if scored is None:
            return
        for (window,), own in scored.group_by("window", maintain_order=True):
            age = (plan.moments[0] + (int(str(window)) + 0.5) * plan.unit - moment) / WEEK
            self.cells.append((f"{moment:%Y-%m-%d %H:%M}", int(str(window)), age, self._loss(own)))
        block = self._block(after, moment)
        if moment == plan.moments[-1]:
            self._freshest(moment, usual, block, scored)
        thinned = self._sample(usual)
        for share in SHARES:
            self._way(moment, f"{share:g}", thinned.head(round(share * len(thinned))), block)
        for name, times in LENGTHS.items():
            since = plan.start if times is None else moment - times * plan.length
            if since < plan.start or (times is None and moment - since <= plan.length + plan.unit):
                continue  # there is not as much history yet, or all is what is usual
            rows = everything.filter(pl.col("predicted_at") >= since)
            if self._are_enough(rows, moment - since, moment, FEWEST_LABELS):
                self._way(moment, name, rows, block)

    def _are_enough(self, rows: pl.DataFrame, length: timedelta, moment: datetime, needed: int) -> bool:
        """Whether the labels that were known suffice; late ones leave a short history without any."""
        if len(rows) < needed:
            days = f"{length / timedelta(days=1):.0f}"
            self.skipped.append(
                f"of the {days} days before {moment:%Y-%m-%d} {len(rows)} labels were known then, {needed} are needed"
            )
        return len(rows) >= needed

    def _freshest(self, moment: datetime, usual: pl.DataFrame, block: pl.DataFrame, scored: pl.DataFrame) -> None:
        """The newest training, on ten times the rows where there are more: what a limit costs is no age."""
        self.n_known = round(len(usual) * self.history.n_rows / len(self.history.rows))
        self.n_freshest, self.freshest = min(len(usual), self.rules.max_rows), self._block(scored, moment)
        if len(usual) > self.rules.max_rows and len(block):
            rows = usual.sort("sample_order").head(EVALUATED_PER_FIT * self.rules.max_rows)
            when = f"training of {moment:%Y-%m-%d} (fresh)"
            trained = Trained(self.spec, self.make, rows.sort("predicted_at", "prediction_id"), when)
            self.n_fits += 1
            self.n_freshest, self.freshest = len(rows), trained.scored(block)

    def _block(self, rows: pl.DataFrame, moment: datetime) -> pl.DataFrame:
        return rows.filter(pl.col("predicted_at") < moment + self.plan.step)

    def _way(self, moment: datetime, way: str, rows: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame | None:
        """Train one way, note its loss on the block after the moment, and return all judged rows with its outputs."""
        sample = self._sample(rows)
        when = f"training of {moment:%Y-%m-%d} ({way})"
        try:
            trained = Trained(self.spec, self.make, sample.sort("predicted_at", "prediction_id"), when)
        except FewClassesError:
            self.skipped.append(f"all {len(sample)} labels of the {when} were of one class")
            return None
        self.n_fits += 1
        scored = trained.scored(judged) if len(judged) else None
        if scored is not None:
            self.blocks.append((moment, way, len(sample), self._loss(self._block(scored, moment))))
        return scored

    def _sample(self, rows: pl.DataFrame) -> pl.DataFrame:
        """At most as many rows as are allowed, in an order that does not depend on time."""
        self.is_capped |= len(rows) > self.rules.max_rows
        return rows.sort("sample_order").head(self.rules.max_rows)

    def _loss(self, rows: pl.DataFrame) -> float | None:
        return loss(self.spec, rows, self.metric, self.spec.quality.min_labels)


def _microseconds(length: pl.Expr) -> pl.Expr:
    return length.dt.total_microseconds()


def losses_of(blocks: pl.DataFrame, ways: Sequence[str]) -> pl.DataFrame:
    """One row per moment at which all of some ways were judged, one column per way, and ``n_<way>``."""
    wide = blocks.filter(pl.col("way").is_in(ways)).pivot("way", index="moment", values=["loss", "n_rows"])
    names = [f"{value}_{way}" for value in ("loss", "n_rows") for way in ways]
    if not set(names) <= set(wide.columns):
        return pl.DataFrame(schema={"moment": pl.Datetime("us"), **dict.fromkeys(names, pl.Float64)})
    return wide.select("moment", *names).drop_nulls().sort("moment")
