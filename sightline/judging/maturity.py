"""Windows whose labels are still coming: the delay law of a monitor, corrected quality, and how mature a number is.

A number is *mature* when nearly all labels of every kind of row are in; until then it is *provisional*: corrected for
which labels come first, with an interval that knows what is missing, and the naive value beside it. Where too few
labels of some kind are in, or nobody knows yet how late labels come, there is no number, and the reason says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.quality.completed import IDENTIFIABLE_SHARE, MATURE_SHARE, Evaluate, Tables, complete, weigh
from metrics_py.quality.delay_law import DelayLaw, fit, watched
from metrics_py.quality.silence import FEWEST_REPORTED, weigh_reported
from metrics_py.quality.table import NO_INTERVAL, quality_table
from metrics_py.wording import percent
from sightline.judging import revisions, silence
from sightline.judging.frames import BY
from sightline.judging.marts import has_mart, read_mart, with_all_versions
from sightline.judging.missing_labels import LabelShares, label_shares
from sightline.results.learnt_delays import LearntDelays, learnt_from
from sightline.spec.model import MonitorSpec
from sightline.spec.windows import matures_at
from sightline.warehouse.settings import negative_class

LEARNT_FROM = 180
"""Windows that the law is learnt from; twice `labels.give_up_after` where that is longer.

Where it is left open, and labels still come at the end of what so many windows show, so many more.
"""

LONGEST_LEARNT = 4 * LEARNT_FROM
STILL_COME = 0.01
"""Share of the latest labels that are of older windows than the law is learnt from, from which on more is to come."""

SETTLED = 0.01
"""Half-width of what is still to come up to which a mature number is settled, or a third of its own interval's."""

SILENCES_OF = timedelta(days=60)
"""How long back silences are looked at, at least: hours of a week know no weekend."""

LONG_TIME = 0.9

ALL_IN = 0.999
"""Share of the labels of every kind of row from which on nothing is corrected."""

NAIVE = "naive_value"
POSITIVE, NEGATIVE = "positive", "negative"
NO_LAW = "the labels are not due yet, and how they come is not known yet: not corrected"
OF_LABELS = ("r2",)
"""Metrics that depend on how much the labels vary, too: delays are known by the size of the error alone."""

NOT_CORRECTED = "not corrected for the labels that are missing"
"""What is said of metrics whose sums are not kept by what the delay depends on."""

LACKING = "fewer than is usual by now, and which are missing is not known: there is no interval"
WILL_CHANGE = "some of these labels will be: there is no interval"
UNTOLD = "so many of these labels still will be that they say nothing yet"
STILL_COMING = f"labels are still coming: {NOT_CORRECTED}"
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
        return 1.0 if age >= _give_up(spec) else self.law.slowest(age)


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
        "select window_start, label_class, score_group, delay_bin, sum(n)::bigint as n from marts.label_arrivals "
        "where segment = 'all' and window_start >= ? group by all",
        params=[since],
    ).pl()
    counts = con.sql(
        "select window_start, sum(n_predictions)::bigint as n_predictions, sum(n_labelled)::bigint as n_labelled "
        "from marts.label_counts where segment = 'all' and window_start >= ? group by all",
        params=[since],
    ).pl()
    until, pause = _known_until(spec, con, since, now)
    ages = _with_age(spec, counts, until)
    waited = _by_outcome(spec, arrivals)
    waited = waited.filter(label_class=POSITIVE) if spec.is_silence_negative else waited
    law = fit(waited, ages.select("window_start", "age"), longest=_give_up(spec))
    revised = revisions.learn(spec, con, since, until, waited, ages)
    law = law if revised is None else replace(law, settled_after=revised.settled_after)
    if _is_open(spec) and _older(spec, con, arrivals, since, until) >= STILL_COME:
        law = replace(law, more_comes=True)
    if spec.is_silence_negative:
        return Delays(law if silence.usable(law, pause) else None, until, silence.not_compared(ages), pause, revised)
    known = law if law.n_cells else None
    return Delays(known, until, label_shares(ages, known, _give_up(spec)), pause, revised)


