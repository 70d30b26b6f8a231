"""Quality of windows whose labels are still coming, corrected for which labels come first, and how mature it is.

A number is *mature* when nearly all labels of every kind of row are in; until then it is *provisional*: corrected for
which labels come first, with an interval that knows what is missing, and the naive value beside it. Where too few
labels of some kind are in, or nobody knows yet how late labels come, there is no number, and the reason says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import duckdb
import polars as pl

from metrics_py.quality.completed import IDENTIFIABLE_SHARE, MATURE_SHARE, Completed, complete, weigh
from metrics_py.quality.delay_law import DelayLaw
from metrics_py.quality.silence import weigh_reported
from metrics_py.quality.table import NO_INTERVAL
from metrics_py.wording import percent
from sightline.judging import silence
from sightline.judging.frames import BY
from sightline.judging.joint_rows import CELLS, evaluation_of, joint_rows, not_kept, tables_of
from sightline.judging.marts import has_mart, read_mart
from sightline.judging.maturity import (
    NOT_CORRECTED,
    POSITIVE,
    Delays,
    class_name,
    immature,
    lagging,
    only_told,
    still_waits,
    with_age,
)
from sightline.judging.not_corrected import OF_OWN, OF_REPORTS, TOTAL, assumes_more, why_not
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import is_production
from sightline.warehouse.settings import negative_class

NAIVE = "naive_value"

SETTLED = 0.01
"""Half-width of what is still to come up to which a mature number is settled, or a third of its own interval's."""

ALL_IN = 0.999
"""Share of the labels of every kind of row from which on nothing is corrected."""

