"""Univariate drift: how far each column is from the reference, with interval and three states.

All of it comes from counts per frozen bin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.drift.methods import METHODS, DriftMethod, drift_method
from metrics_py.drift.pair import ColumnPair
from metrics_py.drift.words import describe_shift
from metrics_py.profile.column_profile import ColumnProfile
from metrics_py.reasons import ReasonCode
from metrics_py.wording import count
from sightline.judging import multivariate, precision, texts
from sightline.judging.evidence import column_evidence
from sightline.judging.frames import BY, JUDGED, Judged, Work, conform, scope_of
from sightline.judging.marts import ALL_VERSIONS, read_mart, with_all_versions
from sightline.judging.stretches import Stretches, ends_again, read_stretches
from sightline.judging.usual_distance import Usual, estimate, read_windows, usual
from sightline.judging.weekdays import lacks_weekdays, same_weekdays
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import production_sql

ASSET = "drift"
NO_REFERENCE = "there is no reference to compare with"
CAME_LATER = (
    "there is no reference for this column: it was named after the reference was frozen, or had no values then; "
    "materialize `reference` with the config `rebuild: true`"
)

WITHIN_A_DAY = "hours of the week cannot be compared within one hour; `drift: false` leaves this column out"

UNJUDGED_KINDS = ("text", "embedding")
Counts = NDArray[np.int64]


def judge(
    spec: MonitorSpec,
    con: duckdb.DuckDBPyConnection,
    keys: Sequence[str],
    profiles: Mapping[str, ColumnProfile],
    again: Sequence[str] = (),
) -> Judged:
    """Drift of every feature, score and prediction in every window of a run.

    Parameters
    ----------
    spec : MonitorSpec
    con : duckdb.DuckDBPyConnection
        The monitor's warehouse.
    keys : sequence of str
        Window keys.
    profiles : mapping of column to ColumnProfile
        The frozen reference.
    again : sequence of str
        Windows in which stretches were judged before that hold one of the run (`stretches.ends_again`): where a column
        is judged over stretches they are judged along with it, and are the result's `others`.
    """
    columns = {name: p for name, p in profiles.items() if name != "@label"}
    stretches = read_stretches(spec, con, "column_bins", [*keys, *again], columns)
    again = again if stretches.columns else ()
    windows = [*keys, *again]
    judged = judge_bins(spec, con, "column_bins", windows, columns, ASSET, stretches)
    lost = precision.imprecise(spec, con, stretches.keys(windows), profiles)
    judged = precision.withheld(judged, precision.with_stretches(lost, stretches))
    return replace(judged, others=scope_of(spec, again))


def judge_run(work: Work) -> Judged:
    """Drift of every window of a run, and of the stretches that hold one of them and were judged before.

    Columns alone, several together and embeddings.
    """
    again = ends_again(work.spec, work.paths, ASSET, work.keys)
    judged = judge(work.spec, work.con, work.keys, work.profiles, again)
    whole = replace(work, keys=judged.windows(work.spec, work.keys))
    found = (judged, multivariate.judge(whole), texts.judge(whole))
    judgements, evidence = ([getattr(each, name) for each in found] for name in ("judgements", "evidence"))
    return replace(judged, judgements=pl.concat(judgements), evidence=pl.concat(evidence))


def judge_bins(
    spec: MonitorSpec,
    con: duckdb.DuckDBPyConnection,
    mart: str,
    keys: Sequence[str],
    profiles: Mapping[str, ColumnProfile],
    asset: str,
    stretches: Stretches | None = None,
) -> Judged:
    """Drift from one mart of bin counts (``column_bins``, ``label_bins``); without `stretches` all is by window."""
    stretches = stretches or Stretches(spec)
    current = with_all_versions(spec, read_mart(con, mart, keys))
    judged_columns = {name: profile for name, profile in profiles.items() if _is_judged(spec, name)}
    history = _history(spec, con, mart, stretches.keys(keys))
    ordinary = read_windows(spec, con, mart, current)
    frames: list[pl.DataFrame] = []
    for name, profile in judged_columns.items():
        rows = current.filter(pl.col("column_name") == name)
        past, known = (frame.filter(pl.col("column_name") == name) for frame in (history, ordinary))
        pooling = stretches.of_values(name)
        if pooling is not None:
            is_pooled = _is_whole() & (pl.col("window_start") >= pooling.since)
            frames.append(_judge_stretches(stretches, profile, rows.filter(is_pooled), past, known))
            rows = rows.filter(~is_pooled)
        if not rows.is_empty():
            groups, counts = dense(rows, profile)
            reference = reference_counts(spec, past, profile, groups)
            judge_column = _judge_times if profile.kind == "datetime" else _judge_column
            frames.append(judge_column(spec, name, profile, groups, counts, reference, known))
    whole = current.filter(_is_whole())
    if asset == ASSET and profiles:
        frames.append(_without_profile(spec, whole, profiles))
    judged = pl.concat([conform(pl.DataFrame(schema={name: JUDGED[name] for name in BY})), *frames])
    return Judged(judged, column_evidence(spec, whole, profiles, asset, stretches))


def _is_whole() -> pl.Expr:
    return (pl.col("segment") == "all") & (pl.col("model_version") == ALL_VERSIONS)


def _without_profile(spec: MonitorSpec, whole: pl.DataFrame, profiles: Mapping[str, ColumnProfile]) -> pl.DataFrame:
    """Features that the frozen reference does not know, because the monitor's file named them later.

    They are told in every window.
    """
    later = [
        n for n, f in spec.columns.features.items() if n not in profiles and f.drift and f.kind not in UNJUDGED_KINDS
    ]
    windows = (
        whole.select("window_start")
        .unique()
        .join(pl.DataFrame({"column": later}, schema={"column": pl.String}), how="cross")
    )
    whole_windows = windows.with_columns(model_version=pl.lit(ALL_VERSIONS), segment=pl.lit("all"))
    return _not_judged(spec, whole_windows, "column_named_later", CAME_LATER)


def _not_judged(spec: MonitorSpec, groups: pl.DataFrame, code: ReasonCode, reason: str) -> pl.DataFrame:
    """No verdict on some columns of some windows, and why."""
    told = {"status": "insufficient_data", "reason": reason, "reason_code": code}
    return conform(
        groups.with_columns(metric=pl.lit(spec.drift.method), **{name: pl.lit(text) for name, text in told.items()})
    )


def _is_judged(spec: MonitorSpec, column: str) -> bool:
    feature = spec.columns.features.get(column)
    if column in spec.columns.described:
        return False
    return feature is None or (feature.drift and feature.kind != "embedding")  # those: `multivariate`


# ---------------------------------------------------------------- counts


def dense(rows: pl.DataFrame, profile: ColumnProfile) -> tuple[pl.DataFrame, Counts]:
    """Rows (keys, bin_id, n) as an array of counts.

    Returns
    -------
    groups : DataFrame
        The distinct keys `BY`, sorted.
    counts : integer ndarray, shape (groups, bins)
    """
    groups = rows.select(BY).unique().sort(BY).with_row_index("group")
    placed = rows.join(groups, on=BY)
    counts = np.zeros((len(groups), len(profile)), dtype=np.int64)
    np.add.at(counts, (placed["group"].to_numpy(), placed["bin_id"].to_numpy()), placed["n"].to_numpy())
    return groups.drop("group"), counts


def reference_counts(spec: MonitorSpec, history: pl.DataFrame, profile: ColumnProfile, groups: pl.DataFrame) -> Counts:
    """Reference rows per group and bin, shape (groups, bins).

    The whole is compared with the frozen profile (rolling: with the windows of the `length` before), a segment with the
    same segment in the reference's windows; zeros where there is nothing to compare with.
    """
    found = np.zeros((len(groups), len(profile)), dtype=np.int64)
    whole = (groups["segment"] == "all").to_numpy()
    if spec.reference.kind == "rolling":
        return _rolling(spec, history, profile, groups)
    found[whole] = profile.n_reference
    if not history.is_empty():
        sums = {
            segment: part
            for (segment,), part in history.group_by("segment", "bin_id").agg(pl.col("n").sum()).group_by(["segment"])
        }
        for segment in groups.filter(~pl.Series(whole))["segment"].unique():
            part = sums.get(segment)
            if part is not None:
                row = np.zeros(len(profile), dtype=np.int64)
                row[part["bin_id"].to_numpy()] = part["n"].to_numpy()
                found[(groups["segment"] == segment).to_numpy()] = row
    return found


def _history(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, mart: str, keys: Sequence[str]) -> pl.DataFrame:
    """Bin counts of the reference's windows, all versions together; per window if the reference rolls."""
    reference = spec.reference
    if reference.kind == "rolling":
        start = spec.window_start(min(keys)) - reference.length
        end, by = spec.window_start(max(keys)), "window_start, segment, column_name, bin_id"
    elif reference.kind == "window" and reference.start and reference.end:
        start, end, by = spec.floor(reference.start), reference.end, "segment, column_name, bin_id"
    else:
        start, end, by = spec.first_window, spec.first_window, "segment, column_name, bin_id"
    query = (
        f"select {by}, sum(n)::bigint as n from marts.{mart} "  # noqa: S608 (our own names)
        f"where window_start >= ? and window_start < ? and {production_sql(spec)} group by {by}"
    )
    return con.sql(query, params=[start.replace(tzinfo=None), end.replace(tzinfo=None)]).pl()


