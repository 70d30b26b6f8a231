"""Labels that change after they were set, or are taken back: how many, and until when, learnt from older windows.

A fraud is charged back after weeks in which its label said 0; a report turns out to be wrong. The delay law
(`metrics_py.quality.delay_law`) counts a label from when it was first known, and takes for final what will change. So
the last change of each label is counted like an arrival, for the class that it left and for the one that it came to:
the share of these changes that has come by an age tells how many of a window's labels still will.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.quality.delay_law import FEWEST_OF_CLASS, DelayLaw, delay_bin, delay_start, fit
from metrics_py.wording import percent
from sightline.spec.durations import format_duration
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import production_sql
from sightline.warehouse.current_labels import ORDER

POSITIVE, NEGATIVE = "positive", "negative"
UNSETTLED = 0.01
"""Share of the labels of a class that may still change in a window that is mature."""

UNTOLD = 0.05
"""Share from which on a window has no value: as it may lack so many labels of a kind at most, and be called mature."""

SMALLEST = 1e-3
"""Standard deviations of a numeric label by which a change counts as one."""

CHANGES = f"""
with repeated as (
    select window_start, prediction_id from raw.labels where window_start >= $since and observed_at <= $until
    group by window_start, prediction_id having count(*) > 1
), steps as (
    select window_start, prediction_id, greatest(observed_at, window_start) as came, {ORDER} as place,
        case when not coalesce(is_retracted, false) then coalesce(label_class, '') end as said,
        case when label_class is null then label_value end as number
    from raw.labels semi join repeated using (window_start, prediction_id) where observed_at <= $until
), pairs as (
    select *, row_number() over revisions as nth, lag(said) over revisions as before, lag(number) over revisions as was
    from steps window revisions as (partition by window_start, prediction_id order by place)
)
select window_start, before, said, came from pairs
where nth > 1 and (said is distinct from before or abs(number - was) > $smallest)
qualify row_number() over (partition by window_start, prediction_id order by place desc) = 1
"""  # noqa: S608 (constants)
"""The last change of each label, a retraction among them."""


@dataclass(frozen=True)
class Revisions:
    """Until when labels change.

    Parameters
    ----------
    told_after, settled_after : float
        Age of a window, in windows, from which on at most `UNTOLD`, and at most `UNSETTLED`, of the labels of each
        class are still to change; infinite while that is not known yet.
    words : str
        What is said of it.
    """

    told_after: float
    settled_after: float
    words: str


def learn(
    spec: MonitorSpec,
    con: duckdb.DuckDBPyConnection,
    since: datetime,
    until: datetime,
    arrivals: pl.DataFrame,
    ages: pl.DataFrame,
) -> Revisions | None:
    """Learn from the windows since a moment how their labels were revised.

    Parameters
    ----------
    spec : MonitorSpec
    con : duckdb.DuckDBPyConnection
        The monitor's warehouse.
    since, until : datetime
        First window (naive UTC), and up to when labels are known.
    arrivals : DataFrame
        ``window_start, label_class, n``: labels as they are now, of the classes that matter.
    ages : DataFrame
        ``window_start, age``: windows since each began.

    Returns
    -------
    Revisions or None
        None where hardly any label was ever revised.

    Notes
    -----
    Of the n labels that a class of a window ever had, r F(a) have changed by age a, and r (1 - F(a)) still will: F by
    the reverse hazards of changes (`metrics_py.quality.delay_law.fit`), r = changes / sum(n F) over all windows (Cape
    Cod). Assumed: labels are revised as they were, and each change but the last of a label counts for nothing.
    """
    [(n_changed,)] = con.sql(
        "select coalesce(sum(n_revised + n_retracted), 0)::bigint from marts.label_counts "  # noqa: S608 (quoted)
        f"where segment = 'all' and window_start >= ? and {production_sql(spec)}",
        params=[since],
    ).fetchall()
    if n_changed < FEWEST_OF_CLASS:
        return None
    changes = _changes(spec, con, since, until)
    if len(changes) < FEWEST_OF_CLASS:
        return None
    named = set(arrivals["label_class"].unique()) | {POSITIVE}
    sides = [
        changes.select("window_start", "delay_bin", label_class=name, side=pl.lit(name)) for name in ("left", "now")
    ]
    moved = pl.concat(sides).filter(pl.col("label_class").is_in(list(named)))
    left = moved.filter(side="left").group_by("window_start", "label_class").agg(n=pl.len().cast(pl.Int64))
    held = pl.concat([arrivals.select("window_start", "label_class", "n"), left], how="vertical_relaxed")
    held = held.group_by("window_start", "label_class").agg(pl.col("n").sum()).join(ages, on="window_start")
    kind = pl.concat_str("side", pl.lit(":"), "label_class")
    counted = moved.group_by("window_start", "delay_bin", label_class=kind).agg(n=pl.len().cast(pl.Int64))
    law = fit(counted.with_columns(score_group=pl.lit(0, pl.Int32)), ages.select("window_start", "age"))
    to_come = _to_come(law, held)
    if not len(to_come) or to_come.max(initial=0.0) <= UNSETTLED:
        return None
    told, settled = (_age(law.starts, to_come, share) for share in (UNTOLD, UNSETTLED))
    return Revisions(told, settled, _words(spec, changes, held, settled))


def _changes(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, since: datetime, until: datetime) -> pl.DataFrame:
    """``window_start, left, now, delay_bin`` of the last change of each label; a class is null where there is none."""
    [(spread,)] = con.sql(
        "select stddev_pop(label_value) from raw.labels where window_start >= ? and isfinite(label_value)",
        params=[since],
    ).fetchall()
    found = con.sql(
        CHANGES, params={"since": since, "until": until.replace(tzinfo=None), "smallest": SMALLEST * (spread or 0.0)}
    ).pl()
    is_binary = spec.model.task == "binary_classification"
    classes = {
        name: _outcome(spec, pl.col(of)) if is_binary else pl.col(of)
        for name, of in (("left", "before"), ("now", "said"))
    }
    delay = (pl.col("came") - pl.col("window_start")).dt.total_microseconds() / (
        spec.window / timedelta(microseconds=1)
    )
    changes = found.with_columns(**classes, delay=delay).with_columns(delay_bin=delay_bin(pl.col("delay")))
    is_same = pl.lit(is_binary) & (pl.col("left") == pl.col("now")).fill_null(value=False)
    return changes.filter(~is_same).select("window_start", "left", "now", "delay", "delay_bin")


def _outcome(spec: MonitorSpec, label: pl.Expr) -> pl.Expr:
    return pl.when(label == spec.positive_class).then(pl.lit(POSITIVE)).when(label.is_not_null()).then(pl.lit(NEGATIVE))


def _to_come(law: DelayLaw, held: pl.DataFrame) -> NDArray[np.float64]:
    """Share of the labels of the class that changes most that is still to change, by age, shape (bins,)."""
    most: NDArray[np.float64] = np.zeros(len(law.starts))
    for cell, kind in law.cells.select("cell", "label_class").unique().iter_rows():
        if not law.decides[cell]:
            continue
        own = held.filter(label_class=kind.partition(":")[2])
        come = np.array([law.completion(float(age))[0][cell] for age in own["age"]])
        ever = float((own["n"].to_numpy() * come).sum())
        rate = min(law.mass[cell] * law.n_labels / ever, 1.0) if ever else 1.0
        left = np.ones(len(law.starts)) if np.isinf(law.hidden_up_to) else 1 - law.curve[cell]
        most = np.maximum(most, rate * left)
    return most


def _age(starts: NDArray[np.float64], to_come: NDArray[np.float64], share: float) -> float:
    below = np.flatnonzero(to_come <= share)
    return float(starts[below[0]]) if len(below) else np.inf


def _words(spec: MonitorSpec, changes: pl.DataFrame, held: pl.DataFrame, settled: float) -> str:
    """How many labels of windows that are settled changed (of all where none is), and after how long."""
    old = held.filter(pl.col("age") >= settled)
    old = held if old.is_empty() else old
    of_old = changes.join(old.select("window_start").unique(), on="window_start", how="semi")
    share = percent(min(len(of_old) / max(int(old["n"].sum()), 1), 1.0))
    last = float(delay_start(of_old["delay_bin"].to_numpy().astype(np.int64)).max(initial=0.0))
    after = format_duration(max(round(last), 1) * spec.window)
    return f"labels are revised or taken back: {share} of those of older windows were, the last {after} after"
