"""What happened when an incident began: versions, deployments, assets outside, volume, labels, rejections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from metrics_py.cause import Move, moved
from metrics_py.wording import number, percent
from sightline.alerts.causes.case import BrokenRule, Case, Cause
from sightline.alerts.stream_words import stream_words

NEAR_BEFORE, NEAR_AFTER = 2, 1
"""Windows before the change began, and after it, in which an event may be its cause: a change point is an estimate."""

UPSTREAM, MARKER, VERSION, RULE, GUARD = 0.90, 0.88, 0.86, 0.79, 0.77
OFTEN = 0.4
"""What happens as often as this near any window at all says little; so much is taken from its score."""

VOLUME, SERVICE, REJECTED, LABELS = 0.65, 0.64, 0.72, 0.55
RATES = {
    "data_quality/n_rows": ("volume", VOLUME),
    "data_quality/rejected_rate": ("rejected", REJECTED),
    "data_quality/error_rate": ("service", SERVICE),
    "data_quality/latency_p95_ms": ("service", SERVICE),
    "model_quality/labelled_rate": ("labels", LABELS),
    "model_quality/label_arrivals": ("labels", LABELS),
}
OFTEN_BROKEN = 0.25
"""A rule that was broken on more of the windows before tells nothing new."""

LATE = 2.0
"""An asset is late where it has been silent for so many of the longest of its usual pauses."""

LEAST_HISTORY = 5


def events(case: Case) -> Iterator[Cause]:
    """Causes by what is known to have happened at the time; no tests, but how usual such events are counts."""
    yield from _marks(case)
    yield from _versions(case)
    yield from _upstream(case)
    yield from _broken(case)


def _span(case: Case) -> tuple[datetime, datetime]:
    return case.began - NEAR_BEFORE * case.window, case.began + (NEAR_AFTER + 1) * case.window


def _usual(case: Case, moments: Sequence[datetime]) -> float:
    """Probability that one of as many events in the windows before lies near a window by chance."""
    earlier = [at for at in moments if case.first_before <= at < _span(case)[0]]
    near = NEAR_BEFORE + NEAR_AFTER + 1
    return 1.0 - float(np.exp(-len(earlier) * near / max(case.before_windows, near)))


def when(case: Case, at: datetime) -> str:
    """How an event lies to the beginning of the incident."""
    stamp = f"{at:%Y-%m-%d %H:%M}"
    if case.began <= at < case.began + case.window:
        return f"{stamp} UTC, in the window in which the change began"
    gap = abs(at - case.began)
    many = f"{number(gap / timedelta(hours=1), 2)} hours" if gap < timedelta(days=2) else f"{gap.days} days"
    return f"{stamp} UTC, {many} {'before' if at < case.began else 'after'} the change began"


def _score(base: float, case: Case, at: datetime, usual: float) -> float:
    is_within = case.began - case.window <= at < case.began + case.window
    return base + (0.02 if is_within else 0.0) - (OFTEN * usual if usual > 0.25 else 0.0)


def _often(usual: float) -> str:
    return f"; such events come so often that one lies near by chance in {percent(usual)}" if usual > 0.05 else ""


def _marks(case: Case) -> Iterator[Cause]:
    first, last = _span(case)
    for mark in case.marks:
        if first <= mark.at < last:
            same = [other.at for other in case.marks if other.source == mark.source]
            usual = _usual(case, same)
            by = f" ({mark.source})" if mark.source else ""
            yield Cause(
                "marker", mark.text + by, when(case, mark.at) + _often(usual), _score(MARKER, case, mark.at, usual)
            )


def _versions(case: Case) -> Iterator[Cause]:
    first, last = _span(case)
    seen = case.versions.group_by("model_version").agg(at=pl.col("window_start").min()).sort("at")
    start = case.versions["window_start"].min()
    for version, at in seen.iter_rows():
        if not first <= at < last or at == start:
            continue
        rows = case.versions.filter(case.is_after())
        total = float(rows["n"].sum())
        share = float(rows.filter(pl.col("model_version") == version)["n"].sum()) / max(total, 1.0)
        usual = _usual(case, [moment for moment in seen["at"].to_list() if moment != start])
        evidence = f"first seen in the window {when(case, at)}; {percent(share)} of the rows since{_often(usual)}"
        words = f"a new model version answers: {version}"
        yield Cause("version", words, evidence, _score(VERSION, case, at, usual))


def _upstream(case: Case) -> Iterator[Cause]:
    first, last = _span(case)
    for (asset,), rows in case.upstream.sort("materialized_at").group_by(["asset"], maintain_order=True):
        changed = rows.filter(
            pl.col("code_version").ne_missing(pl.col("code_version").shift()), pl.int_range(pl.len()) > 0
        )
        near = changed.filter(pl.col("materialized_at").is_between(first, last, closed="left"))
        usual = _usual(case, changed["materialized_at"].to_list())
        for row in near.head(1).iter_rows(named=True):
            earlier = rows.filter(pl.col("materialized_at") < row["materialized_at"])["code_version"][-1]
            words = f"{asset} was made by other code: version {row['code_version']}, before {earlier}"
            evidence = f"materialized {when(case, row['materialized_at'])}{_often(usual)}"
            yield Cause("upstream", words, evidence, _score(UPSTREAM, case, row["materialized_at"], usual))
        if near.is_empty():
            yield from _late(case, str(asset), rows)


def _broken(case: Case) -> Iterator[Cause]:
    """Rules that are broken since, and were not in every other window before."""
    by_rule: dict[tuple[str, str, str], list[BrokenRule]] = {}
    for item in case.broken:
        by_rule.setdefault((item.kind, item.rule, item.column), []).append(item)
    for (kind, _, column), items in by_rule.items():
        since = [item for item in items if case.began <= item.at < case.last_after + case.window]
        before = {item.at.date() for item in items if case.first_before <= item.at < case.began}
        if not since or len(before) > OFTEN_BROKEN * case.before_windows:
            continue
        score = RULE if kind == "rule" else GUARD
        yield Cause(kind, since[0].words, f"first {when(case, since[0].at)}; {len(since)} times", score, column)


def _late(case: Case, asset: str, rows: pl.DataFrame) -> Iterator[Cause]:
    """An asset that was not made when it usually is, or not anew: the same data version as before."""
    began = case.began + case.window
    made = rows.filter(pl.col("materialized_at") < began)
    pauses = made["materialized_at"].diff().drop_nulls()
    if len(pauses) < LEAST_HISTORY:
        return
    last_made, usual = made["materialized_at"][-1], pauses.max()
    next_made = rows.filter(pl.col("materialized_at") >= began)["materialized_at"].min()
    silent = min(next_made or case.opened + case.window, case.opened + case.window) - last_made  # pyright: ignore
    if silent > LATE * usual and last_made >= _span(case)[0]:  # pyright: ignore
        hours = number(silent / timedelta(hours=1), 2)
        evidence = f"last materialized {when(case, last_made)}; it had never paused for more than {number(usual / timedelta(hours=1), 2)} hours"  # pyright: ignore  # noqa: E501
        yield Cause("upstream", f"{asset} was not made for {hours} hours", evidence, UPSTREAM)
        return
    versions = made["data_version"].drop_nulls()
    fresh = versions.n_unique() == len(versions) - 1
    if len(versions) > LEAST_HISTORY and fresh and versions[-1] == versions[-2] and last_made >= _span(case)[0]:
        evidence = (
            f"materialized {when(case, last_made)}, with the data version of the time before; it was new each time"
        )
        yield Cause("upstream", f"{asset} holds the same data as before: it was not renewed", evidence, UPSTREAM)


def moved_rates(case: Case) -> Iterator[tuple[str, float, Move, str]]:
    """Kind, score, move and words of volume, failures, rejections and labels."""
    for stream, (kind, score) in RATES.items():
        rows = case.evidence.filter(pl.col("stream") == stream)
        before, after = (rows.filter(side) for side in (case.is_before(), case.is_after()))
        found = moved(*(part["value"].fill_null(np.nan).to_numpy() for part in (before, after)))
        if found is None:
            continue
        shown = [part["display_value"].drop_nulls() for part in (before, after)]
        if not all(len(part) for part in shown):
            continue
        usual = float(shown[0].median())  # pyright: ignore[reportArgumentType]
        values = shown[1].to_numpy()
        now = float(values[np.abs(values - usual).argmax()] if found.is_single else np.median(values))
        yield kind, score, found, stream_words(stream, usual, now, now)


def rate_causes(case: Case, found: Sequence[tuple[str, float, Move, str]]) -> Iterator[Cause]:
    """A cause per rate that moved beyond chance."""
    for kind, score, move, words in found:
        evidence = f"{number(abs(move.z), 2)} standard errors from {move.n_before} windows before"
        if kind == "rejected":
            reasons = case.rejections.filter(case.is_after()).group_by("reason").agg(pl.col("n").sum()).sort("n")
            told = [f"{reason} ({n:,.0f})" for reason, n in reasons.tail(3).iter_rows()]
            evidence += f"; {', '.join(told[::-1])}" if told else ""
        yield Cause(kind, words, evidence, score, p_value=move.p_value)
