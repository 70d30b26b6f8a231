"""Windows whose labels are still coming: the delay law of a monitor, and which windows wait for labels.

What is made of it: `sightline.judging.corrected_quality`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.quality.completed import MATURE_SHARE
from metrics_py.quality.delay_law import DelayLaw, fit, watched
from metrics_py.wording import percent
from sightline.judging import revisions, silence
from sightline.judging.marts import has_mart
from sightline.judging.missing_labels import LabelShares, label_shares
from sightline.results.learnt_delays import LearntDelays, learnt_from
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import production_sql
from sightline.spec.windows import matures_at
from sightline.warehouse.settings import negative_class

LEARNT_FROM = 180
"""Windows that the law is learnt from; twice `labels.give_up_after` where that is longer.

Where it is left open, and labels still come at the end of what so many windows show, so many more.
"""

LONGEST_LEARNT = 4 * LEARNT_FROM
STILL_COME = 0.01
"""Share of the latest labels that are of older windows than the law is learnt from, from which on more is to come."""

SILENCES_OF = timedelta(days=60)
"""How long back silences are looked at, at least: hours of a week know no weekend."""

LONG_TIME = 0.9

POSITIVE, NEGATIVE = "positive", "negative"
NOT_CORRECTED = "not corrected for the labels that are missing"
"""What is said of metrics whose sums are not kept by what the delay depends on."""

STILL_COMING = f"labels are still coming: {NOT_CORRECTED}"
LAGS = 0.05
"""A class is named whose share of labels that are in is so much less than that of all."""

HOUR = 3600


@dataclass(frozen=True)
class Delays:
    """What is known of the labels that are still coming.

    Parameters
    ----------
    law : DelayLaw or None
        None without labels, and while nothing is known.
    until : datetime
        Up to when labels are known.
    shares : LabelShares or None
        Which windows have fewer labels than is usual; None while nothing is known.
    """

    law: DelayLaw | None
    until: datetime
    shares: LabelShares | None = None
    silence: timedelta = timedelta(0)
    """In which, or in shorter ones, nine tenths of the time between two hours with new labels pass."""

    revised: revisions.Revisions | None = None
    """How labels change after they were set; None where hardly any does."""

    def lacking(self) -> list[datetime]:
        """Windows (naive UTC) with fewer labels than is usual for their age."""
        return self.shares.lacking() if self.shares is not None else []

    def learnt(self, window: timedelta) -> LearntDelays | None:
        """What a monitor's file may leave open, from the law of a spec that does not say it."""
        return None if self.law is None else learnt_from(self.law, self.silence, window)

    def to_change(self, spec: MonitorSpec, start: datetime) -> tuple[bool, bool]:
        """Whether labels of the window that begins at `start` may still change, and whether too many."""
        if self.revised is None:
            return False, False
        age = (self.until - start) / spec.window
        return age < self.revised.settled_after, age < self.revised.told_after

    def slowest(self, spec: MonitorSpec, start: datetime) -> float:
        """Share of the labels of every kind of row that is in, of the window that begins at `start`."""
        assert self.law is not None
        age = (self.until - start) / spec.window
        return 1.0 if age >= age_given_up(spec) else self.law.slowest(age)

    def hides_a_tail(self, spec: MonitorSpec, start: datetime) -> bool:
        """Whether nobody can tell how late the last labels of the window that begins at `start` come."""
        assert self.law is not None
        return self.law.hides((self.until - start) / spec.window)


def delays(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, now: datetime) -> Delays:
    """How the labels of a monitor arrive, learnt from its latest windows.

    Parameters
    ----------
    spec : MonitorSpec
    con : duckdb.DuckDBPyConnection
        The monitor's warehouse; one that no run of this release has worked on tells nothing.
    now : datetime
        Moment of the judgement.
    """
    nothing = Delays(None, silence.NEVER if spec.is_silence_negative else now)
    if spec.labels is None or not has_mart(con, "label_arrivals"):
        return nothing
    newest = con.sql("select max(window_start) as newest from marts.label_arrivals").pl()["newest"][0]
    if newest is None:
        return nothing
    reach = n_learnt_from(spec)
    known = _learn(spec, con, now, newest, reach)
    while _is_open(spec) and known.law is not None and known.law.hides_a_tail and reach < LONGEST_LEARNT:
        if known.law.known_to < reach - 1:
            break  # there are no older windows
        reach *= 2
        known = _learn(spec, con, now, newest, reach)
    return known


def _is_open(spec: MonitorSpec) -> bool:
    return spec.labels is not None and spec.labels.give_up_after is None