def _rolling(spec: MonitorSpec, history: pl.DataFrame, profile: ColumnProfile, groups: pl.DataFrame) -> Counts:
    """Sum of the windows within `length` before each window, by segment."""
    found = np.zeros((len(groups), len(profile)), dtype=np.int64)
    for (segment,), part in history.group_by(["segment"]):
        starts = part["window_start"].unique().sort()
        counts = np.zeros((len(starts) + 1, len(profile)), dtype=np.int64)
        np.add.at(
            counts,
            (starts.search_sorted(part["window_start"]).to_numpy() + 1, part["bin_id"].to_numpy()),
            part["n"].to_numpy(),
        )
        running = counts.cumsum(axis=0)
        member = (groups["segment"] == segment).to_numpy()
        windows = groups.filter(pl.Series(member))["window_start"]
        upto = starts.search_sorted(windows).to_numpy()
        since = starts.search_sorted(windows - spec.reference.length).to_numpy()
        found[member] = running[upto] - running[since]
    return found


# ---------------------------------------------------------------- judgement


def _judge_stretches(
    stretches: Stretches, profile: ColumnProfile, rows: pl.DataFrame, history: pl.DataFrame, ordinary: pl.DataFrame
) -> pl.DataFrame:
    """A column over stretches: judged in the last window of each, and told in the others that it will be.

    `rows` are those of all rows together in the windows of the run; `history` and `ordinary` the column's.
    """
    spec, name, stretch = stretches.spec, profile.column, stretches.stretch
    assert stretch is not None
    long = stretches.bins.filter(pl.col("column_name") == name).with_columns(
        segment=pl.lit("all"), model_version=pl.lit(ALL_VERSIONS)
    )
    frames: list[pl.DataFrame] = []
    if not long.is_empty():
        groups, counts = dense(long, profile)
        before = groups.with_columns(window_start=stretches.begins(pl.col("window_start")))
        reference = reference_counts(spec, history, profile, before)
        judge_column = _judge_times if profile.kind == "datetime" else _judge_column
        known = stretches.pooled(ordinary)
        judged = judge_column(spec, name, profile, groups, counts, reference, known, stretch.words)
        told = pl.concat_str(pl.lit(stretch.over), pl.col("reason"), separator=": ", ignore_nulls=True)
        frames.append(judged.with_columns(reason=told, reason_code=pl.col("reason_code").fill_null("pooled")))
    between = rows.select("window_start").unique().join(long, on="window_start", how="anti").sort("window_start")
    reason = stretch.later(spec, pl.col("window_start"))
    waiting = between.with_columns(model_version=pl.lit(ALL_VERSIONS), segment=pl.lit("all"), column=pl.lit(name))
    return pl.concat([*frames, _not_judged(spec, waiting, "judged_later", "").with_columns(reason=reason)])