def _older(
    spec: MonitorSpec, con: duckdb.DuckDBPyConnection, arrivals: pl.DataFrame, since: datetime, until: datetime
) -> float:
    """Share of the labels that came since a moment that belong to windows before it; a loaded history tells nothing."""
    old = con.sql(
        "select window_start, delay_bin, sum(n)::bigint as n from marts.label_arrivals where segment = 'all' and "
        "window_start < $since and window_start + to_microseconds(cast("  # delays as in `delay_start`
        "case when delay_bin < 16 then delay_bin / 4.0 else delay_bin - 12 end * $unit as bigint)) >= $since "
        "group by all",
        params={"since": since, "unit": spec.window // timedelta(microseconds=1)},
    ).pl()
    if old.is_empty():
        return 0.0
    rows = pl.concat([old, arrivals.select(old.columns)], how="vertical_relaxed")
    live = watched(_with_age(spec, rows, until))
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
        late = [key for key in keys if _is_young(spec, known, key, MATURE_SHARE)]
    return [spec.window_start(key).replace(tzinfo=None) for key in late]


def only_told(judged: pl.DataFrame, windows: Sequence[datetime], reason: str = STILL_COMING) -> pl.DataFrame:
    """Say of what depends on all labels, and is not corrected, that it is provisional in these windows."""
    waits = pl.col("window_start").is_in(list(windows)) & pl.col("status").is_in(["ok", "warn"])
    told = {"status": "provisional", "reason": reason, "reason_code": "provisional"}
    return judged.with_columns(
        **{name: pl.when(waits).then(pl.lit(text)).otherwise(name) for name, text in told.items()}
    )


def corrected(
    spec: MonitorSpec,
    con: duckdb.DuckDBPyConnection,
    keys: Sequence[str],
    now: datetime,
    naive: pl.DataFrame,
    known: Delays,
    parts: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Quality of some windows as all their labels will tell it.

    Parameters
    ----------
    spec : MonitorSpec
    con : duckdb.DuckDBPyConnection
        The monitor's warehouse.
    keys : sequence of str
        Window keys.
    now : datetime
        Moment of the judgement.
    naive : DataFrame
        Result of `quality_table` and rows like its own, from the labels that are there.
    known : Delays
        Result of `delays`.
    parts : DataFrame, optional
        ``window_start, part``: the start of every window that those of `keys` are sums of, itself among them. Each is
        completed by its own age; the sum is as mature as its youngest part. Default: each window is its own.

    Returns
    -------
    DataFrame
        `naive` with ``naive_value`` and ``maturity`` (labels in, of those expected; both null where nothing is
        missing), and with the corrected value, interval and status where labels are missing; ``is_biased`` marks what
        could not be corrected.
    """
    nothing = pl.lit(None, dtype=pl.Float64)
    plain = naive.with_columns(nothing.alias(NAIVE), maturity=nothing, is_biased=pl.lit(False))
    if known.law is None and spec.is_silence_negative:
        return silence.withheld(plain, immature(spec, keys, now, known), known.until, known.silence, NAIVE)
    if known.law is None:
        return only_told(plain, immature(spec, keys, now, known), NO_LAW)
    young = _young_parts(spec, known, keys, parts)
    if young.is_empty() or not has_mart(con, "quality_cells"):
        return plain
    starts = young["part"].unique().sort()
    rows = _joint_rows(spec, con, [spec.key(start) for start in starts])
    if rows.is_empty():
        return plain
    over = rows.rename({"window_start": "part"}).join(young.rename({"window_start": "over"}), on="part")
    ages = _with_age(spec, pl.DataFrame({"window_start": starts}), known.until)
    by = ["over", *(name for name in BY if name != "window_start"), "kind"]
    over = over.rename({"part": "window_start"})
    if spec.is_silence_negative:
        weighed = weigh_reported(over, known.law, ages, by, POSITIVE, negative_class(spec))
    else:
        weighed = weigh(over, known.law, ages, by)
    weighed = weighed.drop("window_start").rename({"over": "window_start"})
    whole = pl.col("segment") == "all"
    found = complete(weighed, _tables, _evaluate(spec), known.law, BY, whole, "window_start")
    states = found.states.join(_states_of_parts(spec, con, known, young), on="window_start")
    return _joined(spec, known, plain, found.table, states)


def _young_parts(spec: MonitorSpec, known: Delays, keys: Sequence[str], parts: pl.DataFrame | None) -> pl.DataFrame:
    """``window_start, part`` of the windows of which some part has labels to come, or lacks some."""
    own = [spec.window_start(key).replace(tzinfo=None) for key in keys]
    schema = {"window_start": pl.Datetime("us"), "part": pl.Datetime("us")}
    parts = pl.DataFrame({"window_start": own, "part": own}, schema=schema) if parts is None else parts
    lacking = set(known.lacking())
    known_parts = parts.select("part").unique()
    is_young = [start in lacking or _is_young(spec, known, spec.key(start), ALL_IN) for start in known_parts["part"]]
    young = known_parts.filter(pl.Series(is_young, dtype=pl.Boolean))
    return parts.join(parts.join(young, on="part").select("window_start").unique(), on="window_start")


def _states_of_parts(
    spec: MonitorSpec, con: duckdb.DuckDBPyConnection, known: Delays, parts: pl.DataFrame
) -> pl.DataFrame:
    """``window_start, slowest, share, expected``: of the youngest part; ``lacking, unsettled, untold``: of any part."""
    assert known.shares is not None
    starts = parts["part"].unique().sort()
    slowest = [known.slowest(spec, start.replace(tzinfo=UTC)) for start in starts]
    change = [known.to_change(spec, start.replace(tzinfo=UTC)) for start in starts]
    of_law = {"slowest": slowest, **{name: [c[i] for c in change] for i, name in enumerate(("unsettled", "untold"))}}
    counts = read_mart(con, "label_counts", [spec.key(start) for start in starts]).filter(pl.col("segment") == "all")
    n = counts.group_by(part="window_start").agg(n=pl.col("n_predictions").sum().cast(pl.Float64))
    joined = (
        parts.join(pl.DataFrame({"part": starts, **of_law}), on="part")
        .join(known.shares.windows.rename({"window_start": "part"}), on="part", how="left")
        .join(n, on="part", how="left")
    )
    mean = {name: (pl.col(name) * pl.col("n")).sum() / pl.col("n").sum() for name in ("share", "expected")}
    any_part = pl.col("lacking", "unsettled", "untold").any()
    return joined.group_by("window_start").agg(pl.col("slowest").min(), any_part, **mean)


def _is_young(spec: MonitorSpec, known: Delays, key: str, share: float) -> bool:
    """Whether labels of some kind of row, up to this share, are still to come, or to change."""
    start = spec.window_start(key)
    is_waited_for = (known.until - start) / spec.window < _give_up(spec)
    is_coming = known.law is None or known.law.hides_a_tail or known.slowest(spec, start) < share
    return (is_waited_for and is_coming) or known.to_change(spec, start)[0]


def _give_up(spec: MonitorSpec) -> float:
    """Delay, in windows from the start of one, after which its labels are not waited for; infinite where it is open."""
    limit = spec.labels.give_up_after if spec.labels is not None else None
    return math.inf if limit is None else limit / spec.window + 1


def _with_age(spec: MonitorSpec, windows: pl.DataFrame, now: datetime) -> pl.DataFrame:
    at = pl.lit(now.replace(tzinfo=None), dtype=pl.Datetime("us"))
    unit = spec.window / timedelta(microseconds=1)
    age = (at - pl.col("window_start").cast(pl.Datetime("us"))).dt.total_microseconds() / unit
    return windows.with_columns(age=age.clip(0))


def _by_outcome(spec: MonitorSpec, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows by the outcome that the delay depends on: of two classes, whether it is the positive one."""
    if spec.model.task != "binary_classification":
        return rows
    outcome = pl.when(pl.col("label_class") == spec.positive_class).then(pl.lit(POSITIVE)).otherwise(pl.lit(NEGATIVE))
    return rows.with_columns(label_class=outcome)


def _joint_rows(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> pl.DataFrame:
    """Rows of `quality_cells`, and for two classes those of `score_label_bins` with what their delay depends on."""
    cells = with_all_versions(spec, read_mart(con, "quality_cells", keys))
    cells = cells.with_columns(actual_class=pl.col("label_class"), kind=pl.lit("cells"))
    if spec.model.task != "binary_classification":
        return cells
    bins = with_all_versions(spec, read_mart(con, "score_label_bins", keys))
    outcome = pl.when("is_positive").then(pl.lit(POSITIVE)).otherwise(pl.lit(NEGATIVE))
    bins = bins.with_columns(
        label_class=outcome, score_group=(pl.col("score_bin") // 8).cast(pl.Int32), kind=pl.lit("bins")
    )
    return pl.concat([_by_outcome(spec, cells), bins], how="diagonal_relaxed")


def _tables(rows: pl.DataFrame) -> Tables:
    """Weighted tables of `quality_table`."""
    keys = [name for name in (*BY, "moved") if name in rows.columns]
    w = pl.col("weight")
    cells = rows.filter(pl.col("kind") == "cells")
    sums = [name for name in cells.columns if name.startswith("sum_") or name == "n_score"]
    decided = cells.filter(pl.col("predicted_class") != "", pl.col("actual_class") != "")
    tables = {
        "sums": cells.group_by(*keys, "bucket").agg((pl.col("n", *sums) * w).sum()),
        "confusion": decided.group_by(*keys, "bucket", "predicted_class", "actual_class").agg((pl.col("n") * w).sum()),
    }
    bins = rows.filter(pl.col("kind") == "bins")
    if not bins.is_empty():
        grouped = bins.group_by(*keys, "bucket", "class_name", "score_bin", "is_positive")
        tables["score_bins"] = grouped.agg((pl.col("n") * w).sum())
    return tables


def _evaluate(spec: MonitorSpec) -> Evaluate:
    def evaluate(tables: Tables, by: Sequence[str]) -> pl.DataFrame:
        is_classes = spec.model.task != "regression"
        table = quality_table(
            tables["confusion"] if is_classes else None,
            tables.get("score_bins"),
            tables["sums"],
            task=spec.model.task,
            positive=spec.positive_class,
            min_labels=spec.quality.min_labels,
            by=list(by),
        )
        return table.filter(~pl.col("metric").is_in(OF_LABELS))

    return evaluate


def _joined(
    spec: MonitorSpec, known: Delays, naive: pl.DataFrame, table: pl.DataFrame, states: pl.DataFrame
) -> pl.DataFrame:
    """The naive table with corrected numbers and states where labels are missing, or will change."""
    law, revised = known.law, known.revised.words if known.revised is not None else ""
    assert law is not None
    numbers = ("value", "ci_low", "ci_high", "stabilised_value", "variance")
    news = table.select(*BY, "metric", "final_half", **{f"new_{name}": name for name in numbers}, is_new=pl.lit(True))
    joined = naive.join(news, on=[*BY, "metric"], how="left", maintain_order="left").join(
        states, on=list(BY), how="left", maintain_order="left"
    )
    is_young = pl.col("slowest").is_not_null()
    is_good = (pl.col("status") == "ok") | pl.col("reason_code").is_in(NO_INTERVAL).fill_null(False)
    is_reported = spec.is_silence_negative
    is_few = pl.lit(is_reported) & (pl.col("slowest") < MATURE_SHARE) & (pl.col("seen") < FEWEST_REPORTED)
    is_unknown = (pl.col("slowest") < IDENTIFIABLE_SHARE) | pl.lit(law.hides_a_tail)
    is_impossible = pl.lit(is_reported) & silence.is_impossible(spec, "new_value")
    is_untold, is_unsettled = (pl.col(name).fill_null(value=False) for name in ("untold", "unsettled"))
    is_blind = is_young & is_good & (is_unknown | is_few | is_impossible | is_untold)
    is_new = is_young & is_good & pl.col("is_new").fill_null(False)
    narrow = pl.max_horizontal(pl.lit(SETTLED), (pl.col("new_ci_high") - pl.col("new_ci_low")) / 6)
    is_settled = ~is_new | (pl.col("final_half") <= narrow).fill_null(True)
    is_mature = (pl.col("slowest") >= MATURE_SHARE) & is_settled
    is_lacking = is_young & pl.col("lacking").fill_null(value=False)
    is_provisional = is_young & (pl.col("status") == "ok") & ~is_blind & (~is_mature | is_lacking | is_unsettled)
    share_in = pl.coalesce("share_in", "slowest")
    share_in = pl.when(is_lacking).then(pl.col("share") / pl.col("expected") * share_in).otherwise(share_in)
    told = _share_in_words(share_in, is_new, is_lacking, is_reported=is_reported)
    told = pl.when(is_unsettled).then(pl.lit(f"{revised}; {WILL_CHANGE}")).otherwise(told)
    unknown = pl.when(is_unknown).then(pl.lit(_unknown(law))).otherwise(pl.lit(silence.FEW))
    unknown = pl.when(is_untold).then(pl.lit(f"{revised}; {UNTOLD}")).otherwise(unknown)
    states_told = {
        "status": (pl.lit("insufficient_data"), pl.lit("provisional")),
        "reason": (unknown, told),
        "reason_code": (pl.lit("not_identifiable"), pl.lit("provisional")),
    }
    nothing = is_blind | (is_young & ~is_good)
    is_open = is_lacking | is_unsettled | (pl.col("metric").is_in(OF_LABELS) & ~is_new)
    gone = {name: nothing | (is_provisional & is_open & pl.lit(name.startswith("ci_"))) for name in numbers}
    return joined.with_columns(
        pl.when(is_young).then("value").alias(NAIVE),
        maturity=pl.when(is_young).then(share_in),
        is_biased=is_provisional & (~is_new | is_unsettled),
        **{name: pl.when(gone[name]).then(None).when(is_new).then(f"new_{name}").otherwise(name) for name in numbers},
        **{
            name: pl.when(is_blind).then(blind).when(is_provisional).then(open_).otherwise(name)
            for name, (blind, open_) in states_told.items()
        },
    ).drop(
        *("is_new", "final_half", "slowest", "seen", "share_in", "share", "expected", "lacking", "unsettled", "untold"),
        *(f"new_{n}" for n in numbers),
    )


def _share_in_words(share: pl.Expr, is_corrected: pl.Expr, is_lacking: pl.Expr, *, is_reported: bool) -> pl.Expr:
    what, done, left = "labels", "corrected for which come first", NOT_CORRECTED
    if is_reported:
        what, done, left = "positives", silence.CORRECTED, silence.NOT_CORRECTED
    words = pl.when(is_corrected).then(pl.lit(done)).otherwise(pl.lit(left))
    words = pl.when(is_lacking).then(pl.lit(LACKING)).otherwise(words)
    percents = share.map_elements(percent, return_dtype=pl.String)
    return pl.concat_str(pl.format("{} of the {} that are expected are in; ", percents, pl.lit(what)), words)


def _unknown(law: DelayLaw) -> str:
    """Why there is no number."""
    if law.hides_a_tail:
        return (
            f"labels still come after {law.known_to:.0f} windows, the oldest that are known: how late they come at "
            "last is not known yet"
        )
    return f"of some kind of row less than {percent(IDENTIFIABLE_SHARE)} of the labels are in"