LACKING = "fewer than is usual by now, and which are missing is not known: there is no interval"
WILL_CHANGE = "some of these labels will be: there is no interval"
UNTOLD = "so many of these labels still will be that they say nothing yet"
NO_LAW = "labels are still coming, and how they come is not known yet: not corrected"


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
        could not be corrected, or only under an assumption that nothing tests.
    """
    nothing = pl.lit(None, dtype=pl.Float64)
    plain = naive.with_columns(nothing.alias(NAIVE), maturity=nothing, is_biased=pl.lit(False))
    if known.law is None and spec.is_silence_negative:
        why = OF_REPORTS if spec.model.task == "ranking" else silence.NOT_LEARNT
        return silence.withheld(plain, immature(spec, keys, now, known), known.until, known.silence, NAIVE, why)
    if known.law is None:
        return _without_law(plain, immature(spec, keys, now, known))
    young = _young_parts(spec, known, keys, parts)
    if young.is_empty():
        return plain
    found = _completed(spec, con, known, young)
    groups = naive.select(BY).unique().join(_states_of_parts(spec, con, known, young), on="window_start")
    if found is None:
        nothing_new = naive.clear().with_columns(final_half=nothing)
        return _joined(spec, known, plain, nothing_new, groups.with_columns(seen=nothing, share_in=nothing))
    states = groups.join(found.states, on=list(BY), how="left", nulls_equal=True)
    return _joined(spec, known, plain, found.table, states)


def _completed(
    spec: MonitorSpec, con: duckdb.DuckDBPyConnection, known: Delays, young: pl.DataFrame
) -> Completed | None:
    """Metrics of the weighted rows; None where no row is kept by what its delay depends on."""
    assert known.law is not None
    if not has_mart(con, "quality_cells"):
        return None
    starts = young["part"].unique().sort()
    keys = [spec.key(start) for start in starts]
    rows = joint_rows(spec, con, keys)
    over = rows.rename({"window_start": "part"}).join(young.rename({"window_start": "over"}), on="part")
    gaps = not_kept(spec, con, keys, rows).rename({"window_start": "part"}).join(young, on="part")
    gaps = gaps.select("kind", over="window_start").unique()
    over = over.join(gaps, on=["over", "kind"], how="anti")
    if over.filter(pl.col("kind") == CELLS).is_empty():
        return None
    ages = with_age(spec, pl.DataFrame({"window_start": starts}), known.until)
    by = ["over", *(name for name in BY if name != "window_start"), "kind"]
    over = over.rename({"part": "window_start"})
    if spec.is_silence_negative:
        weighed = weigh_reported(over, known.law, ages, by, POSITIVE, negative_class(spec))
    else:
        weighed = weigh(over, known.law, ages, by)
    weighed = weighed.drop("window_start").rename({"over": "window_start"})
    whole = pl.col("segment") == "all"
    return complete(weighed, tables_of(spec), evaluation_of(spec), known.law, BY, whole, "window_start")


def _without_law(judged: pl.DataFrame, windows: Sequence[datetime]) -> pl.DataFrame:
    """Values of windows that wait for labels while nobody knows how they come: no interval, and no evidence."""
    waits = pl.col("window_start").is_in(list(windows))
    ends = {name: pl.when(waits).then(None).otherwise(name) for name in ("ci_low", "ci_high")}
    return only_told(judged, windows, NO_LAW).with_columns(is_biased=waits, **ends)


def _young_parts(spec: MonitorSpec, known: Delays, keys: Sequence[str], parts: pl.DataFrame | None) -> pl.DataFrame:
    """``window_start, part`` of the windows of which some part has labels to come, or lacks some."""
    own = [spec.window_start(key).replace(tzinfo=None) for key in keys]
    schema = {"window_start": pl.Datetime("us"), "part": pl.Datetime("us")}
    parts = pl.DataFrame({"window_start": own, "part": own}, schema=schema) if parts is None else parts
    lacking = set(known.lacking())
    known_parts = parts.select("part").unique()
    is_young = [start in lacking or still_waits(spec, known, spec.key(start), ALL_IN) for start in known_parts["part"]]
    young = known_parts.filter(pl.Series(is_young, dtype=pl.Boolean))
    return parts.join(parts.join(young, on="part").select("window_start").unique(), on="window_start")


def _states_of_parts(
    spec: MonitorSpec, con: duckdb.DuckDBPyConnection, known: Delays, parts: pl.DataFrame
) -> pl.DataFrame:
    """Of the youngest part ``window_start, slowest, lagging, share, expected``; of any what makes numbers uncertain.

    That is ``hidden, lacking, unsettled, untold``.

    `lagging` says in words which class is late.
    """
    assert known.shares is not None and known.law is not None
    starts = parts["part"].unique().sort()
    slowest = [known.slowest(spec, start.replace(tzinfo=UTC)) for start in starts]
    change = [known.to_change(spec, start.replace(tzinfo=UTC)) for start in starts]
    law, until = known.law, known.until
    lags = [lagging(spec, law, (until - start.replace(tzinfo=UTC)) / spec.window) for start in starts]
    of_law = {
        "slowest": slowest,
        "hidden": [known.hides_a_tail(spec, start.replace(tzinfo=UTC)) for start in starts],
        "lagging": lags,
        **{name: [c[i] for c in change] for i, name in enumerate(("unsettled", "untold"))},
    }
    counts = read_mart(con, "label_counts", [spec.key(start) for start in starts])
    counts = counts.filter(is_production(spec), pl.col("segment") == "all")
    n = counts.group_by(part="window_start").agg(n=pl.col("n_predictions").sum().cast(pl.Float64))
    joined = (
        parts.join(pl.DataFrame({"part": starts, **of_law}), on="part")
        .join(known.shares.windows.rename({"window_start": "part"}), on="part", how="left")
        .join(n, on="part", how="left")
    )
    mean = {name: (pl.col(name) * pl.col("n")).sum() / pl.col("n").sum() for name in ("share", "expected")}
    any_part = pl.col("lacking", "hidden", "unsettled", "untold").any()
    return joined.group_by("window_start").agg(
        pl.col("slowest").min(), any_part, lagging=pl.col("lagging").sort_by("slowest").first(), **mean
    )


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
    is_few = pl.lit(is_reported) & (pl.col("slowest") < MATURE_SHARE) & (pl.col("seen").fill_null(0) < silence.fewest())
    is_unknown = (pl.col("slowest") < IDENTIFIABLE_SHARE) | pl.col("hidden").fill_null(value=False)
    is_impossible = pl.lit(is_reported) & silence.is_impossible(spec, "new_value")
    is_untold, is_unsettled = (pl.col(name).fill_null(value=False) for name in ("untold", "unsettled"))
    is_blind = is_young & is_good & (is_unknown | is_few | is_impossible | is_untold)
    is_new = is_young & is_good & pl.col("is_new").fill_null(False) & pl.col("new_value").is_not_null()
    narrow = pl.max_horizontal(pl.lit(SETTLED), (pl.col("new_ci_high") - pl.col("new_ci_low")) / 6)
    is_settled = (~is_new & (pl.col("metric") != TOTAL)) | (is_new & (pl.col("final_half") <= narrow).fill_null(True))
    is_mature = (pl.col("slowest") >= MATURE_SHARE) & is_settled
    is_lacking = is_young & pl.col("lacking").fill_null(value=False)
    is_open = is_young & is_good & ~is_blind & (~is_mature | is_lacking | is_unsettled)
    is_left_out = is_open & ~is_new & (~is_mature | is_lacking)
    is_provisional = is_open & ~is_left_out & (pl.col("status") == "ok")
    share_in = pl.coalesce("share_in", "slowest")
    share_in = pl.when(is_lacking).then(pl.col("share") / pl.col("expected") * share_in).otherwise(share_in)
    words = _share_in_words(share_in, is_new, is_lacking, is_reported=is_reported)
    assuming = pl.when(is_new & ~is_lacking & assumes_more(spec)).then(pl.lit(f", {OF_OWN}")).otherwise(pl.lit(""))
    told = pl.when(is_unsettled).then(pl.lit(f"{revised}; {WILL_CHANGE}")).otherwise(words + assuming)
    unknown = pl.when(is_unknown).then(_unknown(spec, law)).otherwise(silence.too_few(pl.col("seen")))
    unknown = pl.when(is_left_out).then(pl.format("{}: {}", words, why_not(spec))).otherwise(unknown)
    unknown = pl.when(is_untold).then(pl.lit(f"{revised}; {UNTOLD}")).otherwise(unknown)
    states_told = {
        "status": (pl.lit("insufficient_data"), pl.lit("provisional")),
        "reason": (unknown, told),
        "reason_code": (pl.lit("not_identifiable"), pl.lit("provisional")),
    }
    has_none = is_blind | is_left_out
    nothing = has_none | (is_young & ~is_good)
    is_wide = is_provisional & (is_lacking | is_unsettled)
    gone = {name: nothing | (is_wide & pl.lit(name.startswith("ci_"))) for name in numbers}
    return joined.with_columns(
        pl.when(is_young).then("value").alias(NAIVE),
        maturity=pl.when(is_young & (is_good | pl.col("seen").is_not_null())).then(share_in),
        is_biased=is_open & (~is_new | is_unsettled | assumes_more(spec)),
        **{name: pl.when(gone[name]).then(None).when(is_new).then(f"new_{name}").otherwise(name) for name in numbers},
        **{
            name: pl.when(has_none).then(blind).when(is_provisional).then(open_).otherwise(name)
            for name, (blind, open_) in states_told.items()
        },
    ).drop(
        *("is_new", "final_half", "slowest", "seen", "share_in", "share", "expected", "lacking", "unsettled", "untold"),
        *("lagging", "hidden"),
        *(f"new_{n}" for n in numbers),
    )


def _share_in_words(share: pl.Expr, is_corrected: pl.Expr, is_lacking: pl.Expr, *, is_reported: bool) -> pl.Expr:
    what, done, left = "labels", "corrected for which come first", NOT_CORRECTED
    if is_reported:
        what, done, left = "positives", silence.CORRECTED, silence.NOT_CORRECTED
    done = pl.format("{} by the {} that came", pl.lit(done), pl.col("seen")) if is_reported else pl.lit(done)
    words = pl.when(is_lacking).then(pl.lit(LACKING)).otherwise(done)
    words = pl.when(is_corrected).then(words).otherwise(pl.lit(left))
    percents = share.map_elements(percent, return_dtype=pl.String)
    lags = pl.col("lagging").fill_null("")
    return pl.concat_str(pl.format("{} of the {} that are expected are in{}; ", percents, pl.lit(what), lags), words)


def _unknown(spec: MonitorSpec, law: DelayLaw) -> pl.Expr:
    """Why there is no number."""
    few = f"of some kind of row less than {percent(IDENTIFIABLE_SHARE)} of the labels are in"
    what, age, oldest = "labels", law.known_to, "the oldest that are known"
    if law.hidden_class:
        what, age = f"labels of class {class_name(spec, law.hidden_class)}", law.hidden_up_to
        oldest = "as long ago as any is known"
    hidden = f"{what} still come after {age:.0f} windows, {oldest}: how late they come at last is not known yet"
    return pl.when(pl.col("hidden").fill_null(value=False)).then(pl.lit(hidden)).otherwise(pl.lit(few))