def _judge_times(
    spec: MonitorSpec,
    name: str,
    profile: ColumnProfile,
    groups: pl.DataFrame,
    counts: Counts,
    reference: Counts,
    ordinary: pl.DataFrame,
    over: str = "",
) -> pl.DataFrame:
    """Hours of the week, where the window lacks weekdays those of the same weekdays.

    Within one hour there is nothing to compare.
    """
    if spec.schedule != "hourly" or over:
        alike = same_weekdays(profile, reference, counts)
        return _judge_column(spec, name, profile, groups, counts, alike, ordinary, over)
    lacking = lacks_weekdays(profile, reference, counts)
    told, kept = np.flatnonzero(lacking & (groups["segment"] == "all").to_numpy()), np.flatnonzero(~lacking)
    judged = _judge_column(spec, name, profile, groups[kept], counts[kept], reference[kept], ordinary)
    return pl.concat(
        [judged, _not_judged(spec, groups[told].with_columns(column=pl.lit(name)), "not_comparable", WITHIN_A_DAY)]
    )


def _judge_column(
    spec: MonitorSpec,
    name: str,
    profile: ColumnProfile,
    groups: pl.DataFrame,
    counts: Counts,
    reference: Counts,
    ordinary: pl.DataFrame,
    over: str = "",
) -> pl.DataFrame:
    """The first method of the column says in which of three states it is.

    The others are facts about all rows together. `ordinary` are the column's rows of `read_windows`, `over` is how long
    a stretch is, where that is judged.
    """
    judged_by, *others = methods_of(spec, profile.kind)
    base = groups.with_columns(column=pl.lit(name))
    whole = (groups["segment"] == "all").to_numpy()
    is_own = spec.reference.kind != "rolling"
    pair = ColumnPair(profile, reference, counts, design_effect=profile.design_effect, has_own_reference=is_own)
    states = _states(spec, name, judged_by, pair, whole, usual(spec, ordinary, judged_by, profile, groups, over))
    known = whole & (counts.sum(axis=1) > 0) & (reference.sum(axis=1) > 0)
    if not known.any():
        return conform(base.with_columns(**states))
    part = replace(pair, reference=reference[known], current=counts[known])
    facts = [_fact(base.filter(pl.Series(known)), method, part) for method in others]
    return pl.concat([conform(base.with_columns(**states)), *facts])