def _learn(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, now: datetime, newest: datetime, reach: int) -> Delays:
    """What the latest `reach` windows tell."""
    since = min(now.replace(tzinfo=None), newest) - reach * spec.window
    arrivals = con.sql(
        "select window_start, label_class, score_group, delay_bin, sum(n)::bigint as n from marts.label_arrivals "  # noqa: S608 (quoted)
        f"where segment = 'all' and window_start >= ? and {production_sql(spec)} group by all",
        params=[since],
    ).pl()
    counts = con.sql(
        "select window_start, sum(n_predictions)::bigint as n_predictions, sum(n_labelled)::bigint as n_labelled "  # noqa: S608 (quoted)
        "from marts.label_counts "
        f"where segment = 'all' and window_start >= ? and {production_sql(spec)} group by all",
        params=[since],
    ).pl()
    until, pause = _known_until(spec, con, since, now)
    ages = with_age(spec, counts, until)
    waited = by_outcome(spec, arrivals)
    waited = waited.filter(label_class=POSITIVE) if spec.is_silence_negative else waited
    law = fit(waited, ages.select("window_start", "age"), longest=age_given_up(spec))
    revised = revisions.learn(spec, con, since, until, waited, ages)
    law = law if revised is None else replace(law, settled_after=revised.settled_after)
    if _is_open(spec) and _older(spec, con, arrivals, since, until) >= STILL_COME:
        law = replace(law, more_comes=True)
    if spec.is_silence_negative:
        return Delays(law if silence.usable(law, pause) else None, until, silence.not_compared(ages), pause, revised)
    known = law if law.n_cells else None
    return Delays(known, until, label_shares(ages, known, age_given_up(spec)), pause, revised)