def methods_of(spec: MonitorSpec, kind: str) -> list[DriftMethod]:
    """Methods for a kind of columns.

    The one that decides (``drift.method``) comes first, then those that every monitor reports.
    """
    deciding = drift_method(spec.drift.method)
    return [deciding, *(method for method in METHODS if kind in method.daily and method.name != deciding.name)]


def _states(
    spec: MonitorSpec,
    name: str,
    method: DriftMethod,
    pair: ColumnPair,
    whole: NDArray[np.bool_],
    ordinary: Usual,
) -> dict[str, pl.Series | pl.Expr]:
    """Judgement columns of the method that decides, for every group; `whole` marks those of all rows together."""
    assert method.from_counts is not None  # the loader refuses others
    found, profile = method.from_counts(pair), pair.profile
    tolerance = method.tolerance(_tolerance(spec, name)) if method.tolerance else np.inf
    limit = ordinary.limit(tolerance)
    low, high = (np.nan_to_num(end) - method.no_change for end in (found.ci_low, found.ci_high))
    state = np.where((low > limit) | (high < -limit), "drift", "unclear").astype(object)
    state[(-limit < low) & (high < limit)] = "stable"
    n = found.n_current
    state[(found.n_reference == 0) | (n / profile.design_effect < spec.drift.min_rows)] = "unclear"
    is_far = (low > tolerance) | (high < -tolerance)
    shows = not spec.columns.is_personal(name)
    reasons = [
        _reason(
            spec,
            float(found.n_reference[i]),
            float(n[i] / profile.design_effect),
            float(n[i]),
            str(state[i]),
            ordinary.words(i, tolerance),
            describe_shift(profile, pair.current[i], shows_values=shows) if whole[i] and is_far[i] else None,
        )
        for i in range(len(n))
    ]
    status_of = {"drift": "warn", "stable": "ok", "unclear": "insufficient_data"}
    return {
        "metric": pl.lit(method.name),
        "value": _numbers(estimate(found)),
        "ci_low": _numbers(found.ci_low),
        "ci_high": _numbers(found.ci_high),
        "n": pl.Series(n).cast(pl.Int64),
        "reference_value": pl.lit(method.no_change),
        "bound_low": _numbers(method.no_change - limit) if method.no_change else pl.lit(None, dtype=pl.Float64),
        "bound_high": _numbers(method.no_change + limit),
        "status": pl.Series([status_of[each] for each in state], dtype=pl.String),
        "reason": pl.Series([why and why[1] for why in reasons], dtype=pl.String),
        "reason_code": pl.Series([why and why[0] for why in reasons], dtype=pl.String),
    }


def _tolerance(spec: MonitorSpec, column: str) -> float:
    """The PSI that is no drift yet."""
    feature = spec.columns.features.get(column)
    return (feature.tolerance if feature else None) or spec.drift.tolerance


def _fact(base: pl.DataFrame, method: DriftMethod, pair: ColumnPair) -> pl.DataFrame:
    """A method that is shown, not judged."""
    assert method.from_counts is not None  # the loader refuses others
    found = method.from_counts(pair)
    numbers = {"value": estimate(found), "ci_low": found.ci_low, "ci_high": found.ci_high}
    rows = base.with_columns(
        metric=pl.lit(method.name),
        **{name: _numbers(values) for name, values in numbers.items()},
        n=pl.Series(pair.merged[1].sum(axis=1)).cast(pl.Int64),
        status=pl.lit("ok"),
    )
    return conform(rows.filter(pl.col("value").is_not_null()))


def _reason(
    spec: MonitorSpec, n_reference: float, effective: float, n: float, state: str, limit: str, shift: str | None
) -> tuple[ReasonCode, str] | None:
    """Why there is no verdict, or what was found; `limit` is the larger of tolerance and the usual, in words."""
    if n_reference == 0:
        return "no_reference", NO_REFERENCE
    if effective < spec.drift.min_rows:
        clustered = f", as good as {effective:.0f} independent ones" if effective < n else ""
        return "too_few_rows", f"{count(round(n), 'rows')}{clustered}; {spec.drift.min_rows} needed"
    if state == "unclear":
        return "unclear", f"the interval holds {limit}: more rows are needed to tell"
    if state == "drift":
        return "drift", f"{shift} (all of the interval lies above {limit})" if shift else f"above {limit}"
    return ("usual", f"{shift}: no more than is {limit.removeprefix('what is ')}") if shift else None


def _numbers(values: NDArray[np.float64]) -> pl.Series:
    return pl.Series(values, dtype=pl.Float64).fill_nan(None)