def _older(
    spec: MonitorSpec, con: duckdb.DuckDBPyConnection, arrivals: pl.DataFrame, since: datetime, until: datetime
) -> float:
    """Share of the labels that came since a moment that belong to windows before it; a loaded history tells nothing."""
    old = con.sql(
        "select window_start, delay_bin, sum(n)::bigint as n from marts.label_arrivals "  # noqa: S608 (quoted)
        f"where segment = 'all' and {production_sql(spec)} and "
        "window_start < $since and window_start + to_microseconds(cast("  # delays as in `delay_start`
        "case when delay_bin < 16 then delay_bin / 4.0 else delay_bin - 12 end * $unit as bigint)) >= $since "
        "group by all",
        params={"since": since, "unit": spec.window // timedelta(microseconds=1)},
    ).pl()
    if old.is_empty():
        return 0.0
    rows = pl.concat([old, arrivals.select(old.columns)], how="vertical_relaxed")
    live = watched(with_age(spec, rows, until))
    earlier, of_all = (int(part["n"].sum()) for part in (live.filter(pl.col("window_start") < since), live))
    return earlier / max(of_all, 1)


def n_learnt_from(spec: MonitorSpec) -> int:
    """How many of the latest windows the law is learnt from."""
    wait = (spec.labels.give_up_after if spec.labels is not None else None) or timedelta(0)
    return max(LEARNT_FROM, 2 * math.ceil(wait / spec.window))


def _known_until(
    spec: MonitorSpec, con: duckdb.DuckDBPyConnection, since: datetime, now: datetime
) -> tuple[datetime, timedelta]:
    """Up to when labels are known: `now`, or when the latest one was observed if that is unusually long ago.

    And how long a silence is usual.

    So nights and weekends are waited through, and labels that come in batches, or have ceased to come, are not taken
    for all there are. Unusual is a silence longer than those in which nine tenths of the time pass. Where silence is an
    answer it must have been observed: of labels that came at once, or come in batches, nothing after the latest is.
    A label that says it was known before its window began (a slip such as 1970), or after `now`, was not: it counts as
    known when its window began, and not at all.
    """
    earliest, at = min(since, now.replace(tzinfo=None) - SILENCES_OF), now.replace(tzinfo=None)
    labels = "(select greatest(observed_at, window_start) as came, window_start from raw.labels where observed_at <= ?)"
    hours = con.sql(
        f"select distinct date_trunc('hour', came) as hour from {labels} where window_start >= ? order by hour",  # noqa: S608
        params=[at, earliest],
    ).pl()["hour"]
    if hours.is_empty():
        return now, timedelta(0)
    latest = con.sql(f"select max(came) as latest from {labels} where window_start >= ?", params=[at, since])  # noqa: S608
    seen = min(now, (latest.pl()["latest"][0] or at).replace(tzinfo=UTC))
    silences = hours.diff().drop_nulls().dt.total_seconds()
    usual = timedelta(seconds=_usual_silence(silences.to_numpy()))
    if spec.is_silence_negative and (silences.is_empty() or usual >= silence.SEASON):
        return seen, usual
    is_usual = silences.is_empty() or now - seen <= usual + timedelta(seconds=HOUR)
    return now if is_usual else seen, usual


def _usual_silence(seconds: NDArray[np.int64]) -> float:
    """The silence in which, or in shorter ones, nine tenths of the time pass: weekends count, one outage does not."""
    if not len(seconds):
        return 0.0
    ordered = np.sort(seconds)
    passed = np.cumsum(ordered) / ordered.sum()
    return float(ordered[np.searchsorted(passed, LONG_TIME)])


def immature(spec: MonitorSpec, keys: Sequence[str], now: datetime, known: Delays) -> list[datetime]:
    """Windows (naive UTC) with labels of some kind of row still to come.

    Without a law those that are not due, or have fewer labels than older ones; where silence is negative all that are
    not given up.
    """
    if spec.labels is None:
        return []
    if known.law is None and not spec.is_silence_negative:
        lacking = set(known.lacking())
        late = [
            key for key in keys if now < matures_at(spec, key) or spec.window_start(key).replace(tzinfo=None) in lacking
        ]
    else:
        late = [key for key in keys if still_waits(spec, known, key, MATURE_SHARE)]
    return [spec.window_start(key).replace(tzinfo=None) for key in late]


def only_told(
    judged: pl.DataFrame, windows: Sequence[datetime], reason: str | Mapping[datetime, str] = STILL_COMING
) -> pl.DataFrame:
    """Say of what depends on all labels, and is not corrected, that it is provisional in these windows.

    Parameters
    ----------
    judged : DataFrame
        Judgements.
    windows : sequence of datetime
        Windows (naive UTC).
    reason : str or mapping of datetime to str
        Why; by window, where it says more than `STILL_COMING`.
    """
    waits = pl.col("window_start").is_in(list(windows)) & pl.col("status").is_in(["ok", "warn"])
    why = pl.lit(STILL_COMING if not isinstance(reason, str) else reason)
    if not isinstance(reason, str) and reason:
        why = pl.col("window_start").replace_strict(dict(reason), default=why, return_dtype=pl.String)
    told = {"status": pl.lit("provisional"), "reason": why, "reason_code": pl.lit("provisional")}
    return judged.with_columns(**{name: pl.when(waits).then(text).otherwise(name) for name, text in told.items()})


def still_coming(spec: MonitorSpec, known: Delays, windows: Sequence[datetime]) -> dict[datetime, str]:
    """What is in of the labels of windows (naive UTC) that wait for some, in words; none that lack labels besides."""
    if known.law is None:
        return {}
    lacking = set(known.lacking())
    what = "positives" if spec.is_silence_negative else "labels"
    found: dict[datetime, str] = {}
    for window in (start for start in windows if start not in lacking):
        age = (known.until - window.replace(tzinfo=UTC)) / spec.window
        shares = known.law.share_in(age), lagging(spec, known.law, age)
        in_words = f"{percent(shares[0])} of the {what} that are expected are in{shares[1]}"
        found[window] = f"labels are still coming, {in_words}: {NOT_CORRECTED}"
    return found


def lagging(spec: MonitorSpec, law: DelayLaw, age: float) -> str:
    """``" (19 % of class 1)"`` where one class lags behind the others at an age; else empty."""
    by_class = law.share_in_of_classes(age)
    slowest = min(by_class, key=lambda name: by_class[name], default="")
    if not by_class or law.share_in(age) - by_class[slowest] < LAGS:
        return ""
    return f" ({percent(by_class[slowest])} of class {class_name(spec, slowest)})"


def class_name(spec: MonitorSpec, outcome: str) -> str:
    """The class of an outcome that the delay depends on, as users call it."""
    if spec.model.task != "binary_classification":
        return outcome
    return {POSITIVE: spec.positive_class, NEGATIVE: negative_class(spec)}[outcome]


def still_waits(spec: MonitorSpec, known: Delays, key: str, share: float) -> bool:
    """Whether labels of some kind of row, up to this share, are still to come, or to change."""
    start = spec.window_start(key)
    is_waited_for = (known.until - start) / spec.window < age_given_up(spec)
    is_coming = known.law is None or known.hides_a_tail(spec, start) or known.slowest(spec, start) < share
    return (is_waited_for and is_coming) or known.to_change(spec, start)[0]


def age_given_up(spec: MonitorSpec) -> float:
    """Delay, in windows from the start of one, after which its labels are not waited for; infinite where it is open."""
    limit = spec.labels.give_up_after if spec.labels is not None else None
    return math.inf if limit is None else limit / spec.window + 1


def with_age(spec: MonitorSpec, windows: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Rows with ``age``: windows from the start of theirs until a moment."""
    at = pl.lit(now.replace(tzinfo=None), dtype=pl.Datetime("us"))
    unit = spec.window / timedelta(microseconds=1)
    age = (at - pl.col("window_start").cast(pl.Datetime("us"))).dt.total_microseconds() / unit
    return windows.with_columns(age=age.clip(0))


def by_outcome(spec: MonitorSpec, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows by the outcome that the delay depends on: of two classes, whether it is the positive one."""
    if spec.model.task != "binary_classification":
        return rows
    outcome = pl.when(pl.col("label_class") == spec.positive_class).then(pl.lit(POSITIVE)).otherwise(pl.lit(NEGATIVE))
    return rows.with_columns(label_class=outcome)
